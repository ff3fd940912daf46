"""The headers of server-side encryption, of requests and of answers.

(S3 User Guide, "Protecting data with server-side encryption"; S3 API reference, PutObject.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sluiceway.edges.http import Headers
from sluiceway.errors import Invalid, NotImplementedYet
from sluiceway.services.objects.encryption import check_asked
from sluiceway.services.objects.values import Encryption

_NAME: Final = "x-amz-server-side-encryption"
_CUSTOMER: Final = (
    f"{_NAME}-customer-algorithm",
    f"{_NAME}-customer-key",
    f"{_NAME}-customer-key-md5",
    f"x-amz-copy-source-{_NAME[6:]}-customer-algorithm",
    f"x-amz-copy-source-{_NAME[6:]}-customer-key",
)
_PLAIN: Final = ((_NAME, "AES256"),)


def asked_of(headers: Headers) -> Encryption | None:
    """What a write asks for. Raises ``Invalid("argument")``."""
    found = [headers.get(_NAME + suffix) for suffix in ("", "-aws-kms-key-id", "-bucket-key-enabled", "-context")]
    return check_asked(*found) if any(found) else None


def refuse_customer_keys(headers: Headers) -> None:
    """Raises ``NotImplementedYet("header")`` for keys that the client keeps: they would have to be used."""
    if any(name in headers for name in _CUSTOMER):
        raise NotImplementedYet(
            "header", "Server-side encryption with customer-provided keys (SSE-C) is not implemented."
        )


def refuse_on_read(headers: Headers) -> None:
    """Raises ``Invalid("argument")``, and as ``refuse_customer_keys``."""
    if _NAME in headers:
        message = f"{_NAME} header is not supported for this operation."
        raise Invalid("argument", message, ArgumentName=_NAME, ArgumentValue=headers.get(_NAME)[:50])
    refuse_customer_keys(headers)


def encryption_headers(encryption: Encryption | None, context: bool = False) -> Sequence[tuple[str, str]]:
    """What an answer says; ``context`` is for answers to writes, which repeat it."""
    if encryption is None or not encryption.key:
        return _PLAIN
    headers = [(_NAME, encryption.algorithm), (f"{_NAME}-aws-kms-key-id", encryption.key)]
    if encryption.bucket_key:
        headers.append((f"{_NAME}-bucket-key-enabled", "true"))
    if context and encryption.context:
        headers.append((f"{_NAME}-context", encryption.context))
    return headers
