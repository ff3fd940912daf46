"""HTTP and WebSocket APIs by their official clients, against the real HTTP application in this process.

The functions are Python callables behind a stand-in for the pool of workers, which has tests of its own.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import boto3
import pytest
import websockets
import yaml
from aiohttp import web
from botocore.config import Config
from botocore.exceptions import ClientError
from helpers.inprocess import listening
from helpers.waiting import until
from joserfc import jwt as tokens
from joserfc.jwk import ECKey, KeySet, RSAKey
from yarl import URL

from sluiceway.config import ApiSettings, HttpSettings, SecuritySettings, StoreSettings
from sluiceway.core.clock import SystemClock
from sluiceway.core.identity import Principal, Scope
from sluiceway.core.invoker import Invocation
from sluiceway.core.wakeups import Wakeups
from sluiceway.edges.apis.http import ApiEdge
from sluiceway.edges.apis.sockets import WebSocketEdge
from sluiceway.edges.aws.apigatewaymanagementapi import management_edge, path_of
from sluiceway.edges.aws.apigatewayv2 import apigatewayv2_edge
from sluiceway.edges.aws.codecs import Codecs
from sluiceway.edges.aws.operations import ServiceEdge
from sluiceway.edges.aws.pipeline import AwsPipeline
from sluiceway.edges.http import Handler
from sluiceway.edges.routing import Router
from sluiceway.edges.sigv4 import SignatureVerifier
from sluiceway.engines.sqlite.store import SqliteStore, open_store
from sluiceway.errors import NotFound, Throttled, Unauthenticated
from sluiceway.services.access import authorize
from sluiceway.services.apis import Apis
from sluiceway.services.apis.routes import RouteKey, choose
from sluiceway.services.connections import Connection, Connections
from sluiceway.services.stacks.sam import translate

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
async def server(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Server]:
    limits = getattr(request, "param", LIMITS)
    wakeups, clock = Wakeups(), SystemClock()
    store = await open_store(tmp_path / "store.db", StoreSettings(), clock, wakeups)
    pool, apis = Pool(), Apis(SCOPE, limits)
    http = ApiEdge(store, apis, pool, pool.may_invoke, SCOPE, limits, clock)
    where: list[str] = []
    sockets = WebSocketEdge(store, apis, Connections(), pool, pool.may_invoke, SCOPE, limits, lambda: where[0], clock)
    verifier = SignatureVerifier(Ring(), SCOPE, clock, SecuritySettings())
    codecs = Codecs()

    def pipeline(edge: ServiceEdge, path_of: Callable[[bytes], bytes] = bytes) -> Handler:
        given = (edge, codecs, verifier, authorize, SCOPE, clock, HttpSettings(), lambda: where[0], path_of)
        return AwsPipeline(*given).handle

    handlers = {
        "api": http.handle,
        "apigatewayv2": pipeline(apigatewayv2_edge(store, apis, limits)),
        "apigatewaymanagementapi": pipeline(management_edge(sockets, limits), path_of),
    }
    async with listening(Router(handlers, {}), sockets.sockets) as url:
        where.append(url)
        yield Server(url, store, pool, apis, sockets)
        await sockets.stop(2.0)
        await http.close()
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


# -- HTTP APIs


async def fetch(method: str, url: str, **more: Any) -> tuple[int, bytes, dict[str, str]]:
    async with aiohttp.ClientSession() as http, http.request(method, url, allow_redirects=False, **more) as response:
        return response.status, await response.read(), {k.lower(): v for k, v in response.headers.items()}


@pytest.mark.parametrize(
    ("method", "path", "key"),
    [
        ("GET", "/pets/dog/1", "GET /pets/dog/1"),
        ("GET", "/pets/dog/2", "GET /pets/dog/{id}"),
        ("GET", "/pets/cat/1", "GET /pets/{proxy+}"),
        ("POST", "/test/5", "ANY /{proxy+}"),
        ("POST", "/pets/dog/1", "ANY /{proxy+}"),
        ("GET", "/", "$default"),
        ("GET", "", "$default"),
    ],
)
def test_the_most_specific_route_wins(method: str, path: str, key: str) -> None:
    """The Developer Guide's own example."""
    keys = ["$default", "ANY /{proxy+}", "GET /pets/{proxy+}", "GET /pets/dog/{id}", "GET /pets/dog/1"]
    found = choose([(RouteKey.parse(text), text) for text in keys], method, path[1:].split("/"))
    assert found is not None and found[0] == key


