"""Rows kept in memory, so that most views need not ask SQLite: what nearly every request reads, and what is read often.

A view must see one moment, also where half of its rows come from here and half from SQLite's snapshot. So the writer
*announces* the rows that its transaction changes before it commits, and takes the announcement back, with the rows,
before anybody is told of the commit. In between such a row is read from SQLite only. A view that has used a row from
here, and whose snapshot begins after a later announcement, may have mixed two moments: it is ``Outdated`` and runs again.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Final

from sluiceway.core.store import Key

Name = tuple[str, Key]
Stored = str | bytes

_ROW_BYTES: Final = 500  # what a row takes besides its value: names, keys, the dictionary's place


class Outdated(Exception):
    """The view mixed two moments."""


class Known:
    """Rows of ``tables``, of at most ``bytes_max`` together, as SQLite gave them.

    ``announce`` is called on the writer's thread, everything else on the event loop's.
    """

    def __init__(self, tables: frozenset[str], bytes_max: int) -> None:
        self.tables = tables
        self._bytes_max = bytes_max
        self._bytes = 0
        self.rows: dict[Name, Stored] = {}
        self.changing: list[AbstractSet[Name]] = []  # announced, oldest first
        self.epoch = 0  # counts announcements

    def is_changing(self, name: Name) -> bool:
        """Whether the row must be read from SQLite."""
        return any(name in names for names in self.changing)

    def keep(self, name: Name, value: Stored) -> None:
        """``value`` is what SQLite gave."""
        self._drop(name)
        size = len(value) + _ROW_BYTES
        if self._bytes + size > self._bytes_max:
            self.rows.clear()
            self._bytes = 0
            if size > self._bytes_max:
                return
        self._bytes += size
        self.rows[name] = value

    def announce(self, names: AbstractSet[Name]) -> None:
        """These rows are about to change."""
        self.changing.append(names)
        self.epoch += 1

    def forget(self, names: AbstractSet[Name]) -> None:
        """The change of the rows announced first was made, or given up."""
        self.changing.remove(names)
        for name in names:
            self._drop(name)

    def _drop(self, name: Name) -> None:
        value = self.rows.pop(name, None)
        if value is not None:
            self._bytes -= len(value) + _ROW_BYTES
