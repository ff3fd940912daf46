"""Writing items: the row, its index rows and its change event are one transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sluiceway.config import TableSettings
from sluiceway.core.attribute_values import Item, check_size, item_size, outward_item
from sluiceway.core.expressions import Environment, Parsed, holds, updated
from sluiceway.core.identity import Scope
from sluiceway.core.store import Tx, View
from sluiceway.errors import PreconditionFailed
from sluiceway.services.tables.values import INDEX_ITEMS, ITEMS, Index, Table, check_item_keys, check_key, log_of

#: Sequence numbers have 21 digits, and grow with the log's offset.
SEQUENCE_START: Final = 10**20


@dataclass(frozen=True, slots=True)
class Check:
    """A condition that must hold for the item as it is. ``show`` gives the item with the refusal."""

    condition: Parsed
    env: Environment
    show: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """What a write did. ``touched`` names the top-level attributes of an update."""

    old: Item | None
    new: Item | None
    touched: frozenset[str] = frozenset()


class Items:
    """The items of all tables."""

    def __init__(self, scope: Scope, limits: TableSettings) -> None:
        self._scope = scope
        self._limits = limits

    def get(self, view: View, table: Table, key: Item) -> Item | None:
        """The item, or None. Raises ``Invalid("value")``."""
        check_key(table, key)
        return view.get(ITEMS, table.key_of(key))

    def put(self, tx: Tx, table: Table, item: Item, check: Check | None = None) -> Change:
        """Replace the whole item. Raises ``Invalid("value")``, ``PreconditionFailed("condition")``."""
        check_item_keys(table, item)
        old = tx.get(ITEMS, table.key_of(item))
        _require(check, old)
        self._write(tx, table, old, item)
        return Change(old, item)

    def update(
        self, tx: Tx, table: Table, key: Item, update: Parsed | None, env: Environment, check: Check | None = None
    ) -> Change:
        """Change or make an item. Raises also ``Invalid("expression")``, ``TooLarge("item")``."""
        check_key(table, key)
        old = tx.get(ITEMS, table.key_of(key))
        _require(check, old)
        before = old if old is not None else key
        new, touched = before, frozenset[str]()
        if update is not None:
            new, touched = updated(before, update, env, frozenset(table.keys.names()))
            check_size(new)
            check_item_keys(table, new)
        self._write(tx, table, old, new)
        return Change(old, new, touched)

    def delete(self, tx: Tx, table: Table, key: Item, check: Check | None = None, by: str = "") -> Change:
        """Remove an item; fine if there is none. ``by`` is the service that did it, for time to live."""
        check_key(table, key)
        old = tx.get(ITEMS, table.key_of(key))
        _require(check, old)
        if old is not None:
            self._write(tx, table, old, None, by)
        return Change(old, None)

    def require(self, view: View, table: Table, key: Item, check: Check) -> None:
        """A transaction's ConditionCheck. Raises ``PreconditionFailed("condition")``."""
        check_key(table, key)
        _require(check, view.get(ITEMS, table.key_of(key)))

    def _write(self, tx: Tx, table: Table, old: Item | None, new: Item | None, by: str = "") -> None:
        if old == new:
            return
        some = new if new is not None else old
        assert some is not None
        key = table.key_of(some)
        if new is None:
            tx.delete(ITEMS, key)
        else:
            tx.put(ITEMS, key, new)
        for index in table.indexes:
            reindex(tx, table, index, old, new)
        if table.stream_view:
            self._note(tx, table, old, new, by)

    def _note(self, tx: Tx, table: Table, old: Item | None, new: Item | None, by: str) -> None:
        log = log_of(table.name)
        offset = tx.bounds(log).next
        some = new if new is not None else old
        assert some is not None
        keys, view = table.only_key(some), table.stream_view
        change: dict[str, Any] = {
            "ApproximateCreationDateTime": tx.now_ms // 1000,
            "Keys": keys,
            "SequenceNumber": str(SEQUENCE_START + offset),
            "StreamViewType": view,
        }
        size = item_size(keys)
        if new is not None and view in ("NEW_IMAGE", "NEW_AND_OLD_IMAGES"):
            change["NewImage"], size = new, size + item_size(new)
        if old is not None and view in ("OLD_IMAGE", "NEW_AND_OLD_IMAGES"):
            change["OldImage"], size = old, size + item_size(old)
        record = {
            "eventID": f"{table.id[:8]}{offset:024x}",
            "eventName": "INSERT" if old is None else "REMOVE" if new is None else "MODIFY",
            "eventVersion": "1.1",
            "eventSource": "aws:dynamodb",
            "awsRegion": self._scope.region,
            "dynamodb": change | {"SizeBytes": size},
            "eventSourceARN": stream_arn(self._scope, table),
        }
        if by:
            record["userIdentity"] = {"type": "Service", "principalId": by}
        tx.append(log, record)
        self._trim(tx, log, offset)

    def _trim(self, tx: Tx, log: str, offset: int) -> None:
        """Now and then forget what is older than a day, a bounded piece at a time."""
        if offset % self._limits.trim_every:
            return
        first = kept = tx.bounds(log).first
        oldest = tx.now_ms - self._limits.stream_kept_h * 3_600_000
        piece = self._limits.trim_every * 4
        while piece:
            # Times never decrease along a log, so the last of a piece speaks for all of it.
            last = tx.read(log, kept + piece - 1, 1)
            if last and last[0].time_ms < oldest:
                kept += piece
            piece //= 2
        if kept > first:
            tx.trim(log, kept)


def stream_arn(scope: Scope, table: Table) -> str:
    """The ARN of the table's change stream."""
    return scope.arn("dynamodb", f"table/{table.name}/stream/{table.stream_label}")


def reindex(tx: Tx, table: Table, index: Index, old: Item | None, new: Item | None) -> None:
    """Bring one index in line with a change of an item."""
    before = index_key(table, index, old)
    after = index_key(table, index, new)
    if before is not None and before != after:
        tx.delete(INDEX_ITEMS, before)
    if after is not None and new is not None:
        tx.put(INDEX_ITEMS, after, index.projected(new, table.keys))


def index_key(table: Table, index: Index, item: Item | None) -> tuple[Any, ...] | None:
    """Where the item stands in the index; None if it lacks one of its keys."""
    parts = index.keys.parts(item) if item is not None else None
    if parts is None or item is None:
        return None
    return (table.id, index.place, *parts, *table.key_of(item)[1:])


def _require(check: Check | None, item: Item | None) -> None:
    if check is not None and not holds(check.condition.tree, item or {}, check.env):
        shown = {"Item": outward_item(item)} if check.show and item is not None else {}
        raise PreconditionFailed("condition", "The conditional request failed", **shown)
