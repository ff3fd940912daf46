"""What brings events of streams, tables and queues to functions."""

from sluiceway.reactions.sources.poller import QueuePoller
from sluiceway.reactions.sources.target import EventSourceTarget

__all__ = ["EventSourceTarget", "QueuePoller"]
