"""How answers leave the server."""

from __future__ import annotations

import socket

from helpers.server import ServerProcess


def test_head_and_body_of_an_answer_leave_together(server: ServerProcess) -> None:
    """A server that died between the two would leave a 200 without content, which SDKs take for an answer."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        for _ in range(200):
            client.sendall(b"GET /_sluiceway/health HTTP/1.1\r\nHost: x\r\n\r\n")
            head, _, body = client.recv(65536).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200") and body.startswith(b'{"status":"ok"'), (head, body)
