"""The embedded issuer by plain HTTP, as a browser and a client with PKCE use it."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import aiohttp
import pytest
from helpers.inprocess import listening
from joserfc import jwt as tokens
from joserfc.jwk import KeySet

from sluiceway.config import ApiSettings, StoreSettings
from sluiceway.core.clock import SystemClock
from sluiceway.core.wakeups import Wakeups
from sluiceway.edges.apis.jwt import IssuerKeys, JwtAuthorizer, Refused
from sluiceway.edges.issuer import Issuer
from sluiceway.edges.routing import Router
from sluiceway.engines.sqlite.store import SqliteStore, open_store
from sluiceway.services.apis import Authorizer
from sluiceway.services.people import Grant, People, check_password, hash_password
from sluiceway.services.sealing import Sealer, Unsealable

CALLBACK = "http://localhost:3000/callback"
PASSWORD = "correct horse battery"


class Clock(SystemClock):
    """The machine's clock, which a test can move."""

    def __init__(self) -> None:
        self.ahead_ms = 0

    def now_ms(self) -> int:
        return super().now_ms() + self.ahead_ms


@dataclass
class Server:
    """The address, and what is behind it."""

    url: str
    store: SqliteStore
    issuer: Issuer
    people: People
    clock: Clock

    @property
    def base(self) -> str:
        return f"{self.url}/_sluiceway/issuer"


async def start(folder: Path, limits: ApiSettings) -> AsyncIterator[Server]:
    clock = Clock()
    store = await open_store(folder / "store.db", StoreSettings(), clock, Wakeups())
    people, where = People(limits), list[str]()
    issuer = Issuer(store, people, Sealer(b"k" * 32), lambda: where[0], limits, clock)
    await issuer.start()
    async with listening(Router({}, {"issuer": issuer.handle})) as url:
        where.append(url)
        yield Server(url, store, issuer, people, clock)
    await store.close()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async for made in start(tmp_path, ApiSettings(sign_in_failures_max=3)):
        yield made


@pytest.fixture
async def closed(tmp_path: Path) -> AsyncIterator[Server]:
    async for made in start(tmp_path, ApiSettings(sign_up="off")):
        yield made


@pytest.fixture
async def browser() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        yield session


def challenge_of(verifier: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def authorize_url(server: Server, verifier: str, **more: str) -> str:
    params = {
        "client_id": "sluiceway",
        "redirect_uri": CALLBACK,
        "response_type": "code",
        "scope": "openid profile email",
        "state": "st",
        "nonce": "no",
        "code_challenge": challenge_of(verifier),
        "code_challenge_method": "S256",
        **more,
    }
    return f"{server.base}/authorize?{urlencode(params)}"


async def fill_in(
    server: Server, browser: aiohttp.ClientSession, url: str, **fields: str
) -> tuple[int, str, dict[str, list[str]]]:
    """Open the page and send its form: the status, the page, and the query that it leads to."""
    async with browser.get(url, allow_redirects=False) as opened:
        page = await opened.text()
    action = unescape(re.search(r'action="([^"]+)"', page)[1])  # type: ignore[index]
    hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page))
    async with browser.post(server.url + action, data={**hidden, **fields}, allow_redirects=False) as answer:
        location = answer.headers.get("location", "")
        return answer.status, await answer.text(), parse_qs(urlsplit(location).query)


async def sign_up(server: Server, browser: aiohttp.ClientSession, verifier: str, **more: str) -> str:
    """Create an account; the code."""
    entered = {"email": "Ada@example.com", "name": "Ada", "password": PASSWORD}
    url = authorize_url(server, verifier, prompt="create", **more)
    status, page, query = await fill_in(server, browser, url, **entered)
    assert status == 303, page
    assert query["state"] == ["st"] and query["iss"] == [server.base]
    return query["code"][0]


