"""Tables, their keys and indexes as values, and the names of their rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

from sluiceway.core.attribute_values import Item, Value, key_part, size_of
from sluiceway.core.store import Part
from sluiceway.errors import Invalid

TABLES: Final = "tables"
ITEMS: Final = "items"
INDEX_ITEMS: Final = "index_items"
#: Sorts after every part that follows a key.
LAST: Final = 2**63 - 1
#: Marks rows that are being removed: of a table (table id,), of an index (table id, index's place).
REMOVED: Final = "removed_tables"
_BYTES_MAX: Final = (2048, 1024)  # of a partition key, of a sort key
_NAMES: Final[Mapping[str, str]] = {"S": "string", "B": "binary"}


def log_of(table: str) -> str:
    """The log with the table's changes."""
    return f"table/{table}"


@dataclass(frozen=True, slots=True)
class KeySchema:
    """Names and types ("S", "N", "B") of a partition key and perhaps a sort key."""

    partition: str
    partition_type: str
    sort: str | None = None
    sort_type: str | None = None

    def names(self) -> tuple[str, ...]:
        """One or two."""
        return (self.partition,) if self.sort is None else (self.partition, self.sort)

    def typed(self) -> Iterator[tuple[str, str]]:
        """Names with their types."""
        yield self.partition, self.partition_type
        if self.sort is not None and self.sort_type is not None:
            yield self.sort, self.sort_type

    def parts(self, item: Item) -> tuple[Part, ...] | None:
        """The item's key for the store; None if the item lacks one of its attributes, or has it in another type."""
        made: list[Part] = []
        for name, kind in self.typed():
            value = item.get(name)
            if value is None or not value.get(kind):
                return None
            made.append(key_part(value))
        return tuple(made)


@dataclass(frozen=True, slots=True)
class Index:
    """``projection`` is ALL, KEYS_ONLY or INCLUDE (then with ``included``). A ``local`` one has the table's
    partition key. ``id`` is given to one that is added later, so that it never finds rows of a removed one."""

    name: str
    keys: KeySchema
    projection: str
    included: tuple[str, ...] = ()
    local: bool = False
    id: str = ""
    throughput: dict[str, int] = field(default_factory=dict)

    @property
    def place(self) -> str:
        """The part of the store's keys that its rows have in common; names have no slash."""
        return f"{self.name}/{self.id}" if self.id else self.name

    def projects(self, name: str, table_keys: KeySchema) -> bool:
        """Whether the attribute is in the index."""
        return self.projection == "ALL" or name in (*self.keys.names(), *table_keys.names(), *self.included)

    def projected(self, item: Item, table_keys: KeySchema) -> Item:
        """What the index holds of ``item``."""
        if self.projection == "ALL":
            return item
        wanted = {*self.keys.names(), *table_keys.names(), *self.included}
        return {name: value for name, value in item.items() if name in wanted}


@dataclass(frozen=True, slots=True)
class Table:
    """``id`` is unique for ever, so that rows of a removed table are not found by its successor."""

    name: str
    id: str
    keys: KeySchema
    attributes: dict[str, str]
    indexes: tuple[Index, ...]
    created_ms: int
    billing: str = "PAY_PER_REQUEST"
    throughput: dict[str, int] = field(default_factory=dict)
    stream_view: str = ""
    stream_label: str = ""
    stream_from: int = 0
    ttl: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    protected: bool = False
    table_class: str = "STANDARD"

    def index(self, name: str) -> Index:
        """Raises ``Invalid("index")``."""
        for index in self.indexes:
            if index.name == name:
                return index
        raise Invalid("index", f"The table does not have the specified index: {name}")

    def key_of(self, item: Item) -> tuple[Part, ...]:
        """The store's key of a whole item whose key was checked."""
        parts = self.keys.parts(item)
        assert parts is not None
        return (self.id, *parts)

    def only_key(self, item: Item) -> Item:
        """The item's key attributes."""
        return {name: item[name] for name in self.keys.names()}

    def to_json(self) -> dict[str, Any]:
        """As it is kept in the table "tables"."""
        return asdict(self)

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> Table:
        """What ``to_json`` wrote."""
        indexes = tuple(
            Index(**{**index, "keys": KeySchema(**index["keys"]), "included": tuple(index["included"])})
            for index in row["indexes"]
        )
        return cls(**{**row, "keys": KeySchema(**row["keys"]), "indexes": indexes})

    def with_(self, **changes: Any) -> Table:
        """A changed copy."""
        return replace(self, **changes)


def check_item_keys(table: Table, item: Item) -> None:
    """Raises ``Invalid("value")`` unless the item has the table's key, and fits its indexes' keys."""
    for name, kind in table.keys.typed():
        value = item.get(name)
        if value is None:
            raise Invalid("value", f"One or more parameter values were invalid: Missing the key {name} in the item")
        _check_type(name, kind, value)
    _check_bytes(table.keys, item)
    for index in table.indexes:
        for name, kind in index.keys.typed():
            value = item.get(name)
            if value is not None and kind not in value:
                raise Invalid(
                    "value",
                    f"One or more parameter values were invalid: Type mismatch for Index Key {name} Expected: {kind} "
                    f"Actual: {next(iter(value))} IndexName: {index.name}",
                )
            if value is not None and value[kind] == "":
                raise Invalid(
                    "value",
                    "One or more parameter values are not valid. A value specified for a secondary index key is not "
                    f"supported. The AttributeValue for a key attribute cannot contain an empty {_NAMES[kind]} value. "
                    f"IndexName: {index.name}, IndexKey: {name}",
                )
        _check_bytes(index.keys, item)


def check_key(table: Table, key: Item) -> None:
    """Raises ``Invalid("value")`` unless ``key`` is exactly a key of the table."""
    if key.keys() != set(table.keys.names()) or any(kind not in key[name] for name, kind in table.keys.typed()):
        raise Invalid("value", "The provided key element does not match the schema")
    for name, kind in table.keys.typed():
        _check_empty(name, kind, key[name][kind])
    _check_bytes(table.keys, key)


def _check_type(name: str, kind: str, value: Value) -> None:
    if kind not in value:
        raise Invalid(
            "value",
            f"One or more parameter values were invalid: Type mismatch for key {name} expected: {kind} "
            f"actual: {next(iter(value))}",
        )
    _check_empty(name, kind, value[kind])


def _check_empty(name: str, kind: str, content: Any) -> None:
    if content == "":
        raise Invalid(
            "value",
            "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an "
            f"empty {_NAMES[kind]} value. Key: {name}",
        )


def _check_bytes(keys: KeySchema, item: Item) -> None:
    for name, limit in zip(keys.names(), _BYTES_MAX, strict=False):
        value = item.get(name)
        if value is not None and "N" not in value and size_of(value) > limit:
            what = "hashkey" if limit == _BYTES_MAX[0] else "rangekey"
            raise Invalid(
                "value",
                f"One or more parameter values were invalid: Size of {what} has exceeded the maximum size limit of"
                f"{limit} bytes",
            )
