"""A search request's body, but for its query: window, sort, source filter, highlighting, aggregations.

(Elasticsearch reference 7.10, "Search API", "Sort search results", "Source filtering", "Highlighting".)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from sluiceway.core.search import dates
from sluiceway.core.search.asking import Asking, flag, only, options, whole
from sluiceway.core.search.index import Scalar, SortKey
from sluiceway.core.search.mapping import FLOATS, Fields, Leaf
from sluiceway.core.search.plan import Bool, Plan
from sluiceway.core.search.query import parse
from sluiceway.core.search.values import number_of, text_of
from sluiceway.errors import Invalid, NotImplementedYet

_KNOWN: Final = frozenset({
    "_source", "aggregations", "aggs", "explain", "from", "highlight", "min_score", "post_filter", "profile", "query",
    "search_after", "seq_no_primary_term", "size", "sort", "stats", "timeout", "terminate_after", "track_scores",
    "track_total_hits", "version",
})  # fmt: skip
_NOT_OFFERED: Final = frozenset({
    "collapse", "docvalue_fields", "ext", "fields", "indices_boost", "knn", "pit", "rank", "rescore", "runtime_mappings",
    "script_fields", "slice", "stored_fields", "suggest",
})  # fmt: skip
_TOTAL_DEFAULT: Final = 10_000


@dataclass(frozen=True, slots=True)
class Order:
    """One part of a sort: the index's key, and the field it comes from (None for the score and for _doc)."""

    key: SortKey
    leaf: Leaf | None


@dataclass(frozen=True, slots=True)
class Marks:
    """How a field is highlighted."""

    path: str
    before: str
    after: str
    fragment_size: int
    fragments: int
    same_field: bool
    no_match_size: int


@dataclass(frozen=True, slots=True)
class Sources:
    """Which part of documents is shown."""

    shown: bool = True
    includes: Sequence[str] = ()
    excludes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Asked:
    """A search request. ``total_max`` is None to count all matches, 0 for no count."""

    plan: Plan
    marked: Plan  # what highlighting looks for
    size: int
    start: int
    orders: Sequence[Order]
    after: Sequence[Any] | None
    sources: Sources
    marks: Sequence[Marks]
    total_max: int | None
    min_score: float | None
    track_scores: bool
    version: bool
    sequence: bool
    aggregations: Mapping[str, Any] = field(default_factory=dict)


def asked(asking: Asking, body: Mapping[str, Any], window_max: int) -> Asked:
    """Read ``body``. Raises ``Invalid("query" | "window" | ...)``, ``NotImplementedYet("query")``."""
    _check_members(body)
    size = whole(body.get("size", 10), "size", 0, 1 << 31)
    start = whole(body.get("from", 0), "from", 0, 1 << 31)
    if size + start > window_max:
        raise Invalid("window", f"Result window is too large, from + size must be less than or equal to: [{window_max}] but was "
                      f"[{start + size}]. Use search_after to go deeper.")  # fmt: skip
    plan = marked = parse(asking, body.get("query"))
    if body.get("post_filter") is not None:
        if body.get("aggs") or body.get("aggregations"):
            raise NotImplementedYet("query", "[post_filter] together with aggregations is not offered here")
        plan = Bool(must=[plan], filter=[parse(asking, body["post_filter"])])
    orders = orders_of(asking.fields, body.get("sort"))
    after = body.get("search_after")
    if after is not None:
        after = _after(after, orders, start)
    minimum = body.get("min_score")
    return Asked(
        plan, marked, size, start, orders, after, sources_of(body.get("_source")), marks_of(asking, body.get("highlight")),
        _total(body.get("track_total_hits")), None if minimum is None else float(minimum),
        flag(body.get("track_scores", False), "track_scores"), flag(body.get("version", False), "version"),
        flag(body.get("seq_no_primary_term", False), "seq_no_primary_term"),
        body.get("aggs") or body.get("aggregations") or {},
    )  # fmt: skip


def _check_members(body: Any) -> None:
    if not isinstance(body, Mapping):
        raise Invalid("query", "Expected [START_OBJECT] but found something else")
    for name in body:
        if name in _NOT_OFFERED:
            raise NotImplementedYet("query", f"[{name}] in a search is not offered here")
        if name not in _KNOWN:
            raise Invalid("query", f"Unknown key for a member in [{str(name)[:100]}].")
    for name in ("explain", "profile"):
        if flag(body.get(name, False), name):
            raise NotImplementedYet("query", f"[{name}] is not offered here")
    minimum = body.get("min_score")
    if minimum is not None and (isinstance(minimum, bool) or not isinstance(minimum, int | float)):
        raise Invalid("query", "[min_score] must be a number")


def _total(given: Any) -> int | None:
    if given is None:
        return _TOTAL_DEFAULT
    if given is True or given == "true":
        return None
    if given is False or given == "false":
        return 0
    return whole(given, "track_total_hits", 0, 1 << 31)