async def redeem(server: Server, browser: aiohttp.ClientSession, code: str, verifier: str, **more: str) -> Any:
    form = {
        "grant_type": "authorization_code",
        "client_id": "sluiceway",
        "redirect_uri": CALLBACK,
        "code": code,
        "code_verifier": verifier,
        **more,
    }
    async with browser.post(f"{server.base}/token", data=form) as answer:
        return {"status": answer.status, **await answer.json()}


async def test_the_whole_flow(server: Server, browser: aiohttp.ClientSession) -> None:
    verifier = secrets.token_urlsafe(40)
    code = await sign_up(server, browser, verifier)
    answer = await redeem(server, browser, code, verifier)
    assert answer["status"] == 200 and answer["token_type"] == "Bearer" and answer["expires_in"] == 3600
    async with browser.get(f"{server.base}/.well-known/openid-configuration") as response:
        metadata = await response.json()
    assert metadata["issuer"] == server.base
    async with browser.get(metadata["jwks_uri"]) as response:
        keys = KeySet.import_key_set(await response.json())
    assert all("d" not in key.as_dict(private=False) for key in keys.keys)
    identity = tokens.decode(answer["id_token"], keys, algorithms=["RS256"])
    assert identity.claims["nonce"] == "no" and identity.claims["email"] == "Ada@example.com"
    assert identity.claims["aud"] == "sluiceway" and identity.claims["iss"] == server.base
    access = tokens.decode(answer["access_token"], keys, algorithms=["RS256"])
    assert access.header["typ"] == "at+jwt" and access.claims["scope"] == "openid profile email"
    async with browser.get(
        metadata["userinfo_endpoint"], headers={"authorization": f"Bearer {answer['access_token']}"}
    ) as response:
        known = await response.json()
    assert known["sub"] == identity.claims["sub"] and known["name"] == "Ada"
    async with browser.get(
        metadata["userinfo_endpoint"], headers={"authorization": f"Bearer {answer['id_token']}"}
    ) as response:
        assert response.status == 401  # an identity token opens nothing


async def test_a_code_is_good_once_and_shortly(server: Server, browser: aiohttp.ClientSession) -> None:
    verifier = secrets.token_urlsafe(40)
    code = await sign_up(server, browser, verifier)
    assert (await redeem(server, browser, code, "w" * 43))["error"] == "invalid_grant"
    assert (await redeem(server, browser, code, verifier))["error"] == "invalid_grant"  # the wrong try used it up
    async with browser.get(authorize_url(server, verifier), allow_redirects=False) as answer:
        code = parse_qs(urlsplit(answer.headers["location"]).query)["code"][0]  # signed in: no page
    other = await redeem(server, browser, code, verifier, redirect_uri="http://localhost:3000/other")
    assert other["error"] == "invalid_grant"
    grant = Grant("nobody", "sluiceway", CALLBACK, challenge_of(verifier), "openid", "", 0)
    code = await server.store.commit(server.people.grant, grant)
    server.clock.ahead_ms = 61_000
    assert (await redeem(server, browser, code, verifier))["error"] == "invalid_grant"
    twice = urlencode([("grant_type", "authorization_code"), ("code", "a"), ("code", "b")])
    headers = {"content-type": "application/x-www-form-urlencoded"}
    async with browser.post(f"{server.base}/token", data=twice, headers=headers) as answer:
        assert answer.status == 400 and (await answer.json())["error"] == "invalid_request"


@pytest.mark.parametrize(
    "uri",
    [
        "https://evil.example/callback",
        "http://localhost.evil.example/",
        "http://localhost:3000@evil.example/",
        "http://evil.example\\@localhost/",
        "//localhost:3000/",
        "javascript:alert(1)//localhost",
        "http://localhost:3000/#fragment",
        "http://localhost:3000/a\r\nset-cookie: a=b",
        "http://localhost:99999999/",
        "http://[/",
    ],
)
async def test_people_are_not_sent_elsewhere(server: Server, browser: aiohttp.ClientSession, uri: str) -> None:
    async with browser.get(authorize_url(server, "v" * 43, redirect_uri=uri), allow_redirects=False) as answer:
        assert answer.status == 400 and "location" not in answer.headers


