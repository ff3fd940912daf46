"""What one target must not do to another, and what an operator may do to a reaction."""

from __future__ import annotations

import asyncio
import gc
import random
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from helpers.reactions import START_MS, STEADY, Bench, Counting, Sink, open_bench
from helpers.waiting import until

from sluiceway.config import ReactionSettings
from sluiceway.core.reaction import Reaction, RetryPolicy, Target
from sluiceway.core.store import Entry, Tx
from sluiceway.errors import Conflict, DomainError, Invalid, NotFound, Throttled
from sluiceway.reactions.allowance import Allowances
from sluiceway.reactions.target import Attempt, DeliveryFailed, OutwardTarget
from sluiceway.services.pressure import Pressure

OTHERS = 100
EVENTS = 40


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with open_bench(tmp_path) as made:
        yield made


@pytest.fixture
def frozen() -> Iterator[None]:
    """As the server does after its start: to look through all that the tests imported takes 20 to 60 ms each time."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


class Stopwatch(OutwardTarget):
    """Notes how long after its writing each event arrives."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def deliver(self, reaction: Reaction, entries: Sequence[Entry], attempt: Attempt) -> None:
        self.seconds += [time.monotonic() - entry.value for entry in entries]


async def p99_of(bench: Bench, watch: Stopwatch) -> float:
    """How late all but a hundredth of the deliveries to the hundred are, in seconds, at 25 events a second."""
    watch.seconds.clear()
    for _ in range(EVENTS):
        await bench.emit(time.monotonic())
        await asyncio.sleep(0.04)
    await until(lambda: len(watch.seconds) == OTHERS * EVENTS)
    return sorted(watch.seconds)[int(OTHERS * EVENTS * 0.99)]


@pytest.mark.usefixtures("frozen")
async def test_a_target_that_hangs_for_its_whole_timeout_delays_none_of_a_hundred_others(bench: Bench) -> None:
    """The others' p99 is under 100 ms (measured: 20 ms); on a machine that can't do that without the target that hangs,
    either, it is no more than twice as much with it. A burst of other work on the machine has it measured again.
    """
    hanging, times_out = 0, asyncio.Event()

    async def hang(*_: Any) -> None:
        nonlocal hanging
        hanging += 1
        await times_out.wait()
        raise DeliveryFailed("did not answer in time")

    watch = bench.targets["watch"] = Stopwatch()
    bench.targets["hangs"] = Sink(hang)
    await bench.start()
    for number in range(OTHERS):
        await bench.react(f"other{number}", "watch")
    limit_s = max(0.1, 2 * await p99_of(bench, watch))
    await bench.react("hangs", "hangs", concurrency=50, retry=STEADY)
    for _ in range(5):
        p99 = await p99_of(bench, watch)
        print(f"p99 {p99 * 1000:.1f} ms, at most {limit_s * 1000:.1f} ms")
        if p99 < limit_s:
            break
    assert p99 < limit_s
    assert hanging and (await bench.status("hangs")).lag >= EVENTS
    times_out.set()


async def test_copies_for_many_are_made_beside_the_event_loop(bench: Bench) -> None:
    on_loop: list[bool] = []
    bench.targets["store"] = Counting(lambda _: on_loop.append(threading.current_thread() is threading.main_thread()))
    await bench.start()
    await bench.react("first", "store")
    await bench.emit(1)
    await until(lambda: bool(on_loop))

    def more(tx: Tx) -> None:
        for number in range(300):
            bench.reactions.create(tx, Reaction(f"r{number}", "events", Target("store", "x")))

    await bench.store.commit(more)
    on_loop.clear()
    await bench.emit(2)
    await until(lambda: len(on_loop) == 301)
    assert not any(on_loop)


async def test_a_dead_target_is_asked_with_one_event_at_a_time_until_it_is_back(bench: Bench) -> None:
    dead, now, most = True, 0, 0

    async def behave(*_: Any) -> None:
        nonlocal now, most
        now, most = now + 1, max(most, now + 1)
        await asyncio.sleep(0.002)
        now -= 1
        if dead:
            raise DeliveryFailed("refused", retry_after_ms=0)

    sink = bench.targets["sink"] = Sink(behave)
    await bench.start()
    await bench.react("r", concurrency=20, retry=RetryPolicy(tries_max=10_000))
    await bench.emit(*range(100))
    await until(lambda: len(sink.tries) > 20)
    assert most <= 2
    dead = False
    await until(lambda: len(set(sink.got)) == 100)
    assert most > 2  # it has proved itself, and gets its whole concurrency again


def test_an_allowance_never_passes_the_concurrency_nor_falls_to_nothing() -> None:
    allowances, dice = Allowances(), random.Random(1)
    for _ in range(1000):
        if dice.random() < 0.7:
            allowances.succeeded("r", 5)
        else:
            allowances.failed("r")
        assert 1 <= allowances.of("r", 5) <= 5
    allowances.forget("r")
    assert allowances.of("r", 5) == 2 and allowances.of("r", 1) == 1


