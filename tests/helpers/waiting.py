"""Waiting within an event loop: for what comes of its own accord (``helpers.server.eventually`` is the same outside), and
for time."""

from __future__ import annotations

import asyncio
import functools
import selectors
from collections.abc import Callable, Coroutine
from typing import Any

#: Far more than anything takes: a machine may be slow, and only a test that fails waits for so long.
PATIENCE_S = 30.0


async def until(check: Callable[[], Any], seconds: float = PATIENCE_S) -> Any:
    """What ``check()`` (maybe awaitable) gives once it is true."""
    ends = asyncio.get_running_loop().time() + seconds
    while True:
        found = check()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return found
        assert asyncio.get_running_loop().time() < ends, f"it did not happen within {seconds} s; last: {found!r}"
        await asyncio.sleep(0.005)


class _Leaping(selectors.SelectSelector):
    """Waits for nothing: where a loop would sleep, its time leaps."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        found = super().select(0)
        if not found and timeout is not None:
            self.now += timeout
        return found


class _LeapingLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._leaping = _Leaping()
        super().__init__(self._leaping)

    def time(self) -> float:
        return self._leaping.now


def in_no_time(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """A test of time limits in a loop whose time leaps from timer to timer: exact, however slow the machine is. What it
    waits for must be timers only, no thread and no other process."""

    @functools.wraps(test)
    def run() -> None:
        with asyncio.Runner(loop_factory=_LeapingLoop) as runner:
            runner.run(test())

    return run
