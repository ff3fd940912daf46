"""HTTP APIs over the wire: routes, formats of events and answers, stages, and cross-origin requests."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from typing import Any

import aiohttp
import pytest
from botocore.exceptions import ClientError
from helpers.apis import Event, HandlerFailed, Server, echo, fetch, function_arn, make_api, ok
from helpers.inprocess import SCOPE, call
from helpers.waiting import until
from yarl import URL

from sluiceway.errors import Throttled
from sluiceway.services.apis.routes import RouteKey, choose


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


# -- HTTP APIs


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
