"""Tables: make, change, describe, remove; items are in ``items``, queries in ``reading``."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from sluiceway.config import TableSettings
from sluiceway.core.attribute_values import Item
from sluiceway.core.identity import Scope
from sluiceway.core.store import Tx, View
from sluiceway.errors import Conflict, Invalid, NotFound, Throttled
from sluiceway.services import counts
from sluiceway.services.tables.items import Items, reindex, stream_arn
from sluiceway.services.tables.values import INDEX_ITEMS, ITEMS, REMOVED, TABLES, Index, Table, log_of

_NAME = re.compile(r"[A-Za-z0-9_.-]{3,255}")
VIEWS: Final = ("KEYS_ONLY", "NEW_IMAGE", "OLD_IMAGE", "NEW_AND_OLD_IMAGES")
#: What wakes those who remove rows.
SWEEP: Final = "tables/sweep"


class Tables:
    """``scope`` is the account and region of every table."""

    def __init__(self, scope: Scope, limits: TableSettings) -> None:
        self.scope = scope
        self.limits = limits
        self.items = Items(scope, limits)

    def arn(self, name: str) -> str:
        """The table's ARN."""
        return self.scope.arn("dynamodb", f"table/{name}")

    # -- tables

    def create(self, tx: Tx, table: Table) -> Table:
        """Add a table whose keys and indexes were checked; its id and stream are given here.

        Raises ``Invalid("value")``, ``Conflict("table")``, ``Throttled("tables")``.
        """
        if not _NAME.fullmatch(table.name):
            raise Invalid(
                "value",
                f"1 validation error detected: Value '{table.name[:260]}' at 'tableName' failed to satisfy constraint: "
                "Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+, with 3 to 255 characters",
            )
        if tx.get(TABLES, (table.name,)) is not None:
            raise Conflict("table", f"Table already exists: {table.name}")
        if not counts.one_more(tx, TABLES, self.limits.tables_max):
            raise Throttled("tables", f"There are {self.limits.tables_max} tables already.")
        made = table.with_(id=secrets.token_hex(8), created_ms=tx.now_ms)
        if made.stream_view:
            made = self._with_stream(tx, made, made.stream_view)
        return self._save(tx, made)

    def find(self, view: View, name: str) -> Table | None:
        """The table, or None."""
        row = view.get(TABLES, (name,))
        return None if row is None else Table.from_json(row)

    def get(self, view: View, name: str) -> Table:
        """Raises ``NotFound("table")``."""
        found = self.find(view, name)
        if found is None:
            raise NotFound("table", "Requested resource not found")
        return found

    def described(self, view: View, name: str) -> tuple[Table, int]:
        """The table, and its items as far as they are counted. Raises ``NotFound("table")``."""
        row = view.get(TABLES, (name,))
        if row is None:
            raise NotFound("table", f"Requested resource not found: Table: {name} not found")
        table = Table.from_json(row)
        return table, sum(1 for _ in view.scan(ITEMS, prefix=(table.id,), limit=self.limits.counted_max))

    def names(self, view: View, after: str, limit: int) -> list[str]:
        """Names from the one after ``after``."""
        start = (after + "\x00",) if after else None
        return [str(key[0]) for key, _ in view.scan(TABLES, start=start, limit=limit)]

    def remove(self, tx: Tx, name: str) -> Table:
        """Remove the table; its rows follow in small steps. Raises ``NotFound``, ``Conflict("protected")``."""
        table = self.get(tx, name)
        if table.protected:
            raise Conflict("protected", "Resource cannot be deleted as it is currently protected against deletion.")
        counts.delete(tx, TABLES, (name,))
        tx.put(REMOVED, (table.id,), {"name": name})
        log = log_of(name)
        tx.trim(log, tx.bounds(log).next)
        tx.on_commit(SWEEP)
        return table

    def unswept(self, view: View) -> bool:
        """Whether there are rows of removed tables and indexes."""
        return any(True for _ in view.scan(REMOVED, limit=1))

    def sweep(self, tx: Tx) -> bool:
        """Remove some rows of removed tables and indexes; whether there may be more."""
        for key, _ in tx.scan(REMOVED, limit=1):
            for rows in (ITEMS, INDEX_ITEMS) if len(key) == 1 else (INDEX_ITEMS,):
                found = [row for row, _ in tx.scan(rows, prefix=key, limit=self.limits.sweep_max)]
                for row in found:
                    tx.delete(rows, row)
                if found:
                    return True
            tx.delete(REMOVED, key)
            return True
        return False

    def change(self, tx: Tx, name: str, **changes: Any) -> Table:
        """Replace fields of the table that need no other work. Raises ``NotFound("table")``."""
        return self._save(tx, self.get(tx, name).with_(**changes))

    def set_stream(self, tx: Tx, name: str, stream_view: str) -> Table:
        """Turn the stream on with a view, or off with "". Raises ``Invalid("value")``."""
        table = self.get(tx, name)
        if bool(table.stream_view) == bool(stream_view):
            state = "already has an enabled stream" if stream_view else "has no stream to disable"
            raise Invalid("value", f"Table {state}: TableName: {name}")
        changed = self._with_stream(tx, table, stream_view) if stream_view else table.with_(stream_view="")
        return self._save(tx, changed)

    def set_ttl(self, tx: Tx, name: str, attribute: str, enabled: bool) -> None:
        """Expire items by ``attribute`` (seconds since 1970), or no longer. Raises ``Invalid("value")``."""
        table = self.get(tx, name)
        if enabled and table.ttl:
            raise Invalid("value", "TimeToLive is already enabled")
        if not enabled and table.ttl != attribute:
            raise Invalid("value", "TimeToLive is already disabled")
        self._save(tx, table.with_(ttl=attribute if enabled else ""))
        tx.on_commit(SWEEP)

    def add_index(self, tx: Tx, name: str, index: Index, attributes: dict[str, str]) -> Table:
        """Add an index and fill it. Raises ``Invalid``, ``Throttled("backfill")`` for a table too large for one
        transaction."""
        table = self.get(tx, name)
        if any(index.name == other.name for other in table.indexes):
            raise Invalid("value", f"Attempting to create an index which already exists: {index.name}")
        if any(table.attributes.get(key, kind) != kind for key, kind in attributes.items()):
            raise Invalid("value", "One or more parameter values were invalid: An attribute is defined in two types.")
        index = replace(index, id=secrets.token_hex(4))
        changed = table.with_(indexes=(*table.indexes, index), attributes=table.attributes | attributes)
        for number, (_, item) in enumerate(tx.scan(ITEMS, prefix=(table.id,))):
            if number >= self.limits.backfill_max:
                raise Throttled(
                    "backfill",
                    f"An index can be added to a table of up to {self.limits.backfill_max} items here: make a new "
                    "table with the index, and copy the items.",
                )
            reindex(tx, changed, index, None, item)
        return self._save(tx, changed)

    def remove_index(self, tx: Tx, name: str, index_name: str) -> Table:
        """Remove an index; its rows follow in small steps. Raises ``NotFound("index")``."""
        table = self.get(tx, name)
        kept = tuple(index for index in table.indexes if index.name != index_name)
        if len(kept) == len(table.indexes):
            raise NotFound("index", f"Requested resource not found: Index: {index_name} not found")
        tx.put(REMOVED, (table.id, table.index(index_name).place), {"name": name, "index": index_name})
        tx.on_commit(SWEEP)
        used = {*table.keys.names(), *(key for index in kept for key in index.keys.names())}
        attributes = {key: kind for key, kind in table.attributes.items() if key in used}
        return self._save(tx, table.with_(indexes=kept, attributes=attributes))

    # -- change streams

    def stream_arn(self, table: Table) -> str:
        """The ARN of the table's change stream."""
        return stream_arn(self.scope, table)

    def stream(self, view: View, arn: str) -> Table:
        """The table whose stream ``arn`` names. Raises ``NotFound("stream")``."""
        prefix = self.scope.arn("dynamodb", "table/")
        name = arn.removeprefix(prefix).partition("/stream/")[0] if arn.startswith(prefix) else ""
        table = self.find(view, name) if name else None
        if table is None or not table.stream_label or stream_arn(self.scope, table) != arn:
            raise NotFound("stream", f"Requested resource not found: Stream: {arn} not found")
        return table

    def stream_log(self, view: View, arn: str) -> str:
        """The log with the stream's records. Raises ``NotFound("stream")``."""
        return log_of(self.stream(view, arn).name)

    def streams(self, view: View, name: str | None) -> Iterator[Table]:
        """Tables that have a stream; of one name if it is given."""
        for _, row in view.scan(TABLES, prefix=(name,) if name else ()):
            table = Table.from_json(row)
            if table.stream_label:
                yield table

    def _with_stream(self, tx: Tx, table: Table, stream_view: str) -> Table:
        if stream_view not in VIEWS:
            raise Invalid("value", f"StreamViewType must be one of {', '.join(VIEWS)}.")
        label = datetime.fromtimestamp(tx.now_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{tx.now_ms % 1000:03d}"
        return table.with_(stream_view=stream_view, stream_label=label, stream_from=tx.bounds(log_of(table.name)).next)

    def _save(self, tx: Tx, table: Table) -> Table:
        tx.put(TABLES, (table.name,), table.to_json())
        return table

    # -- time to live

    def expire(self, tx: Tx, name: str, keys: list[Item], now_s: int) -> int:
        """Remove those of ``keys`` that have still expired; how many."""
        table = self.find(tx, name)
        if table is None or not table.ttl:
            return 0
        removed = 0
        for key in keys:
            item = self.items.get(tx, table, key)
            if item is not None and is_expired(item, table.ttl, now_s):
                self.items.delete(tx, table, key, by="dynamodb.amazonaws.com")
                removed += 1
        return removed


def is_expired(item: Item, attribute: str, now_s: int) -> bool:
    """Whether the item's time is over; times older than five years are no times (Developer Guide, "TTL")."""
    text = item.get(attribute, {}).get("N")
    if text is None:
        return False
    at = float(text)
    return now_s - 5 * 365 * 86_400 < at <= now_s