async def test_answers_in_both_formats(server: Server) -> None:
    answers: dict[str, Any] = {
        "plain": "hello",
        "object": {"a": 1},
        "none": None,
        "full": {
            "statusCode": "201",
            "headers": {"X-A": "1", "Connection": "close", "Content-Length": "999"},
            "multiValueHeaders": {"x-b": ["1", "2"]},
            "cookies": ["a=1; Secure", "b=2"],
            "body": base64.b64encode(b"\x00\xff").decode(),
            "isBase64Encoded": True,
        },
        "bad": {"statusCode": 200, "body": {"not": "text"}},
        "split": {"statusCode": 200, "headers": {"x-a": "1\r\nx-b: 2"}},
        "status": {"statusCode": 42},
        "empty": {"statusCode": 204, "body": "ignored"},
    }
    server.pool.functions["f"] = lambda event: answers[event["pathParameters"]["name"]]
    api = await make_api(server, {"GET /{name}": "f"})
    base = api["ApiEndpoint"]
    assert (await fetch("GET", f"{base}/plain"))[:2] == (200, b"hello")
    status, body, headers = await fetch("GET", f"{base}/object")
    assert (status, json.loads(body), headers["content-type"]) == (200, {"a": 1}, "application/json")
    assert (await fetch("GET", f"{base}/none"))[:2] == (200, b"null")
    async with aiohttp.ClientSession() as http, http.get(f"{base}/full") as response:
        assert response.status == 201 and await response.read() == b"\x00\xff"
        assert response.headers.getall("set-cookie") == ["a=1; Secure", "b=2"]
        assert response.headers.getall("x-b") == ["1", "2"] and response.headers["content-length"] == "2"
    assert (await fetch("GET", f"{base}/empty"))[:2] == (204, b"")
    for name in ("bad", "split", "status"):
        status, body, _headers = await fetch("GET", f"{base}/{name}")
        assert (status, json.loads(body)) == (502, {"message": "Internal Server Error"})
    assert (await fetch("GET", f"{base}/a/b"))[:2] == (404, b'{"message":"Not Found"}')


async def test_format_1(server: Server) -> None:
    server.pool.functions["echo"] = echo
    server.pool.functions["short"] = lambda event: {"a": 1}
    api, client = await make_api(server, {}), server.client()
    for key, name in (("ANY /x/{proxy+}", "echo"), ("GET /short", "short")):
        made = await call(
            client.create_integration,
            ApiId=api["ApiId"],
            IntegrationType="AWS_PROXY",
            IntegrationUri=function_arn(name),
            PayloadFormatVersion="1.0",
        )
        target = f"integrations/{made['IntegrationId']}"
        await call(client.create_route, ApiId=api["ApiId"], RouteKey=key, Target=target)
    headers = [("X-Two", "1"), ("X-Two", "2"), ("Content-Type", "application/octet-stream")]
    _status, body, _headers = await fetch(
        "PUT", f"{api['ApiEndpoint']}/x/a/b?q=1&q=2", data=b"\x00\xff", headers=headers
    )
    event = json.loads(body)
    assert (event["version"], event["resource"], event["path"]) == ("1.0", "/x/{proxy+}", "/x/a/b")
    assert event["httpMethod"] == "PUT" and event["pathParameters"] == {"proxy": "a/b"}
    assert event["multiValueQueryStringParameters"] == {"q": ["1", "2"]}
    assert event["queryStringParameters"] == {"q": "2"}
    assert event["multiValueHeaders"]["x-two"] == ["1", "2"] and event["headers"]["x-two"] == "2"
    assert event["isBase64Encoded"] and base64.b64decode(event["body"]) == b"\x00\xff"
    assert event["stageVariables"] is None and event["requestContext"]["resourcePath"] == "/x/{proxy+}"
    assert (await fetch("GET", f"{api['ApiEndpoint']}/short"))[0] == 502  # format 1.0 wants a statusCode


async def test_failures_of_functions(server: Server) -> None:
    async def slow(event: Event) -> Any:
        await asyncio.sleep(1.0)
        finished.append(1)
        return "late"

    def fail(event: Event) -> Any:
        raise HandlerFailed("no")

    def busy(event: Event) -> Any:
        raise Throttled("function", "Rate Exceeded.")

    finished: list[int] = []
    server.pool.functions |= {"slow": slow, "fail": fail, "busy": busy, "closed": ok}
    server.pool.closed_to_apis.add("closed")
    names = {"GET /slow": "slow", "GET /fail": "fail", "GET /busy": "busy", "GET /closed": "closed", "GET /no": "no"}
    api, client = await make_api(server, names), server.client()
    listed = await call(client.get_integrations, ApiId=api["ApiId"])
    for item in listed["Items"]:
        if item["IntegrationUri"].endswith("slow"):
            identity = item["IntegrationId"]
            await call(client.update_integration, ApiId=api["ApiId"], IntegrationId=identity, TimeoutInMillis=100)
    found = {
        path: await fetch("GET", f"{api['ApiEndpoint']}/{path}") for path in ("slow", "fail", "busy", "closed", "no")
    }
    assert {path: answer[0] for path, answer in found.items()} == {
        "slow": 504,
        "fail": 502,
        "busy": 503,
        "closed": 500,
        "no": 500,
    }
    assert json.loads(found["fail"][1]) == {"message": "Internal Server Error"}
    assert all("requestContext" in event and event["rawPath"] != "/closed" for event in server.pool.events)
    await until(lambda: finished)  # a run that took too long is not cut off


async def test_too_large_and_undecodable(server: Server) -> None:
    server.pool.functions["echo"] = echo
    api = await make_api(server, {"$default": "echo"})
    text = {"content-type": "text/plain"}
    assert (await fetch("POST", api["ApiEndpoint"], data=b"x" * (6 * 1024 * 1024), headers=text))[0] == 413
    assert (await fetch("POST", api["ApiEndpoint"], data=b"x" * (10 * 1024 * 1024 + 1), headers=text))[0] == 413
    assert not server.pool.events
    async with aiohttp.ClientSession() as http, http.get(URL(f"{api['ApiEndpoint']}/%FF", encoded=True)) as response:
        assert response.status == 400


