"""Reads a file and sends it to whoever connects, in a loop of two system calls: ``python -m bench.bare FILE``."""

from __future__ import annotations

import os
import socket
import sys

PIECE = 256 * 1024


def serve(path: str) -> None:
    """One connection after the other, for ever."""
    file, buffer = os.open(path, os.O_RDONLY), memoryview(bytearray(PIECE))
    size = os.fstat(file).st_size
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode())
                at = 0
                while got := os.preadv(file, [buffer], at):
                    connection.sendall(buffer[:got])
                    at += got


if __name__ == "__main__":
    serve(sys.argv[1])
