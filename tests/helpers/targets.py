"""Targets over a store of their own, and what stands at the other end of them."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import NameOID

from sluiceway.config import DeliverySettings, StoreSettings
from sluiceway.core.clock import SystemClock
from sluiceway.core.identity import Scope
from sluiceway.core.reaction import Reaction, Target
from sluiceway.core.store import Entry
from sluiceway.core.wakeups import Wakeups
from sluiceway.engines.sqlite.store import SqliteStore, open_store
from sluiceway.reactions.target import Attempt, OutwardTarget
from sluiceway.reactions.targets.catalog import topic_targets
from sluiceway.reactions.targets.signing import RsaSigner, open_signer

SCOPE = Scope("000000000000", "us-east-1")
TOPIC = "arn:aws:sns:us-east-1:000000000000:news"
FIRST = Attempt(0, 1_700_000_000_000)
NOTIFICATION = ["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"]
CONFIRMATION = ["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"]
Answer = Callable[[web.Request], Any]


@dataclass
class Endpoint:
    """A real HTTP server that records what it gets."""

    url: str = ""
    answer: Answer = field(default=lambda request: web.Response(text="ok"))
    got: list[tuple[web.Request, bytes]] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.got.append((request, await request.read()))
        response = self.answer(request)
        return await response if asyncio.iscoroutine(response) else response


@asynccontextmanager
async def an_endpoint(tls: ssl.SSLContext | None = None) -> AsyncIterator[Endpoint]:
    made = Endpoint()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    made.url = f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def a_socket(talk: Talk, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """The port of a server that says what ``talk`` writes, be it a protocol or not."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await talk(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            return
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@dataclass
class Kit:
    """Targets over a store."""

    store: SqliteStore
    signer: RsaSigner

    def targets(self, **settings: Any) -> dict[str, OutwardTarget]:
        made = topic_targets(
            self.store,
            None,  # type: ignore[arg-type]  # no queue and no function here
            None,  # type: ignore[arg-type]
            lambda *args: None,
            self.signer,
            lambda: "http://here:4566",
            SCOPE,
            DeliverySettings(**{"allow_private_targets": True, "http_s": 5.0, **settings}),
            SystemClock(),
        )
        return made  # type: ignore[return-value]


@asynccontextmanager
async def a_kit(folder: Path) -> AsyncIterator[Kit]:
    store = await open_store(folder / "store.db", StoreSettings(), SystemClock(), Wakeups())
    yield Kit(store, open_signer(folder))
    await store.close()


def reaction(kind: str, address: str, **options: Any) -> Reaction:
    """As ``Topics`` makes it."""
    base = {"topic_arn": TOPIC, "subscription_arn": f"{TOPIC}:id", "protocol": kind, "version": "1", "raw": False}
    return Reaction("r", "topic/news", Target(kind, address, {**base, **options}))


def message(text: str = "hello", **more: Any) -> Entry:
    """One message of a topic."""
    return Entry(7, FIRST.now_ms, {"id": "m-1", "message": text, "time_ms": FIRST.now_ms, **more})


async def deliver(target: OutwardTarget, made: Reaction, entry: Entry) -> None:
    try:
        await target.deliver(made, [entry], FIRST)
    finally:
        await target.close()


def verify(document: dict[str, Any], certificate_pem: bytes, names: list[str]) -> None:
    """As Amazon SNS Developer Guide describes it for endpoints."""
    text = "".join(f"{name}\n{document[name]}\n" for name in names if name in document)
    key = x509.load_pem_x509_certificate(certificate_pem).public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    algorithm = hashes.SHA256() if document["SignatureVersion"] == "2" else hashes.SHA1()
    key.verify(base64.b64decode(document["Signature"]), text.encode(), padding.PKCS1v15(), algorithm)


@dataclass
class Certified:
    """A certificate for 127.0.0.1 that is its own authority."""

    file: Path
    server: ssl.SSLContext


def certified(folder: Path, *, days: int = 1, name: str = "127.0.0.1") -> Certified:
    """``days`` until it expires; negative for one that has expired."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=10))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(name))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    file, both = folder / "authority.pem", folder / "server.pem"
    file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    both.write_bytes(pem + file.read_bytes())
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(both)
    return Certified(file, context)
