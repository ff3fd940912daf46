"""Requests to the object service as bytes: every part of them may be wrong, and the signature is right all the same."""

from __future__ import annotations

import datetime
import hashlib
import hmac
import re
from dataclasses import dataclass, field, replace
from urllib.parse import quote, unquote_to_bytes

UNSIGNED = "UNSIGNED-PAYLOAD"
_PATH = re.compile(rb"(?:[A-Za-z0-9/._~-]|%[0-9A-F]{2})+\Z")


@dataclass(frozen=True)
class Ask:
    """A request. Headers may come twice; ``length`` is what Content-Length says, None for none, "" for the truth.

    ``payload`` is what the signature says of the body: None for its hash.
    """

    method: str = "GET"
    path: bytes = b"/"
    query: bytes = b""
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = field(default_factory=tuple)
    length: str | None = ""
    payload: str | None = None

    def header(self, name: str, value: str) -> Ask:
        """With one header more."""
        return replace(self, headers=(*self.headers, (name, value)))

    def without(self, *names: str) -> Ask:
        """Without the headers of these names."""
        return replace(self, headers=tuple(pair for pair in self.headers if pair[0].lower() not in names))

    def wire(self) -> bytes:
        """The bytes."""
        headers = list(self.headers)
        if self.length is not None:
            headers.append(("content-length", self.length or str(len(self.body))))
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
        target = self.path + (b"?" + self.query if self.query else b"")
        return (
            b"%s %s HTTP/1.1\r\n%s\r\n" % (self.method.encode(), target, lines.encode("latin-1", "replace")) + self.body
        )


def sign(ask: Ask, host: str, key: tuple[str, str]) -> Ask:
    """``ask`` with a signature over what it is, in its headers."""
    now = _now()
    payload = hashlib.sha256(ask.body).hexdigest() if ask.payload is None else ask.payload
    ask = ask.header("host", host).header("x-amz-date", now).header("x-amz-content-sha256", payload)
    names, signature = _signature(ask, key[1], now, payload)
    about = f"AWS4-HMAC-SHA256 Credential={key[0]}/{_scope(now)}, SignedHeaders={names}, Signature={signature}"
    return ask.header("authorization", about)


def presign(ask: Ask, host: str, key: tuple[str, str], seconds: int = 60) -> Ask:
    """``ask`` with the signature in its query, over all of its headers but not its body."""
    now = _now()
    ask = ask.header("host", host)
    fields = {
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"{key[0]}/{_scope(now)}",
        "X-Amz-Date": now,
        "X-Amz-Expires": str(seconds),
        "X-Amz-SignedHeaders": ";".join(sorted({name.lower() for name, _ in ask.headers})),
    }
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in fields.items()).encode()
    ask = replace(ask, query=b"&".join(part for part in (ask.query, query) if part))
    _, signature = _signature(ask, key[1], now, dict(ask.headers).get("x-amz-content-sha256", UNSIGNED))
    return replace(ask, query=ask.query + f"&X-Amz-Signature={signature}".encode())


def _now() -> str:
    return f"{datetime.datetime.now(datetime.UTC):%Y%m%dT%H%M%SZ}"


def _scope(now: str) -> str:
    return f"{now[:8]}/us-east-1/s3/aws4_request"


def _signature(ask: Ask, secret: str, now: str, payload: str) -> tuple[str, str]:
    """The names of the headers that it covers, and the signature."""
    values: dict[str, str] = {}
    for name, value in ask.headers:
        tidy = " ".join(value.split()) if "  " in value or value.strip() != value else value
        values[name.lower()] = f"{values[name.lower()]},{tidy}" if name.lower() in values else tidy
    names = ";".join(sorted(values))
    lines = [ask.method, _path(ask.path), _query(ask.query)]
    lines += [f"{name}:{values[name]}" for name in sorted(values)] + ["", names, payload]
    digest = hashlib.sha256("\n".join(lines).encode("latin-1", "replace")).hexdigest()
    key = b"AWS4" + secret.encode()
    for part in _scope(now).split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return names, hmac.digest(key, f"AWS4-HMAC-SHA256\n{now}\n{_scope(now)}\n{digest}".encode(), "sha256").hex()


def _path(raw: bytes) -> str:
    return raw.decode() if _PATH.match(raw) else quote(unquote_to_bytes(raw), safe="/~")


def _query(raw: bytes) -> str:
    pairs = [piece.partition(b"=") for piece in raw.split(b"&") if piece]
    return "&".join(
        f"{name}={value}" for name, value in sorted((_word(name), _word(value)) for name, _, value in pairs)
    )


def _word(raw: bytes) -> str:
    return quote(unquote_to_bytes(raw.replace(b"+", b" ")), safe="~")
