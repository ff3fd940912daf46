"""HTTP and WebSocket APIs in the test's own process: a server of one account, and functions that are Python functions."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from helpers.inprocess import SCOPE, boto, call, user
from sluiceway.config import ApiSettings
from sluiceway.core.invoker import Invocation
from sluiceway.edges.apis.sockets import WebSocketEdge
from sluiceway.engines.sqlite.store import SqliteStore
from sluiceway.errors import NotFound
from sluiceway.services.apis import Apis

READER = user(
    "reader",
    {"Effect": "Allow", "Action": "apigateway:GET", "Resource": "arn:aws:apigateway:us-east-1::/apis/*"},
)
LIMITS = ApiSettings(keys_retry_s=0.2, socket_waiting_bytes_max=512 * 1024)
Event = dict[str, Any]


class HandlerFailed(Exception):
    """The function's own failure."""


@dataclass
class Pool:
    """Functions by name; what they got, and who asked whether it may."""

    functions: dict[str, Callable[[Event], Awaitable[Any] | Any]] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    closed_to_apis: set[str] = field(default_factory=set)

    async def invoke(
        self,
        function: str,
        payload: bytes,
        *,
        qualifier: str | None = None,
        request_id: str | None = None,
        client_context: str | None = None,
    ) -> Invocation:
        event = json.loads(payload)
        self.events.append(event)
        if function not in self.functions:
            raise NotFound("function", f"Function not found: {function}")
        try:
            answer = self.functions[function](event)
            if asyncio.iscoroutine(answer):
                answer = await answer
        except HandlerFailed as error:
            body = json.dumps({"errorMessage": str(error), "errorType": "HandlerFailed"}).encode()
            return Invocation(body, "Unhandled", "$LATEST", b"", 1.0, "r")
        return Invocation(json.dumps(answer).encode(), None, qualifier or "$LATEST", b"", 1.0, "r")

    async def may_invoke(self, function: str, source_arn: str) -> bool:
        self.sources.append(source_arn)
        return function not in self.closed_to_apis


@dataclass
class Server:
    """The address, and what is behind it."""

    url: str
    store: SqliteStore
    pool: Pool
    apis: Apis
    sockets: WebSocketEdge

    def client(self, service: str = "apigatewayv2", key: str = "AKIAROOT", url: str = "") -> Any:
        return boto(url or self.url, service, key)


def function_arn(name: str) -> str:
    return SCOPE.arn("lambda", f"function:{name}")


async def make_api(server: Server, routes: dict[str, str], **fields: Any) -> dict[str, Any]:
    """An HTTP API whose routes (key -> function) are served at once."""
    client = server.client()
    api = await call(client.create_api, Name="shop", ProtocolType="HTTP", **fields)
    for key, name in routes.items():
        made = await call(
            client.create_integration,
            ApiId=api["ApiId"],
            IntegrationType="AWS_PROXY",
            IntegrationUri=function_arn(name),
            PayloadFormatVersion="2.0",
        )
        await call(
            client.create_route, ApiId=api["ApiId"], RouteKey=key, Target=f"integrations/{made['IntegrationId']}"
        )
    await call(client.create_stage, ApiId=api["ApiId"], StageName="$default", AutoDeploy=True)
    return dict(api)


def echo(event: Event) -> Any:
    return {"statusCode": 200, "headers": {"content-type": "application/json"}, "body": json.dumps(event)}


def ok(event: Event) -> Any:
    return {"statusCode": 200}


async def fetch(method: str, url: str, **more: Any) -> tuple[int, bytes, dict[str, str]]:
    async with aiohttp.ClientSession() as http, http.request(method, url, allow_redirects=False, **more) as response:
        return response.status, await response.read(), {k.lower(): v for k, v in response.headers.items()}
