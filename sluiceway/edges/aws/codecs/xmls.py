"""XML documents by the model. Parsing refuses document types and entities and is bounded in depth."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final
from xml.parsers import expat

from sluiceway.edges.aws.codecs import scalars
from sluiceway.edges.aws.codecs.by_shape import ByShape
from sluiceway.edges.aws.codecs.forms import empty_of
from sluiceway.edges.aws.codecs.model import ListShape, MapShape, Shape, StructureShape
from sluiceway.errors import Invalid

DEPTH_MAX: Final = 64
ELEMENTS_MAX: Final = 100_000  # a multipart upload's completion has 10,000 parts of up to 8 elements; takes 0.3 s
_ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_SPECIAL = re.compile(f'{_ILLEGAL.pattern[:-1]}&<>"\r]')  # what can't be written as it is
_ESCAPES: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\r": "&#13;"})
_XSI: Final = ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'


@dataclass(slots=True)
class Node:
    """An element: its name without namespace, attributes as written, children, and text."""

    name: str
    attributes: dict[str, str]
    children: list[Node] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The character data."""
        return "".join(self.parts)


#: What is written of these has no characters that XML gives a meaning.
_NEVER_ESCAPED: Final = frozenset({"blob", "boolean", "double", "float", "integer", "long", "timestamp"})

Reader = Callable[[Node], Any]
Writer = Callable[[list[str], str, Any], None]  # (output, element name, value)


def malformed(
    why: str = "The XML you provided was not well-formed or did not validate against our published schema",
) -> Invalid:
    """The error for XML that can't be read."""
    return Invalid("xml", why)


def parse(body: bytes) -> Node:
    """The root element. Raises ``Invalid("xml")``."""
    stack: list[Node] = []
    roots: list[Node] = []
    left = iter(range(ELEMENTS_MAX))
    parser = expat.ParserCreate()
    parser.buffer_text = True

    def begin(name: str, attributes: dict[str, str]) -> None:
        if len(stack) >= DEPTH_MAX:
            raise malformed("The XML you provided is nested too deeply.")
        if next(left, None) is None:
            raise malformed("The XML you provided has too many elements.")
        node = Node(name.rpartition(":")[2], attributes)
        (stack[-1].children if stack else roots).append(node)
        stack.append(node)

    def refuse(*_: Any) -> None:
        raise malformed("Document types and entities are not allowed.")

    parser.StartElementHandler = begin
    parser.EndElementHandler = lambda _: stack.pop()
    parser.CharacterDataHandler = lambda text: stack[-1].parts.append(text)
    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    try:
        parser.Parse(body, True)
    except (expat.ExpatError, ValueError, LookupError):  # LookupError: an encoding that nobody has heard of
        raise malformed() from None
    return roots[0]


class XmlReaders(ByShape[Reader]):
    """Element -> typed value."""

    def _scalar(self, shape: Shape) -> Reader:
        read = scalars.text_reader(shape)
        return lambda node: read(node.text if shape.type_name == "string" else node.text.strip())

    def members(self, shape: StructureShape, names: tuple[str, ...]) -> Reader:
        """A reader of some of a structure's members."""
        attributes: list[tuple[str, str]] = []
        elements: dict[str, tuple[str, Reader, bool]] = {}
        for name in names:
            member = shape.members[name]
            wire: str = member.serialization.get("name", name)
            if member.serialization.get("xmlAttribute"):
                attributes.append((name, wire))
            elif member.serialization.get("flattened") and isinstance(member, ListShape):
                row = (name, self.of(member.member), True)
                elements[wire] = row
                elements.setdefault(member.member.serialization.get("name", wire), row)
            elif member.serialization.get("flattened") and isinstance(member, MapShape):
                elements[wire] = (name, self._entry(member), True)
            else:
                # Some shapes keep an outdated single member under the name of the list that replaced it.
                elements.setdefault(wire, (name, self.of(member), False))
        required = tuple((name, empty_of(shape.members[name])) for name in shape.required_members if name in names)

        def read(node: Node) -> dict[str, Any]:
            result: dict[str, Any] = {}
            for name, wire in attributes:
                if wire in node.attributes:
                    result[name] = node.attributes[wire]
            for child in node.children:
                found = elements.get(child.name)
                if found is None:
                    continue
                name, member_reader, many = found
                value = member_reader(child)
                if not many:
                    result[name] = value
                elif isinstance(value, _Entry):
                    result.setdefault(name, {})[value.key] = value.value
                else:
                    result.setdefault(name, []).append(value)
            for name, empty in required:
                if name not in result:
                    result[name] = empty(name)
            return result

        return read

    def _list(self, shape: ListShape) -> Reader:
        member = self.of(shape.member)
        return lambda node: [member(child) for child in node.children]

    def _map(self, shape: MapShape) -> Reader:
        entry = self._entry(shape)

        def read(node: Node) -> dict[str, Any]:
            entries = [entry(child) for child in node.children]
            return {item.key: item.value for item in entries}

        return read

    def _entry(self, shape: MapShape) -> Callable[[Node], _Entry]:
        key_name = shape.key.serialization.get("name", "key")
        value_name = shape.value.serialization.get("name", "value")
        value_reader = self.of(shape.value)

        def read(node: Node) -> _Entry:
            children = {child.name: child for child in node.children}
            if key_name not in children or value_name not in children:
                raise malformed()
            return _Entry(children[key_name].text, value_reader(children[value_name]))

        return read


