"""DynamoDB Streams (API reference, version 2012-08-10). A table's changes are one shard, in commit order."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any, Final

from sluiceway.config import TableSettings
from sluiceway.core.attribute_values import outward_item
from sluiceway.core.store import Entry, Store, View
from sluiceway.edges.aws.operations import Call, ErrorTable, Operation, Output, ServiceEdge, moment
from sluiceway.errors import Conflict, Invalid, NotFound
from sluiceway.services.tables import Table, Tables, log_of
from sluiceway.services.tables.items import SEQUENCE_START

ERRORS: Final[ErrorTable] = {
    (NotFound, "*"): "ResourceNotFoundException",
    (Conflict, "trimmed"): "TrimmedDataAccessException",
    (Invalid, "expired"): "ExpiredIteratorException",
    (Invalid, "*"): "ValidationException",
}
_SHARD: Final = "shardId-00000001000000000000-00000001"
_PIECE: Final = 16  # records read at a time: each may have two images of 400 KB
_IMAGES: Final = ("Keys", "NewImage", "OldImage")


def streams_edge(store: Store, tables: Tables, limits: TableSettings) -> ServiceEdge:
    """The service's operations."""
    edge = _Streams(store, tables, limits)
    table = {
        "ListStreams": Operation(edge.listed, lambda call: call.scope.arn("dynamodb", "table/*/stream/*")),
        "DescribeStream": Operation(edge.describe, lambda call: str(call.params["StreamArn"])),
        "GetShardIterator": Operation(edge.iterator, lambda call: str(call.params["StreamArn"])),
        "GetRecords": Operation(edge.records, lambda call: _iterator(call)["arn"]),
    }
    return ServiceEdge("dynamodbstreams", "dynamodb", table, ERRORS)


