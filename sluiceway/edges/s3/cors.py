"""Cross-origin requests, answered before authentication (S3 User Guide, "Using CORS"; Fetch standard)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sluiceway.edges.http import Headers, Response
from sluiceway.errors import AccessDenied, Invalid

Rule = dict[str, Any]
_VARY = "Origin, Access-Control-Request-Headers, Access-Control-Request-Method"


def preflight(headers: Headers, rules: Sequence[Rule] | None, resource_type: str) -> Response:
    """The answer to OPTIONS; ``rules`` is None where no bucket is named.

    Raises ``AccessDenied("cors")`` if no rule allows what is asked, ``Invalid("preflight")``.
    """
    origin = headers.get("origin")
    method = headers.get("access-control-request-method")
    if not origin:
        raise _no_origin()
    if not rules:
        raise no_bucket(headers) if rules is None else _disabled(method)
    if method not in ("GET", "PUT", "POST", "DELETE", "HEAD"):
        raise Invalid("preflight", f"Invalid Access-Control-Request-Method: {method[:50] or 'null'}")
    asked = _names(headers.all("access-control-request-headers"))
    for rule in rules:
        if _matches(rule, origin, method) and all(_header_allowed(rule, name) for name in asked):
            answer = _headers(rule, origin)
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
    # S3 heeds a preflight's headers here, too, where a client sends them with its actual request.
    method = headers.get("access-control-request-method") or method
    asked = _names(headers.all("access-control-request-headers"))
    for rule in rules or ():
        if _matches(rule, origin, method) and all(_header_allowed(rule, name) for name in asked):
            return _headers(rule, origin)
    return []


def no_bucket(headers: Headers) -> AccessDenied | Invalid:
    """The answer to OPTIONS for a bucket that is not there: not NoSuchBucket, as it is for other methods."""
    if not headers.get("origin"):
        return _no_origin()
    return _forbidden("CORSResponse: Bucket not found", headers.get("access-control-request-method"), "BUCKET")


def _headers(rule: Rule, origin: str) -> list[tuple[str, str]]:
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


def _no_origin() -> Invalid:
    return Invalid("preflight", "Insufficient information. Origin request header needed.")


def _disabled(method: str) -> AccessDenied:
    return _forbidden("CORSResponse: CORS is not enabled for this bucket.", method, "BUCKET")


def _forbidden(message: str, method: str, resource_type: str) -> AccessDenied:
    return AccessDenied("cors", message, Method=method[:50] or "OPTIONS", ResourceType=resource_type)
