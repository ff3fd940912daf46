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
_ASKED: Final = tuple(_NAME + suffix for suffix in ("", "-aws-kms-key-id", "-bucket-key-enabled", "-context"))
_ANY_ASKED: Final = frozenset(_ASKED)
_CUSTOMER: Final = frozenset(
    {
        f"{_NAME}-customer-algorithm",
        f"{_NAME}-customer-key",
        f"{_NAME}-customer-key-md5",
        "x-amz-copy-source-server-side-encryption-customer-algorithm",
        "x-amz-copy-source-server-side-encryption-customer-key",
    }
)
_REFUSED_ON_READ: Final = _CUSTOMER | {_NAME}
_PLAIN: Final = ((_NAME, "AES256"),)


def asked_of(headers: Headers) -> Encryption | None:
    """What a write asks for. Raises ``Invalid("argument")``."""
    return check_asked(*map(headers.get, _ASKED)) if headers.has_any(_ANY_ASKED) else None


def refuse_customer_keys(headers: Headers) -> None:
    """Raises ``NotImplementedYet("header")`` for keys that the client keeps: they would have to be used."""
    if headers.has_any(_CUSTOMER):
        raise NotImplementedYet(
            "header", "Server-side encryption with customer-provided keys (SSE-C) is not implemented."
        )


def refuse_on_read(headers: Headers) -> None:
    """Raises ``Invalid("argument")``, and as ``refuse_customer_keys``."""
    if not headers.has_any(_REFUSED_ON_READ):
        return
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
