"""A dispatcher over the embedded store, with targets that do what a test wants and a clock that it moves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sluiceway.config import ReactionSettings, StoreSettings
from sluiceway.core.reaction import Reaction, RetryPolicy, Target
from sluiceway.core.store import Entry, Tx, View
from sluiceway.core.wakeups import Wakeups
from sluiceway.engines.sqlite.store import SqliteStore, open_store
from sluiceway.reactions.dispatcher import Dispatcher
from sluiceway.reactions.target import Attempt, Delivered, InStoreTarget, OutwardTarget
from sluiceway.services.reactions import Reactions

START_MS = 1_700_000_000_000
STEADY = RetryPolicy(tries_max=3, delays_ms=(1000, 2000), jitter=0.0)


class FakeClock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.ms = START_MS

    def now_ms(self) -> int:
        return self.ms


@dataclass
class Sink(OutwardTarget):
    """Records deliveries; ``behave`` may raise, wait, or answer."""

    behave: Callable[[Reaction, Sequence[Entry], Attempt], Any] | None = None
    got: list[Any] = field(default_factory=list)
    batches: list[list[Any]] = field(default_factory=list)
    tries: list[int] = field(default_factory=list)

    async def deliver(self, reaction: Reaction, entries: Sequence[Entry], attempt: Attempt) -> Delivered | None:
        self.tries.append(attempt.tries)
        result = None
        if self.behave is not None:
            result = self.behave(reaction, entries, attempt)
            if asyncio.iscoroutine(result):
                result = await result
        self.got.extend(entry.value for entry in entries)
        self.batches.append([entry.value for entry in entries])
        return result


class Counting(InStoreTarget):
    """Appends to the log "out" in the transaction of the cursor."""

    def __init__(self, refuse: Callable[[Any], None] = lambda value: None) -> None:
        self.refuse = refuse

    def deliver(self, tx: Tx, reaction: Reaction, entry: Entry) -> None:
        self.refuse(entry.value)
        tx.append(f"out/{reaction.id}", entry.value)


@dataclass
class Bench:
    """A store and a dispatcher over it."""

    store: SqliteStore
    clock: FakeClock
    wakeups: Wakeups
    reactions: Reactions
    limits: ReactionSettings
    targets: dict[str, InStoreTarget | OutwardTarget] = field(default_factory=dict)
    dispatcher: Dispatcher | None = None

    async def start(self) -> None:
        self.dispatcher = Dispatcher(self.store, self.wakeups, self.reactions, self.targets, self.limits, self.clock)
        await self.dispatcher.start()

    async def stop(self) -> None:
        if self.dispatcher is not None:
            await self.dispatcher.stop(0.2)
            self.dispatcher = None

    async def react(self, name: str, kind: str = "sink", log: str = "events", **more: Any) -> None:
        await self.store.commit(self.reactions.create, Reaction(name, log, Target(kind, "x"), **more))

    async def emit(self, *values: Any, log: str = "events") -> None:
        def append(tx: Tx) -> None:
            for value in values:
                tx.append(log, value)

        await self.store.commit(append)

    async def move(self, ms: int) -> None:
        assert self.dispatcher is not None
        self.clock.ms += ms
        self.dispatcher.poke()
        await asyncio.sleep(0)

    async def status(self, name: str) -> Any:
        return await self.store.view(self.reactions.status, name)

    async def out(self, name: str) -> list[Any]:
        def read(view: View) -> list[Any]:
            return [entry.value for entry in view.read(f"out/{name}", 0, 10_000)]

        return await self.store.view(read)


@asynccontextmanager
async def open_bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """A bench in a folder of its own."""
    clock, wakeups = FakeClock(), Wakeups()
    store = await open_store(tmp_path / "store.db", StoreSettings(), clock, wakeups)
    limits = ReactionSettings(recover_s=0.01)
    made = Bench(store, clock, wakeups, Reactions(limits), limits)
    made.targets["sink"] = Sink()
    yield made
    await made.stop()
    await store.close()
