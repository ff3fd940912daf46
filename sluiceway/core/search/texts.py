"""Full-text queries (Elasticsearch reference 7.10, "Full text queries"), but for query strings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sluiceway.core.search.asking import Asking, flag, minimum, number, only, options, whole
from sluiceway.core.search.index import Token
from sluiceway.core.search.mapping import KINDS, Leaf
from sluiceway.core.search.plan import All, Best, Bool, Nothing, Pattern, Phrase, Plan, Term
from sluiceway.core.search.terms import ANY, boosted, edits, escaped, exact, similar
from sluiceway.core.search.values import text_of
from sluiceway.errors import Invalid, NotImplementedYet

_MATCH: Final = frozenset({
    "query", "operator", "minimum_should_match", "fuzziness", "prefix_length", "max_expansions", "boost", "analyzer",
    "zero_terms_query", "lenient", "fuzzy_transpositions", "fuzzy_rewrite", "auto_generate_synonyms_phrase_query",
    "cutoff_frequency",
})  # fmt: skip
_PHRASE: Final = frozenset({"query", "slop", "boost", "analyzer", "zero_terms_query", "max_expansions"})
_MULTI: Final = _MATCH | {"fields", "type", "tie_breaker", "slop"}


@dataclass(frozen=True, slots=True)
class Matching:
    """How words of a text have to match."""

    every: bool = False
    minimum: Any = None
    fuzziness: Any = None
    prefix_length: int = 0
    lenient: bool = False
    none_is_all: bool = False

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Matching:
        """From a query's options."""
        operator = str(given.get("operator", "or")).lower()
        if operator not in ("and", "or"):
            raise Invalid("query", f"operator needs to be either AND or OR, but not [{operator[:100]}]")
        zero = str(given.get("zero_terms_query", "none")).lower()
        if zero not in ("none", "all"):
            raise Invalid("query", f"Unsupported zero_terms_query value [{zero[:100]}]")
        if given.get("analyzer") is not None:
            raise NotImplementedYet(
                "query", "[analyzer] in a query is not offered here: set [search_analyzer] of the field"
            )
        kept = whole(given.get("prefix_length", 0), "prefix_length", 0, 1000)
        lenient = flag(given.get("lenient", False), "lenient")
        return cls(
            operator == "and", given.get("minimum_should_match"), given.get("fuzziness"), kept, lenient, zero == "all"
        )


def match(asking: Asking, body: Any) -> Plan:
    """``match``"""
    path, given = _asked(body, "match", _MATCH)
    how = Matching.of(given)
    leaf = asking.fields.find(path)
    return boosted(words(asking, leaf, given["query"], how), given.get("boost")) if leaf else Nothing()


def match_phrase(asking: Asking, body: Any) -> Plan:
    """``match_phrase``"""
    path, given = _asked(body, "match_phrase", _PHRASE)
    Matching.of(given)
    leaf = asking.fields.find(path)
    slop = whole(given.get("slop", 0), "slop", 0, 1000)
    return boosted(phrase(asking, leaf, given["query"], slop), given.get("boost")) if leaf else Nothing()


def match_phrase_prefix(asking: Asking, body: Any) -> Plan:
    """``match_phrase_prefix``"""
    path, given = _asked(body, "match_phrase_prefix", _PHRASE)
    Matching.of(given)
    leaf = asking.fields.find(path)
    slop = whole(given.get("slop", 0), "slop", 0, 1000)
    return boosted(phrase(asking, leaf, given["query"], slop, prefix=True), given.get("boost")) if leaf else Nothing()


def match_bool_prefix(asking: Asking, body: Any) -> Plan:
    """``match_bool_prefix``"""
    path, given = _asked(body, "match_bool_prefix", _MATCH)
    leaf = asking.fields.find(path)
    return (
        boosted(beginning(asking, leaf, given["query"], Matching.of(given)), given.get("boost")) if leaf else Nothing()
    )


def multi_match(asking: Asking, body: Any) -> Plan:
    """``multi_match``"""
    given = options(body, "multi_match", _MULTI)
    if given.get("query") is None:
        raise Invalid("query", "No text specified for multi_match query")
    kind, how = given.get("type", "best_fields"), Matching.of(given)
    patterns = given.get("fields") or ["*"]
    if not isinstance(patterns, list):
        patterns = [patterns]
    if patterns == ["*"]:
        how = Matching(how.every, how.minimum, how.fuzziness, how.prefix_length, True, how.none_is_all)
    chosen = asking.searchable(patterns)
    slop = whole(given.get("slop", 0), "slop", 0, 1000)
    plans = [boosted(_one(asking, leaf, str(kind), given["query"], how, slop), boost) for leaf, boost in chosen]
    plans = [plan for plan in plans if not isinstance(plan, Nothing)]
    if not plans:
        return Nothing()
    if kind in ("most_fields", "bool_prefix"):
        return boosted(Bool(should=plans, minimum=1), given.get("boost"))
    tie = number(given.get("tie_breaker", 0.0), "tie_breaker")
    return boosted(plans[0] if len(plans) == 1 else Best(plans, tie), given.get("boost"))


