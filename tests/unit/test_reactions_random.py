"""Random targets, random restarts, one invariant: every event is delivered, given up with its reason, or waits."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from sluiceway.config import ReactionSettings, StoreSettings
from sluiceway.core.reaction import Reaction, RetryPolicy, Target
from sluiceway.core.store import Entry, Tx
from sluiceway.core.wakeups import Wakeups
from sluiceway.engines.sqlite.store import open_store
from sluiceway.reactions.dispatcher import Dispatcher
from sluiceway.reactions.target import Attempt, Delivered, DeliveryFailed, OutwardTarget
from sluiceway.services.reactions import Reactions

EVENTS = 120


class Clock:
    """Runs a thousand times faster than the wall: 1 ms of waiting is 1 s of delay."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()

    def now_ms(self) -> int:
        return 1_700_000_000_000 + int(self._loop.time() * 1_000_000)


class Moody(OutwardTarget):
    """Succeeds, fails, fails in part, is busy, raises, and takes its time; each by chance."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.delivered: list[int] = []
        self.under_way: set[int] = set()
        self.overlaps = 0

    async def deliver(self, reaction: Reaction, entries: Sequence[Entry], attempt: Attempt) -> Delivered | None:
        values = [entry.value["n"] for entry in entries]
        self.overlaps += bool(self.under_way)
        self.under_way.update(values)
        try:
            await asyncio.sleep(self.chance.random() * 0.002)
            dice = self.chance.random()
            if dice < 0.10:
                raise DeliveryFailed("no")
            if dice < 0.12:
                raise DeliveryFailed("never", permanent=True)
            if dice < 0.17:
                raise DeliveryFailed("busy", retry_after_ms=500, counted=False)
            if dice < 0.19:
                raise RuntimeError("a bug")
            if dice < 0.30 and len(entries) > 1:
                bad = self.chance.choice(entries)
                at = entries.index(bad)
                kept = values[:at] if reaction.ordered else [value for value in values if value != bad.value["n"]]
                self.delivered += kept
                return Delivered({bad.offset: DeliveryFailed("in part")})
            self.delivered += values
            return None
        finally:
            self.under_way.difference_update(values)


def emit(tx: Tx, first: int, count: int) -> None:
    for number in range(first, first + count):
        tx.append("events", {"n": number, "kind": "no" if number % 5 == 0 else "yes"})


@pytest.mark.parametrize("seed", range(12))
async def test_nothing_is_lost(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    ordered = seed % 2 == 0
    wakeups, clock = Wakeups(), Clock()
    limits = ReactionSettings(read_max=chance.choice([2, 16, 64]), window_max=chance.choice([3, 50]), recover_s=0.005)
    store = await open_store(tmp_path / "store.db", StoreSettings(), clock, wakeups)
    reactions, target = Reactions(limits), Moody(seed)
    reaction = Reaction(
        "r",
        "events",
        Target("moody", "x"),
        filter={"patterns": [{"kind": ["yes"]}]},
        retry=RetryPolicy(tries_max=4, delay_min_ms=1000, delay_max_ms=4000),
        ordered=ordered,
        batch_max=chance.choice([1, 3, 10]),
        batch_window_ms=chance.choice([0, 2000]),
        concurrency=chance.choice([1, 4]),
        bisect=chance.random() < 0.5,
    )
    await store.commit(reactions.create, reaction)
    emitted, restarts = 0, 0
    dispatcher = Dispatcher(store, wakeups, reactions, {"moody": target}, limits, clock)
    await dispatcher.start()
    end = asyncio.get_running_loop().time() + 30
    while True:
        if emitted < EVENTS:
            count = min(chance.randint(1, 20), EVENTS - emitted)
            await store.commit(emit, emitted, count)
            emitted += count
        elif chance.random() < 0.2 and restarts < 3:
            await dispatcher.stop(chance.choice([0.0, 0.5]))
            restarts += 1
            dispatcher = Dispatcher(store, wakeups, reactions, {"moody": target}, limits, clock)
            await dispatcher.start()
        status = await store.view(reactions.status, "r")
        if emitted == EVENTS and status.lag == 0 and status.position.parked == 0:
            break
        assert asyncio.get_running_loop().time() < end, status
        await asyncio.sleep(0.005)
        dispatcher.poke()
    await dispatcher.stop(1.0)
    dead = [letter.value["n"] for letter in await store.view(reactions.dead_letters, "r", 1000)]
    await store.close()
    wanted = {number for number in range(EVENTS) if number % 5}
    assert set(target.delivered) | set(dead) == wanted
    repeated = sum(count - 1 for count in Counter(target.delivered).values())
    # At a restart: what is under way, what is being recorded, and what was finished while that was being recorded.
    unrecorded = 1 if ordered else reaction.concurrency + limits.read_max
    assert repeated <= restarts * reaction.batch_max * unrecorded * 2
    if ordered:
        assert target.overlaps == 0
        firsts = list(dict.fromkeys(target.delivered))
        assert firsts == sorted(firsts)
