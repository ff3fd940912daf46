"""HTTP and WebSocket APIs by their official clients, against the real HTTP application in this process.

The functions are Python callables behind a stand-in for the pool of workers, which has tests of its own.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import boto3
import pytest
import uvicorn
import websockets
from botocore.config import Config
from botocore.exceptions import ClientError

from sluiceway.config import ApiSettings, HttpSettings, SecuritySettings, StoreSettings
from sluiceway.core.clock import SystemClock
from sluiceway.core.identity import Principal, Scope
from sluiceway.core.invoker import Invocation
from sluiceway.core.wakeups import Wakeups
from sluiceway.edges.apis.http import ApiEdge
from sluiceway.edges.apis.sockets import WebSocketEdge
from sluiceway.edges.asgi import Application
from sluiceway.edges.aws.apigatewaymanagementapi import management_edge, path_of
from sluiceway.edges.aws.apigatewayv2 import apigatewayv2_edge
from sluiceway.edges.aws.codecs import Codecs
from sluiceway.edges.aws.operations import ServiceEdge
from sluiceway.edges.aws.pipeline import AwsPipeline
from sluiceway.edges.http import Handler
from sluiceway.edges.routing import Router
from sluiceway.edges.sigv4 import SignatureVerifier
from sluiceway.engines.sqlite.store import SqliteStore, open_store
from sluiceway.errors import NotFound, Unauthenticated
from sluiceway.services.access import authorize
from sluiceway.services.apis import Apis
from sluiceway.services.connections import Connection, Connections

SCOPE = Scope("000000000000", "us-east-1")
ROOT = Principal("root", SCOPE.account, "root", "arn:aws:iam::000000000000:root", access_key_id="AKIAROOT")
READER_POLICY = {
    "Statement": [{"Effect": "Allow", "Action": "apigateway:GET", "Resource": "arn:aws:apigateway:us-east-1::/apis/*"}],
    "Version": "2012-10-17",
}
READER = Principal("user", SCOPE.account, "reader", "arn:aws:iam::000000000000:user/reader", policies=(READER_POLICY,))
LIMITS = ApiSettings(keys_retry_s=0.2, socket_waiting_bytes_max=512 * 1024)

Event = dict[str, Any]


class Ring:
    """Two keys."""

    def find(self, access_key_id: str, session_token: str | None) -> tuple[str, Principal]:
        known = {"AKIAROOT": ROOT, "AKIAREADER": READER}.get(access_key_id)
        if known is None:
            raise Unauthenticated("unknown_key", "The security token included in the request is invalid.")
        return "secret", known


class Nobody:
    """Takes no measurements."""

    def observe(self, service: str, status: int, seconds: float) -> None:
        return


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
        return boto3.client(
            service,
            endpoint_url=url or self.url,
            region_name="us-east-1",
            aws_access_key_id=key,
            aws_secret_access_key="secret",
            config=Config(retries={"max_attempts": 1}),
        )


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    wakeups, clock = Wakeups(), SystemClock()
    store = await open_store(tmp_path / "store.db", StoreSettings(), clock, wakeups)
    pool, apis = Pool(), Apis(SCOPE, LIMITS)
    http = ApiEdge(store, apis, pool, pool.may_invoke, SCOPE, LIMITS, clock)
    where: list[str] = []
    sockets = WebSocketEdge(store, apis, Connections(), pool, pool.may_invoke, SCOPE, LIMITS, lambda: where[0], clock)
    verifier = SignatureVerifier(Ring(), SCOPE, clock, SecuritySettings())
    codecs = Codecs()

    def pipeline(edge: ServiceEdge, path_of: Callable[[bytes], bytes] = bytes) -> Handler:
        given = (edge, codecs, verifier, authorize, SCOPE, clock, HttpSettings(), lambda: where[0], path_of)
        return AwsPipeline(*given).handle

    handlers = {
        "api": http.handle,
        "apigatewayv2": pipeline(apigatewayv2_edge(store, apis, LIMITS)),
        "apigatewaymanagementapi": pipeline(management_edge(sockets, LIMITS), path_of),
    }
    app = Application(Router(handlers, {}), sockets.sockets, HttpSettings(), Nobody())
    running = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", lifespan="off"))
    task = asyncio.create_task(running.serve())
    while not running.started:
        await asyncio.sleep(0.005)
    where.append(f"http://127.0.0.1:{running.servers[0].sockets[0].getsockname()[1]}")
    yield Server(where[0], store, pool, apis, sockets)
    await sockets.stop(2.0)
    await http.close()
    running.should_exit = True
    await task
    await store.close()


async def call(method: Any, /, **params: Any) -> Any:
    """A blocking client's call beside the loop that serves it."""
    return await asyncio.to_thread(method, **params)


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


