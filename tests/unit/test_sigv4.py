"""Requests signed by botocore's own signers are accepted; with any one field changed they are refused."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from unittest import mock
from urllib.parse import urlencode, urlsplit

import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth, SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given, settings
from hypothesis import strategies as st

from sluiceway.config import SecuritySettings
from sluiceway.core.identity import ANONYMOUS, Principal, Scope
from sluiceway.edges.http import Body, Headers, Request
from sluiceway.edges.sigv4 import SignatureVerifier, Verified
from sluiceway.errors import DomainError, Invalid, NotImplementedYet, Unauthenticated

SCOPE = Scope("000000000000", "us-east-1")
KEY_ID, SECRET, TOKEN = "AKIATEST", "secret/+key", "session-token=="
USER = Principal("user", SCOPE.account, "ann", "arn:aws:iam::000000000000:user/ann")
ROLE = Principal("role", SCOPE.account, "job", "arn:aws:sts::000000000000:assumed-role/job/s")
NOW_MS = 1_790_000_000_000


PRESIGN = {
    "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
    "X-Amz-Credential": f"{KEY_ID}/20260921/us-east-1/s3/aws4_request",
    "X-Amz-Date": "20260921T141320Z",
    "X-Amz-Expires": "60",
    "X-Amz-SignedHeaders": "host",
    "X-Amz-Signature": "0" * 64,
    "X-Amz-Security-Token": "",
}


class FixedClock:
    now = NOW_MS

    def now_ms(self) -> int:
        return self.now


class Ring:
    def find(self, access_key_id: str, session_token: str | None) -> tuple[str, Principal]:
        if access_key_id == "ASIATEST":
            if session_token != TOKEN:
                raise Unauthenticated("token", "wrong token")
            return SECRET, ROLE
        if access_key_id != KEY_ID:
            raise Unauthenticated("unknown_key", "no such key")
        if session_token:
            raise Unauthenticated("token", "no token wanted")
        return SECRET, USER


@contextmanager
def at(ms: int) -> Iterator[None]:
    with mock.patch("botocore.auth.get_current_datetime", lambda *_: datetime.fromtimestamp(ms / 1000, UTC)):
        yield


def verifier(now_ms: int = NOW_MS) -> SignatureVerifier:
    clock = FixedClock()
    clock.now = now_ms
    return SignatureVerifier(Ring(), SCOPE, clock, SecuritySettings())


def incoming(signed: AWSRequest) -> Request:
    """What the HTTP edge makes of the signed request."""
    url = urlsplit(signed.url)
    headers = [(name.lower(), str(value)) for name, value in signed.headers.items()]
    if not any(name == "host" for name, _ in headers):
        headers.append(("host", url.netloc))
    return Request(
        method=signed.method,
        raw_path=(url.path or "/").encode("latin-1"),
        raw_query=url.query.encode("latin-1"),
        headers=Headers(headers),
        body=Body(mock.Mock(), 1.0),
        scheme="http",
        client="127.0.0.1",
        request_id="r",
    )


def sign(
    signer: type,
    service: str,
    url: str = "http://127.0.0.1:4566/",
    *,
    method: str = "POST",
    data: bytes = b"",
    headers: dict[str, str] | None = None,
    temporary: bool = False,
    at_ms: int = NOW_MS,
    region: str = "us-east-1",
    **options: object,
) -> Request:
    credentials = Credentials("ASIATEST", SECRET, TOKEN) if temporary else Credentials(KEY_ID, SECRET)
    request = AWSRequest(method=method, url=url, data=data, headers=headers or {})
    with at(at_ms):
        signer(credentials, service, region, **options).add_auth(request)
    return incoming(request)


def check(request: Request, hint: str | None = None, body: bytes = b"", now_ms: int = NOW_MS) -> Verified:
    digest = None if hint == "s3" else hashlib.sha256(body).hexdigest()
    return verifier(now_ms).verify(request, hint, digest)


def refused(request: Request, hint: str | None = None, body: bytes = b"", now_ms: int = NOW_MS) -> str:
    with pytest.raises((Unauthenticated, Invalid, NotImplementedYet)) as caught:
        check(request, hint, body, now_ms)
    return caught.value.kind


texts = st.text(st.characters(min_codepoint=1, exclude_categories=["Cs"]), max_size=12)


@settings(max_examples=60, deadline=None)
@given(path=texts, query=st.dictionaries(texts.filter(bool), texts, max_size=4), body=st.binary(max_size=50))
def test_generated_requests_are_accepted(path: str, query: dict[str, str], body: bytes) -> None:
    from botocore.utils import percent_encode, percent_encode_sequence

    url = f"http://127.0.0.1:4566/{percent_encode(path, safe='/~')}"
    if query:
        url += "?" + percent_encode_sequence(query)
    header = {"X-Amz-Meta-Note": "  two   spaces  ", "Content-Type": "text/plain"}
    for temporary in (False, True):
        owner = ROLE if temporary else USER
        plain = sign(SigV4Auth, "sqs", url, data=body, headers=header, temporary=temporary)
        assert check(plain, "sqs", body).principal is owner
        stored = sign(S3SigV4Auth, "s3", url, data=body, headers=header, temporary=temporary)
        verified = check(stored, "s3")
        assert verified.principal is owner
        one = verifier()
        assert [one.verify(stored, "s3") for _ in range(3)] == [verified] * 3
        assert verified.payload_sha256 == hashlib.sha256(body).hexdigest()
        for signer, service in ((SigV4QueryAuth, "sts"), (S3SigV4QueryAuth, "s3")):
            presigned = sign(signer, service, url, method="GET", temporary=temporary, expires=60)
            assert check(presigned, service).principal is owner


def requests() -> dict[str, tuple[Request, str, bytes]]:
    url = "http://127.0.0.1:4566/photos/a%20b.txt?partNumber=1&uploadId=x"
    headers = {"X-Amz-Meta-A": "1", "Content-Type": "text/plain"}
    return {
        "header": (sign(SigV4Auth, "sqs", data=b"body", headers=headers, temporary=True), "sqs", b"body"),
        "s3": (sign(S3SigV4Auth, "s3", url, data=b"body", headers=headers, temporary=True), "s3", b""),
        "query": (sign(SigV4QueryAuth, "sts", url, method="GET", temporary=True, expires=60), "sts", b""),
        "s3 query": (
            sign(S3SigV4QueryAuth, "s3", url, method="GET", headers=headers, temporary=True, expires=60),
            "s3",
            b"",
        ),
    }


@pytest.mark.parametrize("experienced", [False, True], ids=["fresh", "experienced"])
@pytest.mark.parametrize("name", requests())
def test_every_changed_field_is_refused(name: str, experienced: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also by a verifier that has seen the right one before, and so takes the short way."""
    request, hint, body = requests()[name]
    if experienced:
        one = verifier()
        monkeypatch.setitem(globals(), "verifier", lambda now_ms=NOW_MS: one)
    assert check(request, hint, body) == check(request, hint, body)
    refused(replace(request, method="DELETE"), hint, body)
    refused(replace(request, raw_path=request.raw_path + b"x"), hint, body)
    refused(replace(request, raw_query=request.raw_query + b"&extra=1"), hint, body)
    refused(with_header(request, "host", "other"), hint, body)
    refused(replace(request, headers=Headers([*request.headers.items, ("x-amz-acl", "public-read")])), hint, body)
    if hint != "s3":
        refused(request, hint, b"another body")
    signed = _signed_headers(request)
    for header, value in request.headers.items:
        if header in signed:
            refused(with_header(request, header, value + "1"), hint, body)
            refused(with_header(request, header, None), hint, body)
    for at_byte in range(len(request.raw_query)):
        changed = bytearray(request.raw_query)
        changed[at_byte] = ord("b") if changed[at_byte] == ord("a") else ord("a")
        refused_or_anonymous(replace(request, raw_query=bytes(changed)), hint, body)
    authorization = request.headers.get("authorization")
    for at_byte in range(len(authorization)):
        other = "b" if authorization[at_byte] == "a" else "a"
        text = authorization[:at_byte] + other + authorization[at_byte + 1 :]
        refused(with_header(request, "authorization", text), hint, body)


