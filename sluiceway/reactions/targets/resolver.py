"""Names for outgoing HTTP: only their public addresses (see ``guard``). Imported with aiohttp, at the first delivery."""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from aiohttp import AddrInfoType
from aiohttp.abc import AbstractResolver, ResolveResult

from sluiceway.reactions.targets.guard import Refused, check_literal, is_public


class Resolver(AbstractResolver):
    """Looks names up on threads of its own: a name whose server hangs takes a thread for as long, and the loop's
    default ones are few and everybody's. ``guarded`` drops the addresses that are not public."""

    def __init__(self, threads_max: int, guarded: bool) -> None:
        self._threads = ThreadPoolExecutor(threads_max, "resolver")
        self._guarded = guarded

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Raises ``Refused`` if no public address is left, and ``OSError`` for a name that there is not."""
        found = await asyncio.get_running_loop().run_in_executor(self._threads, look_up, host, port, family)
        results = [_result(host, port, info) for info in found]
        allowed = [result for result in results if is_public(result["host"])] if self._guarded else results
        if not allowed:
            raise Refused(f"the name {host} has no public address")
        return allowed

    async def close(self) -> None:
        """Wait for no look-up that is under way."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def look_up(host: str, port: int, family: int) -> list[Any]:
    """As the system does it."""
    return socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)


def _result(host: str, port: int, info: Any) -> ResolveResult:
    family, _, protocol, _, place = info
    address, scope = str(place[0]), place[3] if len(place) > 3 else 0  # an IPv6 address of a link names its interface
    flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    return ResolveResult(
        hostname=host, host=f"{address}%{scope}" if scope and "%" not in address else address, port=port,
        family=family, proto=protocol, flags=flags,
    )  # fmt: skip


def guarded_socket(address: AddrInfoType) -> socket.socket:
    """A socket for a connection to ``address``, which is what the system will connect to: the last check, whatever
    a URL looked like before. Raises ``Refused``."""
    family, kind, protocol, _, place = address
    check_literal(str(place[0]))
    return socket.socket(family, kind, protocol)
