"""DynamoDB's operations on tables (Amazon DynamoDB API reference, version 2012-08-10)."""

from __future__ import annotations

import re
from typing import Any, Final

from sluiceway.config import TableSettings
from sluiceway.core.store import Store, Tx
from sluiceway.edges.aws.operations import Call, Output, moment
from sluiceway.errors import Invalid, Throttled
from sluiceway.services.tables import Index, KeySchema, Table, Tables

_STATUS = "ACTIVE"
_NAME = re.compile(r"[A-Za-z0-9_.-]{3,255}")
_CHANGES: Final = (
    "BillingMode", "ProvisionedThroughput", "DeletionProtectionEnabled", "TableClass", "StreamSpecification",
    "GlobalSecondaryIndexUpdates", "SSESpecification", "OnDemandThroughput", "WarmThroughput",
)  # fmt: skip


def table_name(call: Call, member: str = "TableName") -> str:
    """The plain name, of a name or an ARN."""
    text = str(call.params.get(member) or "")
    return text.partition(":table/")[2].partition("/")[0] if text.startswith("arn:") else text


class TableOperations:
    """CreateTable and what else is about tables."""

    def __init__(self, store: Store, tables: Tables, limits: TableSettings) -> None:
        self._store = store
        self._tables = tables
        self._limits = limits

    async def create(self, call: Call) -> Output:
        """CreateTable"""
        params = call.params
        table = _declared(params, table_name(call), self._limits)
        made = await self._store.commit(self._tables.create, table)
        return {"TableDescription": self._described(made, 0)}

    async def describe(self, call: Call) -> Output:
        """DescribeTable"""
        table, count = await self._store.view(self._tables.described, table_name(call))
        return {"Table": self._described(table, count)}

    async def delete(self, call: Call) -> Output:
        """DeleteTable"""
        table = await self._store.commit(self._tables.remove, table_name(call))
        return {"TableDescription": self._described(table, 0) | {"TableStatus": "DELETING"}}

    async def names(self, call: Call) -> Output:
        """ListTables"""
        limit = call.params.get("Limit", 100)
        if not 1 <= limit <= 100:
            raise Invalid(
                "value",
                f"1 validation error detected: Value '{limit}' at 'limit' failed to satisfy constraint: Member must "
                "have value from 1 to 100",
            )
        found = await self._store.view(self._tables.names, call.params.get("ExclusiveStartTableName") or "", limit + 1)
        output: dict[str, Any] = {"TableNames": found[:limit]}
        if len(found) > limit:
            output["LastEvaluatedTableName"] = found[limit - 1]
        return output

    async def update(self, call: Call) -> Output:
        """UpdateTable: one thing at a time, as on AWS."""
        table = await self._store.commit(self._update, table_name(call), call.params)
        return {"TableDescription": self._described(table, 0)}

    def _update(self, tx: Tx, name: str, params: dict[str, Any]) -> Table:
        table = self._tables.get(tx, name)
        if all(params.get(member) is None for member in _CHANGES):
            raise Invalid(
                "value",
                "At least one of ProvisionedThroughput, BillingMode, UpdateStreamEnabled, GlobalSecondaryIndexUpdates or "
                "SSESpecification or ReplicaUpdates is required",
            )
        changes: dict[str, Any] = {}
        if params.get("BillingMode"):
            changes["billing"] = params["BillingMode"]
        if params.get("ProvisionedThroughput"):
            changes["throughput"] = dict(params["ProvisionedThroughput"])
        if params.get("DeletionProtectionEnabled") is not None:
            changes["protected"] = params["DeletionProtectionEnabled"]
        if params.get("TableClass"):
            changes["table_class"] = params["TableClass"]
        if changes:
            table = self._tables.change(tx, name, **changes)
        stream = params.get("StreamSpecification")
        if stream:
            table = self._tables.set_stream(tx, name, _view(stream))
        declared = {one["AttributeName"]: one["AttributeType"] for one in params.get("AttributeDefinitions") or ()}
        for change in params.get("GlobalSecondaryIndexUpdates") or ():
            if change.get("Create"):
                if sum(not index.local for index in table.indexes) >= self._limits.indexes_max:
                    raise Throttled("indexes", f"A table has at most {self._limits.indexes_max} global indexes.")
                types = table.attributes | declared
                index = _index(change["Create"], types, local=False)
                used = {key: kind for key, kind in declared.items() if key in index.keys.names()}
                table = self._tables.add_index(tx, name, index, used)
            elif change.get("Delete"):
                table = self._tables.remove_index(tx, name, change["Delete"]["IndexName"])
        return table

    # -- time to live, tags, backups

    async def set_ttl(self, call: Call) -> Output:
        """UpdateTimeToLive"""
        wanted = call.params["TimeToLiveSpecification"]
        name, attribute, enabled = table_name(call), wanted["AttributeName"], bool(wanted["Enabled"])
        await self._store.commit(self._tables.set_ttl, name, attribute, enabled)
        return {"TimeToLiveSpecification": {"AttributeName": attribute, "Enabled": enabled}}

    async def get_ttl(self, call: Call) -> Output:
        """DescribeTimeToLive"""
        table = await self._store.view(self._tables.get, table_name(call))
        if not table.ttl:
            return {"TimeToLiveDescription": {"TimeToLiveStatus": "DISABLED"}}
        return {"TimeToLiveDescription": {"TimeToLiveStatus": "ENABLED", "AttributeName": table.ttl}}

    async def backups(self, call: Call) -> Output:
        """DescribeContinuousBackups: there are none."""
        await self._store.view(self._tables.get, table_name(call))
        recovery = {"PointInTimeRecoveryStatus": "DISABLED"}
        description = {"ContinuousBackupsStatus": "DISABLED", "PointInTimeRecoveryDescription": recovery}
        return {"ContinuousBackupsDescription": description}

    async def list_tags(self, call: Call) -> Output:
        """ListTagsOfResource"""
        table = await self._store.view(self._tables.get, table_name(call, "ResourceArn"))
        return {"Tags": [{"Key": key, "Value": value} for key, value in sorted(table.tags.items())]}

    async def tag(self, call: Call) -> Output:
        """TagResource"""
        given = {tag["Key"]: tag["Value"] for tag in call.params["Tags"]}
        await self._store.commit(self._retag, table_name(call, "ResourceArn"), given, ())
        return None

    async def untag(self, call: Call) -> Output:
        """UntagResource"""
        await self._store.commit(self._retag, table_name(call, "ResourceArn"), {}, call.params["TagKeys"])
        return None

    def _retag(self, tx: Tx, name: str, add: dict[str, str], drop: Any) -> None:
        table = self._tables.get(tx, name)
        tags = {key: value for key, value in {**table.tags, **add}.items() if key not in drop}
        if len(tags) > self._limits.tags_max:
            raise Invalid("value", f"A table has at most {self._limits.tags_max} tags.")
        self._tables.change(tx, name, tags=tags)

    # -- descriptions

    def _described(self, table: Table, count: int) -> dict[str, Any]:
        output: dict[str, Any] = {
            "TableName": table.name,
            "TableArn": self._tables.arn(table.name),
            "TableId": f"{table.id[:8]}-{table.id[8:12]}-4{table.id[13:16]}-8000-{table.id[:12]}",
            "TableStatus": _STATUS,
            "CreationDateTime": moment(table.created_ms),
            "AttributeDefinitions": [
                {"AttributeName": name, "AttributeType": kind} for name, kind in table.attributes.items()
            ],
            "KeySchema": _schema(table.keys),
            "ProvisionedThroughput": _throughput(table.throughput),
            "TableSizeBytes": 0,
            "ItemCount": count,
            "DeletionProtectionEnabled": table.protected,
            "TableClassSummary": {"TableClass": table.table_class},
        }
        if table.billing == "PAY_PER_REQUEST":
            output["BillingModeSummary"] = {"BillingMode": "PAY_PER_REQUEST"}
        for local, member in ((False, "GlobalSecondaryIndexes"), (True, "LocalSecondaryIndexes")):
            indexes = [self._index(table, index) for index in table.indexes if index.local == local]
            if indexes:
                output[member] = indexes
        if table.stream_label:
            output["LatestStreamArn"] = self._tables.stream_arn(table)
            output["LatestStreamLabel"] = table.stream_label
        if table.stream_view:
            output["StreamSpecification"] = {"StreamEnabled": True, "StreamViewType": table.stream_view}
        return output

    def _index(self, table: Table, index: Index) -> dict[str, Any]:
        projection: dict[str, Any] = {"ProjectionType": index.projection}
        if index.included:
            projection["NonKeyAttributes"] = list(index.included)
        output: dict[str, Any] = {
            "IndexName": index.name,
            "IndexArn": f"{self._tables.arn(table.name)}/index/{index.name}",
            "KeySchema": _schema(index.keys),
            "Projection": projection,
            "IndexSizeBytes": 0,
            "ItemCount": 0,
        }
        if not index.local:
            output |= {"IndexStatus": _STATUS, "ProvisionedThroughput": _throughput(index.throughput)}
        return output


