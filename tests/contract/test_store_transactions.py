"""The contract of a store, for every engine: transactions, logs, wake-ups, opening and closing."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from functools import partial
from typing import Any

import pytest
from helpers.store import ODD_KEYS, get, keys, put, put_all

from sluiceway.core.keys import pack
from sluiceway.core.store import Bounds, Key, Store, Tx, View
from sluiceway.errors import DomainError, Unavailable


class Refused(Exception):
    """What a function under test raises."""


def rows(view: View, table: str, **options: Any) -> list[tuple[Key, Any]]:
    return list(view.scan(table, **options))


# -- transactions


async def test_a_failed_function_leaves_nothing_and_harms_no_other(store: Store) -> None:
    """Functions of one group: every third fails after it has written everything that it can."""

    def step(tx: Tx, number: int) -> int:
        tx.put("steps", (number,), number)
        tx.put(f"own_{number}", ("x",), 1)
        offset = tx.append("steps/all", number)
        tx.append(f"steps/{number}", number)
        tx.on_commit(f"step/{number}")
        if number % 3 == 0:
            raise Refused(number)
        return offset

    answers = await asyncio.gather(*(store.commit(step, number) for number in range(60)), return_exceptions=True)
    good = [number for number in range(60) if number % 3]
    assert [type(answer) for answer in answers[::3]] == [Refused] * 20
    assert [answers[number] for number in good] == list(range(40))
    assert await store.view(keys, "steps") == [(number,) for number in good]
    assert [entry.value for entry in await store.view(lambda v: v.read("steps/all", 0, 100))] == good
    for number in (0, 3):
        assert await store.view(lambda v, n=number: v.bounds(f"steps/{n}")) == Bounds(0, 0)
        assert await store.view(keys, f"own_{number}") == []


@pytest.mark.parametrize(
    "error", [StopIteration("empty"), RuntimeError("plain"), KeyError("k"), asyncio.CancelledError(), SystemExit(3)]
)
async def test_whatever_a_function_raises_the_others_are_answered(store: Store, error: BaseException) -> None:
    def fail(tx: Tx) -> None:
        tx.put("t", ("bad",), 1)
        raise error

    async def meet() -> str:
        try:
            await store.commit(fail)
        except BaseException as met:
            return type(met).__name__
        return "success"

    jobs = [meet(), put(store, "t", ("good",), 1), put(store, "t", ("also",), 1)]
    answers = await asyncio.wait_for(asyncio.gather(*jobs), 20)
    assert answers[0] != "success"
    assert await store.view(keys, "t") == [("also",), ("good",)]
    await put(store, "t", ("later",), 1)


async def test_an_abandoned_caller_does_not_stop_the_store(store: Store) -> None:
    tasks = [asyncio.create_task(put(store, "t", (number,), number)) for number in range(50)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await put(store, "t", ("after",), 1)
    found = await store.view(keys, "t")
    assert {(number,) for number in range(1, 50, 2)} < set(found)


async def test_a_transaction_reads_what_it_wrote(store: Store) -> None:
    def work(tx: Tx) -> tuple[Any, ...]:
        tx.put("t", ("k",), 1)
        first = tx.append("log/a", "x")
        tx.append("log/a", "y")
        tx.trim("log/a", 1)
        read = [(entry.offset, entry.value) for entry in tx.read("log/a", 0, 10)]
        return tx.get("t", ("k",)), first, read, tx.bounds("log/a"), tx.now_ms

    value, first, read, bounds, now_ms = await store.commit(work)
    assert (value, first, read, bounds, now_ms) == (1, 0, [(1, "y")], Bounds(1, 2), 1_700_000_000_000)


async def test_transactions_are_one_after_the_other(store: Store) -> None:
    def add(tx: Tx) -> int:
        value = int(tx.get("counter", ("n",)) or 0) + 1
        tx.put("counter", ("n",), value)
        return value

    answers = await asyncio.gather(*(store.commit(add) for _ in range(500)))
    assert answers == list(range(1, 501))


async def test_a_view_is_a_snapshot_while_commits_go_on(store: Store) -> None:
    """A long reader: the commits queued before it become durable meanwhile, and it sees none of them."""
    await store.commit(put_all, "t", [(number,) for number in range(200)])
    await store.commit(lambda tx: tx.append("log/a", 0))
    looked = threading.Event()

    def change(tx: Tx, number: int) -> None:
        looked.wait(4)  # the view has begun
        tx.put("t", (number,), "changed")
        tx.delete("t", (number + 1,))
        tx.append("log/a", number)

    def look(view: View) -> tuple[Any, Any]:
        before = rows(view, "t"), view.bounds("log/a")
        looked.set()
        time.sleep(0.2)
        return before, (rows(view, "t"), view.bounds("log/a"))

    # without a name it is unknown to an engine that runs short functions on the event loop, where none may wait
    tasks = [asyncio.create_task(store.commit(partial(change, number=number))) for number in range(0, 100, 2)]
    await asyncio.sleep(0)
    before, after = await store.view(look)
    assert before == after == ([((n,), [repr(n)]) for n in range(200)], Bounds(0, 1))
    await asyncio.gather(*tasks)
    assert await get(store, "t", (0,)) == "changed"
    assert await store.view(lambda view: view.bounds("log/a")) == Bounds(0, 51)


async def test_a_view_holds_every_commit_answered_so_far(store: Store) -> None:
    async def write_and_look(number: int) -> None:
        await put(store, "t", (number,), number)
        assert await get(store, "t", (number,)) == number

    await asyncio.gather(*(write_and_look(number) for number in range(300)))


async def test_reading_goes_on_during_a_long_write(store: Store) -> None:
    await put(store, "t", ("k",), "old")
    running, go_on, in_time = threading.Event(), threading.Event(), list[bool]()

    def slow(tx: Tx, value: str, wait_s: float) -> None:
        tx.put("t", ("k",), value)
        if wait_s > 1:
            running.set()
        in_time.append(go_on.wait(wait_s))

    await store.commit(slow, "old", 0.05)  # an engine may learn that it is long
    in_time.clear()
    task = asyncio.create_task(store.commit(slow, "new", 4))
    await asyncio.to_thread(running.wait, 4)
    for _ in range(20):
        assert await get(store, "t", ("k",)) == "old"
    assert not task.done()
    go_on.set()
    await task
    assert in_time == [True], "the readers waited for the writer"
    assert await get(store, "t", ("k",)) == "new"


async def test_a_view_that_fails_does_not_stop_the_next(store: Store) -> None:
    def fail(view: View) -> None:
        view.get("t", ("k",))
        raise Refused

    with pytest.raises(Refused):
        await store.view(fail)
    await put(store, "t", ("k",), 1)
    assert await get(store, "t", ("k",)) == 1


# -- logs


async def test_offsets_are_gap_free_and_in_the_order_of_the_answers(bench: Any) -> None:
    store = await bench.open()
    answered: list[int] = []
    dice = random.Random(3)

    def append(tx: Tx, who: int, fails: bool) -> int:
        offset = tx.append("log/all", who)
        if fails:
            raise Refused
        return offset

    async def writer(who: int) -> None:
        for _ in range(20):
            fails = dice.random() < 0.2
            try:
                answered.append(await store.commit(append, who, fails))
            except Refused:
                assert fails
            if dice.random() < 0.3:
                await asyncio.sleep(dice.random() / 500)

    await asyncio.gather(*(writer(who) for who in range(100)))
    assert answered == list(range(len(answered)))
    assert 1400 < len(answered) < 1800
    store = await bench.reopen()
    entries = await store.view(lambda view: view.read("log/all", 0, 3000))
    assert [entry.offset for entry in entries] == answered
    assert await store.view(lambda view: view.bounds("log/all")) == Bounds(0, len(answered))


async def test_logs_of_a_kind_are_apart(store: Store) -> None:
    def append(tx: Tx) -> list[int]:
        return [tx.append(name, name) for name in ("log/a", "log/b", "log/a", "log/a/b", "log/", "other/a")]

    assert await store.commit(append) == [0, 0, 1, 0, 0, 0]
    assert await store.view(lambda view: view.bounds("log/a")) == Bounds(0, 2)
    assert [entry.value for entry in await store.view(lambda view: view.read("log/a", 0, 9))] == ["log/a"] * 2


async def test_reading_a_log_from_an_offset(store: Store) -> None:
    await store.commit(lambda tx: [tx.append("log/a", number) for number in range(20)])
    await store.commit(lambda tx: tx.trim("log/a", 5))

    async def read(offset: int, limit: int) -> list[int]:
        return [entry.offset for entry in await store.view(lambda view: view.read("log/a", offset, limit))]

    assert await read(0, 3) == [5, 6, 7]
    assert await read(7, 2) == [7, 8]
    assert await read(18, 10) == [18, 19]
    assert await read(20, 10) == []
    assert await read(5, 0) == []


async def test_offsets_are_never_used_again(bench: Any) -> None:
    store = await bench.open()
    await store.commit(lambda tx: [tx.append("log/a", number) for number in range(10)])
    await store.commit(lambda tx: tx.trim("log/a", 4))
    await store.commit(lambda tx: tx.trim("log/a", 2))  # backwards: nothing happens
    assert await store.view(lambda view: view.bounds("log/a")) == Bounds(4, 10)
    await store.commit(lambda tx: tx.trim("log/a", 10**9))  # past the end: everything
    assert await store.view(lambda view: view.bounds("log/a")) == Bounds(10, 10)
    store = await bench.reopen()
    assert await store.view(lambda view: view.bounds("log/a")) == Bounds(10, 10)
    assert await store.view(lambda view: view.read("log/a", 0, 10)) == []
    assert await store.commit(lambda tx: tx.append("log/a", "next")) == 10
    assert [entry.offset for entry in await store.view(lambda view: view.read("log/a", 0, 10))] == [10]


async def test_a_failed_trim_keeps_the_entries(store: Store) -> None:
    await store.commit(lambda tx: [tx.append("log/a", number) for number in range(10)])

    def fail(tx: Tx) -> None:
        tx.trim("log/a", 10)
        tx.append("log/a", "lost")
        raise Refused

    results = await asyncio.gather(
        store.commit(fail), store.commit(lambda tx: tx.append("log/a", "kept")), return_exceptions=True
    )
    assert isinstance(results[0], Refused)
    assert results[1] == 10
    assert await store.view(lambda view: view.bounds("log/a")) == Bounds(0, 11)


async def test_time_never_decreases_along_a_log(bench: Any) -> None:
    store = await bench.open()
    for step in (0, 5, -10_000, 3, -1, 20_000):
        bench.clock.now += step
        await store.commit(lambda tx: [tx.append("log/a", 1), tx.append("log/a", 2)])
    latest = bench.clock.now
    await store.commit(lambda tx: tx.trim("log/a", 12))
    bench.clock.now -= 1_000_000
    store = await bench.reopen()
    await store.commit(lambda tx: tx.append("log/a", 3))
    last = (await store.view(lambda view: view.read("log/a", 12, 1)))[0]
    assert last.time_ms == latest  # also of a log that is empty, after a restart, with the clock set back
    await store.commit(lambda tx: [tx.append("log/a", n) for n in range(5)])
    times = [entry.time_ms for entry in await store.view(lambda view: view.read("log/a", 0, 50))]
    assert times == sorted(times)


# -- wake-ups


async def test_a_wake_up_comes_after_the_commit_and_never_for_a_failed_function(bench: Any) -> None:
    store = await bench.open()
    seen: list[tuple[frozenset[str], Any]] = []

    async def look(names: frozenset[str]) -> None:
        seen.append((names, await get(store, "t", ("k",))))

    tasks: list[asyncio.Task[None]] = []
    bench.wakeups.listen(lambda names: tasks.append(asyncio.create_task(look(names))))

    def good(tx: Tx) -> None:
        tx.put("t", ("k",), "there")
        tx.on_commit("queue/good")
        tx.append("log/good", 1)

    def bad(tx: Tx) -> None:
        tx.on_commit("queue/bad")
        tx.append("log/bad", 1)
        raise Refused

    waiting = bench.wakeups.expect("queue/good")
    await asyncio.gather(store.commit(good), store.commit(bad), return_exceptions=True)
    await asyncio.wait_for(waiting, 20)
    await asyncio.gather(*tasks)
    assert set().union(*bench.notified) == {"queue/good", "log/good"}
    assert all(value == "there" for _, value in seen)


async def test_what_is_only_read_wakes_nobody(bench: Any) -> None:
    store = await bench.open()
    await store.commit(lambda tx: tx.get("t", ("k",)))
    await put(store, "t", ("k",), 1)
    assert bench.notified == []


# -- opening and closing


async def test_everything_is_there_after_reopening(bench: Any) -> None:
    store = await bench.open()
    for turn in range(5):
        await store.commit(put_all, "odd", ODD_KEYS)
        assert await store.commit(lambda tx, t=turn: tx.append("log/a", t)) == turn
        store = await bench.reopen()
        assert await store.view(keys, "odd") == sorted(ODD_KEYS, key=lambda key: pack(key))
        assert [entry.value for entry in await store.view(lambda v: v.read("log/a", 0, 9))] == list(range(turn + 1))


async def test_closing_finishes_what_was_accepted_and_refuses_the_rest(bench: Any) -> None:
    store = await bench.open()
    jobs = [asyncio.create_task(put(store, "t", (number,), number)) for number in range(200)]
    await asyncio.sleep(0)
    await store.close()
    await asyncio.gather(*jobs)
    for call in (put(store, "t", ("late",), 1), get(store, "t", (0,))):
        with pytest.raises(Unavailable):
            await call
    await store.close()
    store = await bench.open()
    assert await store.view(keys, "t") == [(number,) for number in range(200)]


async def test_a_domain_error_reaches_the_caller_as_it_is(store: Store) -> None:
    error = DomainError("thing", "no")

    def fail(tx: Tx) -> None:
        raise error

    with pytest.raises(DomainError) as met:
        await store.commit(fail)
    assert met.value is error
