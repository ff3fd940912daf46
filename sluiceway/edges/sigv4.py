"""Who signed a request: AWS Signature Version 4, in headers and in presigned queries.

The rules are those of "Signing AWS API requests" (IAM User Guide) and "Authenticating requests" (S3 API
reference). Nothing here reads the body: its hash is what the caller computed, or what the request says of it
and the caller compares later (S3 bodies stream).
"""

from __future__ import annotations

import calendar
import hashlib
import hmac
import re
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Final, Protocol

from sluiceway.config import SecuritySettings
from sluiceway.core.clock import Clock
from sluiceway.core.identity import ANONYMOUS, Principal, Scope
from sluiceway.edges.http import Headers, Request
from sluiceway.edges.sigv4_canonical import canonical_headers, canonical_path, canonical_query, is_untidy
from sluiceway.errors import Invalid, NotImplementedYet, Unauthenticated

ALGORITHM: Final = "AWS4-HMAC-SHA256"
UNSIGNED: Final = "UNSIGNED-PAYLOAD"
SIGNED_CHUNKS: Final = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
SIGNED_TRAILER: Final = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
UNSIGNED_TRAILER: Final = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
STREAMING: Final = frozenset({SIGNED_CHUNKS, SIGNED_TRAILER, UNSIGNED_TRAILER})

#: Service of the routing table -> the name in its signatures' scope, where they differ.
SIGNING_NAMES: Final = {
    "api": "execute-api",
    "apigatewaymanagementapi": "execute-api",
    "apigatewayv2": "apigateway",
    "dynamodbstreams": "dynamodb",
    "elasticsearch": "es",
}
#: Services with one endpoint for all regions; SDKs sign for this region whatever theirs is.
_GLOBAL: Final = {"iam": "us-east-1", "sts": "us-east-1"}

_QUERY_NAMES: Final = (
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-SignedHeaders",
    "X-Amz-Signature",
)
_TERMS_CHARS_MAX: Final = (
    512  # longer ones, of many signed headers, are taken apart each time, as they would fill the cache
)
_HEX_64 = re.compile(r"[0-9a-f]{64}\Z")
_HEX_64_ANY = re.compile(r"[0-9a-fA-F]{64}\Z")
_TIMESTAMP = re.compile(r"[0-9]{8}T[0-9]{6}Z\Z")
_MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your key and signing method."
)


class Keys(Protocol):
    """Where secrets are found: ``services.accounts.KeyRing``."""

    def find(self, access_key_id: str, session_token: str | None) -> tuple[str, Principal]:
        """The key's secret and owner. Raises ``Unauthenticated("unknown_key" | "token" | ...)``."""


@dataclass(slots=True)
class Verified:
    """A request's caller. ``payload_sha256`` is what the signature says of the body: its hash in hex,
    ``UNSIGNED-PAYLOAD``, a ``STREAMING-`` word, or "" where nothing is said.

    The rest is what the signatures of an ``aws-chunked`` body continue from.
    """

    principal: Principal
    payload_sha256: str = ""
    signing_key: bytes = b""
    signature: str = ""
    timestamp: str = ""
    credential_scope: str = ""


@dataclass(frozen=True, slots=True)
class _Terms:
    """What a caller's requests of a day have in common: the credential's parts and what is signed.

    ``names`` are ``signed_headers`` to look up; ``scope`` is the credential without its key.
    """

    access_key_id: str
    date: str
    region: str
    service: str
    signed_headers: tuple[str, ...]
    names: frozenset[str]
    scope: str
    joined: str  # ``signed_headers`` as they stand in the canonical request


@dataclass(slots=True)  # not frozen, as that doubles the time to make one, and every request has one
class _Claim:
    """What a request says about its signature. ``expires_s`` is None for header authentication."""

    terms: _Terms
    signature: str
    timestamp: str
    token: str | None
    expires_s: int | None


