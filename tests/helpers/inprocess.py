"""A router on a port within the test's own event loop, behind the real listener."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from sluiceway.config import HttpSettings
from sluiceway.edges.application import Application
from sluiceway.edges.http import Handler
from sluiceway.server.listener import Listener


class Nobody:
    """Takes no WebSockets and no measurements."""

    async def sockets(self, *_: Any) -> None:
        raise AssertionError("no sockets here")

    def observe(self, service: str, status: int, seconds: float) -> None:
        return


@asynccontextmanager
async def listening(router: Handler, sockets: Any = None) -> AsyncIterator[str]:
    """Serve ``router``; its address."""
    limits = HttpSettings(stop_grace_s=2)
    app = Application(router, sockets or Nobody().sockets, limits, Nobody())
    listener = Listener(app, limits, "127.0.0.1", 0, None)
    await listener.start()
    try:
        yield f"http://127.0.0.1:{listener.port}"
    finally:
        await listener.stop()
