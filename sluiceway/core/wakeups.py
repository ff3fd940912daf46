"""Wake-ups by name: who waits for "queue/orders" or "topic/uploads" is told after a commit touched it.

A wake-up carries no data and may be missed or come twice; whoever is woken looks at the store.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable

Listener = Callable[[frozenset[str]], None]


class Wakeups:
    """A hub on one event loop. ``notify`` is called by the store after a commit group is durable."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Future[None]]] = defaultdict(set)
        self._listeners: list[Listener] = []
        self.ending = False  # who waits on behalf of a client answers now

    def end(self) -> None:
        """The server stops: wake everyone, so that no client's long poll holds it up."""
        self.ending = True
        self.notify(list(self._waiting))

    def listen(self, listener: Listener) -> None:
        """Call ``listener(names)`` at every notification."""
        self._listeners.append(listener)

    def notify(self, names: Iterable[str]) -> None:
        """Wake everyone who waits for one of ``names``. On the event loop's thread only."""
        touched = frozenset(names)
        for name in touched:
            for waiter in self._waiting.pop(name, ()):
                if not waiter.done():
                    waiter.set_result(None)
        for listener in self._listeners:
            listener(touched)

    def expect(self, name: str) -> asyncio.Future[None]:
        """A future that is done at the next notification of ``name``.

        Take it *before* looking at the store, so that nothing falls between look and wait. Cancel it
        (or call ``forget``) if it is not awaited.
        """
        waiter = asyncio.get_running_loop().create_future()
        self._waiting[name].add(waiter)
        waiter.add_done_callback(lambda done: self._drop(name, done))
        return waiter

    def _drop(self, name: str, waiter: asyncio.Future[None]) -> None:
        waiters = self._waiting.get(name)
        if waiters is not None:
            waiters.discard(waiter)
            if not waiters:
                del self._waiting[name]
