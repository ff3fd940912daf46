"""The application that ``test_chain`` kills, what loads it, and what is looked at afterwards."""