async def test_stages_and_deployments(server: Server) -> None:
    server.pool.functions |= {"one": lambda event: "one", "two": lambda event: event["stageVariables"]["word"]}
    api, client = await make_api(server, {"GET /x": "one"}), server.client()
    base, api_id = api["ApiEndpoint"], api["ApiId"]
    made = await call(client.create_deployment, ApiId=api_id)
    await call(
        client.create_stage,
        ApiId=api_id,
        StageName="prod",
        DeploymentId=made["DeploymentId"],
        StageVariables={"fn": "two", "word": "two"},
    )
    integration = (await call(client.get_integrations, ApiId=api_id))["Items"][0]
    uri = function_arn("${stageVariables.fn}")
    await call(client.update_integration, ApiId=api_id, IntegrationId=integration["IntegrationId"], IntegrationUri=uri)
    assert (await fetch("GET", f"{base}/prod/x"))[1] == b"one"  # what was deployed
    assert (await fetch("GET", f"{base}/x"))[0] == 500  # the default stage has no such variable
    await call(client.create_deployment, ApiId=api_id, StageName="prod")
    assert (await fetch("GET", f"{base}/prod/x"))[1] == b"two"
    event = server.pool.events[-1]
    assert event["rawPath"] == "/prod/x" and event["requestContext"]["stage"] == "prod"
    host = {"host": f"{api_id}.execute-api.us-east-1.localhost"}
    assert (await fetch("GET", f"{server.url}/prod/x", headers=host))[1] == b"two"
    await call(client.delete_stage, ApiId=api_id, StageName="prod")
    assert (await fetch("GET", f"{base}/prod/x"))[0] == 404
    await call(client.delete_api, ApiId=api_id)
    assert (await fetch("GET", f"{base}/x"))[0] == 404


async def test_cors_is_answered_by_the_api(server: Server) -> None:
    server.pool.functions["f"] = lambda event: {"statusCode": 200, "headers": {"Access-Control-Allow-Origin": "evil"}}
    cors = {
        "AllowOrigins": ["https://a.example"],
        "AllowMethods": ["GET", "PUT"],
        "AllowHeaders": ["authorization"],
        "ExposeHeaders": ["etag"],
        "AllowCredentials": True,
        "MaxAge": 600,
    }
    api = await make_api(server, {"GET /x": "f"}, CorsConfiguration=cors)
    url = f"{api['ApiEndpoint']}/x"
    asked = {"origin": "https://a.example", "access-control-request-method": "PUT"}
    status, _body, headers = await fetch("OPTIONS", url, headers=asked)
    assert status == 204 and headers["access-control-allow-origin"] == "https://a.example"
    assert headers["access-control-allow-methods"] == "GET,PUT" and headers["access-control-max-age"] == "600"
    assert headers["access-control-allow-headers"] == "authorization"
    _status, _body, headers = await fetch("OPTIONS", url, headers={**asked, "origin": "https://b.example"})
    assert "access-control-allow-origin" not in headers
    _status, _body, headers = await fetch("GET", url, headers={"origin": "https://a.example"})
    assert headers["access-control-allow-origin"] == "https://a.example"
    assert headers["access-control-expose-headers"] == "etag" and headers["vary"] == "origin"
    _status, _body, headers = await fetch("GET", url, headers={"origin": "https://b.example"})
    assert "access-control-allow-origin" not in headers
    status, _body, headers = await fetch("GET", f"{url}/none", headers={"origin": "https://a.example"})
    assert status == 404 and headers["access-control-allow-origin"] == "https://a.example"
    client = server.client()
    with pytest.raises(ClientError, match="Wildcard"):
        bad = {"AllowOrigins": ["*"], "AllowCredentials": True}
        await call(client.update_api, ApiId=api["ApiId"], CorsConfiguration=bad)


# -- authorizers


@dataclass
class Provider:
    """An issuer on a port of its own."""

    url: str
    keys: list[Any]
    asked: list[str]

    def token(self, key: Any, /, algorithm: str = "RS256", header: Event | None = None, **claims: Any) -> str:
        now = int(time.time())
        default = {"iss": self.url, "aud": "shop", "exp": now + 60, "iat": now, "sub": "ada"}
        merged = {name: value for name, value in {**default, **claims}.items() if value is not None}
        return tokens.encode({"alg": algorithm, "kid": key.kid, **(header or {})}, merged, key, algorithms=[algorithm])


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    made = Provider("", [RSAKey.generate_key(2048, {"kid": "rsa"}), ECKey.generate_key("P-256", {"kid": "ec"})], [])

    async def answer(request: web.Request) -> web.Response:
        made.asked.append(request.path)
        if request.path == "/.well-known/openid-configuration":
            return web.json_response({"issuer": made.url, "jwks_uri": f"{made.url}/keys"})
        return web.json_response(KeySet(made.keys).as_dict(private=False))

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


