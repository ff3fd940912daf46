"""The task that carries out lifecycle rules.

Everything that rules say is due at a midnight UTC, so it looks at each bucket once a day, and at once after a change
of its rules and after a start. It does so in small pieces, so that others get their turn.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from sluiceway.config import ObjectSettings
from sluiceway.core.clock import Clock
from sluiceway.core.store import Store
from sluiceway.core.wakeups import Wakeups
from sluiceway.errors import Throttled, Unavailable
from sluiceway.services.objects.lifecycle.evaluation import DAY_MS, midnight
from sluiceway.services.objects.lifecycle.looking import Work, buckets_with_rules, look
from sluiceway.services.objects.lifecycle.service import WAKE, Lifecycle
from sluiceway.services.objects.values import server_actor
from sluiceway.services.tending import AGAIN_S, tend

log = logging.getLogger(__name__)

#: Seconds between two looks, which take about as long: half a core at most, and that for a moment a day.
_PAUSE_S: Final = 0.005
#: Looks without a find after which the position is kept anyway, so that a restart repeats little.
_LOOKS_MAX: Final = 40


class LifecycleRunner:
    """``run`` it for as long as the server runs."""

    def __init__(
        self, store: Store, lifecycle: Lifecycle, wakeups: Wakeups, clock: Clock, limits: ObjectSettings
    ) -> None:
        self._store = store
        self._lifecycle = lifecycle
        self._wakeups = wakeups
        self._clock = clock
        self._limits = limits

    async def run(self) -> None:
        """Until cancelled."""
        await tend(self._wakeups, WAKE, self._pass, "lifecycle rules are not carried out")

    async def _pass(self) -> float:
        return self._idle_s() if await self.pass_over() else AGAIN_S

    async def pass_over(self) -> bool:
        """Do all that is due in every bucket; whether that worked."""
        ended = True
        for bucket in await self._store.view(buckets_with_rules):
            try:
                await self._bucket(bucket)
            except (Throttled, Unavailable) as error:
                log.warning("the lifecycle rules of %s are not carried out for now: %s", bucket, error.message)
                ended = False
            except Exception:
                # One bucket must not keep the others from theirs; it is tried again.
                log.exception("the lifecycle rules of %s could not be carried out", bucket)
                ended = False
        return ended

    async def _bucket(self, bucket: str) -> None:
        while True:
            work = await self._look(bucket)
            if work is None:
                return
            await self._store.commit(self._lifecycle.carry_out, work, server_actor())
            await asyncio.sleep(_PAUSE_S)

    async def _look(self, bucket: str) -> Work | None:
        """What is due next in the bucket, or only how far it was looked at; None at the end."""
        work: Work | None = None
        for _ in range(_LOOKS_MAX):
            limits = self._limits
            found = await self._store.view(look, bucket, work, limits.lifecycle_rows_max, limits.lifecycle_batch)
            if found is None:
                return None
            work = found
            if work.due or work.next.phase == "done":
                break
            await asyncio.sleep(_PAUSE_S)
        return work

    def _idle_s(self) -> float:
        """Until the next midnight, or sooner, should the clock be set or a wake-up be lost."""
        now_ms = self._clock.now_ms()
        return min(self._limits.lifecycle_s, (midnight(now_ms) + DAY_MS - now_ms) / 1000 + 0.1)
