"""Time and random names, passed in so that tests can choose them."""

from __future__ import annotations

import secrets
import time
from random import getrandbits
from typing import Final, Protocol

_VERSION_4: Final = 0x4 << 76 | 0x8 << 60
_FREE: Final = ~(0xF << 76 | 0xC << 60)


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
    digits = f"{getrandbits(128) & _FREE | _VERSION_4:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def new_token(size_bytes: int = 32) -> str:
    """An unguessable URL-safe token."""
    return secrets.token_urlsafe(size_bytes)
