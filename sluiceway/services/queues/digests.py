"""The MD5s with which SDKs check what they sent and received."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Any


def body_md5(body: str) -> str:
    """MD5 of the body, in hex."""
    return hashlib.md5(body.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()


def attributes_md5(attributes: Mapping[str, Any]) -> str:
    """MD5 of message attributes, "" if there are none.

    SQS Developer Guide, "Calculating the MD5 message digest for message attributes"; system attributes are digested
    in the same way.
    """
    if not attributes:
        return ""
    digest = hashlib.md5(usedforsecurity=False)
    for name in sorted(attributes):
        value = attributes[name]
        kind = value["DataType"]
        _feed(digest, name.encode())
        _feed(digest, kind.encode())
        if kind.startswith("Binary"):
            digest.update(b"\x02")
            _feed(digest, base64.b64decode(value["BinaryValue"]))
        else:
            digest.update(b"\x01")
            _feed(digest, value["StringValue"].encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _feed(digest: Any, data: bytes) -> None:
    digest.update(len(data).to_bytes(4, "big"))
    digest.update(data)