def _schema(keys: KeySchema) -> list[dict[str, str]]:
    kinds = ("HASH", "RANGE")
    return [{"AttributeName": name, "KeyType": kind} for name, kind in zip(keys.names(), kinds, strict=False)]


def _throughput(given: dict[str, int]) -> dict[str, int]:
    return {
        "ReadCapacityUnits": given.get("ReadCapacityUnits", 0),
        "WriteCapacityUnits": given.get("WriteCapacityUnits", 0),
        "NumberOfDecreasesToday": 0,
    }


def _view(stream: dict[str, Any]) -> str:
    if not stream.get("StreamEnabled"):
        return ""
    if not stream.get("StreamViewType"):
        raise Invalid("value", "One or more parameter values were invalid: StreamViewType must be given.")
    return str(stream["StreamViewType"])


def _declared(params: dict[str, Any], name: str, limits: TableSettings) -> Table:
    """The table that CreateTable asks for. Raises ``Invalid("value")``."""
    if not params.get("KeySchema"):
        raise Invalid("value", "One or more parameter values were invalid: KeySchema must be given.")
    types = {one["AttributeName"]: one["AttributeType"] for one in params.get("AttributeDefinitions") or ()}
    if any(kind not in ("S", "N", "B") for kind in types.values()):
        raise Invalid("value", "One or more parameter values were invalid: Attribute types of keys are S, N or B.")
    global_ones = [_index(one, types, local=False) for one in params.get("GlobalSecondaryIndexes") or ()]
    local_ones = [_index(one, types, local=True) for one in params.get("LocalSecondaryIndexes") or ()]
    indexes = (*global_ones, *local_ones)
    if len(global_ones) > limits.indexes_max or len(local_ones) > 5:
        raise Invalid("value", "One or more parameter values were invalid: too many secondary indexes.")
    if len({index.name for index in indexes}) != len(indexes):
        raise Invalid("value", "One or more parameter values were invalid: Duplicate index name")
    keys = _keys(params["KeySchema"], types)
    if any(index.keys.partition != keys.partition for index in local_ones):
        raise Invalid("value", "One or more parameter values were invalid: Table KeySchema and a local index differ.")
    used = {*keys.names(), *(key for index in indexes for key in index.keys.names())}
    if used != types.keys():
        raise Invalid(
            "value",
            "One or more parameter values were invalid: Number of attributes in KeySchema does not exactly match "
            "number of attributes defined in AttributeDefinitions",
        )
    billing = params.get("BillingMode") or "PROVISIONED"
    if billing == "PROVISIONED" and not params.get("ProvisionedThroughput"):
        raise Invalid(
            "value",
            "One or more parameter values were invalid: ReadCapacityUnits and WriteCapacityUnits must both be "
            "specified when BillingMode is PROVISIONED",
        )
    return Table(
        name=name,
        id="",
        keys=keys,
        attributes=types,
        indexes=indexes,
        created_ms=0,
        billing=billing,
        throughput=dict(params.get("ProvisionedThroughput") or {}),
        stream_view=_view(params.get("StreamSpecification") or {}),
        tags={tag["Key"]: tag["Value"] for tag in params.get("Tags") or ()},
        protected=bool(params.get("DeletionProtectionEnabled")),
        table_class=params.get("TableClass") or "STANDARD",
    )


