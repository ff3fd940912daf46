"""Term-level queries: exact values, ranges, patterns (Elasticsearch reference 7.10, "Term-level queries")."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Final

from sluiceway.core.search import analysis, dates
from sluiceway.core.search.asking import Asking, flag, number, only, options, whole
from sluiceway.core.search.mapping import FLOATS, INTEGERS, KINDS, Leaf
from sluiceway.core.search.plan import (
    All,
    Boost,
    Constant,
    Exists,
    Fuzzy,
    Ids,
    Nothing,
    Pattern,
    Plan,
    Range,
    Term,
    Terms,
)
from sluiceway.core.search.values import number_of, text_of
from sluiceway.errors import Invalid

_RANGE: Final = frozenset({"gt", "gte", "lt", "lte", "from", "to", "include_lower", "include_upper", "format", "boost",
                           "relation", "time_zone"})  # fmt: skip
_LUCENE_SIGNS = re.compile(r'(?<!\\)[#@&<>~"]')
_PATTERN_MAX: Final = 1000  # index.max_regex_length


def boosted(plan: Plan, given: Any) -> Plan:
    """``plan`` with the ``boost`` of a query."""
    factor = number(given, "boost") if given is not None else 1.0
    return plan if factor == 1.0 or isinstance(plan, Nothing) else Boost(plan, factor)


def exact(asking: Asking, leaf: Leaf, value: Any, *, lenient: bool = False) -> Plan:
    """Documents with this very value."""
    if isinstance(value, dict | list) or value is None:
        raise Invalid("query", f"value of field [{leaf.path}] must be a single value")
    if leaf.column is None:
        raise Invalid("query", f"Cannot search on field [{leaf.path}] since it is not indexed.")
    try:
        if leaf.type == "date":
            low = dates.resolve(value, asking.now_ms, leaf.formats)
            return Range(leaf.column, low, dates.resolve(value, asking.now_ms, leaf.formats, up=True))
        if KINDS[leaf.type] in "tk":
            text = text_of(value)
            return Term(leaf.column, analysis.normalized(leaf.recipe, text) if leaf.type == "keyword" else text)
        if leaf.type in INTEGERS and float(value) != int(float(value)):
            return Nothing()
        made = number_of(leaf, value)
    except (ValueError, OverflowError):
        if lenient or (leaf.type in INTEGERS and _is_number(value)):
            return Nothing()
        raise Invalid("query_shard", f'failed to create query: For input string: "{str(value)[:100]}" on field '
                      f"[{leaf.path}] of type [{leaf.type}]") from None  # fmt: skip
    return Terms(leaf.column, [made])


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (ValueError, TypeError):
        return False
    return True


def term(asking: Asking, body: Any) -> Plan:
    """``term``"""
    path, inner = only(body, "term")
    given = inner if isinstance(inner, Mapping) else {"value": inner}
    options(given, "term", frozenset({"value", "boost", "case_insensitive"}))
    if "value" not in given:
        raise Invalid("query", "[term] query: value is missing")
    if flag(given.get("case_insensitive", False), "case_insensitive"):
        return boosted(_pattern(asking, path, "(?i)" + escaped(text_of(given["value"]))), given.get("boost"))
    return boosted(_one_of(asking, path, [given["value"]]), given.get("boost"))


def terms(asking: Asking, body: Any) -> Plan:
    """``terms``"""
    if not isinstance(body, Mapping):
        raise Invalid("query", "[terms] query malformed")
    boost = body.get("boost")
    path, values = only({name: value for name, value in body.items() if name not in ("boost", "_name")}, "terms")
    if isinstance(values, Mapping):
        raise Invalid("query", "[terms] query: the lookup of terms in a document is not offered here")
    if not isinstance(values, list):
        raise Invalid("query", "[terms] query requires an array of values")
    if len(values) > asking.terms_max:
        raise Invalid("query", f"The number of terms [{len(values)}] used in the Terms Query request has exceeded the "
                      f"allowed maximum of [{asking.terms_max}].")  # fmt: skip
    plan = _one_of(asking, path, values)
    return boosted(Constant(plan, 1.0) if isinstance(plan, Term) else plan, boost)


def _one_of(asking: Asking, path: str, values: list[Any]) -> Plan:
    if path == "_id":
        return Ids([text_of(value) for value in values])
    leaf = asking.fields.find(path)
    if leaf is None or not values:
        return Nothing()
    plans = [exact(asking, leaf, value) for value in values]
    if len(plans) == 1:
        return plans[0]
    found: list[Any] = []
    for plan in plans:
        if isinstance(plan, Range):
            found.append(plan.low)
        elif isinstance(plan, Term):
            found.append(plan.value)
        elif isinstance(plan, Terms):
            found.extend(plan.values)
    return Terms(leaf.column or "", found) if found else Nothing()


def ids(asking: Asking, body: Any) -> Plan:
    """``ids``"""
    given = options(body, "ids", frozenset({"values", "boost", "type"}))
    values = given.get("values", [])
    values = values if isinstance(values, list) else [values]
    if len(values) > asking.terms_max:
        raise Invalid("query", f"[ids] query has more than {asking.terms_max} values")
    return boosted(Ids([text_of(value) for value in values]), given.get("boost"))


def exists(asking: Asking, body: Any) -> Plan:
    """``exists``"""
    given = options(body, "exists", frozenset({"field", "boost"}))
    path = given.get("field")
    if not isinstance(path, str):
        raise Invalid("query", "[exists] must be provided with a [field]")
    return boosted(having(asking, path), given.get("boost"))


def having(asking: Asking, path: str) -> Plan:
    """Documents with a value in the field, or in one below it."""
    if path in ("_id", "_index", "_source", "*"):
        return All()
    if "*" in path:
        found = [leaf.path for leaf, _ in asking.searchable([path])]
        return Exists(found) if found else Nothing()
    return Exists([path])


def between(asking: Asking, body: Any) -> Plan:
    """``range``"""
    path, inner = only(body, "range")
    given = options(inner, "range", _RANGE)
    if given.get("relation") not in (None, "INTERSECTS", "intersects"):
        raise Invalid("query", "[range] query does not support [relation] here")
    if given.get("time_zone") not in (None, "UTC", "Z", "+00:00"):
        raise Invalid(
            "query", "[range] query: [time_zone] other than UTC is not offered here: write the offset into the date"
        )
    leaf = asking.fields.find(path)
    if leaf is None:
        return Nothing()
    low, low_in = _bound(given, "gte", "gt", "from", "include_lower")
    high, high_in = _bound(given, "lte", "lt", "to", "include_upper")
    return boosted(ranged(asking, leaf, low, high, low_in, high_in, given.get("format")), given.get("boost"))


def _bound(given: Mapping[str, Any], closed: str, opened: str, old: str, include: str) -> tuple[Any, bool]:
    if given.get(closed) is not None:
        return given[closed], True
    if given.get(opened) is not None:
        return given[opened], False
    return given.get(old), flag(given.get(include, True), include)


def ranged(asking: Asking, leaf: Leaf, low: Any, high: Any, low_in: bool, high_in: bool, formats: Any = None) -> Plan:
    """Values between bounds; None is open."""
    if low is None and high is None:
        return Exists([leaf.path])
    if leaf.column is None:
        raise Invalid("query", f"Cannot search on field [{leaf.path}] since it is not indexed.")
    try:
        if leaf.type == "date":
            return _dates(asking, leaf, leaf.column, (low, low_in), (high, high_in), formats)
        if leaf.type in INTEGERS or leaf.type == "boolean":
            return _integers(leaf, leaf.column, low, high, low_in, high_in)
        if leaf.type in FLOATS:
            bounds = [None if bound is None else float(bound) for bound in (low, high)]
            if any(bound is not None and math.isnan(bound) for bound in bounds):
                raise ValueError("not a number")
            return Range(leaf.column, bounds[0], bounds[1], low_in, high_in)
    except (ValueError, OverflowError, TypeError):
        raise Invalid("query_shard", f"failed to parse the bounds [{str(low)[:100]}] and [{str(high)[:100]}] of field "
                      f"[{leaf.path}] of type [{leaf.type}]") from None  # fmt: skip
    texts = [None if bound is None else analysis.normalized(leaf.recipe, text_of(bound)) if leaf.type == "keyword"
             else text_of(bound) for bound in (low, high)]  # fmt: skip
    return Range(leaf.column, texts[0], texts[1], low_in, high_in)


def _dates(
    asking: Asking, leaf: Leaf, column: str, low: tuple[Any, bool], high: tuple[Any, bool], formats: Any
) -> Plan:
    known = str(formats) if formats is not None else leaf.formats
    if formats is not None:
        try:
            dates.check_format(known)
        except Invalid as error:
            raise Invalid("query", error.message) from None
    since = None if low[0] is None else dates.resolve(low[0], asking.now_ms, known, up=not low[1])
    until = None if high[0] is None else dates.resolve(high[0], asking.now_ms, known, up=high[1])
    return Range(column, since, until, low[1], high[1])


def _integers(leaf: Leaf, column: str, low: Any, high: Any, low_in: bool, high_in: bool) -> Plan:
    """Fractions are rounded into the range; what no integer can be is as good as open or nothing."""
    if leaf.type == "boolean":
        bounds = [None if bound is None else number_of(leaf, bound) for bound in (low, high)]
        return Range(column, bounds[0], bounds[1], low_in, high_in)
    least, most = -(1 << 63), (1 << 63) - 1
    if low is not None:
        exactly = _number(low)
        low, low_in = (math.ceil(exactly), True) if exactly != int(exactly) else (int(exactly), low_in)
        if low > most:
            return Nothing()
        low = max(low, least)
    if high is not None:
        exactly = _number(high)
        high, high_in = (math.floor(exactly), True) if exactly != int(exactly) else (int(exactly), high_in)
        if high < least:
            return Nothing()
        high = min(high, most)
    return Range(column, low, high, low_in, high_in)


def _number(value: Any) -> int | float:
    if isinstance(value, str):
        return float(value) if any(sign in value for sign in ".eE") else int(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("not a number")
    return value


# -- patterns


def prefix(asking: Asking, body: Any) -> Plan:
    """``prefix``"""
    path, given = _patterned(body, "prefix")
    text = text_of(given.get("value"))
    return boosted(_pattern(asking, path, escaped(text) + ANY, given, text), given.get("boost"))


def wildcard(asking: Asking, body: Any) -> Plan:
    """``wildcard``"""
    path, given = _patterned(body, "wildcard")
    text = text_of(given.get("value", given.get("wildcard")))
    return boosted(_pattern(asking, path, from_wildcards(text), given, text), given.get("boost"))


def regexp(asking: Asking, body: Any) -> Plan:
    """``regexp``, in what Lucene's and common expressions share."""
    path, given = _patterned(body, "regexp")
    text = text_of(given.get("value"))
    if _LUCENE_SIGNS.search(text):
        raise Invalid("query", '[regexp] query: the operators # @ & < > ~ " are not offered here')
    return boosted(_pattern(asking, path, text, given, text), given.get("boost"))


