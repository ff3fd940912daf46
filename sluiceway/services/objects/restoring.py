"""RestoreObject: asking for a copy of an archived object, and what becomes of it, each step with its event.

(S3 API reference, RestoreObject; S3 User Guide, "Restoring an archived object", "Supported event types".)
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from sluiceway.config import ObjectSettings
from sluiceway.core.store import Tx, View
from sluiceway.errors import Conflict, Invalid
from sluiceway.services.objects import records, restores, versions
from sluiceway.services.objects.history import History
from sluiceway.services.objects.lifecycle.evaluation import due_after
from sluiceway.services.objects.restores import ARCHIVES, TIMES, Restore
from sluiceway.services.objects.rows import BUCKETS, Bucket, bucket_of
from sluiceway.services.objects.values import Actor, StoredObject

#: Who waits for this is told that there is a restore to complete.
WAKE: Final = "restores"
#: From slow to fast; one that is under way can be asked for again by a faster one.
TIERS: Final = ("Bulk", "Standard", "Expedited")
_DAYS_MAX: Final = 2**31 - 1


class Restoring:
    """``ask`` begins a restore; ``carry_out`` completes restores, and lets copies go, when their time has come."""

    def __init__(self, limits: ObjectSettings, history: History) -> None:
        self._limits = limits
        self._history = history

    def ask(
        self, tx: Tx, bucket_name: str, key: str, version: str | None, days: int | None, tier: str, actor: Actor
    ) -> bool:
        """Ask for a copy that stays for ``days``; whether there was one already, which now stays as long from now on.

        Raises as ``versions.object_at``, ``Conflict("archived" | "active" | "restoring")``, ``Invalid("argument" |
        "malformed")``.
        """
        bucket = bucket_of(tx, bucket_name)
        stored = versions.object_at(tx, bucket, key, version)
        about = stored.attributes.storage_class
        days = _checked(about, days, tier)
        known = restores.restore_of(tx, bucket_name, stored)
        if known is None:
            due_ms = tx.now_ms + round(self._limits.restore_s * 1000)
            restores.keep(tx, bucket_name, stored.sequence, Restore(key, days, tier, about, due_ms))
            self._note(tx, bucket, "Post", key, stored, actor)
        elif known.ongoing:
            if TIERS.index(tier) <= TIERS.index(known.tier):
                raise Conflict("restoring", "Object restore is already in progress")
            restores.keep(tx, bucket_name, stored.sequence, replace(known, tier=tier))
        else:
            longer = replace(known, days=days, expires_ms=due_after(tx.now_ms, days))
            restores.keep(tx, bucket_name, stored.sequence, longer)
        tx.on_commit(WAKE)
        return known is not None and not known.ongoing

    def next_ms(self, view: View) -> int | None:
        """When there is something to do; None if there is nothing."""
        for key, _ in view.scan(TIMES, limit=1):
            return int(key[0])
        return None

    def carry_out(self, tx: Tx, count_max: int, actor: Actor) -> int:
        """Do up to ``count_max`` of what is due; how many."""
        due = list(tx.scan(TIMES, end=(tx.now_ms + 1,), limit=count_max))
        for (_, name, sequence), _ in due:
            self._step(tx, str(name), int(sequence), actor)
        return len(due)

    def _step(self, tx: Tx, name: str, sequence: int, actor: Actor) -> None:
        known = restores.at(tx, name, sequence)
        row = tx.get(BUCKETS, (name,))
        stored = None if known is None else versions.at_sequence(tx, name, known.key, sequence)
        if known is None or row is None or stored is None:
            restores.forget(tx, name, sequence)  # never so, as a restore goes with its version
            return
        bucket = Bucket.from_json(name, row)
        if known.ongoing:
            done = replace(known, expires_ms=due_after(tx.now_ms, known.days))
            restores.keep(tx, name, sequence, done)
            self._note(tx, bucket, "Completed", known.key, stored, actor, _told(done))
        else:
            restores.forget(tx, name, sequence)
            self._note(tx, bucket, "Delete", known.key, stored, actor)

    def _note(
        self,
        tx: Tx,
        bucket: Bucket,
        event: str,
        key: str,
        stored: StoredObject,
        actor: Actor,
        more: dict[str, Any] | None = None,
    ) -> None:
        sequence = self._history.next_sequence(tx, bucket.name)
        self._history.note(tx, bucket, f"ObjectRestore:{event}", key, sequence, stored, actor, more=more)


def _checked(storage_class: str, days: int | None, tier: str) -> int:
    """The days that a copy stays. Raises ``Conflict``, ``Invalid``."""
    if storage_class == "INTELLIGENT_TIERING":
        # Its archive tiers are opted into by a configuration that buckets don't have here.
        if days is not None:
            raise _argument(
                "INTELLIGENT_TIERING objects are not subject to restore expiry. Do not specify Days when restoring "
                "this object"
            )
        raise Conflict("active", "This action is not allowed against this storage tier.")
    if storage_class not in ARCHIVES:
        raise Conflict("archived", "Restore is not allowed for the object's current storage class")
    if days is None or tier not in TIERS:
        raise Invalid("malformed", "The XML you provided was not well-formed or did not validate")
    if not 1 <= days <= _DAYS_MAX:
        raise _argument("Restoration days should be at least 1")
    if tier == "Expedited" and storage_class == "DEEP_ARCHIVE":
        raise _argument("Retrieval option is not supported by this storage class")
    return days


def _argument(message: str) -> Invalid:
    return Invalid("argument", message)


def _told(restore: Restore) -> dict[str, Any]:
    """What the record of a completed restore has besides (S3 User Guide, "Event message structure")."""
    about = {
        "lifecycleRestorationExpiryTime": records.timestamp(restore.expires_ms),
        "lifecycleRestoreStorageClass": restore.storage_class,
    }
    return {"glacierEventData": {"restoreEventData": about}}