def _keys(schema: list[dict[str, str]], types: dict[str, str]) -> KeySchema:
    kinds = [part["KeyType"] for part in schema]
    if kinds not in (["HASH"], ["HASH", "RANGE"]):
        raise Invalid(
            "value", "Invalid KeySchema: The first KeySchemaElement is not a HASH key type, or the second no RANGE"
        )
    names = [part["AttributeName"] for part in schema]
    missing = [name for name in names if name not in types]
    if missing or len(set(names)) != len(names):
        raise Invalid(
            "value",
            "One or more parameter values were invalid: Some index key attributes are not defined in "
            f"AttributeDefinitions. Keys: [{', '.join(names)}], AttributeDefinitions: [{', '.join(types)}]",
        )
    sort = names[1] if len(names) == 2 else None
    return KeySchema(names[0], types[names[0]], sort, types[sort] if sort else None)


def _index(declared: dict[str, Any], types: dict[str, str], local: bool) -> Index:
    projection = declared.get("Projection") or {}
    kind = projection.get("ProjectionType") or "ALL"
    included = tuple(projection.get("NonKeyAttributes") or ())
    if (kind == "INCLUDE") != bool(included):
        raise Invalid(
            "value",
            "One or more parameter values were invalid: ProjectionType is "
            f"{kind}, but NonKeyAttributes is {'specified' if included else 'not specified'}",
        )
    throughput = dict(declared.get("ProvisionedThroughput") or {})
    name = str(declared["IndexName"])
    if not _NAME.fullmatch(name):
        raise Invalid(
            "value",
            f"1 validation error detected: Value '{name[:260]}' at 'indexName' failed to satisfy constraint: "
            "Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+, with 3 to 255 characters",
        )
    return Index(name, _keys(declared["KeySchema"], types), kind, included, local, throughput=throughput)