async def guarded_api(server: Server, provider: Provider, scopes: list[str]) -> str:
    server.pool.functions["echo"] = echo
    api, client = await make_api(server, {"GET /x": "echo"}), server.client()
    made = await call(
        client.create_authorizer,
        ApiId=api["ApiId"],
        Name="people",
        AuthorizerType="JWT",
        IdentitySource=["$request.header.Authorization"],
        JwtConfiguration={"Issuer": provider.url, "Audience": ["shop"]},
    )
    route = (await call(client.get_routes, ApiId=api["ApiId"]))["Items"][0]
    await call(
        client.update_route,
        ApiId=api["ApiId"],
        RouteId=route["RouteId"],
        AuthorizationType="JWT",
        AuthorizerId=made["AuthorizerId"],
        AuthorizationScopes=scopes,
    )
    return f"{api['ApiEndpoint']}/x"


async def bearing(url: str, token: str) -> tuple[int, Any, dict[str, str]]:
    status, body, headers = await fetch("GET", url, headers={"authorization": f"Bearer {token}"})
    return status, json.loads(body), headers


def signed_with_the_public_key(key: Any, token: str) -> str:
    """As if the issuer's public key were a shared secret (RFC 8725, 2.1): made by hand, as no library makes it."""
    signed = f"{_base64(json.dumps({'alg': 'HS256', 'kid': 'rsa'}).encode())}.{token.split('.')[1]}"
    return f"{signed}.{_base64(hmac.digest(key.as_pem(private=False), signed.encode(), 'sha256'))}"


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


async def test_tokens_are_checked(server: Server, provider: Provider) -> None:
    url = await guarded_api(server, provider, ["read"])
    rsa, ec = provider.keys
    good = provider.token(rsa, scope="read write", roles=["a", "b"])
    status, event, _headers = await bearing(url, good)
    assert status == 200
    judged = event["requestContext"]["authorizer"]["jwt"]
    assert judged["claims"]["sub"] == "ada" and judged["claims"]["roles"] == "[a b]"
    assert judged["claims"]["exp"].isdigit() and judged["scopes"] == ["read", "write"]
    assert (await bearing(url, provider.token(ec, "ES256", scp=["read"])))[0] == 200
    assert (await bearing(url, provider.token(rsa, aud=None, client_id="shop", scope="read")))[0] == 200
    now, other = int(time.time()), RSAKey.generate_key(2048, {"kid": "rsa"})
    bad = {
        "expired": provider.token(rsa, exp=now - 1, scope="read"),
        "eternal": provider.token(rsa, exp=None, scope="read"),
        "too early": provider.token(rsa, nbf=now + 60, scope="read"),
        "from the future": provider.token(rsa, iat=now + 60, scope="read"),
        "other issuer": provider.token(rsa, iss="https://evil.example", scope="read"),
        "other audience": provider.token(rsa, aud=["other"], scope="read"),
        "aud before client_id": provider.token(rsa, aud="other", client_id="shop", scope="read"),
        "other key": provider.token(other, scope="read"),
        "other name of a key": provider.token(rsa, header={"kid": "none"}, scope="read"),
        "public key as secret": signed_with_the_public_key(rsa, good),
        "unsigned": ".".join([*good.split(".")[:2], ""]),
        "none": base64.urlsafe_b64encode(b'{"alg":"none","kid":"rsa"}').decode().rstrip("=")
        + f".{good.split('.')[1]}.",
        "nothing": "",
        "noise": "a.b.c",
        "huge": "a" * 20_000,
    }
    for why, token in bad.items():
        status, body, headers = await bearing(url, token)
        assert (status, body) == (401, {"message": "Unauthorized"}), why
        assert headers["www-authenticate"].startswith("Bearer"), why
    status, body, headers = await bearing(url, provider.token(rsa, scope="other"))
    assert (status, body) == (403, {"message": "Forbidden"}) and "insufficient_scope" in headers["www-authenticate"]
    assert (await fetch("GET", url))[0] == 401


async def test_new_keys_are_fetched_but_not_for_everybody(server: Server, provider: Provider) -> None:
    url = await guarded_api(server, provider, [])
    assert (await bearing(url, provider.token(provider.keys[0])))[0] == 200
    before, began = len(provider.asked), time.monotonic()
    for _ in range(10):
        await bearing(url, provider.token(provider.keys[0], header={"kid": "guess"}))
    fetches = 1 + int((time.monotonic() - began) / LIMITS.keys_retry_s)
    assert len(provider.asked) <= before + 2 * fetches  # each asks for the metadata and the keys
    new = RSAKey.generate_key(2048, {"kid": "new"})
    provider.keys.append(new)
    await asyncio.sleep(0.25)
    assert (await bearing(url, provider.token(new)))[0] == 200


