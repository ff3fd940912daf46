"""Subscribers of every kind outside of the server, each of which can be switched off and on again at its address."""

from __future__ import annotations

import contextlib
import datetime
import email
import email.policy
import json
import re
import ssl
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from .ports import lasting_port

_TOKEN = re.compile(r"token=([\w%.-]+)")


class Switched:
    """Something that listens on one port, or doesn't. What it got is in ``got``, as text; ``tokens`` are asked for
    confirmation."""

    def __init__(self) -> None:
        self.got: list[str] = []
        self.tokens: list[str] = []
        self.hits = 0
        self.port = lasting_port()
        self.up()

    def up(self) -> None:
        raise NotImplementedError

    def down(self) -> None:
        raise NotImplementedError


class Hook(Switched):
    """A webhook, with TLS if it has a ``context``; Twilio's API too."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self._context = context
        super().__init__()

    @property
    def url(self) -> str:
        return f"http{'s' if self._context else ''}://127.0.0.1:{self.port}"

    def up(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), self._handler())
        self._server.daemon_threads = True
        if self._context is not None:
            self._server.socket = self._context.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def down(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _take(self, path: str, body: bytes) -> None:
        self.hits += 1
        if "/Messages.json" in path:
            self.got.append(dict(urllib.parse.parse_qsl(body.decode()))["Body"])
            return
        post = json.loads(body)
        if post["Type"] == "SubscriptionConfirmation":
            self.tokens.append(post["Token"])
        else:
            self.got.append(post["Message"])

    def _handler(hook) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                hook._take(self.path, self.rfile.read(int(self.headers["content-length"])))
                self.send_response(201)
                self.send_header("content-length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def handle(self) -> None:
                with contextlib.suppress(OSError):
                    super().handle()

            def log_message(self, *args: object) -> None:
                pass

        return Handler


class Mail(Switched):
    """A mail server."""

    def up(self) -> None:
        self._controller = Controller(self, hostname="127.0.0.1", port=self.port)
        self._controller.start()

    def down(self) -> None:
        self._controller.stop()

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        """aiosmtpd calls it for each mail."""
        self.hits += 1
        mail: Any = email.message_from_bytes(envelope.content, policy=email.policy.default)
        text = str(mail.get_content())
        if found := _TOKEN.search(text):
            self.tokens.append(urllib.parse.unquote(found[1]))
        else:
            self.got.append(text)
        return "250 OK"


class Subscribers:
    """A webhook, one with TLS, a mail server, and a text-message gateway. ``authority`` is the file of the certificate
    that the second shows."""

    def __init__(self, folder: Path) -> None:
        self.authority, context = _certificate(folder)
        self.http, self.https, self.mail, self.sms = Hook(), Hook(context), Mail(), Hook()
        self.by_kind: dict[str, Switched] = {
            "http": self.http,
            "https": self.https,
            "email": self.mail,
            "sms": self.sms,
        }

    def settings(self) -> dict[str, Any]:
        """Of a server's section "delivery"."""
        return {
            "allow_private_targets": True,
            "smtp_host": "127.0.0.1",
            "smtp_port": self.mail.port,
            "smtp_tls": "none",
            "twilio_url": self.sms.url,
            "twilio_account_sid": "AC1",
            "twilio_auth_token": "secret",
            "twilio_from": "+15550100",
            "sms_price_usd": 0.0,
            "certificates": str(self.authority),
        }

    def environment(self) -> dict[str, str]:
        """The same for a process."""
        return {f"SLUICEWAY_DELIVERY__{name.upper()}": str(value) for name, value in self.settings().items()}

    def endpoint(self, kind: str) -> str:
        """What is subscribed."""
        hooks = {"http": f"{self.http.url}/hook", "https": f"{self.https.url}/hook"}
        return hooks.get(kind) or {"email": "reader@example.com", "sms": "+15550123"}[kind]

    def close(self) -> None:
        for one in self.by_kind.values():
            one.down()


def _certificate(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """One for 127.0.0.1 that is its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "subscriber")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    authority, both = folder / "subscriber.pem", folder / "subscriber-key.pem"
    authority.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    both.write_bytes(pem + authority.read_bytes())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(both)
    return authority, context
