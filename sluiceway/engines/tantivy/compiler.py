"""Plans as Tantivy's queries."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from tantivy import FieldType, Occur, Query

from sluiceway.core.search import plan as plans
from sluiceway.core.search.plan import Plan
from sluiceway.errors import Invalid

_NUMBERS: Final[Mapping[str, FieldType]] = {"i": FieldType.Integer, "f": FieldType.Float}


class Compiler:
    """For one look at one index. ``columns`` are the columns it has; what is in others is nowhere."""

    def __init__(self, schema: Any, searcher: Any, columns: frozenset[str], range_terms_max: int) -> None:
        self._schema = schema
        self._searcher = searcher
        self._columns = columns
        self._range_terms_max = range_terms_max

    def query(self, plan: Plan) -> Any:
        """Raises ``Invalid("query")`` for what Tantivy refuses: an expression too large, a value of no use."""
        try:
            return self._query(plan)
        except (ValueError, OverflowError, TypeError) as error:
            raise Invalid("query", f"the query can't be run: {str(error)[:300]}") from None

    def everything(self) -> Any:
        """All documents, but not the engine's own notes."""
        return self._constant(Query.term_query(self._schema, "kind", "document"), 1.0)

    def _constant(self, query: Any, score: float) -> Any:
        return Query.const_score_query(query, score)

    def _query(self, plan: Plan) -> Any:
        match plan:
            case plans.All():
                return self.everything()
            case plans.Bool():
                return self._bool(plan)
            case plans.Best(parts, tie):
                return Query.disjunction_max_query([self._query(part) for part in parts], tie)
            case plans.Boost(part, factor):
                return Query.boost_query(self._query(part), factor)
            case plans.Constant(part, score):
                return self._constant(self._query(part), score)
            case plans.Ids(ids):
                return self._constant(Query.term_set_query(self._schema, "id", list(ids)), 1.0)
            case plans.Exists(paths):
                return self._constant(Query.term_set_query(self._schema, "has", list(paths)), 1.0)
            case plans.Nothing():
                return Query.empty_query()
            case _:
                return self._leaf(plan)

    def _leaf(self, plan: Any) -> Any:
        schema, column = self._schema, plan.column
        if column not in self._columns:
            return Query.empty_query()
        match plan:
            case plans.Term(_, value):
                return Query.term_query(schema, column, value)
            case plans.Terms(_, values):
                return self._constant(Query.term_set_query(schema, column, list(values)), 1.0)
            case plans.Range():
                return self._range(plan)
            case plans.Phrase(_, words, slop, prefix):
                if prefix:
                    return Query.phrase_prefix_query(schema, column, list(words))
                return Query.phrase_query(schema, column, list(words), slop)
            case plans.Fuzzy(_, word, distance, kept):
                similar = Query.fuzzy_term_query(schema, column, word, distance)
                if not kept:
                    return similar
                beginning = Query.regex_query(schema, column, re.escape(word[:kept]) + "(?s:.)*")
                return Query.boolean_query([(Occur.Must, similar), (Occur.Must, self._constant(beginning, 0.0))])
            case plans.Pattern(_, regex):
                return self._constant(Query.regex_query(schema, column, regex), 1.0)
        raise AssertionError(f"a plan without a rule: {plan!r}")

    def _bool(self, plan: plans.Bool) -> Any:
        parts = [(Occur.Must, self._query(part)) for part in plan.must]
        parts += [(Occur.Must, self._constant(self._query(part), 0.0)) for part in plan.filter]
        parts += [(Occur.MustNot, self._query(part)) for part in plan.must_not]
        should = [(Occur.Should, self._query(part)) for part in plan.should]
        if should and plan.minimum:
            parts.append((Occur.Must, Query.boolean_query(should, plan.minimum)))
            should = []
        if not plan.must and not plan.filter and not (plan.should and plan.minimum):
            score = 0.0 if should else 1.0
            parts.append((Occur.Must, self._constant(self.everything(), score)))
        return Query.boolean_query(parts + should, 0)

    def _range(self, plan: plans.Range) -> Any:
        kind = plan.column[0]
        if kind not in _NUMBERS and plan.column != "sequence":
            return self._constant(self._texts(plan), 1.0)
        low, high = plan.low, plan.high
        if low is not None and high is not None and low > high:
            return Query.empty_query()
        if low is None and high is None:
            return self.everything()
        return self._constant(
            Query.range_query(
                self._schema,
                plan.column,
                _NUMBERS.get(kind, FieldType.Integer),
                low,
                high,
                plan.low_included or low is None,
                plan.high_included or high is None,
            ),
            1.0,
        )

    def _texts(self, plan: plans.Range) -> Any:
        """Tantivy has no ranges of text: look the terms up."""
        low, high = plan.low, plan.high
        common = _common_prefix(low, high)
        found = self._searcher.terms_with_prefix(plan.column, common, limit=self._range_terms_max + 1)
        if len(found) > self._range_terms_max:
            raise Invalid("query", f"the range is over a field with more than {self._range_terms_max} different texts")
        texts = [
            text
            for text, _ in found
            if (low is None or text > low or (plan.low_included and text == low))
            and (high is None or text < high or (plan.high_included and text == high))
        ]
        return Query.term_set_query(self._schema, plan.column, texts) if texts else Query.empty_query()


def _common_prefix(low: str | None, high: str | None) -> str:
    if not low or not high:
        return ""
    size = next(
        (at for at, pair in enumerate(zip(low, high, strict=False)) if pair[0] != pair[1]), len(min(low, high, key=len))
    )
    return low[:size]
