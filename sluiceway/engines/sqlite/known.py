"""Rows kept in memory, so that most views need not ask SQLite: what nearly every request reads, and what is read often.

A view must see one moment, also where half of its rows come from here and half from SQLite's snapshot. So the writer
*announces* the rows that its transaction changes before it commits, and takes the announcement back, with the rows,
before anybody is told of the commit. In between such a row is read from SQLite only. A view that has used a row from
here, and whose snapshot begins after a later announcement, may have mixed two moments: it is ``Outdated`` and runs again.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import Any, Final

from sluiceway.core.store import Key

Name = tuple[str, Key]
Stored = str | bytes

_ROW_BYTES: Final = 500  # what a row takes besides its value: names, keys, the dictionary's place


class Outdated(Exception):
    """The view mixed two moments."""


class Row:
    """A value as SQLite gave it, and what ``make`` made of it (see ``core.store.View.get_as``)."""

    __slots__ = ("made", "make", "stored")

    def __init__(self, stored: Stored) -> None:
        self.stored = stored
        self.make: Callable[[Key, Any], Any] | None = None
        self.made: Any = None


class Rows:
    """Rows of ``tables``, of at most ``bytes_max`` together, past which all are given up. Used on one thread."""

    def __init__(self, tables: frozenset[str], bytes_max: int) -> None:
        self.tables = tables
        self._bytes_max = bytes_max
        self._bytes = 0
        self.rows: dict[Name, Row] = {}

    def keep(self, name: Name, stored: Stored) -> Row:
        """A row that was read, or is to be written."""
        self.drop(name)
        size = len(stored) + _ROW_BYTES
        if self._bytes + size > self._bytes_max:
            self.clear()
        row = Row(stored)
        if size <= self._bytes_max:
            self._bytes += size
            self.rows[name] = row
        return row

    def drop(self, name: Name) -> None:
        """A row that was changed."""
        row = self.rows.pop(name, None)
        if row is not None:
            self._bytes -= len(row.stored) + _ROW_BYTES

    def clear(self) -> None:
        """All of them."""
        self.rows.clear()
        self._bytes = 0


class Known(Rows):
    """The rows that views use. ``announce`` is called where the writer runs, everything else on the event loop."""

    def __init__(self, tables: frozenset[str], bytes_max: int) -> None:
        super().__init__(tables, bytes_max)
        self.changing: list[AbstractSet[Name]] = []  # announced, oldest first
        self.epoch = 0  # counts announcements

    def is_changing(self, name: Name) -> bool:
        """Whether the row must be read from SQLite."""
        return any(name in names for names in self.changing)

    def announce(self, names: AbstractSet[Name]) -> None:
        """These rows are about to change."""
        self.changing.append(names)
        self.epoch += 1

    def forget(self, names: AbstractSet[Name]) -> None:
        """The change of the rows announced first was made, or given up."""
        self.changing.remove(names)
        for name in names:
            self.drop(name)
