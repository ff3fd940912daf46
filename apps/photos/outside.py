"""Who is told outside of the server: webhooks and a mail server, which come and go."""

from __future__ import annotations

import email
import email.policy
import http.server
import json
import re
import socket
import threading
import urllib.parse
from collections.abc import Callable
from typing import Any

from aiosmtpd.controller import Controller

Saw = Callable[[str], None]  # told the id of an upload that arrived


def free_port() -> int:
    """A TCP port that nobody has now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def uploads_in(message: str) -> list[str]:
    """The ids in a bucket's event: uploads/OWNER/ID/NAME."""
    records = json.loads(message).get("Records", [])
    return [record["s3"]["object"]["key"].split("/")[2] for record in records]


class Webhook:
    """An endpoint of somebody else's: confirms its subscription, and tells ``saw`` of notifications."""

    def __init__(self, saw: Saw) -> None:
        self.saw = saw
        self.confirm_urls: list[str] = []
        self._port = free_port()
        self._server: _Server | None = None
        self.up()

    @property
    def url(self) -> str:
        """Where it listens, when it does."""
        return f"http://127.0.0.1:{self._port}/hook"

    def up(self) -> None:
        """Listen."""
        self._server = _Server(self._port, self)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def down(self) -> None:
        """Refuse connections."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def take(self, post: dict[str, Any]) -> None:
        """A message of SNS."""
        if post["Type"] == "SubscriptionConfirmation":
            self.confirm_urls.append(post["SubscribeURL"])
            return
        for upload in uploads_in(post["Message"]):
            self.saw(upload)


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, port: int, hook: Webhook) -> None:
        super().__init__(("127.0.0.1", port), _Hook)
        self.hook = hook


class _Hook(http.server.BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        """Take it, and say so."""
        self.server.hook.take(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Quiet: the board shows it."""


class MailServer:
    """A mail server with one reader, who confirms the subscription; ``saw`` is told of the mails after that."""

    def __init__(self, saw: Saw) -> None:
        self.port = free_port()
        self.tokens: list[str] = []
        self._saw = saw
        self._controller: Any = None
        self.up()

    def up(self) -> None:
        """Take mails."""
        self._controller = Controller(self, hostname="127.0.0.1", port=self.port)
        self._controller.start()

    def down(self) -> None:
        """Refuse connections."""
        if self._controller is not None:
            self._controller.stop()
            self._controller = None

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        """aiosmtpd calls it for each mail."""
        mail: Any = email.message_from_bytes(envelope.content, policy=email.policy.default)
        text = str(mail.get_content())
        if found := re.search(r"/_sluiceway/sns/confirm\?token=(\S+)", text):
            self.tokens.append(urllib.parse.unquote(found[1]))
        for upload in re.findall(r"uploads/[\w-]+/([0-9a-f]{32})/", text):
            self._saw(upload)
        return "250 OK"
