"""Queries in one line of text (Elasticsearch reference 7.10, "Query string query", "Simple query string query")."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from sluiceway.core.search import terms, texts
from sluiceway.core.search.asking import Asking, flag, minimum, number, options
from sluiceway.core.search.mapping import KINDS, Leaf
from sluiceway.core.search.plan import All, Best, Bool, Boost, Nothing, Pattern, Plan
from sluiceway.core.search.texts import Matching
from sluiceway.errors import Invalid

_QUERY: Final = frozenset({
    "query", "default_field", "fields", "default_operator", "minimum_should_match", "boost", "lenient",
    "analyze_wildcard", "allow_leading_wildcard", "fuzziness", "phrase_slop", "tie_breaker", "type", "rewrite",
    "fuzzy_max_expansions", "fuzzy_prefix_length", "max_determinized_states", "enable_position_increments",
    "auto_generate_synonyms_phrase_query", "fuzzy_transpositions", "time_zone",
})  # fmt: skip
_SIMPLE: Final = frozenset({
    "query", "fields", "default_operator", "minimum_should_match", "boost", "lenient", "analyze_wildcard", "flags",
    "fuzzy_max_expansions", "fuzzy_prefix_length", "auto_generate_synonyms_phrase_query", "fuzzy_transpositions",
})  # fmt: skip
_CHARS_MAX: Final = 10_000

_SPACE = re.compile(r"\s+")
_FIELD = re.compile(r"((?:[^\s:()\[\]{}\"^~\\+!&|-]|\\.)(?:[^\s:()\[\]{}\"^~\\]|\\.)*):")
_RANGE = re.compile(r"([\[{])\s*(\"[^\"]*\"|[^\s\]}]+)\s+TO\s+(\"[^\"]*\"|[^\s\]}]+)\s*([\]}])")
_COMPARED = re.compile(r"(>=|<=|>|<)(\"[^\"]*\"|[^\s()]+)")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"(?:~(\d{1,3}))?')
_WORD = re.compile(r"((?:[^\s()\[\]{}\"^~:\\]|\\.)+)(~(?:\d(?:\.\d)?)?)?")
_OPERATOR = re.compile(r"(AND|OR|NOT|&&|\|\||!)(?![^\s(\"!+-])")
_BOOST = re.compile(r"\^(\d+(?:\.\d+)?)")
_SIMPLE_WORD = re.compile(r"((?:[^\s()|\"~*\\]|\\.)+)(\*|~\d?)?")


@dataclass(frozen=True, slots=True)
class _Line:
    """One line's text, and how its words are looked up."""

    asking: Asking
    text: str
    fields: Sequence[tuple[Leaf, float]]
    how: Matching
    every: bool
    slop: int = 0
    lenient: bool = False
    depth: int = 0


@dataclass(slots=True)
class _Clauses:
    """Clauses as Lucene's classic parser gathers them: AND and OR change the clause before them."""

    every: bool
    found: list[tuple[str, Plan]] = field(default_factory=list)

    def add(self, plan: Plan, sign: str, joint: str) -> None:
        if joint == "AND" and self.found and self.found[-1][0] == "should":
            self.found[-1] = "must", self.found[-1][1]
        if joint == "OR" and self.every and self.found and self.found[-1][0] == "must":
            self.found[-1] = "should", self.found[-1][1]
        if sign == "-":
            self.found.append(("must_not", plan))
        elif sign == "+" or joint == "AND" or (self.every and joint != "OR"):
            self.found.append(("must", plan))
        else:
            self.found.append(("should", plan))

    def plan(self, asked: Any = None) -> Plan:
        parts = {kind: [plan for name, plan in self.found if name == kind] for kind in ("must", "should", "must_not")}
        if not self.found:
            return Nothing()
        if len(self.found) == 1 and self.found[0][0] != "must_not":
            return self.found[0][1]
        should = parts["should"]
        needed = (1 if should and not parts["must"] else 0) if asked is None else minimum(asked, len(should))
        return Bool(parts["must"], should, parts["must_not"], (), min(needed, len(should)))


