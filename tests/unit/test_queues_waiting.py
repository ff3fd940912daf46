"""Long polling: as many pollers are called as there are messages for, and no message is left while somebody waits."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from sluiceway.config import QueueSettings, StoreSettings
from sluiceway.core.clock import SystemClock
from sluiceway.core.identity import Scope
from sluiceway.core.wakeups import Wakeups
from sluiceway.edges.aws.sqs_waiting import SqsWaiting
from sluiceway.engines.sqlite.store import SqliteStore, open_store
from sluiceway.errors import NotFound, Throttled
from sluiceway.services.queues import Queues, Received

FIFO = {"FifoQueue": "true", "ContentBasedDeduplication": "true"}


@dataclass
class Place:
    """Queues, who waits for them, and how often the store was asked."""

    store: SqliteStore
    queues: Queues
    wakeups: Wakeups
    waiting: SqsWaiting
    attempts: int = 0
    looks: int = 0
    got: list[str] = field(default_factory=list)

    async def view(self, fn: Callable[..., Any], *args: Any) -> Any:
        self.looks += 1
        return await self.store.view(fn, *args)

    async def send(self, body: str, name: str = "q", **more: Any) -> None:
        await self.store.commit(partial(self.queues.send, **more), name, body)

    async def receive(self, name: str = "q", count: int = 1, visibility_s: int = 60) -> list[Received]:
        self.attempts += 1
        try:
            return await self.store.commit(self.queues.receive, name, count, visibility_s)
        except Throttled:  # too much in flight, as for who polls for long
            return []

    def poll(self, wait_s: float = 20, name: str = "q", count: int = 1) -> asyncio.Task[list[str]]:
        async def run() -> list[str]:
            found = await self.waiting.take(name, count, wait_s, lambda: self.receive(name, count))
            self.got += [one.body for one in found]
            return [one.body for one in found]

        return asyncio.create_task(run())

    async def rest(self) -> None:
        """Until everybody stands and nothing happens."""
        before = -1
        while before != self.looks + self.attempts:
            before = self.looks + self.attempts
            await asyncio.sleep(0.05)


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    wakeups = Wakeups()
    store = await open_store(tmp_path / "store.db", StoreSettings(), SystemClock(), wakeups)
    queues = Queues(Scope("000000000000", "us-east-1"), QueueSettings(in_flight_max=300))
    made = Place(store, queues, wakeups, SqsWaiting(store, queues, wakeups))
    made.waiting._store = made  # type: ignore[assignment]
    await store.commit(queues.create, "q", {}, {})
    await store.commit(queues.create, "q.fifo", FIFO, {})
    yield made
    assert made.waiting._lines == {}
    await store.close()


async def within(seconds: float, tasks: list[asyncio.Task[list[str]]]) -> list[str]:
    """What the pollers got."""
    async with asyncio.timeout(seconds):
        return sorted(body for got in await asyncio.gather(*tasks) for body in got)


@pytest.mark.parametrize("name", ["q", "q.fifo"])
async def test_each_message_calls_one_poller(place: Place, name: str) -> None:
    polls = [place.poll(name=name) for _ in range(100)]
    await place.rest()
    assert place.attempts == 0
    for at in range(100):
        await place.send(f"{at:02}", name, **({"group_id": str(at)} if name == "q.fifo" else {}))
    assert await within(10, polls) == [f"{at:02}" for at in range(100)]
    assert place.attempts <= 110 and place.looks <= 420  # if all looked at each message: 5,050 of both


async def test_messages_that_come_together_call_as_many(place: Place) -> None:
    polls = [place.poll() for _ in range(60)]
    await place.rest()
    await asyncio.gather(*(place.send(f"{at:02}") for at in range(60)))
    assert await within(5, polls) == [f"{at:02}" for at in range(60)]
    assert place.attempts <= 70


async def test_who_takes_ten_is_called_for_ten(place: Place) -> None:
    polls = [place.poll(wait_s=1, count=10) for _ in range(10)]
    await place.rest()
    await place.store.commit(lambda tx: [place.queues.send(tx, "q", str(at)) for at in range(25)])
    assert len(await within(5, polls)) == 25
    assert place.attempts <= 5


async def test_a_group_is_one_pollers_at_a_time(place: Place) -> None:
    polls = [place.poll(wait_s=0.5, name="q.fifo") for _ in range(10)]
    await place.rest()
    for at in range(10):
        await place.send(str(at), "q.fifo", group_id="g")
    assert await within(5, polls) == ["0"] and place.attempts <= 3


async def test_the_turn_of_one_who_goes_is_the_next_ones(place: Place) -> None:
    """He is cancelled when he was called and has not tried, while he tries, and he fails."""
    stop, tries = asyncio.Event(), 0

    async def slow() -> list[Received]:
        nonlocal tries
        tries += 1
        await stop.wait()
        raise NotFound("queue", "gone")

    first = asyncio.create_task(place.waiting.take("q", 1, 20, slow))
    second = asyncio.create_task(place.waiting.take("q", 1, 20, slow))
    await place.rest()
    last = place.poll()
    await place.rest()
    await place.send("x")
    await place.rest()
    assert tries == 1 and place.attempts == 0  # the first is on his way, and nobody else is called for it
    first.cancel()
    await place.rest()
    assert tries == 2
    stop.set()
    with pytest.raises(NotFound):
        await second
    assert await within(5, [last]) == ["x"]


async def test_the_turn_of_one_who_is_cancelled_before_he_tries(place: Place) -> None:
    polls = [place.poll() for _ in range(2)]
    await place.rest()
    [line] = place.waiting._lines.values()
    first = next(iter(line.waiting))
    await place.send("x")
    while not first.turn.done():
        await asyncio.sleep(0)
    polls[0].cancel()
    assert await within(5, polls[1:]) == ["x"]


async def test_one_whose_time_is_over_when_he_is_called_still_tries(place: Place) -> None:
    poll = place.poll(wait_s=0.3)
    await place.rest()
    [line] = place.waiting._lines.values()
    [only] = line.waiting
    await place.send("x")
    while not only.turn.done():
        await asyncio.sleep(0)
    time.sleep(0.5)
    assert await within(5, [poll]) == ["x"]


async def test_what_is_delayed_or_comes_back_calls_one(place: Place) -> None:
    await place.send("delayed", delay_s=1)
    await place.send("taken")
    assert len(await place.receive(visibility_s=2)) == 1
    polls = [place.poll(wait_s=5) for _ in range(50)]
    await place.rest()
    place.attempts = place.looks = 0
    began = asyncio.get_running_loop().time()
    while len(place.got) < 2:
        await asyncio.sleep(0.01)
    assert sorted(place.got) == ["delayed", "taken"] and asyncio.get_running_loop().time() - began < 4.5
    assert place.attempts <= 5 and place.looks <= 12
    for poll in polls:
        poll.cancel()
    await asyncio.gather(*polls, return_exceptions=True)


async def test_pollers_do_not_go_round_in_circles_while_too_much_is_in_flight(place: Place) -> None:
    place.queues.limits.in_flight_max = 1
    await place.send("1")
    await place.send("2")
    first = (await place.receive())[0]
    place.attempts = place.looks = 0
    polls = [place.poll(wait_s=4) for _ in range(20)]
    await asyncio.sleep(1.5)
    assert place.attempts <= 3 and place.looks <= 40
    await place.store.commit(place.queues.delete, "q", first.receipt_handle)  # which tells nobody
    async with asyncio.timeout(2):
        while not place.got:
            await asyncio.sleep(0.01)
    assert sorted(await within(10, polls)) == ["2"]


async def test_a_thief_leaves_the_pollers_waiting_for_the_next(place: Place) -> None:
    polls = [place.poll() for _ in range(3)]
    await place.rest()
    for at in range(30):
        await asyncio.gather(place.send(f"stolen {at}"), place.receive(visibility_s=600))
    await place.rest()
    for _ in range(len(polls) - len(place.got)):
        await place.send("left")
    assert len(await within(0.8, polls)) == 3  # less than the calm after one that found nothing


async def test_a_deleted_queue_and_a_stop_end_all(place: Place) -> None:
    polls = [place.poll() for _ in range(20)]
    others = [place.poll(name="q.fifo") for _ in range(20)]
    await place.rest()
    await place.store.commit(place.queues.remove, "q")
    results = await asyncio.gather(*polls, return_exceptions=True)
    assert all(isinstance(result, NotFound) for result in results)
    place.wakeups.end()
    assert await within(10, others) == []
    assert await within(10, [place.poll()]) == []


async def test_a_failure_of_the_line_itself_loses_nobody(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    def broken(*given: Any) -> Any:
        raise ZeroDivisionError

    place.queues.ready = broken  # type: ignore[method-assign]
    poll = place.poll()
    await asyncio.sleep(0.1)
    await place.send("x")
    assert await within(5, [poll]) == ["x"]
    assert [record.levelno for record in caplog.records if "must look" in record.message] == [logging.ERROR]


@pytest.mark.parametrize("seed", range(4))
async def test_at_random_nothing_is_left_while_somebody_waits(place: Place, seed: int) -> None:
    """Senders, thieves, delays, short visibility, pollers that come, give up and are cancelled."""
    chance = random.Random(seed)
    name = chance.choice(["q", "q.fifo"])
    polls: list[asyncio.Task[list[str]]] = []
    sent = stolen = 0
    for _ in range(250):
        kind = chance.random()
        if kind < 0.4:
            more = {"group_id": str(chance.randrange(20))} if name == "q.fifo" else {"delay_s": int(kind < 0.05)}
            await place.send(str(sent), name, **more)
            sent += 1
        elif kind < 0.75:
            polls.append(place.poll(chance.choice([0.01, 0.1, 20]), name, chance.choice([1, 1, 10])))
        elif kind < 0.85 and polls:
            chance.choice(polls).cancel()
        elif kind < 0.9:
            stolen += len(await place.receive(name, 3, visibility_s=1))
        await asyncio.sleep(chance.choice([0, 0, 0.001, 0.01]))
    polls += [place.poll(20, name) for _ in range(sent)]

    async def drained() -> None:
        while True:  # a group goes on when its message is deleted; here it is given up
            ready, due_ms = await place.store.view(place.queues.ready, name, 1000)
            if not ready and (due_ms is None or due_ms > SystemClock().now_ms() + 5000):
                return
            await asyncio.sleep(0.05)

    async with asyncio.timeout(12):
        await drained()
    for poll in polls:
        poll.cancel()
    await asyncio.gather(*polls, return_exceptions=True)
