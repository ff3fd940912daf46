"""Queues: messages that wait until somebody has taken and deleted them."""

from sluiceway.services.queues.service import Queues
from sluiceway.services.queues.values import Queue, Received, Sent

__all__ = ["Queue", "Queues", "Received", "Sent"]
