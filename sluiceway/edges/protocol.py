"""HTTP/1.1 on a connection: httptools parses, an ``Exchange`` stands for each request, one answer follows the other.

It stands where uvicorn's own protocol would, under uvicorn's server, which accepts, stops and upgrades to WebSockets; but it
hands requests to the application as they are, without ASGI's messages in between (docs/decisions, 9).

It keeps clients within bounds: a request line and headers that are too large or don't come to an end, a body that goes on
after its refusal, a reader that takes nothing of an answer, and silence all end the connection.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Coroutine
from email.utils import formatdate
from functools import lru_cache
from typing import Any, Final, Protocol, cast

import httptools
import uvicorn
from uvicorn.server import ServerState

from sluiceway.config import HttpSettings
from sluiceway.edges.exchange import Exchange
from sluiceway.edges.http import Headers
from sluiceway.edges.peer import address_of

log = logging.getLogger("uvicorn.error")

_NEVER: Final = float("inf")
_BAD_REQUEST: Final = "Invalid HTTP request received."
_BUSY: Final = "Service Unavailable"
_ONE_HOST: Final = "A request has one Host header."


_PLAIN_AND_CLOSE: Final = (("content-type", "text/plain; charset=utf-8"), ("connection", "close"))


class _HeadersTooLarge(Exception):
    """Raised inside a parser's callback, which ends the parsing."""


class Application(Protocol):
    """What answers exchanges (``edges.application``)."""

    def serve(self, exchange: Exchange, scheme: str, client: str) -> Coroutine[Any, Any, None]:
        """Answer, whatever happens."""


