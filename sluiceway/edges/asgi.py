"""The ASGI application: turns scopes into requests, responses into messages, and failures into answers.

No framework stands above it: it is on the path of every request.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import orjson

from sluiceway.config import HttpSettings
from sluiceway.core.clock import new_id
from sluiceway.edges.http import Body, ClientGone, Handler, Headers, Receive, Request, Response, Room
from sluiceway.errors import DomainError, NotImplementedYet, Throttled, TooLarge, Unavailable

log = logging.getLogger(__name__)

_LENGTH = re.compile(r"[0-9]{1,18}\Z")

Scope = dict[str, Any]
Send = Callable[[dict[str, Any]], Awaitable[None]]
SocketHandler = Callable[[Scope, Receive, Send], Awaitable[None]]


class Observer(Protocol):
    """Where request counts and latencies go."""

    def observe(self, service: str, status: int, seconds: float) -> None:
        """One answered request."""


class Application:
    """``route`` chooses an edge for a request (see ``edges.routing``); ``sockets`` takes WebSockets."""

    def __init__(self, route: Handler, sockets: SocketHandler, limits: HttpSettings, observer: Observer) -> None:
        self._route = route
        self._sockets = sockets
        self._limits = limits
        self._observer = observer
        self._room = Room(limits.bodies_bytes_max)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI 3 entry point."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._sockets(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        request = self._request(scope, receive)
        try:
            response = await self._respond(request)
            status = await _send(send, request, response) if response is not None else 0
        finally:
            request.body.release()
        if response is not None:
            seconds = time.perf_counter() - began
            self._observer.observe(request.scratch.get("service", "other"), status, seconds)

    async def _respond(self, request: Request) -> Response | None:
        """The answer; None if nobody waits for it."""
        try:
            if len(request.raw_query) > self._limits.query_bytes_max:
                raise TooLarge("query", "The request's query string is too long.")
            return await self._route(request)
        except ClientGone:
            return None
        except asyncio.CancelledError:
            # Only a stop cancels a request, once its grace has passed (uvicorn, "timeout_graceful_shutdown").
            return _answer(503, "ServiceUnavailable", "The server is stopping. Try again in a moment.", request)
        except DomainError as error:
            return _plain_error(request, error)
        except Exception:
            log.exception("request %s failed", request.request_id)
            return _answer(500, "InternalError", "Something failed in the server; its log says what.", request)

    def _request(self, scope: Scope, receive: Receive) -> Request:
        client = scope.get("client")
        headers = Headers((n.decode("latin-1"), v.decode("latin-1")) for n, v in scope["headers"])
        length = headers.get("content-length")
        return Request(
            method=scope["method"],
            raw_path=scope["raw_path"],
            raw_query=scope["query_string"],
            headers=headers,
            body=Body(
                receive,
                self._limits.body_idle_s,
                int(length) if _LENGTH.match(length) else None,
                self._room,
                self._limits.body_s,
            ),
            scheme=scope["scheme"],
            client=client[0] if client else "",
            request_id=new_id(),
        )


async def _send(send: Send, request: Request, response: Response) -> int:
    """Send ``response``; the status that the client saw (0 if a stream broke)."""
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in response.headers]
    if not request.body.begun and request.headers.get("expect"):
        # The client now leaves out its body, and the next request's bytes would be taken for it (RFC 9110, 10.1.1).
        headers.append((b"connection", b"close"))
    body = response.body
    if isinstance(body, bytes):
        if not any(name == b"content-length" for name, _ in headers) and response.status not in (204, 304):
            headers.append((b"content-length", str(len(body)).encode()))
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if request.method == "HEAD" else body})
        return response.status
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    gone = asyncio.ensure_future(request.body.gone())
    try:
        async for chunk in body:
            if gone.done():
                # Sending goes nowhere now, without an error, and the rest of a large object would be read for nobody.
                return 0
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
    except Exception:
        # The headers are out, so the only honest answer left is a connection that ends too early.
        log.exception("request %s: the response's stream broke", request.request_id)
        raise
    finally:
        gone.cancel()
    await send({"type": "http.response.body", "body": b""})
    return response.status


def _plain_error(request: Request, error: DomainError) -> Response:
    """What escaped an edge's own error table, as JSON."""
    if isinstance(error, NotImplementedYet):
        return _answer(501, "NotImplemented", error.message, request)
    status = 413 if isinstance(error, TooLarge) else 503 if isinstance(error, Throttled | Unavailable) else 400
    return _answer(status, type(error).__name__, error.message, request)


def _answer(status: int, code: str, message: str, request: Request) -> Response:
    body = orjson.dumps({"code": code, "message": message, "requestId": request.request_id})
    return Response(status, [("content-type", "application/json")], body)
