"""Clients' addresses as sockets tell them."""

from __future__ import annotations

import pytest

from sluiceway.edges.peer import address_of


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        (("192.0.2.1", 1), "192.0.2.1"), (["192.0.2.1", 1], "192.0.2.1"), (("::1", 1, 0, 0), "::1"),
        (("::ffff:192.0.2.1", 1, 0, 0), "192.0.2.1"), (("::ffff:0:c000:201", 1, 0, 0), "::ffff:0:c000:201"),
        (("fe80::1%eth0.5", 1, 0, 2), "fe80::1%eth0.5"), ((), ""), (None, ""), ("/run/socket", ""),
    ],
)  # fmt: skip
def test_the_address_of_a_peer(peer: object, address: str) -> None:
    assert address_of(peer) == address
