"""One look at an index: matches, their order, and what they add up to."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson
from tantivy import Order

from sluiceway.config import SearchSettings
from sluiceway.core.search.index import Found, Hit, Search, SortKey
from sluiceway.core.search.order import places
from sluiceway.core.search.plan import Bool, Plan, Range
from sluiceway.engines.tantivy.compiler import Compiler
from sluiceway.errors import Invalid, TooLarge


class Look:
    """Consistent: all of it sees the same commit."""

    def __init__(self, index: Any, columns: frozenset[str], limits: SearchSettings) -> None:
        self._searcher = index.searcher()
        self._limits = limits
        self._compiler = Compiler(index.schema, self._searcher, columns | {"sequence"}, limits.terms_max)
        self._columns = columns

    def search(self, search: Search) -> Found:
        """See ``core.search.index.SearchIndexes``."""
        query = self._compiler.query(search.plan)
        aggregations = self._aggregate(query, search.aggregations)
        if not search.sort:
            result = self._searcher.search(query, max(1, search.count))
            hits = [self._hit(score, at, ()) for score, at in result.hits[: search.count]]
            return Found(result.count, hits, aggregations)
        total = self._count(query)
        if not search.count or not total:
            return Found(total, (), aggregations)
        return Found(total, self._sorted(search, query, total), aggregations)

    def _count(self, query: Any) -> int:
        return int(self._searcher.search(query, 1).count)

    def _aggregate(self, query: Any, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        if not asked:
            return {}
        try:
            found: Mapping[str, Any] = self._searcher.aggregate(query, dict(asked))
        except ValueError as error:
            raise Invalid("query", f"the aggregations can't be made: {str(error)[:300]}") from None
        return found

    def _hit(self, score: float | None, address: Any, keys: tuple[Any, ...]) -> Hit:
        document = self._searcher.doc(address)
        version, sequence, _ = orjson.loads(document["head"][0])
        return Hit(document["id"][0], sequence, version, document["source"][0].decode(), score, keys)

    # -- by fields

    def _sorted(self, search: Search, query: Any, total: int) -> list[Hit]:
        if total > self._limits.sort_docs_max:
            query = self._narrowed(search)
            total = self._count(query)
            if total > self._limits.sort_docs_max:
                raise self._too_many()
        if not total:
            return []
        matched = self._searcher.search(query, total, False).hits
        keyed = self._keyed(matched, search)
        chosen = heapq.nsmallest(search.count, keyed, key=lambda item: item[0])
        return [self._hit(score, at, keys) for _, keys, score, at in chosen]

    def _keyed(self, matched: Sequence[Any], search: Search) -> Iterator[tuple[Any, tuple[Any, ...], float, Any]]:
        after = None if search.after is None else places(search.after, search.sort)
        for score, address in matched:
            document = self._searcher.doc(address)
            _, sequence, values = orjson.loads(document["head"][0])
            id = document["id"][0]
            keys = tuple(_key(key, values, score, sequence, id) for key in search.sort)
            place = places(keys, search.sort)
            if after is None or place > after:
                yield (place, sequence), keys, score, address

    def _narrowed(self, search: Search) -> Any:
        """The query, with only those matches that can be among the first by the first key.

        The engine sorts by one number itself. Where documents have several, it takes any of them: the range that is
        found so is too wide at worst.
        """
        key = search.sort[0]
        column = key.column
        if column not in self._columns and column != "sequence":
            raise self._too_many()
        if column is None or column[0] == "k" or key.first or key.missing is not None:
            raise self._too_many()
        since = search.after[0] if search.after is not None else None
        if search.after is not None and since is None:
            raise self._too_many()
        beyond = search.plan if since is None else _within(search.plan, _side(column, key, since, open_=True))
        order = Order.Desc if key.descending else Order.Asc
        hits = self._searcher.search(
            self._compiler.query(beyond), search.count, False, order_by_field=column, order=order
        ).hits
        values = [value for value, _ in hits if value is not None]
        parts = [] if since is None else [_side(column, key, since, open_=False)]
        if len(values) == search.count:
            last = values[-1]
            parts.append(Range(column, low=last) if key.descending else Range(column, high=last))
        elif not parts:
            raise self._too_many()
        else:  # those without a value come in too
            parts = [Bool(must_not=[_side(column, key, since, open_=True, before=True)])]  # type: ignore[list-item]
        return self._compiler.query(_within(search.plan, *parts))

    def _too_many(self) -> TooLarge:
        return TooLarge("sort", f"More than {self._limits.sort_docs_max} documents match, and by these keys no more are "
                        "sorted here: narrow the query, or sort by a number or date first.")  # fmt: skip


def _within(plan: Plan, *filters: Plan) -> Plan:
    return Bool(must=[plan], filter=filters)


def _side(column: str, key: SortKey, value: Any, *, open_: bool, before: bool = False) -> Range:
    """Values after ``value`` in the key's order (or before it)."""
    if key.descending != before:
        return Range(column, high=value, high_included=not open_)
    return Range(column, low=value, low_included=not open_)


def _key(key: SortKey, values: Mapping[str, Sequence[Any]], score: float, sequence: int, id: str) -> Any:
    if key.column is None:
        return score
    if key.column == "sequence":
        return sequence
    if key.column == "id":
        return id
    found = values.get(key.column)
    if not found:
        return key.missing
    return max(found) if key.mode == "max" else min(found)
