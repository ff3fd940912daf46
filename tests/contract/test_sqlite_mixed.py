"""The SQLite engine with all of it at once: functions that change sides, fail, spoil their group and do not end, views
between them, a disk that fails, and power cuts. Whatever a view sees is one moment, and what was answered is durable."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import apsw
import pytest
from helpers.faulty_disk import Disk
from helpers.waiting import until

from sluiceway.config import StoreSettings
from sluiceway.core.clock import SystemClock
from sluiceway.core.store import Tx, View
from sluiceway.core.wakeups import Wakeups
from sluiceway.engines.sqlite import SqliteStore, open_store
from sluiceway.errors import Unavailable

#: Short enough that ``lingering`` is long, and that groups are cut.
LIMITS: dict[str, Any] = {
    "function_short_ms": 1.0,
    "group_short_ms": 2.0,
    "function_limit_ms": 100.0,
    "checkpoint_pages": 20,
    "cache_bytes": 256 * 1024,  # so that pages are written before the commit, too
}
WORKERS = 24
LOAD_S = 3.0


async def opened(folder: Path, **limits: Any) -> SqliteStore:
    tables = [frozenset({name}) for name in ("steady", "hot", "busy")]
    return await open_store(folder / "store.db", StoreSettings(**LIMITS | limits), SystemClock(), Wakeups(), *tables)


@pytest.fixture
async def store(disk: Disk, tmp_path: Path) -> AsyncIterator[SqliteStore]:
    made = await opened(tmp_path)
    yield made
    disk.heal()
    await made.close()


class Refused(Exception):
    """A function's own error."""


def quick(tx: Tx, number: int) -> int:
    """One more in each kind of table, and in the log; what it finds must be what the last one left."""
    count = tx.get("busy", ("count",)) or 0
    assert [tx.get(name, ("count",)) or 0 for name in ("steady", "hot")] == [count, count]
    offset = tx.append("mixed/log", number)
    assert offset == count
    tx.put("plain", (number,), {"offset": offset, "padding": "x" * (number % 3000)})
    for name in ("steady", "hot", "busy"):
        tx.put(name, ("count",), count + 1)
    return offset


def lingering(tx: Tx, number: int) -> int:
    """Long, now and then."""
    ends = time.thread_time() + (0.002 if number % 5 == 0 else 0)
    while time.thread_time() < ends:
        pass
    return quick(tx, number)


def looking(tx: Tx, number: int) -> int:
    """Scans a busy table, which is to be written for it first, and changes its mind about a row."""
    rows = dict(tx.scan("busy"))
    assert rows.get(("count",), 0) == tx.bounds("mixed/log").next
    tx.put("busy", ("other",), number)
    tx.delete("busy", ("other",))
    return quick(tx, number)


def refusing(tx: Tx, number: int) -> int:
    """Before it writes."""
    assert tx.get("plain", (number,)) is None
    raise Refused


def spoiling(tx: Tx, number: int) -> int:
    """After it wrote."""
    quick(tx, number)
    raise Refused


def endless(tx: Tx, number: int) -> int:
    """Does not come to its end."""
    quick(tx, number)
    while True:
        list(tx.scan("plain"))


FUNCTIONS: tuple[tuple[Callable[[Tx, int], int], float], ...] = (
    (quick, 40), (lingering, 20), (looking, 10), (refusing, 10), (spoiling, 5), (endless, 0.1),
)  # fmt: skip


def one_moment(view: View) -> int:
    """How many there are; every table says the same. What is kept in memory is asked first, and last."""
    steady, hot = view.get("steady", ("count",)), view.get("hot", ("count",))
    end = view.bounds("mixed/log").next
    found = [steady, view.get("busy", ("count",)), hot, view.get("steady", ("count",)), view.get("hot", ("count",))]
    assert [count or 0 for count in found] == [end] * 5
    return end


