"""A service's codec, and the registry of all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sluiceway.edges.aws.codecs.faults import Faults
from sluiceway.edges.aws.codecs.model import OperationModel, ServiceModel, load
from sluiceway.edges.aws.codecs.older import PATH_PARAMETERS, query_model
from sluiceway.edges.aws.codecs.operation import (
    JsonOperation,
    OperationCodec,
    QueryOperation,
    RestJsonOperation,
    RestXmlOperation,
    WireResponse,
    form,
)
from sluiceway.edges.aws.codecs.places import Wire
from sluiceway.edges.aws.codecs.routes import Routes
from sluiceway.edges.aws.codecs.scalars import wrong
from sluiceway.edges.http import Headers
from sluiceway.errors import NotFound


@dataclass(frozen=True, slots=True)
class Match:
    """The operation that a request names."""

    name: str


class ServiceCodec:
    """One service in its protocol. Operations are compiled when they are first used.

    ``older`` is the same service in the query protocol, if it spoke that before; ``path_parameter`` is what a request's
    path stands for there, unless it is said in the form (SQS sends forms to the queue's own URL).
    """

    def __init__(
        self, model: ServiceModel, older: ServiceCodec | None = None, path_parameter: str | None = None
    ) -> None:
        self._model = model
        self._path_parameter = path_parameter
        self._older = older
        self.protocol: str = model.resolved_protocol
        self._known = frozenset(model.operation_names)
        self._operations: dict[str, OperationCodec] = {}
        self._faults = Faults(model, self.protocol)
        self._routes: Routes | None = None

    def spoken(self, headers: Headers) -> ServiceCodec:
        """The codec of the protocol that a request with these headers is in."""
        return self if self._older is None or headers.get("x-amz-target") else self._older

    def match(self, method: str, path: str, query: list[tuple[str, str]], headers: Headers, body: bytes) -> Match:
        """Which operation this is. Raises ``NotFound("operation")``."""
        if self.protocol == "json":
            name: str | None = headers.get("x-amz-target").rpartition(".")[2]
        elif self.protocol == "query":
            name = next((value for key, value in [*query, *form(body)] if key == "Action"), "")
        else:
            if self._routes is None:
                self._routes = Routes(self._model.operation_model(name) for name in self._model.operation_names)
            name = self._routes.find(method, path, query)
        if name not in self._known:
            raise NotFound("operation", f"The operation {name or method + ' ' + path[:200]} is not known.")
        return Match(str(name))

    def parse(
        self, name: str, method: str, path: str, query: list[tuple[str, str]], headers: Headers, body: bytes
    ) -> dict[str, Any]:
        """The operation's input. Raises ``Invalid("serialization" | "validation" | "xml")``."""
        if self._path_parameter is not None and path != "/":
            query = [(self._path_parameter, path), *query]
        try:
            return self._operation(name).read(Wire(path, query, headers, body))
        except (RecursionError, UnicodeDecodeError):
            raise wrong("The request is nested too deeply or is not valid UTF-8.") from None

    def serialize(self, name: str, output: dict[str, Any] | None, request_id: str) -> WireResponse:
        """The operation's output as a response."""
        return self._operation(name).write(output or {}, request_id)

    def serialize_error(
        self,
        name: str | None,
        code: str,
        message: str,
        request_id: str,
        status: int | None = None,
        fields: Mapping[str, Any] | None = None,
    ) -> WireResponse:
        """An error as a response; ``status`` where the model has none, ``fields`` are further members."""
        return self._faults.write(code, message, request_id, status, fields or {})

    def _operation(self, name: str) -> OperationCodec:
        known = self._operations.get(name)
        if known is None:
            known = self._operations[name] = self._compile(self._model.operation_model(name))
        return known

    def _compile(self, operation: OperationModel) -> OperationCodec:
        if self.protocol == "query":
            return QueryOperation(operation)
        if self.protocol == "rest-json":
            return RestJsonOperation(operation)
        if self.protocol == "rest-xml":
            return RestXmlOperation(operation)
        version = operation.metadata.get("jsonVersion", "1.0")
        return JsonOperation(operation, f"application/x-amz-json-{version}")


class Codecs:
    """The codecs of every service, loaded when they are first asked for."""

    def __init__(self) -> None:
        self._codecs: dict[str, ServiceCodec] = {}

    def codec_for(self, service: str) -> ServiceCodec:
        """``service`` is botocore's name ("sqs", "apigatewayv2")."""
        known = self._codecs.get(service)
        if known is None:
            model = load(service)
            older = query_model(model, service)
            path_parameter = PATH_PARAMETERS.get(service)
            known = self._codecs[service] = ServiceCodec(
                model, ServiceCodec(older, path_parameter=path_parameter) if older is not None else None
            )
        return known
