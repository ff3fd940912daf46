"""OpenAPI 3 documents with API Gateway's extensions, as what an HTTP API is made of.

API Gateway Developer Guide, "Working with OpenAPI definitions for HTTP APIs" and "OpenAPI extensions for API
Gateway". References within the document (``$ref: "#/components/..."``) are followed for integrations.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from sluiceway.config import ApiSettings
from sluiceway.errors import Invalid

_METHODS: Final = ("get", "put", "post", "delete", "options", "head", "patch")
_ANY: Final = "x-amazon-apigateway-any-method"
_INTEGRATION: Final = "x-amazon-apigateway-integration"
_AUTHORIZER: Final = "x-amazon-apigateway-authorizer"
_CORS: Final = "x-amazon-apigateway-cors"


@dataclass(frozen=True, slots=True)
class PlannedRoute:
    """``integration`` is an index into the plan's integrations, ``authorizer`` a name of an authorizer."""

    key: str
    integration: int | None
    authorization: str = "NONE"
    authorizer: str | None = None
    scopes: list[str] = field(default_factory=list)
    operation: str = ""


@dataclass(slots=True)
class Plan:
    """What to make; the rows are as ``checks`` wants them."""

    api: dict[str, Any]
    authorizers: dict[str, dict[str, Any]]
    integrations: list[dict[str, Any]] = field(default_factory=list)
    routes: list[PlannedRoute] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


class _Loader(yaml.SafeLoader):
    """Without aliases: a small text with aliases of aliases is an endless document, or one that holds itself."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        """As the base class's."""
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("YAML aliases are not allowed")
        return super().compose_node(parent, index)


def read(document: str | bytes, limits: ApiSettings) -> Plan:
    """Takes its time with a large document. Raises ``Invalid("document")``."""
    if len(document) > limits.document_bytes_max:
        raise Invalid("document", f"The document is larger than {limits.document_bytes_max} bytes.")
    body = _parse(document, limits.yaml_bytes_max)
    if not str(body.get("openapi", "")).startswith("3."):
        raise Invalid("document", "Unable to import because of unsupported version: HTTP APIs take OpenAPI 3.")
    schemes = _mapping(_mapping(body.get("components")).get("securitySchemes"))
    plan = Plan(_api(body), {name: _authorizer(name, s) for name, s in schemes.items() if _AUTHORIZER in _mapping(s)})
    for path, item in _mapping(body.get("paths")).items():
        for method, operation in _mapping(item).items():
            if method == _ANY or method.lower() in _METHODS:
                _add_route(plan, body, str(path), method, _mapping(operation))
    if len(plan.routes) > limits.routes_max:
        raise Invalid(
            "document", f"The document has {len(plan.routes)} routes; an API has at most {limits.routes_max}."
        )
    return plan


def _parse(document: str | bytes, yaml_bytes_max: int) -> dict[str, Any]:
    try:
        text = document.decode("utf-8") if isinstance(document, bytes) else document
        if text.lstrip().startswith("{"):
            body = json.loads(text)
        elif len(text) > yaml_bytes_max:
            raise ValueError(f"a document in YAML has at most {yaml_bytes_max} bytes; write a larger one in JSON")
        else:
            body = yaml.load(text, _Loader)
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise Invalid("document", f"Invalid OpenAPI input: {' '.join(str(error).split())[:300]}") from None
    if not isinstance(body, dict):
        raise Invalid("document", "Invalid OpenAPI input: it is not an object.")
    return body


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _api(body: Mapping[str, Any]) -> dict[str, Any]:
    info = _mapping(body.get("info"))
    title = info.get("title")
    if not isinstance(title, str) or not title:
        raise Invalid("document", "Unable to create API: the document's info.title is missing.")
    api: dict[str, Any] = {"name": title}
    for ours, theirs in (("version", "version"), ("description", "description")):
        if info.get(theirs) is not None:
            api[ours] = str(info[theirs])
    cors = body.get(_CORS)
    if isinstance(cors, dict):
        api["cors_configuration"] = _cors(cors)
    tags = body.get("tags")
    found = [tag for tag in tags if isinstance(tag, dict)] if isinstance(tags, list) else []
    named = {
        str(t["name"]): str(t["x-amazon-apigateway-tag-value"]) for t in found if "x-amazon-apigateway-tag-value" in t
    }
    if named:
        api["tags"] = named
    endpoint = _mapping(body.get("x-amazon-apigateway-endpoint-configuration"))
    if "disableExecuteApiEndpoint" in endpoint:
        api["disable_execute_api_endpoint"] = bool(endpoint["disableExecuteApiEndpoint"])
    return api


