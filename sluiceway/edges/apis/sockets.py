"""WebSocket APIs: connections, their messages to functions, and messages from functions to them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import urlsplit

import orjson

from sluiceway.config import ApiSettings
from sluiceway.core.clock import Clock, SystemClock, new_id
from sluiceway.core.identity import Scope
from sluiceway.core.invoker import Invoker
from sluiceway.core.store import Store
from sluiceway.edges.apis import socket_events as events
from sluiceway.edges.apis.calling import Caller, CallFailed, MayInvoke
from sluiceway.edges.apis.custom import CustomAuthorizer
from sluiceway.edges.apis.jwt import Refused, identity_of
from sluiceway.edges.apis.live import ABNORMAL, GOING_AWAY, NORMAL, TOO_BIG, Live, Send
from sluiceway.edges.apis.socket_events import Surroundings
from sluiceway.edges.apis.stages import Stages, address
from sluiceway.edges.http import Headers, decode, parse_query
from sluiceway.edges.peer import address_of
from sluiceway.errors import DomainError, Invalid, NotFound
from sluiceway.services.apis import Apis, Route, Served
from sluiceway.services.connections import Connection, Connections

log = logging.getLogger(__name__)

Receive = Callable[[], Awaitable[dict[str, Any]]]

_LEFT_OVER_BATCH: Final = 100
_GOODBYE_TRIES: Final = 3
_GOODBYE_WAIT_S: Final = 2.0
_NO_STATUS: Final = 1005
_GONE: Final = "The connection is gone."


class WebSocketEdge:
    """``start`` tells functions of connections that an earlier process left; ``stop`` closes all."""

    def __init__(
        self,
        store: Store,
        apis: Apis,
        connections: Connections,
        invoker: Invoker,
        may_invoke: MayInvoke,
        scope: Scope,
        limits: ApiSettings,
        own_url: Callable[[], str],
        clock: Clock | None = None,
    ) -> None:
        self._store = store
        self._connections = connections
        self._stages = Stages(store, apis, limits)
        self._caller = Caller(invoker, may_invoke, scope, limits)
        self._custom = CustomAuthorizer(self._caller)
        self._limits = limits
        self._own_url = own_url
        self._clock = clock or SystemClock()
        self._boot = new_id()
        self._live: dict[str, Live] = {}
        self._open = 0
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._stopping = False
        self._sweep: asyncio.Task[None] | None = None

    # -- life

    async def start(self) -> None:
        """Begin to tell functions of ends that nobody told them of."""
        self._sweep = asyncio.create_task(self._tell_left_over())

    async def stop(self, grace_s: float) -> None:
        """Close every connection; those that are not done in time are told of at the next start."""
        self._stopping = True
        if self._sweep is not None:
            self._sweep.cancel()
            await asyncio.gather(self._sweep, return_exceptions=True)
        for live in list(self._live.values()):
            live.end(GOING_AWAY, "Going away")
        try:
            await asyncio.wait_for(self._quiet.wait(), grace_s)
        except TimeoutError:
            log.warning("%d WebSockets were still open at the stop", self._open)

    async def _tell_left_over(self) -> None:
        after = ""
        while not self._stopping:
            found = await self._store.view(self._connections.left_over, self._boot, after, _LEFT_OVER_BATCH)
            for connection in found:
                try:
                    await self._goodbye(connection, ABNORMAL, "The server was stopped")
                except DomainError as error:
                    log.warning("nobody could be told of the end of %s: %s", connection.id, error.message)
            if len(found) < _LEFT_OVER_BATCH:
                return
            after = found[-1].id

    # -- the ASGI handler

    async def sockets(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """One WebSocket from its handshake to its end."""
        await receive()  # websocket.connect
        self._open += 1
        self._quiet.clear()
        try:
            if self._stopping:
                await _refuse(scope, send, 503, "Service Unavailable")
            elif self._open > self._limits.sockets_max:
                await _refuse(scope, send, 429, "Too Many Requests")
            else:
                await self._serve(scope, receive, send)
        finally:
            self._open -= 1
            if not self._open:
                self._quiet.set()

    async def _serve(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        headers = Headers((n.decode("latin-1"), v.decode("latin-1")) for n, v in scope["headers"])
        served = await self._stage(headers, scope["raw_path"])
        if served is None:
            await _refuse(scope, send, 403, "Forbidden")
            return
        connection = Connection(
            Connections.new_id(served.api_id), served.api_id, served.stage, self._boot, self._clock.now_ms(),
            address_of(scope.get("client")), headers.get("user-agent"),
        )  # fmt: skip
        code, reason = ABNORMAL, "The connection was lost"
        try:
            live = await self._connected(connection, scope, headers, served, send)
            if live is None:
                return
            code, reason = await self._converse(live, receive, send)
            connection = live.around.connection
        except OSError as error:
            log.info("connection %s was lost: %s", connection.id, error or type(error).__name__)
        finally:
            self._live.pop(connection.id, None)
        await self._goodbye(connection, code, reason)

    async def _stage(self, headers: Headers, raw_path: bytes) -> Served | None:
        found = address(headers.get("host").lower(), raw_path, b"/_ws/")
        if found is None:
            return None
        try:
            name = decode(found.path.strip(b"/"))
        except Invalid:
            return None
        served = (await self._stages.of(found.api_id)).get(name)
        return served if served is not None and served.protocol == "WEBSOCKET" else None

    def _around(self, connection: Connection, variables: dict[str, str]) -> Surroundings:
        """``domainName/stage`` is where @connections is: this server's own address, whatever the client says."""
        domain = f"{urlsplit(self._own_url()).netloc}/_ws/{connection.api_id}"
        return Surroundings(connection, domain, variables)

    # -- connecting

    async def _connected(
        self, connection: Connection, scope: dict[str, Any], headers: Headers, served: Served, send: Send
    ) -> Live | None:
        """None if the client was refused. Raises ``OSError`` if it left in between."""
        await self._store.commit(self._connections.add, connection)
        try:
            live, subprotocol = await self._asked(connection, served, headers, scope["query_string"])
        except Refused as refusal:
            log.info("connection %s refused: %s", connection.id, refusal.reason)
            await self._store.commit(self._connections.remove, connection.id)
            await _refuse(scope, send, refusal.status, _WORDS.get(refusal.status, "Internal server error"))
            return None
        await send({"type": "websocket.accept", "subprotocol": subprotocol})
        return live

    async def _asked(
        self, connection: Connection, served: Served, headers: Headers, raw_query: bytes
    ) -> tuple[Live, str | None]:
        """Ask the authorizer and ``$connect``. Raises ``Refused``."""
        around = self._around(connection, served.variables)
        route = served.named.get("$connect")
        if route is None:
            self._live[connection.id] = live = Live(around, self._limits)
            return live, None
        try:
            event = events.connect_event(around, headers.items, raw_query, connection.connected_ms)
        except Invalid:
            raise Refused(400, "the query is not UTF-8") from None
        if route.authorizer is not None:
            context = await self._authorized(route, served, event, headers, raw_query)
            event["requestContext"]["authorizer"] = context
            connection = _with_authorizer(connection, context)
            await self._store.commit(self._connections.add, connection)
            around = self._around(connection, served.variables)
        self._live[connection.id] = live = Live(around, self._limits)  # what $connect sends to it waits
        try:
            answer = await self._run(route, served, event)
        except CallFailed as failure:
            raise Refused(failure.status, str(failure)) from None
        if answer is not None and not 200 <= answer.status <= 299:
            raise Refused(answer.status if answer.status >= 400 else 403, f"$connect said {answer.status}")
        return live, answer.subprotocol if answer is not None else None

    async def _authorized(
        self, route: Route, served: Served, event: dict[str, Any], headers: Headers, raw_query: bytes
    ) -> dict[str, Any]:
        authorizer = route.authorizer
        if authorizer is None or authorizer.kind != "REQUEST":
            raise Refused(500, "the route's authorizer is gone")
        query = dict(parse_query(raw_query))
        if not all(identity_of(source, headers.get, query) for source in authorizer.sources):
            raise Refused(401, "an identity source is missing")
        arn = self._arn(served, "$connect")
        asked = {**event, "type": "REQUEST", "methodArn": arn}
        return await self._custom.ask(authorizer, served.api_id, served.variables, asked, arn)

    # -- messages

    async def _converse(self, live: Live, receive: Receive, send: Send) -> tuple[int, str]:
        """Until either side ends it: the code and the reason."""
        writer = asyncio.create_task(live.write(send))
        running: set[asyncio.Task[None]] = set()
        try:
            return await self._read(live, receive, writer, running)
        finally:
            live.end(ABNORMAL, "The connection was lost")
            writer.cancel()
            await asyncio.gather(writer, *running, return_exceptions=True)

    async def _read(
        self, live: Live, receive: Receive, writer: asyncio.Task[None], running: set[asyncio.Task[None]]
    ) -> tuple[int, str]:
        ends_ms = live.around.connection.connected_ms + self._limits.socket_s_max * 1000
        while True:
            message = await self._next(live, receive, writer, ends_ms)
            if message is None:
                await asyncio.wait({writer}, timeout=self._limits.socket_send_s)
                return live.ended or (ABNORMAL, "The connection was lost")
            if message["type"] == "websocket.disconnect":
                return live.ended or _ending(message)
            body: str | bytes = message["text"] if message.get("text") is not None else message.get("bytes") or b""
            size = len(body.encode()) if isinstance(body, str) else len(body)
            if size > self._limits.message_bytes_max:
                live.end(TOO_BIG, "Message too big")
                continue
            live.active_ms = self._clock.now_ms()
            task = asyncio.create_task(self._message(live, body))
            running.add(task)
            task.add_done_callback(running.discard)
            while len(running) >= self._limits.socket_concurrency and not writer.done():
                await asyncio.wait({writer, *running}, return_when=asyncio.FIRST_COMPLETED)

    async def _next(
        self, live: Live, receive: Receive, writer: asyncio.Task[None], ends_ms: float
    ) -> dict[str, Any] | None:
        """The next message; None once the connection was ended from this side."""
        receiving = asyncio.ensure_future(receive())
        try:
            while True:
                now_ms = self._clock.now_ms()
                idle_ms = live.active_ms + self._limits.socket_idle_s * 1000
                left_ms = min(idle_ms, ends_ms) - now_ms
                if left_ms <= 0:
                    reason = "Idle for too long" if idle_ms <= ends_ms else "Maximum duration reached"
                    live.end(GOING_AWAY, reason)
                    return None
                waited = {receiving, writer}
                await asyncio.wait(waited, timeout=left_ms / 1000, return_when=asyncio.FIRST_COMPLETED)
                if receiving.done():
                    return receiving.result()
                if writer.done():
                    return None
        finally:
            receiving.cancel()

    async def _message(self, live: Live, body: str | bytes) -> None:
        connection = live.around.connection
        try:
            served = (await self._stages.of(connection.api_id)).get(connection.stage)
            if served is None:
                live.end(GOING_AWAY, "The API is gone")
                return
            key = events.selected(served.selection, body)
            route = served.message_route(key if key is not None and not key.startswith("$") else "$default")
            if route is None:
                self._complain(live, "Forbidden")
                return
            answer = await self._run(
                route, served, events.message_event(live.around, route.key, body, self._clock.now_ms())
            )
            if answer is None:
                return
            if answer.status == 502:
                self._complain(live, "Internal server error")
            elif route.responds and answer.body:
                self._send(live, answer.body)
        except CallFailed:
            self._complain(live, "Internal server error")
        except DomainError as error:
            log.warning("a message of connection %s failed: %s", connection.id, error.message)
            self._complain(live, "Internal server error")
        except Exception:
            log.exception("a message of connection %s failed", connection.id)
            self._complain(live, "Internal server error")

    async def _run(self, route: Route, served: Served, event: dict[str, Any]) -> events.Answer | None:
        """The answer of the route's function; None if there is none to ask. Raises ``CallFailed``."""
        integration = route.integration
        if integration is None or integration.kind == "MOCK":
            return None
        source = self._arn(served, route.key)
        variables = served.variables
        payload = await self._caller.call(integration.uri, variables, event, source, integration.timeout_ms)
        return events.answer_of(payload)

    def _arn(self, served: Served, route_key: str) -> str:
        return self._caller.arn(f"{served.api_id}/{served.stage}/{route_key}")

    def _complain(self, live: Live, words: str) -> None:
        told = {"message": words, "connectionId": live.around.connection.id, "requestId": new_id()}
        self._send(live, orjson.dumps(told))

    # -- the end

    async def _goodbye(self, connection: Connection, code: int, reason: str) -> None:
        """Tell ``$disconnect`` and forget the connection. If the function can't be run now because the server
        stops, the row stays for the next start."""
        for number in range(_GOODBYE_TRIES):
            try:
                served = (await self._stages.of(connection.api_id)).get(connection.stage)
                route = served.named.get("$disconnect") if served is not None else None
                if served is not None and route is not None:
                    around = self._around(connection, served.variables)
                    event = events.disconnect_event(around, code, reason, self._clock.now_ms())
                    await self._run(route, served, event)
                break
            except CallFailed as failure:
                log.warning("$disconnect of connection %s failed: %s", connection.id, failure)
                if failure.status != 503:
                    break
                if self._stopping:
                    return
                await asyncio.sleep(_GOODBYE_WAIT_S * (number + 1))
        await self._store.commit(self._connections.remove, connection.id)

    # -- @connections

    def post(self, api_id: str, stage: str, connection_id: str, data: bytes) -> None:
        """Send to a client. Raises ``NotFound("connection")`` if it is gone."""
        if not self._send(self._find(api_id, stage, connection_id), data):
            raise NotFound("connection", _GONE)

    def state(self, api_id: str, stage: str, connection_id: str) -> tuple[Connection, int]:
        """The connection, and when something last went either way. Raises ``NotFound("connection")``."""
        live = self._find(api_id, stage, connection_id)
        return live.around.connection, live.active_ms

    def close(self, api_id: str, stage: str, connection_id: str) -> None:
        """Close a client's connection. Raises ``NotFound("connection")``."""
        self._find(api_id, stage, connection_id).end(NORMAL, "Connection closed by the API")

    def _find(self, api_id: str, stage: str, connection_id: str) -> Live:
        live = self._live.get(connection_id)
        connection = live.around.connection if live is not None and live.ended is None else None
        if live is None or connection is None or connection.api_id != api_id or stage not in ("", connection.stage):
            raise NotFound("connection", _GONE)
        return live

    def _send(self, live: Live, data: bytes) -> bool:
        """Text, if it is UTF-8."""
        live.active_ms = self._clock.now_ms()
        try:
            return live.post(data.decode("utf-8"), len(data))
        except UnicodeDecodeError:
            return live.post(data, len(data))


