"""Webhooks as they are in the wild: endpoints that lie, hang, stream without end, ask who is there, or aren't public."""

from __future__ import annotations

import asyncio
import hashlib
import re
import socket
import ssl
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from helpers.certificates import old_chain
from helpers.targets import (
    Endpoint,
    Kit,
    Talk,
    a_kit,
    a_socket,
    an_endpoint,
    certified,
    deliver,
    message,
    reaction,
)

from sluiceway.reactions.target import Attempt, DeliveryFailed
from sluiceway.reactions.targets import guard, resolver
from sluiceway.reactions.targets.challenges import answer_to
from sluiceway.reactions.targets.guard import Refused, is_public
from sluiceway.reactions.targets.resolver import guarded_socket

FIRST = Attempt(0, 0)


@pytest.fixture
async def kit(tmp_path: Path) -> AsyncIterator[Kit]:
    async with a_kit(tmp_path) as made:
        yield made


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    async with an_endpoint() as made:
        yield made


async def fails(kit: Kit, url: str, **settings: Any) -> DeliveryFailed:
    with pytest.raises(DeliveryFailed) as caught:
        await deliver(kit.targets(**settings)["http"], reaction("http", url), message())
    return caught.value


def says(text: bytes) -> Talk:
    """Reads the request's beginning, writes ``text`` and hangs up."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(text)
        await writer.drain()

    return talk


async def endless_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(100)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999\r\n\r\n")
    while True:
        writer.write(b"x" * 65536)
        await writer.drain()


async def endless_headers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(100)
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"X-Header: " + b"x" * 1000 + b"\r\n")
        await writer.drain()


async def one_byte_a_while(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(100)
    for byte in b"HTTP/1.1 200 OK\r\n" * 100:
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0.05)


async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(30)


BAD: list[tuple[str, Talk, str]] = [
    ("garbage", says(b"\x00\xff\x13garbage\r\n\r\n"), "could not be reached"),
    ("another protocol", says(b"220 mail.example ESMTP\r\n"), "could not be reached"),
    ("hangs up", says(b""), "could not be reached"),
    ("hangs up in the headers", says(b"HTTP/1.1 200 OK\r\nContent-Le"), "could not be reached"),
    ("a huge header", says(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n"), "could not be reached"),
    ("headers without end", endless_headers, "could not be reached"),
    ("one byte at a time", one_byte_a_while, "did not answer within"),
    ("nothing at all", silence, "did not answer within"),
    ("a server error", says(b"HTTP/1.1 503 Later\r\nContent-Length: 4\r\n\r\nlate"), "answered 503: late"),
    ("a redirect", says(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"), "answered 302"),
]  # fmt: skip


@pytest.mark.parametrize(("talk", "words"), [bad[1:] for bad in BAD], ids=[bad[0] for bad in BAD])
async def test_a_bad_endpoint_is_one_failed_attempt_that_is_tried_again(kit: Kit, talk: Talk, words: str) -> None:
    async with a_socket(talk) as port:
        began = time.monotonic()
        failure = await fails(kit, f"http://127.0.0.1:{port}/", http_s=1.0)
        assert words in failure.reason and not failure.permanent
        assert time.monotonic() - began < 20 and len(failure.reason) < 500  # some would go on for half a minute


async def test_of_gigabytes_in_an_answer_only_the_beginning_is_read(kit: Kit) -> None:
    sent = 0

    async def gigabytes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.read(100)
        writer.write(b"HTTP/1.1 500 No\r\nContent-Length: 9999999999\r\n\r\n")
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()
            sent += 65536

    async with a_socket(gigabytes) as port:
        failure = await fails(kit, f"http://127.0.0.1:{port}/")
        assert "answered 500" in failure.reason and len(failure.reason) < 500
        seen = sent
        await asyncio.sleep(0.2)
        assert sent - seen <= 65536 and sent < 32 * 1024 * 1024


async def test_an_endless_answer_that_begins_well_is_a_delivery(kit: Kit) -> None:
    async with a_socket(endless_body) as port:
        await deliver(kit.targets()["http"], reaction("http", f"http://127.0.0.1:{port}/"), message())


async def test_one_that_hangs_disturbs_no_other(kit: Kit, endpoint: Endpoint) -> None:
    async with a_socket(silence) as port:
        target = kit.targets(http_s=3.0)["http"]
        stuck = [asyncio.create_task(target.deliver(reaction("http", f"http://127.0.0.1:{port}/{at}"), [message()],
                                                    attempt=FIRST)) for at in range(40)]  # fmt: skip
        await asyncio.sleep(0.1)
        await target.deliver(reaction("http", endpoint.url), [message()], attempt=FIRST)
        assert len(endpoint.got) == 1 and not any(task.done() for task in stuck)
        outcomes = await asyncio.gather(*stuck, return_exceptions=True)
        assert all(isinstance(outcome, DeliveryFailed) for outcome in outcomes)
        await target.close()


async def test_names_that_take_forever_to_look_up_disturb_nobody(
    kit: Kit, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither other names nor the loop's own threads, which are few and everybody's."""
    done, real = threading.Event(), resolver.look_up

    def look_up(host: str, port: int, family: int) -> list[Any]:
        if host.startswith("slow"):
            done.wait(20)
            raise OSError("no such name")
        return real("127.0.0.1", port, family)

    monkeypatch.setattr(resolver, "look_up", look_up)
    target = kit.targets(http_s=2.0)["http"]
    slow = [reaction("http", f"http://slow{at}.example/") for at in range(20)]
    stuck = [asyncio.create_task(target.deliver(one, [message()], attempt=FIRST)) for one in slow]
    await asyncio.sleep(0.1)
    port = endpoint.url.rpartition(":")[2]
    quick = reaction("http", f"http://quick.example:{port}/")
    await target.deliver(quick, [message()], attempt=FIRST)
    await asyncio.to_thread(lambda: None)
    assert len(endpoint.got) == 1 and not any(task.done() for task in stuck)
    outcomes = await asyncio.gather(*stuck, return_exceptions=True)
    assert all(isinstance(one, DeliveryFailed) and "did not answer within" in one.reason for one in outcomes)
    done.set()
    await target.close()


