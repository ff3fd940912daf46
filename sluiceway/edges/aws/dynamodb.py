"""DynamoDB's protocol (Amazon DynamoDB API reference, version 2012-08-10): operations on items."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from sluiceway.config import TableSettings
from sluiceway.core.attribute_values import Item, checked_item, item_size, outward_item
from sluiceway.core.expressions import (
    Environment,
    Parsed,
    key_condition,
    parse_condition,
    parse_projection,
    parse_update,
    project,
)
from sluiceway.core.store import Store, Tx, View
from sluiceway.edges.aws.dynamodb_capacity import READ, WRITE, capacities, consumed
from sluiceway.edges.aws.dynamodb_rights import ItemRights
from sluiceway.edges.aws.dynamodb_selecting import selects_whole
from sluiceway.edges.aws.dynamodb_tables import TableOperations, table_name
from sluiceway.edges.aws.operations import Call, ErrorTable, Operation, Output, ServiceEdge
from sluiceway.errors import Conflict, Invalid, NotFound, PreconditionFailed, Throttled, TooLarge
from sluiceway.services.access import authorize
from sluiceway.services.tables import Change, Check, Page, Reading, Table, Tables
from sluiceway.services.tables import reading as readings
from sluiceway.services.tables.transactions import check_apart, run, seen

ERRORS: Final[ErrorTable] = {
    (NotFound, "*"): "ResourceNotFoundException",
    (Conflict, "table"): "ResourceInUseException",
    (Conflict, "token"): "IdempotentParameterMismatchException",
    (Conflict, "protected"): "ValidationException",
    (Conflict, "*"): "ResourceInUseException",
    (PreconditionFailed, "condition"): "ConditionalCheckFailedException",
    (PreconditionFailed, "transaction"): "TransactionCanceledException",
    (Invalid, "serialization"): "SerializationException",
    (Invalid, "*"): "ValidationException",
    (TooLarge, "*"): "ValidationException",
    (Throttled, "tables"): "LimitExceededException",
    (Throttled, "backfill"): "LimitExceededException",
    (Throttled, "*"): "ProvisionedThroughputExceededException",
}
_LEGACY: Final = (
    "Expected", "ConditionalOperator", "AttributeUpdates", "AttributesToGet", "KeyConditions", "QueryFilter", "ScanFilter",
)  # fmt: skip
_TRANSACT_ACTIONS: Final = {
    "Put": "PutItem", "Update": "UpdateItem", "Delete": "DeleteItem", "ConditionCheck": "ConditionCheckItem",
}  # fmt: skip


#: A table's name, the item or key, and what to do with it.
_Action = tuple[str, Item, Callable[[Tx], Any]]


def dynamodb_edge(store: Store, tables: Tables, limits: TableSettings) -> ServiceEdge:
    """The service's operations."""
    items, about = _Items(store, tables, limits), TableOperations(store, tables, limits)
    of_items = {
        "PutItem": items.put,
        "GetItem": items.get,
        "UpdateItem": items.update,
        "DeleteItem": items.delete,
        "Query": items.query,
        "Scan": items.scan,
    }
    of_table = {
        "CreateTable": about.create,
        "DescribeTable": about.describe,
        "DeleteTable": about.delete,
        "UpdateTable": about.update,
        "UpdateTimeToLive": about.set_ttl,
        "DescribeTimeToLive": about.get_ttl,
        "DescribeContinuousBackups": about.backups,
    }
    table = {name: Operation(handler, items.resource) for name, handler in of_table.items()}
    table |= {name: Operation(handler, items.resource, items.about) for name, handler in of_items.items()}
    tags = {"ListTagsOfResource": about.list_tags, "TagResource": about.tag, "UntagResource": about.untag}
    table |= {name: Operation(handler, items.tagged) for name, handler in tags.items()}
    table["ListTables"] = Operation(about.names, lambda call: call.scope.arn("dynamodb", "table/*"))
    # These touch several tables: each is asked about on its own, by the handler.
    several = {
        "BatchGetItem": items.batch_get,
        "BatchWriteItem": items.batch_write,
        "TransactWriteItems": items.transact_write,
        "TransactGetItems": items.transact_get,
    }
    table |= {name: Operation(handler, lambda call: "*", _each) for name, handler in several.items()}
    return ServiceEdge("dynamodb", "dynamodb", table, ERRORS)


async def _each(call: Call) -> dict[str, Any]:
    """Lets a signed caller in; an explicit deny of the operation itself still holds."""
    statement = {"Effect": "Allow", "Principal": {"AWS": call.principal.arn}, "Action": "dynamodb:*", "Resource": "*"}
    return {"Version": "2012-10-17", "Statement": [statement]}


