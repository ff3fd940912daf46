"""What can be the source of a mapping, behind one face."""

from __future__ import annotations

from typing import Protocol

from sluiceway.core.identity import Arn, Scope
from sluiceway.core.store import View
from sluiceway.errors import Invalid
from sluiceway.services.mappings.values import Place, Source
from sluiceway.services.queues import Queue

#: The one shard of a table's change stream.
TABLE_SHARD = "shardId-00000000000000000000-00000001"


class StreamShards(Protocol):
    """The stream service, as far as mappings need it."""

    def starts(
        self, view: View, stream_arn: str, position: str, time_ms: int | None = None
    ) -> list[tuple[str, str, int]]:
        """(shard id, log, offset) of every shard. Raises ``NotFound("stream")``, ``Invalid``."""


class TableStreams(Protocol):
    """The table service, as far as mappings need it."""

    def stream_log(self, view: View, stream_arn: str) -> str:
        """The log of a table's changes. Raises ``NotFound`` if the table has no such stream."""


class QueueNames(Protocol):
    """The queue service, as far as mappings need it."""

    def get(self, view: View, name: str) -> Queue:
        """Raises ``NotFound("queue")``."""


class Sources:
    """Finds sources by their ARNs."""

    def __init__(self, scope: Scope, streams: StreamShards, tables: TableStreams, queues: QueueNames) -> None:
        self._scope = scope
        self._streams = streams
        self._tables = tables
        self._queues = queues

    def find(self, view: View, arn: str) -> Source:
        """The source of this ARN. Raises ``Invalid("source")``; ``NotFound`` if it is a queue that is not there."""
        try:
            parsed = Arn.parse(arn)
        except ValueError:
            raise Invalid("source", f"Unrecognized event source: {arn[:200]}") from None
        if (parsed.region, parsed.account) != (self._scope.region, self._scope.account):
            raise Invalid("source", f"The event source {arn[:200]} is not of this account and region.")
        kind, _, name = parsed.resource.partition("/")
        if parsed.service == "sqs":
            return Source("sqs", arn, parsed.resource, fifo=self._queues.get(view, parsed.resource).fifo)
        if parsed.service == "kinesis" and kind == "stream":
            return Source("kinesis", arn, name)
        if parsed.service == "dynamodb" and kind == "table" and "/stream/" in name:
            return Source("dynamodb", arn, name.partition("/")[0])
        raise Invalid("source", f"Unrecognized event source: {arn[:200]}")

    def places(self, view: View, source: Source, position: str, time_ms: int | None) -> list[Place]:
        """Where every shard's ``position`` is; none for a queue. Raises ``NotFound``, ``Invalid``."""
        if source.kind == "sqs":
            return []
        if source.kind == "kinesis":
            return [Place(*one) for one in self._streams.starts(view, source.arn, position, time_ms)]
        log = self._tables.stream_log(view, source.arn)
        bounds = view.bounds(log)
        return [Place(TABLE_SHARD, log, bounds.next if position == "LATEST" else bounds.first)]
