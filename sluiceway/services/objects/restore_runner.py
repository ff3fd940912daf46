"""The task that completes restores, and lets restored copies go, when their time has come.

It is a task beside the one for lifecycle rules, as a run of those through a large bucket may take minutes.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from typing import Final

from sluiceway.config import ObjectSettings
from sluiceway.core.clock import Clock, new_token
from sluiceway.core.store import Store
from sluiceway.core.wakeups import Wakeups
from sluiceway.errors import Throttled, Unavailable
from sluiceway.services.objects.restoring import WAKE, Restoring
from sluiceway.services.objects.values import Actor

log = logging.getLogger(__name__)

_SERVICE: Final = "s3.amazonaws.com"  # who acts, in events
_AGAIN_S: Final = 5.0


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
        while True:
            woken = self._wakeups.expect(WAKE)
            try:
                idle_s = await self._pass()
                await asyncio.wait([woken], timeout=idle_s)
            finally:
                woken.cancel()

    async def _pass(self) -> float:
        """Do what is due; for how many seconds there is nothing more, should nobody ask."""
        try:
            while True:
                next_ms = await self._store.view(self._restoring.next_ms)
                wait_s = self._limits.lifecycle_s
                if next_ms is not None:
                    wait_s = min(wait_s, (next_ms - self._clock.now_ms()) / 1000)
                if wait_s > 0:
                    return wait_s
                actor = Actor(_SERVICE, "", _SERVICE, secrets.token_hex(8).upper(), new_token(24))
                await self._store.commit(self._restoring.carry_out, self._limits.lifecycle_batch, actor)
        except (Throttled, Unavailable) as error:
            log.warning("restores are not carried out for now: %s", error.message)
            return _AGAIN_S
