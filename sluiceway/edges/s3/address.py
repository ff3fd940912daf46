"""Which bucket and key a request means: path-style, or with the bucket in the host.

(S3 User Guide, "Virtual hosting of general purpose buckets".)
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from sluiceway.edges.http import HOST_CHARS_MAX, Request, decode

#: S3's own hosts: regional, dual-stack, FIPS, accelerated and legacy ones ("s3-eu-west-1"), and the local ones.
_S3 = r"s3(?:-[a-z0-9-]+)?(?:\.dualstack)?(?:\.(?!s3[.-])[a-z0-9-]+)?\.(?:amazonaws\.com|localhost)(?::\d+)?\Z"
_PLAIN = re.compile(_S3)
#: The bucket is the shortest one that fits: "b.s3.localhost" is the bucket "b", not "b.s3" on localhost.
_VIRTUAL = (
    re.compile(r"([a-z0-9][a-z0-9.-]*?)\." + _S3),
    re.compile(r"([a-z0-9][a-z0-9.-]*)\.localhost(?::\d+)?\Z"),
)


@dataclass(slots=True)
class Address:
    """``bucket`` and ``key`` are decoded and empty where the request has none. ``raw_path`` is the
    path-style form, as the service model writes it."""

    bucket: str
    key: str
    raw_path: bytes


def address_of(request: Request) -> Address:
    """Raises ``Invalid("uri")`` if the path is not UTF-8."""
    raw = request.raw_path
    bucket = bucket_in(request.headers.get("host")[-HOST_CHARS_MAX:])
    if bucket:
        raw = b"/" + bucket.encode() + raw
    head, _, tail = raw[1:].partition(b"/")
    return Address(decode(head), decode(tail) if tail else "", raw)


@lru_cache(maxsize=256)  # clients use a few names
def bucket_in(host: str) -> str | None:
    """The bucket that a host names; None if it is not virtual-hosted."""
    host = host.lower()
    if not ("localhost" in host or "amazonaws.com" in host) or _PLAIN.match(host):
        return None
    for pattern in _VIRTUAL:
        match = pattern.match(host)
        if match is not None:
            return match[1]
    return None