class _Items:
    def __init__(self, store: Store, tables: Tables, limits: TableSettings) -> None:
        self._store = store
        self._tables = tables
        self._limits = limits
        self._rights = ItemRights(store, tables)
        self._condition = lru_cache(limits.expressions_cached)(parse_condition)
        self._projection = lru_cache(limits.expressions_cached)(parse_projection)
        self._updating = lru_cache(limits.expressions_cached)(parse_update)

    def resource(self, call: Call) -> str:
        """The table's ARN, or its index's."""
        arn = self._tables.arn(table_name(call))
        index = call.params.get("IndexName")
        return f"{arn}/index/{index}" if index else arn

    def tagged(self, call: Call) -> str:
        """The ARN of the table that is meant by a ResourceArn, whatever else stands in it."""
        return self._tables.arn(table_name(call, "ResourceArn"))

    async def about(self, call: Call) -> None:
        """Leaves what policies ask about items; tables have no policy of their own."""
        call.conditions.update(await self._rights.collect(call, call.operation, table_name(call), [call.params]))

    # -- one item

    async def put(self, call: Call) -> Output:
        """PutItem"""
        params = _modern(call.params)
        _check_return(params, "NONE", "ALL_OLD")
        item = checked_item(params["Item"])
        check = self._check(params)
        change = await self._store.commit(self._put, table_name(call), item, check)
        return _returned(params, change) | consumed(call, params, item)

    def _put(self, tx: Tx, name: str, item: Item, check: Check | None) -> Change:
        return self._tables.items.put(tx, self._tables.get(tx, name), item, check)

    async def get(self, call: Call) -> Output:
        """GetItem"""
        params = _modern(call.params)
        projection = self._projection_of(params)
        env = Environment(params.get("ExpressionAttributeNames"), None, [projection])
        item = await self._store.view(self._get, table_name(call), checked_item(params["Key"]))
        if item is None:
            return consumed(call, params, {})
        return {"Item": _shown(item, projection, env)} | consumed(call, params, item)

    def _get(self, view: View, name: str, key: Item) -> Item | None:
        return self._tables.items.get(view, self._tables.get(view, name), key)

    async def update(self, call: Call) -> Output:
        """UpdateItem"""
        params = _modern(call.params)
        _check_return(params, "NONE", "ALL_OLD", "ALL_NEW", "UPDATED_OLD", "UPDATED_NEW")
        update, env, check = self._update_of(params)
        key = checked_item(params["Key"])
        change = await self._store.commit(self._update, table_name(call), key, update, env, check)
        return _returned(params, change) | consumed(call, params, change.new or {})

    def _update(
        self, tx: Tx, name: str, key: Item, update: Parsed | None, env: Environment, check: Check | None
    ) -> Change:
        return self._tables.items.update(tx, self._tables.get(tx, name), key, update, env, check)

    async def delete(self, call: Call) -> Output:
        """DeleteItem"""
        params = _modern(call.params)
        _check_return(params, "NONE", "ALL_OLD")
        key, check = checked_item(params["Key"]), self._check(params)
        change = await self._store.commit(self._delete, table_name(call), key, check)
        return _returned(params, change) | consumed(call, params, change.old or {})

    def _delete(self, tx: Tx, name: str, key: Item, check: Check | None) -> Change:
        return self._tables.items.delete(tx, self._tables.get(tx, name), key, check)

    # -- many items

    async def query(self, call: Call) -> Output:
        """Query"""
        params = _modern(call.params)
        if not params.get("KeyConditionExpression"):
            raise Invalid(
                "value",
                "Either the KeyConditions or KeyConditionExpression parameter must be specified in the request.",
            )
        wanted = self._condition(params["KeyConditionExpression"], "KeyConditionExpression")
        page, projection, env = await self._store.view(self._query, table_name(call), params, wanted)
        return _paged(params, page, projection, env) | consumed(call, params, {}, page.bytes)

    def _query(
        self, view: View, name: str, params: dict[str, Any], wanted: Parsed
    ) -> tuple[Page, Parsed | None, Environment]:
        table = self._tables.get(view, name)
        reading, projection, env = self._reading(table, params, wanted)
        keys = reading.index.keys if reading.index else table.keys
        condition = key_condition(wanted, env, keys.partition, keys.sort)
        if reading.filter is not None:
            _no_keys(reading.filter, env, keys.names())
        return readings.query(view, reading, condition), projection, env

    async def scan(self, call: Call) -> Output:
        """Scan"""
        params = _modern(call.params)
        page, projection, env = await self._store.view(self._scan, table_name(call), params)
        return _paged(params, page, projection, env) | consumed(call, params, {}, page.bytes)

    def _scan(self, view: View, name: str, params: dict[str, Any]) -> tuple[Page, Parsed | None, Environment]:
        reading, projection, env = self._reading(self._tables.get(view, name), params, None)
        return readings.scan(view, reading), projection, env

    def _reading(
        self, table: Table, params: dict[str, Any], wanted: Parsed | None
    ) -> tuple[Reading, Parsed | None, Environment]:
        text = params.get("FilterExpression")
        passing = self._condition(text, "FilterExpression") if text is not None else None
        projection = self._projection_of(params)
        env = _environment(params, [wanted, passing, projection])
        index = table.index(params["IndexName"]) if params.get("IndexName") else None
        if index and not index.local and params.get("ConsistentRead"):
            raise Invalid("value", "Consistent reads are not supported on global secondary indexes")
        limit, after = params.get("Limit"), params.get("ExclusiveStartKey")
        if limit is not None and limit < 1:
            raise Invalid(
                "value",
                f"1 validation error detected: Value '{limit}' at 'limit' failed to satisfy constraint: Member must "
                "have value greater than or equal to 1",
            )
        segment, segments = _segment(params)
        reading = Reading(
            table=table,
            index=index,
            after=checked_item(after) if after else None,
            limit=limit,
            backward=params.get("ScanIndexForward") is False,
            filter=passing,
            env=env,
            segment=segment,
            segments=segments,
            whole=selects_whole(table, index, params, projection, env),
        )
        return reading, projection, env

    async def batch_get(self, call: Call) -> Output:
        """BatchGetItem"""
        asked = {_plain(name): (name, one) for name, one in _once(call.params["RequestItems"])}
        for name, (_, one) in asked.items():
            await self._allow(call, "BatchGetItem", name, [{**one, "Key": key} for key in one["Keys"]])
        count = sum(len(one["Keys"]) for _, one in asked.values())
        if not 1 <= count <= self._limits.batch_get_max:
            raise Invalid(
                "value", f"Too many items requested for the BatchGetItem call: at most {self._limits.batch_get_max}"
            )
        responses: dict[str, list[Item]] = {}
        left: dict[str, Any] = {}
        sizes: list[tuple[str, int]] = []
        room = self._limits.batch_bytes_max
        for name, (given, one) in asked.items():
            projection = self._projection_of(_modern(one))
            env = Environment(one.get("ExpressionAttributeNames"), None, [projection])
            keys = [checked_item(key) for key in one["Keys"]]
            _no_twice(keys)
            found = await self._store.view(self._get_all, name, keys)
            responses[given] = []
            for number, item in enumerate(found):
                size = item_size(item) if item else 0
                room -= size
                if room < 0:
                    left[given] = {**one, "Keys": one["Keys"][number:]}
                    break
                sizes.append((name, size))
                if item is not None:
                    responses[given].append(_shown(item, projection, env))
        return {"Responses": responses, "UnprocessedKeys": left} | capacities(call, sizes, READ)

    def _get_all(self, view: View, name: str, keys: list[Item]) -> list[Item | None]:
        table = self._tables.get(view, name)
        return [self._tables.items.get(view, table, key) for key in keys]

    async def batch_write(self, call: Call) -> Output:
        """BatchWriteItem: here all of it in one transaction, which promises more than is asked."""
        asked = {_plain(name): writes for name, writes in _once(call.params["RequestItems"])}
        for name, writes in asked.items():
            await self._allow(call, "BatchWriteItem", name, [part for one in writes for part in one.values()])
        count = sum(len(writes) for writes in asked.values())
        if not 1 <= count <= self._limits.batch_write_max:
            raise Invalid(
                "value", f"Too many items requested for the BatchWriteItem call: at most {self._limits.batch_write_max}"
            )
        work = [(name, _write(one)) for name, writes in asked.items() for one in writes]
        await self._store.commit(self._write_all, work)
        return {"UnprocessedItems": {}} | capacities(call, [(name, item_size(one[1])) for name, one in work], WRITE)

    def _write_all(self, tx: Tx, work: list[tuple[str, tuple[str, Item]]]) -> None:
        seen_keys = set()
        for name, (kind, item) in work:
            table = self._tables.get(tx, name)
            if kind == "put":
                self._tables.items.put(tx, table, item)
            else:
                self._tables.items.delete(tx, table, item)
            key = table.key_of(item)
            if key in seen_keys:
                raise Invalid("value", "Provided list of item keys contains duplicates")
            seen_keys.add(key)

    # -- transactions

    async def transact_write(self, call: Call) -> Output:
        """TransactWriteItems"""
        asked = call.params["TransactItems"]
        if not 1 <= len(asked) <= self._limits.transaction_max:
            raise Invalid("value", f"Member must have length less than or equal to {self._limits.transaction_max}")
        actions = [await self._action(call, one) for one in asked]
        if sum(item_size(item) for _, item, _ in actions) > self._limits.transaction_bytes_max:
            raise TooLarge("transaction", "The items of a transaction are over the limit of 4 MB together.")
        token = call.params.get("ClientRequestToken")
        if token is not None and not 1 <= len(token) <= 36:
            raise Invalid("value", "ClientRequestToken must have 1 to 36 characters.")
        await self._store.commit(self._transact, actions, token, asked)
        return capacities(call, [(name, item_size(item)) for name, item, _ in actions], WRITE, twice=True)

    def _transact(self, tx: Tx, actions: list[_Action], token: str | None, asked: Any) -> None:
        if token is None or not seen(tx, token, asked):
            tables = {name: self._tables.get(tx, name) for name, _, _ in actions}
            keys = [(tables[name].id, tables[name].keys.parts(item)) for name, item, _ in actions]
            check_apart([(id_, *parts) for id_, parts in keys if parts is not None])
            run(tx, [action for _, _, action in actions])

    async def _action(self, call: Call, one: dict[str, Any]) -> _Action:
        if len(one) != 1:
            raise Invalid("value", "TransactItems can only contain one of Check, Put, Update or Delete")
        kind, params = next(iter(one.items()))
        name = _plain(params["TableName"])
        await self._allow(call, _TRANSACT_ACTIONS[kind], name, [params])
        if kind == "Update":
            update, env, check = self._update_of(params)
            key = checked_item(params["Key"])
            return name, key, lambda tx: self._update(tx, name, key, update, env, check)
        check = self._check(params)
        if kind == "Put":
            item = checked_item(params["Item"])
            return name, item, lambda tx: self._put(tx, name, item, check)
        key = checked_item(params["Key"])
        if kind == "Delete":
            return name, key, lambda tx: self._delete(tx, name, key, check)
        if check is None:
            raise Invalid("value", "A ConditionCheck needs a ConditionExpression.")
        return name, key, lambda tx: self._tables.items.require(tx, self._tables.get(tx, name), key, check)

    async def transact_get(self, call: Call) -> Output:
        """TransactGetItems: one snapshot."""
        asked = [one["Get"] for one in call.params["TransactItems"]]
        if not 1 <= len(asked) <= self._limits.transaction_max:
            raise Invalid("value", f"Member must have length less than or equal to {self._limits.transaction_max}")
        wanted = []
        for one in asked:
            name = _plain(one["TableName"])
            await self._allow(call, "GetItem", name, [one])
            projection = self._projection_of(one)
            wanted.append(
                (
                    name,
                    checked_item(one["Key"]),
                    projection,
                    Environment(one.get("ExpressionAttributeNames"), None, [projection]),
                )
            )
        found = await self._store.view(lambda view: [self._get(view, name, key) for name, key, _, _ in wanted])
        responses = [
            {} if item is None else {"Item": _shown(item, projection, env)}
            for item, (_, _, projection, env) in zip(found, wanted, strict=True)
        ]
        sizes = [(name, item_size(item or {})) for item, (name, _, _, _) in zip(found, wanted, strict=True)]
        if sum(size for _, size in sizes) > self._limits.transaction_bytes_max:
            raise TooLarge("transaction", "The items of a transaction are over the limit of 4 MB together.")
        return {"Responses": responses} | capacities(call, sizes, READ, twice=True)

    # -- what requests have in common

    async def _allow(self, call: Call, action: str, table: str, requests: Sequence[Mapping[str, Any]]) -> None:
        conditions = await self._rights.collect(call, action, table, requests)
        if call.operation.startswith("Transact"):
            conditions = {**conditions, "dynamodb:EnclosingOperation": [call.operation]}
        authorize(call.principal, f"dynamodb:{action}", self._tables.arn(table), conditions, None)

    def _check(self, params: dict[str, Any]) -> Check | None:
        text = params.get("ConditionExpression")
        condition = self._condition(text) if text is not None else None
        env = _environment(params, [condition])
        show = params.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD"
        return Check(condition, env, show) if condition else None

    def _update_of(self, params: dict[str, Any]) -> tuple[Parsed | None, Environment, Check | None]:
        text, condition_text = params.get("UpdateExpression"), params.get("ConditionExpression")
        update = self._updating(text) if text is not None else None
        condition = self._condition(condition_text) if condition_text is not None else None
        env = _environment(params, [update, condition])
        show = params.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD"
        return update, env, Check(condition, env, show) if condition else None

    def _projection_of(self, params: dict[str, Any]) -> Parsed | None:
        text = params.get("ProjectionExpression")
        return self._projection(text) if text is not None else None


