"""Time and random names, passed in so that tests can choose them."""

from __future__ import annotations

import secrets
import time
import uuid
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
    """A random UUID, as AWS uses for requests and messages."""
    return str(uuid.uuid4())


def new_token(size_bytes: int = 32) -> str:
    """An unguessable URL-safe token."""
    return secrets.token_urlsafe(size_bytes)
