"""One request and its answer on a connection: the body as it comes in, the answer as it goes out.

An exchange is *waiting* while another answer is due before its own (pipelining), *running*, *begun* once the head of its
answer is written, and *complete*. When the connection is lost it is ``gone``: its reader gets ``ClientGone``, and
what is sent goes nowhere.

Head and body of an answer leave in one piece: a server that died between the two would leave a client with a 200
without content, which SDKs take for an answer; and two system calls cost more than one.
"""

from __future__ import annotations

import asyncio
import http
from collections.abc import AsyncIterator
from typing import Final, Protocol

from sluiceway.edges.http import ClientGone, Headers, late
from sluiceway.errors import Invalid

_WINDOW_BYTES: Final = 256 * 1024  # of a body that wait for their reader before the sender is held back
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_STATUS_LINES: Final = {status.value: f"HTTP/1.1 {status.value} {status.phrase}" for status in http.HTTPStatus}
_EMPTY: Final = frozenset({204, 304})  # answers that have no body (RFC 9110, 6.4.1)


class Wire(Protocol):
    """What an exchange needs of its connection (``edges.protocol``)."""

    @property
    def tls_version(self) -> str:
        """The version of TLS ("TLSv1.3"), or nothing."""

    @property
    def date(self) -> str:
        """The Date header, as a line."""

    def write(self, data: bytes) -> None:
        """Send bytes."""

    async def drained(self) -> None:
        """Return when the client has taken enough for more to be sent, or is gone."""

    def hold(self) -> None:
        """Receive no more for now."""

    def release(self) -> None:
        """Receive again."""

    def completed(self, exchange: Exchange) -> None:
        """The answer is whole."""

    def broken(self) -> None:
        """The answer can't be finished: the only honest end is a connection that is cut."""


