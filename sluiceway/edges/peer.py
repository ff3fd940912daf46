"""Who is at the other end of a connection."""

from __future__ import annotations


def address_of(peer: object) -> str:
    """The address of a socket's peer, as policies write addresses; "" if it has none.

    A socket that listens on ``::`` tells an IPv4 client's as ``::ffff:192.0.2.1``: that lies in no IPv4 network, and
    until Python 3.13 ``ipaddress`` did not take ``::ffff:127.0.0.1`` for loopback.
    """
    if not isinstance(peer, tuple | list) or not peer:
        return ""
    address = str(peer[0])
    return address.removeprefix("::ffff:") if "." in address else address
