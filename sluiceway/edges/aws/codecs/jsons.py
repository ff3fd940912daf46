"""JSON documents by the model: readers and writers, made once per shape."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson

from sluiceway.edges.aws.codecs import scalars
from sluiceway.edges.aws.codecs.by_shape import ByShape
from sluiceway.edges.aws.codecs.model import ListShape, MapShape, Shape, StructureShape
from sluiceway.edges.aws.codecs.scalars import wrong
from sluiceway.errors import Invalid

Reader = Callable[[Any], Any]
Writer = Callable[[Any], Any]


def loads(body: bytes) -> Any:
    """Parse a body; an empty one is {}. Raises ``Invalid("serialization")``."""
    if not body:
        return {}
    try:
        return orjson.loads(body)
    except (orjson.JSONDecodeError, RecursionError):
        raise wrong("The request's body is not valid JSON.") from None


def dumps(value: Any) -> bytes:
    """A document's bytes."""
    return orjson.dumps(value)


def missing(name: str) -> Invalid:
    """The error for a required member that is not there."""
    spelled = name[:1].lower() + name[1:]
    return Invalid(
        "validation",
        f"1 validation error detected: Value null at '{spelled}' failed to satisfy constraint: Member must not be null",
    )


class JsonReaders(ByShape[Reader]):
    """JSON value -> typed value."""

    def _structure(self, shape: StructureShape) -> Reader:
        return _as_it_is if shape.is_document_type else super()._structure(shape)

    def _scalar(self, shape: Shape) -> Reader:
        return _SCALAR_READERS.get(shape.type_name, _text)

    def members(self, shape: StructureShape, names: tuple[str, ...]) -> Reader:
        """A reader of some of a structure's members."""
        fields = {
            shape.members[name].serialization.get("name", name): (name, self.of(shape.members[name])) for name in names
        }
        required = tuple(name for name in shape.required_members if name in names)

        def read(value: Any) -> dict[str, Any]:
            if not isinstance(value, dict):
                raise wrong(f"{shape.name} must be a JSON object.")
            result = {}
            for key, item in value.items():
                field = fields.get(key)
                if field is not None and item is not None:
                    result[field[0]] = field[1](item)
            for name in required:
                if name not in result:
                    raise missing(name)
            return result

        return read

    def _list(self, shape: ListShape) -> Reader:
        member = self.of(shape.member)

        def read(value: Any) -> list[Any]:
            if not isinstance(value, list):
                raise wrong(f"{shape.name} must be a JSON array.")
            return [member(item) for item in value if item is not None]

        return read

    def _map(self, shape: MapShape) -> Reader:
        member = self.of(shape.value)

        def read(value: Any) -> dict[str, Any]:
            if not isinstance(value, dict):
                raise wrong(f"{shape.name} must be a JSON object.")
            return {key: member(item) for key, item in value.items() if item is not None}

        return read


def _as_it_is(value: Any) -> Any:
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise wrong("A value that must be text is none.")
    return value


def _int(value: Any) -> int:
    """32 bits (Smithy, "Simple types")."""
    return _whole(value, 1 << 31)


def _long(value: Any) -> int:
    """64 bits."""
    return _whole(value, 1 << 63)


def _whole(value: Any, bound: int) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not -bound <= value < bound:
        raise wrong("A value that must be an integer is none, or is out of range.")
    return value


def _float(value: Any) -> float:
    if isinstance(value, str):
        return scalars.text_to_float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise wrong("A value that must be a number is none.")
    return float(value)


def _bool(value: Any) -> bool:
    if not isinstance(value, bool):
        raise wrong("A value that must be true or false is neither.")
    return value


_SCALAR_READERS: Final[Mapping[str, Reader]] = {
    "blob": scalars.text_to_bytes,
    "boolean": _bool,
    "double": _float,
    "float": _float,
    "integer": _int,
    "long": _long,
    "timestamp": scalars.number_to_time,
}


class JsonWriters(ByShape[Writer]):
    """Typed value -> JSON value."""

    def _structure(self, shape: StructureShape) -> Writer:
        return _as_it_is if shape.is_document_type else super()._structure(shape)

    def _list(self, shape: ListShape) -> Writer:
        member = self.of(shape.member)
        return lambda value: [member(item) for item in value]

    def _map(self, shape: MapShape) -> Writer:
        member = self.of(shape.value)
        return lambda value: {key: member(item) for key, item in value.items() if item is not None}

    def _scalar(self, shape: Shape) -> Writer:
        if shape.type_name == "timestamp":
            form = shape.serialization.get("timestampFormat", "unixTimestamp")
            return scalars.time_to_number if form == "unixTimestamp" else scalars.time_writer(form)
        if shape.type_name == "blob":
            return scalars.bytes_to_text
        return _as_it_is

    def members(self, shape: StructureShape, names: tuple[str, ...]) -> Writer:
        """A writer of some of a structure's members."""
        fields = {
            name: (shape.members[name].serialization.get("name", name), self.of(shape.members[name])) for name in names
        }

        def write(value: Any) -> dict[str, Any]:
            result = {}
            for name, item in value.items():
                field = fields.get(name)
                if field is not None and item is not None:
                    result[field[0]] = field[1](item)
            return result

        return write
