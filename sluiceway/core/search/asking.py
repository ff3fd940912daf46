"""What the parts of a query's translation share: the fields, the analyzer, the time, and how much is allowed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from sluiceway.core.search.index import Token
from sluiceway.core.search.mapping import Fields, Leaf
from sluiceway.errors import Invalid

Analyze = Callable[[str, str], Sequence[Token]]


@dataclass(slots=True)
class Asking:
    """One query. ``analyze`` is ``SearchIndexes.analyze``."""

    fields: Fields
    analyze: Analyze
    now_ms: int
    clauses_max: int
    terms_max: int
    depth_max: int
    clauses: int = field(default=0)

    def count(self, more: int = 1) -> None:
        """Clauses are counted where they are made. Raises ``Invalid("query")`` when they are too many."""
        self.clauses += more
        if self.clauses > self.clauses_max:
            raise Invalid("query", f"too_many_clauses: maxClauseCount is set to {self.clauses_max}")

    def searchable(self, patterns: Sequence[str]) -> list[tuple[Leaf, float]]:
        """Fields of names, ``*`` patterns and ``^boosts``."""
        found: dict[str, tuple[Leaf, float]] = {}
        for pattern in patterns:
            name, _, factor = str(pattern).partition("^")
            boost = number(factor, "boost") if factor else 1.0
            if "*" in name:
                wanted = [leaf for leaf in self.fields.leaves() if leaf.column and fnmatchcase(leaf.path, name)]
            else:
                leaf = self.fields.find(name)
                wanted = [leaf] if leaf is not None and leaf.column else []
            found.update((leaf.path, (leaf, boost)) for leaf in wanted)
        self.count(len(found))
        return list(found.values())


def only(value: Any, query: str) -> tuple[str, Any]:
    """The one member of an object. Raises ``Invalid("query")``."""
    if not isinstance(value, Mapping) or len(value) != 1:
        raise Invalid("query", f"[{query}] query malformed, expected an object with one field")
    name, inner = next(iter(value.items()))
    return str(name), inner


def options(value: Any, query: str, known: frozenset[str]) -> Mapping[str, Any]:
    """An object with known members only. Raises ``Invalid("query")``."""
    if not isinstance(value, Mapping):
        raise Invalid("query", f"[{query}] query malformed, no start_object after query name")
    for name in value:
        if name not in known and name != "_name":
            raise Invalid("query", f"[{query}] query does not support [{str(name)[:100]}]")
    return value


def number(value: Any, name: str) -> float:
    """A number that is finite and not negative. Raises ``Invalid("query")``."""
    try:
        found = float(value)
    except (TypeError, ValueError):
        raise Invalid("query", f"[{name}] must be a number, not [{str(value)[:100]}]") from None
    if not 0 <= found < 1e30 or isinstance(value, bool):
        raise Invalid("query", f"[{name}] must be a number from 0, not [{str(value)[:100]}]")
    return found


def flag(value: Any, name: str) -> bool:
    """A boolean, also as text. Raises ``Invalid("query")``."""
    if value in (True, "true", ""):
        return True
    if value in (False, "false"):
        return False
    raise Invalid(
        "query", f"Failed to parse value [{str(value)[:100]}] as only [true] or [false] are allowed for [{name}]"
    )


def whole(value: Any, name: str, low: int, high: int) -> int:
    """An integer in a range. Raises ``Invalid("query")``."""
    try:
        found = int(value)
    except (TypeError, ValueError):
        raise Invalid("query", f"[{name}] must be an integer, not [{str(value)[:100]}]") from None
    if not low <= found <= high or isinstance(value, bool):
        raise Invalid("query", f"[{name}] must be from {low} to {high}, not [{found}]")
    return found


def minimum(given: Any, clauses: int) -> int:
    """How many of ``clauses`` must match (Elasticsearch reference 7.10, "minimum_should_match")."""
    text = str(given).strip()
    chosen = "0"
    if "<" not in text:
        chosen = text
    else:
        chosen = str(clauses)
        for part in text.split():
            limit, _, then = part.partition("<")
            if clauses > whole(limit, "minimum_should_match", 0, 1 << 31):
                chosen = then
    percent = chosen.endswith("%")
    count = whole(chosen.rstrip("%"), "minimum_should_match", -(1 << 31), 1 << 31)
    if percent:
        share = int(clauses * abs(count) / 100)
        count = share if count >= 0 else clauses - share
    elif count < 0:
        count += clauses
    return max(0, count)
