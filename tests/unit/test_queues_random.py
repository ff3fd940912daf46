"""The queue service against a simple model of SQS's rules: random operations, a clock of the test's own."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sluiceway.config import QueueSettings, StoreSettings
from sluiceway.core.identity import Scope
from sluiceway.core.wakeups import Wakeups
from sluiceway.engines.sqlite.store import SqliteStore, open_store
from sluiceway.errors import DomainError, Invalid, NotFound
from sluiceway.services.queues import QueueKeeper, Queues, Received

SCOPE = Scope("000000000000", "us-east-1")
START_MS = 1_700_000_000_000
RETENTION_S, LONG_S = 600, 1_209_600
MOST = 3  # receptions


class Hand:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.ms = START_MS

    def now_ms(self) -> int:
        return self.ms


@dataclass
class Kept:
    """A message as the model knows it."""

    id: str
    group: str
    sent_ms: int
    visible_ms: int
    number: int
    receives: int = 0
    handle: str = ""
    taken_ms: int = 0

    @property
    def loaned(self) -> bool:
        return self.handle != ""


@dataclass
class Model:
    """What a queue must hold. ``fifo`` says by which rules."""

    fifo: bool
    retention_s: int
    messages: dict[str, Kept] = field(default_factory=dict)
    dead: list[str] = field(default_factory=list)

    def live(self, now: int) -> list[Kept]:
        return [one for one in self.messages.values() if one.sent_ms + self.retention_s * 1000 > now]

    def hidden(self, one: Kept, now: int) -> bool:
        return one.visible_ms > now

    def visible(self, now: int) -> list[Kept]:
        """What may be received now, in order where there is one."""
        live = self.live(now)
        busy = {one.group for one in self.messages.values() if one.loaned and self.hidden(one, now)}
        return [one for one in live if not self.hidden(one, now) and not (self.fifo and one.group in busy)]

    def due_in_order(self, now: int, count: int) -> tuple[list[str], list[str]]:
        """A FIFO queue's answer to a receive: taken, and dead-lettered on the way."""
        taken: list[str] = []
        dead: list[str] = []
        ready = self.visible(now)
        heads = sorted({one.group for one in ready}, key=lambda g: min(m.number for m in ready if m.group == g))
        for group in heads:
            for one in sorted((m for m in ready if m.group == group), key=lambda m: m.number):
                if len(taken) == count:
                    return taken, dead
                if one.receives >= MOST:
                    dead.append(one.id)
                else:
                    taken.append(one.id)
        return taken, dead


