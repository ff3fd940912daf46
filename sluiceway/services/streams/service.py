"""The stream service, as transaction functions.

A shard is a log; a record's sequence number is its offset. Shards are fixed when a stream is made. Records past
their retention are hidden at once, and forgotten little by little as new ones come (or by ``sweep``).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

from sluiceway.config import StreamSettings
from sluiceway.core.identity import Arn, Scope
from sluiceway.core.store import Tx, View
from sluiceway.errors import AlreadyExists, Conflict, Invalid, NotFound, Throttled, TooLarge
from sluiceway.services.reactions import offset_at
from sluiceway.services.streams.values import (
    LEFTOVERS,
    STREAMS,
    Batch,
    Put,
    Record,
    Shard,
    ShardIterator,
    Stream,
    hash_of,
    log_of,
    offset_of,
    record_of,
    sequence_of,
)

_NAME: Final = re.compile(r"[a-zA-Z0-9_.-]{1,128}")
_PARTITION_KEY_CHARS: Final = 256
_HOUR_MS: Final = 3600 * 1000

#: A record to put: data, partition key, explicit hash key or None.
NewRecord = tuple[bytes, str, str | None]


class Streams:
    """``scope`` is the account and region of every stream."""

    def __init__(self, scope: Scope, limits: StreamSettings) -> None:
        self.scope = scope
        self._limits = limits

    def arn(self, name: str) -> str:
        """The stream's ARN."""
        return self.scope.arn("kinesis", f"stream/{name}")

    def name_of(self, arn: str) -> str:
        """The stream that an ARN names. Raises ``Invalid("arn")``; ``NotFound("stream")`` for another account's."""
        try:
            parsed = Arn.parse(arn)
        except ValueError:
            raise Invalid("arn", f"{arn[:200]} is not a stream's ARN.") from None
        kind, _, name = parsed.resource.partition("/")
        if parsed.service != "kinesis" or kind != "stream" or not _NAME.fullmatch(name):
            raise Invalid("arn", f"{arn[:200]} is not a stream's ARN.")
        if arn != self.arn(name):
            raise NotFound("stream", f"Stream {name} under account {parsed.account} not found.")
        return name

    def shard_log(self, name: str, shard_id: str) -> str:
        """The log of a shard's records."""
        return log_of(name, shard_id)

    def shard_logs(self, view: View, stream_arn: str) -> list[tuple[str, str]]:
        """(shard id, log) of every shard. Raises ``NotFound("stream")``, ``Invalid("arn")``."""
        return [(shard.id, shard.log) for shard in self.get(view, self.name_of(stream_arn)).shards]

    # -- streams

    def create(
        self, tx: Tx, name: str, shard_count: int | None, mode: str = "PROVISIONED", tags: dict[str, str] | None = None
    ) -> Stream:
        """Make a stream; it is active at once.

        Raises ``Invalid("name" | "shard_count" | "mode" | "tags")``, ``AlreadyExists("stream")``,
        ``Throttled("streams")``.
        """
        if not _NAME.fullmatch(name):
            raise Invalid("name", "A stream's name has 1 to 128 letters, digits, dots, hyphens and underscores.")
        if mode not in ("PROVISIONED", "ON_DEMAND"):
            raise Invalid("mode", f"There is no stream mode {mode[:50]}.")
        if tx.get(STREAMS, (name,)) is not None:
            raise AlreadyExists("stream", f"Stream {name} under account {self.scope.account} already exists.")
        count = shard_count if mode == "PROVISIONED" else self._limits.on_demand_shards
        if count is None or count < 1:
            raise Invalid("shard_count", "ShardCount must be at least 1 in the mode PROVISIONED.")
        self._check_room(tx, count)
        stream = Stream(name, tx.now_ms, mode, [0] * count, self._limits.retention_h)
        starts = [tx.bounds(shard.log).next for shard in stream.shards]
        stream = replace(stream, starts=starts, tags=self._checked_tags(tags or {}))
        tx.put(STREAMS, (name,), stream.to_json())
        return stream

    def get(self, view: View, name: str) -> Stream:
        """Raises ``NotFound("stream")``."""
        row: Any = view.get(STREAMS, (name,))
        if row is None:
            raise NotFound("stream", f"Stream {name} under account {self.scope.account} not found.")
        return Stream(**row)

    def all(self, view: View, after: str = "") -> Iterator[Stream]:
        """Streams by name, those behind ``after``."""
        for _, row in view.scan(STREAMS, start=(after + "\0",) if after else None):
            yield Stream(**row)

    def delete(self, tx: Tx, name: str) -> None:
        """Remove the stream with its records; ``sweep`` forgets what is too much for one transaction.

        Raises ``NotFound("stream")``.
        """
        stream = self.get(tx, name)
        budget = self._limits.trim_max
        for shard in stream.shards:
            bounds = tx.bounds(shard.log)
            floor = min(bounds.next, bounds.first + budget)
            budget -= _trim(tx, shard.log, floor)
            if floor < bounds.next:
                tx.put(LEFTOVERS, (shard.log,), bounds.next)
        tx.delete(STREAMS, (name,))

    def set_retention(self, tx: Tx, name: str, hours: int, *, longer: bool) -> None:
        """Keep records for ``hours`` from now on. Raises ``NotFound("stream")``, ``Invalid("retention")``."""
        stream = self.get(tx, name)
        if not self._limits.retention_h <= hours <= self._limits.retention_h_max:
            raise Invalid(
                "retention", f"Retention is {self._limits.retention_h} to {self._limits.retention_h_max} hours."
            )
        if hours != stream.retention_h and (hours > stream.retention_h) != longer:
            word = "less" if longer else "more"
            raise Invalid("retention", f"{hours} hours are {word} than the {stream.retention_h} of {name}.")
        tx.put(STREAMS, (name,), replace(stream, retention_h=hours).to_json())

    def retag(self, tx: Tx, name: str, add: dict[str, str], remove: Sequence[str] = ()) -> None:
        """Add and remove tags. Raises ``NotFound("stream")``, ``Invalid("tags")``."""
        stream = self.get(tx, name)
        tags = {key: value for key, value in {**stream.tags, **add}.items() if key not in remove}
        tx.put(STREAMS, (name,), replace(stream, tags=self._checked_tags(tags)).to_json())

    def starts(
        self, view: View, stream_arn: str, position: str, time_ms: int | None = None
    ) -> list[tuple[str, str, int]]:
        """(shard id, log, offset) of every shard's ``position`` (TRIM_HORIZON, LATEST, AT_TIMESTAMP).

        Raises as ``shard_logs`` and ``iterator``.
        """
        stream = self.get(view, self.name_of(stream_arn))
        return [(one.id, one.log, self._offset(view, stream, one, position, None, time_ms)) for one in stream.shards]

    def shards_open(self, view: View) -> int:
        """Shards of all streams."""
        return sum(len(stream.starts) for stream in self.all(view))

    # -- records

    def put(self, tx: Tx, name: str, data: bytes, partition_key: str, explicit_hash: str | None = None) -> Put:
        """Append a record. Raises ``NotFound("stream")``, ``Invalid``, ``TooLarge("record")``."""
        return self.put_many(tx, name, [(data, partition_key, explicit_hash)])[0]

    def put_many(self, tx: Tx, name: str, records: Sequence[NewRecord]) -> list[Put]:
        """Append records, all or none. Raises as ``put``, and ``Invalid("batch")``, ``TooLarge("batch")``."""
        stream = self.get(tx, name)
        if not 1 <= len(records) <= self._limits.batch_max:
            raise Invalid("batch", f"A batch has 1 to {self._limits.batch_max} records.")
        if sum(self._checked_size(data, key) for data, key, _ in records) > self._limits.batch_bytes_max:
            raise TooLarge("batch", f"The records exceed {self._limits.batch_bytes_max} bytes.")
        return [self._append(tx, stream, record) for record in records]

    def iterator(
        self, view: View, name: str, shard_id: str, kind: str, sequence: str | None = None, time_ms: int | None = None
    ) -> str:
        """A token for ``read``. ``kind`` is the API's ShardIteratorType.

        Raises ``NotFound("stream" | "shard")``, ``Invalid("iterator_type" | "sequence" | "timestamp")``.
        """
        stream = self.get(view, name)
        shard = stream.shard(shard_id)
        if shard is None:
            raise NotFound(
                "shard", f"Shard {shard_id[:128]} in stream {name} under account {self.scope.account} does not exist"
            )
        offset = self._offset(view, stream, shard, kind, sequence, time_ms)
        return ShardIterator(name, stream.created_ms, shard_id, offset, view.now_ms).token()

    def stream_of(self, token: str) -> str:
        """The name of the stream that an iterator is for. Raises ``Invalid("iterator")``."""
        return ShardIterator.parse(token).stream

    def read(self, view: View, token: str, limit: int | None = None) -> Batch:
        """The records from the iterator on, as many as the limits allow.

        Raises ``Invalid("iterator" | "limit")``, ``Conflict("iterator_expired")``, ``NotFound("stream")``.
        """
        place = ShardIterator.parse(token)
        stream = self.get(view, place.stream)
        shard = stream.shard(place.shard_id)
        if shard is None or stream.created_ms != place.created_ms or place.offset > view.bounds(shard.log).next:
            raise Invalid("iterator", "Invalid ShardIterator.")
        age_ms = view.now_ms - place.issued_ms
        if age_ms > self._limits.iterator_s * 1000:
            raise Conflict("iterator_expired", f"Iterator expired: it was made {age_ms // 1000} s ago, "
                           f"while the maximum allowed delay is {self._limits.iterator_s} s.")  # fmt: skip
        count = self._limits.read_max if limit is None else limit
        if not 1 <= count <= self._limits.read_max:
            raise Invalid("limit", f"Limit must be 1 to {self._limits.read_max}.")
        start = max(place.offset, self.horizon(view, stream, shard))
        records = self._records(view, shard, start, count)
        following = offset_of(records[-1].sequence) + 1 if records else start
        behind_ms = self._behind_ms(view, shard, following)
        token = ShardIterator(stream.name, stream.created_ms, shard.id, following, view.now_ms).token()
        return Batch(records, token, behind_ms)

    def horizon(self, view: View, stream: Stream, shard: Shard) -> int:
        """The first offset of the shard whose record's retention is not over."""
        bounds = view.bounds(shard.log)
        first = max(bounds.first, shard.start)
        oldest = view.read(shard.log, first, 1)
        before_ms = view.now_ms - stream.retention_h * _HOUR_MS
        if not oldest or oldest[0].time_ms >= before_ms:
            return first
        return max(first, offset_at(view, shard.log, before_ms))

    def sweep(self, tx: Tx) -> int:
        """Forget records of removed streams and those past their retention, at most ``trim_max``; how many.

        Call it again at once while it answers ``trim_max``.
        """
        budget = self._limits.trim_max
        for key, end in list(tx.scan(LEFTOVERS, limit=self._limits.page_max)):
            log = str(key[0])
            first = tx.bounds(log).first
            budget -= _trim(tx, log, min(end, first + budget))
            if tx.bounds(log).first >= end:
                tx.delete(LEFTOVERS, key)
        for stream in list(self.all(tx)):
            for shard in stream.shards:
                budget -= self._trim(tx, stream, shard, budget)
        return self._limits.trim_max - budget

    # -- inside

    def _check_room(self, tx: Tx, count: int) -> None:
        streams = list(self.all(tx))
        if len(streams) >= self._limits.streams_max:
            raise Throttled("streams", f"There are {len(streams)} streams already.")
        if sum(len(stream.starts) for stream in streams) + count > self._limits.shards_max:
            raise Throttled("streams", f"This would exceed the limit of {self._limits.shards_max} shards.")

    def _checked_tags(self, tags: dict[str, str]) -> dict[str, str]:
        if len(tags) > self._limits.tags_max:
            raise Invalid("tags", f"A stream has at most {self._limits.tags_max} tags.")
        if any(not 1 <= len(key) <= 128 or len(value) > 256 for key, value in tags.items()):
            raise Invalid("tags", "A tag's key has 1 to 128 characters, its value at most 256.")
        return tags

    def _checked_size(self, data: bytes, partition_key: str) -> int:
        if not 1 <= len(partition_key) <= _PARTITION_KEY_CHARS:
            raise Invalid("partition_key", f"A partition key has 1 to {_PARTITION_KEY_CHARS} characters.")
        try:
            size = len(data) + len(partition_key.encode())
        except UnicodeEncodeError:
            raise Invalid("partition_key", "A partition key is Unicode text.") from None
        if size > self._limits.record_bytes_max:
            raise TooLarge("record", f"A record is at most {self._limits.record_bytes_max} bytes.")
        return size

    def _append(self, tx: Tx, stream: Stream, record: NewRecord) -> Put:
        data, key, explicit = record
        shard = stream.shard_of(hash_of(key, explicit))
        offset = tx.append(shard.log, {"key": key, "data": base64.b64encode(data).decode("ascii")})
        if offset % self._limits.trim_every == 0:
            self._trim(tx, stream, shard, self._limits.trim_max)
        return Put(shard.id, sequence_of(offset))

    def _trim(self, tx: Tx, stream: Stream, shard: Shard, budget: int) -> int:
        floor = self.horizon(tx, stream, shard) if budget else 0
        return _trim(tx, shard.log, min(floor, tx.bounds(shard.log).first + budget))

    def _offset(
        self, view: View, stream: Stream, shard: Shard, kind: str, sequence: str | None, time_ms: int | None
    ) -> int:
        bounds = view.bounds(shard.log)
        if kind == "LATEST":
            return max(bounds.next, shard.start)
        horizon = self.horizon(view, stream, shard)
        if kind == "TRIM_HORIZON":
            return horizon
        if kind == "AT_TIMESTAMP":
            if time_ms is None:
                raise Invalid("timestamp", "AT_TIMESTAMP needs a Timestamp.")
            if time_ms > view.now_ms:
                raise Invalid("timestamp", "The Timestamp must not be in the future.")
            return max(horizon, offset_at(view, shard.log, time_ms))
        if kind not in ("AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER"):
            raise Invalid("iterator_type", f"There is no ShardIteratorType {kind[:50]}.")
        if sequence is None:
            raise Invalid("sequence", f"{kind} needs a StartingSequenceNumber.")
        offset = offset_of(sequence)
        if not shard.start <= offset < max(bounds.next, shard.start + 1):
            raise Invalid("sequence", f"StartingSequenceNumber {sequence} is not one of shard {shard.id}.")
        return max(horizon, offset + (kind == "AFTER_SEQUENCE_NUMBER"))

    def _records(self, view: View, shard: Shard, start: int, count: int) -> list[Record]:
        """Read in portions, so that large records never come into memory by the thousand."""
        records: list[Record] = []
        size = 0
        while len(records) < count:
            entries = view.read(shard.log, start, min(self._limits.read_portion, count - len(records)))
            for entry in entries:
                record = record_of(entry)
                size += len(record.data)
                if records and size > self._limits.read_bytes_max:
                    return records
                records.append(record)
            if not entries:
                break
            start = entries[-1].offset + 1
        return records

    def _behind_ms(self, view: View, shard: Shard, following: int) -> int:
        unread = view.read(shard.log, following, 1)
        return max(0, view.now_ms - unread[0].time_ms) if unread else 0


def _trim(tx: Tx, log: str, floor: int) -> int:
    """Forget what is below ``floor``; how many."""
    first = tx.bounds(log).first
    if floor > first:
        tx.trim(log, floor)
    return max(0, floor - first)
