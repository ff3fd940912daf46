"""Who may call an HTTP API: tokens of an issuer, and functions that decide."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from aiohttp import web
from helpers.apis import LIMITS, Event, Server, echo, fetch, function_arn, make_api
from helpers.inprocess import call
from joserfc import jwt as tokens
from joserfc.jwk import ECKey, KeySet, RSAKey


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
