"""Against guessing: failed sign-ins are counted by name and by address, in a table that can't grow."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from sluiceway.config import ApiSettings
from sluiceway.errors import Throttled
from sluiceway.services.people import check_password, hash_password

_ADDRESS_FACTOR: Final = 5  # several people may share an address
_WAITING_MAX: Final = 20


class Attempts:
    """Counts, each forgotten ``sign_in_window_s`` after its first."""

    def __init__(self, limits: ApiSettings) -> None:
        self._limits = limits
        self._counts: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def check(self, name: str, address: str) -> None:
        """Raises ``Throttled("sign_in")`` when there were too many."""
        most = self._limits.sign_in_failures_max
        if self._count(f"name {name}") >= most or self._count(f"address {address}") >= most * _ADDRESS_FACTOR:
            minutes = max(1, round(self._limits.sign_in_window_s / 60))
            raise Throttled("sign_in", f"There were too many attempts. Try again in {minutes} minutes.")

    def add(self, name: str, address: str) -> None:
        """One more."""
        for key in (f"name {name}", f"address {address}"):
            count = self._count(key)
            began = self._counts[key][1] if count else time.monotonic()
            self._counts[key] = (count + 1, began)
            if len(self._counts) > self._limits.sign_in_names_max:
                self._counts.popitem(last=False)

    def forget(self, name: str, address: str) -> None:
        """The right password was given: the name begins anew, and this one does not count for the address."""
        self._counts.pop(f"name {name}", None)
        key = f"address {address}"
        count = self._count(key)
        if count:
            self._counts[key] = (count - 1, self._counts[key][1])

    def _count(self, key: str) -> int:
        count, began = self._counts.get(key, (0, 0.0))
        if count and time.monotonic() - began > self._limits.sign_in_window_s:
            del self._counts[key]
            return 0
        return count


class Hashing:
    """Password hashing beside the loop, a few at a time: each takes memory and a tenth of a second."""

    def __init__(self, limits: ApiSettings) -> None:
        self._free = asyncio.Semaphore(limits.hashing_max)
        self._waiting = 0

    async def hash(self, password: str) -> str:
        """Raises ``Throttled("hashing")``."""
        async with self._turn():
            return await asyncio.to_thread(hash_password, password)

    async def check(self, password: str, kept: str | None) -> bool:
        """Raises ``Throttled("hashing")``."""
        async with self._turn():
            return await asyncio.to_thread(check_password, password, kept)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        if self._waiting >= _WAITING_MAX:
            raise Throttled("hashing", "Too many people sign in right now. Try again in a moment.")
        self._waiting += 1
        try:
            await self._free.acquire()
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._free.release()