class _SigningKey:
    """A derived key, with the states of HMAC's two hashes after the key's own blocks (RFC 2104).

    Going on from copies of them takes 0.6 us, ``HMAC.copy`` 1.1 and ``hmac.digest`` 1.5.
    """

    __slots__ = ("_inner", "_outer", "key")

    def __init__(self, key: bytes) -> None:
        self.key = key
        block = key.ljust(64, b"\0")  # a derived key is itself a SHA-256, so shorter than a block
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in block))

    def sign(self, text: bytes) -> str:
        """The signature of ``text`` in hex."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(text)
        outer.update(inner.digest())
        return outer.hexdigest()


class SignatureVerifier:
    """Verifies requests that reach this server. Signing keys are cached, at most ``limits.signing_keys_max``."""

    def __init__(self, keyring: Keys, scope: Scope, clock: Clock, limits: SecuritySettings) -> None:
        self._keyring = keyring
        self._scope = scope
        self._clock = clock
        self._limits = limits
        self._signing_keys: OrderedDict[tuple[str, str], _SigningKey] = OrderedDict()
        self._learned: dict[tuple[str, str | None], _Terms] = {}  # by the header without its signature, and the service

    def verify(self, request: Request, service_hint: str | None = None, body_sha256_hex: str | None = None) -> Verified:
        """The caller of ``request``; ``ANONYMOUS`` if it carries no signature.

        ``service_hint`` is "s3" for the object edge and otherwise the edge's service; without it, what the
        router found. ``body_sha256_hex`` is the hash of the body where it is known already.

        Raises ``Unauthenticated`` with one of the kinds malformed, malformed_query, expired, not_yet_valid,
        skew, unknown_key, token, token_expired, scope, unsigned_headers, signature; ``Invalid("request" |
        "argument")`` for S3's own rules and for SigV2; ``NotImplementedYet("signature")`` for SigV4A.
        """
        service = service_hint or request.scratch.get("service") or None
        plain = self._plain(request, service, body_sha256_hex)
        if plain is not None:
            return plain
        s3 = service == "s3"
        claim = self._claim(request, s3)
        if claim is None:
            return Verified(ANONYMOUS, request.headers.get("x-amz-content-sha256"))
        terms = claim.terms
        self._check_scope(claim, service)
        self._check_time(claim)
        _check_signed_headers(request.headers, terms.names)
        secret, principal = self._keyring.find(terms.access_key_id, claim.token)
        payload = _payload(request, claim, s3, body_sha256_hex)
        key = self._signing_key(secret, terms)
        credential_scope = terms.scope
        canonical = _canonical_request(request, claim, payload, s3)
        digest = hashlib.sha256(canonical.encode("latin-1")).hexdigest()
        text = f"{ALGORITHM}\n{claim.timestamp}\n{credential_scope}\n{digest}"
        if not hmac.compare_digest(key.sign(text.encode("ascii")), claim.signature):
            raise _mismatch(claim, text, canonical)
        if body_sha256_hex is not None and not s3 and not hmac.compare_digest(payload, body_sha256_hex):
            raise Unauthenticated("signature", _MISMATCH)
        if claim.expires_s is None:
            self._learn(request, service, terms)
        return Verified(principal, payload, key.key, claim.signature, claim.timestamp, credential_scope)

    def _learn(self, request: Request, service: str | None, terms: _Terms) -> None:
        unsigned = request.headers.get("authorization")[:-64]
        if unsigned.endswith("Signature=") and len(unsigned) <= _TERMS_CHARS_MAX:
            if len(self._learned) >= self._limits.signing_keys_max:
                self._learned.clear()
            self._learned[unsigned, service] = terms

    def _plain(self, request: Request, service: str | None, body_sha256_hex: str | None) -> Verified | None:
        """The caller of a request that is signed in its headers, with nothing odd about it and by the terms of one that
        was verified before: what ``verify`` does, in one go. None for whatever is odd or wrong, which ``verify`` tells apart.
        """
        headers, raw_query = request.headers, request.raw_query
        authorization = headers.get("authorization")
        terms = self._learned.get((authorization[:-64], service))
        if terms is None or headers.repeated or (raw_query and b"X-Amz-" in raw_query):
            return None
        signature, timestamp = authorization[-64:], headers.get("x-amz-date")
        signed_s = _plain_seconds(timestamp) if len(timestamp) == 16 and timestamp.startswith(terms.date) else None
        if signed_s is None or abs(self._clock.now_ms() / 1000 - signed_s) > self._limits.skew_s:
            return None
        payload = headers.get("x-amz-content-sha256")
        if service != "s3":
            if body_sha256_hex is None or payload not in ("", body_sha256_hex):
                return None
            payload = body_sha256_hex
        elif not (_HEX_64_ANY.match(payload) or payload in STREAMING or payload == UNSIGNED):
            return None
        for name, _ in headers.items:
            if name.startswith("x-amz-") and name not in terms.names:
                return None
        secret, principal = self._keyring.find(terms.access_key_id, headers.get("x-amz-security-token") or None)
        lines = headers.lines(terms.signed_headers)
        if lines is None or is_untidy(lines):
            return None
        path, query = canonical_path(request.raw_path, service == "s3"), canonical_query(raw_query)
        canonical = f"{request.method}\n{path}\n{query}\n{lines}\n\n{terms.joined}\n{payload}"
        digest = hashlib.sha256(canonical.encode("latin-1")).hexdigest()
        key = self._signing_key(secret, terms)
        made = key.sign(f"{ALGORITHM}\n{timestamp}\n{terms.scope}\n{digest}".encode("ascii"))
        if not signature.isascii() or not hmac.compare_digest(made, signature):
            return None
        return Verified(principal, payload, key.key, signature, timestamp, terms.scope)

    def verify_text(self, text: str, credential: str, timestamp: str, signature: str, token: str | None) -> Verified:
        """Who signed ``text``, which is the whole string to sign: the policy of a POST form, as it was sent.

        It holds for as long as a signing key does, seven days from ``timestamp``. Raises as ``verify``.
        """
        kind = "malformed_query"
        terms = _terms_of(credential, "", kind)
        claim = _claim_of(terms, signature, timestamp, token, self._limits.presigned_s_max, kind)
        self._check_scope(claim, "s3")
        self._check_time(claim)
        secret, principal = self._keyring.find(terms.access_key_id, claim.token)
        key = self._signing_key(secret, terms)
        if not hmac.compare_digest(key.sign(text.encode()), claim.signature):
            raise _mismatch(claim, text)
        return Verified(principal, UNSIGNED, b"", claim.signature, timestamp)

    def _claim(self, request: Request, s3: bool) -> _Claim | None:
        authorization = request.headers.get("authorization")
        raw_query = request.raw_query
        in_query = (
            bool(raw_query)
            and b"X-Amz-" in raw_query
            and (b"X-Amz-Signature=" in raw_query or b"X-Amz-Algorithm=" in raw_query)
        )
        if authorization:
            if in_query:
                raise Invalid(
                    "argument",
                    "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query "
                    "string parameter or the Authorization header should be specified",
                )
            return _header_claim(request.headers, authorization)
        if in_query:
            return _query_claim(request, self._limits.presigned_s_max)
        if b"AWSAccessKeyId=" in raw_query and b"Signature=" in raw_query:
            raise _version_2()
        return None

    def _check_scope(self, claim: _Claim, service: str | None) -> None:
        terms = claim.terms
        expected = SIGNING_NAMES.get(service, service) if service else terms.service
        right_service = terms.service == expected or (expected == "es" and terms.service == "aoss")
        right_region = terms.region == self._scope.region or _GLOBAL.get(terms.service) == terms.region
        if right_region and right_service:
            return
        kind, where = "scope", "The authorization header is malformed"
        if service == "s3" and claim.expires_s is not None:
            kind, where = "malformed_query", "Error parsing the X-Amz-Credential parameter"
        if not right_region:
            raise Unauthenticated(
                kind,
                f"{where}; the region '{terms.region[:64]}' is wrong; expecting '{self._scope.region}'",
                Region=self._scope.region,
            )
        raise Unauthenticated(kind, f"Credential should be scoped to correct service: '{expected}'.")

    def _check_time(self, claim: _Claim) -> None:
        """15 minutes of skew both ways for headers; a presigned query counts from its date to its expiry."""
        if not claim.timestamp.startswith(claim.terms.date):
            kind = "malformed" if claim.expires_s is None else "malformed_query"
            raise Unauthenticated(kind, "Date in Credential scope does not match the request's date.")
        now_s = self._clock.now_ms() / 1000
        signed_s = _seconds(claim.timestamp)
        if claim.expires_s is None:
            if abs(now_s - signed_s) > self._limits.skew_s:
                raise Unauthenticated(
                    "skew",
                    "The difference between the request time and the current time is too large.",
                    RequestTime=claim.timestamp,
                    ServerTime=_iso(now_s),
                    MaxAllowedSkewMilliseconds=str(self._limits.skew_s * 1000),
                )
            return
        if signed_s - now_s > self._limits.skew_s:
            raise Unauthenticated("not_yet_valid", "Request is not yet valid")
        if now_s >= signed_s + claim.expires_s:
            raise Unauthenticated(
                "expired",
                "Request has expired",
                Expires=_iso(signed_s + claim.expires_s),
                ServerTime=_iso(now_s),
                **{"X-Amz-Expires": str(claim.expires_s)},
            )

    def _signing_key(self, secret: str, terms: _Terms) -> _SigningKey:
        name = (secret, terms.scope)
        keys = self._signing_keys
        known = keys.get(name)
        if known is not None:
            keys.move_to_end(name)
            return known
        key = f"AWS4{secret}".encode()
        for part in (terms.date, terms.region, terms.service, "aws4_request"):
            key = hmac.digest(key, part.encode("latin-1"), "sha256")
        keys[name] = made = _SigningKey(key)
        if len(keys) > self._limits.signing_keys_max:
            keys.popitem(last=False)
        return made


def _header_claim(headers: Headers, authorization: str) -> _Claim:
    # All but the signature is the same in a caller's requests of a day, so it is taken apart once.
    unsigned, found, signature = authorization.rpartition("Signature=")
    if found and len(signature) == 64 and len(unsigned) <= _TERMS_CHARS_MAX:
        terms = _header_terms(unsigned)
    else:
        terms, signature = _other_header(authorization)
    timestamp = headers.get("x-amz-date") or _from_date_header(headers.get("date"))
    token = headers.get("x-amz-security-token") or None
    return _claim_of(terms, signature, timestamp, token, None, "malformed")


@lru_cache(maxsize=1024)
def _header_terms(unsigned: str) -> _Terms:
    """The header without its signature's digits, which stand at the end in what every SDK sends."""
    return _other_header(f"{unsigned}Signature={'0' * 64}")[0]