def _modern(params: dict[str, Any]) -> dict[str, Any]:
    """Raises ``Invalid("value")`` for parameters that expressions took the place of in 2014."""
    for name in _LEGACY:
        if params.get(name) is not None:
            raise Invalid("value", f"The legacy parameter {name} is not supported here: use expressions.")
    return params


def _environment(params: dict[str, Any], expressions: Iterable[Parsed | None]) -> Environment:
    return Environment(params.get("ExpressionAttributeNames"), params.get("ExpressionAttributeValues"), expressions)


def _plain(name: str) -> str:
    return name.partition(":table/")[2].partition("/")[0] if name.startswith("arn:") else name


def _once(asked: dict[str, Any]) -> Iterable[tuple[str, Any]]:
    """Tables and what is asked of them. Raises ``Invalid("value")`` for one given by its name and by its ARN."""
    if len({_plain(name) for name in asked}) != len(asked):
        raise Invalid("value", "RequestItems names a table twice, by its name and by its ARN")
    return asked.items()


def _write(one: dict[str, Any]) -> tuple[str, Item]:
    if one.get("PutRequest"):
        return "put", checked_item(one["PutRequest"]["Item"])
    if one.get("DeleteRequest"):
        return "delete", checked_item(one["DeleteRequest"]["Key"])
    raise Invalid("value", "Supplied AttributeValue is empty: a write request is a PutRequest or a DeleteRequest")


