"""Which bucket and key a request means: path-style, or with the bucket in the host.

(S3 User Guide, "Virtual hosting of general purpose buckets".)
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from sluiceway.edges.http import Request, decode

_VIRTUAL = re.compile(
    r"(?P<bucket>[a-z0-9][a-z0-9.-]*)\."
    r"(?:s3(?:[.-](?:dualstack\.)?[a-z0-9-]+)?\.amazonaws\.com|s3(?:\.[a-z0-9-]+)?\.localhost|localhost)"
    r"(?::\d+)?\Z"
)
_PLAIN = re.compile(r"s3(?:[.-](?:dualstack\.)?[a-z0-9-]+)?\.(?:amazonaws\.com|localhost)(?::\d+)?\Z")


@dataclass(frozen=True, slots=True)
class Address:
    """``bucket`` and ``key`` are decoded and empty where the request has none. ``raw_path`` is the
    path-style form, as the service model writes it."""

    bucket: str
    key: str
    raw_path: bytes


def address_of(request: Request) -> Address:
    """Raises ``Invalid("uri")`` if the path is not UTF-8."""
    raw = request.raw_path
    host = request.headers.get("host").lower()
    if "." in host and not host[0].isdigit():
        match = None if _PLAIN.match(host) else _VIRTUAL.match(host)
        if match is not None:
            raw = b"/" + match["bucket"].encode() + raw
    head, _, tail = raw[1:].partition(b"/")
    return Address(decode(head), decode(tail) if tail else "", raw)
