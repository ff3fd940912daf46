"""A request as a function gets it, in API Gateway's two formats.

Developer Guide, "Create AWS Lambda proxy integrations for HTTP APIs": format 2.0 joins repeated headers and
query parameters by commas and has the cookies apart; 1.0 has a second map with all values as lists.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sluiceway.edges.http import Request
from sluiceway.services.apis import Route, Served


@dataclass(slots=True)
class Incoming:
    """One request on its way to a function. ``path`` is decoded and has the stage's name in front, if it has one.
    ``authorizer`` is what the authorizer found out: {"jwt": ...} or {"lambda": ...}."""

    request: Request
    served: Served
    route: Route
    path: str
    parameters: dict[str, str]
    body: bytes
    account: str
    now_ms: int
    authorizer: dict[str, Any] | None = None


def event(incoming: Incoming, payload_format: str) -> dict[str, Any]:
    """The event in format "2.0" or "1.0"."""
    made = _event_2(incoming) if payload_format == "2.0" else _event_1(incoming)
    body, encoded = _body(incoming.request.headers.get("content-type"), incoming.body)
    if body is not None or payload_format == "1.0":
        made["body"] = body
    made["isBase64Encoded"] = encoded
    return made


def clock_text(now_ms: int) -> str:
    """As in Apache's access logs: 12/Mar/2020:19:03:58 +0000."""
    return datetime.fromtimestamp(now_ms / 1000, UTC).strftime("%d/%b/%Y:%H:%M:%S +0000")


def _event_2(incoming: Incoming) -> dict[str, Any]:
    request, served = incoming.request, incoming.served
    headers = _headers(request)
    cookies = [piece.strip() for value in headers.pop("cookie", []) for piece in value.split(";") if piece.strip()]
    query: dict[str, str] = {}
    for name, value in request.query():
        query[name] = f"{query[name]},{value}" if name in query else value
    made: dict[str, Any] = {
        "version": "2.0",
        "routeKey": incoming.route.key,
        "rawPath": incoming.path,
        "rawQueryString": request.raw_query.decode("latin-1"),
        "headers": {name: ",".join(values) for name, values in headers.items()},
        "requestContext": _context_2(incoming),
    }
    if cookies:
        made["cookies"] = cookies
    if query:
        made["queryStringParameters"] = query
    if incoming.parameters:
        made["pathParameters"] = incoming.parameters
    if served.variables:
        made["stageVariables"] = served.variables
    return made


def _context_2(incoming: Incoming) -> dict[str, Any]:
    request, served = incoming.request, incoming.served
    context: dict[str, Any] = {
        "accountId": incoming.account,
        "apiId": served.api_id,
        "domainName": request.host,
        "domainPrefix": request.host.partition(".")[0],
        "http": {
            "method": request.method,
            "path": incoming.path,
            "protocol": "HTTP/1.1",
            "sourceIp": request.client,
            "userAgent": request.headers.get("user-agent"),
        },
        "requestId": request.request_id,
        "routeKey": incoming.route.key,
        "stage": served.stage,
        "time": clock_text(incoming.now_ms),
        "timeEpoch": incoming.now_ms,
    }
    if incoming.authorizer is not None:
        context["authorizer"] = incoming.authorizer
    return context


def _event_1(incoming: Incoming) -> dict[str, Any]:
    request, served = incoming.request, incoming.served
    headers = _headers(request)
    query: dict[str, list[str]] = {}
    for name, value in request.query():
        query.setdefault(name, []).append(value)
    return {
        "version": "1.0",
        "resource": incoming.route.key.partition(" ")[2] or incoming.route.key,
        "path": incoming.path,
        "httpMethod": request.method,
        "headers": {name: values[-1] for name, values in headers.items()},
        "multiValueHeaders": headers,
        "queryStringParameters": {name: values[-1] for name, values in query.items()} or None,
        "multiValueQueryStringParameters": query or None,
        "requestContext": _context_1(incoming),
        "pathParameters": incoming.parameters or None,
        "stageVariables": served.variables or None,
    }


def _context_1(incoming: Incoming) -> dict[str, Any]:
    request, served = incoming.request, incoming.served
    found = incoming.authorizer or {}
    context: dict[str, Any] = {
        "accountId": incoming.account,
        "apiId": served.api_id,
        "domainName": request.host,
        "domainPrefix": request.host.partition(".")[0],
        "extendedRequestId": request.request_id,
        "httpMethod": request.method,
        "identity": {"sourceIp": request.client, "userAgent": request.headers.get("user-agent")},
        "path": incoming.path,
        "protocol": "HTTP/1.1",
        "requestId": request.request_id,
        "requestTime": clock_text(incoming.now_ms),
        "requestTimeEpoch": incoming.now_ms,
        "resourceId": incoming.route.key,
        "resourcePath": incoming.route.key.partition(" ")[2] or incoming.route.key,
        "stage": served.stage,
    }
    if found:
        context["authorizer"] = found.get("jwt") or found.get("lambda")
    return context


def _headers(request: Request) -> dict[str, list[str]]:
    """With what a gateway adds, so that a function knows where the client was."""
    headers: dict[str, list[str]] = {}
    for name, value in request.headers.items:
        headers.setdefault(name, []).append(value)
    before = headers.get("x-forwarded-for", [])
    headers["x-forwarded-for"] = [", ".join([*before, request.client])]
    headers["x-forwarded-proto"] = [request.scheme]
    headers["x-forwarded-port"] = [request.host.rpartition(":")[2] if ":" in request.host else _port(request.scheme)]
    return headers


def _port(scheme: str) -> str:
    return "443" if scheme == "https" else "80"


def _body(content_type: str, body: bytes) -> tuple[str | None, bool]:
    """Text as it is, everything else in base64 (forms too, as API Gateway does)."""
    if not body:
        return None, False
    if _is_text(content_type.partition(";")[0].strip().lower()):
        try:
            return body.decode("utf-8"), False
        except UnicodeDecodeError:
            pass
    return base64.b64encode(body).decode("ascii"), True


def _is_text(kind: str) -> bool:
    exact = ("", "application/json", "application/xml", "application/javascript", "application/graphql")
    return kind.startswith("text/") or kind in exact or kind.endswith(("+json", "+xml"))
