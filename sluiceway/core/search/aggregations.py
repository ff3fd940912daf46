"""Aggregations: asked of the index in columns, shown in fields (Elasticsearch reference 7.10, "Aggregations")."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from sluiceway.core.search import dates
from sluiceway.core.search.asking import number, whole
from sluiceway.core.search.mapping import KINDS, Fields, Leaf
from sluiceway.core.search.request import sortable
from sluiceway.errors import Invalid, NotImplementedYet

_METRICS: Final = frozenset({"avg", "sum", "min", "max", "value_count", "stats", "cardinality"})
_BUCKETS: Final[Mapping[str, frozenset[str]]] = {
    "terms": frozenset({"field", "size", "order", "min_doc_count", "missing", "shard_size", "include", "exclude",
                        "show_term_doc_count_error", "execution_hint", "collect_mode"}),
    "histogram": frozenset({"field", "interval", "min_doc_count", "offset"}),
    "date_histogram": frozenset({"field", "fixed_interval", "calendar_interval", "interval", "min_doc_count", "format",
                                 "time_zone"}),
}  # fmt: skip
_METRIC_MEMBERS: Final = frozenset({"field", "missing", "precision_threshold", "format"})
_UNITS: Final[Mapping[str, int]] = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_CALENDAR: Final[Mapping[str, str]] = {"second": "1s", "minute": "1m", "hour": "1h", "day": "1d"}
_FIXED = re.compile(r"(\d{1,9})(ms|s|m|h|d)\Z")
_DEPTH_MAX: Final = 5
_COUNT_MAX: Final = 100


class Aggregations:
    """``asked`` is for the index; ``shown`` makes the answer of what it found."""

    def __init__(self, fields: Fields, given: Any, buckets_max: int) -> None:
        self._fields = fields
        self._buckets_max = buckets_max
        self._count = 0
        self._given = given
        self.asked = self._level(given, 0)

    def shown(self, found: Mapping[str, Any]) -> dict[str, Any]:
        """As Elasticsearch shows it."""
        return self._show_level(self._given, found)

    def _level(self, given: Any, depth: int) -> dict[str, Any]:
        if not isinstance(given, Mapping):
            raise Invalid("query", "[aggs] must be an object")
        if depth > _DEPTH_MAX:
            raise Invalid("query", f"aggregations inside each other more than {_DEPTH_MAX} times")
        return {str(name): self._one(str(name), body, depth) for name, body in given.items()}

    def _one(self, name: str, body: Any, depth: int) -> dict[str, Any]:
        self._count += 1
        if self._count > _COUNT_MAX:
            raise Invalid("query", f"more than {_COUNT_MAX} aggregations")
        if re.search(r"[\[\]>]", name):
            raise Invalid("query", f"Invalid aggregation name [{name[:100]}]. Aggregation names can contain any character "
                          "except '[', ']', and '>'")  # fmt: skip
        kind, inner, below = _parts(name, body)
        if kind in _METRICS:
            if below:
                raise Invalid("query", f"Aggregator [{name}] of type [{kind}] cannot accept sub-aggregations")
            return {kind: self._metric(name, kind, inner)}
        if kind not in _BUCKETS:
            raise NotImplementedYet("query", f"the aggregation [{kind[:100]}] is not offered here: there are "
                                    f"{', '.join(sorted(_METRICS | _BUCKETS.keys()))}")  # fmt: skip
        _check(kind, inner, _BUCKETS[kind])
        made = {"terms": self._terms, "histogram": self._histogram, "date_histogram": self._dates}[kind](inner)
        asked: dict[str, Any] = {"histogram" if kind == "date_histogram" else kind: made}
        if below:
            asked["aggs"] = self._level(below, depth + 1)
        return asked

    def _leaf(self, inner: Mapping[str, Any], kind: str) -> Leaf | None:
        path = inner.get("field")
        if not isinstance(path, str):
            raise Invalid("query", f"Required one of fields [field], but none were specified for [{kind}]")
        leaf = self._fields.find(path)
        if leaf is not None and (leaf.type == "text" or leaf.column is None):
            raise Invalid("sort_field", f"Text fields are not optimised for operations that require per-document field data "
                          f"like aggregations and sorting. Please use a keyword field instead of [{path}].")  # fmt: skip
        return leaf

    def _metric(self, name: str, kind: str, inner: Mapping[str, Any]) -> dict[str, Any]:
        _check(kind, inner, _METRIC_MEMBERS)
        leaf = self._leaf(inner, kind)
        if leaf is not None and KINDS[leaf.type] == "k" and kind not in ("value_count", "cardinality"):
            raise Invalid("query", f"Field [{leaf.path}] of type [keyword] is not supported for aggregation [{kind}]")
        made: dict[str, Any] = {"field": _column(leaf, kind)}
        if inner.get("missing") is not None and leaf is not None:
            made["missing"] = sortable(leaf, inner["missing"])
        return made

    def _terms(self, inner: Mapping[str, Any]) -> dict[str, Any]:
        leaf = self._leaf(inner, "terms")
        if leaf is not None and (("include" in inner) or ("exclude" in inner)) and leaf.type != "keyword":
            raise NotImplementedYet("query", "[include] and [exclude] are offered for keyword fields only")
        size = whole(inner.get("size", 10), "size", 1, self._buckets_max)
        made: dict[str, Any] = {"field": _column(leaf, "terms"), "size": size, "segment_size": self._buckets_max}
        made["min_doc_count"] = whole(inner.get("min_doc_count", 1), "min_doc_count", 1, 1 << 31)
        for name in ("include", "exclude"):
            if name in inner:
                made[name] = inner[name]
        if inner.get("missing") is not None and leaf is not None:
            made["missing"] = sortable(leaf, inner["missing"])
        order = inner.get("order")
        if isinstance(order, list):
            order = order[0] if order else None
        if order is not None:
            if not isinstance(order, Mapping) or len(order) != 1:
                raise Invalid("query", "Must specify at least one field for [order]")
            made["order"] = {str(key): str(value).lower() for key, value in order.items()}
        return made

    def _histogram(self, inner: Mapping[str, Any]) -> dict[str, Any]:
        leaf = self._leaf(inner, "histogram")
        interval = number(inner.get("interval"), "interval")
        if interval <= 0:
            raise Invalid("query", "[interval] must be >0 for histogram aggregation")
        made = {"field": _column(leaf, "histogram"), "interval": interval}
        if inner.get("offset"):
            made["offset"] = number(inner["offset"], "offset")
        made["min_doc_count"] = whole(inner.get("min_doc_count", 0), "min_doc_count", 0, 1 << 31)
        return made

    def _dates(self, inner: Mapping[str, Any]) -> dict[str, Any]:
        leaf = self._leaf(inner, "date_histogram")
        if inner.get("time_zone") not in (None, "UTC", "Z") or "format" in inner:
            raise NotImplementedYet("query", "[time_zone] and [format] of a date_histogram are not offered here")
        given = str(inner.get("fixed_interval") or inner.get("calendar_interval") or inner.get("interval"))
        fixed = _FIXED.match(_CALENDAR.get(given, given))
        if fixed is None or int(fixed[1]) == 0:
            raise NotImplementedYet("query", f"the interval [{given[:100]}] is not offered here: there are multiples of "
                                    "ms, s, m, h and d")  # fmt: skip
        interval = float(int(fixed[1]) * _UNITS[fixed[2]])
        least = whole(inner.get("min_doc_count", 0), "min_doc_count", 0, 1 << 31)
        return {"field": _column(leaf, "date_histogram"), "interval": interval, "min_doc_count": least}

    # -- answers

    def _show_level(self, given: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
        return {name: self._show(body, found.get(name) or {}, name) for name, body in given.items()}

    def _show(self, body: Any, found: Mapping[str, Any], name: str) -> dict[str, Any]:
        kind, inner, below = _parts(name, body)
        leaf = self._fields.find(str(inner.get("field")))
        if kind in _METRICS:
            return _metric_shown(kind, leaf, found)
        buckets = []
        for bucket in found.get("buckets") or []:
            shown = _key_shown(kind, leaf, bucket["key"]) | {"doc_count": bucket["doc_count"]}
            buckets.append(shown | self._show_level(below, bucket) if below else shown)
        if kind != "terms":
            return {"buckets": buckets}
        if "order" not in inner:
            buckets.sort(key=lambda bucket: (-bucket["doc_count"], bucket["key"]))
        return {
            "doc_count_error_upper_bound": found.get("doc_count_error_upper_bound", 0),
            "sum_other_doc_count": found.get("sum_other_doc_count", 0),
            "buckets": buckets,
        }


def _parts(name: str, body: Any) -> tuple[str, Mapping[str, Any], Any]:
    if not isinstance(body, Mapping):
        raise Invalid("query", f"Expected [START_OBJECT] under [{name}]")
    below = body.get("aggs") or body.get("aggregations") or {}
    kinds = [key for key in body if key not in ("aggs", "aggregations", "meta")]
    if len(kinds) != 1 or not isinstance(body[kinds[0]], Mapping):
        raise Invalid("query", f"Expected one aggregation type definition in [{name[:100]}]")
    return str(kinds[0]), body[kinds[0]], below


def _check(kind: str, inner: Mapping[str, Any], known: frozenset[str]) -> None:
    for name in inner:
        if name not in known:
            raise Invalid("query", f"[{kind}] unknown field [{str(name)[:100]}]")


def _column(leaf: Leaf | None, kind: str) -> str:
    """A column that nothing has stands for a field that nothing has."""
    if leaf is None or leaf.column is None:
        return "none"
    if kind.endswith("histogram") and KINDS[leaf.type] == "k":
        raise Invalid("query", f"Field [{leaf.path}] of type [keyword] is not supported for aggregation [{kind}]")
    return leaf.column


def _key_shown(kind: str, leaf: Leaf | None, key: Any) -> dict[str, Any]:
    if leaf is not None and leaf.type == "date":
        return {"key": int(key), "key_as_string": dates.text_of(int(key))}
    if leaf is not None and leaf.type == "boolean":
        return {"key": int(key), "key_as_string": "true" if key else "false"}
    if kind == "terms" and leaf is not None and KINDS[leaf.type] == "i":
        return {"key": int(key)}
    return {"key": key}


def _metric_shown(kind: str, leaf: Leaf | None, found: Mapping[str, Any]) -> dict[str, Any]:
    if kind == "stats":
        shown = {name: found.get(name) for name in ("count", "min", "max", "avg", "sum")}
        return shown | {"count": int(found.get("count") or 0), "sum": found.get("sum") or 0.0}
    value = found.get("value")
    if kind in ("value_count", "cardinality"):
        return {"value": int(value or 0)}
    if kind == "sum":
        value = value or 0.0
    shown = {"value": value}
    if leaf is not None and leaf.type == "date" and value is not None and kind != "sum":
        shown["value_as_string"] = dates.text_of(int(value))
    return shown