async def test_a_request_reaches_its_function_in_format_2(server: Server) -> None:
    server.pool.functions["echo"] = echo
    api = await make_api(server, {"POST /pets/{id}": "echo"})
    assert api["ApiEndpoint"] == f"{server.url}/_api/{api['ApiId']}"
    async with aiohttp.ClientSession(cookies=[("a", "1"), ("b", "2")]) as http:
        response = await http.post(
            f"{api['ApiEndpoint']}/pets/caf%C3%A9?x=1&x=2&y=a%20b",
            data=json.dumps({"name": "é"}),
            headers=[("Content-Type", "application/json"), ("X-Two", "1"), ("X-Two", "2"), ("User-Agent", "test")],
        )
        event = await response.json()
    assert response.status == 200
    assert event["version"] == "2.0" and event["routeKey"] == "POST /pets/{id}"
    assert event["rawPath"] == "/pets/café" and event["rawQueryString"] == "x=1&x=2&y=a%20b"
    assert event["pathParameters"] == {"id": "café"}
    assert event["queryStringParameters"] == {"x": "1,2", "y": "a b"}
    assert event["headers"]["x-two"] == "1,2" and "cookie" not in event["headers"]
    assert sorted(event["cookies"]) == ["a=1", "b=2"]
    assert json.loads(event["body"]) == {"name": "é"} and event["isBase64Encoded"] is False
    context = event["requestContext"]
    assert context["accountId"] == SCOPE.account and context["apiId"] == api["ApiId"]
    assert context["stage"] == "$default" and context["routeKey"] == "POST /pets/{id}"
    assert context["http"] == {
        "method": "POST",
        "path": "/pets/café",
        "protocol": "HTTP/1.1",
        "sourceIp": "127.0.0.1",
        "userAgent": "test",
    }
    assert abs(context["timeEpoch"] - time.time() * 1000) < 5000 and context["time"].endswith("+0000")
    assert server.pool.sources == [
        f"arn:aws:execute-api:us-east-1:000000000000:{api['ApiId']}/$default/POST/pets/{{id}}"
    ]


async def make_socket_api(server: Server, routes: dict[str, str], **more: Any) -> dict[str, Any]:
    """A WebSocket API whose routes (key -> function) are served by the stage "prod"."""
    client = server.client()
    api = await call(
        client.create_api, Name="chat", ProtocolType="WEBSOCKET", RouteSelectionExpression="$request.body.action"
    )
    for key, name in routes.items():
        uri = f"arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/{function_arn(name)}/invocations"
        made = await call(
            client.create_integration, ApiId=api["ApiId"], IntegrationType="AWS_PROXY", IntegrationUri=uri
        )
        target = f"integrations/{made['IntegrationId']}"
        await call(client.create_route, ApiId=api["ApiId"], RouteKey=key, Target=target, **more.get(key, {}))
    deployment = await call(client.create_deployment, ApiId=api["ApiId"])
    await call(client.create_stage, ApiId=api["ApiId"], StageName="prod", DeploymentId=deployment["DeploymentId"])
    return dict(api)


def ok(event: Event) -> Any:
    return {"statusCode": 200}


async def until(condition: Callable[[], Any], seconds: float = 3.0) -> None:
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, "it did not happen in time"
        await asyncio.sleep(0.01)


def contexts(server: Server, event_type: str) -> list[dict[str, Any]]:
    found = [event.get("requestContext", {}) for event in server.pool.events]
    return [context for context in found if context.get("eventType") == event_type]


async def test_a_conversation(server: Server) -> None:
    server.pool.functions |= {"door": ok, "say": lambda event: {"statusCode": 200, "body": f"you said {event['body']}"}}
    api = await make_socket_api(
        server,
        {"$connect": "door", "$disconnect": "door", "say": "say", "$default": "door"},
        say={"RouteResponseSelectionExpression": "$default"},
    )
    assert api["ApiEndpoint"] == f"ws{server.url[4:]}/_ws/{api['ApiId']}"
    async with websockets.connect(f"{api['ApiEndpoint']}/prod?room=1", user_agent_header="test") as socket:
        await socket.send('{"action": "say", "text": "hello"}')
        assert await socket.recv() == 'you said {"action": "say", "text": "hello"}'
        await socket.send("not json")
        await until(lambda: len(contexts(server, "MESSAGE")) == 2)
        connected = server.pool.events[0]
        connection_id = connected["requestContext"]["connectionId"]
        management = server.client("apigatewaymanagementapi", url=f"{server.url}/_ws/{api['ApiId']}/prod")
        await call(management.post_to_connection, ConnectionId=connection_id, Data=b"pushed")
        assert await socket.recv() == "pushed"
        known = await call(management.get_connection, ConnectionId=connection_id)
        assert known["Identity"] == {"SourceIp": "127.0.0.1", "UserAgent": "test"}
    assert connected["queryStringParameters"] == {"room": "1"} and "Host" in connected["headers"]
    assert connected["requestContext"]["routeKey"] == "$connect"
    assert connected["requestContext"]["stage"] == "prod"
    assert f"ws://{connected['requestContext']['domainName']}/prod" == f"{api['ApiEndpoint']}/prod"
    assert [context["routeKey"] for context in contexts(server, "MESSAGE")] == ["say", "$default"]
    await until(lambda: contexts(server, "DISCONNECT"))
    ended = contexts(server, "DISCONNECT")[0]
    assert ended["connectionId"] == connection_id and ended["disconnectStatusCode"] == 1000
    with pytest.raises(ClientError) as gone:
        await call(management.post_to_connection, ConnectionId=connection_id, Data=b"late")
    assert gone.value.response["Error"]["Code"] == "GoneException"
    assert gone.value.response["ResponseMetadata"]["HTTPStatusCode"] == 410
    assert f"{api['ApiId']}/prod/$connect" in server.pool.sources[0]