def _other_header(authorization: str) -> tuple[_Terms, str]:
    """An Authorization header in any order: its terms and its signature."""
    algorithm, _, rest = authorization.partition(" ")
    if algorithm != ALGORITHM:
        raise other_mechanism(algorithm)
    fields: dict[str, str] = {}
    for piece in rest.split(","):
        name, _, value = piece.strip().partition("=")
        fields[name] = value
    missing = [name for name in ("Credential", "SignedHeaders", "Signature") if not fields.get(name)]
    if missing or len(fields) != 3:
        raise Unauthenticated(
            "malformed",
            f"Authorization header requires {' and '.join(missing) or 'three different'} parameter(s).",
        )
    return _terms_of(fields["Credential"], fields["SignedHeaders"], "malformed"), fields["Signature"]


def _query_claim(request: Request, expires_s_max: int) -> _Claim:
    fields: dict[str, str] = {}
    for name, value in request.query():
        if name in fields and name.startswith("X-Amz-"):
            raise _bad_query(f"{name} must not be given twice")
        fields[name] = value
    algorithm = fields.get("X-Amz-Algorithm", "")
    if algorithm and algorithm != ALGORITHM:
        raise other_mechanism(algorithm)
    missing = [name for name in _QUERY_NAMES if not fields.get(name)]
    if missing:
        raise _bad_query(
            "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, "
            "X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters."
        )
    text = fields["X-Amz-Expires"]
    if not (text.isascii() and text.isdigit()) or len(text) > 10:
        raise _bad_query("X-Amz-Expires should be a number")
    expires_s = int(text)
    if not 1 <= expires_s <= expires_s_max:
        raise _bad_query(f"X-Amz-Expires must be at least 1 and at most {expires_s_max} seconds")
    return _claim_of(
        _terms_of(fields["X-Amz-Credential"], fields["X-Amz-SignedHeaders"], "malformed_query"),
        fields["X-Amz-Signature"],
        fields["X-Amz-Date"],
        fields.get("X-Amz-Security-Token") or None,
        expires_s,
        "malformed_query",
    )


