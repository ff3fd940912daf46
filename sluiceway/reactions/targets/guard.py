"""Which addresses a delivery may reach: only public ones, unless the operator says otherwise.

A subscriber chooses the URL, so without this a webhook could reach what only this machine can reach (SSRF):
its own services, the private network, a cloud's metadata address. The address that was checked is the one
that is connected to, so a name can't change between check and use (DNS rebinding).
"""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

_NAT64: Final = ip_network("64:ff9b::/96")
#: What Python's tables take for global, and what a machine in a cloud reaches its host's own services at.
_NEAR: Final = (
    ip_network("192.0.0.0/24"),  # IETF protocol assignments (RFC 6890); Oracle's metadata
    ip_network("168.63.129.16/32"),  # Azure's
    ip_network("fec0::/10"),  # IPv6 site-local (RFC 3879)
    ip_network("2001::/23"),  # IETF protocol assignments (RFC 2928); Python 3.13 takes the anycast ones for global
    ip_network("3fff::/20"),  # documentation (RFC 9637), since Python 3.13
)


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
    if any(ip in network for network in _NEAR):
        return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


def check_literal(host: str) -> None:
    """Raises ``Refused`` if ``host`` is an IP literal that is not public, in any spelling that a system's resolver
    takes for one ("127.1", "0x7f000001", "2130706433"); names are left to the resolver."""
    address = host.rstrip(".")
    try:
        public = is_public(address)
    except ValueError:
        try:
            public = is_public(socket.inet_ntoa(socket.inet_aton(address)))
        except (OSError, ValueError):
            return
    if not public:
        raise Refused(f"the address {host} is not public")