class _Streams:
    def __init__(self, store: Store, tables: Tables, limits: TableSettings) -> None:
        self._store = store
        self._tables = tables
        self._limits = limits

    async def listed(self, call: Call) -> Output:
        """ListStreams"""
        name, after = call.params.get("TableName"), call.params.get("ExclusiveStartStreamArn") or ""
        limit = call.params.get("Limit", 100)
        if not 1 <= limit <= 100:
            raise Invalid("value", "Limit must be from 1 to 100.")
        found = await self._store.view(lambda view: list(self._tables.streams(view, name)))
        arns = sorted(((self._tables.stream_arn(table), table) for table in found), key=lambda pair: pair[0])
        page = [(arn, table) for arn, table in arns if arn > after][: limit + 1]
        output: dict[str, Any] = {
            "Streams": [
                {"StreamArn": arn, "TableName": table.name, "StreamLabel": table.stream_label}
                for arn, table in page[:limit]
            ]
        }
        if len(page) > limit:
            output["LastEvaluatedStreamArn"] = page[limit - 1][0]
        return output

    async def describe(self, call: Call) -> Output:
        """DescribeStream"""
        return {"StreamDescription": await self._store.view(self._described, call.params)}

    def _described(self, view: View, params: dict[str, Any]) -> dict[str, Any]:
        table = self._tables.stream(view, params["StreamArn"])
        first, following = self._bounds(view, table)
        numbers = {"StartingSequenceNumber": str(SEQUENCE_START + first)}
        if not table.stream_view:
            numbers["EndingSequenceNumber"] = str(SEQUENCE_START + max(first, following - 1))
        shards = [] if params.get("ExclusiveStartShardId") else [{"ShardId": _SHARD, "SequenceNumberRange": numbers}]
        return {
            "StreamArn": params["StreamArn"],
            "StreamLabel": table.stream_label,
            "StreamStatus": "ENABLED" if table.stream_view else "DISABLED",
            "StreamViewType": table.stream_view or "KEYS_ONLY",
            "CreationRequestDateTime": moment(table.created_ms),
            "TableName": table.name,
            "KeySchema": [
                {"AttributeName": name, "KeyType": kind}
                for name, kind in zip(table.keys.names(), ("HASH", "RANGE"), strict=False)
            ],
            "Shards": shards,
        }

    def _bounds(self, view: View, table: Table) -> tuple[int, int]:
        bounds = view.bounds(log_of(table.name))
        return max(bounds.first, table.stream_from), bounds.next

    async def iterator(self, call: Call) -> Output:
        """GetShardIterator"""
        offset = await self._store.view(self._offset, call.params)
        return {"ShardIterator": _token(call.params["StreamArn"], offset, call.now_ms)}

    def _offset(self, view: View, params: dict[str, Any]) -> int:
        table = self._tables.stream(view, params["StreamArn"])
        if params["ShardId"] != _SHARD:
            raise NotFound("shard", f"Requested resource not found: Shard does not exist: {params['ShardId'][:100]}")
        first, following = self._bounds(view, table)
        kind = params["ShardIteratorType"]
        if kind == "TRIM_HORIZON":
            return first
        if kind == "LATEST":
            return following
        text = params.get("SequenceNumber") or ""
        if (
            not (text.isascii() and text.isdigit() and len(text) <= 40)
            or not 0 <= int(text) - SEQUENCE_START <= following
        ):
            raise Invalid("value", "Invalid SequenceNumber for this shard.")
        offset = int(text) - SEQUENCE_START
        if offset < first:
            raise Conflict("trimmed", "The operation attempted to read past the oldest stream record in a shard.")
        return offset + 1 if kind == "AFTER_SEQUENCE_NUMBER" else offset

    async def records(self, call: Call) -> Output:
        """GetRecords"""
        at = _iterator(call)
        if call.now_ms - at["ms"] > self._limits.iterator_s * 1000:
            raise Invalid("expired", "Iterator expired. The iterator was created too long ago.")
        limit = call.params.get("Limit", self._limits.stream_read_max)
        if not 1 <= limit <= self._limits.stream_read_max:
            raise Invalid("value", f"Limit must be from 1 to {self._limits.stream_read_max}.")
        entries, open_, following = await self._store.view(self._read, at["arn"], at["at"], limit)
        output: dict[str, Any] = {"Records": [_record(entry) for entry in entries]}
        if open_ or entries:
            output["NextShardIterator"] = _token(at["arn"], following, call.now_ms)
        return output

    def _read(self, view: View, arn: str, offset: int, limit: int) -> tuple[list[Entry], bool, int]:
        table = self._tables.stream(view, arn)
        found: list[Entry] = []
        size = 0
        following = max(offset, table.stream_from)
        while len(found) < limit:
            piece = view.read(log_of(table.name), following, min(limit - len(found), _PIECE))
            for entry in piece:
                size += entry.value["dynamodb"]["SizeBytes"]
                if found and size > self._limits.stream_bytes_max:
                    return found, bool(table.stream_view), following
                found.append(entry)
                following = entry.offset + 1
            if len(piece) < _PIECE:
                break
        return found, bool(table.stream_view), following


def _record(entry: Entry) -> dict[str, Any]:
    value = entry.value
    change = dict(value["dynamodb"])
    change["ApproximateCreationDateTime"] = datetime.fromtimestamp(change["ApproximateCreationDateTime"], UTC)
    for name in _IMAGES:
        if name in change:
            change[name] = outward_item(change[name])
    record = {name: value[name] for name in ("eventID", "eventName", "eventVersion", "eventSource", "awsRegion")}
    if "userIdentity" in value:
        identity = value["userIdentity"]
        record["userIdentity"] = {"Type": identity["type"], "PrincipalId": identity["principalId"]}
    return record | {"dynamodb": change}


def _token(arn: str, offset: int, now_ms: int) -> str:
    return base64.urlsafe_b64encode(json.dumps({"arn": arn, "at": offset, "ms": now_ms}).encode()).decode()


def _iterator(call: Call) -> dict[str, Any]:
    try:
        made = json.loads(base64.urlsafe_b64decode(call.params["ShardIterator"]))
        at, ms = int(made["at"]), int(made["ms"])
        if not 0 <= at < 2**62:
            raise ValueError
        return {"arn": str(made["arn"]), "at": at, "ms": ms}
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        raise Invalid("value", "Invalid ShardIterator") from None
