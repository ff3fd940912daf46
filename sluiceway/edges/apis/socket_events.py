"""What functions of a WebSocket API get, and what their answers mean.

Developer Guide, "API Gateway WebSocket API mapping template reference" ($context) and "Set up a route for
$connect / $disconnect".
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

import orjson

from sluiceway.core.clock import new_id
from sluiceway.edges.apis.events import clock_text
from sluiceway.edges.http import parse_query
from sluiceway.services.connections import Connection


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is the same in all events of a connection."""

    connection: Connection
    domain: str
    variables: dict[str, str]


def context(around: Surroundings, route_key: str, event_type: str, now_ms: int, **more: Any) -> dict[str, Any]:
    """The requestContext of an event."""
    connection = around.connection
    made: dict[str, Any] = {
        "routeKey": route_key,
        "eventType": event_type,
        "extendedRequestId": new_id(),
        "requestId": new_id(),
        "requestTime": clock_text(now_ms),
        "requestTimeEpoch": now_ms,
        "messageDirection": "IN",
        "stage": connection.stage,
        "connectedAt": connection.connected_ms,
        "identity": {"sourceIp": connection.source_ip, "userAgent": connection.user_agent},
        "domainName": around.domain,
        "connectionId": connection.id,
        "apiId": connection.api_id,
        **more,
    }
    if connection.authorizer is not None:
        made["authorizer"] = connection.authorizer
    return made


def connect_event(
    around: Surroundings, headers: list[tuple[str, str]], raw_query: bytes, now_ms: int
) -> dict[str, Any]:
    """The event of ``$connect``. Raises ``Invalid("uri")`` for a query that is not UTF-8."""
    lists: dict[str, list[str]] = {}
    for name, value in headers:
        lists.setdefault(_titled(name), []).append(value)
    lists["X-Forwarded-For"] = [", ".join([*lists.get("X-Forwarded-For", []), around.connection.source_ip])]
    query: dict[str, list[str]] = {}
    for name, value in parse_query(raw_query):
        query.setdefault(name, []).append(value)
    event: dict[str, Any] = {
        "headers": {name: values[-1] for name, values in lists.items()},
        "multiValueHeaders": lists,
        "requestContext": context(around, "$connect", "CONNECT", now_ms),
        "isBase64Encoded": False,
    }
    if query:
        event["queryStringParameters"] = {name: values[-1] for name, values in query.items()}
        event["multiValueQueryStringParameters"] = query
    return _with_variables(event, around)


def message_event(around: Surroundings, route_key: str, body: str | bytes, now_ms: int) -> dict[str, Any]:
    """The event of a message."""
    binary = isinstance(body, bytes)
    text = base64.b64encode(body).decode("ascii") if isinstance(body, bytes) else body
    made = context(around, route_key, "MESSAGE", now_ms, messageId=new_id())
    return _with_variables({"requestContext": made, "body": text, "isBase64Encoded": binary}, around)


def disconnect_event(around: Surroundings, code: int, reason: str, now_ms: int) -> dict[str, Any]:
    """The event of ``$disconnect``."""
    ended = {"disconnectStatusCode": code, "disconnectReason": reason}
    host = around.domain.partition("/")[0]
    event = {
        "headers": {"Host": host, "x-api-key": "", "x-restapi": ""},
        "multiValueHeaders": {"Host": [host], "x-api-key": [""], "x-restapi": [""]},
        "requestContext": context(around, "$disconnect", "DISCONNECT", now_ms, **ended),
        "isBase64Encoded": False,
    }
    return _with_variables(event, around)


def selected(expression: str, body: str | bytes) -> str | None:
    """What a route selection expression (``$request.body.NAME``) finds in a message; None for ``$default``."""
    try:
        at = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    for name in expression.strip("${}").removeprefix("request.body.").split("."):
        if not isinstance(at, dict) or name not in at:
            return None
        at = at[name]
    return at if isinstance(at, str) else str(at) if isinstance(at, int | float) else None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a function's answer says: a status, a body for the client, and a subprotocol."""

    status: int
    body: bytes
    subprotocol: str | None


def answer_of(payload: bytes) -> Answer:
    """An answer that is not an object with a good statusCode counts as a failure (status 502)."""
    try:
        answer = orjson.loads(payload) if payload else None
    except orjson.JSONDecodeError:
        return Answer(502, b"", None)
    if not isinstance(answer, dict):
        return Answer(502, b"", None)
    status = answer.get("statusCode", 502)
    if isinstance(status, str) and status.isascii() and status.isdigit() and len(status) == 3:
        status = int(status)
    if not isinstance(status, int) or not 100 <= status <= 599:
        status = 502
    headers = answer.get("headers")
    named = headers if isinstance(headers, dict) else {}
    protocols = [str(value) for name, value in named.items() if name.lower() == "sec-websocket-protocol"]
    body = answer.get("body")
    raw = body.encode("utf-8", "replace") if isinstance(body, str) else b"" if body is None else orjson.dumps(body)
    return Answer(status, raw, protocols[0] if protocols else None)


def _with_variables(event: dict[str, Any], around: Surroundings) -> dict[str, Any]:
    if around.variables:
        event["stageVariables"] = around.variables
    return event


def _titled(name: str) -> str:
    """Header names as they are usually written, which is how API Gateway passes them on."""
    return "-".join(word.capitalize() for word in name.split("-")).replace("Websocket", "WebSocket")
