"""WebSocket APIs over the wire."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
import websockets
from botocore.exceptions import ClientError
from helpers.apis import Event, HandlerFailed, Server, function_arn, ok
from helpers.inprocess import call
from helpers.waiting import until

from sluiceway.config import ApiSettings
from sluiceway.errors import NotFound
from sluiceway.services.connections import Connection, Connections


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
