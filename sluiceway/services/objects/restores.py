"""Which archived objects can be read for a while, and the rows that say so.

Objects in an archive class can't be read until a copy of theirs is restored (S3 User Guide, "Working with archived
objects"). Here no byte moves: the table ``object_restores`` (bucket, sequence) has what was asked for, and
``object_restore_times`` (time, bucket, sequence) when something is next to be done about it: the restore is completed,
or its copy expires. Objects of other classes have no row, so nothing about them costs a read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sluiceway.core.store import Tx, View
from sluiceway.errors import Conflict
from sluiceway.services.objects.values import StoredObject

RESTORES: Final = "object_restores"
TIMES: Final = "object_restore_times"
ARCHIVES: Final = frozenset({"GLACIER", "DEEP_ARCHIVE"})


@dataclass(frozen=True, slots=True)
class Restore:
    """A restore. ``due_ms`` is when it is completed while it is under way; after that ``expires_ms`` is when the copy
    goes, which is 0 before. ``storage_class`` is where the object was."""

    key: str
    days: int
    tier: str
    storage_class: str
    due_ms: int
    expires_ms: int = 0

    @property
    def ongoing(self) -> bool:
        """Whether there is nothing to read yet."""
        return not self.expires_ms

    @property
    def next_ms(self) -> int:
        """When there is something to do."""
        return self.expires_ms or self.due_ms

    def to_json(self) -> dict[str, Any]:
        """The row."""
        return {
            "key": self.key,
            "days": self.days,
            "tier": self.tier,
            "class": self.storage_class,
            "due_ms": self.due_ms,
            "expires_ms": self.expires_ms,
        }

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> Restore:
        """What ``to_json`` wrote."""
        return cls(row["key"], row["days"], row["tier"], row["class"], row["due_ms"], row["expires_ms"])


def restore_of(view: View, bucket: str, stored: StoredObject) -> Restore | None:
    """The restore of a version, if it is archived and one was asked for. A copy whose time is over is none."""
    if stored.attributes.storage_class not in ARCHIVES:
        return None
    found = at(view, bucket, stored.sequence)
    return None if found is None or (found.expires_ms and found.expires_ms <= view.now_ms) else found


def at(view: View, bucket: str, sequence: int) -> Restore | None:
    """The row, whatever its time."""
    row = view.get(RESTORES, (bucket, sequence))
    return None if row is None else Restore.from_json(row)


def check_readable(view: View, bucket: str, stored: StoredObject, message: str) -> None:
    """Raises ``Conflict("archived")`` with ``message`` for an object that has to be restored first."""
    if stored.attributes.storage_class in ARCHIVES:
        found = restore_of(view, bucket, stored)
        if found is None or found.ongoing:
            raise Conflict("archived", message, StorageClass=stored.attributes.storage_class)


def keep(tx: Tx, bucket: str, sequence: int, restore: Restore) -> None:
    """Write a restore, in place of the one that is there."""
    forget(tx, bucket, sequence)
    tx.put(RESTORES, (bucket, sequence), restore.to_json())
    tx.put(TIMES, (restore.next_ms, bucket, sequence), {"key": restore.key})


def forget(tx: Tx, bucket: str, sequence: int) -> None:
    """The version goes, or its copy."""
    known = at(tx, bucket, sequence)
    if known is not None:
        tx.delete(RESTORES, (bucket, sequence))
        tx.delete(TIMES, (known.next_ms, bucket, sequence))
