"""Requests made, and answers read, by botocore: what the server does as its own client.

Imported when the first stack is worked on: botocore's serialisers and parsers take a fifth of a second and 15 MiB.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from botocore.loaders import Loader
from botocore.model import ListShape, MapShape, OperationModel, ServiceModel, Shape, StructureShape
from botocore.parsers import create_parser
from botocore.serialize import create_serializer


@cache
def _model_of(service: str) -> ServiceModel:
    return ServiceModel(Loader().load_service_model(service, "service-2"), service_name=service)


def operation_of(service: str, operation: str) -> OperationModel:
    """The operation by botocore's model."""
    return _model_of(service).operation_model(operation)


def serialized(model: OperationModel, params: dict[str, Any]) -> dict[str, Any]:
    """The request as botocore makes it."""
    shape = model.input_shape
    typed = coerce(shape, params) if shape is not None else {}
    made: dict[str, Any] = create_serializer(model.service_model.resolved_protocol, False).serialize_to_request(
        typed, model
    )
    return made


def parsed(model: OperationModel, status: int, headers: dict[str, str], body: bytes) -> dict[str, Any]:
    """The answer's output shape."""
    wire = {"status_code": status, "headers": headers, "body": body}
    output: dict[str, Any] = create_parser(model.service_model.resolved_protocol).parse(wire, model.output_shape)
    return output


def coerce(shape: Shape, value: Any) -> Any:
    """``value`` with text turned into the numbers and booleans that ``shape`` wants, and None left out."""
    if isinstance(shape, StructureShape) and isinstance(value, dict) and not shape.is_document_type:
        members = shape.members
        return {
            name: coerce(members[name], item) if name in members else item
            for name, item in value.items()
            if item is not None
        }
    if isinstance(shape, ListShape) and isinstance(value, list):
        return [coerce(shape.member, item) for item in value]
    if isinstance(shape, MapShape) and isinstance(value, dict):
        return {str(name): coerce(shape.value, item) for name, item in value.items() if item is not None}
    return _scalar(shape.type_name, value)


def _scalar(kind: str, value: Any) -> Any:
    if kind in ("integer", "long") and isinstance(value, str):
        return int(value)
    if kind in ("float", "double") and isinstance(value, str):
        return float(value)
    if kind == "boolean" and isinstance(value, str):
        return value.lower() == "true"
    if kind == "string" and isinstance(value, bool):
        return "true" if value else "false"
    if kind == "string" and isinstance(value, int | float):
        return str(value)
    return value
