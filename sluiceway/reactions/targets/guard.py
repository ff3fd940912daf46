"""Which addresses a delivery may reach: only public ones, unless the operator says otherwise.

A subscriber chooses the URL, so without this a webhook could reach what only this machine can reach (SSRF):
its own services, the private network, a cloud's metadata address. The address that was checked is the one
that is connected to, so a name can't change between check and use (DNS rebinding).
"""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

_NAT64: Final = ip_network("64:ff9b::/96")


class Refused(OSError):
    """An address that deliveries must not reach."""


def is_public(address: str) -> bool:
    """Whether ``address`` (an IP literal) is one that anybody on the internet could reach."""
    ip: IPv4Address | IPv6Address = ip_address(address.partition("%")[0])
    if isinstance(ip, IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if inner is None and ip in _NAT64:
            inner = IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
        if ip.teredo is not None:
            return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


def check_literal(host: str) -> None:
    """Raises ``Refused`` if ``host`` is an IP literal that is not public; names are left to the resolver."""
    try:
        public = is_public(host)
    except ValueError:
        return
    if not public:
        raise Refused(f"the address {host} is not public")


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
