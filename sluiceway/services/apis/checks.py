"""What the parts of an API may say. Raises ``Invalid`` with API Gateway's words where they are known.

A part is a row of named values (``route_key``, ``integration_type``, ...): API Gateway v2's members in lower
case. Rows keep what this server doesn't act on, so that tools read back what they wrote.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from sluiceway.config import ApiSettings
from sluiceway.errors import Invalid, NotImplementedYet
from sluiceway.services.apis.routes import METHODS, RouteKey
from sluiceway.services.apis.serving import names_function

Row = dict[str, Any]

_STAGE = re.compile(r"^(?:\$default|[A-Za-z0-9_-]{1,128})$")
_SOCKET_KEY = re.compile(r"^[^\s{}]{1,1000}$")
_SOURCE = re.compile(r"^(?:\$request\.(?:header|querystring)\.|route\.request\.(?:header|querystring)\.)[\w.-]+$")
_OTHER_SOURCE = re.compile(r"^(?:\$context\.|\$stageVariables\.|context\.|stageVariables\.)[\w.-]+$")
_HEADER = re.compile(r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,256}$")
_SELECTION: Final = "${request.method} ${request.path}"


def check_api(row: Row, limits: ApiSettings) -> None:
    """Name, protocol, selection expression, CORS, tags."""
    if not row.get("name") or len(row["name"]) > 128:
        raise Invalid("name", "The name of an API has 1 to 128 characters.")
    selection = row.get("route_selection_expression")
    if row["protocol_type"] == "HTTP":
        if selection != _SELECTION:
            raise Invalid("selection", f"The route selection expression of an HTTP API is always {_SELECTION}.")
    elif not isinstance(selection, str) or not re.match(r"^\$\{?request\.body\.[\w.-]+\}?$", selection):
        raise Invalid("selection", "The route selection expression of a WebSocket API has the form "
                      "$request.body.NAME.")  # fmt: skip
    cors = row.get("cors_configuration")
    if cors:
        if row["protocol_type"] != "HTTP":
            raise Invalid("cors", "CORS configuration is for HTTP APIs only.")
        check_cors(cors)
    check_tags(row.get("tags") or {}, limits)


def check_cors(cors: Mapping[str, Any]) -> None:
    """Developer Guide, "Configure CORS for HTTP APIs in API Gateway"."""
    origins = cors.get("allow_origins") or []
    if cors.get("allow_credentials") and "*" in origins:
        raise Invalid("cors", "Wildcard for allowOrigins is not allowed when allowCredentials is true.")
    for origin in origins:
        if origin != "*" and not re.match(r"^(?:https?://[^/\s]+|[a-z][a-z0-9+.-]*://.*|\*)$", origin):
            raise Invalid("cors", f"Invalid format for origin {origin[:200]}: it begins with http:// or https://.")
    for name in (*(cors.get("allow_headers") or ()), *(cors.get("expose_headers") or ())):
        if name != "*" and not _HEADER.match(name):
            raise Invalid("cors", f"{name[:200]!r} is not the name of a header.")
    for method in cors.get("allow_methods") or ():
        if method != "*" and method not in METHODS[1:]:
            raise Invalid("cors", f"{method[:50]!r} is not a method that CORS can allow.")
    age = cors.get("max_age")
    if age is not None and not -1 <= age <= 86_400:
        raise Invalid("cors", "Invalid value for maxAge: it is between -1 and 86400 seconds.")


def check_tags(tags: Mapping[str, str], limits: ApiSettings) -> None:
    """Count and lengths (AWS General Reference, "Tagging")."""
    longest = {key: 1024 if key.startswith("aws:") else 256 for key in tags}  # stacks mark what is theirs
    if len(tags) > limits.tags_max or any(not 1 <= len(k) <= 128 or len(v) > longest[k] for k, v in tags.items()):
        raise Invalid(
            "tags", f"There may be {limits.tags_max} tags with keys of 1 to 128 and values of 256 characters."
        )


def check_route(row: Row, protocol: str, limits: ApiSettings) -> None:
    """The key, the target's form, and the authorization. What it names is checked by the service."""
    key = row.get("route_key", "")
    if protocol == "HTTP":
        RouteKey.parse(key)
    elif not _SOCKET_KEY.match(key):
        raise Invalid("route_key", "A route key of a WebSocket API has 1 to 1000 characters without spaces.")
    target = row.get("target")
    if target is not None and not target.startswith("integrations/"):
        raise Invalid("target", "The target of a route has the form integrations/INTEGRATION-ID.")
    kind = row.setdefault("authorization_type", "NONE")
    if kind == "AWS_IAM":
        raise NotImplementedYet("authorization", "This server has no AWS_IAM authorization of routes yet; use JWT, "
                                "CUSTOM or NONE.")  # fmt: skip
    if kind not in ("NONE", "JWT", "CUSTOM"):
        raise Invalid("authorization", f"{kind!r} is not an authorization type.")
    if kind == "JWT" and protocol != "HTTP":
        raise Invalid("authorization", "JWT authorizers are for HTTP APIs only; a WebSocket API takes CUSTOM.")
    if kind == "CUSTOM" and protocol != "HTTP" and key != "$connect":
        raise Invalid("authorization", "Only the $connect route of a WebSocket API can have an authorizer.")
    if kind == "NONE":
        row.pop("authorizer_id", None)
        row.pop("authorization_scopes", None)
    elif not row.get("authorizer_id"):
        raise Invalid("authorizer", f"Authorization type {kind} needs an authorizer.")
    scopes = row.get("authorization_scopes") or []
    if scopes and kind != "JWT":
        raise Invalid("scopes", "Authorization scopes are for JWT authorizers only.")
    if len(scopes) > limits.scopes_max or any(not 1 <= len(scope) <= 64 for scope in scopes):
        raise Invalid("scopes", f"A route has up to {limits.scopes_max} scopes of 1 to 64 characters.")
    if row.get("api_key_required"):
        raise NotImplementedYet("api_key", "This server has no API keys.")