@pytest.mark.parametrize("kind", ["sink", "store"])
async def test_past_so_many_parked_events_the_cursor_waits_and_nothing_is_lost(bench: Bench, kind: str) -> None:
    broken = True

    def refuse(*_: Any) -> None:
        if broken:
            raise DeliveryFailed("down") if kind == "sink" else Throttled("queue", "down")

    limits = bench.limits
    limits.parked_max, limits.in_store_batch = 10, 20
    sink = bench.targets["sink"] = Sink(refuse)
    bench.targets["store"] = Counting(refuse)
    await bench.start()
    await bench.react("r", kind, retry=RetryPolicy(tries_max=50, delays_ms=(1000,), jitter=0.0), concurrency=2)
    await bench.emit(*range(500))

    async def parked() -> int:
        return int((await bench.status("r")).parked)

    # What was read ahead, is being recorded, and waits to be recorded still fails.
    most = limits.parked_max + (3 * limits.read_max if kind == "sink" else limits.in_store_batch)
    await until(lambda: parked())
    await asyncio.sleep(0.1)
    assert 0 < await parked() <= most
    broken = False

    async def done() -> bool:
        await bench.move(1000)
        status = await bench.status("r")
        return status.lag == 0 and status.parked == 0

    await until(done)
    got = sink.got if kind == "sink" else await bench.out("r")
    assert sorted(got) == list(range(500))


async def test_a_replay_from_what_is_no_longer_kept_says_so(bench: Bench) -> None:
    sink = bench.targets["sink"] = Sink()
    await bench.start()
    await bench.react("r", log="topic/t")
    await bench.react("other", log="topic/t")
    for number in range(6):
        bench.clock.ms += 1000
        await bench.emit(number, log="topic/t")
    await until(lambda: len(sink.got) == 12)
    await until(lambda: not bench.dispatcher.active())
    assert await bench.store.commit(bench.reactions.trim, "topic/t", START_MS + 4000) == 3
    for place in ({"offset": 2}, {"offset": 7}, {"time_ms": START_MS + 3000}):
        with pytest.raises(Invalid, match=r"no event|no longer kept"):
            await bench.store.commit(bench.reactions.replay, "r", **place)
    assert (await bench.status("r")).position.next == 6  # a refused replay moves nothing
    sink.got.clear()
    assert await bench.store.commit(bench.reactions.replay, "r", time_ms=START_MS + 4500) == 4
    await until(lambda: sorted(sink.got) == [4, 5])
    assert await bench.store.commit(bench.reactions.replay, "r", offset=3) == 3
    await until(lambda: sorted(sink.got) == [3, 4, 4, 5, 5])
    await until(lambda: not bench.dispatcher.active())
    assert (await bench.status("other")).position.delivered == 6  # nobody else heard of it


async def test_counts_of_dead_letters_agree_with_the_rows_whatever_is_done_to_them(bench: Bench) -> None:
    def behave(*_: Any) -> None:
        raise DeliveryFailed("no", permanent=True)

    bench.targets["sink"] = Sink(behave)
    await bench.start()
    await bench.react("r")
    await bench.emit(*range(10))
    dice = random.Random(3)

    async def agrees() -> bool:
        status = await bench.status("r")
        rows = await bench.store.view(bench.reactions.dead_letters, "r", 1000)
        return status.lag == 0 and status.parked == 0 and status.dead_kept == len(rows)

    await until(agrees)
    for _ in range(30):
        action = dice.choice(["redrive", "discard", "replay"])
        offset = dice.choice([None, dice.randrange(10)])
        try:
            if action == "replay":
                await bench.store.commit(bench.reactions.replay, "r", offset=offset or 0)
            else:
                await bench.store.commit(getattr(bench.reactions, action), "r", offset)
        except NotFound:
            continue
        await until(agrees)


async def test_a_deleted_reaction_with_very_many_rows_is_removed_in_pieces(bench: Bench) -> None:
    bench.limits.redrive_max, bench.limits.sweep_s = 10, 0.05
    bench.targets["sink"] = Sink(lambda *_: (_ for _ in ()).throw(DeliveryFailed("no", permanent=True)))
    await bench.start()
    await bench.react("r")
    await bench.emit(*range(45))

    async def dead() -> bool:
        return bool((await bench.status("r")).dead_kept == 45)

    await until(dead)
    await bench.store.commit(bench.reactions.delete, "r")

    def rows(view: Any) -> int:
        return sum(1 for table in ("dead_letters", "reaction_remains") for _ in view.scan(table))

    async def gone() -> bool:
        return await bench.store.view(rows) == 0

    assert await bench.store.view(rows) == 36
    await until(gone)


