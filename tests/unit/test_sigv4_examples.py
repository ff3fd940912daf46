"""The worked examples of the S3 API reference, each with the signature that it gives.

"Authenticating requests: using the Authorization header", "... using query parameters", "Signature calculations
... transferring payload in multiple chunks", and "... including trailing headers". The chunks and trailers of the
same examples are in test_sigv4_chunks.py, the one of a form in test_s3_forms.py.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from unittest import mock

import pytest

from sluiceway.config import SecuritySettings
from sluiceway.core.identity import Principal, Scope
from sluiceway.edges.http import Body, Headers, Request
from sluiceway.edges.sigv4 import SignatureVerifier, Verified
from sluiceway.edges.sigv4_chunks import decoder_for
from sluiceway.errors import Unauthenticated

KEY_ID, SECRET = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
OWNER = Principal("user", "123456789012", "example", "arn:aws:iam::123456789012:user/example")
EMPTY = hashlib.sha256(b"").hexdigest()
MIDNIGHT_MS = 1_369_353_600_000  # Friday, 24 May 2013, 00:00 UTC
CREDENTIAL = f"{KEY_ID}/20130524/us-east-1/s3/aws4_request"


class Ring:
    def find(self, access_key_id: str, session_token: str | None) -> tuple[str, Principal]:
        assert (access_key_id, session_token) == (KEY_ID, None)
        return SECRET, OWNER


class Then:
    def __init__(self, now_ms: int) -> None:
        self._now_ms = now_ms

    def now_ms(self) -> int:
        return self._now_ms


def verify(request: Request, now_ms: int = MIDNIGHT_MS) -> Verified:
    scope = Scope("123456789012", "us-east-1")
    return SignatureVerifier(Ring(), scope, Then(now_ms), SecuritySettings()).verify(request, "s3")


def request(method: str, target: str, headers: dict[str, str], signature: str = "", **more: str) -> Request:
    """``signature`` is the one in the header, over all of ``headers`` with a value; ``more`` are not signed."""
    names = ";".join(sorted(headers))
    items = list(headers.items())
    items += [(name.replace("_", "-"), value) for name, value in more.items()]
    if signature:
        about = f"AWS4-HMAC-SHA256 Credential={CREDENTIAL},SignedHeaders={names},Signature={signature}"
        items.append(("authorization", about))
    path, _, query = target.partition("?")
    return Request(method, path.encode(), query.encode(), Headers(items), Body(mock.Mock(), 1.0), "http", "c", "r")


HOST = {"host": "examplebucket.s3.amazonaws.com"}
DATED = {"x-amz-content-sha256": EMPTY, "x-amz-date": "20130524T000000Z"}
CHUNKS = {
    "content-encoding": "aws-chunked",
    "host": "s3.amazonaws.com",
    "x-amz-date": "20130524T000000Z",
    "x-amz-decoded-content-length": "66560",
    "x-amz-storage-class": "REDUCED_REDUNDANCY",
}
EXAMPLES = {
    "get an object": request(
        "GET", "/test.txt", {**HOST, "range": "bytes=0-9", **DATED},
        "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
    ),
    "put an object": request(
        "PUT", "/test$file.text",
        {
            **HOST, **DATED, "date": "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY",
            "x-amz-content-sha256": hashlib.sha256(b"Welcome to Amazon S3.").hexdigest(),
        },
        "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
    ),
    "get a bucket's lifecycle": request(
        "GET", "/?lifecycle", {**HOST, **DATED}, "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"
    ),
    "list objects": request(
        "GET", "/?max-keys=2&prefix=J", {**HOST, **DATED},
        "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
    ),
    "a presigned URL": request(
        "GET", "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256"
        "&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
        "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
        "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404", HOST,
    ),
    "chunks": request(
        "PUT", "/examplebucket/chunkObject.txt",
        {**CHUNKS, "content-length": "66824", "x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"},
        "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
    ),
    "chunks and a trailer": request(
        "PUT", "/examplebucket/chunkObject.txt",
        {
            **CHUNKS, "x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
            "x-amz-trailer": "x-amz-checksum-crc32c",
        },
        "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_documented_signature(name: str) -> None:
    verified = verify(EXAMPLES[name])
    assert verified.principal is OWNER
    chunked = "chunks" in name
    assert (decoder_for(EXAMPLES[name], verified) is not None) is chunked
    minute_ms = 60_000
    with pytest.raises(Unauthenticated) as caught:
        verify(EXAMPLES[name], MIDNIGHT_MS + (1440 if name == "a presigned URL" else 16) * minute_ms)
    assert caught.value.kind in ("expired", "skew")


def test_the_documented_canonical_request() -> None:
    """What a wrong signature is answered with is what the reference writes down."""
    right = EXAMPLES["put an object"]
    wrong = right.headers.get("authorization").replace("98ad", "0000")
    items = [(name, wrong if name == "authorization" else value) for name, value in right.headers.items]
    with pytest.raises(Unauthenticated) as caught:
        verify(replace(right, headers=Headers(items)))
    detail = caught.value.detail
    assert detail["AWSAccessKeyId"] == KEY_ID
    assert (
        detail["SignatureProvided"] == "0000" + "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"[4:]
    )
    assert detail["StringToSign"] == (
        "AWS4-HMAC-SHA256\n20130524T000000Z\n20130524/us-east-1/s3/aws4_request\n"
        "9e0e90d9c76de8fa5b200d8c849cd5b8dc7a3be3951ddb7f6a76b4158342019d"
    )
    canonical = (
        "PUT\n/test%24file.text\n\ndate:Fri, 24 May 2013 00:00:00 GMT\nhost:examplebucket.s3.amazonaws.com\n"
        "x-amz-content-sha256:44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072\n"
        "x-amz-date:20130524T000000Z\nx-amz-storage-class:REDUCED_REDUNDANCY\n\n"
        "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class\n"
        "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"
    )
    assert detail["CanonicalRequest"] == canonical
    for name in ("StringToSign", "CanonicalRequest"):
        assert bytes.fromhex(str(detail[f"{name}Bytes"])).decode() == detail[name]
    assert SECRET not in str(detail)


def test_a_presigned_url_for_seven_days_and_no_longer() -> None:
    right = EXAMPLES["a presigned URL"]
    for seconds in (b"0", b"604801", b"-1", b"1e3", b"9" * 20, b""):
        query = right.raw_query.replace(b"86400", seconds)
        with pytest.raises(Unauthenticated) as caught:
            verify(replace(right, raw_query=query))
        assert caught.value.kind == "malformed_query", seconds


def test_what_is_wrong_with_a_query_is_said_of_the_query() -> None:
    right = EXAMPLES["a presigned URL"]
    for old, new, said in (
        (b"us-east-1", b"eu-west-1", "Error parsing the X-Amz-Credential parameter; the region 'eu-west-1' is wrong"),
        (b"%2Fs3%2F", b"%2Fec2%2F", "correct service"),
        (b"%2F20130524%2F", b"%2F20130525%2F", "Date in Credential scope"),
    ):
        with pytest.raises(Unauthenticated) as caught:
            verify(replace(right, raw_query=right.raw_query.replace(old, new)))
        assert caught.value.kind == "malformed_query" and said in caught.value.message
