"""Deletions: by a client or by a lifecycle rule, of a key or of one version for good.

(S3 User Guide, "Deleting object versions from a versioning-enabled bucket", "Deleting objects from
versioning-suspended buckets", "How to perform conditional deletes".)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sluiceway.config import ObjectSettings
from sluiceway.core.store import Tx
from sluiceway.errors import Invalid, NotFound, PreconditionFailed, TooLarge
from sluiceway.services.objects import versions
from sluiceway.services.objects.conditions import check_write
from sluiceway.services.objects.history import History
from sluiceway.services.objects.names import check_key
from sluiceway.services.objects.owning import applied
from sluiceway.services.objects.rows import OBJECTS, Bucket, bucket_of
from sluiceway.services.objects.values import NO_CONDITIONS, Actor, Conditions, Kept, Marker, StoredObject

#: Why one entry of a batch may stay.
Refusal = NotFound | Invalid | TooLarge | PreconditionFailed
#: Who deletes, as the names of events say it.
_CLIENT: Final = "ObjectRemoved"
_LIFECYCLE: Final = "LifecycleExpiration"


@dataclass(frozen=True, slots=True)
class Wanted:
    """One entry of a batch. ``etag`` is what the current version must have, None for whatever there is."""

    key: str
    version: str | None = None
    etag: str | None = None


@dataclass(frozen=True, slots=True)
class Removed:
    """What a deletion did. ``marker`` is whether ``version`` is a delete marker: one that was made, or one that is
    gone. ``version`` is None where there is no versioning."""

    version: str | None = None
    marker: bool = False


class Removals:
    """Every way in which an object or a version goes. Each change has its event in the same transaction."""

    def __init__(self, limits: ObjectSettings, history: History) -> None:
        self._limits = limits
        self._history = history

    def delete(
        self,
        tx: Tx,
        bucket_name: str,
        key: str,
        actor: Actor,
        conditions: Conditions = NO_CONDITIONS,
        version: str | None = None,
    ) -> Removed:
        """Delete a key (in a bucket with versioning: mark it deleted), or the version with an id for good.

        What is not there is success without an event. Raises ``NotFound("bucket"|"key")``, ``PreconditionFailed``,
        ``Invalid("argument")`` for what is no version id.
        """
        bucket = bucket_of(tx, bucket_name)
        check_key(key, self._limits)
        return self._delete(tx, bucket, Wanted(key, version), actor, conditions)

    def delete_many(self, tx: Tx, bucket_name: str, wanted: Sequence[Wanted], actor: Actor) -> list[Removed | Refusal]:
        """Delete each; what became of it, or why it stayed, in their order. Raises ``NotFound("bucket")``."""
        bucket = bucket_of(tx, bucket_name)
        return [self._delete_listed(tx, bucket, one, actor) for one in wanted]

    def expire(self, tx: Tx, bucket_name: str, key: str, sequence: int, actor: Actor) -> bool:
        """A lifecycle rule's deletion of the current version, if that still has this ``sequence``."""
        bucket = bucket_of(tx, bucket_name)
        current = versions.current_at(tx, bucket_name, key)
        if current is None or current.sequence != sequence:
            return False
        self._retire(tx, bucket, key, current, actor, _LIFECYCLE)
        return True

    def expire_version(self, tx: Tx, bucket_name: str, key: str, version: str, actor: Actor) -> bool:
        """A lifecycle rule's deletion for good of a version that is not current (a marker included)."""
        bucket = bucket_of(tx, bucket_name)
        kept = versions.version_at(tx, bucket_name, key, version)
        latest = versions.latest_at(tx, bucket_name, key)
        if kept is None or latest is None or latest.sequence == kept.sequence:
            return False
        self._remove(tx, bucket, key, kept, actor, _LIFECYCLE)
        return True

    def expire_marker(self, tx: Tx, bucket_name: str, key: str, actor: Actor) -> bool:
        """A lifecycle rule's deletion of a delete marker that is all that is left of the key."""
        bucket = bucket_of(tx, bucket_name)
        left = versions.versions_of(tx, bucket_name, key)
        marker = next(left, None)
        if not isinstance(marker, Marker) or next(left, None) is not None:
            return False
        self._remove(tx, bucket, key, marker, actor, _LIFECYCLE)
        return True

    def _delete_listed(self, tx: Tx, bucket: Bucket, wanted: Wanted, actor: Actor) -> Removed | Refusal:
        conditions = NO_CONDITIONS if wanted.etag is None else Conditions(if_match=wanted.etag)
        try:
            check_key(wanted.key, self._limits)
            return self._delete(tx, bucket, wanted, actor, conditions)
        except (NotFound, Invalid, TooLarge, PreconditionFailed) as error:
            # Checks come before changes, so nothing of it is half done; whatever else is raised undoes the batch.
            return error

    def _delete(self, tx: Tx, bucket: Bucket, wanted: Wanted, actor: Actor, conditions: Conditions) -> Removed:
        key, version = wanted.key, wanted.version
        current = None
        if version is None or conditions is not NO_CONDITIONS:
            current = versions.current_at(tx, bucket.name, key)
            _check_current(tx, bucket, key, current, conditions)
        if version is None:
            return self._retire(tx, bucket, key, current, actor, _CLIENT)
        kept = versions.version_at(tx, bucket.name, key, version)
        if kept is None:
            return Removed(version)
        self._remove(tx, bucket, key, kept, actor, _CLIENT)
        return Removed(version, isinstance(kept, Marker))

    def _retire(
        self, tx: Tx, bucket: Bucket, key: str, current: StoredObject | None, actor: Actor, cause: str
    ) -> Removed:
        """Delete a key: its object where there is no versioning, else by a marker, which also a missing key gets."""
        if current is None and not bucket.versioning:
            return Removed()
        sequence = self._history.next_sequence(tx, bucket.name)
        versions.make_way(tx, bucket, key, current)
        if current is not None:
            tx.delete(OBJECTS, (bucket.name, key))
        if not bucket.versioning:
            self._history.note(tx, bucket, f"{cause}:Delete", key, sequence, None, actor)
            return Removed()
        version = versions.new_version(sequence) if bucket.versioning == "Enabled" else None
        marker = Marker(tx.now_ms, sequence, applied(bucket, None, actor)[0], version)
        versions.keep(tx, bucket.name, key, marker)
        self._history.note(tx, bucket, f"{cause}:DeleteMarkerCreated", key, sequence, marker, actor)
        return Removed(marker.version_id, marker=True)

    def _remove(self, tx: Tx, bucket: Bucket, key: str, kept: Kept, actor: Actor, cause: str) -> None:
        sequence = self._history.next_sequence(tx, bucket.name)
        versions.remove(tx, bucket.name, key, kept)
        self._history.note(tx, bucket, f"{cause}:Delete", key, sequence, None, actor, kept.version_id)


def _check_current(tx: Tx, bucket: Bucket, key: str, current: StoredObject | None, conditions: Conditions) -> None:
    """Conditions of a deletion speak of the current version, whichever is to go."""
    try:
        check_write(current, key, conditions)
    except NotFound:
        missing = versions.no_key(tx, bucket, key)
        if missing.detail["marker"] is None:
            raise missing from None
        raise PreconditionFailed(
            "condition", "At least one of the pre-conditions you specified did not hold", Condition="If-Match"
        ) from None
