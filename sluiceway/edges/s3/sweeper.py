"""Takes the bytes of deleted and overwritten objects from disk, after the commit that let go of them."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter

from sluiceway.core.blobs import Blobs
from sluiceway.core.store import Store
from sluiceway.core.wakeups import Wakeups
from sluiceway.errors import Unavailable
from sluiceway.services.objects import garbage

log = logging.getLogger(__name__)

#: Seconds until blobs that were being read are tried again, and those that the disk would not delete.
_READ_AGAIN_S = 1.0
_FAILED_AGAIN_S = 5.0


class BlobSweeper:
    """``pins`` are the readers of each blob; what is being read stays until the next round."""

    def __init__(self, store: Store, blobs: Blobs, wakeups: Wakeups, pins: Counter[str], batch: int) -> None:
        self._store = store
        self._blobs = blobs
        self._wakeups = wakeups
        self._pins = pins
        self._batch = batch

    async def run(self) -> None:
        """Sweep until cancelled."""
        while True:
            woken = self._wakeups.expect(garbage.GARBAGE)
            try:
                again_s = _READ_AGAIN_S if await self.sweep() else None
            except Unavailable as error:
                log.warning("deleted blobs stay on disk for now: %s", error.message)
                again_s = _FAILED_AGAIN_S
            try:
                await asyncio.wait_for(woken, again_s)
            except TimeoutError:
                continue

    async def sweep(self) -> bool:
        """Delete all that waits and is not being read; whether something is left."""
        while True:
            limit = self._batch + len(self._pins)
            found = await self._store.view(garbage.waiting, limit)
            free: list[str] = []
            for blob in found:
                if blob not in self._pins:  # asked for each, as a reader may come while others are deleted
                    await self._blobs.delete(blob)
                    free.append(blob)
            if free:
                await self._store.commit(garbage.forget, free)
            if len(found) < limit:
                return len(free) < len(found)
