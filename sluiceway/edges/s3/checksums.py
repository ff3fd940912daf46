"""Which checksum a request promises, and whether its body keeps the promise.

(S3 User Guide, "Checking object integrity"; RFC 1864 for Content-MD5.)
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import Final

from sluiceway.edges.http import Headers
from sluiceway.errors import Invalid
from sluiceway.services.objects.checksums import ALGORITHMS, DEFAULT_ALGORITHM, is_well_formed, running
from sluiceway.services.objects.values import Checksum

_HEADERS: Final = tuple((f"x-amz-checksum-{name.lower()}", name) for name in ALGORITHMS)
_PREFIX: Final = "x-amz-checksum-"
_NOT_VALUES: Final = ("x-amz-checksum-algorithm", "x-amz-checksum-type", "x-amz-checksum-mode")


@dataclass(frozen=True, slots=True)
class Promise:
    """``value`` is the base64 checksum from a header; ``trailer`` is the trailer that will bring it.
    With neither, the checksum is computed and kept, and nothing is compared."""

    algorithm: str
    value: str | None = None
    trailer: str | None = None


def promise_of(headers: Headers) -> Promise | None:
    """What the request says about its body's checksum. Raises ``Invalid("request")``."""
    given = [(name, value) for name, value in headers.items if name.startswith(_PREFIX) and name not in _NOT_VALUES]
    trailers = [name.strip().lower() for name in headers.get("x-amz-trailer").split(",") if name.strip()]
    trailers = [name for name in trailers if name.startswith(_PREFIX)]
    if len(given) + len(trailers) > 1:
        raise Invalid(
            "request",
            "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.",
        )
    if given:
        name, value = given[0]
        algorithm = _algorithm(name)
        if not is_well_formed(algorithm, value):
            raise Invalid("request", f"Value for {name} header is invalid.")
        return Promise(algorithm, value=value)
    if trailers:
        return Promise(_algorithm(trailers[0]), trailer=trailers[0])
    if "x-amz-sdk-checksum-algorithm" in headers:
        raise Invalid(
            "request",
            "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer "
            "headers were found.",
        )
    return None


def _algorithm(header: str) -> str:
    for name, algorithm in _HEADERS:
        if name == header:
            return algorithm
    raise Invalid("request", f"The value specified in the {header[:60]} header is not supported.")


def algorithm_or_default(promise: Promise | None) -> str:
    """What to compute: what the client named, else what S3 computes of itself."""
    return promise.algorithm if promise else DEFAULT_ALGORITHM


def check_promise(promise: Promise | None, checksum: Checksum, trailers: dict[str, str]) -> None:
    """Raises ``Invalid("digest")`` or, for a promised trailer that is not there, ``Invalid("request")``."""
    if promise is None:
        return
    expected = promise.value
    if promise.trailer is not None:
        expected = trailers.get(promise.trailer)
        if expected is None or not is_well_formed(promise.algorithm, expected):
            raise Invalid("request", f"Value for {promise.trailer} trailing header is invalid.")
    if expected is not None and expected != checksum.value:
        raise Invalid("digest", f"The {promise.algorithm} you specified did not match the calculated checksum.")


def has_digest(headers: Headers) -> bool:
    """Whether anything says what the body must be; that an algorithm is named says nothing of it."""
    return "content-md5" in headers or promise_of(headers) is not None


def check_document(headers: Headers, body: bytes, trailers: dict[str, str]) -> None:
    """The integrity of a small body that is read whole. Raises as ``check_promise`` and ``content_md5``."""
    expected = content_md5(headers)
    if expected is not None:
        check_md5(expected, md5_of(body))
    promise = promise_of(headers)
    if promise is not None:
        checksum = running(promise.algorithm)
        checksum.update(body)
        check_promise(promise, Checksum(promise.algorithm, base64.b64encode(checksum.digest()).decode()), trailers)


def md5_of(body: bytes) -> bytes:
    """MD5, which S3's ETags are; it protects against accidents only."""
    return hashlib.md5(body, usedforsecurity=False).digest()


def content_md5(headers: Headers) -> bytes | None:
    """The digest of Content-MD5. Raises ``Invalid("digest_form")``."""
    if "content-md5" not in headers:
        return None
    given = headers.get("content-md5")
    try:
        digest = base64.b64decode(given, validate=True)
    except ValueError:
        digest = b""
    if len(digest) != 16:
        raise Invalid("digest_form", "The Content-MD5 you specified was invalid.", **{"Content-MD5": given[:100]})
    return digest


def check_md5(expected: bytes, found: bytes) -> None:
    """Raises ``Invalid("digest")``."""
    if expected != found:
        raise Invalid(
            "digest",
            "The Content-MD5 you specified did not match what we received.",
            ExpectedDigest=base64.b64encode(expected).decode(),
            CalculatedDigest=base64.b64encode(found).decode(),
        )
