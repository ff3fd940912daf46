"""The Lambda Runtime API that one worker talks to (AWS Lambda Developer Guide, "Using the Lambda runtime API").

Each worker has a listener of its own on a loopback port, so that what arrives there can be from it only.
Written on httptools directly: two requests here are most of what a warm invocation costs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final, Protocol, cast

import httptools

_BASE: Final = b"/2018-06-01/runtime/"
_HEADERS_MAX: Final = 64
_REASONS: Final = {200: b"OK", 202: b"Accepted", 403: b"Forbidden", 404: b"Not Found", 413: b"Payload Too Large"}


class Runtime(Protocol):
    """The side of a worker that the runtime client calls."""

    def ask(self, connection: RuntimeConnection) -> None:
        """The client is ready for the next invocation; ``connection.give`` hands it over."""

    def answer(self, request_id: str, payload: bytes, failed: bool) -> bool:
        """The invocation's outcome; False if it is not the one under way."""

    def init_failed(self, payload: bytes) -> None:
        """The handler could not be loaded."""

    def confused(self) -> None:
        """The client was refused, and may give up: it must not be asked again."""

    def gone(self, connection: RuntimeConnection) -> None:
        """The connection ended."""


class RuntimeConnection(asyncio.Protocol):
    """One keep-alive connection. ``body_max`` is the largest answer in bytes."""

    def __init__(self, runtime: Runtime, body_max: int) -> None:
        self._runtime = runtime
        self._body_max = body_max
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._path = b""
        self._body: list[bytes] = []
        self._size = 0
        self._headers = 0

    # -- asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client came."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is not one by class

    def data_received(self, data: bytes) -> None:
        """Bytes of requests."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client went."""
        self._transport = None
        self._runtime.gone(self)

    # -- httptools

    def on_message_begin(self) -> None:
        """A new request."""
        self._path, self._body, self._size, self._headers = b"", [], 0, 0

    def on_url(self, url: bytes) -> None:
        """Its path."""
        self._path += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Their number is bounded; a client that asks before it sends much is told to go on."""
        self._headers += 1
        if name.lower() == b"expect" and self._transport is not None:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if self._headers > _HEADERS_MAX:
            self.close()

    def on_body(self, body: bytes) -> None:
        """Kept up to the limit; what is over it is counted only."""
        self._size += len(body)
        if self._size <= self._body_max:
            self._body.append(body)

    def on_message_complete(self) -> None:
        """Do what was asked."""
        path = self._path.removeprefix(_BASE)
        body = b"".join(self._body)
        if path == b"invocation/next":
            self._runtime.ask(self)
        elif path == b"init/error":
            self._runtime.init_failed(body)
            self._send(202, b'{"status":"OK"}')
        elif path.startswith(b"invocation/"):
            self._outcome(path, body)
        else:
            self._send(404, b"{}")

    def _outcome(self, path: bytes, body: bytes) -> None:
        _, request_id, kind = (*path.split(b"/"), b"", b"")[:3]
        name = request_id.decode("latin-1")
        if self._size > self._body_max:
            text = b'{"errorType":"Function.ResponseSizeTooLarge","errorMessage":"Response payload size exceeded '
            self._runtime.answer(name, text + b'maximum allowed payload size (%d bytes)."}' % self._body_max, True)
            self._runtime.confused()
            self._send(413, b'{"errorType":"RequestEntityTooLarge"}')
        elif self._runtime.answer(name, body, failed=kind == b"error"):
            self._send(202, b'{"status":"OK"}')
        else:
            self._send(403, b'{"errorType":"InvalidRequestID"}')

    # -- for the worker

    def give(self, headers: Sequence[tuple[bytes, bytes]], payload: bytes) -> None:
        """Hand over an invocation: the answer to "next"."""
        self._send(200, payload, headers)

    def close(self) -> None:
        """End the connection."""
        if self._transport is not None:
            self._transport.close()

    def _send(self, status: int, body: bytes, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        if self._transport is None:
            return
        lines = [b"HTTP/1.1 %d %s" % (status, _REASONS[status]), b"Content-Type: application/json"]
        lines += [b"%s: %s" % pair for pair in headers]
        lines.append(b"Content-Length: %d\r\n\r\n" % len(body))
        self._transport.write(b"\r\n".join(lines) + body)
