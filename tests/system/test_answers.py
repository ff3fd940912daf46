"""How answers leave the server."""

from __future__ import annotations

import socket

import pytest
from helpers.server import ServerProcess


def test_head_and_body_of_an_answer_leave_together(server: ServerProcess) -> None:
    """A server that died between the two would leave a 200 without content, which SDKs take for an answer."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        for _ in range(200):
            client.sendall(b"GET /_sluiceway/health HTTP/1.1\r\nHost: x\r\n\r\n")
            head, _, body = client.recv(65536).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200") and body.startswith(b'{"status":"ok"'), (head, body)


@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_a_body_that_ends_too_early_is_told_so(server: ServerProcess, framing: str) -> None:
    """A client that closes its sending side is still there to read why."""
    wanted = "Content-Length: 1000" if framing == "length" else "Transfer-Encoding: chunked"
    body = b"only this" if framing == "length" else b"9\r\nonly this\r\n"
    head = f"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n{wanted}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        client.sendall(head.encode() + body)
        client.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 400") and b"did not provide the number of bytes" in answer, answer
    assert b"connection: close" in answer
