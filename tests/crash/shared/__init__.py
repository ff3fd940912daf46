"""What the crash tests share: clients that send until they are answered, endpoints, and what they look at."""
