"""What stands outside of the server in tests: an HTTP service that remembers what it got, and a mail server."""

from __future__ import annotations

import base64
import email
import email.policy
import json
import threading
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
from aiosmtpd.controller import Controller
from cryptography.hazmat.primitives.asymmetric import rsa

from .ports import lasting_port
from .server import ServerProcess, eventually


class Outside:
    """Everything posted to a path is in ``got``. It is a text-message provider (Twilio's API) and an OIDC issuer too."""

    def __init__(self) -> None:
        self.got: dict[str, list[tuple[dict[str, str], bytes]]] = {}
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        outside = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", "0")))
                headers = {name.lower(): value for name, value in self.headers.items()}
                outside.got.setdefault(self.path, []).append((headers, body))
                self._say(201 if "/Messages.json" in self.path else 200, {"sid": "SM1", "status": "queued"})

            def do_GET(self) -> None:
                pages = {"/.well-known/openid-configuration": outside.metadata(), "/keys": outside.keys()}
                self._say(200 if self.path in pages else 404, pages.get(self.path, {}))

            def _say(self, status: int, document: Any) -> None:
                body = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                return

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    def bodies(self, path: str) -> list[Any]:
        """The JSON documents that came to a path."""
        return [json.loads(body) for _, body in list(self.got.get(path, []))]

    def forms(self, path: str) -> list[dict[str, str]]:
        """The forms that came to a path."""
        return [dict(urllib.parse.parse_qsl(body.decode())) for _, body in list(self.got.get(path, []))]

    def wait(self, path: str, count: int = 1, seconds: float = 20.0) -> list[Any]:
        """The documents, once there are ``count``."""
        eventually(lambda: len(self.got.get(path, [])) >= count, seconds)
        return self.bodies(path)

    def metadata(self) -> dict[str, Any]:
        """OpenID Connect Discovery 1.0."""
        return {"issuer": self.url, "jwks_uri": f"{self.url}/keys", "id_token_signing_alg_values_supported": ["RS256"]}

    def keys(self) -> dict[str, Any]:
        """RFC 7517."""
        numbers = self.key.public_key().public_numbers()

        def text(number: int) -> str:
            raw = number.to_bytes((number.bit_length() + 7) // 8, "big")
            return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()

        return {
            "keys": [
                {"kty": "RSA", "kid": "one", "alg": "RS256", "use": "sig", "n": text(numbers.n), "e": text(numbers.e)}
            ]
        }

    def token(self, **claims: Any) -> str:
        """A token of this issuer."""
        now = int(time.time())
        whole = {"iss": self.url, "aud": "app", "sub": "ada", "iat": now, "exp": now + 600, **claims}
        return jwt.encode(whole, self.key, algorithm="RS256", headers={"kid": "one"})

    def close(self) -> None:
        """Stop."""
        self._http.shutdown()
        self._http.server_close()


@contextmanager
def delivering(folder: Path, outside: Outside, mailbox: Mailbox) -> Iterator[ServerProcess]:
    """A server that delivers here, and has said nothing of an error at its end."""
    delivery = {
        "ALLOW_PRIVATE_TARGETS": "true", "SMTP_HOST": "127.0.0.1", "SMTP_PORT": str(mailbox.port), "SMTP_TLS": "none",
        "TWILIO_URL": outside.url, "TWILIO_ACCOUNT_SID": "AC123", "TWILIO_AUTH_TOKEN": "twilio-secret",
        "TWILIO_FROM": "+15550001111",
    }  # fmt: skip
    environment = {f"SLUICEWAY_DELIVERY__{name}": text for name, text in delivery.items()}
    running = ServerProcess(folder / "data", environment=environment).start()
    yield running
    running.stop()
    assert not [line for line in running.lines if "ERROR" in line], "\n".join(running.lines)


class Mailbox:
    """A mail server that takes everything."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.port = lasting_port()
        self._controller = Controller(self, hostname="127.0.0.1", port=self.port)
        self._controller.start()

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        """aiosmtpd calls it for each mail."""
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        assert isinstance(mail, EmailMessage)
        mail["X-To"] = ",".join(envelope.rcpt_tos)
        self.mails.append(mail)
        return "250 OK"

    def wait(self, to: str, count: int = 1) -> list[tuple[str, str]]:
        """Subject and text of the mails to an address, once there are ``count``."""

        def found() -> list[tuple[str, str]]:
            return [(str(mail["Subject"]), str(mail.get_content())) for mail in list(self.mails) if mail["X-To"] == to]

        eventually(lambda: len(found()) >= count)
        return found()

    def close(self) -> None:
        """Stop."""
        self._controller.stop()
