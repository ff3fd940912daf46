"""What SNS's operations share: required parameters and page tokens."""

from __future__ import annotations

import base64
import binascii
import json

from sluiceway.edges.aws.operations import Call
from sluiceway.errors import Invalid


def need(call: Call, name: str) -> str:
    """A parameter that must be there. Raises ``Invalid("missing")``."""
    value = call.params.get(name)
    if not value:
        raise Invalid("missing", f"Invalid parameter: {name} Reason: no value for required parameter")
    return str(value)


def to_token(*key: str) -> str:
    """The token for what comes after ``key``."""
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode()


def from_token(call: Call, parts: int, name: str = "NextToken") -> list[str] | None:
    """The key in a request's token, or None without one. Raises ``Invalid("token")``."""
    token = call.params.get(name)
    if not token:
        return None
    try:
        key = json.loads(base64.urlsafe_b64decode(token))
    except (ValueError, binascii.Error, RecursionError):
        key = None
    if not (isinstance(key, list) and len(key) == parts and all(isinstance(part, str) for part in key)):
        raise Invalid("token", f"Invalid parameter: {name} Reason: Invalid nextToken value")
    return key