def fuzzy(asking: Asking, body: Any) -> Plan:
    """``fuzzy``"""
    path, inner = only(body, "fuzzy")
    given = inner if isinstance(inner, Mapping) else {"value": inner}
    options(given, "fuzzy", frozenset({"value", "fuzziness", "prefix_length", "max_expansions", "transpositions",
                                       "rewrite", "boost"}))  # fmt: skip
    leaf = asking.fields.find(path)
    if leaf is None or leaf.column is None:
        return Nothing()
    if KINDS[leaf.type] not in "tk":
        raise Invalid("query_shard", f"Can only use fuzzy queries on keyword and text fields - not on [{path}] which is of "
                      f"type [{leaf.type}]")  # fmt: skip
    word = text_of(given.get("value"))
    distance = edits(given.get("fuzziness", "AUTO"), word)
    kept = whole(given.get("prefix_length", 0), "prefix_length", 0, 1000)
    return boosted(similar(leaf.column, word, distance, kept), given.get("boost"))


def similar(column: str, word: str, distance: int, prefix_length: int = 0) -> Plan:
    """Words like ``word``."""
    return Fuzzy(column, word, distance, prefix_length) if distance else Term(column, word)


def edits(given: Any, word: str) -> int:
    """How many edits ``fuzziness`` allows ("Common options", "Fuzziness")."""
    text = str(given).upper()
    if text.startswith("AUTO"):
        low, high = 3, 6
        if ":" in text:
            first, _, second = text[5:].partition(",")
            low, high = whole(first, "fuzziness", 0, 100), whole(second, "fuzziness", 0, 100)
        return 0 if len(word) < low else 1 if len(word) < high else 2
    return int(min(2.0, number(given, "fuzziness")))


