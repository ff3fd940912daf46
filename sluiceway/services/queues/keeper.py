"""Background work on queues: what is too old, what is due, what was purged, and move tasks."""

from __future__ import annotations

import asyncio
from typing import Final

from sluiceway.core.store import Store, Tx, View
from sluiceway.core.wakeups import Wakeups
from sluiceway.errors import NotFound
from sluiceway.services.queues.definitions import WORK
from sluiceway.services.queues.memory import MEMORY_ORDER, forget
from sluiceway.services.queues.moves import MOVE_WORK, Moves
from sluiceway.services.queues.service import Queues
from sluiceway.services.queues.shelf import counters
from sluiceway.services.queues.states import DISCARDED
from sluiceway.services.queues.values import Queue
from sluiceway.services.tending import tend

_PAGE: Final = 100  # queues looked at in one go: about a millisecond
_TICK_S: Final = 0.1  # between the steps of a move task


class QueueKeeper:
    """Looks at every queue now and then, and carries out what its attributes say; a bounded piece at a time."""

    def __init__(self, store: Store, queues: Queues, wakeups: Wakeups) -> None:
        self._store = store
        self._queues = queues
        self._wakeups = wakeups
        self._piece = queues.limits.sweep_max

    async def run(self) -> None:
        """Until cancelled."""
        await tend(self._wakeups, WORK, self.sweep, "old messages stay")

    async def sweep(self) -> float:
        """Once through all queues; seconds until the next time."""
        while await self._store.view(_discarded):
            await self._store.commit(self._clear)
        after: str | None = ""
        while after is not None:
            names, after = await self._store.view(self._busy, after)
            for name in names:
                more = True
                while more:
                    more = await self._store.commit(self._tidy, name)
            await asyncio.sleep(0)
        return self._queues.limits.sweep_s

    def _busy(self, view: View, after: str) -> tuple[list[str], str | None]:
        """The queues among the next ones that hold or remember something, and where to go on."""
        page: list[Queue] = []
        for queue in self._queues.all(view, after=after):
            page.append(queue)
            if len(page) == _PAGE:
                break
        busy = [
            queue.name
            for queue in page
            if any(counters(view, queue)[:3]) or any(view.scan(MEMORY_ORDER, prefix=(queue.id,), limit=1))
        ]
        return busy, page[-1].name if len(page) == _PAGE else None

    def _tidy(self, tx: Tx, name: str) -> bool:
        """A piece of one queue's work; whether there may be more."""
        try:
            queue = self._queues.get(tx, name)
        except NotFound:
            return False
        shelf = self._queues.shelf(tx, queue)
        done = [shelf.give_back(self._piece), shelf.expire(self._piece), forget(tx, queue, self._piece)]
        shelf.close()
        if done[0]:
            tx.on_commit(f"queue/{name}")
        return max(done) >= self._piece

    def _clear(self, tx: Tx) -> None:
        """Remove rows that a purge or a deletion left behind."""
        left = self._piece
        for key, _ in list(tx.scan(DISCARDED, limit=_PAGE)):
            table, owner = str(key[0]), key[1]
            rows = [row for row, _ in tx.scan(table, prefix=(owner,), limit=left)]
            for row in rows:
                tx.delete(table, row)
            left -= len(rows)
            if left <= 0:
                return
            tx.delete(DISCARDED, key)


class QueueMover:
    """Carries out move tasks at their rates."""

    def __init__(self, store: Store, moves: Moves, wakeups: Wakeups) -> None:
        self._store = store
        self._moves = moves
        self._wakeups = wakeups
        self._credit: dict[str, float] = {}  # how many messages each task may move by now

    async def run(self) -> None:
        """Until cancelled; without tasks it waits for one."""
        await tend(self._wakeups, MOVE_WORK, self._turn, "messages are not moved")

    async def _turn(self) -> float | None:
        tasks = await self._store.view(self._moves.active)
        left: dict[str, float] = {}
        for task, rate in tasks:
            now = min(self._credit.get(task, 1.0) + rate * _TICK_S, float(rate))
            count = int(now)
            if count:
                await self._store.commit(self._moves.step, task, count)
            left[task] = now - count
        self._credit = left
        return _TICK_S if tasks else None


def _discarded(view: View) -> bool:
    return any(view.scan(DISCARDED, limit=1))
