"""Queues: messages that wait until somebody has taken and deleted them."""

from sluiceway.services.queues.keeper import QueueKeeper, QueueMover
from sluiceway.services.queues.moves import Moves
from sluiceway.services.queues.service import Queues
from sluiceway.services.queues.values import Message, Queue, Received, Sent

__all__ = ["Message", "Moves", "Queue", "QueueKeeper", "QueueMover", "Queues", "Received", "Sent"]