# -- sort


def orders_of(fields: Fields, given: Any) -> list[Order]:
    """A sort in any of its forms; empty is by score."""
    parts = given if isinstance(given, list) else [] if given is None else [given]
    if len(parts) > 16:
        raise Invalid("query", "more than 16 sort keys")
    orders = [order for part in parts for order in _orders(fields, part)]
    if len(orders) == 1 and orders[0].key == SortKey(None, True):
        return []
    return orders


def _orders(fields: Fields, part: Any) -> list[Order]:
    if isinstance(part, str):
        name, _, direction = part.partition(":")
        return [_order(fields, name, {"order": direction} if direction else {})]
    if not isinstance(part, Mapping):
        raise Invalid("query", "malformed sort format, within the sort array, an object or a string is expected")
    return [
        _order(fields, str(name), value if isinstance(value, Mapping) else {"order": value})
        for name, value in part.items()
    ]


def _order(fields: Fields, name: str, given: Mapping[str, Any]) -> Order:
    options(given, "sort", frozenset({"order", "missing", "mode", "unmapped_type", "format", "numeric_type"}))
    direction = str(given.get("order", "desc" if name == "_score" else "asc")).lower()
    if direction not in ("asc", "desc"):
        raise Invalid("query", f"No enum constant for sort order [{direction[:100]}]")
    descending = direction == "desc"
    if name == "_score":
        return Order(SortKey(None, descending), None)
    if name in ("_doc", "_id", "_shard_doc", "_seq_no"):
        return Order(SortKey({"_id": "id"}.get(name, "sequence"), descending), None)
    leaf = fields.find(name)
    if leaf is None:
        if "unmapped_type" not in given:
            raise Invalid("query_shard", f"No mapping found for [{name[:200]}] in order to sort on")
        return Order(SortKey("", descending), None)
    if leaf.type == "text" or leaf.column is None:
        raise Invalid("sort_field", f"Text fields are not optimised for operations that require per-document field data "
                      f"like aggregations and sorting. Please use a keyword field instead of [{name}].")  # fmt: skip
    mode = given.get("mode", "max" if descending else "min")
    if mode not in ("min", "max"):
        raise NotImplementedYet("query", f"the sort mode [{mode}] is not offered here")
    missing = given.get("missing", "_last")
    chosen: Scalar | None = None
    if missing not in ("_last", "_first"):
        chosen = sortable(leaf, missing)
    way: Literal["min", "max"] = "max" if mode == "max" else "min"
    return Order(SortKey(leaf.column, descending, missing == "_first", chosen, way), leaf)


def sortable(leaf: Leaf, value: Any) -> Scalar:
    """A value of the field as the index sorts it. Raises ``Invalid("query")``."""
    try:
        made = text_of(value) if leaf.type == "keyword" else number_of(leaf, value)
    except (ValueError, OverflowError, TypeError):
        raise Invalid("query", f"Failed to parse sort value [{str(value)[:100]}] for field [{leaf.path}]") from None
    assert made is not None
    return made


def _after(given: Any, orders: Sequence[Order], start: int) -> list[Any]:
    if not isinstance(given, list):
        raise Invalid("query", "[search_after] must be an array")
    if start > 0:
        raise Invalid("query", "`from` parameter must be set to 0 when `search_after` is used.")
    if not orders:
        raise Invalid("query", "Sort must contain at least one field when [search_after] is used")
    if len(given) != len(orders):
        raise Invalid("query", f"search_after has {len(given)} value(s) but sort has {len(orders)}.")
    keys: list[Any] = []
    for value, order in zip(given, orders, strict=True):
        if isinstance(value, dict | list):
            raise Invalid("query", "Can't handle [search_after] field value of type object")
        if value is None:
            keys.append(None)
        elif order.leaf is not None:
            keys.append(_from_shown(order.leaf, value))
        else:
            keys.append(_plain(order, value))
    return keys


def _plain(order: Order, value: Any) -> Any:
    if order.key.column == "id":
        return str(value)
    try:
        return float(value) if order.key.column is None else int(value)
    except (ValueError, OverflowError):
        raise Invalid("query", f"Failed to parse search_after value [{str(value)[:100]}]") from None


def _from_shown(leaf: Leaf, value: Any) -> Scalar:
    if leaf.type == "boolean" and value in (0, 1):
        return int(value)
    if leaf.type == "date" and isinstance(value, int):
        return value
    return sortable(leaf, value)


# -- what is shown


def sources_of(given: Any) -> Sources:
    """``_source``"""
    if given is None or given is True or given == "true":
        return Sources()
    if given is False or given == "false":
        return Sources(False)
    if isinstance(given, Mapping):
        options(given, "_source", frozenset({"includes", "include", "excludes", "exclude"}))
        includes = given.get("includes", given.get("include"))
        return Sources(True, _names(includes), _names(given.get("excludes", given.get("exclude"))))
    return Sources(True, _names(given))


