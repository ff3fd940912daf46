"""Runs in a Python worker before the handler is loaded: AWS's host names lead to this server.

For code that hard-wires them; SDKs read AWS_ENDPOINT_URL.
"""

import socket
from typing import Any


def install(ports: dict[int, int]) -> None:
    """``ports`` is {80: HTTP port, 443: HTTPS port} of this server on 127.0.0.1."""
    plain = socket.getaddrinfo

    def getaddrinfo(host: Any, port: Any, *rest: Any, **named: Any) -> Any:
        name = host.decode("idna") if isinstance(host, bytes) else host
        if isinstance(name, str) and name.lower().rstrip(".").endswith((".amazonaws.com", ".api.aws")):
            number = int(port) if str(port).isdigit() else {"https": 443, "http": 80}.get(str(port), 0)
            if number in ports:
                host, port = "127.0.0.1", ports[number]
        return plain(host, port, *rest, **named)

    socket.getaddrinfo = getaddrinfo
