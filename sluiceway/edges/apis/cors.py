"""CORS of HTTP APIs: the API's configuration answers for its functions.

Developer Guide, "Configure CORS for HTTP APIs in API Gateway": preflight requests are answered without any
route, and CORS headers that a function sends are replaced.
"""

from __future__ import annotations

from typing import Any

from sluiceway.edges.http import Request, Response


def preflight(cors: dict[str, Any], request: Request) -> Response | None:
    """The answer to a preflight request; None if it isn't one."""
    asked = request.headers.get("access-control-request-method")
    if request.method != "OPTIONS" or not asked or "origin" not in request.headers:
        return None
    headers = _origin(cors, request)
    if headers:
        credentials = bool(cors.get("allow_credentials"))
        wanted = request.headers.get("access-control-request-headers")
        headers += _listed("access-control-allow-methods", cors.get("allow_methods"), asked, credentials)
        headers += _listed("access-control-allow-headers", cors.get("allow_headers"), wanted, credentials)
        if cors.get("max_age") is not None:
            headers.append(("access-control-max-age", str(cors["max_age"])))
    return Response(204, headers)


def add_headers(cors: dict[str, Any], request: Request, response: Response) -> None:
    """Replace the response's CORS headers by the configuration's."""
    response.headers = [pair for pair in response.headers if not pair[0].lower().startswith("access-control-")]
    headers = _origin(cors, request)
    if headers and cors.get("expose_headers"):
        headers.append(("access-control-expose-headers", ",".join(cors["expose_headers"])))
    response.headers += headers


def _origin(cors: dict[str, Any], request: Request) -> list[tuple[str, str]]:
    origin = request.headers.get("origin")
    allowed = cors.get("allow_origins") or []
    if not origin or not any(_fits(pattern, origin) for pattern in allowed):
        return []
    if "*" in allowed and not cors.get("allow_credentials"):
        return [("access-control-allow-origin", "*")]
    headers = [("access-control-allow-origin", origin), ("vary", "origin")]
    if cors.get("allow_credentials"):
        headers.append(("access-control-allow-credentials", "true"))
    return headers


def _fits(pattern: str, origin: str) -> bool:
    if pattern in ("http://*", "https://*"):
        return origin.startswith(pattern[:-1])
    return pattern in ("*", origin)


def _listed(name: str, allowed: list[str] | None, asked: str, credentials: bool) -> list[tuple[str, str]]:
    """A star means nothing to a browser that sends credentials (Fetch Standard), so it gets what it asked for."""
    if not allowed:
        return []
    if "*" in allowed and credentials:
        return [(name, asked)] if asked else []
    return [(name, ",".join(allowed))]
