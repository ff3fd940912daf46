"""aws-chunked bodies: AWS's documented examples, split anywhere, and everything that can be wrong with one."""

from __future__ import annotations

import hashlib
import hmac
from unittest import mock

import pytest

from sluiceway.core.identity import ANONYMOUS
from sluiceway.edges.http import Body, Headers, Request
from sluiceway.edges.sigv4 import SIGNED_CHUNKS, SIGNED_TRAILER, UNSIGNED_TRAILER, Verified
from sluiceway.edges.sigv4_chunks import ChunkDecoder, decoder_for
from sluiceway.errors import DomainError, Invalid, Unauthenticated

# The examples of the S3 API reference: 66,560 letters "a", signed on 24 May 2013.
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
STAMP, SCOPE = "20130524T000000Z", "20130524/us-east-1/s3/aws4_request"


def signing_key() -> bytes:
    key = f"AWS4{SECRET}".encode()
    for part in SCOPE.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def verified(kind: str, seed: str) -> Verified:
    return Verified(ANONYMOUS, kind, signing_key(), seed, STAMP, SCOPE)


def chunk(size: int, signature: str, data: bytes | None = None) -> bytes:
    body = b"a" * size if data is None else data
    return f"{size:x};chunk-signature={signature}\r\n".encode() + body + (b"\r\n" if size else b"")


SIGNED_SEED = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"
SIGNED = (
    chunk(65536, "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648")
    + chunk(1024, "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497")
    + chunk(0, "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9")
    + b"\r\n"
)
TRAILER_SEED = "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e"
TRAILER = "x-amz-checksum-crc32c"
WITH_TRAILER = (
    chunk(65536, "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2")
    + chunk(1024, "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7")
    + chunk(0, "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992")
    + b"x-amz-checksum-crc32c:sOO8/Q==\r\n"
    + b"x-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n\r\n"
)
UNSIGNED = b"5\r\nhello\r\n6\r\n world\r\n0\r\nx-amz-checksum-crc32:DUoRhQ==\r\n\r\n"


def decode(decoder: ChunkDecoder, pieces: list[bytes]) -> bytes:
    data = b"".join(part for piece in pieces for part in decoder.feed(piece))
    decoder.finish()
    return data


def signed() -> ChunkDecoder:
    return ChunkDecoder(SIGNED_CHUNKS, verified(SIGNED_CHUNKS, SIGNED_SEED))


def with_trailer() -> ChunkDecoder:
    return ChunkDecoder(SIGNED_TRAILER, verified(SIGNED_TRAILER, TRAILER_SEED), frozenset({TRAILER}))


def unsigned() -> ChunkDecoder:
    return ChunkDecoder(UNSIGNED_TRAILER, Verified(ANONYMOUS), frozenset({"x-amz-checksum-crc32"}))


def test_the_documented_example() -> None:
    assert decode(signed(), [SIGNED]) == b"a" * 66560


def test_the_documented_example_with_a_trailer() -> None:
    decoder = with_trailer()
    assert decode(decoder, [WITH_TRAILER]) == b"a" * 66560
    assert decoder.trailers == {TRAILER: "sOO8/Q=="}


def test_the_trailer_as_the_specification_writes_it() -> None:
    """An empty line before the signature's, and a bare line feed after the checksum."""
    body = WITH_TRAILER.replace(b"sOO8/Q==\r\n", b"sOO8/Q==\n\r\n")
    decoder = with_trailer()
    assert decode(decoder, [body]) == b"a" * 66560


def test_unsigned_chunks_split_at_every_byte() -> None:
    for at in range(len(UNSIGNED) + 1):
        decoder = unsigned()
        assert decode(decoder, [UNSIGNED[:at], UNSIGNED[at:]]) == b"hello world"
        assert decoder.trailers == {"x-amz-checksum-crc32": "DUoRhQ=="}
    assert decode(unsigned(), [bytes([byte]) for byte in UNSIGNED]) == b"hello world"