def _names(given: Any) -> list[str]:
    names = given if isinstance(given, list) else [] if given is None else str(given).split(",")
    if len(names) > 100 or not all(isinstance(name, str) and len(name) < 1000 for name in names):
        raise Invalid("query", "[_source] must be a boolean, a string, an array of strings or an object")
    return names


def filtered(source: Any, sources: Sources) -> Any:
    """The part of a document that ``sources`` shows."""
    if not sources.includes and not sources.excludes:
        return source
    includes = [name.split(".") for name in sources.includes]
    excludes = [name.split(".") for name in sources.excludes]
    return _part(source, [], includes, excludes) or {}


def _part(value: Any, path: list[str], includes: list[list[str]], excludes: list[list[str]]) -> Any:
    if isinstance(value, list):
        parts = [_part(item, path, includes, excludes) for item in value]
        return [part for part in parts if part is not None]
    if not isinstance(value, Mapping):
        return value if not includes or _reaches(path, includes) else None
    found = {}
    for name, item in value.items():
        child = [*path, *name.split(".")]
        if any(_covers(pattern, child) for pattern in excludes):
            continue
        if includes and not _reaches(child, includes) and not any(_may_reach(pattern, child) for pattern in includes):
            continue
        part = _part(item, child, includes, excludes)
        if part is None and item is not None:
            continue
        if isinstance(part, Mapping | list) and not part and item and includes and not _reaches(child, includes):
            continue
        found[name] = part
    return found


def _reaches(path: list[str], patterns: list[list[str]]) -> bool:
    return any(_covers(pattern, path) for pattern in patterns)


def _covers(pattern: list[str], path: list[str]) -> bool:
    """Whether the pattern names the path or an object around it."""
    return any(like(".".join(pattern), ".".join(path[:size])) for size in range(1, len(path) + 1))


def _may_reach(pattern: list[str], path: list[str]) -> bool:
    """Whether the pattern may name something inside of the path."""
    if pattern and "*" in pattern[0] and len(pattern) < len(path):
        return True
    return (
        len(pattern) > len(path) and all(like(part, name) for part, name in zip(pattern, path, strict=False))
    ) or any("*" in part for part in pattern[: len(path)])


def like(pattern: str, text: str) -> bool:
    """Whether a pattern with ``*`` matches, in time that both lengths bound."""
    first, *rest = pattern.split("*")
    if not rest:
        return pattern == text
    if not text.startswith(first):
        return False
    at, last = len(first), rest.pop()
    for piece in rest:
        found = text.find(piece, at)
        if found < 0:
            return False
        at = found + len(piece)
    return len(text) - at >= len(last) and text.endswith(last)


def marks_of(asking: Asking, given: Any) -> list[Marks]:
    """``highlight``"""
    if given is None:
        return []
    if not isinstance(given, Mapping):
        raise Invalid("query", "[highlight] must be an object")
    fields = given.get("fields") or {}
    if isinstance(fields, list):
        fields = dict(only(part, "highlight") for part in fields)
    if not isinstance(fields, Mapping):
        raise Invalid("query", "[highlight] requires [fields]")
    found: dict[str, Marks] = {}
    for name, own in fields.items():
        if not isinstance(own, Mapping | None):
            raise Invalid("query", f"[highlight] wants an object for field [{str(name)[:100]}]")
        merged = {**{key: value for key, value in given.items() if key != "fields"}, **(own or {})}
        if "highlight_query" in merged:
            raise NotImplementedYet("query", "[highlight_query] is not offered here")
        for leaf, _ in asking.searchable([str(name)]):
            if leaf.type in ("text", "keyword"):
                found[leaf.path] = _marks(leaf.path, merged)
    return list(found.values())


def _marks(path: str, given: Mapping[str, Any]) -> Marks:
    before, after = given.get("pre_tags", ["<em>"]), given.get("post_tags", ["</em>"])
    before = before if isinstance(before, list) else [before]
    after = after if isinstance(after, list) else [after]
    return Marks(
        path,
        str(before[0]) if before else "<em>",
        str(after[0]) if after else "</em>",
        whole(given.get("fragment_size", 100), "fragment_size", 0, 1_000_000),
        whole(given.get("number_of_fragments", 5), "number_of_fragments", 0, 100),
        flag(given.get("require_field_match", True), "require_field_match"),
        whole(given.get("no_match_size", 0), "no_match_size", 0, 1_000_000),
    )


def shown_value(leaf: Leaf, value: Any) -> Any:
    """A column's value as aggregations show it."""
    if leaf.type == "date":
        return dates.text_of(int(value))
    if leaf.type == "boolean":
        return "true" if value else "false"
    return float(value) if leaf.type in FLOATS else value
