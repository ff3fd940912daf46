"""Names for outgoing HTTP: only their public addresses (see ``guard``). Imported with aiohttp, at the first delivery."""

from __future__ import annotations

import socket

from aiohttp import AddrInfoType
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from sluiceway.reactions.targets.guard import Refused, check_literal, is_public


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


def guarded_socket(address: AddrInfoType) -> socket.socket:
    """A socket for a connection to ``address``, which is what the system will connect to: the last check, whatever
    a URL looked like before. Raises ``Refused``."""
    family, kind, protocol, _, place = address
    check_literal(str(place[0]))
    return socket.socket(family, kind, protocol)
