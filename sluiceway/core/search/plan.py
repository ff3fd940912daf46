"""Queries as an index sees them: fields are columns, texts are words, values have their columns' types."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class All:
    """Every document, with score 1."""


@dataclass(frozen=True, slots=True)
class Nothing:
    """No document."""


@dataclass(frozen=True, slots=True)
class Term:
    """Documents with this word or value, scored by how rare it is."""

    column: str
    value: Any


@dataclass(frozen=True, slots=True)
class Terms:
    """Documents with one of these values, with score 1."""

    column: str
    values: Sequence[Any]


@dataclass(frozen=True, slots=True)
class Range:
    """Documents with a value between the bounds, with score 1."""

    column: str
    low: Any = None
    high: Any = None
    low_included: bool = True
    high_included: bool = True


@dataclass(frozen=True, slots=True)
class Phrase:
    """Documents with these (place, word) pairs in this order, ``slop`` moves apart at most. ``prefix``: the last
    word only has to begin so."""

    column: str
    words: Sequence[tuple[int, str]]
    slop: int = 0
    prefix: bool = False


@dataclass(frozen=True, slots=True)
class Fuzzy:
    """Documents with a word at most ``distance`` edits away."""

    column: str
    word: str
    distance: int
    prefix: int = 0


@dataclass(frozen=True, slots=True)
class Pattern:
    """Documents with a word or value that the regular expression matches whole, with score 1."""

    column: str
    regex: str


@dataclass(frozen=True, slots=True)
class Exists:
    """Documents with a value in one of these fields (their paths), with score 1."""

    paths: Sequence[str]


@dataclass(frozen=True, slots=True)
class Ids:
    """Documents with these ids, with score 1."""

    ids: Sequence[str]


@dataclass(frozen=True, slots=True)
class Bool:
    """All of ``must`` and ``filter`` (which doesn't count for the score), none of ``must_not``, and ``minimum`` of
    ``should``."""

    must: Sequence[Plan] = ()
    should: Sequence[Plan] = ()
    must_not: Sequence[Plan] = ()
    filter: Sequence[Plan] = ()
    minimum: int = 0


@dataclass(frozen=True, slots=True)
class Best:
    """Documents that one of ``plans`` matches, with the best score plus ``tie`` times the others'."""

    plans: Sequence[Plan]
    tie: float = 0.0


@dataclass(frozen=True, slots=True)
class Boost:
    """The scores of ``plan``, multiplied."""

    plan: Plan
    factor: float


@dataclass(frozen=True, slots=True)
class Constant:
    """The matches of ``plan``, all with this score."""

    plan: Plan
    score: float


Plan = All | Nothing | Term | Terms | Range | Phrase | Fuzzy | Pattern | Exists | Ids | Bool | Best | Boost | Constant