def refused_or_anonymous(request: Request, hint: str, body: bytes) -> None:
    """A request whose mark of a signature is destroyed is an unsigned one; never the owner's."""
    with suppress(DomainError):
        assert check(request, hint, body).principal is ANONYMOUS


def with_header(request: Request, name: str, value: str | None) -> Request:
    items = [(key, old if key != name else value) for key, old in request.headers.items]
    return replace(request, headers=Headers([(key, text) for key, text in items if text is not None]))


def _signed_headers(request: Request) -> set[str]:
    authorization = request.headers.get("authorization")
    if authorization:
        return set(authorization.split("SignedHeaders=")[1].split(",")[0].split(";"))
    return set(dict(request.query())["X-Amz-SignedHeaders"].split(";"))


def test_unsigned_is_anonymous() -> None:
    request = incoming(AWSRequest(method="GET", url="http://127.0.0.1:4566/photos?list-type=2"))
    assert check(request, "s3").principal is ANONYMOUS


def test_dates() -> None:
    minute = 60_000
    assert refused(sign(SigV4Auth, "sqs", at_ms=NOW_MS - 16 * minute)) == "skew"
    assert refused(sign(SigV4Auth, "sqs", at_ms=NOW_MS + 16 * minute)) == "skew"
    assert check(sign(SigV4Auth, "sqs", at_ms=NOW_MS - 14 * minute)).principal is USER
    with_date = {"Date": "now"}
    assert check(sign(SigV4Auth, "sqs", headers=with_date)).principal is USER

    def presigned(at_ms: int, expires: int = 60) -> Request:
        return sign(S3SigV4QueryAuth, "s3", method="GET", at_ms=at_ms, expires=expires)

    assert check(presigned(NOW_MS - 59_000), "s3").principal is USER
    assert refused(presigned(NOW_MS - 60_000), "s3") == "expired"
    assert refused(presigned(NOW_MS + 16 * minute), "s3") == "not_yet_valid"
    assert check(presigned(NOW_MS - 6 * 86_400_000, 604_800), "s3").principal is USER
    assert refused(presigned(NOW_MS, 604_801), "s3") == "malformed_query"
    assert refused(presigned(NOW_MS, 0), "s3") == "malformed_query"
    assert refused(presigned(NOW_MS, -5), "s3") == "malformed_query"


