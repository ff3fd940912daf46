"""Topics: publish once, and every subscription reacts."""

from sluiceway.services.topics.keeper import TopicKeeper
from sluiceway.services.topics.service import Topics
from sluiceway.services.topics.values import Publication, Published, Subscription, Topic

__all__ = ["Publication", "Published", "Subscription", "Topic", "TopicKeeper", "Topics"]
