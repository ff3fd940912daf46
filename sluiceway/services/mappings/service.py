"""The mappings of functions on sources, as transaction functions.

A mapping of a stream is one ordered reaction for each of the shards' logs; a queue's is read by
``reactions.sources.QueuePoller``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

from sluiceway.config import MappingSettings
from sluiceway.core.clock import new_id
from sluiceway.core.identity import Scope
from sluiceway.core.reaction import Reaction, RetryPolicy, Target
from sluiceway.core.store import Tx, View
from sluiceway.errors import AlreadyExists, NotFound, Throttled
from sluiceway.services.mappings.checks import check
from sluiceway.services.mappings.values import CHANGED, MAPPINGS, RESULTS, Place, Source, SourceMapping
from sluiceway.services.reactions import Reactions

_FOR_EVER: Final = 1 << 53
_STREAM_BATCH: Final = 100
_QUEUE_BATCH: Final = 10

NOTHING_YET: Final = "No records processed"
OK: Final = "OK"
PROBLEM: Final = "PROBLEM: Function call failed"


class Mappings:
    """``reactions`` carries out the mappings of streams."""

    def __init__(self, scope: Scope, limits: MappingSettings, reactions: Reactions) -> None:
        self.scope = scope
        self._limits = limits
        self._reactions = reactions

    def arn(self, mapping_id: str) -> str:
        """The mapping's ARN."""
        return self.scope.arn("lambda", f"event-source-mapping:{mapping_id}")

    def create(
        self, tx: Tx, source: Source, function: str, settings: dict[str, Any], places: Sequence[Place] = ()
    ) -> SourceMapping:
        """Add a mapping; ``settings`` are fields of ``SourceMapping``, ``places`` where to begin in each shard.

        Raises ``AlreadyExists("mapping")``, ``Invalid``, ``Throttled("mappings")``.
        """
        existing = list(self.all(tx))
        for one in existing:
            if (one.source, one.function) == (source.arn, function):
                raise AlreadyExists("mapping", f'The event source arn (" {source.arn} ") and function (" {function} ") '
                                    "provided mapping already exists. Please update or delete the existing mapping with "
                                    f"UUID {one.id}")  # fmt: skip
        if len(existing) >= self._limits.mappings_max:
            raise Throttled("mappings", f"There are {len(existing)} event source mappings already.")
        given = {"batch_max": _QUEUE_BATCH if source.kind == "sqs" else _STREAM_BATCH} | settings
        logs = {place.shard: place.log for place in places}
        mapping = SourceMapping(new_id(), function, source.arn, source.kind, tx.now_ms, logs=logs, **given)
        check(mapping, source, self.scope, self._limits)
        for place in places:
            self._reactions.create(tx, self._reaction(mapping, place.shard, place.log), place.start)
        tx.put(MAPPINGS, (mapping.id,), mapping.to_json())
        tx.on_commit(CHANGED)
        return mapping

    def find(self, view: View, mapping_id: str) -> SourceMapping | None:
        """The mapping, or None."""
        row: Any = view.get(MAPPINGS, (mapping_id,))
        return None if row is None else SourceMapping(**row)

    def get(self, view: View, mapping_id: str) -> SourceMapping:
        """Raises ``NotFound("mapping")``."""
        found = self.find(view, mapping_id)
        if found is None:
            raise NotFound("mapping", "The resource you requested does not exist.")
        return found

    def all(self, view: View, after: str = "") -> Iterator[SourceMapping]:
        """Mappings by id, those behind ``after``."""
        for _, row in view.scan(MAPPINGS, start=(after + "\0",) if after else None):
            yield SourceMapping(**row)

    def update(self, tx: Tx, mapping_id: str, source: Source, settings: dict[str, Any]) -> SourceMapping:
        """Change settings (``function`` among them); the position in the source stays.

        Raises ``NotFound("mapping")``, ``Invalid``.
        """
        mapping = replace(self.get(tx, mapping_id), modified_ms=tx.now_ms, **settings)
        check(mapping, source, self.scope, self._limits)
        for shard, log in mapping.logs.items():
            self._reactions.update(tx, self._reaction(mapping, shard, log))
        tx.put(MAPPINGS, (mapping.id,), mapping.to_json())
        tx.on_commit(CHANGED)
        return mapping

    def remove(self, tx: Tx, mapping_id: str) -> SourceMapping:
        """Remove the mapping with its positions. Raises ``NotFound("mapping")``."""
        mapping = self.get(tx, mapping_id)
        for shard in mapping.logs:
            self._reactions.delete(tx, reaction_id(mapping.id, shard))
        tx.delete(MAPPINGS, (mapping.id,))
        tx.delete(RESULTS, (mapping.id,))
        tx.on_commit(CHANGED)
        return mapping

    def result(self, view: View, mapping: SourceMapping) -> str:
        """What became of the last batch, in Lambda's words."""
        if mapping.kind == "sqs":
            return str(view.get(RESULTS, (mapping.id,)) or NOTHING_YET)
        results = [self._shard_result(view, mapping, shard) for shard in mapping.logs]
        return max(results, key=(NOTHING_YET, OK, PROBLEM).index, default=NOTHING_YET)

    def note(self, tx: Tx, mapping_id: str, result: str) -> None:
        """Keep the last result of a queue's mapping, if it is still there."""
        if tx.get(MAPPINGS, (mapping_id,)) is not None and tx.get(RESULTS, (mapping_id,)) != result:
            tx.put(RESULTS, (mapping_id,), result)

    # -- inside

    def _shard_result(self, view: View, mapping: SourceMapping, shard: str) -> str:
        position = self._reactions.position(view, reaction_id(mapping.id, shard))
        if position is None or not (position.delivered or position.failed):
            return NOTHING_YET
        return PROBLEM if position.tries or not position.delivered else OK

    def _reaction(self, mapping: SourceMapping, shard: str, log: str) -> Reaction:
        limits = self._limits
        options = {
            "mapping": mapping.id,
            "kind": mapping.kind,
            "source": mapping.source,
            "shard": shard,
            "partial": mapping.partial,
        }
        retry = RetryPolicy(
            tries_max=_FOR_EVER if mapping.retries_max < 0 else mapping.retries_max + 1,
            delay_min_ms=limits.retry_ms_min,
            delay_max_ms=limits.retry_ms_max,
            age_max_ms=max(0, mapping.age_s_max) * 1000,
        )
        form = "stream" if mapping.kind == "kinesis" else "patterns"
        return Reaction(
            id=reaction_id(mapping.id, shard),
            log=log,
            target=Target("event-source", mapping.function, options),
            filter={form: mapping.patterns} if mapping.filters else None,
            retry=retry,
            dead_letter=mapping.on_failure or None,
            ordered=True,
            batch_max=min(mapping.batch_max, limits.held_max),
            batch_window_ms=mapping.window_s * 1000,
            concurrency=1,
            paused=not mapping.enabled,
            bisect=mapping.bisect,
        )


def reaction_id(mapping_id: str, shard: str) -> str:
    """The reaction of a mapping on one shard."""
    return f"mapping/{mapping_id}/{shard}"