def _terms_of(credential: str, signed_headers: str, kind: str) -> _Terms:
    access_key_id, date, region, service, _ = _credential(credential, kind)
    names = tuple(signed_headers.split(";"))
    scope = f"{date}/{region}/{service}/aws4_request"
    return _Terms(access_key_id, date, region, service, names, frozenset(names), scope, signed_headers)


def _claim_of(
    terms: _Terms,
    signature: str,
    timestamp: str,
    token: str | None,
    expires_s: int | None,
    kind: str,
) -> _Claim:
    if not _TIMESTAMP.match(timestamp):
        raise Unauthenticated(
            kind, "AWS authentication requires a valid Date or x-amz-date header or X-Amz-Date parameter"
        )
    if not _HEX_64.match(signature):
        raise Unauthenticated("signature", _MISMATCH)
    return _Claim(terms, signature, timestamp, token, expires_s)


def _credential(text: str, kind: str) -> list[str]:
    parts = text.split("/")
    if len(parts) != 5 or parts[4] != "aws4_request" or not all(parts) or not text.isascii():
        raise Unauthenticated(
            kind,
            'The Credential is mal-formed; expecting "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".',
        )
    return parts


def other_mechanism(algorithm: str) -> Exception:
    """What to answer to a signature that is not ours; "AWS" is version 2."""
    if algorithm == "AWS":
        return _version_2()
    if algorithm.startswith("AWS4-ECDSA"):
        return NotImplementedYet("signature", "SigV4A is not offered here: sign with AWS4-HMAC-SHA256.")
    return Unauthenticated(
        "malformed", f"Unsupported authorization type; sign requests with {ALGORITHM} (Signature Version 4)."
    )


