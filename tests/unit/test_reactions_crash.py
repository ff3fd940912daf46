"""SIGKILL in the middle of deliveries: nothing is lost, and delivery into the store is exactly once."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from sluiceway.config import ReactionSettings, StoreSettings
from sluiceway.core.clock import SystemClock
from sluiceway.core.reaction import Reaction, Target
from sluiceway.core.store import Entry, Tx, View
from sluiceway.core.wakeups import Wakeups
from sluiceway.engines.sqlite.store import SqliteStore, open_store
from sluiceway.errors import AlreadyExists
from sluiceway.reactions.dispatcher import Dispatcher
from sluiceway.reactions.target import Attempt, Delivered, DeliveryFailed, InStoreTarget, OutwardTarget
from sluiceway.services.reactions import Reactions

ROUNDS = 4


class Copy(InStoreTarget):
    """Appends to another log."""

    def deliver(self, tx: Tx, reaction: Reaction, entry: Entry) -> None:
        tx.append("copy", entry.value)


class Outside(OutwardTarget):
    """Writes to a file; fails now and then."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._chance = random.Random(7)

    async def deliver(self, reaction: Reaction, entries: Sequence[Entry], attempt: Attempt) -> Delivered | None:
        await asyncio.sleep(self._chance.random() / 500)
        if self._chance.random() < 0.1:
            raise DeliveryFailed("now and then", retry_after_ms=20)
        with self._path.open("a") as file:
            file.write("".join(f"{entry.value}\n" for entry in entries))
        return None


def _emit(tx: Tx) -> int:
    offset = tx.bounds("events").next
    return tx.append("events", offset)


async def _open(folder: Path) -> tuple[SqliteStore, Dispatcher, Reactions]:
    wakeups, limits, clock = Wakeups(), ReactionSettings(), SystemClock()
    store = await open_store(folder / "store.db", StoreSettings(), clock, wakeups)
    reactions = Reactions(limits)
    for name, kind in (("inside", "copy"), ("outside", "outside")):
        try:
            await store.commit(reactions.create, Reaction(name, "events", Target(kind, "x")), 0)
        except AlreadyExists:
            continue
    targets = {"copy": Copy(), "outside": Outside(folder / "outside.txt")}
    dispatcher = Dispatcher(store, wakeups, reactions, targets, limits, clock)
    await dispatcher.start()
    return store, dispatcher, reactions


async def _victim(folder: Path) -> None:
    """Emits until it is killed, and prints what was acknowledged."""
    store, _, _ = await _open(folder)

    async def emitter() -> None:
        while True:
            print(await store.commit(_emit), flush=True)

    await asyncio.gather(*(emitter() for _ in range(8)))


def _copied(view: View) -> list[int]:
    return [entry.value for entry in view.read("copy", 0, 1_000_000)]


async def test_kill_minus_nine_loses_nothing(tmp_path: Path) -> None:
    chance = random.Random(42)
    acknowledged = -1
    for _ in range(ROUNDS):
        process = await asyncio.create_subprocess_exec(
            sys.executable, __file__, str(tmp_path), stdout=subprocess.PIPE, limit=1 << 20
        )
        assert process.stdout is not None
        await process.stdout.readline()
        await asyncio.sleep(0.2 + chance.random() * 0.4)
        process.send_signal(signal.SIGKILL)
        lines = (await process.stdout.read()).split(b"\n")[:-1]  # the last line may be half
        await process.wait()
        acknowledged = max([acknowledged, *map(int, lines)])
    store, dispatcher, reactions = await _open(tmp_path)
    end = asyncio.get_running_loop().time() + 60
    while True:
        inside = await store.view(reactions.status, "inside")
        outside = await store.view(reactions.status, "outside")
        if inside.lag == 0 and outside.lag == 0 and outside.position.parked == 0:
            break
        assert asyncio.get_running_loop().time() < end
        await asyncio.sleep(0.05)
    await dispatcher.stop(1.0)
    total = (await store.view(lambda view: view.bounds("events"))).next
    copied = await store.view(_copied)
    await store.close()
    assert acknowledged > 0 and total > acknowledged
    assert copied == list(range(total))  # exactly once, in order
    delivered = [int(line) for line in (tmp_path / "outside.txt").read_text().split()]
    assert set(delivered) == set(range(total))  # at least once
    assert len(delivered) - total <= ROUNDS * 30  # and repeated only what was under way or not yet recorded


if __name__ == "__main__":
    asyncio.run(_victim(Path(sys.argv[1])))
