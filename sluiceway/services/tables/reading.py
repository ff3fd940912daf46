"""Query and Scan: ranges of rows, page by page (API reference; Developer Guide, "Paginating table query results")."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from sluiceway.core.attribute_values import Item, item_size, key_part
from sluiceway.core.expressions import Environment, KeyCondition, Parsed, holds
from sluiceway.core.keys import pack, text_after
from sluiceway.core.store import Key, View
from sluiceway.errors import Invalid
from sluiceway.services.tables.items import index_key
from sluiceway.services.tables.values import INDEX_ITEMS, ITEMS, LAST, Index, Table

PAGE_BYTES: Final = 1024 * 1024
#: Bytes of other segments' items that one page of a parallel scan passes over; then it ends early.
SKIPPED_BYTES: Final = 16 * PAGE_BYTES


@dataclass(frozen=True, slots=True)
class Reading:
    """What to read. ``after`` is an ExclusiveStartKey; ``segment`` of ``segments`` for a parallel scan; ``whole``
    fetches the table's items for what a local index finds."""

    table: Table
    index: Index | None = None
    after: Item | None = None
    limit: int | None = None
    backward: bool = False
    filter: Parsed | None = None
    env: Environment | None = None
    segment: int = 0
    segments: int = 1
    whole: bool = False


@dataclass(slots=True)
class Page:
    """``scanned`` counts what was read, ``items`` is what passed the filter; ``last`` continues after it."""

    items: list[Item] = field(default_factory=list)
    scanned: int = 0
    bytes: int = 0
    last: Item | None = None


def query(view: View, reading: Reading, condition: KeyCondition) -> Page:
    """One partition's items in the order of their sort key."""
    schema = reading.index.keys if reading.index else reading.table.keys
    for name, kind in schema.typed():
        given = condition.values if name == schema.sort else (condition.partition,)
        if any(kind not in value for value in given):
            raise Invalid(
                "value",
                "One or more parameter values were invalid: Condition parameter type does not match schema type",
            )
    prefix = (*_prefix(reading), key_part(condition.partition))
    start, end = _range(prefix, condition)
    return _read(view, reading, prefix, start, end)


def scan(view: View, reading: Reading) -> Page:
    """All items, or a segment of them."""
    return _read(view, reading, _prefix(reading), None, None)


def _prefix(reading: Reading) -> tuple[Any, ...]:
    return (reading.table.id, reading.index.place) if reading.index else (reading.table.id,)


def _range(prefix: tuple[Any, ...], condition: KeyCondition) -> tuple[Any, Any]:
    """The bounds (start, end) of the sort key's condition."""
    operator = condition.operator
    parts = [key_part(value) for value in condition.values]
    if not operator:
        return None, None
    first = (*prefix, parts[0])
    if operator == "=":
        return first, (*first, LAST)
    if operator == "between":
        return first, (*prefix, parts[1], LAST)
    if operator == "begins_with":
        return first, _after_prefix(prefix, parts[0])
    if operator in (">", ">="):
        return ((*first, LAST) if operator == ">" else first), None
    return None, ((*first, LAST) if operator == "<=" else first)


def _after_prefix(prefix: tuple[Any, ...], begins: Any) -> tuple[Any, ...]:
    if isinstance(begins, str):
        following = text_after(begins)
        return (*prefix, LAST) if following is None else (*prefix, following)
    stripped = begins.rstrip(b"\xff")
    return (*prefix, stripped[:-1] + bytes([stripped[-1] + 1])) if stripped else (*prefix, LAST)


def _read(view: View, reading: Reading, prefix: tuple[Any, ...], start: Any, end: Any) -> Page:
    after = _place(reading)
    if after is not None:
        if after[: len(prefix)] != prefix:
            raise Invalid("value", "The provided starting key is outside query boundaries based on provided conditions")
        if reading.backward:
            end = after if end is None else min(end, after, key=_sortable)
        else:
            beyond = (*after, LAST)
            start = beyond if start is None else max(start, beyond, key=_sortable)
    rows = view.scan(
        INDEX_ITEMS if reading.index else ITEMS, prefix=prefix, start=start, end=end, reverse=reading.backward
    )
    return _page(view, reading, rows)


def _sortable(key: tuple[Any, ...]) -> bytes:
    return pack(key)


def _in_segment(reading: Reading, key: tuple[Any, ...]) -> bool:
    if reading.segments == 1:
        return True
    part = key[2 if reading.index else 1]
    data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else bytes(part)
    return zlib.crc32(data) % reading.segments == reading.segment


def _page(view: View, reading: Reading, rows: Iterator[tuple[Key, Item]]) -> Page:
    page = Page()
    passes = _filter(reading)
    latest: Item | None = None
    skipped = 0
    for key, row in rows:
        full = page.scanned == reading.limit or page.bytes >= PAGE_BYTES or skipped >= SKIPPED_BYTES
        if latest is not None and full:
            page.last = _continuation(reading, latest)
            break
        latest, size = row, item_size(row)
        if not _in_segment(reading, key):
            skipped += size
            continue
        item = _fetched(view, reading, key) if reading.whole else row
        page.scanned += 1
        page.bytes += size
        if passes(item):
            page.items.append(item)
    else:
        # DynamoDB answers a full page with a place to go on, even if nothing follows; so does this.
        if latest is not None and page.scanned == reading.limit:
            page.last = _continuation(reading, latest)
    return page


def _fetched(view: View, reading: Reading, key: Key) -> Item:
    """The table's item that an index row stands for; both change in one transaction."""
    item: Item | None = view.get(ITEMS, (reading.table.id, *key[-len(reading.table.keys.names()) :]))
    assert item is not None
    return item


def _filter(reading: Reading) -> Callable[[Item], bool]:
    parsed, env = reading.filter, reading.env
    if parsed is None or env is None:
        return lambda item: True
    return lambda item: holds(parsed.tree, item, env)


def _continuation(reading: Reading, item: Item) -> Item:
    names = set(reading.table.keys.names())
    if reading.index:
        names |= set(reading.index.keys.names())
    return {name: value for name, value in item.items() if name in names}


def _place(reading: Reading) -> tuple[Any, ...] | None:
    """The store's key of the ExclusiveStartKey. Raises ``Invalid("value")``."""
    after = reading.after
    if after is None:
        return None
    expected = dict(reading.table.keys.typed())
    if reading.index:
        expected |= dict(reading.index.keys.typed())
    if after.keys() != expected.keys() or not all(after[name].get(kind) for name, kind in expected.items()):
        raise Invalid(
            "value", "The provided starting key is invalid: The provided key element does not match the schema"
        )
    if reading.index:
        return index_key(reading.table, reading.index, after)
    return reading.table.key_of(after)
