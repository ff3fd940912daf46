"""Ports for what goes away and comes again at the same address."""

from __future__ import annotations

import random
import socket
from pathlib import Path

_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


def lasting_port() -> int:
    """A free port that the system gives to nobody else.

    One that it chose itself may, while nobody listens there, become the near end of somebody's outgoing connection, even of
    one to this very port: then it can't be listened at again. So it is taken from below the range that is chosen from.
    """
    end = int(_RANGE.read_text().split()[0]) if _RANGE.exists() else 32_768
    while True:
        port = random.SystemRandom().randrange(10_240, max(end, 20_480))
        try:
            with socket.create_server(("127.0.0.1", port)):
                return port
        except OSError:
            continue
