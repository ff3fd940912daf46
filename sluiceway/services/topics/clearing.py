"""What is left of deleted topics, removed a bounded piece at a time: nobody may hold up the writer for long."""

from __future__ import annotations

from typing import Final

from sluiceway.core.store import Tx, View
from sluiceway.services.topics.values import DEDUPLICATION, REMAINS, Topic

WORK: Final = "topic_work"  # woken when there is something to clear away


def discard(tx: Tx, topic: Topic) -> None:
    """Forget what the topic remembers of messages. No topic made later has the same memory (one of 0.1 has its name;
    its successors have not), so that nobody sees what is left of it."""
    if any(True for _ in tx.scan(DEDUPLICATION, prefix=(topic.memory_key,), limit=1)):
        tx.put(REMAINS, (topic.memory_key,), {})
        tx.on_commit(WORK)


def has_remains(view: View) -> bool:
    """Whether there is something to clear away."""
    return any(True for _ in view.scan(REMAINS, limit=1))


def clear(tx: Tx, limit: int) -> None:
    """Remove up to ``limit`` rows that a deleted topic left."""
    for key, _ in list(tx.scan(REMAINS, limit=1)):
        rows = list(tx.scan(DEDUPLICATION, prefix=(key[0],), limit=limit))
        for row, _ in rows:
            tx.delete(DEDUPLICATION, row)
        if len(rows) < limit:
            tx.delete(REMAINS, key)
