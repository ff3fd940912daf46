"""What the SQLite engine does on the event loop: it holds it for a short time only, whatever the functions do."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import apsw
import pytest
from helpers.faulty_disk import Disk
from helpers.waiting import until

from sluiceway.config import StoreSettings
from sluiceway.core.clock import SystemClock
from sluiceway.core.store import Tx
from sluiceway.core.wakeups import Wakeups
from sluiceway.engines.sqlite import SqliteStore, open_store
from sluiceway.errors import Unavailable

Opener = Callable[..., Any]


@pytest.fixture
async def opener(tmp_path: Path) -> AsyncIterator[Opener]:
    opened: list[SqliteStore] = []

    async def open_it(**limits: Any) -> SqliteStore:
        store = await open_store(tmp_path / "store.db", StoreSettings(**limits), SystemClock(), Wakeups())
        opened.append(store)
        return store

    yield open_it
    for store in opened:
        await store.close()


@asynccontextmanager
async def pauses() -> AsyncIterator[list[float]]:
    """How long the event loop did not come to its other tasks, in seconds."""
    found = [0.0]

    async def watch() -> None:
        last = time.monotonic()
        while True:
            await asyncio.sleep(0)
            now = time.monotonic()
            found.append(now - last)
            last = now

    watching = asyncio.create_task(watch())
    await asyncio.sleep(0)
    yield found
    await asyncio.sleep(0)
    watching.cancel()


def append(tx: Tx, number: int, work_s: float = 0.002) -> int:
    ends = time.monotonic() + work_s
    while time.monotonic() < ends:
        pass
    tx.put("t", (number,), number)
    return tx.append("log/a", number)


def where(tx: Tx) -> bool:
    """Whether on the event loop."""
    tx.put("t", ("where",), 1)
    return threading.current_thread() is threading.main_thread()


# -- how long the event loop is held


async def test_a_group_of_many_short_functions_leaves_the_event_loop_in_between(opener: Opener) -> None:
    store = await opener(function_short_ms=1000)
    async with pauses() as found:
        answers = await asyncio.gather(*(store.commit(append, number) for number in range(500)))
    assert answers == list(range(500))
    assert max(found) < 0.3, "a second at least is what they take together"
    assert store.stats.commits > 5


async def test_a_group_that_is_cut_and_has_failures_keeps_its_order(opener: Opener) -> None:
    store = await opener(function_short_ms=1000, group_short_ms=10)

    def step(tx: Tx, number: int) -> int:
        offset = append(tx, number, 0.001)
        if number % 7 == 3:
            raise KeyError(number)
        return offset

    answered: list[int] = []

    async def one(number: int) -> None:
        with suppress(KeyError):
            answered.append(await store.commit(step, number))

    async with pauses() as found:
        await asyncio.gather(*(one(number) for number in range(400)))
    assert answered == list(range(sum(number % 7 != 3 for number in range(400))))
    assert max(found) < 0.3


async def test_closing_runs_what_is_left_of_a_group(opener: Opener) -> None:
    store = await opener(function_short_ms=1000, group_short_ms=5)
    jobs = [asyncio.create_task(store.commit(append, number)) for number in range(50)]
    await asyncio.sleep(0)
    await store.close()
    assert await asyncio.gather(*jobs) == list(range(50))


async def test_what_is_left_of_a_group_is_refused_when_the_disk_fails(opener: Opener, disk: Disk) -> None:
    store = await opener(function_short_ms=1000, group_short_ms=5)
    disk.on_sync = lambda name: apsw.IOError("sync")
    began = time.monotonic()
    answers = await asyncio.gather(*(store.commit(append, n) for n in range(500)), return_exceptions=True)
    assert {type(answer) for answer in answers} == {Unavailable}
    assert time.monotonic() - began < 0.5, "they ran all the same"
    disk.heal()
    await until(lambda: store.problem() is None)
    assert await store.commit(append, 1) == 0


async def test_another_process_that_writes_holds_up_the_commits_only(opener: Opener, tmp_path: Path) -> None:
    store = await opener()
    await store.commit(append, 0)
    other = apsw.Connection(str(tmp_path / "store.db"))
    other.execute("BEGIN IMMEDIATE")
    async with pauses() as found:
        jobs = [asyncio.create_task(store.commit(append, number)) for number in range(1, 4)]
        ends = time.monotonic() + 1
        while time.monotonic() < ends:
            assert await store.view(lambda view: view.get("t", (0,))) == 0
            await asyncio.sleep(0.01)
        assert not any(job.done() for job in jobs)
        other.execute("COMMIT")
        assert await asyncio.wait_for(asyncio.gather(*jobs), 5) == [1, 2, 3]
    other.close()
    assert max(found) < 0.5
    assert store.problem() is None
    assert await store.commit(where), "it is on the event loop again"


# -- functions that do not come to their end


async def test_one_that_does_not_end_goes_on_beside_the_event_loop(opener: Opener) -> None:
    store = await opener(function_limit_ms=2000, function_short_ms=1000)  # the others stay on the event loop
    runs: list[bool] = []

    def endless(tx: Tx, writes: bool) -> None:
        runs.append(threading.current_thread() is threading.main_thread())
        if writes:
            tx.put("t", (666,), 1)
        while True:
            list(tx.scan("t"))

    await store.commit(append, 0)
    for writes in (False, True):
        async with pauses() as found:
            answers = await asyncio.gather(
                store.commit(append, 1), store.commit(endless, writes), store.commit(append, 2), return_exceptions=True
            )
        assert isinstance(answers[1], Unavailable)
        assert max(found) < 1.5
    assert runs == [True, False, False], "once on the event loop, and whoever was interrupted does not run again"
    assert await store.view(lambda view: view.get("t", (666,))) is None
    assert await store.view(lambda view: view.bounds("log/a").next) == 5


@pytest.mark.parametrize("short_ms", [0.0, 1000.0])
@pytest.mark.parametrize("raises", [False, True])
async def test_one_that_hides_why_sqlite_dropped_its_transaction_does_not_run_for_ever(
    opener: Opener, disk: Disk, short_ms: float, raises: bool
) -> None:
    """With a transaction go all functions of the group: they run again, and the one to blame does not, whatever it says."""
    store = await opener(function_short_ms=short_ms, cache_bytes=64 * 1024)
    runs = 0

    def deaf(tx: Tx) -> str:
        nonlocal runs
        runs += 1
        disk.on_write = lambda name: apsw.FullError("full")
        try:
            for number in range(100):
                tx.put("t", (number,), "x" * 10_000)
        except apsw.FullError:
            if raises:
                raise KeyError from None
        finally:
            disk.heal()
        return "done"

    answers = await asyncio.wait_for(
        asyncio.gather(*(store.commit(fn) for fn in (where, deaf, where)), return_exceptions=True), 20
    )
    assert [type(answer) for answer in answers] == [bool, Unavailable, bool]
    assert runs <= 2
    assert store.problem() is None
    assert await asyncio.wait_for(store.commit(append, 0), 5) == 0


async def test_one_that_was_interrupted_counts_as_long(opener: Opener) -> None:
    store = await opener(function_limit_ms=100)

    def long(tx: Tx, ends: bool) -> bool:
        here = where(tx)
        while not ends:
            for number in range(100):
                tx.put("t", (number,), "x" * 10_000)
        return here

    with pytest.raises(Unavailable):
        await store.commit(long, False)
    assert not await store.commit(long, True)
    assert await store.commit(where)


# -- trouble


async def test_damage_is_not_forgotten_over_another_failure(opener: Opener, disk: Disk, tmp_path: Path) -> None:
    """A reader meets it while a commit is under way, which then fails in a way that would pass."""
    store = await opener()
    await store.commit(append, 7)
    spoiler = apsw.Connection(str(tmp_path / "store.db"))
    spoiler.execute("UPDATE t SET value='{'")
    spoiler.close()
    syncing, found = threading.Event(), threading.Event()

    def sync(name: str) -> Exception:
        syncing.set()
        found.wait(5)
        return apsw.IOError("sync")

    disk.on_sync = sync
    job = asyncio.create_task(store.commit(append, 8))
    await asyncio.to_thread(syncing.wait, 5)
    with pytest.raises(Unavailable, match="damaged"):
        await store.view(lambda view: view.get("t", (7,)))
    found.set()
    with pytest.raises(Unavailable):
        await job
    disk.heal()
    assert "damaged" in (store.problem() or "")
    await asyncio.sleep(1.5)
    assert "damaged" in (store.problem() or "")


async def test_closing_in_trouble_does_not_wait_for_the_disk(opener: Opener, disk: Disk) -> None:
    store = await opener()
    await store.commit(append, 1)

    def sync(
        name: str,
    ) -> Exception | None:  # not where the last connection is closed: SQLite would not mind, apsw does
        return None if threading.current_thread() is threading.main_thread() else apsw.IOError("sync")

    disk.on_sync = sync
    with pytest.raises(Unavailable):
        await store.commit(append, 2)
    await asyncio.sleep(0.1)  # it waits to try again
    await asyncio.wait_for(asyncio.gather(store.close(), store.close()), 5)
    with pytest.raises(Unavailable):
        await store.commit(append, 3)


async def test_an_interruption_that_comes_late_does_not_end_the_writer(opener: Opener, disk: Disk) -> None:
    """It may hit what the thread does after a commit: catching up with its log."""
    store = await opener(checkpoint_pages=1)
    disk.on_write = lambda name: apsw.InterruptError("late") if name == "store.db" else None
    for number in range(20):
        assert await asyncio.wait_for(store.commit(append, number), 5) == number
    assert store.problem() is None