async def test_a_reaction_that_comes_back_under_its_name_has_nothing_of_the_old_one(bench: Bench) -> None:
    bench.limits.redrive_max = 10
    await bench.react("r")

    def bury(tx: Tx) -> None:
        for offset in range(30):
            tx.put("dead_letters", ("r", offset), {"value": offset})

    await bench.store.commit(bury)
    await bench.store.commit(bench.reactions.delete, "r")
    await bench.react("r")
    assert await bench.store.view(lambda view: list(view.scan("dead_letters"))) == []
    assert await bench.store.commit(bench.reactions.sweep) is False


def test_jitter_takes_away_all_but_the_policys_minimum() -> None:
    policy = RetryPolicy(tries_max=20, delay_min_ms=1000, delay_max_ms=60_000)
    spread = [policy.delay_ms(7, share / 100) for share in range(100)]
    assert max(spread) == 60_000 and 1000 <= min(spread) < 2000
    assert [policy.delay_ms(1, share) for share in (0.0, 0.5, 0.99)] == [1000] * 3
    told = RetryPolicy(tries_max=9, delays_ms=(5000,))
    assert told.delay_ms(1, 0.999) < 100  # full jitter: nothing says that the first must wait


def test_pressure_is_asked_rarely_and_eases_below_its_limit() -> None:
    asked = 0

    def free() -> int:
        nonlocal asked
        asked += 1
        return 99

    pressure = Pressure(free, 100, 1000)
    for _ in range(50):
        with pytest.raises(Throttled):
            pressure.check_disk()
    assert asked == 1
    pressure.note([("topic/a", 1000), ("topic/b", 999)], whole=True)
    assert pressure.full_logs == {"topic/a"}
    pressure.check_log("topic/b")
    pressure.note([("topic/a", 950)], whole=False)
    with pytest.raises(Throttled):
        pressure.check_log("topic/a")
    pressure.note([("topic/a", 899)], whole=False)
    pressure.check_log("topic/a")


async def test_copies_wait_while_the_disk_is_low_and_follow_when_it_is_not(bench: Bench) -> None:
    from sluiceway.reactions.dispatcher import Dispatcher

    free = 0
    pressure = Pressure(lambda: free, 1, 1000)
    bench.targets["store"] = Counting()
    limits = ReactionSettings(recover_s=0.05)
    bench.dispatcher = Dispatcher(
        bench.store, bench.wakeups, bench.reactions, bench.targets, limits, bench.clock, None, pressure
    )
    await bench.dispatcher.start()
    await bench.react("r", "store")
    await bench.emit(1, 2, 3)
    await asyncio.sleep(0.2)
    assert await bench.out("r") == [] and (await bench.status("r")).lag == 3
    free = 1

    async def there() -> bool:
        return await bench.out("r") == [1, 2, 3]

    await until(there)


async def test_one_event_for_a_thousand_subscriptions_is_one_commit(bench: Bench, tmp_path: Path) -> None:
    bench.targets["store"] = Counting()
    await bench.start()

    def create(tx: Tx) -> None:
        for number in range(1000):
            bench.reactions.create(tx, Reaction(f"r{number:04}", "events", Target("store", "x")))

    await bench.store.commit(create)

    async def armed() -> bool:
        return len(bench.dispatcher._armed) == 1000

    await until(armed)
    before = bench.store.stats.commits
    await bench.emit("news")
    await until(lambda: bench.dispatcher.stats.delivered == 1000)
    assert bench.store.stats.commits - before <= 4  # the event's own, and about one for all copies


async def test_a_redriven_letter_of_an_ordered_reaction_that_fails_once_more_is_tried_again(bench: Bench) -> None:
    """Its cursor is past it, so it can't wait there: it is parked anew, and what comes meanwhile does not wait."""
    errors: list[DomainError] = [NotFound("queue", "The queue is gone."), Conflict("disabled", "The key is disabled.")]

    def refuse(value: Any) -> None:
        if value == 0 and errors:
            raise errors.pop(0)

    bench.targets["store"] = Counting(refuse)
    await bench.start()
    await bench.react("r", "store", ordered=True, retry=STEADY)
    await bench.emit(0, 1)

    async def shows(**wanted: int) -> bool:
        status = await bench.status("r")
        found = {"dead": status.dead_kept, "parked": status.parked, "failed": status.position.failed}
        return {name: found[name] for name in wanted} == wanted

    await until(lambda: shows(dead=1))
    assert await bench.out("r") == [1]
    await bench.store.commit(bench.reactions.redrive, "r")
    await until(lambda: shows(parked=1, dead=0, failed=2))
    await bench.emit(2)

    async def arrived(*values: int) -> bool:
        return await bench.out("r") == list(values)

    await until(lambda: arrived(1, 2))
    await bench.move(1000)
    await until(lambda: arrived(1, 2, 0))
    assert await shows(parked=0, dead=0, failed=2)
