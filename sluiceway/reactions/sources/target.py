"""Kind "event-source": a function that reads a data stream or a table's changes, shard by shard, in order.

AWS Lambda Developer Guide, "Using Lambda with Kinesis" and "... with DynamoDB". ``options`` are the mapping's:
{"mapping": id, "kind": "kinesis" | "dynamodb", "source": ARN, "shard": id, "partial": bool}.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from sluiceway.config import MappingSettings
from sluiceway.core.clock import Clock, new_id
from sluiceway.core.identity import Scope
from sluiceway.core.invoker import Invoker
from sluiceway.core.reaction import Letter, Reaction
from sluiceway.core.store import Entry, Store, View
from sluiceway.errors import AccessDenied, NotFound, Throttled, Unavailable
from sluiceway.reactions.sources.answers import BadAnswer, error_of, failed_items
from sluiceway.reactions.target import Attempt, Delivered, DeliveryFailed, OutwardTarget
from sluiceway.services.streams import sequence_of

_THROTTLED_MS: Final = 1000
_MISSING_MS: Final = 10_000
_FRAME_BYTES: Final = len('{"Records":[]}')


#: The ARN of a function's role. Raises ``NotFound("function")``.
RoleOf = Callable[[View, str], str]
#: Raises ``AccessDenied`` unless the function's role may read the source of this ARN: (function, ARN, view).
MayRead = Callable[[str, str, View], None]


class EventSourceTarget(OutwardTarget):
    """The address is the function's name. A batch whose event is too large goes in parts, one after the other."""

    def __init__(
        self,
        invoker: Invoker,
        store: Store,
        role_of: RoleOf,
        may_read: MayRead,
        scope: Scope,
        clock: Clock,
        limits: MappingSettings,
    ) -> None:
        self._invoker = invoker
        self._store = store
        self._role_of = role_of
        self._may_read = may_read
        self._scope = scope
        self._clock = clock
        self._limits = limits

    async def deliver(self, reaction: Reaction, entries: Sequence[Entry], attempt: Attempt) -> Delivered | None:
        """Invoke the function. Raises ``DeliveryFailed`` if it failed on all of the first part."""
        try:
            role = await self._store.view(self._role, reaction)
        except (NotFound, AccessDenied) as error:
            raise DeliveryFailed(error.message, retry_after_ms=_MISSING_MS, counted=False) from None
        records = [self._record(reaction, entry, role) for entry in entries]
        begin = 0
        while begin < len(entries):
            end = self._part_end(records, begin)
            failure = await self._invoke(reaction, entries[begin:end], records[begin:end])
            if failure is not None:
                return Delivered({failure[0]: failure[1]})
            begin = end
        return None

    def _role(self, view: View, reaction: Reaction) -> str:
        """The role, which reads the source: it must still be allowed to."""
        function = reaction.target.address
        self._may_read(function, reaction.target.options["source"], view)
        return self._role_of(view, function)

    def _part_end(self, records: Sequence[bytes], begin: int) -> int:
        """How far one event reaches."""
        size, end = _FRAME_BYTES, begin
        while end < len(records):
            size += len(records[end]) + 1
            if end > begin and size > self._limits.payload_bytes_max:
                break
            end += 1
        return end

    async def _invoke(
        self, reaction: Reaction, entries: Sequence[Entry], records: Sequence[bytes]
    ) -> tuple[int, DeliveryFailed] | None:
        """Run the function on a part; the first offset that failed and why, or None."""
        first, count = entries[0].offset, len(entries)
        payload = b'{"Records":[' + b",".join(records) + b"]}"
        try:
            outcome = await self._invoker.invoke(reaction.target.address, payload)
        except NotFound as error:
            return first, DeliveryFailed(error.message, retry_after_ms=_MISSING_MS, counted=False, events=count)
        except (Throttled, Unavailable) as error:
            return first, DeliveryFailed(error.message, retry_after_ms=_THROTTLED_MS, counted=False, events=count)
        if outcome.error is not None:
            return first, DeliveryFailed(error_of(outcome), events=count)
        if not reaction.target.options.get("partial"):
            return None
        offsets = {_sequence(reaction, entry): entry.offset for entry in entries}
        try:
            failed = failed_items(outcome.payload, offsets)
        except BadAnswer as error:
            return first, DeliveryFailed(str(error), events=count)
        if not failed:
            return None
        lowest = min(offsets[one] for one in failed)
        rest = sum(entry.offset >= lowest for entry in entries)
        return lowest, DeliveryFailed("The function reported that the record failed.", events=rest)

    def _record(self, reaction: Reaction, entry: Entry, role: str) -> bytes:
        """The record as the function sees it; a table's change is kept in that form already."""
        record = entry.value
        options = reaction.target.options
        if options["kind"] == "kinesis":
            sequence = sequence_of(entry.offset)
            record = {
                "kinesis": {
                    "kinesisSchemaVersion": "1.0",
                    "partitionKey": entry.value["key"],
                    "sequenceNumber": sequence,
                    "data": entry.value["data"],
                    "approximateArrivalTimestamp": entry.time_ms / 1000,
                },
                "eventSource": "aws:kinesis",
                "eventVersion": "1.0",
                "eventID": f"{options['shard']}:{sequence}",
                "eventName": "aws:kinesis:record",
                "invokeIdentityArn": role,
                "awsRegion": self._scope.region,
                "eventSourceARN": options["source"],
            }
        return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")

    def letter(self, reaction: Reaction, entry: Entry, reason: str) -> Letter:
        """The invocation record that Lambda sends for a discarded batch, here of one record ("Retain discarded
        batch records"): it says where the record is, not what it holds."""
        options, age_max_ms = reaction.target.options, reaction.retry.age_max_ms
        now_ms = self._clock.now_ms()
        aged = bool(age_max_ms) and now_ms - entry.time_ms >= age_max_ms
        sequence, arrived = _sequence(reaction, entry), _iso(entry.time_ms)
        info = "KinesisBatchInfo" if options["kind"] == "kinesis" else "DDBStreamBatchInfo"
        document = {
            "requestContext": {
                "requestId": new_id(),
                "functionArn": self._scope.arn("lambda", f"function:{reaction.target.address}"),
                "condition": "RecordAgeExceeded" if aged else "RetryAttemptsExhausted",
            },
            "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
            "version": "1.0",
            "timestamp": _iso(now_ms),
            info: {
                "shardId": options["shard"],
                "startSequenceNumber": sequence,
                "endSequenceNumber": sequence,
                "approximateArrivalOfFirstRecord": arrived,
                "approximateArrivalOfLastRecord": arrived,
                "batchSize": 1,
                "streamArn": options["source"],
            },
        }
        return Letter(json.dumps(document), {"ErrorMessage": {"DataType": "String", "StringValue": reason[:1024]}})


def _sequence(reaction: Reaction, entry: Entry) -> str:
    """What a function calls the record by when it failed."""
    if reaction.target.options["kind"] == "kinesis":
        return sequence_of(entry.offset)
    change: dict[str, Any] = entry.value["dynamodb"]
    return str(change["SequenceNumber"])


def _iso(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
