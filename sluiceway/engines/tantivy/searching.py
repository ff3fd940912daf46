"""One look at an index: matches, their order, and what they add up to."""

from __future__ import annotations

import heapq
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import orjson
from tantivy import Order

from sluiceway.config import SearchSettings
from sluiceway.core.search.index import Found, Hit, Search, SortKey
from sluiceway.core.search.order import places
from sluiceway.core.search.plan import Bool, Plan, Range
from sluiceway.engines.tantivy.compiler import Compiler
from sluiceway.errors import Invalid, TooLarge

#: So many matches are sorted without a look for fewer.
_FEW: Final = 2000
#: How many times as many as wanted are looked for, where documents with several values hide those that count.
_ATTEMPTS: Final = (1, 8)


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
        if total > min(_FEW, self._limits.sort_docs_max):
            for more in _ATTEMPTS:
                found = self._among_first(search, search.count * more)
                if found is not None:
                    return found
        if total > self._limits.sort_docs_max:
            raise TooLarge("sort", f"More than {self._limits.sort_docs_max} documents match, and by these keys no more are "
                           "sorted here: narrow the query, or sort by a number or date first.")  # fmt: skip
        return self._first(search, query, total)

    def _first(self, search: Search, query: Any, total: int) -> list[Hit]:
        if not total:
            return []
        keyed = self._keyed(self._searcher.search(query, total, False).hits, search)
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

    def _among_first(self, search: Search, count: int) -> list[Hit] | None:
        """The hits, found among those matches that can be the first by the first key; None if that doesn't help.

        The engine sorts by one number itself, by any one of a document's. A document's key is its least (descending:
        its greatest), so ``count`` of them lie within the engine's ``count``: all that do are sorted.
        """
        key = search.sort[0]
        column = key.column
        if column is None or (column not in self._columns and column != "sequence") or column[0] == "k":
            return None
        if key.first or key.missing is not None or (key.mode == "max") != key.descending:
            return None
        since = search.after[0] if search.after is not None else None
        if search.after is not None and since is None:
            return self._few(
                search,
                _without(search.plan, Range(column, low=-(1 << 63) if column[0] != "f" else -sys.float_info.max)),
            )  # only what has no value
        beyond = search.plan if since is None else _without(search.plan, _up_to(column, key, since, closed=True))
        order = Order.Desc if key.descending else Order.Asc
        compiled = self._compiler.query(beyond)
        hits = self._searcher.search(compiled, count, False, order_by_field=column, order=order).hits
        values = [value for value, _ in hits if value is not None]
        plan = search.plan if since is None else _without(search.plan, _up_to(column, key, since, closed=False))
        whole = len(values) < count  # what has no value comes in too
        if whole and since is None:
            return None
        if not whole:
            plan = Bool(must=[plan], filter=[_up_to(column, key, values[-1], closed=True)])
        found = self._few(search, plan)
        return found if found is None or whole or len(found) == search.count else None

    def _few(self, search: Search, plan: Plan) -> list[Hit] | None:
        """The first of the plan's matches, unless they are too many."""
        query = self._compiler.query(plan)
        total = self._count(query)
        return self._first(search, query, total) if total <= self._limits.sort_docs_max else None


def _without(plan: Plan, excluded: Plan) -> Plan:
    return Bool(must=[plan], must_not=[excluded])


def _up_to(column: str, key: SortKey, value: Any, *, closed: bool) -> Range:
    """Values before ``value`` in the key's order, with it if ``closed``."""
    if key.descending:
        return Range(column, low=value, low_included=closed)
    return Range(column, high=value, high_included=closed)


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
