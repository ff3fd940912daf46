"""Which blobs are in use, and which wait to be deleted.

A blob may be shared (a copy does not move bytes), so each has a count of references in the table
``blobs``. The transaction that drops the last one notes the blob in ``blob_garbage``; the bytes are
deleted after the commit, by whoever runs the sweep. A blob in neither table is an orphan of a crash
between seal and commit.
"""

from __future__ import annotations

from collections.abc import Iterable

from sluiceway.core.store import Tx, View
from sluiceway.errors import Conflict

BLOBS = "blobs"
GARBAGE = "blob_garbage"


def adopt(tx: Tx, blob: str) -> None:
    """Take the first reference to a blob that was just sealed."""
    tx.put(BLOBS, (blob,), 1)


def share(tx: Tx, blob: str) -> None:
    """Take one more reference. Raises ``Conflict("blob")`` if the blob went away meanwhile."""
    count = tx.get(BLOBS, (blob,))
    if not count:
        raise Conflict("blob", "The source was changed while it was being copied. Please try again.")
    tx.put(BLOBS, (blob,), count + 1)


def drop(tx: Tx, blobs: Iterable[str]) -> None:
    """Give back one reference to each of ``blobs``; the last one makes it garbage."""
    for blob in blobs:
        count = tx.get(BLOBS, (blob,)) or 0
        if count > 1:
            tx.put(BLOBS, (blob,), count - 1)
            continue
        tx.delete(BLOBS, (blob,))
        tx.put(GARBAGE, (blob,), {"since_ms": tx.now_ms})
        tx.on_commit(GARBAGE)


def waiting(view: View, limit: int) -> list[str]:
    """Up to ``limit`` blobs that wait to be deleted."""
    return [str(key[0]) for key, _ in view.scan(GARBAGE, limit=limit)]


def forget(tx: Tx, blobs: list[str]) -> None:
    """These blobs are deleted from disk."""
    for blob in blobs:
        tx.delete(GARBAGE, (blob,))


def known(view: View, blobs: Iterable[str]) -> set[str]:
    """Those of ``blobs`` that are in one of the tables: somebody reads what waits to be deleted, maybe."""
    return {blob for blob in blobs if any(view.get(table, (blob,)) is not None for table in (BLOBS, GARBAGE))}
