"""A function's answer as an HTTP response.

Developer Guide, "Create AWS Lambda proxy integrations for HTTP APIs", "Lambda function response".
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any, Final

import orjson

from sluiceway.edges.http import Response

#: What the server itself says about a connection.
_OURS: Final = frozenset(
    {"connection", "content-length", "keep-alive", "transfer-encoding", "upgrade", "trailer", "te"}
)
_BODILESS: Final = (204, 205, 304)  # RFC 9110, 15.3.5, 15.3.6 and 15.4.5
_NAME = re.compile(r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")
_BROKEN = re.compile(r"[\r\n\x00]")


class BadAnswer(ValueError):
    """The function's answer is not what its payload format asks for."""


def response_of(payload: bytes, payload_format: str) -> Response:
    """Raises ``BadAnswer``."""
    try:
        answer = orjson.loads(payload) if payload else None
    except orjson.JSONDecodeError:
        raise BadAnswer("the answer is not JSON") from None
    if isinstance(answer, dict) and "statusCode" in answer:
        return _structured(answer)
    if payload_format != "2.0":
        raise BadAnswer("an answer in format 1.0 must be an object with a statusCode")
    body = answer.encode() if isinstance(answer, str) else payload or b"null"
    return Response(200, [("content-type", "application/json")], body)


def message(status: int, text: str, headers: list[tuple[str, str]] | None = None) -> Response:
    """API Gateway's own answers."""
    return Response(status, [("content-type", "application/json"), *(headers or [])], orjson.dumps({"message": text}))


def _structured(answer: dict[str, Any]) -> Response:
    status = _status(answer["statusCode"])
    headers = _headers(answer)
    for cookie in answer.get("cookies") or []:
        headers.append(("set-cookie", _value(cookie)))
    body = answer.get("body")
    if body is None:
        raw = b""
    elif not isinstance(body, str):
        raise BadAnswer("the body of an answer must be a text")
    elif answer.get("isBase64Encoded") is True:
        try:
            raw = base64.b64decode(body, validate=True)
        except (binascii.Error, ValueError):
            raise BadAnswer("the body is not base64") from None
    else:
        raw = body.encode("utf-8", "surrogatepass")
    if status in _BODILESS:
        raw = b""
    if raw and not any(name == "content-type" for name, _ in headers):
        headers.append(("content-type", "text/plain; charset=utf-8"))
    return Response(status, headers, raw)


def _status(value: Any) -> int:
    """A whole number, perhaps as text."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) == 3:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 200 <= value <= 599:
        raise BadAnswer("the statusCode must be a number from 200 to 599")
    return value


def _headers(answer: dict[str, Any]) -> list[tuple[str, str]]:
    single, multiple = answer.get("headers") or {}, answer.get("multiValueHeaders") or {}
    if not isinstance(single, dict) or not isinstance(multiple, dict):
        raise BadAnswer("the headers of an answer must be an object")
    lists = {name.lower() for name in multiple}
    pairs = [(name, value) for name, value in single.items() if name.lower() not in lists]
    for name, values in multiple.items():
        if not isinstance(values, list):
            raise BadAnswer("multiValueHeaders must have lists")
        pairs += [(name, value) for value in values]
    found: list[tuple[str, str]] = []
    for name, value in pairs:
        if not _NAME.match(name):
            raise BadAnswer(f"{name[:100]!r} is not the name of a header")
        if name.lower() not in _OURS:
            found.append((name.lower(), _value(value)))
    return found


def _value(value: Any) -> str:
    if isinstance(value, bool):
        text = "true" if value else "false"
    elif isinstance(value, str | int | float):
        text = str(value)
    else:
        raise BadAnswer("the value of a header must be a text")
    if _BROKEN.search(text):
        raise BadAnswer("the value of a header must not have line breaks")
    try:
        text.encode("latin-1")
    except UnicodeEncodeError:
        raise BadAnswer("the value of a header must be ISO 8859-1") from None
    return text
