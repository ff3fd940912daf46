"""PORT: full-text indices. What they hold is derived from documents elsewhere and can be made again from them.

A document's values stand in *columns*, named by a kind and a number: ``t0`` (analysed text), ``k0`` (exact text),
``i0`` (integers, also dates in milliseconds and booleans), ``f0`` (floating point). A mapping gives each of its
fields a column and never takes it back, so an index needs no new schema when a mapping grows a little.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from sluiceway.core.search.plan import Plan

Kind = Literal["t", "k", "i", "f"]
Scalar = str | int | float


@dataclass(frozen=True, slots=True)
class Token:
    """One word of a text: what is indexed, its place among the words, and where it stands in the text."""

    text: str
    position: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Text:
    """A value of a ``t`` column, and how it is cut into words (see ``core.search.analysis``)."""

    value: str
    analyzer: str


@dataclass(frozen=True, slots=True)
class Change:
    """A document's present state, or that it is gone (``source`` is None). ``columns`` are its values by column,
    ``paths`` every field that it has a value in."""

    id: str
    sequence: int = 0
    version: int = 0
    source: str | None = None
    columns: Mapping[str, Sequence[Scalar | Text]] = field(default_factory=dict)
    paths: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Hit:
    """A document that matched. ``keys`` are what it was sorted by."""

    id: str
    sequence: int
    version: int
    source: str
    score: float | None
    keys: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """``total`` documents matched; ``hits`` are those asked for."""

    total: int
    hits: Sequence[Hit] = ()
    aggregations: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SortKey:
    """``column`` is None for the score. ``first`` puts documents without a value first, ``missing`` gives them one."""

    column: str | None
    descending: bool
    first: bool = False
    missing: Scalar | None = None
    mode: Literal["min", "max"] = "min"


@dataclass(frozen=True, slots=True)
class Search:
    """What is asked of an index. Empty ``sort`` means by score; ``after`` are the keys of the last hit seen.

    ``aggregations`` are in the engine's words, which are Elasticsearch's with columns for fields.
    """

    plan: Plan
    count: int
    sort: Sequence[SortKey] = ()
    after: Sequence[Any] | None = None
    aggregations: Mapping[str, Any] = field(default_factory=dict)


class SearchIndexes(Protocol):
    """All indices, each under a name that is never used again. Blocking: call it on a thread of its own.

    Raises ``errors.Unavailable("search_index")`` when an index can't be used; it then has no position and has to
    be made again.
    """

    def position(self, name: str) -> int | None:
        """The number under which ``apply`` or ``finish`` was last durable; None for an index that has to be made."""

    def fits(self, name: str, columns: Mapping[Kind, int]) -> bool:
        """Whether the index has so many columns of each kind."""

    def begin(self, name: str, columns: Mapping[Kind, int]) -> None:
        """Start a new index beside the present one, which goes on answering until ``finish``."""

    def add(self, name: str, changes: Sequence[Change]) -> None:
        """Put documents into the index begun."""

    def finish(self, name: str, position: int) -> None:
        """Make the index begun durable and the present one."""

    def apply(self, name: str, changes: Sequence[Change], position: int) -> None:
        """All ``changes`` and the position, durable and visible together or not at all."""

    def search(self, name: str, search: Search) -> Found:
        """Raises ``errors.Unavailable("search_index")`` while the index has no position, ``errors.TooLarge("sort")`` when more matches would have to be
        sorted than is allowed, ``errors.Invalid("query")`` for what the engine can't make of a plan."""

    def count(self, name: str) -> int:
        """How many documents the index has."""

    def size_bytes(self, name: str) -> int:
        """Bytes of its files."""

    def analyze(self, analyzer: str, text: str) -> Sequence[Token]:
        """Cut a text into words."""

    def keep(self, names: frozenset[str]) -> None:
        """Delete the files of every other index."""