# -- certificates


async def test_https_needs_a_certificate_that_somebody_vouches_for(kit: Kit, tmp_path: Path) -> None:
    good = certified(tmp_path)
    async with an_endpoint(good.server) as endpoint:
        failure = await fails(kit, endpoint.url)
        assert "certificate" in failure.reason.lower() and not failure.permanent and endpoint.got == []
        target = kit.targets(certificates=good.file)["http"]
        await deliver(target, reaction("https", endpoint.url), message())
        assert len(endpoint.got) == 1


async def test_a_companys_own_authority_of_old_vouches_for_its_servers(kit: Kit, tmp_path: Path) -> None:
    old = old_chain(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(old.chain, old.key)
    async with an_endpoint(context) as endpoint:
        target = kit.targets(certificates=old.authority)["http"]
        await deliver(target, reaction("https", endpoint.url), message())
        assert len(endpoint.got) == 1


@pytest.mark.parametrize("wrong", [{"days": -1}, {"name": "127.0.0.2"}], ids=["expired", "of another name"])
async def test_a_bad_certificate_is_a_failed_attempt(kit: Kit, tmp_path: Path, wrong: dict[str, Any]) -> None:
    bad = certified(tmp_path, **wrong)
    async with an_endpoint(bad.server) as endpoint:
        failure = await fails(kit, endpoint.url, certificates=bad.file)
        assert "could not be reached" in failure.reason and not failure.permanent and endpoint.got == []


async def test_plain_text_where_tls_is_expected(kit: Kit) -> None:
    async with a_socket(says(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")) as port:
        failure = await fails(kit, f"https://127.0.0.1:{port}/")
        assert "could not be reached" in failure.reason and not failure.permanent


# -- who is there?


async def test_a_user_in_the_url_answers_a_basic_challenge_and_is_told_to_nobody_else(
    kit: Kit, endpoint: Endpoint
) -> None:
    def ask(request: web.Request) -> web.Response:
        known = request.headers.get("Authorization") == "Basic dXNlcjpwQHNz"
        return web.Response(status=200 if known else 401, headers={"WWW-Authenticate": 'Basic realm="hooks"'})

    endpoint.answer = ask
    place = endpoint.url.removeprefix("http://")
    await deliver(kit.targets()["http"], reaction("http", f"http://user:p%40ss@{place}/hook"), message("hi"))
    [first, second] = endpoint.got
    assert "Authorization" not in first[0].headers and first[1] == second[1]
    failure = await fails(kit, f"http://user:wrong@{place}/hook")
    assert failure.permanent and "answered 401" in failure.reason and "wrong" not in failure.reason
    assert (await fails(kit, f"http://{place}/hook")).permanent
    endpoint.answer = lambda request: web.Response()
    endpoint.got.clear()
    await deliver(kit.targets()["http"], reaction("http", f"http://user:p%40ss@{place}/hook"), message())
    assert ["Authorization" in request.headers for request, _ in endpoint.got] == [False]


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256"])
async def test_a_digest_challenge_is_answered(kit: Kit, endpoint: Endpoint, algorithm: str) -> None:
    def hashed(text: str) -> str:
        return hashlib.new(algorithm.replace("-", "").lower(), text.encode()).hexdigest()

    def ask(request: web.Request) -> web.Response:
        given = dict(re.findall(r'(\w+)="?([^",]+)"?', request.headers.get("Authorization", "")))
        a1, a2 = hashed("user:hooks:secret"), hashed(f"POST:{request.path_qs}")
        if given and given["response"] == hashed(f"{a1}:n1:{given['nc']}:{given['cnonce']}:auth:{a2}"):
            return web.Response()
        challenge = f'Digest realm="hooks", nonce="n1", qop="auth,auth-int", algorithm={algorithm}'
        return web.Response(status=401, headers={"WWW-Authenticate": challenge})

    endpoint.answer = ask
    url = endpoint.url.replace("http://", "http://user:secret@") + "/hook?a=b"
    await deliver(kit.targets()["http"], reaction("http", url), message())
    assert (await fails(kit, url.replace("secret", "other"))).permanent


def test_the_digest_of_the_rfc() -> None:
    """RFC 2069's form, without qop, has a response that depends on nothing random (RFC 2617, section 3.2.2.1)."""
    challenge = 'Digest realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", opaque="5ccc"'
    answer = answer_to([challenge], "Mufasa", "Circle Of Life", "GET", "/dir/index.html") or ""
    assert 'response="670fd8c2df070c60b045671b8b24ff02"' in answer and 'opaque="5ccc"' in answer


@pytest.mark.parametrize("challenge", ["", "Negotiate", "Digest", 'Digest nonce="x", algorithm=MD5-sess, qop="auth"',
                                       'Digest nonce="x", qop="auth-int"', "Digest " + '"' * 1000])  # fmt: skip
def test_challenges_that_are_not_understood(challenge: str) -> None:
    assert answer_to([challenge], "user", "secret", "POST", "/") is None


# -- what a subscription may set


async def test_no_more_messages_a_second_than_the_policy_allows(kit: Kit, endpoint: Endpoint) -> None:
    target = kit.targets()["http"]
    slow, quick = reaction("http", endpoint.url, per_second=5), reaction("http", endpoint.url)
    began = time.monotonic()
    await asyncio.gather(*(target.deliver(slow, [message()], attempt=FIRST) for _ in range(5)))
    assert 0.78 < time.monotonic() - began < 8
    began = time.monotonic()
    await asyncio.gather(*(target.deliver(quick, [message()], attempt=FIRST) for _ in range(5)))
    assert time.monotonic() - began < 0.78
    await target.close()


# -- what must not be reached

LOCAL = ["127.1", "127.0.0.1.", "0177.0.0.1", "①②⑦.⓪.⓪.①", "127。0。0。1", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]",
         "[::]", "LOCALHOST", "localhost.", "0x7f000001", "017700000001", "[64:ff9b::7f00:1]", "[fe80::1%25lo]"]  # fmt: skip


@pytest.mark.parametrize("host", LOCAL)
async def test_no_spelling_of_this_machine_is_reached(kit: Kit, endpoint: Endpoint, host: str) -> None:
    port = endpoint.url.rpartition(":")[2]
    failure = await fails(kit, f"http://{host}:{port}/", allow_private_targets=False)
    assert endpoint.got == []
    assert failure.permanent or "could not be reached" in failure.reason


async def test_a_name_that_changes_between_check_and_use_reaches_nothing(
    kit: Kit, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: the first answer is public, every later one is this machine."""
    port = int(endpoint.url.rpartition(":")[2])
    answers = iter(["192.0.2.1"])
    asked = []

    def look_up(host: str, port: int, family: int) -> list[Any]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers, "127.0.0.1"), port))]

    monkeypatch.setattr(resolver, "look_up", look_up)
    for module in (guard, resolver):
        monkeypatch.setattr(module, "is_public", lambda address: address == "192.0.2.1" or is_public(address))
    url = f"http://rebinding.example:{port}/"
    for _ in range(3):
        failure = await fails(kit, url, allow_private_targets=False, http_s=0.3)
        assert "rebinding.example" in failure.reason
    assert endpoint.got == [] and len(asked) == 3
    await deliver(kit.targets()["http"], reaction("http", url), message())
    assert len(endpoint.got) == 1  # allowed by the setting


async def test_mixed_answers_of_a_resolver_are_reduced_to_the_public_ones(
    kit: Kit, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = int(endpoint.url.rpartition(":")[2])

    def look_up(host: str, port: int, family: int) -> list[Any]:
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in ("127.0.0.1", "10.0.0.1", "169.254.169.254", "0.0.0.0")
        ]

    monkeypatch.setattr(resolver, "look_up", look_up)
    failure = await fails(kit, f"http://mixed.example:{port}/", allow_private_targets=False)
    assert failure.permanent and "no public address" in failure.reason and endpoint.got == []


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "10.0.0.1", "127.1", "169.254.169.254"])
def test_the_last_check_is_at_the_socket(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with pytest.raises(Refused):
        guarded_socket((family, socket.SOCK_STREAM, 6, "", (address, 80)))
    guarded_socket((socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.216.34", 80))).close()
