"""What a request tells policies about the items that it touches: DynamoDB's condition keys.

(Amazon DynamoDB Developer Guide, "Using IAM policy conditions for fine-grained access control".) Policies ask for them
with ForAllValues, which holds where a key is missing: one that is not filled in would open the whole table. Nothing is
collected where no policy asks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from sluiceway.core.attribute_values import checked_item
from sluiceway.core.expressions import Environment, key_condition, parse_condition, parse_projection, parse_update
from sluiceway.core.identity import Principal
from sluiceway.core.policy.evaluate import statements_of
from sluiceway.core.store import Store
from sluiceway.edges.aws.operations import Call
from sluiceway.services.tables import Table, Tables

_CONDITIONS: Final = ("KeyConditionExpression", "FilterExpression", "ConditionExpression")
_READING: Final = frozenset({"GetItem", "BatchGetItem", "Query", "Scan"})
_WRITING: Final = frozenset({"PutItem", "UpdateItem", "DeleteItem"})


class ItemRights:
    """Looks up the table, whose keys tell which attribute is the leading one."""

    def __init__(self, store: Store, tables: Tables) -> None:
        self._store = store
        self._tables = tables

    async def collect(
        self, call: Call, action: str, name: str, requests: Sequence[Mapping[str, Any]]
    ) -> dict[str, list[str]]:
        """The call's conditions, and those of ``requests`` for the table called ``name``. Raises ``Invalid``."""
        if not _asked_for(call.principal):
            return call.conditions
        table = await self._store.view(self._tables.find, name)
        return {**call.conditions, **_keys(action, table, requests)}


def _asked_for(principal: Principal) -> bool:
    """Whether a policy names one of the keys."""
    return any(
        key.lower().startswith("dynamodb:")
        for document in principal.policies
        for statement in statements_of(document)
        for keys in (statement.get("Condition") or {}).values()
        for key in keys
    )


def _keys(action: str, table: Table | None, requests: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    leading: dict[str, None] = {}
    attributes: dict[str, None] = {}
    for request in requests:
        attributes |= dict.fromkeys(_attributes(request))
        if table is not None:
            leading |= dict.fromkeys(_leading(table, request))
    found = {"dynamodb:LeadingKeys": list(leading), "dynamodb:Attributes": list(attributes)}
    if action in _READING:
        found["dynamodb:Select"] = [_select(requests)]
    if action in _WRITING:
        found["dynamodb:ReturnValues"] = [str(requests[0].get("ReturnValues") or "NONE")]
    if capacity := requests[0].get("ReturnConsumedCapacity") if requests else None:
        found["dynamodb:ReturnConsumedCapacity"] = [str(capacity)]
    return found


def _select(requests: Sequence[Mapping[str, Any]]) -> str:
    """What is asked for, or what that is where nothing is said."""
    for request in requests:
        if request.get("Select"):
            return str(request["Select"])
        if not request.get("ProjectionExpression"):
            return "ALL_PROJECTED_ATTRIBUTES" if request.get("IndexName") else "ALL_ATTRIBUTES"
    return "SPECIFIC_ATTRIBUTES"


def _leading(table: Table, request: Mapping[str, Any]) -> Iterator[str]:
    """Values of the partition key, of the table or of the index that is asked; a scan has none. Whatever else a request
    brings, no value is passed over."""
    keys = table.keys
    for member in ("Item", "Key"):
        value = checked_item(request.get(member) or {}).get(keys.partition)
        if value is not None:
            yield _text(value)
    text = request.get("KeyConditionExpression")
    if text is not None:
        if request.get("IndexName"):
            keys = table.index(request["IndexName"]).keys
        parsed = parse_condition(text, "KeyConditionExpression")
        values = request.get("ExpressionAttributeValues") or {}
        used = {name: value for name, value in values.items() if name in parsed.values}
        names = request.get("ExpressionAttributeNames") or {}
        env = Environment({name: names[name] for name in names.keys() & parsed.names}, used, [parsed])
        yield _text(key_condition(parsed, env, keys.partition, keys.sort).partition)


def _text(value: Mapping[str, Any]) -> str:
    return str(next(iter(value.values())))


def _attributes(request: Mapping[str, Any]) -> Iterator[str]:
    """Names of all attributes that the request speaks of."""
    yield from request.get("Item") or ()
    yield from request.get("Key") or ()
    trees: list[Any] = [parse_condition(request[name], name).tree for name in _CONDITIONS if request.get(name)]
    if request.get("ProjectionExpression"):
        trees.append(parse_projection(request["ProjectionExpression"]).tree)
    if request.get("UpdateExpression"):
        trees.append(parse_update(request["UpdateExpression"]).tree)
    names = request.get("ExpressionAttributeNames") or {}
    for name in _paths(trees):
        yield names.get(name, name)


def _paths(nodes: Iterable[Any]) -> Iterator[str]:
    """The first step of every path in the trees."""
    for node in nodes:
        if isinstance(node, tuple) and node[:1] == ("path",):
            yield str(node[1][0])
        elif isinstance(node, tuple):
            yield from _paths(node)
