"""Cross-origin requests, answered before authentication (S3 User Guide, "Using CORS"; Fetch standard)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sluiceway.edges.http import Headers, Response
from sluiceway.errors import AccessDenied, Invalid

Rule = dict[str, Any]
_VARY = "Origin, Access-Control-Request-Headers, Access-Control-Request-Method"


def preflight(headers: Headers, rules: Sequence[Rule] | None, resource_type: str) -> Response:
    """The answer to OPTIONS. Raises ``AccessDenied("cors")`` if no rule allows what is asked."""
    origin = headers.get("origin")
    method = headers.get("access-control-request-method")
    if not origin:
        raise Invalid("preflight", "Insufficient information. Origin request header needed.")
    if method not in ("GET", "PUT", "POST", "DELETE", "HEAD"):
        raise Invalid("preflight", f"Invalid Access-Control-Request-Method: {method[:50] or 'null'}")
    if not rules:
        raise _forbidden("CORSResponse: CORS is not enabled for this bucket.", method, resource_type)
    asked = _names(headers.all("access-control-request-headers"))
    for rule in rules:
        if _matches(rule, origin, method) and all(_header_allowed(rule, name) for name in asked):
            answer = _headers(rule, origin, method)
            if asked:
                answer.append(("access-control-allow-headers", ", ".join(asked)))
            return Response(200, answer)
    raise _forbidden(
        "CORSResponse: This CORS request is not allowed. This is usually because the evalution of Origin, "
        "request method / Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted "
        "by the resource's CORS spec.",
        method,
        resource_type,
    )


def actual(headers: Headers, method: str, rules: Sequence[Rule] | None) -> list[tuple[str, str]]:
    """Headers for the answer to a request with an Origin; none if no rule matches."""
    origin = headers.get("origin")
    for rule in rules or ():
        if _matches(rule, origin, method):
            return _headers(rule, origin, method)
    return []


def _headers(rule: Rule, origin: str, method: str) -> list[tuple[str, str]]:
    anyone = "*" in rule["AllowedOrigins"]
    headers = [
        ("access-control-allow-origin", "*" if anyone else origin),
        ("access-control-allow-methods", ", ".join(rule["AllowedMethods"])),
        ("vary", _VARY),
    ]
    if rule.get("ExposeHeaders"):
        headers.append(("access-control-expose-headers", ", ".join(rule["ExposeHeaders"])))
    if rule.get("MaxAgeSeconds") is not None:
        headers.append(("access-control-max-age", str(rule["MaxAgeSeconds"])))
    if not anyone:
        headers.append(("access-control-allow-credentials", "true"))
    return headers


def _matches(rule: Rule, origin: str, method: str) -> bool:
    return method in rule["AllowedMethods"] and any(_fits(item, origin) for item in rule["AllowedOrigins"])


def _header_allowed(rule: Rule, name: str) -> bool:
    return any(_fits(item.lower(), name) for item in rule.get("AllowedHeaders") or ())


def _fits(pattern: str, text: str) -> bool:
    """At most one wildcard."""
    head, star, tail = pattern.partition("*")
    if not star:
        return pattern == text
    return len(text) >= len(head) + len(tail) and text.startswith(head) and text.endswith(tail)


def _names(values: Sequence[str]) -> list[str]:
    return [name.strip().lower() for value in values for name in value.split(",") if name.strip()]


def _forbidden(message: str, method: str, resource_type: str) -> AccessDenied:
    return AccessDenied("cors", message, Method=method, ResourceType=resource_type)