async def test_a_wrong_request_is_answered_at_the_client(server: Server, browser: aiohttp.ClientSession) -> None:
    for more, error in (
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge": ""}, "invalid_request"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"prompt": "none"}, "login_required"),
    ):
        async with browser.get(authorize_url(server, "v" * 43, **more), allow_redirects=False) as answer:
            assert answer.status == 303
            query = parse_qs(urlsplit(answer.headers["location"]).query)
            assert query["error"] == [error] and query["state"] == ["st"]
    async with browser.get(authorize_url(server, "v" * 43, client_id="other"), allow_redirects=False) as answer:
        assert answer.status == 400


async def test_guessing_ends_soon(server: Server, browser: aiohttp.ClientSession) -> None:
    await sign_up(server, browser, "v" * 43)
    browser.cookie_jar.clear()
    url = authorize_url(server, "v" * 43, prompt="login")
    for _ in range(3):
        status, page, _query = await fill_in(server, browser, url, email="ada@example.com", password="wrong")
        assert status == 400 and "address or the password is wrong" in page
    status, page, _query = await fill_in(server, browser, url, email="ADA@example.com", password=PASSWORD)
    assert status == 429 and "too many attempts" in page
    status, page, _query = await fill_in(server, browser, url, email="b@example.com", password="wrong")
    assert status == 400  # others are not locked out


async def test_a_form_from_elsewhere_is_refused(server: Server, browser: aiohttp.ClientSession) -> None:
    await sign_up(server, browser, "v" * 43)
    entered = {"email": "ada@example.com", "password": PASSWORD}
    url = authorize_url(server, "v" * 43)
    async with browser.post(url, data={**entered, "csrf": "x" * 32}, allow_redirects=False) as answer:
        assert answer.status == 400 and "location" not in answer.headers
    async with aiohttp.ClientSession() as fresh, fresh.post(url, data={**entered, "csrf": ""}) as answer:
        assert answer.status == 400
    async with browser.get(authorize_url(server, "v" * 43, prompt="login")) as opened:
        csrf = re.search(r'name="csrf" value="([^"]*)"', await opened.text())[1]  # type: ignore[index]
    headers = {"origin": "https://evil.example"}
    async with browser.post(url, data={**entered, "csrf": csrf}, headers=headers, allow_redirects=False) as answer:
        assert answer.status == 400


async def test_the_page_is_safe_and_plain(server: Server, browser: aiohttp.ClientSession) -> None:
    url = authorize_url(server, "v" * 43, login_hint='"><script>alert(1)</script>', prompt="login")
    async with browser.get(url) as answer:
        page, policy = await answer.text(), answer.headers["content-security-policy"]
    assert "<script" not in page and "&lt;script" in page
    assert "default-src 'none'" in policy and "form-action 'self' http://localhost:3000" in policy
    style = re.search(r"<style>(.*?)</style>", page, re.S)[1]  # type: ignore[index]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in policy
    cookies = answer.headers.getall("set-cookie")
    assert cookies and all("HttpOnly" in cookie and "SameSite=Lax" in cookie for cookie in cookies)


async def test_accounts_are_made_by_operators_only_if_so_set(closed: Server, browser: aiohttp.ClientSession) -> None:
    url = authorize_url(closed, "v" * 43, prompt="create")
    async with browser.get(url) as answer:
        page = await answer.text()
    assert "Create an account" not in page and "Sign in" in page
    entered = {"email": "a@example.com", "name": "A", "password": PASSWORD}
    status, _page, query = await fill_in(closed, browser, url, **entered)
    assert status == 400 and "code" not in query
    await closed.store.commit(closed.people.create, "a@example.com", "A", hash_password(PASSWORD))
    status, _page, query = await fill_in(closed, browser, url, **entered)
    assert status == 303 and "code" in query


