"""A function for every shape, made of those for the shapes within it: what readers and writers of all formats share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Generic, TypeVar, cast

from sluiceway.edges.aws.codecs.model import ListShape, MapShape, Shape, StructureShape

F = TypeVar("F", bound=Callable[..., Any])


class ByShape(ABC, Generic[F]):
    """A structure's function is made once. While it is made, a structure within it that is the same gets one that calls
    it: shapes may hold themselves."""

    def __init__(self) -> None:
        self._structures: dict[str, F] = {}

    def of(self, shape: Shape) -> F:
        """The function for ``shape``."""
        if isinstance(shape, StructureShape):
            return self._structure(shape)
        if isinstance(shape, ListShape):
            return self._list(shape)
        if isinstance(shape, MapShape):
            return self._map(shape)
        return self._scalar(shape)

    def _structure(self, shape: StructureShape) -> F:
        known = self._structures.get(shape.name)
        if known is not None:
            return known
        made: list[F] = []
        self._structures[shape.name] = cast(F, lambda *given: made[0](*given))
        made.append(self.members(shape, tuple(shape.members)))
        self._structures[shape.name] = made[0]
        return made[0]

    @abstractmethod
    def members(self, shape: StructureShape, names: tuple[str, ...]) -> F:
        """The function for some of a structure's members."""

    @abstractmethod
    def _list(self, shape: ListShape) -> F: ...

    @abstractmethod
    def _map(self, shape: MapShape) -> F: ...

    @abstractmethod
    def _scalar(self, shape: Shape) -> F: ...
