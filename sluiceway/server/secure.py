"""The listener under AWS's own host names, for functions that hard-wire them. Opened when the first function starts:
making certificates takes a tenth of a second, and a server without functions never needs one."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluiceway.config import HttpSettings
from sluiceway.server.listener import Listener

if TYPE_CHECKING:
    from sluiceway.server.tls import Certificates


class SecureListener:
    """On loopback, at a port of its own; ``folder`` holds its certificates."""

    def __init__(self, application: Any, limits: HttpSettings, region: str, folder: Path) -> None:
        self._application = application
        self._limits = limits
        self._region = region
        self._folder = folder
        self._opening = asyncio.Lock()
        self._listener: Listener | None = None
        self._certificates: Certificates | None = None

    async def opened(self) -> tuple[int, Certificates]:
        """Its port, and whom its clients have to trust. Raises ``Unavailable("port")``."""
        async with self._opening:
            if self._listener is None or self._certificates is None:
                self._certificates = made = await asyncio.to_thread(self._make)
                own = (made.certificate, made.key)
                listener = Listener(self._application, self._limits, "127.0.0.1", 0, own)
                await listener.start()
                self._listener = listener
            return self._listener.port, self._certificates

    def _make(self) -> Certificates:
        from sluiceway.server.tls import make_certificates

        return make_certificates(self._folder, self._region, self._limits.tls_certificate)

    async def stop(self) -> None:
        """As ``Listener.stop``."""
        if self._listener is not None:
            await self._listener.stop()
