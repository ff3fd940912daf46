"""botocore's service models, read without botocore.

Of its package only the JSON files are used here: importing its code takes a fifth of a second and 15 MiB, most of it
for a client that the server is not. The names are botocore's own (``botocore.model``), and the tests hold every
operation of every service to its serialisers and parsers.
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import orjson

from sluiceway.errors import NotFound

Json = dict[str, Any]

#: What a shape, or a member that refers to one, says about its place and form on the wire.
_SERIALIZATION: Final = (
    "locationName", "queryName", "flattened", "location", "payload", "streaming", "timestampFormat", "xmlNamespace",
    "resultWrapper", "xmlAttribute", "eventstream", "event", "eventheader", "eventpayload", "jsonvalue", "hostLabel",
)  # fmt: skip
#: The protocols that are here, the most wanted first: some services speak several (botocore has the same order).
_PROTOCOLS: Final = ("json", "rest-json", "rest-xml", "query")


class Shape:
    """A type. ``serialization`` has the name on the wire under "name"."""

    def __init__(self, name: str, described: Json, model: ServiceModel) -> None:
        self.name = name
        self.type_name: str = described["type"]
        self._described = described
        self._model = model
        self.serialization: Json = {key: described[key] for key in _SERIALIZATION if key in described}
        if "locationName" in self.serialization:
            self.serialization["name"] = self.serialization.pop("locationName")

    @property
    def metadata(self) -> Json:
        """Everything that is said about it."""
        return self._described


class StructureShape(Shape):
    """Named members."""

    @cached_property
    def members(self) -> Mapping[str, Shape]:
        """In the model's order."""
        members: Json = self._described.get("members", {})
        return {name: self._model.resolve(reference) for name, reference in members.items()}

    @property
    def required_members(self) -> list[str]:
        """Names of those that must be there."""
        return list(self._described.get("required", ()))

    @property
    def is_document_type(self) -> bool:
        """Whether it is any JSON."""
        return bool(self._described.get("document", False))


class ListShape(Shape):
    """Many of one shape."""

    @cached_property
    def member(self) -> Shape:
        """Of each of them."""
        return self._model.resolve(self._described["member"])


class MapShape(Shape):
    """From keys to values."""

    @cached_property
    def key(self) -> Shape:
        """Of each key."""
        return self._model.resolve(self._described["key"])

    @cached_property
    def value(self) -> Shape:
        """Of each value."""
        return self._model.resolve(self._described["value"])


_KINDS: Final[Mapping[str, type[Shape]]] = {"structure": StructureShape, "list": ListShape, "map": MapShape}


class OperationModel:
    """One operation. ``metadata`` is the service's."""

    def __init__(self, name: str, described: Json, model: ServiceModel) -> None:
        self.name = name
        self.http: Json = described.get("http", {})
        self.metadata = model.metadata
        self.input_shape = self._shape(described.get("input"), model)
        self.output_shape = self._shape(described.get("output"), model)

    @staticmethod
    def _shape(reference: Json | None, model: ServiceModel) -> StructureShape | None:
        shape = model.resolve(reference) if reference else None
        assert shape is None or isinstance(shape, StructureShape)
        return shape

    @property
    def has_event_stream_input(self) -> bool:
        """Whether a member of the input is a stream of events."""
        return _streams(self.input_shape)

    @property
    def has_event_stream_output(self) -> bool:
        """Whether a member of the output is one."""
        return _streams(self.output_shape)


def _streams(shape: StructureShape | None) -> bool:
    return shape is not None and any("eventstream" in member.serialization for member in shape.members.values())


class ServiceModel:
    """A service's model, as its file has it."""

    def __init__(self, described: Json) -> None:
        self.described = described
        self.metadata: Json = described["metadata"]
        self._operations: Json = described["operations"]
        self._shapes: Json = described["shapes"]
        self.operation_names = list(self._operations)

    @property
    def resolved_protocol(self) -> str:
        """What is spoken here."""
        spoken = self.metadata.get("protocols") or [self.metadata["protocol"]]
        return next(protocol for protocol in _PROTOCOLS if protocol in spoken)

    @property
    def error_shapes(self) -> list[StructureShape]:
        """Those of exceptions."""
        named = [name for name, described in self._shapes.items() if described.get("exception")]
        shapes = [self.resolve({"shape": name}) for name in named]
        return [shape for shape in shapes if isinstance(shape, StructureShape)]

    def operation_model(self, name: str) -> OperationModel:
        """Raises ``KeyError``."""
        return OperationModel(name, self._operations[name], self)

    def resolve(self, reference: Json) -> Shape:
        """The shape that is referred to; what the reference says of itself goes before what the shape says."""
        name = reference["shape"]
        described = {**self._shapes[name], **{key: value for key, value in reference.items() if key != "shape"}}
        return _KINDS.get(described["type"], Shape)(name, described, self)


def load(service: str) -> ServiceModel:
    """The newest model of ``service`` (botocore's name: "sqs", "apigatewayv2"). Raises ``NotFound("service")``."""
    spec = find_spec("botocore")
    folder = Path(spec.submodule_search_locations[0] if spec and spec.submodule_search_locations else "") / "data"
    versions = sorted(folder.glob(f"{service}/*/service-2.json*"))
    if not versions:
        raise NotFound("service", f"There is no model of {service}.")
    described = _read(versions[-1])
    more = versions[-1].parent / "service-2.sdk-extras.json"
    if more.exists():
        _merge(described, _read(more).get("merge", {}))
    return ServiceModel(_slim(described))


def _read(file: Path) -> Json:
    data = file.read_bytes()
    read: Json = orjson.loads(gzip.decompress(data) if file.suffix == ".gz" else data)
    return read


def _merge(into: Json, more: Json) -> None:
    for key, value in more.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


def _slim(described: Any) -> Any:
    """Without the documentation, which is most of it, and nobody reads here."""
    if isinstance(described, list):
        return [_slim(one) for one in described]
    if isinstance(described, dict):
        return {
            key: _slim(value) for key, value in described.items() if key != "documentation" or isinstance(value, dict)
        }
    return described