class Exchange:
    """Made by the connection when a request's headers are complete. ``keep_alive`` is whether the connection may go on."""

    __slots__ = (
        "_chunked",
        "_expects",
        "_held",
        "_left",
        "_received",
        "_short",
        "_size",
        "_waiter",
        "_wire",
        "begun",
        "complete",
        "ended",
        "gone",
        "headers",
        "keep_alive",
        "method",
        "old",
        "raw_path",
        "raw_query",
    )

    def __init__(
        self, wire: Wire, method: str, raw_path: bytes, raw_query: bytes, headers: Headers, keep_alive: bool, old: bool
    ) -> None:
        self._wire = wire
        self.method = method
        self.raw_path = raw_path
        self.raw_query = raw_query
        self.headers = headers
        self.keep_alive = keep_alive
        self.old = old  # HTTP/1.0, which has no chunked coding and no 100 Continue
        self.begun = self.complete = self.ended = self.gone = False
        self._expects = not old and headers.get("expect").lower() == "100-continue"
        self._received: list[bytes] = []
        self._size = 0
        self._held = False
        self._short = False
        self._waiter: asyncio.Future[None] | None = None
        self._chunked = False
        self._left: int | None = None  # bytes that the announced length still wants

    # -- the connection tells

    @property
    def tls_version(self) -> str:
        """See ``Wire``; policies may ask for it."""
        return self._wire.tls_version

    def feed(self, data: bytes) -> None:
        """More of the body has come."""
        if self.complete:
            return  # the answer was given without it: it is read and dropped
        self._received.append(data)
        self._size += len(data)
        if self._size > _WINDOW_BYTES and not self._held:
            self._held = True
            self._wire.hold()
        self._wake()

    def end(self) -> None:
        """The body is whole."""
        self.ended = True
        self._wake()

    def cut_short(self) -> None:
        """The client will send no more of a body that is not whole."""
        self.keep_alive = False
        self._short = True
        self._wake()

    def lose(self) -> None:
        """The connection is lost."""
        self.gone = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # -- http.Incoming

    def take(self) -> bytes:
        """See ``http.Incoming``."""
        received = self._received
        if not received:
            return b""
        data = received[0] if len(received) == 1 else b"".join(received)
        self._received, self._size = [], 0
        if self._held:
            self._held = False
            self._wire.release()
        return data

    async def more(self, within_s: float) -> None:
        """See ``http.Incoming``."""
        self._check()
        if self._expects and not self.begun:
            self._wire.write(_CONTINUE)
        self._expects = False
        loop = asyncio.get_running_loop()
        self._waiter = waiter = loop.create_future()
        timer = loop.call_later(within_s, _too_late, waiter)
        try:
            await waiter
        finally:
            timer.cancel()
            self._waiter = None
        if not self._received:
            self._check()

    def _check(self) -> None:
        if self.gone:
            raise ClientGone
        if self._short:
            raise Invalid(
                "incomplete", "You did not provide the number of bytes specified by the Content-Length HTTP header"
            )

    # -- the answer

    def answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        """Send a whole answer. Raises ``ValueError`` for headers that can't be sent, before anything is."""
        if self.gone:
            return
        bodiless = status in _EMPTY
        head = self._head(status, headers, None if bodiless else len(body))
        self._wire.write(head if bodiless or self.method == "HEAD" else head + body)
        self._finish()

    async def stream(self, status: int, headers: list[tuple[str, str]], chunks: AsyncIterator[bytes]) -> bool:
        """Send an answer as it is made; whether all of it was sent. Raises what ``chunks`` does."""
        held = self._head(status, headers, None)
        async for chunk in chunks:
            if self.gone:
                return False
            self._wire.write(held + self._framed(chunk) if held else self._framed(chunk))
            held = b""
            await self._wire.drained()
        if self.gone:
            return False
        if held or self._chunked:
            self._wire.write(held + (b"0\r\n\r\n" if self._chunked else b""))
        if self._left:
            raise ValueError(f"{self._left} bytes of the announced length were not sent")
        self._finish()
        return True

    def cut(self) -> None:
        """End the connection in the middle of an answer."""
        self.keep_alive = False
        if not self.gone:
            self._wire.broken()

    def _framed(self, chunk: bytes) -> bytes:
        if self.method == "HEAD":
            return b""
        if self._chunked:
            return b"%x\r\n%b\r\n" % (len(chunk), chunk) if chunk else b""
        if self._left is not None:
            self._left -= len(chunk)
            if self._left < 0:
                raise ValueError("more bytes than the announced length")
        return chunk

    def _head(self, status: int, headers: list[tuple[str, str]], size: int | None) -> bytes:
        """Status line and headers. ``size`` is the length to announce where ``headers`` do not."""
        date = self._wire.date
        lines = [_STATUS_LINES.get(status) or f"HTTP/1.1 {status} ", date]
        lines += [f"{name}: {value}" for name, value in headers]
        text = "\r\n".join(lines)
        lowered = text.lower()
        more: list[str] = []
        if "\r\ncontent-length:" in lowered:
            self._left = int(next((value for name, value in headers if name.lower() == "content-length"), "0"))
        elif size is not None:
            more.append(f"content-length: {size}")
        elif status not in _EMPTY:
            self._unmeasured(more)
        if self._expects:
            # The client now leaves out its body, and the next request's bytes would be taken for it (RFC 9110, 10.1.1).
            self.keep_alive = False
        if "\r\nconnection: close" in lowered:
            self.keep_alive = False
        elif not self.keep_alive:
            more.append("connection: close")
        if more:
            text = "\r\n".join((text, *more))
        ends = len(lines) + len(more) - 1 + date.count("\n")
        if text.count("\r") != ends or text.count("\n") != ends or "\0" in text:
            raise ValueError("a header holds a line's end")
        head = f"{text}\r\n\r\n".encode("latin-1")
        self.begun = True
        return head

    def _unmeasured(self, lines: list[str]) -> None:
        """A stream of unknown length: in chunks, or ended by the connection's end (RFC 9112, 6.3)."""
        if self.old:
            self.keep_alive = False
        elif self.method != "HEAD":
            self._chunked = True
            lines.append("transfer-encoding: chunked")

    def _finish(self) -> None:
        self.complete = True
        self.take()
        self._wire.completed(self)


def _too_late(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_exception(late())
