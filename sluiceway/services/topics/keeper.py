"""Background work on topics: what deleted ones left behind, and subscriptions that nobody confirmed."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from sluiceway.core.store import Store
from sluiceway.core.wakeups import Wakeups
from sluiceway.errors import Throttled, Unavailable
from sluiceway.services.topics import clearing
from sluiceway.services.topics.service import Topics

log = logging.getLogger(__name__)

_AGAIN_S: Final = 5.0  # after the store refused


class TopicKeeper:
    """Works when something was deleted, and now and then; a bounded piece in one transaction."""

    def __init__(self, store: Store, topics: Topics, wakeups: Wakeups) -> None:
        self._store = store
        self._topics = topics
        self._wakeups = wakeups

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            woken = self._wakeups.expect(clearing.WORK)
            try:
                await self.sweep()
                await asyncio.wait([woken], timeout=self._topics.limits.sweep_s)
            except (Throttled, Unavailable) as error:
                log.warning("what is over stays for now: %s", error.message)
                await asyncio.sleep(_AGAIN_S)
            finally:
                woken.cancel()

    async def sweep(self) -> None:
        """All that there is to do now."""
        limits = self._topics.limits
        while await self._store.view(clearing.has_remains):
            await self._store.commit(clearing.clear, limits.sweep_max)
        after: str | None = ""
        while after is not None:
            over, after = await self._store.view(self._topics.overdue, after, limits.sweep_max)
            if over:
                await self._store.commit(self._topics.expire, over)
            await asyncio.sleep(0)
