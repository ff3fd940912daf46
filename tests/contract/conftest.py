"""The engines of the two ports. A later engine joins every contract test by one line in its table."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest
from helpers.faulty_disk import Disk

from sluiceway.config import StoreSettings
from sluiceway.core.blobs import Blobs
from sluiceway.core.clock import Clock
from sluiceway.core.store import Store
from sluiceway.core.wakeups import Wakeups
from sluiceway.engines.filesystem import FileBlobs
from sluiceway.engines.sqlite import open_store

StoreOpener = Callable[[Path, Clock, Wakeups], Awaitable[Store]]
BlobsOpener = Callable[[Path], Blobs]


async def open_sqlite(folder: Path, clock: Clock, wakeups: Wakeups) -> Store:
    return await open_store(folder / "store.db", StoreSettings(), clock, wakeups)


class _Every(frozenset[str]):
    """Every table, whatever its name."""

    def __contains__(self, _: object) -> bool:
        return True

    def __or__(self, _: object) -> _Every:
        return self

    __ror__ = __or__


async def open_watching(folder: Path, clock: Clock, wakeups: Wakeups) -> Store:
    """With rows kept in memory: few, so that they are given up now and then."""
    limits = StoreSettings(rows_known_bytes_max=2000)
    return await open_store(folder / "store.db", limits, clock, wakeups, _Every(), _Every())


async def open_busy(folder: Path, clock: Clock, wakeups: Wakeups) -> Store:
    """With every row written at the end of its group."""
    limits = StoreSettings(rows_known_bytes_max=5000)
    return await open_store(folder / "store.db", limits, clock, wakeups, frozenset(), frozenset(), _Every())


async def open_watching_busy(folder: Path, clock: Clock, wakeups: Wakeups) -> Store:
    """All of it together."""
    limits = StoreSettings(rows_known_bytes_max=2000)
    return await open_store(folder / "store.db", limits, clock, wakeups, _Every(), _Every(), _Every())


async def open_beside(folder: Path, clock: Clock, wakeups: Wakeups) -> Store:
    """All of it, and every function on the writer's thread."""
    limits = StoreSettings(rows_known_bytes_max=2000, function_short_ms=0)
    return await open_store(folder / "store.db", limits, clock, wakeups, _Every(), _Every(), _Every())


async def open_piecemeal(folder: Path, clock: Clock, wakeups: Wakeups) -> Store:
    """All of it, and the event loop is left after each function: the rest of its group waits again."""
    limits = StoreSettings(group_short_ms=0)
    return await open_store(folder / "store.db", limits, clock, wakeups, _Every(), _Every(), _Every())


STORES: Final[Mapping[str, StoreOpener]] = {
    "sqlite": open_sqlite,
    "sqlite watching": open_watching,
    "sqlite busy": open_busy,
    "sqlite watching busy": open_watching_busy,
    "sqlite beside the loop": open_beside,
    "sqlite piecemeal": open_piecemeal,
}
BLOBS: Final[Mapping[str, BlobsOpener]] = {"filesystem": lambda folder: FileBlobs(folder / "blobs")}


class Hand:
    """A clock that a test sets."""

    def __init__(self, now_ms: int = 1_700_000_000_000) -> None:
        self.now = now_ms

    def now_ms(self) -> int:
        return self.now


class StoreBench:
    """A store on a folder, to be closed and opened again, with a clock and wake-ups that a test can see."""

    def __init__(self, opener: StoreOpener, folder: Path) -> None:
        self._opener = opener
        self.folder = folder
        self.clock = Hand()
        self.notified: list[frozenset[str]] = []
        self.wakeups = Wakeups()
        self.wakeups.listen(self.notified.append)
        self._opened: list[Store] = []

    async def open(self) -> Store:
        store = await self._opener(self.folder, self.clock, self.wakeups)
        self._opened.append(store)
        return store

    async def reopen(self) -> Store:
        await self._opened.pop().close()
        return await self.open()

    async def close(self) -> None:
        while self._opened:
            await self._opened.pop().close()


class BlobsBench:
    """Blobs on a folder, to be opened again as after a restart."""

    def __init__(self, opener: BlobsOpener, folder: Path) -> None:
        self._opener = opener
        self.folder = folder
        self._opened: list[Blobs] = []

    def open(self) -> Blobs:
        blobs = self._opener(self.folder)
        self._opened.append(blobs)
        return blobs

    def close(self) -> None:
        for blobs in self._opened:
            if (close := getattr(blobs, "close", None)) is not None:
                close()


@pytest.fixture(params=sorted(STORES))
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[StoreBench]:
    made = StoreBench(STORES[request.param], tmp_path)
    yield made
    await made.close()


@pytest.fixture
async def store(bench: StoreBench) -> Store:
    return await bench.open()


@pytest.fixture(params=sorted(BLOBS))
async def blobs_bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[BlobsBench]:
    made = BlobsBench(BLOBS[request.param], tmp_path)
    yield made
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.to_thread(made.close)


@pytest.fixture
def blobs(blobs_bench: BlobsBench) -> Blobs:
    return blobs_bench.open()


@pytest.fixture
def disk() -> Iterator[Disk]:
    """A disk that fails when a test says so."""
    made = Disk()
    yield made
    made.heal()  # or a store that recovers now, beside it, fails to close
    made.unregister()
