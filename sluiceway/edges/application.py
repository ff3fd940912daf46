"""Runs requests: from an exchange to the edge that answers, and failures into answers.

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
from sluiceway.edges.exchange import Exchange
from sluiceway.edges.http import Body, ClientGone, Handler, Receive, Request, Response, Room
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
        """The ASGI 3 entry point, which WebSockets come through."""
        if scope["type"] == "websocket":
            await self._sockets(scope, receive, send)

    async def serve(self, exchange: Exchange, scheme: str, client: str) -> None:
        """Answer one request, whatever happens (see ``edges.protocol.Application``)."""
        began = time.perf_counter()
        request = self._request(exchange, scheme, client)
        try:
            response = await self._respond(request)
            status = await self._send(exchange, request, response) if response is not None else 0
        finally:
            request.body.release()
            if not exchange.complete:  # nobody waits, a stream broke, or the server stops in the middle of it
                exchange.cut()
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
            return _failed(request)

    def _request(self, exchange: Exchange, scheme: str, client: str) -> Request:
        headers, limits = exchange.headers, self._limits
        length = headers.get("content-length")
        announced = int(length) if length and _LENGTH.match(length) else None
        body = Body(exchange, limits.body_idle_s, announced, self._room, limits.body_s)
        scratch = {} if scheme == "http" else {"tls_version": exchange.tls_version}
        return Request(
            exchange.method, exchange.raw_path, exchange.raw_query, headers, body, scheme, client, new_id(), scratch
        )

    async def _send(self, exchange: Exchange, request: Request, response: Response) -> int:
        """Send ``response``; the status that the client saw (0 if a stream broke)."""
        body = response.body
        try:
            if isinstance(body, bytes):
                exchange.answer(response.status, response.headers, body)
                return response.status
            return response.status if await exchange.stream(response.status, response.headers, body) else 0
        except Exception:
            log.exception("request %s: the answer could not be sent", request.request_id)
            if exchange.begun:
                return 0  # the only honest answer left is a connection that ends too early
            return await self._send(exchange, request, _failed(request))


def _failed(request: Request) -> Response:
    return _answer(500, "InternalError", "Something failed in the server; its log says what.", request)


def _plain_error(request: Request, error: DomainError) -> Response:
    """What escaped an edge's own error table, as JSON."""
    if isinstance(error, NotImplementedYet):
        return _answer(501, "NotImplemented", error.message, request)
    status = 413 if isinstance(error, TooLarge) else 503 if isinstance(error, Throttled | Unavailable) else 400
    return _answer(status, type(error).__name__, error.message, request)


def _answer(status: int, code: str, message: str, request: Request) -> Response:
    body = orjson.dumps({"code": code, "message": message, "requestId": request.request_id})
    return Response(status, [("content-type", "application/json")], body)
