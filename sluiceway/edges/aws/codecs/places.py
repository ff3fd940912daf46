"""Where the REST protocols put members besides the body: path, query string, headers, status."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import orjson

from sluiceway.edges.aws.codecs import scalars
from sluiceway.edges.aws.codecs.model import ListShape, MapShape, OperationModel, Shape, StructureShape
from sluiceway.edges.aws.codecs.routes import Route
from sluiceway.edges.aws.codecs.scalars import wrong
from sluiceway.edges.http import Headers


@dataclass(frozen=True, slots=True)
class Wire:
    """A request as it came. ``path`` is undecoded."""

    path: str
    query: list[tuple[str, str]]
    headers: Headers
    body: bytes


Binding = Callable[[Wire, dict[str, Any]], None]  # reads one member into the result


def body_members(shape: StructureShape) -> tuple[str, ...]:
    """Members without another place."""
    return tuple(name for name, member in shape.members.items() if "location" not in member.serialization)


def bindings(operation: OperationModel, route: Route) -> list[Binding]:
    """Readers of every member outside the body."""
    shape = operation.input_shape
    if shape is None:
        return []
    made: list[Binding] = []
    labels = {}
    taken = {
        member.serialization.get("name", name)
        for name, member in shape.members.items()
        if member.serialization.get("location") == "querystring" and not isinstance(member, MapShape)
    } | set(route.query)
    for name, member in shape.members.items():
        wire = str(member.serialization.get("name", name))
        location = member.serialization.get("location")
        if location == "uri":
            labels[wire] = (name, scalars.text_reader(member))
        elif location == "querystring":
            made.append(_query(name, wire, member, taken))
        elif location == "header":
            made.append(_header(name, wire.lower(), member))
        elif location == "headers":
            made.append(_headers(name, wire.lower()))
    if labels:
        made.append(_labels(labels, route))
    return made


def _labels(labels: dict[str, tuple[str, scalars.TextReader]], route: Route) -> Binding:
    def read(wire: Wire, result: dict[str, Any]) -> None:
        for label, raw in route.labels(wire.path).items():
            if label in labels:
                name, reader = labels[label]
                result[name] = reader(unquote(raw, errors="strict"))

    return read


def _query(name: str, wire_name: str, member: Shape, taken: set[str]) -> Binding:
    if isinstance(member, MapShape):
        many = isinstance(member.value, ListShape)

        def read_map(wire: Wire, result: dict[str, Any]) -> None:
            found: dict[str, Any] = {}
            for key, value in wire.query:
                if key not in taken and many:
                    found.setdefault(key, []).append(value)
                elif key not in taken:
                    found[key] = value
            if found:
                result[name] = found

        return read_map
    if isinstance(member, ListShape):
        item = scalars.text_reader(member.member)

        def read_list(wire: Wire, result: dict[str, Any]) -> None:
            values = [item(value) for key, value in wire.query if key == wire_name]
            if values:
                result[name] = values

        return read_list
    reader = scalars.text_reader(member)

    def read(wire: Wire, result: dict[str, Any]) -> None:
        for key, value in wire.query:
            if key == wire_name:
                result[name] = reader(value)
                return

    return read


def _header(name: str, wire_name: str, member: Shape) -> Binding:
    reader = _header_reader(member)

    def read(wire: Wire, result: dict[str, Any]) -> None:
        if wire_name in wire.headers:
            result[name] = reader(wire.headers.get(wire_name))

    return read


def _header_reader(member: Shape) -> scalars.TextReader:
    if member.serialization.get("jsonvalue"):
        return _json_value
    if isinstance(member, ListShape):
        item = scalars.text_reader(member.member)
        return lambda text: [item(part.strip().strip('"')) for part in text.split(",") if part.strip()]
    return scalars.text_reader(member)


def _json_value(text: str) -> Any:
    try:
        return orjson.loads(base64.b64decode(text))
    except ValueError:
        raise wrong("A header that must be base64 of JSON is none.") from None


def _headers(name: str, prefix: str) -> Binding:
    def read(wire: Wire, result: dict[str, Any]) -> None:
        found = {
            key.removeprefix(prefix): value for key, value in wire.headers.as_dict().items() if key.startswith(prefix)
        }
        if found:
            result[name] = found

    return read


@dataclass(frozen=True, slots=True)
class Placed:
    """Where an output's members go outside the body."""

    headers: tuple[tuple[str, str, scalars.TextWriter], ...]  # member, header, writer
    prefixes: tuple[tuple[str, str], ...]  # member, header prefix
    status: str | None

    def apply(self, output: dict[str, Any], status: int) -> tuple[int, list[tuple[str, str]]]:
        """The status and headers of ``output``."""
        made: list[tuple[str, str]] = []
        for name, wire, write in self.headers:
            value = output.get(name)
            if value is not None:
                made.append((wire, write(value)))
        for name, prefix in self.prefixes:
            made += [(f"{prefix}{key}", str(value)) for key, value in (output.get(name) or {}).items()]
        if self.status is not None and output.get(self.status) is not None:
            status = int(output[self.status])
        return status, made


def placed(shape: StructureShape | None) -> Placed:
    """The places of an output shape."""
    headers, prefixes, status = [], [], None
    for name, member in shape.members.items() if shape is not None else ():
        wire = str(member.serialization.get("name", name))
        location = member.serialization.get("location")
        if location == "header":
            headers.append((name, wire, _header_writer(member)))
        elif location == "headers":
            prefixes.append((name, wire))
        elif location == "statusCode":
            status = name
    return Placed(tuple(headers), tuple(prefixes), status)


def _header_writer(member: Shape) -> scalars.TextWriter:
    if member.serialization.get("jsonvalue"):
        return lambda value: base64.b64encode(orjson.dumps(value)).decode("ascii")
    if isinstance(member, ListShape):
        item = scalars.text_writer(member.member, "rfc822")
        return lambda value: ",".join(item(part) for part in value)
    return scalars.text_writer(member, "rfc822")
