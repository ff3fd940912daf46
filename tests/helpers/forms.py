"""Browser forms by hand: policies, signatures and multipart bodies in which every part can be wrong."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

BOUNDARY = "----WebKitFormBoundaryoKfYl9mMYBKPB5xe"
Field = tuple[str, str | bytes]


def part(name: str, value: str | bytes, filename: str | None = None, content_type: str = "") -> bytes:
    """One part, as a browser writes it."""
    shown = f'form-data; name="{name}"' + (f'; filename="{filename}"' if filename is not None else "")
    more = f"Content-Type: {content_type}\r\n" if content_type else ""
    data = value.encode() if isinstance(value, str) else value
    return f"--{BOUNDARY}\r\nContent-Disposition: {shown}\r\n{more}\r\n".encode() + data + b"\r\n"


def body(fields: Iterable[Field], file: bytes | None = b"content", filename: str | None = "a.txt") -> bytes:
    """A whole form, the file last."""
    parts = [part(name, value) for name, value in fields]
    if file is not None:
        parts.append(part("file", file, filename, "text/plain"))
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def content_type() -> str:
    """The header of such a form."""
    return f"multipart/form-data; boundary={BOUNDARY}"


def signed(
    key: tuple[str, str],
    bucket: str,
    fields: dict[str, str],
    conditions: list[Any] | None = None,
    *,
    lasts_s: float = 600,
    moved_s: float = 0,
    token: str | None = None,
    document: Any = None,
) -> dict[str, str]:
    """``fields`` with a signed policy. Without ``conditions`` each field and the bucket have one."""
    now = datetime.now(UTC) + timedelta(seconds=moved_s)
    scope = f"{now:%Y%m%d}/us-east-1/s3/aws4_request"
    about = {
        "x-amz-algorithm": "AWS4-HMAC-SHA256",
        "x-amz-credential": f"{key[0]}/{scope}",
        "x-amz-date": f"{now:%Y%m%dT%H%M%SZ}",
        **({"x-amz-security-token": token} if token else {}),
    }
    if conditions is None:
        conditions = [{"bucket": bucket}, *({name: value} for name, value in fields.items())]
    conditions = [*conditions, *({name: value} for name, value in about.items())]
    expiration = f"{datetime.now(UTC) + timedelta(seconds=lasts_s):%Y-%m-%dT%H:%M:%SZ}"
    made = {"expiration": expiration, "conditions": conditions} if document is None else document
    raw = made if isinstance(made, bytes) else json.dumps(made).encode()
    policy = base64.b64encode(raw).decode()
    secret = b"AWS4" + key[1].encode()
    for step in scope.split("/"):
        secret = hmac.digest(secret, step.encode(), "sha256")
    signature = hmac.digest(secret, policy.encode(), "sha256").hex()
    return {**fields, **about, "policy": policy, "x-amz-signature": signature}


def md5(data: bytes) -> str:
    """In hex."""
    return hashlib.md5(data).hexdigest()
