"""What goes away with time, or with its topic: piece by piece, and so that nobody sees it again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from helpers.waiting import until

from sluiceway.config import ReactionSettings, StoreSettings, TopicSettings
from sluiceway.core.identity import Scope
from sluiceway.core.reaction import Parked
from sluiceway.core.store import Tx, View
from sluiceway.core.wakeups import Wakeups
from sluiceway.engines.sqlite.store import SqliteStore, open_store
from sluiceway.errors import Invalid
from sluiceway.services.reactions import Reactions, Report, bounds_of
from sluiceway.services.topics import Publication, Published, TopicKeeper, Topics
from tests.helpers.reactions import FakeClock

SCOPE = Scope("000000000000", "us-east-1")
PIECE = 50  # rows that one transaction may remove
TABLES = ("topics", "subscriptions", "subscription_endpoints", "subscription_tokens", "topic_deduplication",
          "topic_remains", "reactions", "reactions_by_log", "reaction_remains", "cursors", "parked")  # fmt: skip


class Counted:
    """A transaction that counts the rows and events that it removes."""

    def __init__(self, tx: Tx) -> None:
        self._tx = tx
        self.removed = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tx, name)

    def delete(self, table: str, key: Any) -> None:
        self.removed += 1
        self._tx.delete(table, key)

    def trim(self, log: str, before: int) -> None:
        self.removed += before - self._tx.bounds(log).first
        self._tx.trim(log, before)


@dataclass
class Place:
    """Topics, and how much each transaction removed."""

    store: SqliteStore
    clock: FakeClock
    wakeups: Wakeups
    topics: Topics
    reactions: Reactions
    removed: list[int] = field(default_factory=list)

    async def commit(self, fn: Callable[..., Any], *args: Any, **more: Any) -> Any:
        def counted(tx: Tx) -> Any:
            tx_counted = Counted(tx)
            result = fn(tx_counted, *args, **more)
            self.removed.append(tx_counted.removed)
            return result

        return await self.store.commit(counted)

    async def view(self, fn: Callable[..., Any], *args: Any) -> Any:
        return await self.store.view(fn, *args)

    async def rows(self, *tables: str) -> dict[str, int]:
        def count(view: View) -> dict[str, int]:
            counts = {table: sum(1 for _ in view.scan(table)) for table in tables or TABLES}
            return {table: rows for table, rows in counts.items() if rows}

        return await self.store.view(count)

    async def sweep(self) -> None:
        await TopicKeeper(self, self.topics, self.wakeups).sweep()  # type: ignore[arg-type]
        while await self.commit(self.reactions.sweep):
            pass

    async def publish(self, name: str, deduplication_id: str) -> Published:
        given = Publication(deduplication_id, group_id="g", deduplication_id=deduplication_id)
        return await self.store.commit(self.topics.post, name, given)


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    clock, wakeups = FakeClock(), Wakeups()
    store = await open_store(tmp_path / "store.db", StoreSettings(), clock, wakeups)
    reactions = Reactions(ReactionSettings(trim_max=PIECE, redrive_max=PIECE))
    topics = Topics(SCOPE, TopicSettings(sweep_max=PIECE), reactions)
    yield Place(store, clock, wakeups, topics, reactions)
    await store.close()


async def fill(place: Place, name: str, count: int) -> None:
    def publish(tx: Tx) -> None:
        for at in range(count):
            given = Publication(str(at), group_id="g", deduplication_id=str(at))
            place.topics.post(tx, name, given)

    await place.store.commit(publish)


async def test_a_topic_that_remembers_very_much_is_deleted_piece_by_piece(place: Place) -> None:
    fifo = {"FifoTopic": "true"}
    await place.commit(place.topics.create, "big.fifo", fifo)
    await place.commit(place.topics.create, "other.fifo", fifo)
    await fill(place, "big.fifo", 20 * PIECE)
    await fill(place, "other.fifo", 1)
    place.removed.clear()
    await place.commit(place.topics.delete, "big.fifo")
    assert await place.view(place.topics.find, "big.fifo") is None
    await place.sweep()
    assert max(place.removed) <= PIECE + 5 and len(place.removed) >= 40
    assert await place.rows("topics", "topic_deduplication", "topic_remains", "reaction_remains") == {
        "topics": 1, "topic_deduplication": 2,
    }  # fmt: skip
    assert (await place.view(lambda view: view.bounds("topic/big.fifo"))).first == 20 * PIECE


async def test_a_topic_of_the_same_name_remembers_nothing_even_before_all_is_removed(place: Place) -> None:
    for _ in range(3):
        await place.commit(place.topics.create, "big.fifo", {"FifoTopic": "true"})
        first = await place.publish("big.fifo", "5")
        assert await place.publish("big.fifo", "5") == first
        await fill(place, "big.fifo", 3 * PIECE)
        await place.commit(place.topics.delete, "big.fifo")
    await place.commit(place.topics.create, "big.fifo", {"FifoTopic": "true"})
    second = await place.publish("big.fifo", "5")
    assert second.message_id != first.message_id and int(second.sequence) > int(first.sequence)
    kept = await place.view(bounds_of, "topic/big.fifo")
    assert kept.next - kept.first == 1 < kept.next
    await place.sweep()
    assert await place.publish("big.fifo", "5") == second
    assert await place.rows("topic_deduplication", "topic_remains") == {"topic_deduplication": 2}


async def test_what_a_topic_of_an_older_release_remembers_goes_with_it(place: Place) -> None:
    """Its rows stand under its name."""
    await place.commit(place.topics.create, "old.fifo", {"FifoTopic": "true"})

    def make_old(tx: Tx) -> None:
        topic = place.topics.get(tx, "old.fifo")
        row = {name: getattr(topic, name) for name in ("name", "created_ms", "attributes", "tags", "policy")}
        tx.put("topics", ("old.fifo",), row)

    await place.store.commit(make_old)
    first = await place.publish("old.fifo", "5")
    assert (await place.view(lambda view: view.get("topic_deduplication", ("old.fifo", "id", "5")))) is not None
    await place.commit(place.topics.delete, "old.fifo")
    await place.commit(place.topics.create, "old.fifo", {"FifoTopic": "true"})
    second = await place.publish("old.fifo", "5")
    assert first.message_id != second.message_id
    await place.sweep()
    assert await place.publish("old.fifo", "5") == second
    assert await place.rows("topic_deduplication") == {"topic_deduplication": 2}


async def test_a_topic_with_many_failing_subscriptions_is_deleted_piece_by_piece(place: Place) -> None:
    await place.commit(place.topics.create, "news")
    made = [
        await place.commit(place.topics.subscribe, "news", "sqs", SCOPE.arn("sqs", f"q{number}"))
        for number in range(20)
    ]

    def park(tx: Tx) -> None:
        for subscription in made:
            reaction = place.reactions.get(tx, subscription.reaction_id)
            rows = [Parked(offset, tx.now_ms, 1, tx.now_ms, tx.now_ms, None) for offset in range(PIECE - 1)]
            place.reactions.settle(tx, reaction, Report(epoch=0, park=rows))

    await place.store.commit(park)
    place.removed.clear()
    await place.commit(place.topics.delete, "news")
    per_subscription = 5  # its own row, its endpoint's, and three of its reaction
    assert place.removed == [len(made) * per_subscription + 1]
    await place.sweep()
    assert max(place.removed[1:]) <= PIECE
    assert await place.rows() == {}


DAY_MS = 24 * 3600 * 1000


async def test_a_subscription_that_nobody_confirms_goes_after_two_days(place: Place) -> None:
    await place.commit(place.topics.create, "news")
    made = [
        await place.commit(place.topics.subscribe, "news", "email", f"reader{number}@example.com")
        for number in range(2 * PIECE + 10)
    ]
    confirmed, renewed = made[0], made[1]
    await place.commit(place.topics.confirm, confirmed.token)
    place.clock.ms += DAY_MS
    renewed = await place.commit(place.topics.subscribe, "news", "email", renewed.endpoint)
    place.clock.ms += DAY_MS
    await place.sweep()  # at two days to the millisecond it is still good
    assert await place.view(place.topics.counts, "news") == (1, len(made) - 1)
    place.clock.ms += 1
    place.removed.clear()
    await place.sweep()
    assert max(place.removed) <= 3 * PIECE and len(place.removed) >= 3
    assert [one.id for one in await place.view(lambda view: list(place.topics.subscriptions(view)))] == sorted(
        [confirmed.id, renewed.id]
    )
    topic = await place.view(place.topics.get, "news")
    assert topic.subscriptions == 2 and topic.deleted == 0
    assert await place.rows("subscription_tokens", "subscription_endpoints", "reactions_by_log") == {
        "subscription_tokens": 2, "subscription_endpoints": 2, "reactions_by_log": 2,  # one of them the notices'
    }  # fmt: skip
    assert (await place.commit(place.topics.confirm, confirmed.token)).id == confirmed.id  # once more, as ever
    assert (await place.commit(place.topics.confirm, renewed.token)).confirmed
    with pytest.raises(Invalid, match="Invalid token"):
        await place.commit(place.topics.confirm, made[2].token)
    again = await place.commit(place.topics.subscribe, "news", "email", made[2].endpoint)
    assert again.id != made[2].id and not again.confirmed


async def test_a_token_that_restores_goes_after_two_days(place: Place) -> None:
    await place.commit(place.topics.create, "news")
    tokens = []
    for number in range(2):
        made = await place.commit(place.topics.subscribe, "news", "http", f"http://example.com/{number}")
        await place.commit(place.topics.confirm, made.token)
        await place.commit(place.topics.unsubscribe, "news", made.id, False)
        notices = await place.view(lambda view: view.read("topic-notices", 0, 100))
        tokens.append(notices[-1].value["token"])
    restored = await place.commit(place.topics.confirm, tokens[0])
    place.clock.ms += 2 * DAY_MS + 1
    await place.sweep()
    assert await place.rows("subscription_tokens") == {"subscription_tokens": 1}
    assert (await place.view(place.topics.subscription, "news", restored.id)).confirmed
    with pytest.raises(Invalid, match="Invalid token"):
        await place.commit(place.topics.confirm, tokens[1])


async def test_tokens_of_a_deleted_topic_go(place: Place) -> None:
    await place.commit(place.topics.create, "news")
    made = await place.commit(place.topics.subscribe, "news", "http", "http://example.com/")
    await place.commit(place.topics.confirm, made.token)
    await place.commit(place.topics.unsubscribe, "news", made.id, False)
    await place.commit(place.topics.delete, "news")
    place.clock.ms += 2 * DAY_MS + 1
    await place.sweep()
    assert await place.rows("subscription_tokens") == {}


async def test_the_keeper_works_as_soon_as_something_is_left(place: Place) -> None:
    keeper = asyncio.create_task(TopicKeeper(place.store, place.topics, place.wakeups).run())
    await asyncio.sleep(0)
    try:
        await place.commit(place.topics.create, "big.fifo", {"FifoTopic": "true"})
        await fill(place, "big.fifo", 3 * PIECE)
        await place.commit(place.topics.delete, "big.fifo")

        async def done() -> bool:
            return not await place.rows("topic_deduplication", "topic_remains")

        await until(done)
    finally:
        keeper.cancel()