ANY: Final = r"(?s:.)*"


def escaped(text: str) -> str:
    """As a regular expression that matches this text only."""
    return re.sub(r"([\\.+*?()|\[\]{}^$#&\-~])", r"\\\1", text)


def prefix_of(regex: str) -> str | None:
    """The text before ``ANY``, if that is all of the expression."""
    if not regex.endswith(ANY):
        return None
    body = regex.removesuffix(ANY)
    bare = re.sub(r"\\[^A-Za-z0-9]", "", body)
    return None if re.search(r"[\\.+*?()|\[\]{}^$]", bare) else re.sub(r"\\(.)", r"\1", body)


def from_wildcards(text: str) -> str:
    """``*`` and ``?`` as a regular expression; a backslash takes their meaning away."""
    made, at = [], 0
    while at < len(text):
        sign = text[at]
        if sign == "\\" and at + 1 < len(text):
            at += 1
            made.append(escaped(text[at]))
        else:
            made.append(ANY if sign == "*" else "(?s:.)" if sign == "?" else escaped(sign))
        at += 1
    return "".join(made)


def from_plain(text: str) -> str:
    """A text as a wildcard pattern that matches this text only."""
    return re.sub(r"([\\*?])", r"\\\1", text)


def _patterned(body: Any, query: str) -> tuple[str, Mapping[str, Any]]:
    path, inner = only(body, query)
    given = inner if isinstance(inner, Mapping) else {"value": inner}
    known = frozenset({"value", "wildcard", "rewrite", "boost", "case_insensitive", "flags", "max_determinized_states"})
    options(given, query, known)
    if given.get("value", given.get("wildcard")) is None:
        raise Invalid("query", f"value cannot be null in a [{query}] query")
    return path, given


def _pattern(asking: Asking, path: str, regex: str, given: Mapping[str, Any] | None = None, text: str = "") -> Plan:
    if len(text) > _PATTERN_MAX:
        raise Invalid(
            "query", f"The length of the pattern [{len(text)}] has exceeded the allowed maximum of [{_PATTERN_MAX}]."
        )
    leaf = asking.fields.find(path)
    if leaf is None or leaf.column is None:
        return Nothing()
    if KINDS[leaf.type] not in "tk":
        raise Invalid("query_shard", f"Can only use prefix, wildcard and regexp queries on keyword, text and wildcard "
                      f"fields - not on [{path}] which is of type [{leaf.type}]")  # fmt: skip
    if "lowercase" in leaf.recipe and leaf.type == "keyword":
        regex = regex.lower() if given is not None and "\\" not in regex else regex
    blind = given is not None and flag(given.get("case_insensitive", False), "case_insensitive")
    return Pattern(leaf.column, f"(?i){regex}" if blind else regex)
