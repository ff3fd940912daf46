"""Kinesis's protocol (json 1.1)."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any, Final

from sluiceway.config import StreamSettings
from sluiceway.core.store import Store, View
from sluiceway.core.wakeups import Wakeups
from sluiceway.edges.aws.operations import Call, ErrorTable, Operation, OperationHandler, Output, ServiceEdge, moment
from sluiceway.errors import AlreadyExists, Conflict, Invalid, NotFound, NotImplementedYet, Throttled, TooLarge
from sluiceway.services.streams import Shard, Stream, Streams, sequence_of

ERRORS: Final[ErrorTable] = {
    (NotFound, "*"): "ResourceNotFoundException",
    (AlreadyExists, "*"): "ResourceInUseException",
    (Throttled, "*"): "LimitExceededException",
    (Conflict, "iterator_expired"): "ExpiredIteratorException",
    (Conflict, "token_expired"): "ExpiredNextTokenException",
    (Invalid, "serialization"): "SerializationException",
    (Invalid, "validation"): "ValidationException",
    (Invalid, "*"): "InvalidArgumentException",
    (TooLarge, "*"): "InvalidArgumentException",
}

#: ListShards' filters that every shard passes, as no shard is ever split or merged.
_EVERY_SHARD: Final = frozenset({"AT_TRIM_HORIZON", "FROM_TRIM_HORIZON", "AT_LATEST", "AT_TIMESTAMP", "FROM_TIMESTAMP"})


def kinesis_edge(store: Store, streams: Streams, wakeups: Wakeups, limits: StreamSettings) -> ServiceEdge:
    """Kinesis's operations on ``streams``. ``wakeups`` is there as for every edge: GetRecords never waits."""
    edge = _Kinesis(store, streams, limits)
    on_stream: dict[str, OperationHandler] = {
        "AddTagsToStream": edge.add_tags,
        "CreateStream": edge.create,
        "DecreaseStreamRetentionPeriod": edge.shorter,
        "DeleteStream": edge.delete,
        "DescribeStream": edge.describe,
        "DescribeStreamSummary": edge.summary,
        "GetRecords": edge.get_records,
        "GetShardIterator": edge.iterator,
        "IncreaseStreamRetentionPeriod": edge.longer,
        "ListShards": edge.list_shards,
        "ListTagsForResource": edge.tags_of_resource,
        "ListTagsForStream": edge.tags,
        "PutRecord": edge.put,
        "PutRecords": edge.put_many,
        "RemoveTagsFromStream": edge.remove_tags,
        "TagResource": edge.add_tags,
        "UntagResource": edge.remove_tags,
    }
    table = {name: Operation(handler, edge.resource) for name, handler in on_stream.items()}
    table["ListStreams"] = Operation(edge.list_streams, lambda call: "*")
    table["DescribeLimits"] = Operation(edge.limits, lambda call: "*")
    return ServiceEdge("kinesis", "kinesis", table, ERRORS)