def _one(asking: Asking, leaf: Leaf, kind: str, text: Any, how: Matching, slop: int) -> Plan:
    if kind in ("best_fields", "most_fields"):
        return words(asking, leaf, text, how)
    if kind in ("phrase", "phrase_prefix"):
        return phrase(asking, leaf, text, slop, prefix=kind == "phrase_prefix", lenient=how.lenient)
    if kind == "bool_prefix":
        return beginning(asking, leaf, text, how)
    raise NotImplementedYet("query", f"[multi_match] of type [{kind[:100]}] is not offered here")


def words(asking: Asking, leaf: Leaf, text: Any, how: Matching) -> Plan:
    """The words of ``text``; a value of a field that isn't text."""
    if leaf.type != "text" or leaf.column is None:
        asking.count()
        if leaf.type == "keyword" and how.fuzziness is not None and leaf.column is not None:
            return similar(leaf.column, text_of(text), edits(how.fuzziness, text_of(text)), how.prefix_length)
        return exact(asking, leaf, text, lenient=how.lenient)
    tokens = cut(asking, leaf, text)
    if not tokens:
        return All() if how.none_is_all else Nothing()
    plans = [_word(leaf.column, token.text, how) for token in tokens]
    return _combined(asking, plans, how)


def _combined(asking: Asking, plans: Sequence[Plan], how: Matching) -> Plan:
    asking.count(len(plans))
    if len(plans) == 1:
        return plans[0]
    if how.every:
        return Bool(must=plans)
    needed = 1 if how.minimum is None else minimum(how.minimum, len(plans))
    return Bool(should=plans, minimum=max(1, needed))


def _word(column: str, word: str, how: Matching) -> Plan:
    if how.fuzziness is None:
        return Term(column, word)
    return similar(column, word, edits(how.fuzziness, word), how.prefix_length)


def phrase(
    asking: Asking, leaf: Leaf, text: Any, slop: int = 0, *, prefix: bool = False, lenient: bool = False
) -> Plan:
    """The words of ``text`` beside each other."""
    asking.count()
    if leaf.type != "text" or leaf.column is None:
        if prefix and KINDS[leaf.type] == "k" and leaf.column is not None:
            return Pattern(leaf.column, escaped(text_of(text)) + ANY)
        return exact(asking, leaf, text, lenient=lenient)
    tokens = cut(asking, leaf, text)
    if not tokens:
        return Nothing()
    asking.count(len(tokens))
    if len(tokens) == 1:
        word = tokens[0].text
        return Pattern(leaf.column, escaped(word) + ANY) if prefix else Term(leaf.column, word)
    first = tokens[0].position
    return Phrase(leaf.column, [(token.position - first, token.text) for token in tokens], slop, prefix)


def beginning(asking: Asking, leaf: Leaf, text: Any, how: Matching) -> Plan:
    """The words of ``text``, the last of which may go on."""
    if leaf.type != "text" or leaf.column is None:
        return phrase(asking, leaf, text, prefix=True, lenient=how.lenient)
    tokens = cut(asking, leaf, text)
    if not tokens:
        return Nothing()
    plans: list[Plan] = [_word(leaf.column, token.text, how) for token in tokens[:-1]]
    return _combined(asking, [*plans, Pattern(leaf.column, escaped(tokens[-1].text) + ANY)], how)


def cut(asking: Asking, leaf: Leaf, text: Any) -> Sequence[Token]:
    """The words that a search in the field looks for."""
    if isinstance(text, dict | list) or text is None:
        raise Invalid("query", f"the text for field [{leaf.path}] must be a single value")
    return asking.analyze(leaf.search_recipe, text_of(text))


def _asked(body: Any, query: str, known: frozenset[str]) -> tuple[str, Mapping[str, Any]]:
    path, inner = only(body, query)
    given = inner if isinstance(inner, Mapping) else {"query": inner}
    options(given, query, known)
    if given.get("query") is None:
        raise Invalid("query", "No text specified for text query")
    return path, given