class HttpConnection(asyncio.Protocol):
    """One client's connection. Made through ``http_protocol``, which binds the application and the limits."""

    application: Application
    limits: HttpSettings

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._config = config
        self._state = server_state
        self._app_state = app_state
        self._loop = _loop or asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        # An answer may say "close" before it is known whether more is coming; what comes is not an error.
        self._parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._transport: asyncio.Transport | None = None
        self._scheme, self._client = "http", ""
        self.tls_version = ""
        self._url = b""
        self._headers: list[tuple[str, str]] = []
        self._head_bytes = 0
        self._head_bytes_max = self.limits.header_bytes_max + self.limits.query_bytes_max
        self._in_head = False
        self._current: Exchange | None = None  # whose body comes in
        self._running: Exchange | None = None  # whose answer goes out
        self._waiting: deque[Exchange] = deque()
        self._writable: asyncio.Future[None] | None = None
        self._due = _NEVER
        self._timer: asyncio.TimerHandle | None = None

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client that connects and says nothing is let go."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are no subclasses
        self._state.connections.add(cast(Any, self))
        self._client = address_of(transport.get_extra_info("peername"))
        self._scheme = "https" if transport.get_extra_info("sslcontext") else "http"
        secured = transport.get_extra_info("ssl_object")
        self.tls_version = secured.version() if secured is not None else ""
        self._expire_in(self.limits.header_s)

    def connection_lost(self, exc: Exception | None) -> None:
        """Whoever waits for the client is told."""
        self._state.connections.discard(cast(Any, self))
        self._due = _NEVER
        if self._timer is not None:
            self._timer.cancel()
        for exchange in (self._current, self._running, *self._waiting):
            if exchange is not None:
                exchange.lose()
        self._waiting.clear()
        self._transport = None
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)

    def data_received(self, data: bytes) -> None:
        """Bytes of requests, cut anywhere."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._upgrade()
        except httptools.HttpParserError:
            self._misunderstood()
        else:
            if self._in_head and self._due > self._loop.time() + self.limits.header_s:
                self._expire_in(self.limits.header_s)

    def eof_received(self) -> bool:
        """The client sends no more. In the middle of a body it is told so; else it is taken to be gone, so that nothing
        is waited for on its behalf."""
        current = self._current
        if current is None or current.ended or current.complete:
            return False
        current.cut_short()
        return True

    def pause_writing(self) -> None:
        """The client does not take what is sent: start counting."""
        if self._writable is None:
            self._writable = self._loop.create_future()
        self._expire_in(self.limits.stall_s)

    def resume_writing(self) -> None:
        """It did."""
        writable, self._writable = self._writable, None
        if writable is not None:
            if self._running is not None:
                self._due = _NEVER
            else:  # the last of an answer has left: the connection is idle from now on
                self._expire_in(self.limits.keep_alive_s)
            if not writable.done():
                writable.set_result(None)

    def shutdown(self) -> None:
        """uvicorn: the server stops; a running answer is the last one."""
        if self._running is None:
            self._close()
        else:
            self._running.keep_alive = False

    # -- httptools' callbacks

    def on_message_begin(self) -> None:
        """Start counting a request's header bytes."""
        self._url, self._headers, self._head_bytes, self._in_head = b"", [], 0, True

    def on_url(self, url: bytes) -> None:
        """A piece of the request line's target."""
        self._head_bytes += len(url)
        if self._head_bytes > self._head_bytes_max:
            raise _HeadersTooLarge
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        self._head_bytes += len(name) + len(value) + 4
        if self._head_bytes > self._head_bytes_max:
            raise _HeadersTooLarge
        if not self._in_head:
            return  # of a trailer, which must not become what was signed, or pass for it (RFC 9110, 6.5.1)
        self._headers.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        """A request: run it, or let it wait for the one before. Its body has a limit of its own (``http.Body``)."""
        self._in_head = False
        parser = self._parser
        headers = Headers(self._headers)
        if parser.should_upgrade() and _wants_socket(headers):
            return
        url = httptools.parse_url(self._url)
        version = parser.get_http_version()
        old = version == "1.0"
        exchange = Exchange(
            self,
            parser.get_method().decode("ascii"),
            url.path or b"/",
            url.query or b"",
            headers,
            not old and parser.should_keep_alive(),
            old,
        )
        self._current = exchange
        if self._running is None:
            self._start(exchange)
        else:
            self._waiting.append(exchange)
            self.hold()

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        if self._current is not None:
            self._current.feed(body)

    def on_message_complete(self) -> None:
        """The body's end. What is idle now has a while until its next request."""
        exchange = self._current
        if exchange is not None:
            exchange.end()
            if exchange.complete:
                self._expire_in(self.limits.keep_alive_s)

    # -- exchanges

    def _start(self, exchange: Exchange) -> None:
        self._running = exchange
        self._due = _NEVER
        state = self._state
        busy = self.limits.connections_max
        if len(state.connections) >= busy or len(state.tasks) >= busy:
            log.warning("Exceeded concurrency limit.")
            exchange.answer(503, [*_PLAIN_AND_CLOSE], _BUSY.encode())
            return
        headers = exchange.headers
        if not exchange.old and ("host" not in headers or (headers.repeated and len(headers.all("host")) > 1)):
            exchange.answer(400, [*_PLAIN_AND_CLOSE], _ONE_HOST.encode())  # RFC 9112, 3.2
            return
        task = self._loop.create_task(self.application.serve(exchange, self._scheme, self._client))
        state.tasks.add(task)
        task.add_done_callback(state.tasks.discard)

    @property
    def date(self) -> str:
        """See ``exchange.Wire``. Not uvicorn's, which may be a second old: what was just made would be from the future."""
        return _dated(int(time.time()))

    def write(self, data: bytes) -> None:
        """See ``exchange.Wire``."""
        if self._transport is not None:
            self._transport.write(data)

    async def drained(self) -> None:
        """See ``exchange.Wire``."""
        if self._writable is not None:
            await asyncio.shield(self._writable)

    def hold(self) -> None:
        """See ``exchange.Wire``."""
        if self._transport is not None:
            self._transport.pause_reading()

    def release(self) -> None:
        """See ``exchange.Wire``."""
        if self._transport is not None and not self._waiting:
            self._transport.resume_reading()

    def broken(self) -> None:
        """See ``exchange.Wire``."""
        if self._transport is not None:
            self._transport.abort()

    def completed(self, exchange: Exchange) -> None:
        """See ``exchange.Wire``."""
        self._state.total_requests += 1
        self._running = None
        if not exchange.keep_alive:
            self._close()
        elif self._waiting:
            following = self._waiting.popleft()
            self._start(following)
            self.release()
        elif self._writable is None:  # else the reader has its time for the rest, and then the connection is idle
            # What is left of a body that was answered early is read and dropped, but not for ever.
            self._expire_in(self.limits.keep_alive_s if exchange.ended else self.limits.header_s)

    # -- ends

    def _expire_in(self, seconds: float) -> None:
        """Close at that time unless something happens; the timer itself is moved only when it must be sooner."""
        due = self._due = self._loop.time() + seconds
        if self._timer is not None:
            if self._timer.when() <= due:
                return
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._due == _NEVER:
            return
        left = self._due - self._loop.time()
        if left > 0:
            self._timer = self._loop.call_later(left, self._look)
        elif self._writable is not None:
            self.broken()  # closing would wait for the reader to take the rest
        else:
            self._close()

    def _close(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.close()

    def _misunderstood(self) -> None:
        """What is not HTTP is answered once, after the answers that are due before it, and nothing more is read."""
        log.warning(_BAD_REQUEST)
        current = self._current
        pending = self._running
        if current is not None and not current.ended and not current.complete:
            current.lose()  # its own body is broken
            pending = pending if pending is not current else None
        if pending is not None:
            (self._waiting[-1] if self._waiting else pending).keep_alive = False
            self.hold()
            return
        if self._transport is not None and not (current and current.begun and not current.complete):
            plain = f"content-type: text/plain; charset=utf-8\r\ncontent-length: {len(_BAD_REQUEST)}\r\n"
            self.write(f"HTTP/1.1 400 Bad Request\r\n{plain}connection: close\r\n\r\n{_BAD_REQUEST}".encode())
        self._close()

    def _upgrade(self) -> None:
        """A WebSocket is uvicorn's from here on; other upgrades are not made, which the answer's end says."""
        headers = Headers(self._headers)
        made: Any = self._config.ws_protocol_class
        if not _wants_socket(headers) or made is None or self._transport is None:
            log.warning("Unsupported upgrade request.")
            if self._current is not None:
                self._current.keep_alive = False
            return
        self._state.connections.discard(cast(Any, self))
        if self._timer is not None:
            self._timer.cancel()
        self._due = _NEVER
        lines = [f"{self._parser.get_method().decode('ascii')} {self._url.decode('latin-1')} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in self._headers]
        protocol = made(config=self._config, server_state=self._state, app_state=self._app_state)
        protocol.connection_made(self._transport)
        protocol.data_received("\r\n".join([*lines, "", ""]).encode("latin-1"))
        self._transport.set_protocol(protocol)


@lru_cache(maxsize=2)
def _dated(second: int) -> str:
    return f"date: {formatdate(second, usegmt=True)}"


def _wants_socket(headers: Headers) -> bool:
    tokens = headers.get("connection").lower().replace(" ", "").split(",")
    return "upgrade" in tokens and headers.get("upgrade").lower() == "websocket"


def http_protocol(application: Application, limits: HttpSettings) -> Callable[..., asyncio.Protocol]:
    """The protocol class with its application and limits, as uvicorn wants a class."""
    return type("BoundHttpConnection", (HttpConnection,), {"application": application, "limits": limits})