def test_scope() -> None:
    assert refused(sign(SigV4Auth, "sqs", region="eu-west-1")) == "scope"
    assert refused(sign(SigV4Auth, "sqs"), "sns") == "scope"
    assert check(sign(SigV4Auth, "dynamodb"), "dynamodbstreams").principal is USER
    assert check(sign(SigV4Auth, "es"), "elasticsearch").principal is USER
    request = sign(SigV4Auth, "sqs")
    request.scratch["service"] = "sts"
    assert refused(request) == "scope"


def test_credentials() -> None:
    request = sign(SigV4Auth, "sqs", temporary=True)
    assert refused(with_header(request, "x-amz-security-token", "other")) == "token"
    unknown = request.headers.get("authorization").replace("ASIATEST", "ASIANONE")
    assert refused(with_header(request, "authorization", unknown)) == "unknown_key"


def test_other_mechanisms_are_named() -> None:
    plain = incoming(AWSRequest(method="GET", url="http://127.0.0.1:4566/b"))

    def authorization(text: str) -> Request:
        return replace(plain, headers=Headers([*plain.headers.items, ("authorization", text)]))

    assert refused(authorization("AWS AKIA:sig"), "s3") == "request"
    assert refused(authorization("AWS4-ECDSA-P256-SHA256 Credential=a"), "s3") == "signature"
    assert refused(authorization("Bearer x"), "s3") == "malformed"
    assert refused(authorization("AWS4-HMAC-SHA256 Credential=a"), "s3") == "malformed"
    assert refused(replace(plain, raw_query=b"AWSAccessKeyId=a&Signature=b&Expires=1"), "s3") == "request"


def test_unsigned_payload_is_for_objects_only() -> None:
    header = {"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"}
    assert refused(sign(SigV4Auth, "sqs", data=b"x", headers=header), "sqs", b"x") == "signature"
    assert check(sign(SigV4Auth, "s3", data=b"x", headers=header), "s3").payload_sha256 == "UNSIGNED-PAYLOAD"
    assert refused(sign(SigV4Auth, "s3", data=b"x"), "s3") == "request"


def test_path_is_matched_as_encoded_or_not() -> None:
    """A browser may send characters bare that the signer encoded."""
    request = sign(S3SigV4QueryAuth, "s3", "http://127.0.0.1:4566/b/a%28b%29%21", method="GET")
    assert check(replace(request, raw_path=b"/b/a(b)!"), "s3").principal is USER


def test_signing_keys_are_bounded() -> None:
    limits = SecuritySettings(signing_keys_max=2)
    small = SignatureVerifier(Ring(), SCOPE, FixedClock(), limits)
    for service in ("sqs", "sns", "s3", "sts"):
        request = sign(S3SigV4Auth, service)
        small.verify(request, service, hashlib.sha256(b"").hexdigest())
    assert len(small._signing_keys) == 2


@pytest.mark.parametrize(
    "text", ["", "nonsense", "Mon, 99 Foo 2026 00:00:00 GMT", "Mon, 01 Jan 2026", f"Mon, 01 Jan {10**20} 00:00:00 GMT"]
)
def test_unreadable_date_header(text: str) -> None:
    request = sign(SigV4Auth, "sqs", headers={"Date": "now"})
    assert refused(with_header(request, "date", text)) == "malformed"


words = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        [
            "AWS4-HMAC-SHA256",
            "AWS4-HMAC-SHA256 Credential=A/20260101/us-east-1/s3/aws4_request",
            "SignedHeaders=host",
            f"Signature={'0' * 64}",
            "20260921T141320Z",
            "٢٠٢٦٠٩٢١T141320Z",
            "99999999T999999Z",
            ",",
        ]
    ),
)


@settings(max_examples=150, deadline=None)
@given(
    authorization=st.lists(words, max_size=4).map(",".join),
    date=words,
    query=st.dictionaries(st.sampled_from(list(PRESIGN)), words, max_size=7),
)
def test_garbage_is_refused_and_never_breaks(authorization: str, date: str, query: dict[str, str]) -> None:
    headers = [("host", "h"), ("authorization", authorization), ("x-amz-date", date)]
    for hint in ("s3", "sqs"):
        for raw_query in (b"", urlencode({**PRESIGN, **query}).encode()):
            kept = headers if not raw_query else headers[:1]
            request = Request("GET", b"/", raw_query, Headers(kept), Body(mock.Mock(), 1.0), "http", "c", "r")
            refused_or_anonymous(request, hint, b"")
