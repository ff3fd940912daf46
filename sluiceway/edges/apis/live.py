"""One open WebSocket: what waits to be sent to it, within bounds, and its end."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final

from sluiceway.config import ApiSettings
from sluiceway.edges.apis.socket_events import Surroundings

Send = Callable[[dict[str, Any]], Awaitable[None]]

NORMAL: Final = 1000
GOING_AWAY: Final = 1001
ABNORMAL: Final = 1006
POLICY: Final = 1008
TOO_BIG: Final = 1009


class Live:
    """Messages for the client wait here until its network takes them. One that is too slow is closed."""

    def __init__(self, around: Surroundings, limits: ApiSettings) -> None:
        self.around = around
        self.active_ms = around.connection.connected_ms
        self.ended: tuple[int, str] | None = None
        self._limits = limits
        self._waiting: deque[tuple[str | bytes, int]] = deque()
        self._bytes = 0
        self._wake = asyncio.Event()

    def post(self, message: str | bytes, size: int) -> bool:
        """Send ``message`` of ``size`` bytes when it is its turn; False if the connection has ended, or ends now
        because too much waits for it."""
        if self.ended is not None:
            return False
        full = len(self._waiting) >= self._limits.socket_waiting_max
        if full or self._bytes + size > self._limits.socket_waiting_bytes_max:
            self._waiting.clear()
            self.end(POLICY, "The client takes messages too slowly")
            return False
        self._waiting.append((message, size))
        self._bytes += size
        self._wake.set()
        return True

    def end(self, code: int, reason: str) -> None:
        """Close after what waits is sent. The first reason stays."""
        if self.ended is None:
            self.ended = (code, reason)
            self._wake.set()

    async def write(self, send: Send) -> None:
        """Send what waits until the connection ends; returns when it has."""
        try:
            while True:
                while self._waiting:
                    message, size = self._waiting.popleft()
                    self._bytes -= size
                    kind = "text" if isinstance(message, str) else "bytes"
                    async with asyncio.timeout(self._limits.socket_send_s):
                        await send({"type": "websocket.send", kind: message})
                if self.ended is not None:
                    code, reason = self.ended
                    async with asyncio.timeout(self._limits.socket_send_s):
                        await send({"type": "websocket.close", "code": code, "reason": reason})
                    return
                self._wake.clear()
                await self._wake.wait()
        except (OSError, RuntimeError, TimeoutError):
            # The client is gone or takes nothing more; the reader tells the same, if it can.
            self.end(ABNORMAL, "The client went away")
