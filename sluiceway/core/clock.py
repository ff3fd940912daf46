"""Time and random names, passed in so that tests can choose them."""

from __future__ import annotations

import secrets
import time
from random import getrandbits
from typing import Protocol


class Clock(Protocol):
    """Wall-clock time."""

    def now_ms(self) -> int:
        """Milliseconds since 1970."""


class SystemClock:
    """The machine's clock."""

    def now_ms(self) -> int:
        """Milliseconds since 1970."""
        return time.time_ns() // 1_000_000


def new_id() -> str:
    """A random UUID (RFC 9562, version 4), as AWS uses for requests and messages.

    Different from all others, not unguessable: for that there is ``new_token``. Every request has one, and
    ``uuid.uuid4`` takes ten times as long: it asks the kernel, and gives the interpreter away for it.
    """
    digits = f"{getrandbits(128):032x}"
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


def new_token(size_bytes: int = 32) -> str:
    """An unguessable URL-safe token."""
    return secrets.token_urlsafe(size_bytes)
