"""HTTP APIs: a request, its route, its authorizer, its function, an answer."""

from __future__ import annotations

import logging

from sluiceway.config import ApiSettings
from sluiceway.core.clock import Clock, SystemClock
from sluiceway.core.identity import Scope
from sluiceway.core.invoker import Invoker
from sluiceway.core.store import Store
from sluiceway.edges.apis import answers, cors
from sluiceway.edges.apis.calling import Caller, CallFailed, MayInvoke
from sluiceway.edges.apis.custom import CustomAuthorizer
from sluiceway.edges.apis.events import Incoming, event
from sluiceway.edges.apis.jwt import IssuerKeys, JwtAuthorizer, LocalKeys, Refused, identity_of
from sluiceway.edges.apis.stages import DEFAULT_STAGE, Stages, address
from sluiceway.edges.http import Request, Response, decode
from sluiceway.errors import Invalid, TooLarge
from sluiceway.services.apis import Apis, Route, Served

log = logging.getLogger(__name__)


class ApiEdge:
    """``may_invoke`` asks a function's own policy; ``local_keys`` knows this server's own issuer."""

    def __init__(
        self,
        store: Store,
        apis: Apis,
        invoker: Invoker,
        may_invoke: MayInvoke,
        scope: Scope,
        limits: ApiSettings,
        clock: Clock | None = None,
        local_keys: LocalKeys | None = None,
    ) -> None:
        self._stages = Stages(store, apis, limits)
        self._caller = Caller(invoker, may_invoke, scope, limits)
        self._custom = CustomAuthorizer(self._caller)
        self._scope = scope
        self._limits = limits
        self._clock = clock or SystemClock()
        self._keys = IssuerKeys(limits, local_keys)
        self._tokens = JwtAuthorizer(self._keys, limits)

    async def close(self) -> None:
        """Let go of connections to issuers."""
        await self._keys.close()

    async def handle(self, request: Request) -> Response:
        """Answer a request to ``/_api/ID/...`` or the host ``ID.execute-api...``."""
        response = await self._answer(request)
        response.headers.append(("apigw-requestid", request.request_id))
        return response

    async def _answer(self, request: Request) -> Response:
        found = address(request.host, request.raw_path, b"/_api/")
        stages = await self._stages.of(found.api_id) if found is not None else {}
        if found is None or not stages:
            return answers.message(404, "Not Found")
        try:
            pieces = [decode(piece) for piece in found.path[1:].split(b"/")]
        except Invalid:
            return answers.message(400, "Bad Request")
        served = stages.get(pieces[0]) if pieces[0] != DEFAULT_STAGE else None
        prefix = ""
        if served is not None:
            prefix, pieces = f"/{pieces[0]}", pieces[1:] or [""]
        else:
            served = stages.get(DEFAULT_STAGE)
        if served is None or served.protocol != "HTTP":
            return answers.message(404, "Not Found")
        if served.cors:
            early = cors.preflight(served.cors, request)
            if early is not None:
                return early
        response = await self._routed(request, served, pieces, prefix)
        if served.cors:
            cors.add_headers(served.cors, request, response)
        return response

    async def _routed(self, request: Request, served: Served, pieces: list[str], prefix: str) -> Response:
        found = served.route(request.method, pieces)
        if found is None or found[0].integration is None:
            return answers.message(404, "Not Found")
        route, parameters = found
        try:
            path = f"{prefix}/{'/'.join(pieces)}"
            now_ms = self._clock.now_ms()
            incoming = Incoming(request, served, route, path, parameters, b"", self._scope.account, now_ms)
            await self._authorize(incoming, pieces)
            incoming.body = await request.body.read(self._limits.body_bytes_max)
            return await self._run(incoming)
        except Refused as refusal:
            log.info("request %s refused: %s", request.request_id, refusal.reason)
            headers = [("www-authenticate", refusal.challenge)] if refusal.challenge else []
            words = {401: "Unauthorized", 403: "Forbidden"}.get(refusal.status, "Internal Server Error")
            return answers.message(refusal.status, words, headers)
        except TooLarge:
            return answers.message(413, "Request Entity Too Large")
        except Invalid as error:
            return answers.message(408 if error.kind == "request_timeout" else 400, "Bad Request")
        except CallFailed as failure:
            return answers.message(failure.status, failure.message)

    async def _authorize(self, incoming: Incoming, pieces: list[str]) -> None:
        authorizer, request = incoming.route.authorizer, incoming.request
        if authorizer is None:
            return
        if authorizer.kind not in ("JWT", "REQUEST"):
            raise Refused(500, "the route's authorizer is gone")
        query = dict(request.query())
        if authorizer.kind == "JWT":
            text = identity_of(authorizer.sources[0], request.headers.get, query)
            incoming.authorizer = {"jwt": await self._tokens.judge(authorizer, incoming.route.scopes, text)}
            return
        arn = self._arn(incoming.served, request.method, "/".join(pieces))
        incoming.authorizer = {"lambda": await self._custom.judge(authorizer, incoming, query, arn)}

    async def _run(self, incoming: Incoming) -> Response:
        served, integration = incoming.served, incoming.route.integration
        assert integration is not None
        made = event(incoming, integration.payload_format)
        source = self._source(served, incoming.route, incoming.request.method)
        payload = await self._caller.call(integration.uri, served.variables, made, source, integration.timeout_ms)
        try:
            return answers.response_of(payload, integration.payload_format)
        except answers.BadAnswer as error:
            log.warning("%s: %s", source, error)
            return answers.message(502, "Internal Server Error")

    def _arn(self, served: Served, method: str, path: str) -> str:
        return self._caller.arn(f"{served.api_id}/{served.stage}/{method}/{path}")

    def _source(self, served: Served, route: Route, method: str) -> str:
        """The ARN that a function's policy sees: METHOD/PATH of the route's key."""
        named, _, path = route.key.partition(" ")
        if not path:
            return self._caller.arn(f"{served.api_id}/{served.stage}/{route.key}")
        return self._arn(served, method if named == "ANY" else named, path.removeprefix("/"))