_WORDS: Final = {401: "Unauthorized", 403: "Forbidden", 429: "Too Many Requests", 400: "Bad Request"}


def _ending(message: dict[str, Any]) -> tuple[int, str]:
    """RFC 6455, 7.1.5: without a closing handshake it is 1006; uvicorn says 1005 then, and gives no reason."""
    code = message.get("code") or ABNORMAL
    if code == _NO_STATUS and "reason" not in message:
        code = ABNORMAL
    return code, message.get("reason") or ("The connection was lost" if code == ABNORMAL else "")


def _with_authorizer(connection: Connection, context: dict[str, Any]) -> Connection:
    return Connection(
        connection.id, connection.api_id, connection.stage, connection.boot, connection.connected_ms,
        connection.source_ip, connection.user_agent, context,
    )  # fmt: skip


async def _refuse(scope: dict[str, Any], send: Send, status: int, words: str) -> None:
    """End the handshake with an HTTP answer (ASGI extension "websocket.http.response"), or else with 403."""
    try:
        if "websocket.http.response" in (scope.get("extensions") or {}):
            body = orjson.dumps({"message": words})
            headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
            await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
            await send({"type": "websocket.http.response.body", "body": body})
        else:
            await send({"type": "websocket.close", "code": 1008})
    except OSError:
        log.debug("the client left before its refusal")
