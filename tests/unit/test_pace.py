"""Which transaction functions run on the event loop, and which beside it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from sluiceway.config import StoreSettings
from sluiceway.core.clock import SystemClock
from sluiceway.core.store import Tx
from sluiceway.core.wakeups import Wakeups
from sluiceway.engines.sqlite import SqliteStore, open_store


def work(seconds: float) -> None:
    ends = time.thread_time() + seconds
    while time.thread_time() < ends:
        pass


def where(tx: Tx, work_s: float = 0.0) -> bool:
    """Whether it runs on the event loop's thread, which is the tests'."""
    work(work_s)
    return threading.current_thread() is threading.main_thread()


def elsewhere(tx: Tx) -> bool:
    """Another function."""
    return where(tx)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    opened = await open_store(tmp_path / "store.db", StoreSettings(), SystemClock(), Wakeups())
    yield opened
    await opened.close()


async def test_a_short_function_runs_on_the_event_loop(store: SqliteStore) -> None:
    assert [await store.commit(where) for _ in range(10)] == [True] * 10


async def test_a_function_that_was_long_runs_beside_it_until_it_was_quick_for_long(store: SqliteStore) -> None:
    assert await store.commit(where, 0.02)  # found out
    assert not await store.commit(where)
    assert await store.commit(elsewhere), "others are not to suffer"
    assert not await store.commit(where, 0.02)  # and it begins anew to show that it is quick
    answers = [await store.commit(where) for _ in range(1002)]
    assert answers == [False] * 1000 + [True] * 2


async def test_a_long_one_takes_its_group_along(store: SqliteStore) -> None:
    await store.commit(where, 0.02)
    assert await asyncio.gather(store.commit(elsewhere), store.commit(where), store.commit(elsewhere)) == [False] * 3
    assert await store.commit(elsewhere)


async def test_a_busy_event_loop_does_not_keep_it_away(store: SqliteStore) -> None:
    """Beside the event loop every statement waits for the interpreter's lock: that says nothing of the function."""

    def look(tx: Tx) -> bool:
        for number in range(5):
            tx.get("t", (number,))
        return where(tx)

    async def others() -> None:
        while True:
            work(0.008)
            await asyncio.sleep(0)

    def ran_long(tx: Tx) -> bool:
        return where(tx, 0.02)

    busy = asyncio.create_task(others())
    await store.commit(ran_long)
    for _ in range(5):  # one that is short, in the company of a long one
        assert await asyncio.gather(store.commit(ran_long), store.commit(look)) == [False, False]
    assert await store.commit(look)
    busy.cancel()


async def test_one_without_a_name_is_not_trusted(store: SqliteStore) -> None:
    assert not await store.commit(partial(where))


async def test_none_is_where_the_setting_says_so(tmp_path: Path) -> None:
    limits = StoreSettings(function_short_ms=0)
    store = await open_store(tmp_path / "store.db", limits, SystemClock(), Wakeups())
    assert not await store.commit(where)
    await store.close()
