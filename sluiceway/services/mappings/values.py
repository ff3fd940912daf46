"""Event source mappings as values."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from typing import Any, Final, Literal

#: Tables: ``mappings`` (id); ``mapping_results`` (id) for the last result of a queue's mapping.
MAPPINGS: Final = "mappings"
RESULTS: Final = "mapping_results"
#: What wakes those who run mappings, when one is made, changed or removed.
CHANGED: Final = "mappings"

Kind = Literal["kinesis", "dynamodb", "sqs"]


@dataclass(frozen=True, slots=True)
class Source:
    """What a mapping reads: a stream, a table's change stream, or a queue, ``name`` being theirs."""

    kind: Kind
    arn: str
    name: str
    fifo: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """Where a mapping begins in one shard of its source."""

    shard: str
    log: str
    start: int


@dataclass(frozen=True, slots=True)
class SourceMapping:
    """One function on one source (AWS Lambda API reference, EventSourceMappingConfiguration).

    ``retries_max`` and ``age_s_max`` are -1 for no limit. ``filters`` are patterns as text. ``on_failure`` is a
    queue's ARN. ``partial``: the function says which records failed. ``logs`` maps a stream's shards to their
    logs; ``parallel`` is kept for the client only, as records are delivered in order.
    """

    id: str
    function: str
    source: str
    kind: Kind
    modified_ms: int = 0
    enabled: bool = True
    batch_max: int = 100
    window_s: int = 0
    position: str = ""
    position_ms: int | None = None
    bisect: bool = False
    retries_max: int = -1
    age_s_max: int = -1
    parallel: int = 1
    partial: bool = False
    concurrency: int | None = None
    on_failure: str = ""
    filters: list[str] = field(default_factory=list)
    logs: dict[str, str] = field(default_factory=dict)

    @property
    def patterns(self) -> list[Any]:
        """The filters as JSON; a record passes if one matches, or if there are none."""
        return [json.loads(text) for text in self.filters]

    def to_json(self) -> dict[str, Any]:
        """As it is kept in the table "mappings"."""
        return {item.name: getattr(self, item.name) for item in fields(self)}
