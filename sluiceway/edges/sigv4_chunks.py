"""The ``aws-chunked`` content coding: chunks of a body, each with its signature, and trailers after them.

Bytes in, bytes out, without a socket; input may be split at any byte. Data of a chunk is given on before
its signature is checked (memory stays bounded), so what is made of it must be dropped if ``feed`` or
``finish`` raises. (S3 API reference, "Signature calculations for the authorization header: transferring
payload in multiple chunks" and "... including trailing headers".)
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterator
from enum import Enum, auto
from typing import Final

from sluiceway.edges.http import Request
from sluiceway.edges.sigv4 import SIGNED_CHUNKS, SIGNED_TRAILER, STREAMING, UNSIGNED_TRAILER, Verified
from sluiceway.errors import Invalid, Unauthenticated

_LINE_BYTES_MAX: Final = 1024  # a size, an extension and a signature take 110; a trailer's value less than 200
_TRAILERS_MAX: Final = 8  # S3 knows one checksum and its signature
_EMPTY_SHA256: Final = hashlib.sha256(b"").hexdigest()
_SIZE = re.compile(rb"([0-9a-fA-F]{1,12})(?:;chunk-signature=([0-9a-f]{64}))?\Z")
_SIGNATURE_TRAILER: Final = "x-amz-trailer-signature"


class _State(Enum):
    SIZE = auto()  # the line before a chunk
    DATA = auto()  # a chunk's bytes
    DATA_END = auto()  # the CR LF after them
    TRAILER = auto()  # lines after the last chunk
    DONE = auto()


class _Signer:
    """The chain of signatures: each covers its chunk and the one before."""

    def __init__(self, verified: Verified) -> None:
        self._key = verified.signing_key
        self._context = f"{verified.timestamp}\n{verified.credential_scope}"
        self._previous = verified.signature

    def check(self, label: str, middle: str, digest: str, given: str) -> None:
        text = f"AWS4-HMAC-SHA256-{label}\n{self._context}\n{self._previous}\n{middle}{digest}"
        expected = hmac.digest(self._key, text.encode("ascii"), "sha256").hex()
        if not hmac.compare_digest(expected, given):
            raise Unauthenticated(
                "chunk",
                "The chunk signature we calculated does not match the signature you provided. "
                "Check your key and signing method.",
            )
        self._previous = given


class ChunkDecoder:
    """``trailers`` are complete, and verified, when ``finish`` has returned.

    ``announced`` are the trailers that the ``x-amz-trailer`` header names.
    """

    def __init__(self, kind: str, verified: Verified, announced: frozenset[str] = frozenset()) -> None:
        self.trailers: dict[str, str] = {}
        self._has_trailers = kind != SIGNED_CHUNKS
        self._signer = _Signer(verified) if kind != UNSIGNED_TRAILER else None
        self._announced = announced
        self._state = _State.SIZE
        self._buffer = b""  # the beginning of a line
        self._left = 0  # bytes of the chunk still to come
        self._last = False
        self._chunk_signature = ""
        self._hash = hashlib.sha256()
        self._signed_lines = b""

    def feed(self, raw: bytes) -> Iterator[bytes]:
        """The payload in ``raw``. Raises ``Invalid("incomplete")`` for broken framing, ``Invalid("request")``
        for a broken trailer, ``Unauthenticated("chunk")``."""
        at = 0
        while at < len(raw):
            if self._state is _State.DATA:
                data = raw[at : at + self._left]
                at += len(data)
                self._take(data)
                yield data
            elif self._state is _State.DONE:
                raise _broken("bytes follow its end")
            else:
                at = self._fill_line(raw, at)

    def finish(self) -> None:
        """The input is at its end. Raises ``Invalid("incomplete")`` if the payload is not."""
        if self._state is not _State.DONE:
            raise _broken("it ends too early")

    def _take(self, data: bytes) -> None:
        self._left -= len(data)
        if self._signer is not None:
            self._hash.update(data)
        if self._left == 0:
            self._state = _State.DATA_END
            self._check_chunk()

    def _check_chunk(self) -> None:
        if self._signer is not None:
            self._signer.check("PAYLOAD", f"{_EMPTY_SHA256}\n", self._hash.hexdigest(), self._chunk_signature)
            self._hash = hashlib.sha256()

    def _fill_line(self, raw: bytes, at: int) -> int:
        """Take bytes up to the line's end, and the line if it is whole; where to go on in ``raw``."""
        end = raw.find(b"\n", at)
        stop = len(raw) if end < 0 else end + 1
        if len(self._buffer) + stop - at > _LINE_BYTES_MAX:
            raise _broken("a line is too long")
        self._buffer += raw[at:stop]
        if end >= 0:
            line = self._buffer[:-1].removesuffix(b"\r")
            self._buffer = b""
            self._line(line)
        return stop

    def _line(self, line: bytes) -> None:
        if self._state is _State.SIZE:
            self._size_line(line)
        elif self._state is _State.DATA_END:
            if line:
                raise _broken("a chunk is longer than announced")
            self._state = _State.DONE if self._last else _State.SIZE
        else:
            self._trailer_line(line)

    def _size_line(self, line: bytes) -> None:
        match = _SIZE.match(line)
        if match is None or (match[2] is None) != (self._signer is None):
            raise _broken("the line before a chunk is malformed")
        self._left = int(match[1], 16)
        self._chunk_signature = (match[2] or b"").decode("ascii")
        self._state = _State.DATA
        if self._left == 0:
            self._last = True
            self._check_chunk()
            self._state = _State.TRAILER if self._has_trailers else _State.DATA_END

    def _trailer_line(self, line: bytes) -> None:
        """AWS's specification puts an empty line before the trailer's signature, its SDKs none: both are taken."""
        if line:
            self._trailer(line)
        elif self._signer is None or _SIGNATURE_TRAILER in self.trailers:
            self.trailers.pop(_SIGNATURE_TRAILER, None)
            self._state = _State.DONE

    def _trailer(self, line: bytes) -> None:
        name_bytes, colon, value_bytes = line.partition(b":")
        name = name_bytes.decode("latin-1").strip().lower()
        value = value_bytes.decode("latin-1").strip()
        if not colon or name in self.trailers or len(self.trailers) >= _TRAILERS_MAX:
            raise _bad_trailer()
        if _SIGNATURE_TRAILER in self.trailers:
            raise _bad_trailer()
        if name == _SIGNATURE_TRAILER and self._signer is not None:
            self._signer.check("TRAILER", "", hashlib.sha256(self._signed_lines).hexdigest(), value)
        elif name not in self._announced:
            raise _bad_trailer()
        else:
            self._signed_lines += f"{name}:{value}\n".encode("latin-1")
        self.trailers[name] = value


def decoder_for(request: Request, verified: Verified) -> ChunkDecoder | None:
    """The decoder that the request's body needs, or None.

    Raises ``Invalid("argument")`` if the body claims signed chunks that nothing signed stands before.
    """
    kind = verified.payload_sha256
    headers = request.headers
    if kind not in STREAMING:
        if kind or "aws-chunked" not in headers.get("content-encoding"):
            return None
        kind = UNSIGNED_TRAILER  # unsigned requests of SDKs say it by the content coding alone
    if kind != UNSIGNED_TRAILER and not verified.signing_key:
        raise Invalid("argument", "Signed chunks need a signed request.")
    announced = frozenset(name.strip().lower() for name in headers.get("x-amz-trailer").split(","))
    return ChunkDecoder(kind, verified, announced if kind in (SIGNED_TRAILER, UNSIGNED_TRAILER) else frozenset())


def _broken(why: str) -> Invalid:
    return Invalid("incomplete", f"The aws-chunked body is not well-formed: {why}.")


def _bad_trailer() -> Invalid:
    return Invalid(
        "request",
        "The request contained trailing data that was not well-formed or did not conform to our published schema.",
    )
