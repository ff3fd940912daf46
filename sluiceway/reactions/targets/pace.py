"""How fast one endpoint gets messages: ``throttlePolicy.maxReceivesPerSecond`` of a delivery policy."""

from __future__ import annotations

import asyncio
import time
from typing import Final

_KEPT_MAX: Final = 10_000  # endpoints whose next place in time is remembered


class Pace:
    """Places in time, one after the other, for each name."""

    def __init__(self) -> None:
        self._next: dict[str, float] = {}

    async def wait(self, name: str, per_second: float) -> None:
        """Return when it is ``name``'s turn again."""
        now = time.monotonic()
        if len(self._next) >= _KEPT_MAX:
            self._next = {name: at for name, at in self._next.items() if at > now}
        at = max(now, self._next.get(name, 0.0))
        self._next[name] = at + 1.0 / per_second
        if at > now:
            await asyncio.sleep(at - now)
