"""Background work on tables: items whose time is over, and rows of removed tables."""

from __future__ import annotations

import asyncio

from sluiceway.core.attribute_values import Item
from sluiceway.core.store import Store, View
from sluiceway.core.wakeups import Wakeups
from sluiceway.services.tables.service import SWEEP, Tables, is_expired
from sluiceway.services.tables.values import ITEMS, TABLES, Table
from sluiceway.services.tending import tend


class TtlSweeper:
    """Looks at every table with a time to live, a bounded piece at a time."""

    def __init__(self, store: Store, tables: Tables, wakeups: Wakeups) -> None:
        self._store = store
        self._tables = tables
        self._wakeups = wakeups

    async def run(self) -> None:
        """Until cancelled."""
        await tend(self._wakeups, SWEEP, self.sweep, "expired items stay")

    async def sweep(self) -> float:
        """One round; seconds until the next."""
        while await self._store.view(self._tables.unswept):
            await self._store.commit(self._tables.sweep)
        for name in await self._store.view(_with_ttl):
            await self._expire(name)
        return self._tables.limits.ttl_sweep_s

    async def _expire(self, name: str) -> None:
        after: tuple[str | int | bytes, ...] | None = None
        while True:
            found, after = await self._store.view(self._look, name, after)
            now_s = found[1]
            if found[0]:
                await self._store.commit(self._tables.expire, name, found[0], now_s)
            if after is None:
                return
            await asyncio.sleep(0)

    def _look(
        self, view: View, name: str, after: tuple[str | int | bytes, ...] | None
    ) -> tuple[tuple[list[Item], int], tuple[str | int | bytes, ...] | None]:
        """Keys of expired items among the next rows, and where to go on."""
        table, now_s = self._tables.find(view, name), view.now_ms // 1000
        if table is None or not table.ttl:
            return ([], now_s), None
        limit = self._tables.limits.sweep_max
        expired: list[Item] = []
        last, count = None, 0
        for key, item in view.scan(ITEMS, prefix=(table.id,), start=(*after, 0) if after else None, limit=limit):
            count, last = count + 1, key
            if is_expired(item, table.ttl, now_s):
                expired.append(table.only_key(item))
        return (expired, now_s), last if count == limit else None


def _with_ttl(view: View) -> list[str]:
    return [table.name for _, row in view.scan(TABLES) if (table := Table.from_json(row)).ttl]