def _no_twice(keys: list[Item]) -> None:
    if any(key in keys[:number] for number, key in enumerate(keys)):
        raise Invalid("value", "Provided list of item keys contains duplicates")


def _segment(params: dict[str, Any]) -> tuple[int, int]:
    segment, segments = params.get("Segment"), params.get("TotalSegments")
    if segment is None and segments is None:
        return 0, 1
    if segment is None or segments is None or not 0 <= segment < segments <= 1_000_000:
        raise Invalid(
            "value", "Segment and TotalSegments must both be given, and Segment must be less than TotalSegments"
        )
    return segment, segments


def _no_keys(passing: Parsed, env: Environment, names: tuple[str, ...]) -> None:
    def paths(node: Any) -> Iterable[str]:
        if isinstance(node, tuple) and node[:1] == ("path",):
            yield str(env.steps(node)[0])
        elif isinstance(node, tuple):
            for part in node:
                yield from paths(part)

    for name in paths(passing.tree):
        if name in names:
            raise Invalid(
                "value", f"Filter Expression can only contain non-primary key attributes: Primary key attribute: {name}"
            )


def _shown(item: Item, projection: Parsed | None, env: Environment) -> Item:
    return outward_item(item if projection is None else project(item, [env.steps(path) for path in projection.tree]))


def _paged(params: dict[str, Any], page: Page, projection: Parsed | None, env: Environment) -> dict[str, Any]:
    output: dict[str, Any] = {"Count": len(page.items), "ScannedCount": page.scanned}
    if params.get("Select") != "COUNT":
        output["Items"] = [_shown(item, projection, env) for item in page.items]
    if page.last is not None:
        output["LastEvaluatedKey"] = outward_item(page.last)
    return output


def _check_return(params: dict[str, Any], *allowed: str) -> None:
    if params.get("ReturnValues", "NONE") not in allowed:
        raise Invalid("value", f"ReturnValues can only be {' or '.join(reversed(allowed))}")


def _returned(params: dict[str, Any], change: Change) -> dict[str, Any]:
    """ReturnValues."""
    wanted = params.get("ReturnValues") or "NONE"
    source = change.old if wanted.endswith("_OLD") else change.new
    if wanted == "NONE" or source is None:
        return {}
    if wanted.startswith("UPDATED"):
        source = {name: source[name] for name in change.touched if name in source}
    return {"Attributes": outward_item(source)} if source else {}