def check_integration(row: Row, protocol: str, limits: ApiSettings) -> None:
    """Lambda proxies (and mocks of WebSocket APIs); other kinds are refused here, not when a request comes."""
    kind = row.get("integration_type", "")
    if kind in ("HTTP_PROXY", "HTTP", "AWS") or row.get("integration_subtype"):
        what = row.get("integration_subtype") or kind
        raise NotImplementedYet("integration", f"This server has no integrations of type {what}: use AWS_PROXY with a "
                                "Lambda function.")  # fmt: skip
    if kind not in ("AWS_PROXY", "MOCK") or (kind == "MOCK" and protocol == "HTTP"):
        raise Invalid("integration", f"{kind!r} is not an integration type of a {protocol} API.")
    if row.get("connection_type", "INTERNET") != "INTERNET":
        raise NotImplementedYet("integration", "This server has no VPC links.")
    for unsupported in ("request_parameters", "response_parameters"):
        if row.get(unsupported):
            raise NotImplementedYet("integration", f"This server does not map parameters ({unsupported}).")
    row.setdefault("connection_type", "INTERNET")
    if kind == "AWS_PROXY":
        if not names_function(row.get("integration_uri", "")):
            raise Invalid("integration_uri", "The integration URI must be a Lambda function's ARN, or API Gateway's "
                          "ARN of its invocation.")  # fmt: skip
        row.setdefault("integration_method", "POST")
    default = "1.0" if protocol == "WEBSOCKET" else None
    version = row.setdefault("payload_format_version", default)
    allowed = ("1.0",) if protocol == "WEBSOCKET" else ("1.0", "2.0")
    if version not in allowed:
        raise Invalid("payload_format", f"PayloadFormatVersion is a required parameter of a {protocol} API's Lambda "
                      f"integration, one of {', '.join(allowed)}.")  # fmt: skip
    longest = limits.http_timeout_ms if protocol == "HTTP" else limits.socket_timeout_ms
    timeout = row.setdefault("timeout_in_millis", longest)
    if not 50 <= timeout <= longest:
        raise Invalid("timeout", f"Timeout should be between 50 ms and {longest} ms.")


def check_authorizer(row: Row, protocol: str, limits: ApiSettings) -> None:
    """JWT authorizers of HTTP APIs, and Lambda (REQUEST) authorizers of both."""
    name, kind = row.get("name", ""), row.get("authorizer_type", "")
    if not 1 <= len(name) <= 128:
        raise Invalid("name", "The name of an authorizer has 1 to 128 characters.")
    sources = row.get("identity_source") or []
    if kind == "JWT" and protocol == "HTTP":
        _check_jwt(row, sources, limits)
    elif kind == "REQUEST":
        if not names_function(row.get("authorizer_uri", "")):
            raise Invalid("authorizer_uri", "The authorizer URI must name a Lambda function.")
        if any(not _SOURCE.match(source) and not _OTHER_SOURCE.match(source) for source in sources):
            raise Invalid("identity_source", "An identity source is $request.header.NAME, $request.querystring.NAME, "
                          "$context.NAME or $stageVariables.NAME.")  # fmt: skip
        version = row.setdefault("authorizer_payload_format_version", "1.0")
        if version not in ("1.0", "2.0"):
            raise Invalid("payload_format", "AuthorizerPayloadFormatVersion is 1.0 or 2.0.")
        if row.get("enable_simple_responses") and version != "2.0":
            raise Invalid("payload_format", "Simple responses need AuthorizerPayloadFormatVersion 2.0.")
    else:
        raise Invalid("authorizer_type", f"{kind!r} is not an authorizer type of a {protocol} API.")


def _check_jwt(row: Row, sources: list[str], limits: ApiSettings) -> None:
    if len(sources) != 1 or not _SOURCE.match(sources[0]):
        raise Invalid("identity_source", "A JWT authorizer has one identity source, $request.header.NAME or "
                      "$request.querystring.NAME.")  # fmt: skip
    jwt = row.get("jwt_configuration") or {}
    issuer, audiences = jwt.get("issuer", ""), jwt.get("audience") or []
    parts = urlsplit(issuer)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise Invalid("issuer", f"The issuer must be an http or https URL: {issuer[:300]!r}.")
    if not audiences or len(audiences) > limits.audiences_max:
        raise Invalid("audience", f"A JWT authorizer has 1 to {limits.audiences_max} audiences.")


def check_stage(row: Row, limits: ApiSettings) -> None:
    """The name and the variables."""
    if not _STAGE.match(row.get("stage_name", "")):
        raise Invalid("stage_name", "Stage name only allows a-zA-Z0-9_- or $default.")
    for key, value in (row.get("stage_variables") or {}).items():
        if not re.match(r"^[A-Za-z0-9_]+$", key) or not re.match(r"^[A-Za-z0-9\-._~:/?#&=,]{0,512}$", value):
            raise Invalid("stage_variables", f"The stage variable {key[:100]!r} has characters that are not allowed.")
    check_tags(row.get("tags") or {}, limits)
