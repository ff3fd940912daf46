"""What a stage serves: its routes with their integrations and authorizers, ready to be asked."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sluiceway.errors import Invalid
from sluiceway.services.apis.routes import DEFAULT, RouteKey, choose

_FUNCTION = re.compile(
    r"^(?:arn:aws:apigateway:[a-z0-9-]+:lambda:path/2015-03-31/functions/)?"
    r"arn:aws:lambda:[a-z0-9-]+:\d{12}:function:(?P<name>[A-Za-z0-9_-]{1,64})(?::(?P<qualifier>[A-Za-z0-9$_-]{1,128}))?"
    r"(?:/invocations)?$"
)
_STAGE_VARIABLE = re.compile(r"\$\{stageVariables\.([A-Za-z0-9_]+)\}")


@dataclass(frozen=True, slots=True)
class FunctionName:
    """A function and, if not its newest state, which version or alias."""

    name: str
    qualifier: str | None


def function_of(uri: str, variables: Mapping[str, str]) -> FunctionName:
    """The function that an integration's URI names. Raises ``Invalid("integration_uri")``."""
    text = _STAGE_VARIABLE.sub(lambda found: variables.get(found[1], ""), uri)
    found = _FUNCTION.match(text)
    if found is None:
        raise Invalid("integration_uri", f"The integration URI does not name a Lambda function: {uri[:300]}")
    return FunctionName(found["name"], found["qualifier"])


def names_function(uri: str) -> bool:
    """Whether an integration's URI names a function, perhaps by stage variables."""
    return bool(_FUNCTION.match(_STAGE_VARIABLE.sub("x", uri)))


@dataclass(frozen=True, slots=True)
class Integration:
    """What answers a route. ``kind`` is "AWS_PROXY" (a function) or "MOCK"."""

    id: str
    kind: str
    uri: str
    payload_format: str
    timeout_ms: int


@dataclass(frozen=True, slots=True)
class Authorizer:
    """``kind`` is "JWT", "REQUEST" (a function), or "MISSING", which lets nobody in."""

    id: str
    kind: str
    sources: tuple[str, ...] = ()
    issuer: str = ""
    audiences: tuple[str, ...] = ()
    uri: str = ""
    payload_format: str = "1.0"
    simple: bool = False


@dataclass(frozen=True, slots=True)
class Route:
    """One route, joined with what it names."""

    key: str
    integration: Integration | None
    authorizer: Authorizer | None
    scopes: tuple[str, ...]
    responds: bool


@dataclass(frozen=True, slots=True)
class Served:
    """A stage of an API at a revision."""

    api_id: str
    protocol: str
    revision: int
    stage: str
    variables: dict[str, str]
    cors: dict[str, Any] | None
    selection: str
    keyed: tuple[tuple[RouteKey, Route], ...] = ()
    named: dict[str, Route] = field(default_factory=dict)

    def route(self, method: str, pieces: Sequence[str]) -> tuple[Route, dict[str, str]] | None:
        """The route of an HTTP request, with its path variables."""
        return choose(self.keyed, method, pieces)

    def message_route(self, key: str) -> Route | None:
        """The route of a message whose selection gave ``key``."""
        return self.named.get(key) or self.named.get(DEFAULT)


def build(api: dict[str, Any], stage: dict[str, Any], parts: dict[str, list[dict[str, Any]]]) -> Served:
    """``parts`` are the rows of routes, integrations and authorizers that the stage serves."""
    integrations = {row["integration_id"]: _integration(row) for row in parts["integration"]}
    authorizers = {row["authorizer_id"]: _authorizer(row) for row in parts["authorizer"]}
    routes = [_route(row, integrations, authorizers) for row in parts["route"]]
    http = api["protocol_type"] == "HTTP"
    return Served(
        api_id=api["api_id"],
        protocol=api["protocol_type"],
        revision=api["revision"],
        stage=stage["stage_name"],
        variables=stage.get("stage_variables") or {},
        cors=api.get("cors_configuration"),
        selection=api["route_selection_expression"],
        keyed=tuple((RouteKey.parse(route.key), route) for route in routes) if http else (),
        named={} if http else {route.key: route for route in routes},
    )


def _integration(row: dict[str, Any]) -> Integration:
    return Integration(
        row["integration_id"],
        row["integration_type"],
        row.get("integration_uri", ""),
        row["payload_format_version"],
        row["timeout_in_millis"],
    )


def _authorizer(row: dict[str, Any]) -> Authorizer:
    jwt = row.get("jwt_configuration") or {}
    return Authorizer(
        id=row["authorizer_id"],
        kind=row["authorizer_type"],
        sources=tuple(row.get("identity_source") or ()),
        issuer=jwt.get("issuer", ""),
        audiences=tuple(jwt.get("audience") or ()),
        uri=row.get("authorizer_uri", ""),
        payload_format=row.get("authorizer_payload_format_version", "1.0"),
        simple=bool(row.get("enable_simple_responses")),
    )


def _route(row: dict[str, Any], integrations: dict[str, Integration], authorizers: dict[str, Authorizer]) -> Route:
    target = row.get("target", "").removeprefix("integrations/")
    authorizer: Authorizer | None = None
    if row.get("authorization_type", "NONE") != "NONE":
        authorizer_id = row.get("authorizer_id", "")
        authorizer = authorizers.get(authorizer_id) or Authorizer(authorizer_id, "MISSING")
    return Route(
        key=row["route_key"],
        integration=integrations.get(target),
        authorizer=authorizer,
        scopes=tuple(row.get("authorization_scopes") or ()),
        responds=row.get("route_response_selection_expression") == DEFAULT,
    )