def check(view: View, acknowledged: dict[int, int]) -> None:
    """Every acknowledged change is there at its offset, nothing that was refused, and all of it fits."""
    entries = view.read("mixed/log", 0, 10**6)
    assert [entry.offset for entry in entries] == list(range(one_moment(view)))
    rows = {key[0]: row["offset"] for key, row in view.scan("plain")}
    assert rows == {entry.value: entry.offset for entry in entries}
    assert {number: rows.get(number) for number in acknowledged} == acknowledged
    assert not list(view.scan("busy", prefix=("other",)))


class Load:
    """Workers, a viewer and power cuts, for a while."""

    def __init__(self, store: SqliteStore, disk: Disk, folder: Path, seed: int) -> None:
        self.store, self.disk, self.folder = store, disk, folder
        self.dice = random.Random(seed)
        self.acknowledged: dict[int, int] = {}
        self.refused: set[int] = set()
        self.late = self.views = 0
        self.images: list[tuple[Path, dict[int, int]]] = []
        self._began = time.monotonic()

    def _goes_on(self) -> bool:
        took = time.monotonic() - self._began
        return took < LOAD_S or (took < 30 and len(self.acknowledged) < 300)  # a busy machine's disk

    def fails(self, name: str) -> Exception | None:
        return apsw.IOError("sync") if self.dice.random() < 0.005 else None

    async def run(self) -> None:
        await asyncio.gather(self._cut(), self._view(), *(self._work(who) for who in range(WORKERS)))

    async def _work(self, number: int) -> None:
        functions, weights = [fn for fn, _ in FUNCTIONS], [weight for _, weight in FUNCTIONS]
        while self._goes_on():
            number += WORKERS
            [fn] = self.dice.choices(functions, weights)
            try:
                self.acknowledged[number] = await self.store.commit(fn, number)
                assert fn not in (refusing, spoiling, endless)
            except Refused:
                assert fn in (refusing, spoiling)
                self.refused.add(number)
            except Unavailable as error:
                assert error.kind == "store" or fn is endless, (error.kind, fn)
                self.late += error.kind == "slow"
                await asyncio.sleep(0.01)

    async def _view(self) -> None:
        seen = 0
        while self._goes_on():
            known = max(self.acknowledged.values(), default=-1)
            end = await self.store.view(one_moment)
            assert end > known, "what was answered is not seen"
            assert end >= seen, "time went back"
            seen = end
            self.views += 1
            await asyncio.sleep(0)

    async def _cut(self) -> None:
        while self._goes_on():
            await asyncio.sleep(self.dice.uniform(0.1, 0.4))
            so_far, image = dict(self.acknowledged), self.folder / f"cut{len(self.images)}"
            self.disk.power_cut(image)
            self.images.append((image, so_far))


@pytest.mark.parametrize("seed", range(3))
async def test_everything_at_once(
    store: SqliteStore, disk: Disk, tmp_path: Path, seed: int, request: pytest.FixtureRequest
) -> None:
    chosen = request.config.getoption("--seed")
    load = Load(store, disk, tmp_path, seed if chosen is None else chosen + seed)
    disk.on_sync = load.fails
    await load.run()
    disk.heal()
    await until(lambda: store.problem() is None)
    assert await store.commit(quick, -1) == await store.view(one_moment) - 1
    assert len(load.acknowledged) >= 300
    assert load.refused
    assert load.views > 100
    for folder, so_far in load.images:
        image = await opened(folder)
        await image.view(check, so_far)
        await image.close()
    await store.view(check, load.acknowledged)
    there = {key[0] for key, _ in await store.view(lambda view: list(view.scan("plain")))}
    assert not there & load.refused


async def test_an_existing_database_goes_on_with_its_pages(tmp_path: Path) -> None:
    """Whatever the setting is now."""
    acknowledged: dict[int, int] = {}
    for turn, page_bytes in enumerate((16384, 8192, 4096)):
        store = await opened(tmp_path, page_bytes=page_bytes)
        for number in range(turn * 100, turn * 100 + 100):
            acknowledged[number] = await store.commit(quick, number)
        await store.view(check, acknowledged)
        await store.close()
        with_sqlite = apsw.Connection(str(tmp_path / "store.db"))
        assert with_sqlite.execute("PRAGMA page_size").fetchall() == [(16384,)]
        with_sqlite.close()
