"""The query protocol's parameters by the model: ``Attributes.entry.1.key=...`` becomes a typed value.

Rules: Smithy, "AWS query protocol".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from sluiceway.edges.aws.codecs import scalars
from sluiceway.edges.aws.codecs.by_shape import ByShape
from sluiceway.edges.aws.codecs.jsons import missing
from sluiceway.edges.aws.codecs.model import ListShape, MapShape, Shape, StructureShape
from sluiceway.edges.aws.codecs.scalars import wrong

DEPTH_MAX: Final = 40  # dots in a parameter's name
BRANCHES_MAX: Final = 50_000  # parts of all names; each takes about 300 bytes


@dataclass(slots=True)
class Branch:
    """Parameters whose names go on after a common beginning, and the value of the one that ends here."""

    value: str | None = None
    children: dict[str, Branch] = field(default_factory=dict)

    def numbered(self) -> list[Branch]:
        """Children named 1, 2, 3, ... in their order."""
        found = [(int(name), child) for name, child in self.children.items() if _is_number(name)]
        return [child for _, child in sorted(found, key=lambda item: item[0])]


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdigit() and len(name) < 10


Reader = Callable[[Branch], Any]


def tree(pairs: Iterable[tuple[str, str]]) -> Branch:
    """All parameters by their names' parts."""
    root, size = Branch(), 0
    for name, value in pairs:
        parts = name.split(".")
        size += len(parts)
        if len(parts) > DEPTH_MAX:
            raise wrong("A parameter's name is nested too deeply.")
        if size > BRANCHES_MAX:
            raise wrong("The request has too many parameters.")
        branch = root
        for part in parts:
            branch = branch.children.setdefault(part, Branch())
        branch.value = value
    return root


class FormReaders(ByShape[Reader]):
    """Parameters -> typed value."""

    def _scalar(self, shape: Shape) -> Reader:
        read = scalars.text_reader(shape)

        def read_scalar(branch: Branch) -> Any:
            if branch.value is None:
                raise wrong("A parameter has parts where a plain value is wanted.")
            return read(branch.value)

        return read_scalar

    def members(self, shape: StructureShape, names: tuple[str, ...]) -> Reader:
        """A reader of some of a structure's members."""
        chosen = [(name, shape.members[name]) for name in names]
        fields = [(name, _names(name, member), self.of(member)) for name, member in chosen]
        required = frozenset(shape.required_members)
        empty = {name: empty_of(member) for name, member in chosen}

        def read(branch: Branch) -> dict[str, Any]:
            result = {}
            for name, wires, member in fields:
                for wire in wires:
                    child = branch.children.get(wire)
                    if child is not None:
                        result[name] = member(child)
                        break
                else:
                    if name in required:
                        result[name] = empty[name](name)
            return result

        return read

    def _list(self, shape: ListShape) -> Reader:
        member = self.of(shape.member)
        inner = None if shape.serialization.get("flattened") else shape.member.serialization.get("name", "member")

        def read(branch: Branch) -> list[Any]:
            place = branch if inner is None else branch.children.get(inner)
            return [member(child) for child in place.numbered()] if place is not None else []

        return read

    def _map(self, shape: MapShape) -> Reader:
        value_reader = self.of(shape.value)
        flat = shape.serialization.get("flattened")
        key_name = shape.key.serialization.get("name", "key")
        value_name = shape.value.serialization.get("name", "value")

        def read(branch: Branch) -> dict[str, Any]:
            place = branch if flat else branch.children.get("entry")
            result = {}
            for entry in place.numbered() if place is not None else []:
                key, value = entry.children.get(key_name), entry.children.get(value_name)
                if key is None or key.value is None or value is None:
                    raise wrong(f"An entry of a map needs {key_name} and {value_name}.")
                result[key.value] = value_reader(value)
            return result

        return read


def empty_of(member: Shape) -> Callable[[str], Any]:
    """What stands for a required member that is not there: forms and flattened XML can't write an empty list."""
    if isinstance(member, ListShape):
        return lambda name: []
    if isinstance(member, MapShape):
        return lambda name: {}

    def refuse(name: str) -> Any:
        raise missing(name)

    return refuse


def _names(name: str, member: Shape) -> tuple[str, ...]:
    """What a member may be called: a flattened list goes by its items' name, if they have one, else by the member's
    name on the wire, else by its own (clients of SQS sent both ``Tag.1.Key`` and ``Tags.1.Key``)."""
    own = str(member.serialization.get("name", name))
    if isinstance(member, ListShape) and member.serialization.get("flattened"):
        inner = member.member.serialization.get("name")
        if inner is not None and inner != own:
            return (str(inner), own)
    return (own,) if own == name else (own, name)
