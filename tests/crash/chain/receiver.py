"""A webhook's endpoint in the test's process: it lives on while the server dies."""

from __future__ import annotations

import contextlib
import json
import random
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

REFUSED = 0.03  # of all posts, so that some deliveries wait for their next try across a kill


class Receiver:
    """``got`` counts by the message's id how often each was taken; a few are refused while ``refusing``."""

    def __init__(self, seed: int) -> None:
        self.got: dict[str, int] = {}
        self.refused = 0
        self.refusing = True
        self._dice = random.Random(seed)
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _take(self, post: dict[str, Any]) -> int:
        """The status to answer."""
        if post["Type"] == "SubscriptionConfirmation":
            threading.Thread(target=_visit, args=(post["SubscribeURL"],), daemon=True).start()
            return 200
        with self._lock:
            if self.refusing and self._dice.random() < REFUSED:
                self.refused += 1
                return 503
            self.got[post["MessageId"]] = self.got.get(post["MessageId"], 0) + 1
            return 200

    def _handler(receiver) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                self.send_response(receiver._take(json.loads(body)))
                self.send_header("content-length", "0")
                self.end_headers()

            def handle(self) -> None:
                with contextlib.suppress(ConnectionError):  # the server died while it sent
                    super().handle()

            def log_message(self, *args: object) -> None:
                pass

        return Handler


def _visit(url: str) -> None:
    with urllib.request.urlopen(url, timeout=10) as answer:
        answer.read()
