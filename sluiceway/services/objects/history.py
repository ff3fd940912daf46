"""A change's place in its bucket's history, and the events that follow from it, all in its transaction."""

from __future__ import annotations

from typing import Any

from sluiceway.core.identity import Scope
from sluiceway.core.store import Tx, View
from sluiceway.services.objects import records
from sluiceway.services.objects.notifications import NotificationPort, matches
from sluiceway.services.objects.rows import SETTINGS, Bucket
from sluiceway.services.objects.values import HISTORY, Actor, Kept


class History:
    """Writes the history of every bucket. ``deliver`` takes what notification rules ask for."""

    def __init__(self, scope: Scope, deliver: NotificationPort) -> None:
        self._scope = scope
        self._deliver = deliver

    def next_sequence(self, view: View, bucket: str) -> int:
        """The offset that the next change of ``bucket`` gets."""
        return view.bounds(HISTORY + bucket).next

    def note(
        self,
        tx: Tx,
        bucket: Bucket,
        event: str,
        key: str,
        sequence: int,
        stored: Kept | None,
        actor: Actor,
        version: str | None = None,
        more: dict[str, Any] | None = None,
    ) -> None:
        """Append ``event`` ("ObjectCreated:Put") and publish it to every rule that matches.

        ``stored`` is None where a version goes for good; then ``version`` names it. Buckets that never had versioning
        name none. ``more`` are members that the record of this event has besides.
        """
        if stored is not None:
            version = stored.version_id
        record = records.record(
            name=event,
            time_ms=tx.now_ms,
            region=self._scope.region,
            bucket=bucket.name,
            owner=bucket.owner,
            key=key,
            sequence=sequence,
            stored=stored,
            actor=actor,
            version=version if bucket.versioning else None,
        )
        if more:
            record |= more
        tx.append(HISTORY + bucket.name, record)
        if "notification" not in bucket.settings:
            return
        for rule in tx.get(SETTINGS, (bucket.name, "notification")) or ():
            if matches(rule, event, key):
                body = records.for_rule(record, rule["id"])
                self._deliver.publish(tx, rule["target"], bucket.arn, self._scope.account, body)
