"""A transport that sends what is written together in one piece.

uvicorn writes an answer's head and body one after the other, which are two packets. A server that dies in between
leaves a client with a head of 200 and no body, which SDKs take for an answer without content; and two system
calls cost more than one.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

_HELD_BYTES_MAX: Final = 64 * 1024  # more is sent at once: copying it together would cost more than it saves


class JoiningTransport:
    """Stands for ``transport``; what is written in one turn of the event loop leaves at its end."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._held: list[bytes] = []
        self._size = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """See ``asyncio.Transport``."""
        if not self._held:
            self._loop.call_soon(self._flush)
        self._held.append(data)
        self._size += len(data)
        if self._size > _HELD_BYTES_MAX:
            self._flush()

    def close(self) -> None:
        """See ``asyncio.Transport``; what is held goes out before."""
        self._flush()
        self._transport.close()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """See ``asyncio.Transport``."""
        self._flush()
        self._transport.set_protocol(protocol)

    def _flush(self) -> None:
        if not self._held:
            return
        held, self._held, self._size = self._held, [], 0
        if not self._transport.is_closing():
            self._transport.write(held[0] if len(held) == 1 else b"".join(held))