def query_string(asking: Asking, body: Any) -> Plan:
    """``query_string``"""
    given = options(body, "query_string", _QUERY)
    fields = given.get("fields") or [given.get("default_field") or "*"]
    line = _line(asking, given, "query_string", fields)
    if line.text.strip() in ("", "*", "*:*"):
        return boosted_all(given) if line.text.strip() else Nothing()
    slop = int(number(given.get("phrase_slop", 0), "phrase_slop"))
    plan, at = _classic(replace(line, slop=slop), 0, given.get("minimum_should_match"))
    if at < len(line.text):
        raise _unparsable(line.text)
    return terms.boosted(plan, given.get("boost"))


def simple_query_string(asking: Asking, body: Any) -> Plan:
    """``simple_query_string``: never fails on its text."""
    given = options(body, "simple_query_string", _SIMPLE)
    line = _line(asking, given, "simple_query_string", given.get("fields") or ["*"])
    if line.text.strip() == "*":
        return boosted_all(given)
    plan, _ = _simple(replace(line, lenient=True), 0, given.get("minimum_should_match"))
    return terms.boosted(plan, given.get("boost"))


def boosted_all(given: Mapping[str, Any]) -> Plan:
    """Every document."""
    return terms.boosted(All(), given.get("boost"))


def _line(asking: Asking, given: Mapping[str, Any], query: str, fields: Any) -> _Line:
    text = given.get("query")
    if not isinstance(text, str):
        raise Invalid("query", f"[{query}] must be provided with a [query]")
    if len(text) > _CHARS_MAX:
        raise Invalid("query", f"[{query}] is longer than {_CHARS_MAX} characters")
    patterns = fields if isinstance(fields, list) else [fields]
    operator = str(given.get("default_operator", "or")).lower()
    if operator not in ("and", "or"):
        raise Invalid("query", f"[{query}] default_operator [{operator[:100]}] is not allowed")
    lenient = flag(given.get("lenient", False), "lenient") or "*" in patterns
    every = operator == "and"
    return _Line(asking, text, asking.searchable(patterns), Matching(every, lenient=lenient), every, lenient=lenient)


def _unparsable(text: str) -> Invalid:
    return Invalid("query_shard", f"Failed to parse query [{text[:200]}]")


def _classic(line: _Line, at: int, asked: Any = None, *, inside: bool = False) -> tuple[Plan, int]:
    """Clauses up to the text's end, or a closing parenthesis."""
    if line.depth > line.asking.depth_max:
        raise Invalid("query", f"The query is nested deeper than {line.asking.depth_max}")
    clauses, joint, sign, text = _Clauses(line.every), "", "", line.text
    while True:
        space = _SPACE.match(text, at)
        at = space.end() if space else at
        if at >= len(text) or text[at] == ")":
            if inside and at >= len(text):
                raise _unparsable(text)
            return clauses.plan(asked), at
        word = _OPERATOR.match(text, at)
        if word is None and text[at] == "!":
            sign, at = "-", at + 1
            continue
        if word is not None:
            at = word.end()
            if word[1] in ("NOT", "!"):
                sign = "-"
            else:
                joint = "AND" if word[1] in ("AND", "&&") else "OR"
            continue
        if text[at] in "+-":
            sign, at = text[at], at + 1
            continue
        plan, at = _clause(line, at)
        clauses.add(plan, sign, joint)
        joint = sign = ""


def _clause(line: _Line, at: int) -> tuple[Plan, int]:
    text, start = line.text, at
    named = _FIELD.match(text, at)
    if named is not None:
        path, at = _unescaped(named[1]), named.end()
        if path == "_exists_":
            word = _WORD.match(text, at)
            if word is None:
                raise _unparsable(text)
            return terms.having(line.asking, _unescaped(word[1])), word.end()
        if path == "*" and text[at : at + 1] == "*":
            return All(), at + 1
        line = replace(line, fields=line.asking.searchable([path]), lenient=line.lenient and path == "*")
    if text[at : at + 1] == "(":
        plan, at = _classic(replace(line, depth=line.depth + 1), at + 1, inside=True)
        return _boost(line, plan, at + 1)
    ranged = _RANGE.match(text, at) or None
    if ranged is not None:
        low, high = (_open_bound(part) for part in (ranged[2], ranged[3]))
        return _boost(line, _ranged(line, low, high, ranged[1] == "[", ranged[4] == "]"), ranged.end())
    compared = _COMPARED.match(text, at) if named is not None else None
    if compared is not None:
        sign, bound = compared[1], _open_bound(compared[2])
        low, high = (bound, None) if sign[0] == ">" else (None, bound)
        return _ranged(line, low, high, len(sign) == 2, len(sign) == 2), compared.end()
    quoted = _QUOTED.match(text, at)
    if quoted is not None:
        slop = int(quoted[2]) if quoted[2] else line.slop
        return _boost(line, _phrase(line, _unescaped(quoted[1]), slop), quoted.end())
    word = _WORD.match(text, at)
    if word is None or at == len(text):
        raise _unparsable(text[start:] or text)
    return _boost(line, _looked_up(line, word[1], word[2]), word.end())


