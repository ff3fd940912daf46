"""The order of hits: what is compared for a sort key."""

from __future__ import annotations

from collections.abc import Sequence
from functools import total_ordering
from typing import Any

from sluiceway.core.search.index import SortKey


@total_ordering
class _Reversed:
    """A text in descending order."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Reversed) and bool(self.value == other.value)

    def __lt__(self, other: _Reversed) -> bool:
        return bool(other.value < self.value)


def place(value: Any, key: SortKey) -> tuple[int, Any]:
    """Documents without a value stand before or behind all others, whichever the direction."""
    if value is None:
        return (-1 if key.first else 1), 0
    if not key.descending:
        return 0, value
    return 0, (_Reversed(value) if isinstance(value, str) else -value)


def places(values: Sequence[Any], keys: Sequence[SortKey]) -> tuple[tuple[int, Any], ...]:
    """For all keys of a sort."""
    return tuple(place(value, key) for value, key in zip(values, keys, strict=True))
