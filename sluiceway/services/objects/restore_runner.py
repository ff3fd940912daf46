"""The task that completes restores, and lets restored copies go, when their time has come.

It is a task beside the one for lifecycle rules, as a run of those through a large bucket may take minutes.
"""

from __future__ import annotations

from sluiceway.config import ObjectSettings
from sluiceway.core.clock import Clock
from sluiceway.core.store import Store
from sluiceway.core.wakeups import Wakeups
from sluiceway.services.objects.restoring import WAKE, Restoring
from sluiceway.services.objects.values import server_actor
from sluiceway.services.tending import tend


class RestoreRunner:
    """``run`` it for as long as the server runs."""

    def __init__(
        self, store: Store, restoring: Restoring, wakeups: Wakeups, clock: Clock, limits: ObjectSettings
    ) -> None:
        self._store = store
        self._restoring = restoring
        self._wakeups = wakeups
        self._clock = clock
        self._limits = limits

    async def run(self) -> None:
        """Until cancelled."""
        await tend(self._wakeups, WAKE, self._pass, "restores are not carried out")

    async def _pass(self) -> float:
        """Do what is due; for how many seconds there is nothing more, should nobody ask."""
        while True:
            next_ms = await self._store.view(self._restoring.next_ms)
            wait_s = self._limits.lifecycle_s
            if next_ms is not None:
                wait_s = min(wait_s, (next_ms - self._clock.now_ms()) / 1000)
            if wait_s > 0:
                return wait_s
            await self._store.commit(self._restoring.carry_out, self._limits.lifecycle_batch, server_actor())
