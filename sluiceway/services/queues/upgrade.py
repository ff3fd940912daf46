"""Brings queues of release 0.1 to the present rows: once, before the server answers, a bounded piece at a time.

There a queue was a JSON object without id and shelf, and a message three rows under the queue's name:
``queue_messages`` (name, number), ``queue_schedule`` (name, time, number) with how often it was received and first when,
and ``queue_taken``. What was in flight is hidden until its time; receipt handles of before are no longer known.
"""

from __future__ import annotations

from typing import Any, Final

from sluiceway.config import QueueSettings
from sluiceway.core.store import Tx
from sluiceway.services.queues.groups import GroupedShelf
from sluiceway.services.queues.shelf import Row, Shelf
from sluiceway.services.queues.states import AVAILABLE, COUNTERS, DELAYED, MESSAGES
from sluiceway.services.queues.values import QUEUES, Queue, new_number, parse_queue

_SCHEDULE: Final = "queue_schedule"
_TAKEN: Final = "queue_taken"
_DEDUPLICATION: Final = "queue_deduplication"
_NAMES_END: Final = (-(1 << 62),)  # numbers come after names in the order of keys
_SYSTEM: Final = ("SenderId", "AWSTraceHeader")


def upgrade(tx: Tx, limits: QueueSettings) -> bool:
    """A piece of the work; whether there may be more."""
    queue = _next(tx)
    if queue is None:
        return False
    shelf = (GroupedShelf if queue.fifo else Shelf)(tx, queue, limits)
    left = _ordered(tx, shelf, limits.sweep_max) if queue.fifo else _scheduled(tx, shelf, limits.sweep_max)
    shelf.close()
    if not left:
        for table in (MESSAGES, _SCHEDULE, _TAKEN, _DEDUPLICATION):
            for key, _ in list(tx.scan(table, prefix=(queue.name,))):
                tx.delete(table, key)
        tx.delete(COUNTERS, (queue.name,))
    return True


def _next(tx: Tx) -> Queue | None:
    """A queue that is not brought over yet, or not wholly."""
    for key, _ in tx.scan(COUNTERS, end=_NAMES_END, limit=1):
        row = tx.get(QUEUES, key)
        if row is None:  # it was deleted when it was half done
            tx.delete(COUNTERS, key)
            return _next(tx)
        return _fresh(tx, row)
    old = [row for _, row in tx.scan(QUEUES) if not isinstance(row, bytes)]
    return _fresh(tx, old[0]) if old else None


def _fresh(tx: Tx, row: Any) -> Queue:
    if isinstance(row, bytes):
        return parse_queue(row)
    queue = Queue(**row, id=new_number(), shelf=new_number())
    tx.put(QUEUES, (queue.name,), queue.to_bytes())
    return queue


def _scheduled(tx: Tx, shelf: Shelf, limit: int) -> bool:
    """Messages of a standard queue in the order of their times; whether some are left."""
    places = list(tx.scan(_SCHEDULE, prefix=(shelf.queue.name,), limit=limit))
    for key, (receives, first_ms) in places:
        tx.delete(_SCHEDULE, key)
        message = tx.get(MESSAGES, (shelf.queue.name, key[2]))
        if message is not None:
            row = _row(message) | {"receives": receives}
            if first_ms:
                row["first_ms"] = first_ms
            shelf.add(row, int(key[1]), DELAYED if int(key[1]) > tx.now_ms else AVAILABLE)
            tx.delete(MESSAGES, (shelf.queue.name, key[2]))
    return len(places) == limit


def _ordered(tx: Tx, shelf: Shelf, limit: int) -> bool:
    """Messages of a FIFO queue in their order; whether some are left."""
    messages = list(tx.scan(MESSAGES, prefix=(shelf.queue.name,), limit=limit))
    for key, message in messages:
        tx.delete(MESSAGES, key)
        row = _row(message)
        row["group"] = message["system"].get("MessageGroupId", "")
        row["deduplication"] = message["system"].get("MessageDeduplicationId", "")
        shelf.add(row, row["sent_ms"])
    return len(messages) == limit


def _row(message: dict[str, Any]) -> Row:
    row: Row = {"id": message["id"], "sent_ms": message["sent_ms"], "receives": 0, "body": message["body"]}
    if "attributes" in message:
        row["attributes"] = message["attributes"]
    system = {name: message["system"][name] for name in _SYSTEM if name in message["system"]}
    if system:
        row["system"] = system
    if "DeadLetterQueueSourceArn" in message["system"]:
        row["source"] = message["system"]["DeadLetterQueueSourceArn"]
    return row
