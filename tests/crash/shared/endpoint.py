"""An HTTP server in the test's process: it lives on while the server dies that posts to it."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_REFUSED = 0.03  # of what is asked, so that some deliveries wait for their next try across a kill


class Endpoint:
    """``answer`` gives the status for a path and a body."""

    def __init__(self, answer: Callable[[str, bytes], int]) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(answer))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Moods:
    """Whether to refuse: now and then, until ``refusing`` is over. ``refused`` counts."""

    def __init__(self, seed: int) -> None:
        self.refused = 0
        self.refusing = True
        self._dice = random.Random(seed)

    def refuse(self) -> bool:
        refuse = self.refusing and self._dice.random() < _REFUSED
        self.refused += refuse
        return refuse


def _handler(answer: Callable[[str, bytes], int]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            status = answer(self.path, self.rfile.read(int(self.headers["content-length"])))
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