async def test_functions_as_authorizers(server: Server) -> None:
    def judge(event: Event) -> Any:
        assert event["type"] == "REQUEST" and event["version"] == "2.0" and event["identitySource"] == ["yes"]
        return {"isAuthorized": event["headers"]["x-key"] == "yes", "context": {"who": "ada"}}

    def judge_by_policy(event: Event) -> Any:
        effect = "Allow" if event["headers"]["x-key"] == "yes" else "Deny"
        statement = {"Action": "execute-api:Invoke", "Effect": effect, "Resource": event["methodArn"]}
        return {"principalId": "ada", "policyDocument": {"Version": "2012-10-17", "Statement": [statement]}}

    server.pool.functions |= {"echo": echo, "judge": judge, "policy": judge_by_policy}
    api, client = await make_api(server, {"GET /a": "echo", "GET /b": "echo"}), server.client()
    routes = {item["RouteKey"]: item for item in (await call(client.get_routes, ApiId=api["ApiId"]))["Items"]}
    for key, name, more in (
        ("GET /a", "judge", {"AuthorizerPayloadFormatVersion": "2.0", "EnableSimpleResponses": True}),
        ("GET /b", "policy", {"AuthorizerPayloadFormatVersion": "1.0"}),
    ):
        made = await call(
            client.create_authorizer, ApiId=api["ApiId"], Name=name, AuthorizerType="REQUEST",
            IdentitySource=["$request.header.x-key"], AuthorizerUri=function_arn(name), **more,
        )  # fmt: skip
        await call(
            client.update_route, ApiId=api["ApiId"], RouteId=routes[key]["RouteId"], AuthorizationType="CUSTOM",
            AuthorizerId=made["AuthorizerId"],
        )  # fmt: skip
    for path in ("a", "b"):
        url = f"{api['ApiEndpoint']}/{path}"
        status, body, _headers = await fetch("GET", url, headers={"x-key": "yes"})
        assert status == 200
        known = json.loads(body)["requestContext"]["authorizer"]["lambda"]
        assert known == ({"who": "ada"} if path == "a" else {"principalId": "ada"})
        assert (await fetch("GET", url))[0] == 401
    assert (await fetch("GET", f"{api['ApiEndpoint']}/b", headers={"x-key": "no"}))[0] == 403
    assert (await fetch("GET", f"{api['ApiEndpoint']}/a", headers={"x-key": "no"}))[0] == 500  # it failed


# -- the control plane


SAM = """
Transform: AWS::Serverless-2016-10-31
Resources:
  Web:
    Type: AWS::Serverless::HttpApi
    Properties:
      CorsConfiguration: {AllowOrigins: ["https://a.example"], AllowMethods: ["GET"], MaxAge: 600}
      Auth:
        DefaultAuthorizer: People
        Authorizers:
          People:
            IdentitySource: $request.header.Authorization
            AuthorizationScopes: [read]
            JwtConfiguration: {issuer: "https://issuer.example", audience: [shop]}
  F:
    Type: AWS::Serverless::Function
    Properties:
      Handler: a.b
      Runtime: python3.12
      CodeUri: s3://a/b
      Events:
        A: {Type: HttpApi, Properties: {ApiId: {Ref: Web}, Path: "/x/{proxy+}", Method: any}}
        B: {Type: HttpApi, Properties: {ApiId: {Ref: Web}, Path: /open, Method: get, Auth: {Authorizer: NONE}}}
        C: {Type: HttpApi, Properties: {ApiId: {Ref: Web}, Path: /old, Method: get, PayloadFormatVersion: "1.0"}}
        D: {Type: HttpApi, Properties: {ApiId: {Ref: Web}}}
"""


def sam_body() -> str:
    """What the translator makes of it, with references filled in."""
    resources = translate(yaml.safe_load(SAM), {}, "us-east-1")["Resources"]
    text = json.dumps(resources["Web"]["Properties"]["Body"])
    text = text.replace('{"Ref": "AWS::StackName"}', '"stack"')
    return re.sub(r'\{"Fn::Sub": "[^"]*functions/[^"]*"\}', json.dumps(function_arn("f")), text)


async def test_what_sam_makes_is_imported(server: Server) -> None:
    server.pool.functions["f"] = lambda event: event["version"]
    client = server.client()
    api = await call(client.import_api, Body=sam_body())
    api_id = api["ApiId"]
    assert api["Name"] == "stack" and api["CorsConfiguration"]["MaxAge"] == 600
    assert api["Tags"] == {"httpapi:createdBy": "SAM"}
    await call(client.create_stage, ApiId=api_id, StageName="$default", AutoDeploy=True)
    routes = {item["RouteKey"]: item for item in (await call(client.get_routes, ApiId=api_id))["Items"]}
    assert sorted(routes) == ["$default", "ANY /x/{proxy+}", "GET /old", "GET /open"]
    assert routes["GET /old"]["AuthorizationScopes"] == ["read"] and routes["GET /open"]["AuthorizationType"] == "NONE"
    base = api["ApiEndpoint"]
    assert (await fetch("GET", f"{base}/open"))[:2] == (200, b"2.0")
    assert (await fetch("GET", f"{base}/old"))[0] == 401 and (await fetch("GET", f"{base}/else"))[0] == 401
    body = json.loads(sam_body())
    del body["paths"]["/open"]
    again = await call(client.reimport_api, ApiId=api_id, Body=json.dumps(body))
    assert again["ApiId"] == api_id
    assert (await fetch("GET", f"{base}/open"))[0] == 401  # the default route now
    assert len((await call(client.get_authorizers, ApiId=api_id))["Items"]) == 1
    body["paths"]["$default"]["x-amazon-apigateway-any-method"]["security"] = [{"Unknown": []}]
    with pytest.raises(ClientError, match="Unknown"):
        await call(client.reimport_api, ApiId=api_id, Body=json.dumps(body))
    assert len((await call(client.get_routes, ApiId=api_id))["Items"]) == 3  # nothing of it was kept


