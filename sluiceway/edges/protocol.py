"""uvicorn's HTTP/1.1 protocol with the limits that it leaves out: header bytes, header time, stalled readers."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from sluiceway.config import HttpSettings
from sluiceway.edges.joining import JoiningTransport


class _HeadersTooLarge(Exception):
    """Raised inside a parser callback; uvicorn answers 400 and closes the connection."""


class BoundedHttpProtocol(HttpToolsProtocol):
    """Closes a connection whose request line and headers are too large or don't come to an end, whose refused body
    does not, or that takes nothing of an answer.

    Made through ``bounded_protocol``, which binds the limits.
    """

    header_bytes_max: int
    query_bytes_max: int
    header_s: float
    stall_s: float

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._header_bytes = 0
        self._header_timer: asyncio.TimerHandle | None = None
        self._stall_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client that connects and says nothing is let go."""
        super().connection_made(cast(asyncio.Transport, JoiningTransport(transport)))
        self._expect_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        """The timers would keep a lost connection alive."""
        self._headers_came()
        self._reader_came()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Start counting a request's header bytes."""
        self._header_bytes = 0
        if self._header_timer is None:
            self._expect_headers()
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Refuse an endless request line."""
        self._count(len(url), self.header_bytes_max + self.query_bytes_max)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Refuse endless headers."""
        self._count(len(name) + len(value) + 4, self.header_bytes_max + self.query_bytes_max)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The body has a limit of its own (``http.Body``)."""
        self._headers_came()
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """What is left of a body that was answered early is read and dropped, but not for ever."""
        super().on_response_complete()
        cycle = self.cycle
        if cycle.response_complete and cycle.more_body and self._header_timer is None:
            self._expect_headers()

    def pause_writing(self) -> None:
        """The client does not take what is sent: start counting."""
        super().pause_writing()
        if self._stall_timer is None:
            self._stall_timer = self.loop.call_later(self.stall_s, self._abort)

    def resume_writing(self) -> None:
        """It did."""
        super().resume_writing()
        self._reader_came()

    def _reader_came(self) -> None:
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None

    def _abort(self) -> None:
        """Closing would wait for the reader to take the rest."""
        self._stall_timer = None
        if self.transport is not None:
            self.transport.abort()

    def _count(self, size: int, limit: int) -> None:
        self._header_bytes += size
        if self._header_bytes > limit:
            raise _HeadersTooLarge

    def _expect_headers(self) -> None:
        self._header_timer = self.loop.call_later(self.header_s, self._close_late)

    def _headers_came(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _close_late(self) -> None:
        self._header_timer = None
        if self.transport is not None and not self.transport.is_closing():
            self.transport.close()


def bounded_protocol(limits: HttpSettings) -> type[BoundedHttpProtocol]:
    """The protocol class with ``limits`` bound, as uvicorn wants a class."""
    return type(
        "BoundHttpProtocol",
        (BoundedHttpProtocol,),
        {
            "header_bytes_max": limits.header_bytes_max,
            "query_bytes_max": limits.query_bytes_max,
            "header_s": limits.header_s,
            "stall_s": limits.stall_s,
        },
    )
