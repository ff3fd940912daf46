"""What a FIFO queue remembers for five minutes: messages by their deduplication ids, receptions by their attempts.

``queue_memory`` (queue, kind, ...) holds it, ``queue_memory_order`` (queue, until when, kind, ...) in which order it is
forgotten. (SQS Developer Guide, "Exactly-once processing".)
"""

from __future__ import annotations

from typing import Any, Final

from sluiceway.core.store import Tx, View
from sluiceway.services.queues.values import Queue

MEMORY: Final = "queue_memory"
MEMORY_ORDER: Final = "queue_memory_order"
MEMORY_TABLES: Final = (MEMORY, MEMORY_ORDER)
KEPT_MS: Final = 5 * 60 * 1000


def recall(view: View, queue: Queue, *key: str) -> Any:
    """What was remembered under ``key`` within five minutes, or None."""
    row = view.get(MEMORY, (queue.id, *key))
    return row["value"] if row is not None and row["until_ms"] > view.now_ms else None


def remember(tx: Tx, queue: Queue, value: Any, *key: str) -> None:
    """From now on, for five minutes."""
    row = tx.get(MEMORY, (queue.id, *key))
    if row is not None:
        tx.delete(MEMORY_ORDER, (queue.id, row["until_ms"], *key))
    until_ms = tx.now_ms + KEPT_MS
    tx.put(MEMORY, (queue.id, *key), {"until_ms": until_ms, "value": value})
    tx.put(MEMORY_ORDER, (queue.id, until_ms, *key), 1)


def forget(tx: Tx, queue: Queue, limit: int) -> int:
    """Remove up to ``limit`` entries that are over; how many."""
    over = list(tx.scan(MEMORY_ORDER, prefix=(queue.id,), end=(queue.id, tx.now_ms + 1), limit=limit))
    for key, _ in over:
        tx.delete(MEMORY_ORDER, key)
        tx.delete(MEMORY, (queue.id, *key[2:]))
    return len(over)