@pytest.mark.parametrize(
    "body", ["", "{", "[]", "swagger: '2.0'", "openapi: 3.0.1", "openapi: 3.0.1\ninfo: {title: 1}"]
)
async def test_bad_documents_are_refused(server: Server, body: str) -> None:
    with pytest.raises(ClientError) as refused:
        await call(server.client().import_api, Body=body or " ")
    assert refused.value.response["Error"]["Code"] == "BadRequestException"


async def test_parts_are_made_read_changed_and_deleted(server: Server) -> None:
    client = server.client()
    api_id = (await make_api(server, {"GET /x": "f"}, Tags={"a": "1"}, Description="d"))["ApiId"]
    api = await call(client.get_api, ApiId=api_id)
    assert api["Description"] == "d" and api["ProtocolType"] == "HTTP" and api["DisableExecuteApiEndpoint"] is False
    assert api["CreatedDate"].year >= 2024
    await call(client.update_api, ApiId=api_id, Name="renamed", DisableExecuteApiEndpoint=True)
    assert (await call(client.get_apis))["Items"][0]["Name"] == "renamed"
    assert (await fetch("GET", f"{server.url}/_api/{api_id}/x"))[0] == 404
    route = (await call(client.get_routes, ApiId=api_id))["Items"][0]
    assert (await call(client.get_route, ApiId=api_id, RouteId=route["RouteId"]))["RouteKey"] == "GET /x"
    integration_id = route["Target"].split("/")[1]
    for refused in (
        call(client.delete_integration, ApiId=api_id, IntegrationId=integration_id),
        call(client.create_route, ApiId=api_id, RouteKey="GET /x"),
        call(client.create_stage, ApiId=api_id, StageName="$default"),
    ):
        with pytest.raises(ClientError) as conflict:
            await refused
        assert conflict.value.response["Error"]["Code"] == "ConflictException"
    await call(client.delete_route, ApiId=api_id, RouteId=route["RouteId"])
    await call(client.delete_integration, ApiId=api_id, IntegrationId=integration_id)
    with pytest.raises(ClientError) as missing:
        await call(client.get_integration, ApiId=api_id, IntegrationId=integration_id)
    assert missing.value.response["Error"]["Code"] == "NotFoundException"
    arn = f"arn:aws:apigateway:us-east-1::/apis/{api_id}"
    await call(client.tag_resource, ResourceArn=arn, Tags={"b": "2"})
    await call(client.untag_resource, ResourceArn=arn, TagKeys=["a"])
    assert (await call(client.get_tags, ResourceArn=arn))["Tags"] == {"b": "2"}
    await call(client.delete_api, ApiId=api_id)
    assert (await call(client.get_apis))["Items"] == []


async def test_what_is_not_there_is_refused_when_it_is_made(server: Server) -> None:
    client = server.client()
    api_id = (await make_api(server, {}))["ApiId"]
    common = {"ApiId": api_id, "PayloadFormatVersion": "2.0"}
    for params, words in (
        ({"IntegrationType": "HTTP_PROXY", "IntegrationUri": "https://a.example"}, "HTTP_PROXY"),
        ({"IntegrationType": "AWS_PROXY", "IntegrationSubtype": "SQS-SendMessage"}, "SQS-SendMessage"),
        ({"IntegrationType": "AWS_PROXY", "IntegrationUri": "arn:aws:sqs:us-east-1:000000000000:q"}, "Lambda"),
        ({"IntegrationType": "AWS_PROXY", "IntegrationUri": function_arn("f"), "TimeoutInMillis": 31000}, "Timeout"),
    ):
        with pytest.raises(ClientError, match=words) as refused:
            await call(client.create_integration, **common, **params)
        assert refused.value.response["Error"]["Code"] == "BadRequestException"
    for key in ("GET x", "FETCH /x", "GET /{a+}/b", "GET /{a}/{a}", "/x", "GET /a{b}"):
        with pytest.raises(ClientError, match="BadRequest"):
            await call(client.create_route, ApiId=api_id, RouteKey=key)
    with pytest.raises(ClientError, match="AWS_IAM"):
        await call(client.create_route, ApiId=api_id, RouteKey="GET /x", AuthorizationType="AWS_IAM")
    with pytest.raises(ClientError, match="NotFound"):
        await call(client.create_route, ApiId=api_id, RouteKey="GET /x", Target="integrations/none")


async def test_lists_have_pages_and_readers_only_read(server: Server) -> None:
    names = {f"GET /{number}": "f" for number in range(3)}
    api_id = (await make_api(server, names))["ApiId"]
    reader = server.client(key="AKIAREADER")
    found: list[str] = []
    token: dict[str, str] = {}
    while True:
        page = await call(reader.get_routes, ApiId=api_id, MaxResults="2", **token)
        found += [item["RouteKey"] for item in page["Items"]]
        if "NextToken" not in page:
            break
        token = {"NextToken": page["NextToken"]}
    assert sorted(found) == sorted(names)
    with pytest.raises(ClientError) as denied:
        await call(reader.delete_api, ApiId=api_id)
    assert denied.value.response["Error"]["Code"] in ("AccessDenied", "AccessDeniedException")


