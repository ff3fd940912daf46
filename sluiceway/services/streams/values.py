"""Streams, shards, records and iterators as values."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass, field, fields
from typing import Any, Final

from sluiceway.core.store import Entry
from sluiceway.errors import Invalid

#: Tables: ``streams`` (name); ``stream_leftovers`` (log) for the end of what a removed stream left behind.
#: Logs: ``stream/NAME/SHARDID``.
STREAMS: Final = "streams"
LEFTOVERS: Final = "stream_leftovers"
_HASHES: Final = 1 << 128
_SEQUENCE_START: Final = 49 * 10**54  # sequence numbers have 56 digits and are compared as numbers
_OFFSET_MAX: Final = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Shard:
    """``low`` and ``high`` are the least and greatest hash key; ``start`` its first offset in ``log``."""

    id: str
    log: str
    low: int
    high: int
    start: int


@dataclass(frozen=True, slots=True)
class Stream:
    """``starts`` are the shards' first offsets: the logs of an earlier stream of this name go on."""

    name: str
    created_ms: int
    mode: str
    starts: list[int]
    retention_h: int
    tags: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As it is kept in the table "streams"."""
        return {item.name: getattr(self, item.name) for item in fields(self)}

    @property
    def shards(self) -> list[Shard]:
        """All shards in order; the ranges of hash keys are equal and leave no gap."""
        count = len(self.starts)
        return [self._shard(number, count) for number in range(count)]

    def shard(self, shard_id: str) -> Shard | None:
        """The shard of this id, or None."""
        return next((shard for shard in self.shards if shard.id == shard_id), None)

    def shard_of(self, hash_key: int) -> Shard:
        """The shard whose range holds ``hash_key``."""
        count = len(self.starts)
        number = hash_key * count // _HASHES
        found = self._shard(number, count)
        return found if hash_key <= found.high else self._shard(number + 1, count)

    def _shard(self, number: int, count: int) -> Shard:
        shard_id = f"shardId-{number:012d}"
        low, end = number * _HASHES // count, (number + 1) * _HASHES // count
        return Shard(shard_id, log_of(self.name, shard_id), low, end - 1, self.starts[number])


@dataclass(frozen=True, slots=True)
class Put:
    """Where a record went."""

    shard_id: str
    sequence: str


@dataclass(frozen=True, slots=True)
class Record:
    """A record as it is read."""

    sequence: str
    time_ms: int
    data: bytes
    partition_key: str


@dataclass(frozen=True, slots=True)
class Batch:
    """What one read gave; ``behind_ms`` is how far the reader is behind the newest record."""

    records: list[Record]
    iterator: str
    behind_ms: int


@dataclass(frozen=True, slots=True)
class ShardIterator:
    """A place in a shard, as a token that a client carries. It grants nothing: the reader's right to the stream
    is looked at every time. ``created_ms`` is the stream's, so that a new stream of the same name refuses it."""

    stream: str
    created_ms: int
    shard_id: str
    offset: int
    issued_ms: int

    def token(self) -> str:
        """Opaque text for the client."""
        raw = json.dumps([self.stream, self.created_ms, self.shard_id, self.offset, self.issued_ms])
        return base64.b64encode(raw.encode()).decode("ascii")

    @classmethod
    def parse(cls, token: str) -> ShardIterator:
        """Raises ``Invalid("iterator")``."""
        try:
            stream, created, shard, offset, issued = json.loads(base64.b64decode(token, validate=True))
        except (binascii.Error, ValueError, TypeError, RecursionError):
            raise Invalid("iterator", "Invalid ShardIterator.") from None
        texts = isinstance(stream, str) and isinstance(shard, str)
        if not texts or not all(
            type(number) is int and 0 <= number <= _OFFSET_MAX for number in (created, offset, issued)
        ):
            raise Invalid("iterator", "Invalid ShardIterator.")
        return cls(stream, created, shard, offset, issued)


def log_of(stream: str, shard_id: str) -> str:
    """The name of a shard's log."""
    return f"stream/{stream}/{shard_id}"


def hash_of(partition_key: str, explicit: str | None) -> int:
    """The MD5 of the partition key as a number, or what the producer chose. Raises ``Invalid("hash_key")``."""
    if explicit is None:
        digest = hashlib.md5(partition_key.encode(), usedforsecurity=False).digest()
        return int.from_bytes(digest, "big")
    if not (explicit.isascii() and explicit.isdigit() and len(explicit) <= 39 and int(explicit) < _HASHES):
        raise Invalid("hash_key", f"Invalid ExplicitHashKey: {explicit[:50]} is not in the range from 0 to 2^128-1.")
    return int(explicit)


def sequence_of(offset: int) -> str:
    """The sequence number of the record at ``offset``."""
    return str(_SEQUENCE_START + offset)


def offset_of(sequence: str) -> int:
    """The offset that a sequence number stands for. Raises ``Invalid("sequence")``."""
    if sequence.isascii() and sequence.isdigit() and len(sequence) <= 128:
        offset = int(sequence) - _SEQUENCE_START
        if 0 <= offset <= _OFFSET_MAX:
            return offset
    raise Invalid("sequence", f"StartingSequenceNumber {sequence[:128]} is invalid.")


def record_of(entry: Entry) -> Record:
    """What an entry of a shard's log holds."""
    data = base64.b64decode(entry.value["data"])
    return Record(sequence_of(entry.offset), entry.time_ms, data, entry.value["key"])