def _cors(given: Mapping[str, Any]) -> dict[str, Any]:
    cors: dict[str, Any] = {}
    for name in ("allowOrigins", "allowHeaders", "allowMethods", "exposeHeaders"):
        if isinstance(given.get(name), list):
            cors[_snake(name)] = [str(value) for value in given[name]]
    if given.get("maxAge") is not None:
        cors["max_age"] = _whole(given["maxAge"], "maxAge")
    if given.get("allowCredentials") is not None:
        cors["allow_credentials"] = str(given["allowCredentials"]).lower() == "true"
    return cors


def _whole(value: Any, name: str) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        raise Invalid("document", f"{name} must be a whole number.") from None


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _authorizer(name: str, scheme: Mapping[str, Any]) -> dict[str, Any]:
    given = _mapping(scheme[_AUTHORIZER])
    source = given.get("identitySource", [])
    sources = source if isinstance(source, list) else [part.strip() for part in str(source).split(",")]
    row: dict[str, Any] = {"name": name, "identity_source": sources}
    if given.get("type") == "jwt":
        jwt = _mapping(given.get("jwtConfiguration"))
        audience = jwt.get("audience") or []
        audiences = audience if isinstance(audience, list) else [audience]
        configuration = {"issuer": str(jwt.get("issuer", "")), "audience": audiences}
        return {**row, "authorizer_type": "JWT", "jwt_configuration": configuration}
    row |= {"authorizer_type": "REQUEST", "authorizer_uri": str(given.get("authorizerUri", ""))}
    for theirs in ("authorizerPayloadFormatVersion", "enableSimpleResponses", "authorizerResultTtlInSeconds"):
        if theirs in given:
            row[_snake(theirs)] = given[theirs]
    if "authorizerCredentials" in given:
        row["authorizer_credentials_arn"] = given["authorizerCredentials"]
    return row


def _add_route(plan: Plan, body: Mapping[str, Any], path: str, method: str, operation: Mapping[str, Any]) -> None:
    key = "$default" if path.lstrip("/") == "$default" else f"{'ANY' if method == _ANY else method.upper()} {path}"
    declared = _followed(body, operation.get(_INTEGRATION))
    index: int | None = None
    if declared:
        row = _integration(declared)
        if row not in plan.integrations:
            plan.integrations.append(row)
        index = plan.integrations.index(row)
    else:
        plan.warnings.append(f"No integration is defined for the route {key}")
    security = operation.get("security", body.get("security")) or []
    for requirement in security:
        for name, scopes in _mapping(requirement).items():
            if name in plan.authorizers:
                kind = "JWT" if plan.authorizers[name]["authorizer_type"] == "JWT" else "CUSTOM"
                wanted = [str(scope) for scope in scopes] if kind == "JWT" and isinstance(scopes, list) else []
                plan.routes.append(PlannedRoute(key, index, kind, name, wanted, str(operation.get("operationId", ""))))
                return
            if name != "NONE":
                # A route must not become public because its authorizer is unknown.
                raise Invalid("document", f"The route {key} names the security scheme {name!r}, which has no "
                              f"{_AUTHORIZER} of type jwt or request.")  # fmt: skip
    plan.routes.append(PlannedRoute(key, index, operation=str(operation.get("operationId", ""))))


def _followed(body: Mapping[str, Any], value: Any) -> Mapping[str, Any]:
    found = _mapping(value)
    reference = found.get("$ref")
    if not isinstance(reference, str) or not reference.startswith("#/"):
        return found
    at: Any = body
    for part in reference[2:].split("/"):
        at = _mapping(at).get(part.replace("~1", "/").replace("~0", "~"))
    return _mapping(at)


def _integration(declared: Mapping[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = {
        "integration_type": str(declared.get("type", "")).upper(),
        "integration_uri": str(declared.get("uri", "")),
        "payload_format_version": str(declared.get("payloadFormatVersion", "1.0")),
    }
    names = {
        "httpMethod": "integration_method", "timeoutInMillis": "timeout_in_millis", "credentials": "credentials_arn",
        "connectionType": "connection_type", "requestParameters": "request_parameters",
        "responseParameters": "response_parameters", "integrationSubtype": "integration_subtype",
        "description": "description",
    }  # fmt: skip
    row |= {ours: declared[theirs] for theirs, ours in names.items() if declared.get(theirs) is not None}
    if "timeout_in_millis" in row:
        row["timeout_in_millis"] = _whole(row["timeout_in_millis"], "timeoutInMillis")
    return row
