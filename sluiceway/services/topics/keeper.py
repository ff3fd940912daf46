"""Background work on topics: what deleted ones left behind, and subscriptions that nobody confirmed."""

from __future__ import annotations

import asyncio

from sluiceway.core.store import Store
from sluiceway.core.wakeups import Wakeups
from sluiceway.services.tending import tend
from sluiceway.services.topics import clearing
from sluiceway.services.topics.service import Topics


class TopicKeeper:
    """Works when something was deleted, and now and then; a bounded piece in one transaction."""

    def __init__(self, store: Store, topics: Topics, wakeups: Wakeups) -> None:
        self._store = store
        self._topics = topics
        self._wakeups = wakeups

    async def run(self) -> None:
        """Until cancelled."""
        await tend(self._wakeups, clearing.WORK, self.sweep, "what is over stays")

    async def sweep(self) -> float:
        """All that there is to do now; seconds until the next time."""
        limits = self._topics.limits
        while await self._store.view(clearing.has_remains):
            await self._store.commit(clearing.clear, limits.sweep_max)
        after: str | None = ""
        while after is not None:
            over, after = await self._store.view(self._topics.overdue, after, limits.sweep_max)
            if over:
                await self._store.commit(self._topics.expire, over)
            await asyncio.sleep(0)
        return limits.sweep_s