async def test_quick_create(server: Server) -> None:
    server.pool.functions["f"] = lambda event: event["routeKey"]
    api = await call(server.client().create_api, Name="quick", ProtocolType="HTTP", Target=function_arn("f"))
    assert (await fetch("GET", f"{api['ApiEndpoint']}/any"))[1] == b"$default"


# -- WebSocket APIs


async def test_connect_decides(server: Server) -> None:
    def door(event: Event) -> Any:
        query = event.get("queryStringParameters") or {}
        if query.get("fail"):
            raise HandlerFailed("no")
        return {"statusCode": int(query.get("say", 200)), "headers": {"Sec-WebSocket-Protocol": "chat"}}

    server.pool.functions["door"] = door
    api = await make_socket_api(server, {"$connect": "door", "$disconnect": "door"})
    url = f"{api['ApiEndpoint']}/prod"
    for tail, status in ((f"{url}?say=401", 401), (f"{url}?say=500", 500), (f"{url}?fail=1", 502),
                         (f"{api['ApiEndpoint']}/none", 403), (f"{server.url}/_ws/none/prod".replace("http", "ws"), 403),
                         (f"{url}?say=302", 403)):  # fmt: skip
        with pytest.raises(websockets.InvalidStatus) as refused:
            await websockets.connect(tail)
        assert refused.value.response.status_code == status, tail
    await until(lambda: nobody_left(server))
    assert not contexts(server, "DISCONNECT")
    async with websockets.connect(url, subprotocols=[websockets.Subprotocol("chat")]) as socket:
        assert socket.subprotocol == "chat"


async def nobody_left(server: Server) -> bool:
    return not await server.store.view(Connections().left_over, "other", "", 10)


async def test_disconnect_is_told_however_it_ends(server: Server) -> None:
    server.pool.functions["door"] = ok
    api = await make_socket_api(server, {"$connect": "door", "$disconnect": "door", "$default": "door"})
    url = f"{api['ApiEndpoint']}/prod"
    lost = await websockets.connect(url)
    lost.transport.abort()
    await until(lambda: len(contexts(server, "DISCONNECT")) == 1)
    assert contexts(server, "DISCONNECT")[0]["disconnectStatusCode"] == 1006
    loud = await websockets.connect(url)
    await loud.send("x" * (128 * 1024 + 1))
    with pytest.raises(websockets.ConnectionClosed):
        await loud.recv()
    assert loud.close_code == 1009
    await until(lambda: len(contexts(server, "DISCONNECT")) == 2)
    closed = await websockets.connect(url)
    connection_id = contexts(server, "CONNECT")[-1]["connectionId"]
    management = server.client("apigatewaymanagementapi", url=f"{server.url}/_ws/{api['ApiId']}/prod")
    await call(management.delete_connection, ConnectionId=connection_id)
    with pytest.raises(websockets.ConnectionClosed):
        await closed.recv()
    await until(lambda: len(contexts(server, "DISCONNECT")) == 3)
    await until(lambda: nobody_left(server))
    stopped = await websockets.connect(url)
    await server.sockets.stop(20.0)
    with pytest.raises(websockets.ConnectionClosed):
        await stopped.recv()
    assert stopped.close_code == 1001 and len(contexts(server, "DISCONNECT")) == 4


async def test_connections_of_an_earlier_process_are_told_of(server: Server) -> None:
    server.pool.functions["door"] = ok
    api = await make_socket_api(server, {"$connect": "door", "$disconnect": "door"})
    for number in range(3):
        row = Connection(f"{api['ApiId']}-{number}", api["ApiId"], "prod", "earlier", 5, "10.0.0.1", "test")
        await server.store.commit(Connections().add, row)
    await server.sockets.start()
    await until(lambda: len(contexts(server, "DISCONNECT")) == 3)
    ended = contexts(server, "DISCONNECT")[0]
    assert ended["connectedAt"] == 5 and ended["identity"]["sourceIp"] == "10.0.0.1"
    await until(lambda: nobody_left(server))


async def test_messages_that_fail_are_answered(server: Server) -> None:
    def fail(event: Event) -> Any:
        raise HandlerFailed("no")

    server.pool.functions |= {"fail": fail, "door": ok}
    api = await make_socket_api(server, {"fail": "fail", "$connect": "door"})
    async with websockets.connect(f"{api['ApiEndpoint']}/prod") as socket:
        await socket.send('{"action": "fail"}')
        told = json.loads(await socket.recv())
        assert told["message"] == "Internal server error" and told["connectionId"] and told["requestId"]
        for text in ('{"action": "none"}', '{"action": "$connect"}', "[]", "{"):
            await socket.send(text)
            assert json.loads(await socket.recv())["message"] == "Forbidden"


async def test_a_slow_client_is_closed(server: Server) -> None:
    server.pool.functions["door"] = ok
    api = await make_socket_api(server, {"$connect": "door", "$disconnect": "door"})
    socket = await websockets.connect(f"{api['ApiEndpoint']}/prod", max_queue=1, compression=None)
    connection_id = contexts(server, "CONNECT")[-1]["connectionId"]
    socket.transport.pause_reading()
    posted = 0
    with pytest.raises(NotFound):
        while posted < 2000:
            server.sockets.post(api["ApiId"], "prod", connection_id, b"x" * 100_000)
            posted += 1
            await asyncio.sleep(0)
    assert posted < 2000
    socket.transport.abort()
    await until(lambda: contexts(server, "DISCONNECT"))


