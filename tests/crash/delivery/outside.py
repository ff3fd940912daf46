"""Somebody else's webhook, mail server and Twilio, in the test's process: they live on while the server dies.

Each of them refuses now and then for a moment, so that some deliveries wait for their next try across a kill.
"""

from __future__ import annotations

import contextlib
import email
import email.policy
import json
import random
import re
import socket
import threading
import urllib.parse
from collections import Counter, defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller

REFUSED = 0.03
_TOKEN = re.compile(r"token=([\w%.-]+)")


class Outside:
    """``got`` has for each endpoint ("http", "mail", "sms") and name the ids under which it came."""

    def __init__(self, seed: int) -> None:
        self.got: dict[str, dict[str, Counter[str]]] = {kind: defaultdict(Counter) for kind in ("http", "mail", "sms")}
        self.tokens: list[str] = []
        self.refused = 0
        self.refusing = True
        self._dice = random.Random(seed)
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.mail_port = int(free.getsockname()[1])
        self._mail = Controller(self, hostname="127.0.0.1", port=self.mail_port)
        self._mail.start()

    def environment(self) -> dict[str, str]:
        """The settings of a server that sends here."""
        settings = {
            "ALLOW_PRIVATE_TARGETS": "true",
            "SMTP_HOST": "127.0.0.1",
            "SMTP_PORT": str(self.mail_port),
            "SMTP_TLS": "none",
            "TWILIO_URL": self.url,
            "TWILIO_ACCOUNT_SID": "AC1",
            "TWILIO_AUTH_TOKEN": "secret",
            "TWILIO_FROM": "+15550100",
            "SMS_PRICE_USD": "0",
        }
        return {f"SLUICEWAY_DELIVERY__{name}": value for name, value in settings.items()}

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._mail.stop()

    def _takes(self, kind: str, text: str, sent_as: str) -> bool:
        with self._lock:
            if self.refusing and self._dice.random() < REFUSED:
                self.refused += 1
                return False
            self.got[kind][_name(text)][sent_as] += 1
            return True

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        """aiosmtpd calls it for each mail."""
        mail: Any = email.message_from_bytes(envelope.content, policy=email.policy.default)
        text = str(mail.get_content())
        if found := _TOKEN.search(text):
            self.tokens.append(urllib.parse.unquote(found[1]))
            return "250 OK"
        if self._takes("mail", text.splitlines()[0], str(mail["Message-ID"])):
            return "250 OK"
        return "451 try again"

    def _post(self, path: str, body: bytes) -> int:
        """The status to answer."""
        if "/Messages.json" in path:
            form = dict(urllib.parse.parse_qsl(body.decode()))
            return 201 if self._takes("sms", form["Body"], "sms") else 503
        post = json.loads(body)
        if post["Type"] == "SubscriptionConfirmation":
            self.tokens.append(post["Token"])
            return 200
        return 200 if self._takes("http", post["Message"], post["MessageId"]) else 503

    def _handler(outside) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                status = outside._post(self.path, self.rfile.read(int(self.headers["content-length"])))
                self.send_response(status)
                self.send_header("content-length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def handle(self) -> None:
                with contextlib.suppress(ConnectionError):  # the server died while it sent
                    super().handle()

            def log_message(self, *args: object) -> None:
                pass

        return Handler


def _name(text: str) -> str:
    """Of a publication, or of the object that a bucket tells of."""
    message = json.loads(text)
    if "Records" in message:
        return str(message["Records"][0]["s3"]["object"]["key"])
    return str(message.get("id", "test event"))