class _Kinesis:
    def __init__(self, store: Store, streams: Streams, limits: StreamSettings) -> None:
        self._store = store
        self._streams = streams
        self._limits = limits

    def resource(self, call: Call) -> str:
        """The ARN of the stream that the request is about: a token's own, where it comes with one."""
        return self._streams.arn(self._name(call))

    # -- streams

    async def create(self, call: Call) -> Output:
        """CreateStream"""
        params = call.params
        mode = (params.get("StreamModeDetails") or {}).get("StreamMode", "PROVISIONED")
        await self._store.commit(
            self._streams.create, params["StreamName"], params.get("ShardCount"), mode, params.get("Tags")
        )
        return None

    async def delete(self, call: Call) -> Output:
        """DeleteStream"""
        await self._store.commit(self._streams.delete, self._name(call))
        return None

    async def describe(self, call: Call) -> Output:
        """DescribeStream"""
        limit = self._page(call.params.get("Limit"), 100)
        stream = await self._store.view(self._streams.get, self._name(call))
        shards = _after(stream, call.params.get("ExclusiveStartShardId"))
        description = _described(stream, self._streams.arn(stream.name)) | {
            "Shards": [_shard(shard) for shard in shards[:limit]],
            "HasMoreShards": len(shards) > limit,
        }
        return {"StreamDescription": description}

    async def summary(self, call: Call) -> Output:
        """DescribeStreamSummary"""
        stream = await self._store.view(self._streams.get, self._name(call))
        described = _described(stream, self._streams.arn(stream.name))
        return {
            "StreamDescriptionSummary": described | {"OpenShardCount": len(stream.shards), "ConsumerCount": 0},
        }

    async def list_streams(self, call: Call) -> Output:
        """ListStreams"""
        params = call.params
        limit = self._page(params.get("Limit"), 100)
        after = params.get("ExclusiveStartStreamName") or ""
        if params.get("NextToken"):
            after = self._token(call, "streams")[0]
        page = await self._store.view(self._streams_page, after, limit + 1)
        output: dict[str, Any] = {
            "StreamNames": [stream.name for stream in page[:limit]],
            "HasMoreStreams": len(page) > limit,
            "StreamSummaries": [_summarised(stream, self._streams.arn(stream.name)) for stream in page[:limit]],
        }
        if len(page) > limit:
            output["NextToken"] = _token_of("streams", page[limit - 1].name, "", call.now_ms)
        return output

    def _streams_page(self, view: View, after: str, count: int) -> list[Stream]:
        page: list[Stream] = []
        for stream in self._streams.all(view, after):
            page.append(stream)
            if len(page) == count:
                break
        return page

    async def list_shards(self, call: Call) -> Output:
        """ListShards"""
        params, after = call.params, call.params.get("ExclusiveStartShardId")
        if params.get("NextToken"):
            if params.get("StreamName") or params.get("StreamARN") or after:
                raise Invalid("token", "NextToken and StreamName cannot be provided together.")
            after = self._token(call, "shards")[1]
        limit = self._page(params.get("MaxResults"), self._limits.page_max)
        stream = await self._store.view(self._streams.get, self._name(call))
        shards = _filtered(_after(stream, after), params.get("ShardFilter"))
        output: dict[str, Any] = {"Shards": [_shard(shard) for shard in shards[:limit]]}
        if len(shards) > limit:
            output["NextToken"] = _token_of("shards", stream.name, shards[limit - 1].id, call.now_ms)
        return output

    async def limits(self, call: Call) -> Output:
        """DescribeLimits"""
        streams = await self._store.view(lambda view: list(self._streams.all(view)))
        return {
            "ShardLimit": self._limits.shards_max,
            "OpenShardCount": sum(len(stream.starts) for stream in streams),
            "OnDemandStreamCount": sum(stream.mode == "ON_DEMAND" for stream in streams),
            "OnDemandStreamCountLimit": self._limits.streams_max,
        }

    async def longer(self, call: Call) -> Output:
        """IncreaseStreamRetentionPeriod"""
        return await self._retain(call, longer=True)

    async def shorter(self, call: Call) -> Output:
        """DecreaseStreamRetentionPeriod"""
        return await self._retain(call, longer=False)

    async def _retain(self, call: Call, *, longer: bool) -> Output:
        hours = call.params["RetentionPeriodHours"]
        await self._store.commit(self._streams.set_retention, self._name(call), hours, longer=longer)
        return None

    # -- tags

    async def add_tags(self, call: Call) -> Output:
        """AddTagsToStream, TagResource"""
        await self._store.commit(self._streams.retag, self._name(call), call.params["Tags"])
        return None

    async def remove_tags(self, call: Call) -> Output:
        """RemoveTagsFromStream, UntagResource"""
        await self._store.commit(self._streams.retag, self._name(call), {}, call.params["TagKeys"])
        return None

    async def tags(self, call: Call) -> Output:
        """ListTagsForStream"""
        limit = self._page(call.params.get("Limit"), self._limits.tags_max)
        after = call.params.get("ExclusiveStartTagKey") or ""
        stream = await self._store.view(self._streams.get, self._name(call))
        keys = sorted(key for key in stream.tags if key > after)
        return {
            "Tags": [{"Key": key, "Value": stream.tags[key]} for key in keys[:limit]],
            "HasMoreTags": len(keys) > limit,
        }

    async def tags_of_resource(self, call: Call) -> Output:
        """ListTagsForResource"""
        stream = await self._store.view(self._streams.get, self._name(call))
        return {"Tags": [{"Key": key, "Value": value} for key, value in sorted(stream.tags.items())]}

    # -- records

    async def put(self, call: Call) -> Output:
        """PutRecord"""
        params, name = call.params, self._name(call)
        put = await self._store.commit(self._streams.put, name, *_record(params))
        return {"ShardId": put.shard_id, "SequenceNumber": put.sequence, "EncryptionType": "NONE"}

    async def put_many(self, call: Call) -> Output:
        """PutRecords"""
        records = [_record(one) for one in call.params["Records"]]
        puts = await self._store.commit(self._streams.put_many, self._name(call), records)
        return {
            "FailedRecordCount": 0,
            "Records": [{"ShardId": put.shard_id, "SequenceNumber": put.sequence} for put in puts],
            "EncryptionType": "NONE",
        }

    async def iterator(self, call: Call) -> Output:
        """GetShardIterator"""
        params, at = call.params, call.params.get("Timestamp")
        token = await self._store.view(
            self._streams.iterator,
            self._name(call),
            params["ShardId"],
            params["ShardIteratorType"],
            params.get("StartingSequenceNumber"),
            None if at is None else int(at.timestamp() * 1000),
        )
        return {"ShardIterator": token}

    async def get_records(self, call: Call) -> Output:
        """GetRecords"""
        given = call.params.get("StreamARN")
        if given is not None and given != self.resource(call):
            raise Invalid("iterator", "The ShardIterator belongs to another stream than StreamARN names.")
        token, limit = call.params["ShardIterator"], call.params.get("Limit")
        batch = await self._store.view(self._streams.read, token, limit)
        return {
            "Records": [
                {
                    "SequenceNumber": record.sequence,
                    "ApproximateArrivalTimestamp": moment(record.time_ms),
                    "Data": record.data,
                    "PartitionKey": record.partition_key,
                    "EncryptionType": "NONE",
                }
                for record in batch.records
            ],
            "NextShardIterator": batch.iterator,
            "MillisBehindLatest": batch.behind_ms,
        }

    # -- inside

    def _name(self, call: Call) -> str:
        """The stream that a request is about. Raises ``Invalid``, ``NotFound("stream")`` for another account's."""
        params = call.params
        if params.get("DryRun"):
            raise NotImplementedYet("dry_run", "DryRun is not supported here yet.")
        if params.get("ShardIterator") is not None:
            return self._streams.stream_of(params["ShardIterator"])
        if params.get("NextToken") is not None:
            return self._token(call, "shards")[0]
        arn = params.get("StreamARN") or params.get("ResourceARN")
        if arn is None:
            if not params.get("StreamName"):
                raise Invalid("name", "Either StreamName or StreamARN must be provided.")
            return str(params["StreamName"])
        name = self._streams.name_of(arn)
        if params.get("StreamName") not in (None, name):
            raise Invalid("name", "StreamName and StreamARN name different streams.")
        return name

    def _page(self, given: int | None, default: int) -> int:
        if given is None:
            return default
        if not 1 <= given <= 10_000:
            raise Invalid("page", "A page has 1 to 10000 items.")
        return min(given, self._limits.page_max)

    def _token(self, call: Call, kind: str) -> tuple[str, str]:
        """The stream and the shard that the last page ended with."""
        try:
            read, stream, shard, issued_ms = json.loads(base64.b64decode(call.params["NextToken"], validate=True))
        except (binascii.Error, ValueError, TypeError, RecursionError):
            raise Invalid("token", "NextToken is not valid.") from None
        if read != kind or not isinstance(stream, str) or not isinstance(shard, str) or type(issued_ms) is not int:
            raise Invalid("token", "NextToken is not valid.")
        if call.now_ms - issued_ms > self._limits.iterator_s * 1000:
            raise Conflict("token_expired", f"NextToken expired: it is good for {self._limits.iterator_s} s.")
        return stream, shard


