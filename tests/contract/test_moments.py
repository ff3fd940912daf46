"""A view sees one moment, wherever an engine finds its rows: in memory, or in a snapshot that begins later."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from functools import partial
from typing import Any

import pytest

from sluiceway.core.store import Key, Store, Tx, View

ROWS = 6
SECONDS = 1.5


def count_all(tx: Tx) -> None:
    """Every row changes in the same transaction, and some go and come."""
    number = (tx.get("t", (0,)) or 0) + 1
    for at in range(ROWS):
        tx.delete("t", (at,))
        tx.put("t", (at,), number)


def count_one(tx: Tx) -> None:
    """What else is going on."""
    tx.put("t", ("else",), (tx.get("t", ("else",)) or 0) + 1)


def look(view: View) -> list[int]:
    """The rows in any order, slowly, so that commits are made in between; some by a scan."""
    found = []
    for at in random.sample(range(ROWS), ROWS):
        found.append(view.get("t", (at,)))
        time.sleep(random.choice((0, 0, 0.0005)))
    if random.random() < 0.3:
        found.extend(value for key, value in view.scan("t") if key != ("else",))
    return found


@pytest.mark.parametrize("other", [count_all, count_one])
async def test_rows_that_change_together_are_seen_together(store: Store, other: object) -> None:
    await store.commit(count_all)
    ends = time.monotonic() + SECONDS
    seen: set[int] = set()

    def going() -> bool:  # on a busy machine for longer
        return time.monotonic() < ends or len(seen) < 20

    async def write() -> None:
        while going():
            await store.commit(count_all if other is count_all or random.random() < 0.5 else count_one)
            await asyncio.sleep(random.choice((0, 0, 0.001)))

    async def read() -> None:
        while going():
            found = await store.view(look)
            assert len(set(found)) == 1, found
            seen.add(found[0])
            await asyncio.sleep(0)

    await asyncio.gather(write(), read(), read())


async def test_a_view_never_goes_back_in_time(store: Store) -> None:
    """What was answered stays, and what a view saw before the answer came does, too."""
    await store.commit(count_all)
    latest = 0

    async def write() -> None:
        for _ in range(300):
            await store.commit(count_all)

    writing = asyncio.create_task(write())
    while not writing.done():
        number = await store.view(lambda view: view.get("t", (random.randrange(ROWS),)))
        assert number >= latest
        latest = number
        await asyncio.sleep(0)
    assert await store.view(lambda view: view.get("t", (0,))) == 301


def named(key: Key, value: Any) -> tuple[Key, Any]:
    return key, value


def doubled(_key: Key, value: int) -> int:
    return 2 * value


async def test_what_is_made_of_a_row_is_made_of_the_row_that_is_there(store: Store) -> None:
    await store.commit(count_all)
    for number in (1, 2):
        for _ in range(2):
            assert await store.view(lambda view: view.get_as("t", (0,), named)) == ((0,), number)
            assert await store.view(lambda view: view.get_as("t", (0,), doubled)) == 2 * number
            assert await store.view(lambda view: view.get("t", (0,))) == number
            assert await store.commit(lambda tx: tx.get_as("t", (0,), doubled)) == 2 * number
        await store.commit(count_all)
    await store.commit(lambda tx: tx.delete("t", (0,)))
    assert await store.view(lambda view: view.get_as("t", (0,), doubled)) is None
    assert await store.commit(lambda tx: tx.get_as("t", (0,), doubled)) is None


async def test_what_was_never_committed_is_never_seen(store: Store) -> None:
    """A function that reads what it wrote, and fails: neither the next function nor a view may find that."""

    def fail(tx: Tx) -> None:
        count_all(tx)
        assert tx.get_as("t", (0,), doubled) == 4
        raise RuntimeError

    await store.commit(count_all)
    for _ in range(3):
        tasks = [store.commit(fail), store.commit(lambda tx: (tx.get("t", (0,)), tx.get_as("t", (0,), doubled)))]
        failed, found = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(failed, RuntimeError)
        assert found == (1, 2)
        assert await store.view(lambda view: view.get_as("t", (0,), doubled)) == 2


@pytest.mark.parametrize("first", ["t", "never"])
async def test_a_table_that_was_never_written_begins_the_moment_too(store: Store, first: str) -> None:
    """Whatever is committed after a view has looked for something, even in vain, it does not see."""
    await store.commit(count_all)
    await store.view(look)  # an engine may know the rows now
    seen = threading.Event()

    def count_and_make(tx: Tx) -> None:
        count_all(tx)
        tx.put("made", (0,), 1)

    def see(view: View) -> list[Any]:
        found = [view.get(first, (0,)), view.get("never", (0,)), view.get("t", (1,))]
        seen.set()
        time.sleep(0.1)  # the commit that was begun before is made meanwhile
        return [*found[2:], view.get("t", (2,)), view.get("made", (0,)), *(value for _, value in view.scan("t"))]

    def wait_and_count(tx: Tx) -> None:
        seen.wait(5)
        count_and_make(tx)

    committing = asyncio.create_task(store.commit(partial(wait_and_count)))  # on the event loop it could not wait
    await asyncio.sleep(0)  # it waits in the writer until the view has looked
    found = await store.view(see)
    await committing
    assert found in ([1, 1, None, *[1] * ROWS], [2, 2, 1, *[2] * ROWS])
