"""ReturnConsumedCapacity: what AWS would count (Developer Guide, "DynamoDB read and write consumption")."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from sluiceway.core.attribute_values import Item, item_size
from sluiceway.edges.aws.dynamodb_tables import table_name
from sluiceway.edges.aws.operations import Call

READ: Final = 4096
WRITE: Final = 1024
_WRITES: Final = ("PutItem", "UpdateItem", "DeleteItem")


def consumed(call: Call, params: dict[str, Any], item: Item, size: int | None = None) -> dict[str, Any]:
    """Of an operation on one table that wrote or read ``item``, or read ``size`` bytes."""
    if not _is_asked(params):
        return {}
    unit = WRITE if call.operation in _WRITES else READ
    units = float(_units(item_size(item) if size is None else size, unit))
    half = unit == READ and not params.get("ConsistentRead")
    return {"ConsumedCapacity": {"TableName": table_name(call), "CapacityUnits": units / 2 if half else units}}


def capacities(call: Call, sizes: Iterable[tuple[str, int]], unit: int, twice: bool = False) -> dict[str, Any]:
    """Of a batch, or of a transaction, which counts ``twice``: by table, from (table, bytes) of its items."""
    if not _is_asked(call.params):
        return {}
    units: dict[str, float] = {}
    for name, size in sizes:
        units[name] = units.get(name, 0.0) + _units(size, unit) * (2 if twice else 0.5 if unit == READ else 1)
    return {"ConsumedCapacity": [{"TableName": name, "CapacityUnits": count} for name, count in units.items()]}


def _is_asked(params: dict[str, Any]) -> bool:
    return params.get("ReturnConsumedCapacity") not in (None, "NONE")


def _units(size: int, unit: int) -> int:
    return max(1, -(-size // unit))
