"""Runs the mappings of queues: one reader for each, which waits without polling while its queue is empty."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from sluiceway.config import MappingSettings
from sluiceway.core.invoker import Invoker
from sluiceway.core.store import Store, View
from sluiceway.core.wakeups import Wakeups
from sluiceway.reactions.sources.reader import Desk, MayRead, QueueReader
from sluiceway.services.mappings import Mappings, SourceMapping
from sluiceway.services.mappings.values import CHANGED
from sluiceway.services.queues import Queues

log = logging.getLogger(__name__)


class QueuePoller:
    """``run`` until ``stop``."""

    def __init__(
        self,
        store: Store,
        queues: Queues,
        wakeups: Wakeups,
        mappings: Mappings,
        invoker: Invoker,
        may_read: MayRead,
        limits: MappingSettings,
    ) -> None:
        room = asyncio.Semaphore(limits.in_flight_max)
        self._desk = Desk(store, queues, wakeups, mappings, invoker, may_read, limits, room)
        self._readers: dict[str, QueueReader] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopped = asyncio.Event()

    async def run(self) -> None:
        """Keep a reader for every enabled mapping of a queue."""
        while not self._stopped.is_set():
            woken = self._desk.wakeups.expect(CHANGED)
            stop: asyncio.Future[Any] = asyncio.ensure_future(self._stopped.wait())
            pause_s = self._desk.limits.idle_s
            try:
                self._fit(await self._desk.store.view(self._wanted))
            except Exception:
                log.exception("the mappings of queues can't be read; they are looked at again")
                pause_s = self._desk.limits.recover_s
            try:
                await asyncio.wait([woken, stop], timeout=pause_s, return_when=asyncio.FIRST_COMPLETED)
            finally:
                woken.cancel()
                stop.cancel()

    async def stop(self, grace_s: float) -> None:
        """Take nothing more; batches under way have ``grace_s`` seconds. Messages of what is cut off come back."""
        self._stopped.set()
        for reader in self._readers.values():
            reader.stop()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=grace_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _wanted(self, view: View) -> dict[str, SourceMapping]:
        return {one.id: one for one in self._desk.mappings.all(view) if one.kind == "sqs" and one.enabled}

    def _fit(self, wanted: dict[str, SourceMapping]) -> None:
        """Stop readers of what changed or went, and start those that are missing."""
        if self._stopped.is_set():
            return
        for mapping_id, reader in list(self._readers.items()):
            if wanted.get(mapping_id) != reader.mapping:
                reader.stop()
                del self._readers[mapping_id]
        for mapping_id, mapping in wanted.items():
            if mapping_id not in self._readers:
                reader = QueueReader(mapping, self._desk)
                self._readers[mapping_id] = reader
                task = asyncio.create_task(reader.run())
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
