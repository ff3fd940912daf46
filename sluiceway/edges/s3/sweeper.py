"""Takes the bytes of deleted and overwritten objects from disk, after the commit that let go of them."""

from __future__ import annotations

from collections import Counter

from sluiceway.core.blobs import Blobs
from sluiceway.core.store import Store
from sluiceway.core.wakeups import Wakeups
from sluiceway.services.objects import garbage
from sluiceway.services.tending import tend

_READ_AGAIN_S = 1.0  # until blobs that were being read are tried again


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
        await tend(self._wakeups, garbage.GARBAGE, self._pass, "deleted blobs stay on disk")

    async def _pass(self) -> float | None:
        return _READ_AGAIN_S if await self.sweep() else None

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
