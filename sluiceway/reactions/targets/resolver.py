"""Names for outgoing HTTP: only their public addresses (see ``guard``). Imported with aiohttp, at the first delivery."""

from __future__ import annotations

import socket

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from sluiceway.reactions.targets.guard import Refused, is_public


class PublicResolver(AbstractResolver):
    """Resolves names and drops the addresses that are not public."""

    def __init__(self) -> None:
        self._inner = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Raises ``Refused`` if no public address is left."""
        found = await self._inner.resolve(host, port, family)
        public = [result for result in found if is_public(result["host"])]
        if not public:
            raise Refused(f"the name {host} has no public address")
        return public

    async def close(self) -> None:
        """Let go of the inner resolver."""
        await self._inner.close()
