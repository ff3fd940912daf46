"""Backpressure: whether there is room for more, asked before anything is taken in.

Two limits stand between publishers and a full disk. While less than a reserve of the disk is free, what adds data is
refused and copies into the store wait in their logs; reading, receiving and deleting go on, so that somebody can make
room. And a log of which some reaction is too far behind takes no more, so that one forgotten subscription doesn't eat
the disk of all others. (The third limit, on changes that wait for the writer, is the store's own.)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from sluiceway.errors import Throttled

_LOOK_S = 0.25  # between looks at the disk; a GB/s fills the reserve's default in that time
_EASED = 0.9  # of the limit, below which a log takes more again: at the limit itself it would be on and off


class Pressure:
    """``free_bytes`` asks the file system; ``reserve_bytes`` stay free; ``unsettled_max`` events may wait in a log."""

    def __init__(self, free_bytes: Callable[[], int], reserve_bytes: int, unsettled_max: int) -> None:
        self._free_bytes = free_bytes
        self._reserve_bytes = reserve_bytes
        self._unsettled_max = unsettled_max
        self._looked = float("-inf")
        self._low = False
        self._full: frozenset[str] = frozenset()

    @property
    def disk_is_low(self) -> bool:
        """Whether the reserve is touched; the file system is asked a few times a second at most."""
        now = time.monotonic()
        if now - self._looked >= _LOOK_S:
            self._looked = now
            self._low = self._free_bytes() < self._reserve_bytes
        return self._low

    @property
    def full_logs(self) -> frozenset[str]:
        """The logs that take no more for now."""
        return self._full

    def note(self, lags: Iterable[tuple[str, int]], whole: bool) -> None:
        """(log, events that its slowest reaction has not settled), of all logs if ``whole``."""
        known, seen = self._full, dict(lags)
        full = {
            log for log, lag in seen.items() if lag >= self._unsettled_max * (_EASED if log in known else 1.0)
        }  # fmt: skip
        self._full = frozenset(full if whole else full | (known - seen.keys()))

    def check_disk(self) -> None:
        """Raises ``Throttled("disk")``."""
        if self.disk_is_low:
            raise Throttled(
                "disk", "The server's disk is nearly full: delete or receive something, or try again later."
            )

    def check_log(self, log: str) -> None:
        """Raises ``Throttled("log")``."""
        if log in self._full:
            raise Throttled("log", "Too many messages wait for a subscription of this topic: try again later.")
