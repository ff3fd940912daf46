"""A bucket's lifecycle configuration, and what its rules do, each piece of it in one transaction with its events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from sluiceway.core.store import Tx, View
from sluiceway.services.objects import versions
from sluiceway.services.objects.buckets import Buckets
from sluiceway.services.objects.history import History
from sluiceway.services.objects.lifecycle.evaluation import (
    Subject,
    abortion,
    expiration,
    is_marker_over,
    is_old_over,
    old_transition,
    transition,
)
from sluiceway.services.objects.lifecycle.looking import Candidate, Work, standing, subject_of
from sluiceway.services.objects.lifecycle.positions import forget_position, keep_position, position_of
from sluiceway.services.objects.lifecycle.rules import SETTING, Rules, rules_of
from sluiceway.services.objects.multipart import Multipart
from sluiceway.services.objects.removals import Removals
from sluiceway.services.objects.rows import UPLOADS, VERSIONS, Bucket, bucket_of
from sluiceway.services.objects.values import Actor, Marker, StoredObject, kept_of

#: Who waits for this is told that some bucket has other rules.
WAKE: Final = "lifecycle"
_MISSING: Final = "The lifecycle configuration does not exist"


class Lifecycle:
    """``put``, ``get`` and ``delete`` are the configuration; ``carry_out`` is what a run does."""

    def __init__(self, buckets: Buckets, multipart: Multipart, removals: Removals, history: History) -> None:
        self._buckets = buckets
        self._multipart = multipart
        self._removals = removals
        self._history = history

    def put(self, tx: Tx, bucket: str, rules: Sequence[dict[str, Any]], minimum: str) -> None:
        """Replace the configuration by one that ``checks`` have passed, and let it be looked at from the beginning.

        Raises ``NotFound("bucket")``.
        """
        self._buckets.put_setting(tx, bucket, SETTING, {"rules": list(rules), "minimum": minimum})
        forget_position(tx, bucket)
        tx.on_commit(WAKE)

    def get(self, view: View, bucket: str) -> dict[str, Any]:
        """ "rules" and "minimum" as they were put. Raises ``NotFound("bucket" | "lifecycle")``."""
        kept: dict[str, Any] = self._buckets.setting(view, bucket, SETTING, _MISSING)
        return kept

    def delete(self, tx: Tx, bucket: str) -> None:
        """Raises ``NotFound("bucket")``."""
        self._buckets.delete_setting(tx, bucket, SETTING)
        forget_position(tx, bucket)

    def carry_out(self, tx: Tx, work: Work, actor: Actor) -> bool:
        """Do what is still due of ``work``, and keep how far the run has come.

        False, and nothing is done: the run is not where it was when the work was found, as after a new configuration.
        """
        if position_of(tx, work.bucket) != work.seen:
            return False
        rules = rules_of(tx, work.bucket)
        bucket = bucket_of(tx, work.bucket)
        for candidate in work.due:
            self._handle(tx, bucket, rules, candidate, replace(actor, canonical_id=bucket.owner))
        keep_position(tx, work.bucket, work.next)
        return True

    def _handle(self, tx: Tx, bucket: Bucket, rules: Rules, candidate: Candidate, actor: Actor) -> None:
        key, part = candidate.key, candidate.part
        if candidate.kind == "object":
            self._object(tx, bucket, rules, key, actor)
        elif candidate.kind == "version":
            self._version(tx, bucket, rules, key, int(part), actor)
        elif candidate.kind == "marker":
            self._marker(tx, bucket, rules, key, actor)
        else:
            self._upload(tx, bucket, rules, key, str(part))

    def _object(self, tx: Tx, bucket: Bucket, rules: Rules, key: str, actor: Actor) -> None:
        """Permanent deletion comes before a move, and a move before a delete marker (S3 User Guide, "conflicts")."""
        stored = versions.current_at(tx, bucket.name, key)
        if stored is None:
            return
        subject = Subject.of(key, stored)
        due = expiration(rules.rules, subject)
        over = due is not None and due[0] <= tx.now_ms
        if not over or bucket.versioning:
            self._move(tx, bucket, key, stored, transition(rules, subject, tx.now_ms), actor)
        if over:
            self._removals.expire(tx, bucket.name, key, stored.sequence, actor)

    def _version(self, tx: Tx, bucket: Bucket, rules: Rules, key: str, sequence: int, actor: Actor) -> None:
        row = tx.get(VERSIONS, (bucket.name, key, -sequence))
        if row is None:
            return
        kept = kept_of(row)
        since_ms, newer = standing(tx, bucket.name, key, kept, rules.newer_max)
        if since_ms is None:
            return
        subject = subject_of(key, kept)
        if is_old_over(rules.rules, subject, since_ms, newer, tx.now_ms):
            self._removals.expire_version(tx, bucket.name, key, kept.version_id, actor)
        elif isinstance(kept, StoredObject):
            wanted = old_transition(rules, subject, since_ms, newer, tx.now_ms)
            self._move(tx, bucket, key, kept, wanted, actor)

    def _marker(self, tx: Tx, bucket: Bucket, rules: Rules, key: str, actor: Actor) -> None:
        kept = versions.latest_at(tx, bucket.name, key)
        if isinstance(kept, Marker) and is_marker_over(rules.rules, subject_of(key, kept), tx.now_ms):
            self._removals.expire_marker(tx, bucket.name, key, actor)

    def _upload(self, tx: Tx, bucket: Bucket, rules: Rules, key: str, upload_id: str) -> None:
        row = tx.get(UPLOADS, (bucket.name, key, upload_id))
        due = None if row is None else abortion(rules.rules, key, row["initiated_ms"])
        if due is not None and due[0] <= tx.now_ms:
            self._multipart.abort(tx, bucket.name, key, upload_id)

    def _move(
        self, tx: Tx, bucket: Bucket, key: str, stored: StoredObject, storage_class: str | None, actor: Actor
    ) -> None:
        if storage_class is None:
            return
        moved = replace(stored, attributes=replace(stored.attributes, storage_class=storage_class))
        versions.rewrite(tx, bucket.name, key, moved)
        sequence = self._history.next_sequence(tx, bucket.name)
        more = {"lifecycleEventData": {"transitionEventData": {"destinationStorageClass": storage_class}}}
        self._history.note(tx, bucket, "LifecycleTransition", key, sequence, moved, actor, more=more)
