"""The queue service's limits, which take too many messages to reach through the server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sluiceway.config import QueueSettings, StoreSettings
from sluiceway.core.identity import Scope
from sluiceway.core.wakeups import Wakeups
from sluiceway.engines.sqlite.store import SqliteStore, open_store
from sluiceway.errors import Invalid, Throttled
from sluiceway.services.queues import Moves, QueueKeeper, Queues
from sluiceway.services.queues.states import AVAILABLE, DELAYED, GONE, IN_FLIGHT, TRANSITIONS, Event

LIMITS = QueueSettings(in_flight_max=3, due_max=5, sweep_max=4, queues_max=3)


class Hand:
    """A clock that stands until it is moved."""

    ms = 1_700_000_000_000

    def now_ms(self) -> int:
        return self.ms


@dataclass
class Place:
    store: SqliteStore
    queues: Queues
    clock: Hand
    wakeups: Wakeups

    async def run(self, method: Any, *given: Any, **more: Any) -> Any:
        return await self.store.commit(method, *given, **more)

    async def rows(self, table: str) -> int:
        return await self.store.view(lambda view: sum(1 for _ in view.scan(table)))


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    clock, wakeups = Hand(), Wakeups()
    store = await open_store(tmp_path / "store.db", StoreSettings(), clock, wakeups)
    yield Place(store, Queues(Scope("000000000000", "us-east-1"), LIMITS), clock, wakeups)
    await store.close()


def test_each_state_is_left_and_nothing_comes_back_from_the_dead() -> None:
    assert {state for state, _ in TRANSITIONS} == {AVAILABLE, IN_FLIGHT, DELAYED}
    assert {event for _, event in TRANSITIONS} == set(Event)
    assert all((state, Event.EXPIRED) in TRANSITIONS for state in (AVAILABLE, IN_FLIGHT, DELAYED))
    assert {TRANSITIONS[key] for key in TRANSITIONS} == {AVAILABLE, IN_FLIGHT, GONE}


async def test_no_more_is_in_flight_than_is_allowed(place: Place) -> None:
    await place.run(place.queues.create, "q", {}, {})
    await place.run(place.queues.create, "q.fifo", {"FifoQueue": "true", "ContentBasedDeduplication": "true"}, {})
    for at in range(6):
        await place.run(place.queues.send, "q", str(at))
        await place.run(place.queues.send, "q.fifo", str(at), group_id=str(at))
    taken = [(await place.run(place.queues.receive, "q", 1))[0] for _ in range(3)]
    with pytest.raises(Throttled) as refused:
        await place.run(place.queues.receive, "q", 1)
    assert refused.value.kind == "in_flight"
    await place.run(place.queues.delete, "q", taken[0].receipt_handle)
    assert len(await place.run(place.queues.receive, "q", 1)) == 1
    assert len(await place.run(place.queues.receive, "q.fifo", 3)) == 3
    assert await place.run(place.queues.receive, "q.fifo", 3) == []
    place.clock.ms += 30_000
    assert (
        len(await place.run(place.queues.receive, "q", 3))
        == len(await place.run(place.queues.receive, "q.fifo", 3))
        == 3
    )


async def test_many_dead_letters_in_front_are_passed_bit_by_bit_and_wake_who_waits(place: Place) -> None:
    place.queues = Queues(place.queues.scope, QueueSettings(due_max=5))
    await place.run(place.queues.create, "dead", {}, {})
    redrive = json.dumps({"deadLetterTargetArn": place.queues.arn("dead"), "maxReceiveCount": 1})
    await place.run(place.queues.create, "q", {"RedrivePolicy": redrive}, {})
    for at in range(11):
        await place.run(place.queues.send, "q", str(at))
    for count in (10, 1):
        assert len(await place.run(place.queues.receive, "q", count, 1)) == count
    place.clock.ms += 1000
    await place.run(place.queues.send, "q", "alive")
    woken = place.wakeups.expect("queue/q")
    tries, got = 0, []
    while not got:
        tries += 1
        got = await place.run(place.queues.receive, "q", 1, 0)
        if not got:
            await asyncio.wait_for(woken, 20)
            woken = place.wakeups.expect("queue/q")
    woken.cancel()
    assert got[0].body == "alive" and 1 < tries < 5
    assert (await place.store.view(place.queues.counts, "dead"))[0] == 11


@pytest.mark.parametrize("fifo", [False, True])
async def test_retention_is_carried_out_without_anybody_receiving(place: Place, fifo: bool) -> None:
    name = "q.fifo" if fifo else "q"
    own = {"FifoQueue": "true", "ContentBasedDeduplication": "true"} if fifo else {}
    await place.run(place.queues.create, name, {"MessageRetentionPeriod": "60", **own}, {})
    for at in range(30):
        await place.run(place.queues.send, name, "x" * 3000 + str(at), group_id=str(at % 3) if fifo else None)
    place.clock.ms += 59_999
    keeper = QueueKeeper(place.store, place.queues, place.wakeups)
    await keeper.sweep()
    assert (await place.store.view(place.queues.counts, name))[0] == 30
    place.clock.ms += 1
    assert await place.run(place.queues.receive, name, 1) == []
    await keeper.sweep()
    assert await place.store.view(place.queues.counts, name) == (0, 0, 0)
    place.clock.ms += 300_000
    await keeper.sweep()
    for table in (
        "queue_messages",
        "queue_bodies",
        "queue_groups",
        "queue_ready",
        "queue_memory",
        "queue_memory_order",
    ):
        assert await place.rows(table) == 0, table


async def test_what_was_purged_or_deleted_is_cleared_away(place: Place) -> None:
    await place.run(place.queues.create, "q.fifo", {"FifoQueue": "true", "ContentBasedDeduplication": "true"}, {})
    for at in range(20):
        await place.run(place.queues.send, "q.fifo", "x" * 3000 + str(at), group_id="g")
    last = await place.run(place.queues.send, "q.fifo", "last", group_id="g")
    await place.run(place.queues.purge, "q.fifo")
    assert await place.run(place.queues.receive, "q.fifo", 10) == []
    after = await place.run(place.queues.send, "q.fifo", "after", group_id="g")
    assert int(after.sequence) > int(last.sequence)
    again = await place.run(place.queues.send, "q.fifo", "last", group_id="g")
    assert again.message_id == last.message_id  # it was sent within five minutes, purged or not
    await QueueKeeper(place.store, place.queues, place.wakeups).sweep()
    assert await place.rows("queue_messages") == 1 and await place.rows("queue_bodies") == 0
    await place.run(place.queues.remove, "q.fifo")
    await QueueKeeper(place.store, place.queues, place.wakeups).sweep()
    for table in ("queue_messages", "queue_counters", "queue_groups", "queue_ready", "queue_memory", "queue_discarded"):
        assert await place.rows(table) == 0, table


async def test_the_number_of_queues_is_limited_and_freed_by_deleting(place: Place) -> None:
    for name in "abc":
        await place.run(place.queues.create, name, {}, {})
    with pytest.raises(Throttled):
        await place.run(place.queues.create, "d", {}, {})
    await place.run(place.queues.create, "a", {}, {})
    await place.run(place.queues.remove, "b")
    await place.run(place.queues.create, "d", {}, {})
    assert [queue.name for queue in await place.store.view(lambda view: list(place.queues.all(view)))] == [
        "a",
        "c",
        "d",
    ]


async def test_the_total_of_visibility_is_twelve_hours(place: Place) -> None:
    await place.run(place.queues.create, "q", {}, {})
    await place.run(place.queues.send, "q", "x")
    handle = (await place.run(place.queues.receive, "q", 1, 43_200))[0].receipt_handle
    place.clock.ms += 3_600_000
    await place.run(place.queues.change_visibility, "q", handle, 39_600)
    with pytest.raises(Invalid) as refused:
        await place.run(place.queues.change_visibility, "q", handle, 39_601)
    assert "[43200 seconds]" in refused.value.message
    place.clock.ms += 39_600_000
    assert len(await place.run(place.queues.receive, "q", 1)) == 1


@pytest.mark.parametrize("fifo", [False, True])
async def test_a_move_task_leaves_what_is_too_old_behind(place: Place, fifo: bool) -> None:
    """It would be received as a new message, days after its time."""
    end = ".fifo" if fifo else ""
    own = {"FifoQueue": "true", "ContentBasedDeduplication": "true"} if fifo else {}
    await place.run(place.queues.create, f"dead{end}", own, {})
    policy = {"deadLetterTargetArn": place.queues.arn(f"dead{end}"), "maxReceiveCount": 3}
    await place.run(place.queues.create, f"q{end}", {**own, "RedrivePolicy": json.dumps(policy)}, {})
    for text in ("old", "older"):
        await place.run(place.queues.send, f"dead{end}", text, group_id=text if fifo else None)
    place.clock.ms += 60_000
    await place.run(place.queues.send, f"dead{end}", "young", group_id="young" if fifo else None)
    await place.run(place.queues.set_attributes, f"dead{end}", {"MessageRetentionPeriod": "60"})
    moves = Moves(place.queues)
    source, target = place.queues.arn(f"dead{end}"), place.queues.arn(f"q{end}")
    await place.run(moves.start, source, target, None)
    [(task, _)] = await place.store.view(moves.active)
    await place.run(moves.step, task, 10)
    assert [one.body for one in await place.run(place.queues.receive, f"q{end}", 10)] == ["young"]
    assert await place.store.view(place.queues.counts, f"dead{end}") == (0, 0, 0)
    [shown] = await place.store.view(moves.newest, source, 1)
    assert (shown["moved"], shown["status"]) == (1, "COMPLETED")