def _version_2() -> Exception:
    """In AWS's words, and how to get out: botocore presigns with version 2 by default in AWS's oldest regions."""
    return Invalid(
        "request",
        "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256 "
        "(Signature Version 4; with boto3: Config(signature_version='s3v4')).",
    )


def _mismatch(claim: _Claim, text: str, canonical: str = "") -> Unauthenticated:
    """With what AWS gives to find the difference by (IAM User Guide, "Troubleshoot signed requests"; the elements
    are S3's). It is all the client's own: nothing in it comes from the secret."""
    detail = {
        "AWSAccessKeyId": claim.terms.access_key_id,
        "StringToSign": text,
        "SignatureProvided": claim.signature,
        "StringToSignBytes": text.encode().hex(" "),
    }
    if canonical:
        raw = canonical.encode("latin-1")
        detail["CanonicalRequest"] = raw.decode("utf-8", "replace")
        detail["CanonicalRequestBytes"] = raw.hex(" ")
    return Unauthenticated("signature", _MISMATCH, **detail)


def _bad_query(message: str) -> Unauthenticated:
    return Unauthenticated("malformed_query", message)


def _from_date_header(text: str) -> str:
    """``Date`` may stand in for ``X-Amz-Date``; "" if it says nothing."""
    if _TIMESTAMP.match(text):
        return text
    try:
        return parsedate_to_datetime(text).strftime("%Y%m%dT%H%M%SZ")
    except (ValueError, TypeError, OverflowError):
        return ""


@lru_cache(maxsize=1024)
def _plain_seconds(timestamp: str) -> int | None:
    """``_seconds``, and None for what is not a timestamp."""
    try:
        return _seconds(timestamp) if _TIMESTAMP.match(timestamp) else None
    except Unauthenticated:
        return None


@lru_cache(maxsize=1024)
def _seconds(timestamp: str) -> int:
    """Seconds since 1970 of ``YYYYMMDDTHHMMSSZ``."""
    year, month, day = int(timestamp[:4]), int(timestamp[4:6]), int(timestamp[6:8])
    if not (year >= 1970 and 1 <= month <= 12 and 1 <= day <= 31):
        raise Unauthenticated("malformed", "The request's date is not a date.")
    clock = (int(timestamp[9:11]), int(timestamp[11:13]), int(timestamp[13:15]))
    return calendar.timegm((year, month, day, *clock))


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _check_signed_headers(headers: Headers, names: frozenset[str]) -> None:
    """Host and every ``x-amz-`` header must be signed, else a signed request could be given another meaning."""
    if "host" not in names:
        raise Unauthenticated("malformed", "'Host' must be a 'SignedHeader' in the Authorization.")
    unsigned = [name for name, _ in headers.items if name.startswith("x-amz-") and name not in names]
    if unsigned:
        raise Unauthenticated(
            "unsigned_headers",
            "There were headers present in the request which were not signed",
            HeadersNotSigned=", ".join(sorted(set(unsigned))),
        )


def _payload(request: Request, claim: _Claim, s3: bool, body_sha256_hex: str | None) -> str:
    """What stands for the body in the canonical request."""
    given = request.headers.get("x-amz-content-sha256")
    if not s3:
        if given and not _HEX_64.match(given):
            raise Unauthenticated("signature", "This service requires the body's hash to be signed.")
        return given or body_sha256_hex or hashlib.sha256(b"").hexdigest()
    if claim.expires_s is not None:
        given = given or dict(request.query()).get("X-Amz-Content-Sha256", UNSIGNED)
    if not given:
        raise Invalid("request", "Missing required header for this request: x-amz-content-sha256")
    if given in STREAMING or given == UNSIGNED or _HEX_64_ANY.match(given):
        return given
    if given.startswith("STREAMING-AWS4-ECDSA"):
        raise other_mechanism("AWS4-ECDSA")
    raise Invalid(
        "argument", "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, a STREAMING- value, or a valid sha256 value."
    )


def _canonical_request(request: Request, claim: _Claim, payload: str, s3: bool) -> str:
    terms = claim.terms
    if not all(name in request.headers for name in terms.signed_headers):
        raise Unauthenticated("signature", _MISMATCH)
    lines = [request.method, canonical_path(request.raw_path, s3), canonical_query(request.raw_query)]
    lines.append(canonical_headers(request.headers, terms.signed_headers))
    lines += ["", terms.joined, payload]
    return "\n".join(lines)