async def test_signing_up_checks_what_is_entered(server: Server, browser: aiohttp.ClientSession) -> None:
    await sign_up(server, browser, "v" * 43)
    url = authorize_url(server, "v" * 43, prompt="create")
    for entered, words in (
        ({"email": "ada@EXAMPLE.com", "password": PASSWORD}, "already"),
        ({"email": "not an address", "password": PASSWORD}, "e-mail address"),
        ({"email": "new@example.com", "password": "short"}, "8 to 256"),
    ):
        status, page, _query = await fill_in(server, browser, url, **entered)
        assert status == 400 and words in page


async def test_signing_out_asks_or_needs_a_hint(server: Server, browser: aiohttp.ClientSession) -> None:
    verifier = secrets.token_urlsafe(40)
    answer = await redeem(server, browser, await sign_up(server, browser, verifier), verifier)
    out = f"{server.base}/end-session"
    async with browser.get(out) as asked:
        assert "Sign out?" in await asked.text()
    async with browser.get(authorize_url(server, verifier, prompt="none"), allow_redirects=False) as still:
        assert "code=" in still.headers["location"]
    query = urlencode({"id_token_hint": answer["id_token"], "post_logout_redirect_uri": CALLBACK, "state": "bye"})
    async with browser.get(f"{out}?{query}", allow_redirects=False) as done:
        assert done.status == 303 and done.headers["location"] == f"{CALLBACK}?state=bye"
    async with browser.get(authorize_url(server, verifier, prompt="none"), allow_redirects=False) as gone:
        assert "login_required" in gone.headers["location"]
    assert (await fill_in(server, browser, authorize_url(server, verifier), email="ada@example.com",
                          password=PASSWORD))[0] == 303  # fmt: skip
    status, page, _query = await fill_in(server, browser, out)
    assert status == 200 and "Signed out" in page


async def test_the_key_stays_and_is_sealed(server: Server, tmp_path: Path) -> None:
    keys = await server.issuer.jwks_of(server.base)
    assert keys is not None
    port = urlsplit(server.url).port
    assert await server.issuer.jwks_of(f"http://localhost:{port}/_sluiceway/issuer") == keys
    for other in (f"http://evil.example:{port}/_sluiceway/issuer", "https://issuer.example", server.url):
        assert await server.issuer.jwks_of(other) is None
    again = Issuer(server.store, server.people, Sealer(b"k" * 32), lambda: server.url, ApiSettings())
    await again.start()
    assert await again.jwks_of(server.base) == keys
    row = await server.store.view(server.people.key)
    assert row is not None and "PRIVATE" not in str(row)
    with pytest.raises(Unsealable):
        await Issuer(server.store, server.people, Sealer(b"x" * 32), lambda: server.url, ApiSettings()).start()


def test_passwords_are_hashed_with_salt() -> None:
    first, second = hash_password("secret"), hash_password("secret")
    assert first != second and "secret" not in first
    assert check_password("secret", first) and not check_password("other", first)
    assert not check_password("", None)


async def test_its_tokens_open_apis(server: Server, browser: aiohttp.ClientSession) -> None:
    verifier = secrets.token_urlsafe(40)
    answer = await redeem(server, browser, await sign_up(server, browser, verifier), verifier)
    for local in (server.issuer.jwks_of, None):  # by the shortcut, and over the network
        keys = IssuerKeys(ApiSettings(), local)
        try:
            judge = JwtAuthorizer(keys, ApiSettings())
            authorizer = Authorizer("a", "JWT", issuer=server.base, audiences=("sluiceway",))
            judged = await judge.judge(authorizer, ("email",), f"Bearer {answer['access_token']}")
            assert judged["claims"]["client_id"] == "sluiceway" and "email" in judged["scopes"]
            await judge.judge(authorizer, (), answer["id_token"])
            # Templates may name the server otherwise than the person's browser does.
            other = replace(authorizer, issuer=server.base.replace("127.0.0.1", "localhost"))
            if local is not None:
                await judge.judge(other, (), answer["access_token"])
            with pytest.raises(Refused):
                await judge.judge(replace(authorizer, audiences=("other",)), (), answer["access_token"])
        finally:
            await keys.close()