def _boost(line: _Line, plan: Plan, at: int) -> tuple[Plan, int]:
    found = _BOOST.match(line.text, at)
    if found is None:
        return plan, at
    return (plan if isinstance(plan, Nothing) else Boost(plan, float(found[1]))), found.end()


def _open_bound(text: str) -> str | None:
    return None if text == "*" else text.strip('"')


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


def _any_field(line: _Line, made: Callable[[Leaf], Plan]) -> Plan:
    """The best of the fields."""
    line.asking.count(max(1, len(line.fields)))
    plans: list[Plan] = []
    for leaf, factor in line.fields:
        plan = made(leaf)
        if not isinstance(plan, Nothing):
            plans.append(plan if factor == 1.0 else Boost(plan, factor))
    return Nothing() if not plans else plans[0] if len(plans) == 1 else Best(plans)


def _ranged(line: _Line, low: str | None, high: str | None, low_in: bool, high_in: bool) -> Plan:
    def made(leaf: Leaf) -> Plan:
        try:
            return terms.ranged(line.asking, leaf, low, high, low_in, high_in)
        except Invalid:
            if line.lenient:
                return Nothing()
            raise

    return _any_field(line, made)


def _phrase(line: _Line, text: str, slop: int) -> Plan:
    return _any_field(line, lambda leaf: texts.phrase(line.asking, leaf, text, slop, lenient=line.lenient))


def _looked_up(line: _Line, word: str, fuzzy: str | None) -> Plan:
    bare = re.sub(r"\\.", "", word)
    if word == "*":
        return _any_field(line, lambda leaf: terms.having(line.asking, leaf.path))
    if "*" in bare or "?" in bare:
        return _any_field(line, lambda leaf: _wild(leaf, word))
    how = line.how
    if fuzzy is not None:
        how = replace(how, fuzziness=fuzzy[1:] or "AUTO")
    return _any_field(line, lambda leaf: texts.words(line.asking, leaf, _unescaped(word), how))


def _wild(leaf: Leaf, word: str) -> Plan:
    if KINDS[leaf.type] not in "tk" or leaf.column is None:
        return Nothing()
    lower = "lowercase" in (leaf.search_recipe if leaf.type == "text" else leaf.recipe)
    return Pattern(leaf.column, terms.from_wildcards(word.lower() if lower else word))


def _simple(line: _Line, at: int, asked: Any = None) -> tuple[Plan, int]:
    clauses, joint, sign, text = _Clauses(line.every), "", "", line.text
    while at < len(text):
        char = text[at]
        if char == ")" and line.depth:
            break
        if char == "|":
            joint = "OR"
        elif char == "+":
            joint = "AND"
        elif char == "-" and not sign:
            sign = "-"
        elif char == "(" and line.depth < line.asking.depth_max:
            plan, at = _simple(replace(line, depth=line.depth + 1), at + 1)
            clauses.add(plan, sign, joint)
            joint = sign = ""
        elif not char.isspace():
            plan, end = _simple_clause(line, at)
            if end > at:
                clauses.add(plan, sign, joint)
                joint = sign = ""
                at = end
                continue
        at += 1
    return clauses.plan(asked), at


def _simple_clause(line: _Line, at: int) -> tuple[Plan, int]:
    quoted = _QUOTED.match(line.text, at)
    if quoted is not None:
        return _phrase(line, _unescaped(quoted[1]), int(quoted[2] or 0)), quoted.end()
    word = _SIMPLE_WORD.match(line.text, at)
    if word is None:
        return Nothing(), at
    if word[2] == "*":
        return _any_field(line, lambda leaf: _wild(leaf, terms.from_plain(_unescaped(word[1])) + "*")), word.end()
    return _looked_up(line, re.sub(r"([*?])", r"\\\1", word[1]), word[2]), word.end()