def sign_small() -> tuple[bytes, str]:
    """A small signed body with a trailer, made by the documented formula."""
    empty = hashlib.sha256(b"").hexdigest()
    previous = seed = "0" * 64
    body = b""
    for data in (b"hello", b"", None):
        if data is None:
            lines = hashlib.sha256(b"x-amz-checksum-crc32c:abc=\n").hexdigest()
            text = f"AWS4-HMAC-SHA256-TRAILER\n{STAMP}\n{SCOPE}\n{previous}\n{lines}"
        else:
            digest = hashlib.sha256(data).hexdigest()
            text = f"AWS4-HMAC-SHA256-PAYLOAD\n{STAMP}\n{SCOPE}\n{previous}\n{empty}\n{digest}"
        previous = hmac.digest(signing_key(), text.encode(), "sha256").hex()
        if data is None:
            body += f"x-amz-checksum-crc32c:abc=\r\nx-amz-trailer-signature:{previous}\r\n\r\n".encode()
        else:
            body += chunk(len(data), previous, data)
    return body, seed


def test_signed_chunks_split_and_changed_at_every_byte() -> None:
    body, seed = sign_small()

    def decoder() -> ChunkDecoder:
        return ChunkDecoder(SIGNED_TRAILER, verified(SIGNED_TRAILER, seed), frozenset({TRAILER}))

    for at in range(len(body)):
        assert decode(decoder(), [body[:at], body[at:]]) == b"hello"
        with pytest.raises(DomainError):
            decode(decoder(), [body[:at]])
        changed = bytearray(body)
        changed[at] ^= 0x01
        if changed[at] in b"\r\n" or body[at] in b"\r\n":
            continue  # line ends are not signed; what they separate is
        with pytest.raises(DomainError):
            decode(decoder(), [bytes(changed)])


def test_a_chunk_moved_or_left_out_is_refused() -> None:
    first, rest = SIGNED.split(b"400;")
    with pytest.raises(Unauthenticated):
        decode(signed(), [b"400;" + rest])
    with pytest.raises(Unauthenticated):
        decode(signed(), [first, SIGNED[SIGNED.index(b"0;chunk-signature=b6") :]])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"5\r\nhello",
        b"5\r\nhello\r\n",
        b"5\r\nhello\r\n0\r\n",
        b"5\r\nhelloo\r\n0\r\n\r\n",
        b"zz\r\n",
        b"-1\r\n",
        b"5 \r\nhello\r\n0\r\n\r\n",
        b"fffffffffffffffff\r\n",
        b"5;chunk-signature=" + b"0" * 64 + b"\r\nhello\r\n0\r\n\r\n",
        b"5" * 2000,
        UNSIGNED + b"more",
        b"0\r\nx-amz-checksum-sha1:abc\r\n\r\n",
        b"0\r\nno colon\r\n\r\n",
        b"0\r\nx-amz-checksum-crc32:a\r\nx-amz-checksum-crc32:b\r\n\r\n",
    ],
)
def test_broken_framing(body: bytes) -> None:
    with pytest.raises(Invalid):
        decode(unsigned(), [body])


def request(headers: dict[str, str]) -> Request:
    items = Headers(headers.items())
    return Request("PUT", b"/b/k", b"", items, Body(mock.Mock(), 1.0), "http", "127.0.0.1", "r")


def test_which_requests_are_chunked() -> None:
    plain = request({})
    assert decoder_for(plain, Verified(ANONYMOUS, "UNSIGNED-PAYLOAD")) is None
    assert decoder_for(plain, Verified(ANONYMOUS)) is None
    trailing = request({"content-encoding": "aws-chunked", "x-amz-trailer": "x-amz-checksum-crc32"})
    for word in (UNSIGNED_TRAILER, ""):
        decoder = decoder_for(trailing, Verified(ANONYMOUS, word))
        assert decoder is not None
        assert decode(decoder, [UNSIGNED]) == b"hello world"
    with pytest.raises(Invalid):
        decoder_for(trailing, Verified(ANONYMOUS, SIGNED_CHUNKS))
