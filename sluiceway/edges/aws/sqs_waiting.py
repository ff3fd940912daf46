"""Who waits for messages of a queue. However many do, one task looks at the queue when it was touched or something is
due, and calls as many of them as there are messages for: if all looked, a busy queue's pollers would be its load.

A poller is *waiting*, in the order of coming, until it is *called*; then it tries to receive. What it was called for is
never lost: when it has tried, or was cancelled, the queue is looked at again, and who is next is called for what is
left. If it got nothing (a receiver who did not wait was faster, or too much is in flight) it waits again, in front; and
unless something came meanwhile, nobody is called for a moment, so that pollers don't call each other in a circle.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from sluiceway.core.store import Store, View
from sluiceway.core.wakeups import Wakeups
from sluiceway.errors import DomainError
from sluiceway.services.queues import Queues, Received

log = logging.getLogger(__name__)

_CALM_S: Final = 1.0  # without calls after one that found nothing
_LEAST_S: Final = 0.001

Attempt = Callable[[], Awaitable[list[Received]]]


@dataclass(eq=False, slots=True)
class _Place:
    """One poller. ``turn`` is done when it is called, with what is wrong with the queue, if anything."""

    count: int  # messages it would take
    turn: asyncio.Future[DomainError | None]
    share: int = 0  # messages it was called for
    touched: int = 0  # the line's when it was called


@dataclass(eq=False, slots=True)
class _Line:
    """The pollers of one queue. ``poked`` is done when the queue is to be looked at again."""

    poked: asyncio.Future[None]
    places: int = 0
    waiting: OrderedDict[_Place, None] = field(default_factory=OrderedDict)
    called: int = 0  # messages for which pollers were called who have not tried yet
    touched: int = 0  # how often something came
    calm_until_s: float = 0.0
    task: asyncio.Task[None] | None = None

    def poke(self) -> None:
        """Something may have to be done."""
        if not self.poked.done():
            self.poked.set_result(None)

    def call(self, ready: int) -> None:
        """Call pollers for ``ready`` messages, but for those whose takers are on their way."""
        left = ready - self.called
        while left > 0 and self.waiting:
            place, _ = self.waiting.popitem(last=False)
            place.share, place.touched = min(place.count, left), self.touched
            left -= place.share
            self.called += place.share
            place.turn.set_result(None)

    def call_all(self, error: DomainError | None) -> None:
        """They look for themselves, or are told ``error``."""
        while self.waiting:
            self.waiting.popitem(last=False)[0].turn.set_result(error)

    def has_tried(self, place: _Place) -> None:
        """What ``place`` was called for is anybody's."""
        self.called -= place.share
        place.share = 0
        self.poke()

    def something_came(self) -> None:
        """Whoever was called before and finds nothing was too early."""
        self.touched += 1
        self.calm_until_s = 0.0


class SqsWaiting:
    """The lines of all queues."""

    def __init__(self, store: Store, queues: Queues, wakeups: Wakeups) -> None:
        self._store = store
        self._queues = queues
        self._wakeups = wakeups
        self._lines: dict[str, _Line] = {}

    async def take(self, name: str, count: int, wait_s: float, attempt: Attempt) -> list[Received]:
        """What ``attempt`` gets when there is something to receive from the queue; nothing after ``wait_s``.

        Raises ``NotFound("queue")`` if the queue is deleted, and what ``attempt`` raises.
        """
        loop = asyncio.get_running_loop()
        until_s = loop.time() + wait_s
        line = self._lines.get(name)
        if line is None:
            line = self._lines[name] = _Line(loop.create_future())
        line.places += 1
        place = _Place(1 if name.endswith(".fifo") else count, loop.create_future())
        try:
            self._stand(name, line, place)
            while not self._wakeups.ending:
                await asyncio.wait([place.turn], timeout=max(0.0, until_s - loop.time()))
                if not place.turn.done() or self._wakeups.ending:
                    break
                if (error := place.turn.result()) is not None:
                    raise error
                if messages := await attempt():
                    return messages
                self._stand_again(name, line, place)
            return []
        finally:
            self._leave(name, line, place)

    def _stand(self, name: str, line: _Line, place: _Place) -> None:
        line.waiting[place] = None
        line.poke()
        if line.task is None:
            line.task = asyncio.create_task(self._attend(name, line))

    def _stand_again(self, name: str, line: _Line, place: _Place) -> None:
        """After finding nothing: in front, as it has waited for longest."""
        loop = asyncio.get_running_loop()
        if place.touched == line.touched:
            line.calm_until_s = loop.time() + _CALM_S
        line.has_tried(place)
        place.turn = loop.create_future()
        self._stand(name, line, place)
        line.waiting.move_to_end(place, last=False)

    def _leave(self, name: str, line: _Line, place: _Place) -> None:
        line.waiting.pop(place, None)
        line.has_tried(place)
        line.places -= 1
        if not line.places:
            del self._lines[name]

    async def _attend(self, name: str, line: _Line) -> None:
        """Call pollers, as long as any waits."""
        error: DomainError | None = None
        try:
            while line.waiting and not self._wakeups.ending:
                await self._turn(name, line)
        except DomainError as found:
            error = found
        except Exception:
            log.exception("who waits for messages of %s must look for them", name)
            await asyncio.sleep(_CALM_S)
        finally:
            line.task = None
            line.call_all(error)

    async def _turn(self, name: str, line: _Line) -> None:
        """Look once, call, and wait until there may be more."""
        loop = asyncio.get_running_loop()
        touched = self._wakeups.expect(f"queue/{name}")  # before the look, so that nothing falls between
        line.poked = poked = loop.create_future()
        try:
            ready, due_ms, now_ms = await self._store.view(self._look, name, len(line.waiting))
            pauses_s = [] if due_ms is None else [(due_ms - now_ms) / 1000]
            calm_s = line.calm_until_s - loop.time()
            if calm_s <= 0:
                line.call(ready)
            elif ready > line.called:
                pauses_s.append(calm_s)
            pause_s = max(_LEAST_S, min(pauses_s)) if pauses_s else None
            done, _ = await asyncio.wait([touched, poked], timeout=pause_s, return_when=asyncio.FIRST_COMPLETED)
            if touched in done or not done:
                line.something_came()
        finally:
            touched.cancel()

    def _look(self, view: View, name: str, waiting: int) -> tuple[int, int | None, int]:
        """About how much can be received, when there is more, and what time it is."""
        return *self._queues.ready(view, name, waiting * self._queues.limits.receive_max), view.now_ms
