"""The canonical request of Signature Version 4: path, query and headers in the one form that both sides sign.

("Create a canonical request", IAM User Guide; "Authenticating requests", S3 API reference.)
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from sluiceway.edges.http import Headers

_UNRESERVED: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/._~-"  # and "/" (RFC 3986, 2.3)
#: Percent-encoded as it must be: what need not be encoded is not.
_ENCODED = rb"%(?!2[DE]|3[0-9]|4[1-9A-F]|5[0-9AF]|6[1-9A-F]|7[0-9AE])[0-9A-F]{2}"
_PATH_IS_CANONICAL = re.compile(rb"(?:[A-Za-z0-9/._~-]|" + _ENCODED + rb")+\Z")
_QUERY_IS_CANONICAL = re.compile(rb"(?:[A-Za-z0-9=&._~-]|" + _ENCODED + rb")*\Z")


def canonical_headers(headers: Headers, signed: tuple[str, ...]) -> str:
    """The signed headers in their order, each of which is there."""
    return "\n".join([f"{name}:{','.join(_tidy(value) for value in headers.all(name))}" for name in signed])


def is_untidy(lines: str) -> bool:
    """Whether a value may have spaces that the canonical form has not."""
    return "  " in lines or ": " in lines or " \n" in lines or "\t" in lines or lines.endswith((" ", ":"))


def _tidy(value: str) -> str:
    """A header's value with single spaces."""
    return value if "  " not in value and value.strip() == value else " ".join(value.split())


def canonical_path(raw: bytes, s3: bool) -> str:
    """S3: encoded once, as it stands. Others: dot segments and empty ones removed, then encoded again."""
    if s3:
        if (raw and not raw.translate(None, _UNRESERVED)) or _PATH_IS_CANONICAL.match(raw):
            return raw.decode("ascii")
        return quote(unquote_to_bytes(raw), safe="/~") or "/"
    if raw == b"/" or not raw:
        return "/"
    kept: list[bytes] = []
    for part in raw.split(b"/"):
        if part == b"..":
            del kept[-1:]
        elif part and part != b".":
            kept.append(part)
    slash = b"/" if kept and raw.endswith(b"/") else b""
    return quote(b"/" + b"/".join(kept) + slash, safe="/~")


def canonical_query(raw: bytes) -> str:
    """Parameters sorted by name and value, strictly encoded, without the signature itself."""
    if not raw:
        return ""
    pairs: list[tuple[bytes, bytes]] = []
    canonical = _QUERY_IS_CANONICAL.match(raw) is not None
    for piece in raw.split(b"&"):
        if not piece:
            continue
        name, _, value = piece.partition(b"=")
        if not canonical or b"=" in value:
            name, value = _encoded(name), _encoded(value)
        if name != b"X-Amz-Signature":
            pairs.append((name, value))
    pairs.sort()
    return b"&".join([name + b"=" + value for name, value in pairs]).decode("ascii")


def _encoded(raw: bytes) -> bytes:
    return quote(unquote_to_bytes(raw.replace(b"+", b" ")), safe="~").encode("ascii")