@dataclass(frozen=True, slots=True)
class _Entry:
    key: str
    value: Any


def escape(text: str) -> str:
    """Character data; what XML 1.0 can't carry becomes U+FFFD."""
    if _SPECIAL.search(text) is None:  # nearly all there is; a page of a listing has thousands of texts
        return text
    return _ILLEGAL.sub("�", text).translate(_ESCAPES)


class XmlWriters:
    """Makes writers of elements; recursive shapes refer to themselves."""

    def __init__(self) -> None:
        self._structures: dict[str, Callable[[list[str], Any], None]] = {}

    def writer(self, shape: Shape) -> Writer:
        """Writes an element of the given name."""
        if isinstance(shape, StructureShape):
            return self._structure(shape)
        if isinstance(shape, ListShape):
            return self._list(shape)
        if isinstance(shape, MapShape):
            return self._map(shape)
        write_text = scalars.text_writer(shape, "iso8601")
        if shape.type_name in _NEVER_ESCAPED:
            return lambda out, name, value: out.append(f"<{name}>{write_text(value)}</{name}>")

        def write(out: list[str], name: str, value: Any) -> None:
            out.append(f"<{name}>{escape(write_text(value))}</{name}>")

        return write

    def _structure(self, shape: StructureShape) -> Writer:
        content = self.content(shape, tuple(shape.members))
        attributes = [
            (name, member.serialization.get("name", name))
            for name, member in shape.members.items()
            if member.serialization.get("xmlAttribute")
        ]

        def write(out: list[str], name: str, value: Any) -> None:
            opening = "".join(
                f'{_XSI if wire.startswith("xsi:") else ""} {wire}="{escape(str(value[member]))}"'
                for member, wire in attributes
                if value.get(member) is not None
            )
            out.append(f"<{name}{opening}>")
            content(out, value)
            out.append(f"</{name}>")

        return write

    def content(self, shape: StructureShape, names: tuple[str, ...]) -> Callable[[list[str], Any], None]:
        """Writes some of a structure's members, without an element around them."""
        whole = len(names) == len(shape.members)
        known = self._structures.get(shape.name) if whole else None
        if known is not None:
            return known
        made: list[Callable[[list[str], Any], None]] = []
        if whole:
            self._structures[shape.name] = lambda out, value: made[0](out, value)
        fields = {
            name: (_element_name(name, shape.members[name]), self.writer(shape.members[name]))
            for name in names
            if not shape.members[name].serialization.get("xmlAttribute")
        }

        def write(out: list[str], value: Any) -> None:
            for name, (wire, member_writer) in fields.items():
                item = value.get(name)
                if item is not None:
                    member_writer(out, wire, item)

        made.append(write)
        if whole:
            self._structures[shape.name] = write
        return write

    def _list(self, shape: ListShape) -> Writer:
        member = self.writer(shape.member)
        if shape.serialization.get("flattened"):

            def write_flat(out: list[str], name: str, value: Any) -> None:
                for item in value:
                    member(out, name, item)

            return write_flat
        inner = shape.member.serialization.get("name", "member")

        def write(out: list[str], name: str, value: Any) -> None:
            out.append(f"<{name}>")
            for item in value:
                member(out, inner, item)
            out.append(f"</{name}>")

        return write

    def _map(self, shape: MapShape) -> Writer:
        key_name = shape.key.serialization.get("name", "key")
        value_name = shape.value.serialization.get("name", "value")
        value_writer = self.writer(shape.value)
        flat = shape.serialization.get("flattened")

        def write(out: list[str], name: str, value: Any) -> None:
            entry = name if flat else "entry"
            if not flat:
                out.append(f"<{name}>")
            for key, item in value.items():
                out.append(f"<{entry}><{key_name}>{escape(str(key))}</{key_name}>")
                value_writer(out, value_name, item)
                out.append(f"</{entry}>")
            if not flat:
                out.append(f"</{name}>")

        return write


def _element_name(name: str, member: Shape) -> str:
    if isinstance(member, ListShape) and member.serialization.get("flattened"):
        inner = member.member.serialization.get("name")
        if inner is not None:
            return str(inner)
    return str(member.serialization.get("name", name))
