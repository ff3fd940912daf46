"""Reactions on the embedded store: what is delivered, what waits, what is given up, and for whom."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from helpers.reactions import START_MS, STEADY, Bench, Counting, Sink, open_bench, until

from sluiceway.core.reaction import Reaction, RetryPolicy, Target
from sluiceway.core.store import Entry, Tx
from sluiceway.errors import Conflict, Invalid, NotFound
from sluiceway.reactions.target import Attempt, Delivered, DeliveryFailed
from sluiceway.services.reactions import Reactions


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with open_bench(tmp_path) as made:
        yield made


async def test_events_are_delivered_once_and_the_cursor_follows(bench: Bench) -> None:
    sink = bench.targets["sink"] = Sink()
    await bench.start()
    await bench.react("r")
    await bench.emit(*range(50))
    await until(lambda: len(sink.got) == 50)
    await until(lambda: not bench.dispatcher.active())
    status = await bench.status("r")
    assert sorted(sink.got) == list(range(50))
    assert (status.lag, status.position.next, status.position.delivered) == (0, 50, 50)


async def test_a_reaction_begins_at_the_end_of_its_log(bench: Bench) -> None:
    sink = bench.targets["sink"] = Sink()
    await bench.emit("before")
    await bench.start()
    await bench.react("r")
    await bench.emit("after")
    await until(lambda: sink.got)
    assert sink.got == ["after"]


async def test_a_hanging_target_delays_nobody(bench: Bench) -> None:
    never = asyncio.Event()
    bench.targets["hangs"] = Sink(lambda *_: never.wait())
    sink = bench.targets["sink"] = Sink()
    bench.targets["store"] = Counting()
    await bench.start()
    for at in range(5):
        await bench.react(f"hangs{at}", "hangs", concurrency=2)
    await bench.react("quick")
    await bench.react("inside", "store")
    await bench.emit(*range(30))
    await until(lambda: len(sink.got) == 30, 2.0)

    async def all_inside() -> bool:
        return await bench.out("inside") == list(range(30))

    await until(all_inside, 2.0)
    assert (await bench.status("hangs0")).lag == 30


async def test_one_hanging_event_does_not_block_its_reaction(bench: Bench) -> None:
    release = asyncio.Event()

    async def behave(_: Reaction, entries: Sequence[Entry], __: Attempt) -> None:
        if entries[0].value == 0:
            await release.wait()

    bench.reactions = Reactions(bench.limits)
    bench.limits.window_max, bench.limits.read_max = 20, 10
    sink = bench.targets["sink"] = Sink(behave)
    await bench.start()
    await bench.react("r", concurrency=3)
    await bench.emit(*range(100))
    await until(lambda: len(sink.got) >= 20)
    assert 0 not in sink.got
    assert (await bench.status("r")).position.next == 0  # the cursor waits for the oldest
    release.set()
    await until(lambda: len(sink.got) == 100)  # and past the window it goes on by itself
    await until(lambda: not bench.dispatcher.active())
    assert (await bench.status("r")).lag == 0
    assert max(Counter(sink.got).values()) == 1


async def test_a_restart_repeats_only_what_was_under_way(bench: Bench) -> None:
    never = asyncio.Event()

    async def behave(_: Reaction, entries: Sequence[Entry], __: Attempt) -> None:
        if entries[0].value == 0 and not never.is_set():
            await never.wait()

    sink = bench.targets["sink"] = Sink(behave)
    await bench.start()
    await bench.react("r", concurrency=3)
    await bench.emit(*range(40))
    await until(lambda: len(sink.got) == 39)

    async def recorded() -> bool:
        return len((await bench.status("r")).position.done) == 39

    await until(recorded)
    await bench.stop()
    never.set()
    await bench.start()
    await until(lambda: len(sink.got) == 40)
    await until(lambda: not bench.dispatcher.active())
    assert max(Counter(sink.got).values()) == 1
    assert (await bench.status("r")).position.done == ()


async def test_a_failure_is_parked_with_its_reason_and_the_rest_goes_on(bench: Bench) -> None:
    def behave(_: Reaction, entries: Sequence[Entry], __: Attempt) -> None:
        if entries[0].value == "bad":
            raise DeliveryFailed("no thanks")

    sink = bench.targets["sink"] = Sink(behave)
    await bench.start()
    await bench.react("r", retry=STEADY)
    await bench.emit("a", "bad", "b")
    await until(lambda: len(sink.got) == 2)

    async def parked(count: int, tries: int) -> bool:
        status = await bench.status("r")
        return status.position.parked == count and len(sink.tries) == tries and status.lag == 0

    await until(lambda: parked(1, 3))
    status = await bench.status("r")
    assert (status.lag, status.parked, status.position.last_error) == (0, 1, "no thanks")
    assert status.next_try_ms == START_MS + 1000
    await bench.move(1000)

    async def waits_until(time_ms: int) -> bool:
        return (await bench.status("r")).next_try_ms == time_ms

    await until(lambda: waits_until(START_MS + 3000))
    assert await parked(1, 4)
    await bench.move(2000)
    await until(lambda: parked(0, 5))
    dead = await bench.store.view(bench.reactions.dead_letters, "r")
    assert [(one.value, one.tries, one.reason) for one in dead] == [("bad", 3, "no thanks")]
    assert sink.tries == [0, 0, 0, 1, 2]


async def test_a_dead_letter_can_be_redriven(bench: Bench) -> None:
    broken = True

    def behave(*_: Any) -> None:
        if broken:
            raise DeliveryFailed("gone", permanent=True)

    sink = bench.targets["sink"] = Sink(behave)
    await bench.start()
    await bench.react("r")
    await bench.emit("x")

    async def dead() -> int:
        return (await bench.status("r")).dead_kept

    await until(dead)
    broken = False
    assert await bench.store.commit(bench.reactions.redrive, "r") == 1
    await until(lambda: sink.got == ["x"])
    assert await dead() == 0


async def test_a_failure_that_does_not_count_keeps_its_tries(bench: Bench) -> None:
    failures = [DeliveryFailed("busy", retry_after_ms=500, counted=False)] * 4

    def behave(*_: Any) -> None:
        if failures:
            raise failures.pop()

    sink = bench.targets["sink"] = Sink(behave)
    await bench.start()
    await bench.react("r", retry=STEADY)
    await bench.emit("x")
    for step in range(1, 5):
        await until(lambda step=step: len(sink.tries) == step)

        async def parked() -> bool:
            return (await bench.status("r")).position.parked == 1

        await until(parked)
        await bench.move(500)
    await until(lambda: sink.got == ["x"])
    assert sink.tries == [0, 0, 0, 0, 0]


async def test_an_ordered_reaction_waits_at_its_failure(bench: Bench) -> None:
    broken = True

    def behave(_: Reaction, entries: Sequence[Entry], __: Attempt) -> None:
        if broken and entries[0].value == 2:
            raise DeliveryFailed("not yet")

    sink = bench.targets["sink"] = Sink(behave)
    await bench.start()
    await bench.react("r", ordered=True, retry=RetryPolicy(tries_max=10, delays_ms=(1000,), jitter=0.0))
    await bench.emit(*range(6))
    await until(lambda: sink.tries == [0, 0, 0])

    async def waits(tries: int) -> bool:
        return bool((await bench.status("r")).position.tries == tries)

    await until(lambda: waits(1))
    await asyncio.sleep(0.05)
    assert sink.got == [0, 1] and len(sink.tries) == 3
    await bench.move(1000)
    await until(lambda: waits(2))
    broken = False
    await bench.move(1000)
    await until(lambda: sink.got == list(range(6)))
    assert sink.tries == [0, 0, 0, 1, 2, 0, 0, 0]


@pytest.mark.parametrize("ordered", [True, False])
async def test_events_that_come_during_a_delivery_follow_it_at_once(bench: Bench, ordered: bool) -> None:
    open_ = asyncio.Event()

    async def behave(*_: Any) -> None:
        await open_.wait()

    sink = bench.targets["sink"] = Sink(behave)
    await bench.start()
    await bench.react("r", ordered=ordered, concurrency=1)
    await bench.emit("first")
    await until(lambda: len(sink.tries) == 1)
    await bench.emit("second")
    await bench.emit("third")
    await asyncio.sleep(0.05)  # the runner has been woken, and could begin nothing
    open_.set()
    await until(lambda: sink.got == ["first", "second", "third"])


async def test_filtered_events_don_t_shorten_an_ordered_wait(bench: Bench) -> None:
    def behave(*_: Any) -> None:
        raise DeliveryFailed("never")

    sink = bench.targets["sink"] = Sink(behave)
    await bench.start()
    await bench.react("r", ordered=True, retry=STEADY, filter={"patterns": [{"kind": ["yes"]}]})
    await bench.emit({"kind": "no"}, {"kind": "yes"}, {"kind": "no"})
    await until(lambda: len(sink.tries) == 1)
    await bench.emit({"kind": "no"})
    await asyncio.sleep(0.1)
    assert sink.tries == [0]
    await bench.move(1000)
    await until(lambda: sink.tries == [0, 1])
    await asyncio.sleep(0.05)
    await bench.move(2000)

    async def done() -> bool:
        status = await bench.status("r")
        return status.lag == 0 and status.dead_kept == 1

    await until(done)
    assert sink.tries == [0, 1, 2]


async def test_a_failed_ordered_batch_is_halved(bench: Bench) -> None:
    def behave(_: Reaction, entries: Sequence[Entry], __: Attempt) -> None:
        if any(entry.value == 5 for entry in entries):
            raise DeliveryFailed("poison")

    sink = bench.targets["sink"] = Sink(behave)
    retry = RetryPolicy(tries_max=1, jitter=0.0)
    await bench.emit(*range(8))
    await bench.store.commit(
        bench.reactions.create,
        Reaction("r", "events", Target("sink", "x"), ordered=True, batch_max=8, bisect=True, retry=retry),
        0,
    )
    await bench.start()

    async def done() -> bool:
        return bool((await bench.status("r")).position.next == 8)

    await until(done)
    dead = await bench.store.view(bench.reactions.dead_letters, "r")
    assert [one.value for one in dead] == [5]
    assert sink.got == [0, 1, 2, 3, 4, 6, 7]


async def test_a_partly_failed_batch_parks_only_the_failed(bench: Bench) -> None:
    def behave(_: Reaction, entries: Sequence[Entry], __: Attempt) -> Delivered:
        return Delivered({entry.offset: DeliveryFailed("odd") for entry in entries if entry.value % 2})

    bench.targets["sink"] = Sink(behave)
    await bench.emit(*range(10))
    await bench.store.commit(
        bench.reactions.create, Reaction("r", "events", Target("sink", "x"), batch_max=10, retry=STEADY), 0
    )
    await bench.start()

    async def done() -> bool:
        status = await bench.status("r")
        return status.position.parked == 5 and status.position.delivered == 5

    await until(done)


async def test_batches_wait_for_their_window(bench: Bench) -> None:
    sink = bench.targets["sink"] = Sink()
    await bench.start()
    await bench.react("r", batch_max=4, batch_window_ms=10_000)
    await bench.emit(1)
    await bench.emit(2)
    await asyncio.sleep(0.05)
    assert sink.batches == []
    await bench.emit(3, 4, 5)
    await until(lambda: sink.batches == [[1, 2, 3, 4]])
    await bench.move(10_000)
    await until(lambda: sink.batches == [[1, 2, 3, 4], [5]])


async def test_pause_resume_replay_and_delete(bench: Bench) -> None:
    sink = bench.targets["sink"] = Sink()
    await bench.start()
    await bench.react("r")
    await bench.store.commit(bench.reactions.pause, "r")
    await bench.emit(1, 2, 3)
    await asyncio.sleep(0.05)
    assert sink.got == []
    await bench.store.commit(bench.reactions.resume, "r")
    await until(lambda: sorted(sink.got) == [1, 2, 3])
    await until(lambda: not bench.dispatcher.active())
    assert await bench.store.commit(bench.reactions.replay, "r", offset=1) == 1
    await until(lambda: sorted(sink.got) == [1, 2, 2, 3, 3])
    await bench.store.commit(bench.reactions.delete, "r")
    await bench.emit(4)
    await asyncio.sleep(0.05)
    assert 4 not in sink.got and not bench.dispatcher.active()
    with pytest.raises(NotFound):
        await bench.status("r")


async def test_a_reaction_deleted_while_it_delivers_ends(bench: Bench) -> None:
    release = asyncio.Event()
    bench.targets["sink"] = Sink(lambda *_: release.wait())
    await bench.start()
    await bench.react("r")
    await bench.emit(*range(20))
    await until(lambda: bench.dispatcher.active())
    await bench.store.commit(bench.reactions.delete, "r")
    release.set()
    await until(lambda: not bench.dispatcher.active())


async def test_in_store_deliveries_commit_with_the_cursor(bench: Bench) -> None:
    bench.targets["store"] = Counting()
    await bench.start()
    for at in range(20):
        await bench.react(f"r{at:02}", "store")
    for at in range(30):
        await bench.emit(at)
    for at in range(20):

        async def all_there(name: str = f"r{at:02}") -> bool:
            return (await bench.status(name)).lag == 0

        await until(all_there)
        assert await bench.out(f"r{at:02}") == list(range(30))


async def test_an_in_store_target_that_refuses_for_good_is_not_tried_again(bench: Bench) -> None:
    def refuse(value: Any) -> None:
        if value == "bad":
            raise NotFound("queue", "The queue is gone.")

    bench.targets["store"] = Counting(refuse)
    await bench.start()
    await bench.react("r", "store")
    await bench.emit("a", "bad", "b")

    async def done() -> bool:
        return (await bench.status("r")).dead_kept == 1

    await until(done)
    assert await bench.out("r") == ["a", "b"]
    assert (await bench.status("r")).position.last_error == "The queue is gone."


async def test_an_in_store_failure_is_parked_and_tried_again(bench: Bench) -> None:
    broken = True

    def refuse(value: Any) -> None:
        if broken and value == "bad":
            raise Conflict("queue", "later")

    bench.targets["store"] = Counting(refuse)
    await bench.start()
    await bench.react("r", "store", retry=STEADY)
    await bench.emit("a", "bad", "b")

    async def parked() -> bool:
        return (await bench.status("r")).position.parked == 1

    await until(parked)
    broken = False
    await bench.move(1000)

    async def there() -> bool:
        return await bench.out("r") == ["a", "b", "bad"]

    await until(there)


async def test_a_bug_in_a_target_costs_one_event_its_tries_and_nobody_else_anything(bench: Bench) -> None:
    def refuse(value: Any) -> None:
        if value == "bad":
            raise RuntimeError("a bug")

    bench.targets["store"] = Counting(refuse)
    await bench.start()
    await bench.react("r", "store", retry=STEADY)
    await bench.react("s", "store", retry=STEADY)
    await bench.emit("a", "bad", "b")

    async def parked(name: str) -> bool:
        status = await bench.status(name)
        return status.position.parked == 1 and status.lag == 0

    for name in ("r", "s"):
        await until(lambda name=name: parked(name))
        assert await bench.out(name) == ["a", "b"]
    assert "RuntimeError" in (await bench.status("r")).position.last_error


async def test_a_sweep_finds_what_no_wake_up_told_of(bench: Bench) -> None:
    sink = bench.targets["sink"] = Sink()
    bench.limits.sweep_s = 0.05
    await bench.start()
    await bench.react("r")
    await asyncio.sleep(0.02)
    bench.wakeups._listeners.clear()  # as if every wake-up were lost
    await bench.emit("x")
    await until(lambda: sink.got == ["x"])


async def test_settled_events_are_trimmed_by_age_but_none_that_is_owed(bench: Bench) -> None:
    def append_two(tx: Tx) -> None:
        tx.append("topic/t", "old")
        tx.append("topic/t", "owed")

    await bench.store.commit(append_two)
    await bench.store.commit(bench.reactions.create, Reaction("r", "topic/t", Target("sink", "x")), 1)
    assert await bench.store.commit(bench.reactions.trim, "topic/t", START_MS + 1) == 1
    await bench.store.commit(bench.reactions.replay, "r", offset=2)
    assert await bench.store.commit(bench.reactions.trim, "topic/t", START_MS) == 0  # too young
    assert await bench.store.commit(bench.reactions.trim, "topic/t", START_MS + 1) == 1


PHASES = RetryPolicy(tries_max=13, delay_min_ms=1000, delay_max_ms=8000, immediate=2, at_min=2, at_max=3, jitter=0.0)


def test_the_phases_of_a_retry_policy() -> None:
    delays = [PHASES.delay_ms(tries, 0.0) for tries in range(1, 13)]
    assert delays == [0, 0, 1000, 1000, 1000, 2000, 4000, 8000, 8000, 8000, 8000, 8000]
    assert not PHASES.exhausted(12, 0) and PHASES.exhausted(13, 0)


@pytest.mark.parametrize(
    ("backoff", "expected"),
    [
        ("linear", [1000, 3000, 5000, 7000, 9000]),
        ("arithmetic", [1000, 2250, 4000, 6250, 9000]),
        ("geometric", [1000, 1732, 3000, 5196, 9000]),
        ("exponential", [1000, 2000, 4000, 8000, 9000]),
    ],
)
def test_backoffs(backoff: Any, expected: list[int]) -> None:
    policy = RetryPolicy(tries_max=6, delay_min_ms=1000, delay_max_ms=9000, backoff=backoff, jitter=0.0)
    delays = [policy.delay_ms(tries, 0.0) for tries in range(1, 6)]
    assert delays[0] == 1000 and delays[-1] == 9000 and delays == sorted(delays)
    if backoff != "arithmetic":
        assert [abs(a - b) <= 1 for a, b in zip(delays, expected, strict=True)] == [True] * 5


def test_jitter_only_shortens() -> None:
    policy = RetryPolicy(tries_max=9, delays_ms=(1000,), jitter=0.2)
    assert policy.delay_ms(5, 0.0) == 1000
    assert policy.delay_ms(5, 0.999) >= 800


def test_age_ends_the_tries() -> None:
    policy = RetryPolicy(tries_max=100, age_max_ms=5000)
    assert not policy.exhausted(1, 4999) and policy.exhausted(1, 5000)


def test_a_reaction_survives_its_json() -> None:
    reaction = Reaction("r", "log", Target("http", "u", {"a": 1}), {"body": {}}, PHASES, "arn", True, 3, 4, 5)
    assert Reaction.from_json(reaction.to_json()) == reaction


async def test_a_log_that_is_cleared_goes_piece_by_piece_and_its_name_can_be_used_again(bench: Bench) -> None:
    bench.limits.trim_max, bench.limits.sweep_s = 3, 60.0
    bench.targets["sink"] = sink = Sink()
    await bench.start()
    await bench.emit(*range(10))
    await bench.store.commit(bench.reactions.clear, "events")
    assert (await bench.store.view(lambda view: view.bounds("events"))).first == 3
    await bench.react("r")
    await bench.emit(10)
    await until(lambda: sink.got == [10])
    with pytest.raises(Invalid, match="offsets 10 to 10"):
        await bench.store.commit(bench.reactions.replay, "r", offset=9)
    assert await bench.store.commit(lambda tx: bench.reactions.replay(tx, "r", offset=10)) == 10
    await until(lambda: sink.got == [10, 10])
    while await bench.store.commit(bench.reactions.sweep):
        pass
    bounds = await bench.store.view(lambda view: view.bounds("events"))
    assert (bounds.first, bounds.next) == (10, 11)
