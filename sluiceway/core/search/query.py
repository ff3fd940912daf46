"""Elasticsearch's query language, translated to plans (reference 7.10, "Query DSL")."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from sluiceway.core.search import strings, terms, texts
from sluiceway.core.search.asking import Asking, minimum, number, only, options
from sluiceway.core.search.plan import All, Best, Bool, Constant, Nothing, Plan
from sluiceway.core.search.terms import boosted
from sluiceway.errors import Invalid, NotImplementedYet

_BOOL: Final = frozenset(
    {"must", "should", "must_not", "filter", "minimum_should_match", "boost", "adjust_pure_negative"}
)
_NOT_OFFERED: Final = frozenset({
    "boosting", "combined_fields", "common", "distance_feature", "function_score", "geo_bounding_box", "geo_distance",
    "geo_polygon", "geo_shape", "has_child", "has_parent", "intervals", "knn", "more_like_this", "nested", "parent_id",
    "percolate", "pinned", "rank_feature", "script", "script_score", "shape", "span_containing", "span_first",
    "span_multi", "span_near", "span_not", "span_or", "span_term", "span_within", "terms_set", "type", "wrapper",
})  # fmt: skip


def parse(asking: Asking, query: Any, depth: int = 0) -> Plan:
    """The plan of a query; None is all.

    Raises ``Invalid("query" | "query_shard")``, ``NotImplementedYet("query")``.
    """
    if query is None:
        return All()
    if depth > asking.depth_max:
        raise Invalid("query", f"The query is nested deeper than {asking.depth_max}")
    asking.count()
    name, body = only(query, "query") if query else ("", None)
    compound = _COMPOUND.get(name)
    if compound is not None:
        return compound(asking, body, depth)
    leaf = _LEAF.get(name)
    if leaf is not None:
        return leaf(asking, body)
    if name in _NOT_OFFERED:
        raise NotImplementedYet("query", f"the [{name}] query is not offered here")
    if not name:
        raise Invalid("query", "query malformed, empty clause found")
    raise Invalid("query", f"unknown query [{name[:100]}]")


def _match_all(asking: Asking, body: Any) -> Plan:
    return boosted(All(), options(body, "match_all", frozenset({"boost"})).get("boost"))


def _match_none(asking: Asking, body: Any) -> Plan:
    options(body, "match_none", frozenset({"boost"}))
    return Nothing()


def _bool(asking: Asking, body: Any, depth: int) -> Plan:
    given = options(body, "bool", _BOOL)
    parts = {
        name: [parse(asking, clause, depth + 1) for clause in _clauses(given.get(name))]
        for name in ("must", "should", "must_not", "filter")
    }
    should = parts["should"]
    alone = bool(should) and not parts["must"] and not parts["filter"]
    asked = given.get("minimum_should_match")
    needed = (1 if alone else 0) if asked is None else minimum(asked, len(should))
    if needed > len(should):
        return Nothing()
    if not any(parts.values()):
        return All()
    plan = Bool(parts["must"], should, parts["must_not"], parts["filter"], needed)
    return boosted(plan, given.get("boost"))


def _clauses(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _constant_score(asking: Asking, body: Any, depth: int) -> Plan:
    given = options(body, "constant_score", frozenset({"filter", "boost"}))
    if "filter" not in given:
        raise Invalid("query", "[constant_score] requires a [filter] query")
    score = number(given.get("boost", 1.0), "boost")
    return Constant(parse(asking, given["filter"], depth + 1), score)


def _dis_max(asking: Asking, body: Any, depth: int) -> Plan:
    given = options(body, "dis_max", frozenset({"queries", "tie_breaker", "boost"}))
    plans = [parse(asking, clause, depth + 1) for clause in _clauses(given.get("queries"))]
    if not plans:
        raise Invalid("query", "[dis_max] requires [queries] field with at least one clause")
    return boosted(Best(plans, number(given.get("tie_breaker", 0.0), "tie_breaker")), given.get("boost"))


_COMPOUND: Final[Mapping[str, Callable[[Asking, Any, int], Plan]]] = {
    "bool": _bool,
    "constant_score": _constant_score,
    "dis_max": _dis_max,
}
_LEAF: Final[Mapping[str, Callable[[Asking, Any], Plan]]] = {
    "exists": terms.exists,
    "fuzzy": terms.fuzzy,
    "ids": terms.ids,
    "match": texts.match,
    "match_all": _match_all,
    "match_bool_prefix": texts.match_bool_prefix,
    "match_none": _match_none,
    "match_phrase": texts.match_phrase,
    "match_phrase_prefix": texts.match_phrase_prefix,
    "multi_match": texts.multi_match,
    "prefix": terms.prefix,
    "query_string": strings.query_string,
    "range": terms.between,
    "regexp": terms.regexp,
    "simple_query_string": strings.simple_query_string,
    "term": terms.term,
    "terms": terms.terms,
    "wildcard": terms.wildcard,
}