async def test_only_the_own_stage_reaches_a_connection(server: Server) -> None:
    server.pool.functions["door"] = ok
    api = await make_socket_api(server, {"$connect": "door"})
    async with websockets.connect(f"{api['ApiEndpoint']}/prod") as socket:
        connection_id = contexts(server, "CONNECT")[-1]["connectionId"]
        for wrong in (f"{server.url}/_ws/{api['ApiId']}/test", f"{server.url}/_ws/other/test"):
            with pytest.raises(ClientError, match="Gone"):
                client = server.client("apigatewaymanagementapi", url=wrong)
                await call(client.post_to_connection, ConnectionId=connection_id, Data=b"x")
        reader = server.client("apigatewaymanagementapi", "AKIAREADER", f"{server.url}/_ws/{api['ApiId']}/prod")
        with pytest.raises(ClientError) as denied:
            await call(reader.post_to_connection, ConnectionId=connection_id, Data=b"x")
        assert denied.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
        assert f"{api['ApiId']}/prod/POST/@connections/{connection_id}" in str(denied.value)
        with pytest.raises(ClientError, match="PayloadTooLarge"):
            client = server.client("apigatewaymanagementapi", url=f"{server.url}/_ws/{api['ApiId']}/prod")
            await call(client.post_to_connection, ConnectionId=connection_id, Data=b"x" * (128 * 1024 + 1))
        await call(client.post_to_connection, ConnectionId=connection_id, Data=b"\xff")
        assert await socket.recv() == b"\xff"


@pytest.mark.parametrize(
    ("server", "reason"),
    [
        (ApiSettings(socket_idle_s=0.3), "Idle for too long"),
        (ApiSettings(socket_s_max=0.3), "Maximum duration reached"),
    ],
    indirect=["server"],
)
async def test_connections_do_not_last_for_ever(server: Server, reason: str) -> None:
    server.pool.functions["door"] = ok
    api = await make_socket_api(server, {"$connect": "door", "$disconnect": "door"})
    async with websockets.connect(f"{api['ApiEndpoint']}/prod") as socket:
        with pytest.raises(websockets.ConnectionClosed):
            await asyncio.wait_for(socket.recv(), 20)
    assert (socket.close_code, socket.close_reason) == (1001, reason)
    await until(lambda: contexts(server, "DISCONNECT"))


@pytest.mark.parametrize("server", [ApiSettings(sockets_max=1)], indirect=True)
async def test_there_is_a_most_of_connections(server: Server) -> None:
    server.pool.functions["door"] = ok
    api = await make_socket_api(server, {"$connect": "door"})
    async with websockets.connect(f"{api['ApiEndpoint']}/prod"):
        with pytest.raises(websockets.InvalidStatus) as refused:
            await websockets.connect(f"{api['ApiEndpoint']}/prod")
        assert refused.value.response.status_code == 429


async def test_an_authorizer_of_connections(server: Server) -> None:
    def judge(event: Event) -> Any:
        assert event["type"] == "REQUEST" and event["requestContext"]["routeKey"] == "$connect"
        effect = "Allow" if event["queryStringParameters"]["token"] == "yes" else "Deny"
        statement = {"Action": "execute-api:Invoke", "Effect": effect, "Resource": event["methodArn"]}
        policy = {"Version": "2012-10-17", "Statement": [statement]}
        return {"principalId": "ada", "policyDocument": policy, "context": {"plan": "free"}}

    server.pool.functions |= {"door": ok, "judge": judge}
    api, client = await make_socket_api(server, {"$connect": "door", "$default": "door"}), server.client()
    made = await call(
        client.create_authorizer, ApiId=api["ApiId"], Name="judge", AuthorizerType="REQUEST",
        IdentitySource=["route.request.querystring.token"], AuthorizerUri=function_arn("judge"),
    )  # fmt: skip
    routes = {item["RouteKey"]: item for item in (await call(client.get_routes, ApiId=api["ApiId"]))["Items"]}
    await call(
        client.update_route, ApiId=api["ApiId"], RouteId=routes["$connect"]["RouteId"], AuthorizationType="CUSTOM",
        AuthorizerId=made["AuthorizerId"],
    )  # fmt: skip
    await call(client.create_deployment, ApiId=api["ApiId"], StageName="prod")
    for query, status in (("", 401), ("?token=no", 403)):
        with pytest.raises(websockets.InvalidStatus) as refused:
            await websockets.connect(f"{api['ApiEndpoint']}/prod{query}")
        assert refused.value.response.status_code == status
    assert not contexts(server, "CONNECT") or all(event.get("type") for event in server.pool.events)
    async with websockets.connect(f"{api['ApiEndpoint']}/prod?token=yes") as socket:
        await socket.send("hello")
        await until(lambda: contexts(server, "MESSAGE"))
        assert contexts(server, "MESSAGE")[0]["authorizer"] == {"principalId": "ada", "plan": "free"}