class Play:
    """Random operations on a queue and its model."""

    def __init__(self, store: SqliteStore, queues: Queues, clock: Hand, fifo: bool, seed: int) -> None:
        self.store, self.queues, self.clock = store, queues, clock
        self.random = random.Random(seed)
        self.name, self.letters = ("q.fifo", "dead.fifo") if fifo else ("q", "dead")
        self.model = Model(fifo, RETENTION_S if seed % 2 else LONG_S)
        self.numbers = 0
        self.old_handles: list[str] = []

    async def prepare(self) -> None:
        common = {"FifoQueue": "true", "ContentBasedDeduplication": "true"} if self.model.fifo else {}
        await self.store.commit(self.queues.create, self.letters, common, {})
        arn = self.queues.arn(self.letters)
        redrive = f'{{"deadLetterTargetArn": "{arn}", "maxReceiveCount": {MOST}}}'
        kept = {"MessageRetentionPeriod": str(self.model.retention_s), "RedrivePolicy": redrive}
        await self.store.commit(self.queues.create, self.name, common | kept, {})

    async def step(self) -> None:
        steps: list[tuple[int, Callable[[], Any]]] = [
            (6, self.send), (6, self.receive), (4, self.delete), (2, self.change), (1, self.stale), (2, self.wait),
            (1, self.sweep),
        ]  # fmt: skip
        await self.random.choices([step for _, step in steps], [weight for weight, _ in steps])[0]()
        await self.check_counts()

    async def send(self) -> None:
        self.numbers += 1
        body = f"{self.numbers}" + "x" * self.random.choice([0, 0, 0, 5000])
        group = self.random.choice("abc") if self.model.fifo else ""
        delay = 0 if self.model.fifo else self.random.choice([0, 0, 0, 5, 60])
        sent = await self.store.commit(self.queues.send, self.name, body, group_id=group or None, delay_s=delay or None)
        now = self.clock.ms
        self.model.messages[sent.message_id] = Kept(sent.message_id, group, now, now + delay * 1000, self.numbers)

    async def receive(self) -> None:
        now, count, hidden_s = self.clock.ms, self.random.randint(1, 10), self.random.choice([0, 1, 30, 100])
        expected, dead = self.model.due_in_order(now, count)
        visible = {one.id: one for one in self.model.visible(now)}
        got = await self.store.commit(self.queues.receive, self.name, count, hidden_s)
        ids = [one.message_id for one in got]
        assert len(set(ids)) == len(ids)
        alive = [one for one in visible.values() if one.receives < MOST]
        gone = await self.dead_since()
        assert set(ids) <= {one.id for one in alive}
        assert set(gone) <= {one.id for one in visible.values() if one.receives >= MOST}
        if self.model.fifo and not dead and self.model.retention_s == LONG_S:
            assert ids == expected
        elif self.model.fifo:  # which groups fill up the place of what was in the way is open, their order is not
            self.check_order(visible, {*ids, *gone})
        elif len(visible) - len(alive) < 16:  # no more than are looked at on the way
            assert len(ids) == min(count, len(alive))
        for one in gone:
            del self.model.messages[one]
            self.model.dead.append(one)
        self.model.messages = {one.id: one for one in self.model.messages.values() if self.is_there(one)}
        for one in got:
            self.loaned(one, now, hidden_s)

    def check_order(self, visible: dict[str, Kept], left: set[str]) -> None:
        """What has left each group is its beginning."""
        for group in {one.group for one in visible.values()}:
            line = sorted((one for one in visible.values() if one.group == group), key=lambda one: one.number)
            stays = [one.id not in left for one in line]
            assert stays == sorted(stays), group

    def is_there(self, one: Kept) -> bool:
        """Messages that are too old stay known to the model only while they are loaned: their handle works."""
        return one in self.model.live(self.clock.ms) or (one.loaned and self.model.hidden(one, self.clock.ms))

    async def dead_since(self) -> list[str]:
        rows = await self.store.view(lambda view: [row["id"] for _, row in view.scan("queue_messages")])
        return [one for one in self.model.messages if one in rows and one not in await self.here()]

    async def here(self) -> set[str]:
        shelf = (await self.store.view(self.queues.get, self.name)).shelf
        return await self.store.view(
            lambda view: {row["id"] for _, row in view.scan("queue_messages", prefix=(shelf,))}
        )

    def loaned(self, got: Received, now: int, hidden_s: int) -> None:
        kept = self.model.messages[got.message_id]
        if kept.handle:
            self.old_handles.append(kept.handle)
        kept.receives += 1
        kept.handle, kept.taken_ms, kept.visible_ms = got.receipt_handle, now, now + hidden_s * 1000
        assert got.system["ApproximateReceiveCount"] == str(kept.receives)
        assert got.system["SentTimestamp"] == str(kept.sent_ms)
        assert got.body.startswith(str(kept.number))

    async def delete(self) -> None:
        now = self.clock.ms
        loaned = [one for one in self.model.live(now) if one.loaned]
        if not loaned:
            return
        one = self.random.choice(loaned)
        if self.model.fifo and not self.model.hidden(one, now):
            with pytest.raises(Invalid) as refused:
                await self.store.commit(self.queues.delete, self.name, one.handle)
            assert refused.value.kind == "receipt_expired"
            return
        await self.store.commit(self.queues.delete, self.name, one.handle)
        assert one.id not in await self.here()
        del self.model.messages[one.id]

    async def stale(self) -> None:
        """An older reception's handle does nothing, or is refused."""
        if not self.old_handles:
            return
        before = await self.here()
        handle = self.random.choice(self.old_handles)
        try:
            await self.store.commit(self.queues.delete, self.name, handle)
        except Invalid as error:
            assert self.model.fifo and error.kind == "receipt_expired"
        with pytest.raises((Invalid, NotFound)):
            await self.store.commit(self.queues.change_visibility, self.name, handle, 10)
        assert await self.here() == before

    async def change(self) -> None:
        now, seconds = self.clock.ms, self.random.choice([0, 1, 50, 43_200])
        loaned = [one for one in self.model.live(now) if one.loaned]
        if not loaned:
            return
        one = self.random.choice(loaned)
        allowed = self.model.hidden(one, now) and now + seconds * 1000 <= one.taken_ms + 43_200_000
        try:
            await self.store.commit(self.queues.change_visibility, self.name, one.handle, seconds)
        except DomainError:
            assert not allowed
        else:
            assert allowed
            one.visible_ms = now + seconds * 1000

    async def wait(self) -> None:
        self.clock.ms += self.random.choice([1, 900, 5_000, 31_000, 100_000])

    async def sweep(self) -> None:
        """What the keeper does at times changes nothing that can be seen."""
        await QueueKeeper(self.store, self.queues, Wakeups()).sweep()

    async def check_counts(self) -> None:
        now = self.clock.ms
        visible, taken, delayed = await self.store.view(self.queues.counts, self.name)
        live = [one for one in self.model.messages.values() if self.is_there(one)]
        hidden = [one for one in live if self.model.hidden(one, now)]
        assert taken == sum(1 for one in hidden if one.loaned)
        assert delayed == sum(1 for one in hidden if not one.loaned)
        assert visible >= len(live) - len(hidden)  # what is too old is counted until it is swept
        due = await self.store.view(self.queues.next_visible_ms, self.name)
        if self.model.visible(now):
            assert due is not None and due <= now


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("fifo", [False, True], ids=["standard", "fifo"])
def test_random_operations_do_what_the_model_says(tmp_path: Path, fifo: bool, seed: int) -> None:
    async def play() -> None:
        clock = Hand()
        store = await open_store(tmp_path / "store.db", StoreSettings(), clock, Wakeups())
        game = Play(store, Queues(SCOPE, QueueSettings()), clock, fifo, seed)
        await game.prepare()
        for _ in range(400):
            await game.step()
        clock.ms += 2 * game.model.retention_s * 1000 + 43_300_000
        await game.sweep()
        await game.sweep()
        assert await game.here() == set()
        assert await store.view(game.queues.counts, game.name) == (0, 0, 0)
        letters = await store.view(game.queues.get, game.letters)
        await store.view(lambda view: _nothing_but(view, letters.shelf))
        await store.close()

    asyncio.run(play())


def _nothing_but(view: Any, shelf: int) -> None:
    """Empty queues leave no rows behind; dead letters are kept by their own queue's rules."""
    for table in ("queue_messages", "queue_bodies", "queue_changed", "queue_groups", "queue_ready"):
        assert [key for key, _ in view.scan(table) if key[0] != shelf] == []
    assert list(view.scan("queue_memory")) == list(view.scan("queue_memory_order")) == []