def _record(given: dict[str, Any]) -> tuple[bytes, str, str | None]:
    """Data, partition key and explicit hash key; botocore's model no longer says that the first two are needed."""
    if "Data" not in given or "PartitionKey" not in given:
        raise Invalid("record", "Data and PartitionKey must be provided.")
    return given["Data"], given["PartitionKey"], given.get("ExplicitHashKey")


def _token_of(kind: str, stream: str, shard: str, now_ms: int) -> str:
    return base64.b64encode(json.dumps([kind, stream, shard, now_ms]).encode()).decode("ascii")


def _after(stream: Stream, shard_id: str | None) -> list[Shard]:
    return [shard for shard in stream.shards if shard_id is None or shard.id > shard_id]


def _filtered(shards: list[Shard], wanted: dict[str, Any] | None) -> list[Shard]:
    kind = (wanted or {}).get("Type", "AT_TRIM_HORIZON")
    if kind in _EVERY_SHARD:
        return shards
    after = (wanted or {}).get("ShardId")
    if kind != "AFTER_SHARD_ID" or after is None:
        raise Invalid("shard_filter", "The ShardFilter is not valid: its Type is unknown, or its ShardId is missing.")
    return [shard for shard in shards if shard.id > after]


def _summarised(stream: Stream, arn: str) -> dict[str, Any]:
    return {
        "StreamName": stream.name,
        "StreamARN": arn,
        "StreamStatus": "ACTIVE",
        "StreamModeDetails": {"StreamMode": stream.mode},
        "StreamCreationTimestamp": moment(stream.created_ms),
    }


def _described(stream: Stream, arn: str) -> dict[str, Any]:
    return _summarised(stream, arn) | {
        "RetentionPeriodHours": stream.retention_h,
        "EnhancedMonitoring": [{"ShardLevelMetrics": []}],
        "EncryptionType": "NONE",
    }


def _shard(shard: Shard) -> dict[str, Any]:
    return {
        "ShardId": shard.id,
        "HashKeyRange": {"StartingHashKey": str(shard.low), "EndingHashKey": str(shard.high)},
        "SequenceNumberRange": {"StartingSequenceNumber": sequence_of(shard.start)},
    }
