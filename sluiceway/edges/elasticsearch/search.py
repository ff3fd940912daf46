"""Searches (Elasticsearch reference 7.10, "Search APIs"). They run on the search threads as a whole."""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from sluiceway.core.search.aggregations import Aggregations
from sluiceway.core.search.analysis import recipe
from sluiceway.core.search.highlight import Highlighter
from sluiceway.core.search.index import Found, Hit, Search, SortKey
from sluiceway.core.search.order import places
from sluiceway.core.search.query import parse
from sluiceway.core.search.request import Asked, asked, filtered
from sluiceway.edges.elasticsearch.call import Answer, Call, Tools, fragment, gone, shards
from sluiceway.edges.elasticsearch.documents import sources
from sluiceway.edges.elasticsearch.errors import described
from sluiceway.errors import DomainError, Invalid, NotImplementedYet, Unavailable
from sluiceway.services.documents import Index
from sluiceway.services.documents.service import PRIMARY_TERM, parsed

_QUERY_STRING: Final = ("default_operator", "df", "analyze_wildcard", "lenient")
_SCROLL_SORT: Final = ("_doc", "_seq_no")
_MANY_MAX: Final = 100


async def search(call: Call) -> Answer:
    """_search"""
    body = _body(call)
    if "scroll" in call.query:
        return await _scrolled(call, call.path.get("index", ""), _scrollable(body), None)
    answer, _ = await _searched(call, call.path.get("index", ""), body)
    if call.flag("rest_total_hits_as_int") and "total" in answer["hits"]:
        answer["hits"]["total"] = answer["hits"]["total"]["value"]
    return Answer(200, answer)


async def multi_search(call: Call) -> Answer:
    """_msearch: each search succeeds or fails by itself."""
    lines = [line for line in call.body.split(b"\n") if line.strip()]
    if len(lines) % 2 or not lines:
        raise Invalid("action", "Validation Failed: 1: no requests added;")
    if len(lines) > 2 * _MANY_MAX:
        raise Invalid("parameter", f"[_msearch] of more than {_MANY_MAX} searches")
    began = time.perf_counter()
    answers = []
    for head_line, line in zip(lines[::2], lines[1::2], strict=True):
        try:
            head, body = parsed(head_line), parsed(line)
            if not isinstance(head, dict) or not isinstance(body, dict):
                raise Invalid("json", "[_msearch] wants objects")
            name = head.get("index", call.path.get("index", ""))
            answer, _ = await _searched(call, ",".join(name) if isinstance(name, list) else str(name), body)
            answers.append({**answer, "status": 200})
        except DomainError as error:
            about, status = described(error)
            answers.append({"error": {"root_cause": [about], **about}, "status": status})
    return Answer(200, {"took": _took(began), "responses": answers})


async def scroll(call: Call) -> Answer:
    """_search/scroll: the id says where the search goes on. It sees later changes, unlike Elasticsearch's."""
    given = call.query.get("scroll_id") or call.path.get("scroll_id")
    if given is None:
        body = call.json()
        given = body.get("scroll_id") if isinstance(body, dict) else None
    if not isinstance(given, str):
        raise Invalid("action", "Validation Failed: 1: scrollId is missing;")
    try:
        name, body, after = orjson.loads(base64.urlsafe_b64decode(given.encode()))
        if not isinstance(name, str) or not isinstance(body, dict) or not isinstance(after, list):
            raise ValueError("not what was made")
    except (ValueError, TypeError, binascii.Error):
        raise Invalid("scroll", "Cannot parse scroll id") from None
    return await _scrolled(call, name, body, after)


async def clear_scroll(call: Call) -> Answer:
    """DELETE _search/scroll: nothing is kept for one."""
    return Answer(200, {"succeeded": True, "num_freed": 1})


def _scrollable(body: Mapping[str, Any]) -> dict[str, Any]:
    """A search that can be gone through to its end: its order is total."""
    if body.get("from") or body.get("search_after"):
        raise Invalid("query", "using [from] or [search_after] is not allowed in a scroll context")
    sort = body.get("sort", [])
    sort = sort if isinstance(sort, list) else [sort]
    if not sort:
        sort = ["_score"] if body.get("query") else []
    return {**body, "sort": [*(part for part in sort if part not in _SCROLL_SORT), "_doc"]}


async def _scrolled(call: Call, name: str, body: dict[str, Any], after: list[Any] | None) -> Answer:
    if after == []:
        following: list[Any] = []
        answer, _ = await _searched(call, name, {**body, "size": 0, "aggs": {}})
    else:
        answer, hits = await _searched(
            call, name, body if after is None else {**body, "search_after": after, "aggs": {}}
        )
        following = hits[-1]["sort"] if hits else []
    id = base64.urlsafe_b64encode(orjson.dumps([name, body, following])).decode()
    return Answer(200, {"_scroll_id": id, **answer})


async def count(call: Call) -> Answer:
    """_count"""
    body = _body(call)
    if unknown := body.keys() - {"query"}:
        raise Invalid("query", f"request does not support [{sorted(unknown)[0][:100]}]")
    indices = await searchable(call, call.path.get("index", ""))

    def run() -> int:
        total = 0
        for index in indices:
            plan = parse(call.tools.asking(index, call.now_ms), body.get("query"))
            total += call.tools.index.search(index.uid, Search(plan, 0)).total
        return total

    total = await _run(call, indices, run)
    return Answer(200, {"count": total, "_shards": {**shards(len(indices)), "skipped": 0}})


async def validate(call: Call) -> Answer:
    """_validate/query"""
    body = _body(call)
    indices = await named(call, call.path.get("index", ""))
    valid = True
    for index in indices:
        try:
            parse(call.tools.asking(index, call.now_ms), body.get("query"))
        except (Invalid, NotImplementedYet):
            valid = False
    return Answer(200, {"_shards": shards(len(indices)), "valid": valid})


async def analyze(call: Call) -> Answer:
    """_analyze"""
    body = call.json()
    if not isinstance(body, dict) or body.keys() - {"text", "analyzer", "field"}:
        raise NotImplementedYet("query", "[_analyze] wants [text], with [analyzer] or [field], here")
    texts = body.get("text")
    texts = texts if isinstance(texts, list) else [texts]
    settings: Any = {}
    if "index" in call.path:
        index = await call.tools.store.view(call.tools.documents.indices.get, call.path["index"])
        settings = index.settings.get("analysis") or {}
        leaf = call.tools.documents.fields(index).find(str(body.get("field")))
        if leaf is not None and "analyzer" not in body:
            how = leaf.recipe or "raw"
        else:
            how = recipe(str(body.get("analyzer", "standard")), settings)
    else:
        how = recipe(str(body.get("analyzer", "standard")), settings)
    tokens = [
        {
            "token": token.text,
            "start_offset": token.start,
            "end_offset": token.end,
            "type": "word",
            "position": token.position,
        }
        for text in texts
        for token in call.tools.index.analyze(how, str(text))
    ]
    return Answer(200, {"tokens": tokens})


# -- inside


def _body(call: Call) -> dict[str, Any]:
    """The request's body, with what the query string says over it."""
    body = call.json({})
    if not isinstance(body, dict):
        raise Invalid("query", "Expected [START_OBJECT] but found something else")
    body = dict(body)
    query = call.query
    if "q" in query:
        line: dict[str, Any] = {"query": query["q"]}
        line |= {{"df": "default_field"}.get(name, name): query[name] for name in _QUERY_STRING if name in query}
        body["query"] = {"query_string": line}
    for name in ("from", "size"):
        if (number := call.number(name)) is not None:
            body[name] = number
    for name in ("track_total_hits", "track_scores", "version", "seq_no_primary_term", "timeout"):
        if name in query:
            body[name] = query[name]
    if "sort" in query:
        body["sort"] = query["sort"].split(",")
    shown = sources(call)
    if any(name.startswith("_source") for name in query):
        body["_source"] = {"includes": list(shown.includes), "excludes": list(shown.excludes)} if shown.shown else False
    return body


async def named(call: Call, expression: str) -> list[Index]:
    lenient = call.flag("ignore_unavailable")
    allow_none = call.flag("allow_no_indices", True)
    indices = call.tools.documents.indices
    return await call.tools.store.view(indices.named, expression, lenient=lenient, allow_none=allow_none)


async def searchable(call: Call, expression: str) -> list[Index]:
    """``named``, when they can be searched. Raises ``Unavailable`` if that takes too long: it is being made again."""
    indices = await named(call, expression)
    for index in indices:
        if not await call.tools.caught_up(index, -1):
            raise gone(call, index)
    return indices


async def _run(call: Call, indices: Sequence[Index], fn: Any) -> Any:
    try:
        return await call.tools.searchers.run(fn)
    except Unavailable:
        for index in indices:
            gone(call, index)
        raise


async def _searched(call: Call, name: str, body: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The answer, and its hits."""
    began = time.perf_counter()
    indices = await searchable(call, name)
    found: tuple[dict[str, Any], list[dict[str, Any]]] = await _run(
        call, indices, lambda: _answer(call.tools, indices, body, call.now_ms, began)
    )
    return found


def _answer(
    tools: Tools, indices: Sequence[Index], body: dict[str, Any], now_ms: int, began: float
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Search every index and merge what was found. On a search thread."""
    given = body.get("aggs") or body.get("aggregations") or {}
    if given and len(indices) > 1:
        raise NotImplementedYet("query", "aggregations over more than one index are not offered here")
    answers: list[tuple[Index, Asked, Found]] = []
    shown: dict[str, Any] | None = None
    for index in indices:
        asking = tools.asking(index, now_ms)
        request = asked(asking, body, tools.limits.window_max)
        aggregations = Aggregations(asking.fields, given, tools.limits.buckets_max)
        keys = [order.key for order in request.orders]
        wanted = Search(request.plan, request.start + request.size, keys, request.after, aggregations.asked)
        found = tools.index.search(index.uid, wanted)
        answers.append((index, request, found))
        if given:
            shown = aggregations.shown(found.aggregations)
    hits, most = _hits(tools, answers)
    total = _total(answers)
    part: dict[str, Any] = {"max_score": most, "hits": hits}
    answer: dict[str, Any] = {
        "took": _took(began),
        "timed_out": False,
        "_shards": {**shards(len(indices)), "skipped": 0},
        "hits": part if total is None else {"total": total, **part},
    }
    if shown is not None:
        answer["aggregations"] = shown
    return answer, hits


def _total(answers: Sequence[tuple[Index, Asked, Found]]) -> dict[str, Any] | None:
    total = sum(found.total for _, _, found in answers)
    most = answers[0][1].total_max if answers else None
    if most == 0:
        return None
    if most is not None and total > most:
        return {"value": most, "relation": "gte"}
    return {"value": total, "relation": "eq"}


def _hits(tools: Tools, answers: Sequence[tuple[Index, Asked, Found]]) -> tuple[list[dict[str, Any]], float | None]:
    merged: list[tuple[Any, Hit, Index, Asked]] = []
    for index, request, found in answers:
        keys: Sequence[SortKey] = [order.key for order in request.orders]
        for hit in found.hits:
            place: Any = places(hit.keys, keys) if keys else -(hit.score or 0.0)
            merged.append((place, hit, index, request))
    if len(answers) > 1:
        merged.sort(key=lambda item: item[0])
    if not answers:
        return [], None
    first = answers[0][1]
    chosen = merged[first.start : first.start + first.size]
    highlighters: dict[str, Highlighter] = {}
    for index, request, _ in answers:
        if request.marks:
            fields = tools.documents.fields(index)
            highlighters[index.uid] = Highlighter(
                fields, tools.index.analyze, request.marked, tools.limits.highlight_chars_max
            )
    hits = [_hit(hit, index, request, highlighters.get(index.uid)) for _, hit, index, request in chosen]
    scored = [hit.score for _, hit, _, request in merged if not request.orders and hit.score is not None]
    return hits, max(scored, default=None)


def _hit(hit: Hit, index: Index, request: Asked, highlighter: Highlighter | None) -> dict[str, Any]:
    by_score = not request.orders or request.track_scores or any(order.key.column is None for order in request.orders)
    shown: dict[str, Any] = {"_index": index.name, "_id": hit.id, "_score": hit.score if by_score else None}
    if request.version:
        shown["_version"] = hit.version
    if request.sequence:
        shown |= {"_seq_no": hit.sequence, "_primary_term": PRIMARY_TERM}
    source = orjson.loads(hit.source) if highlighter or request.sources.includes or request.sources.excludes else None
    if request.sources.includes or request.sources.excludes:
        shown["_source"] = filtered(source, request.sources)
    elif request.sources.shown:
        shown["_source"] = fragment(hit.source)
    if highlighter is not None:
        highlights = highlighter.highlights(source, request.marks)
        if highlights:
            shown["highlight"] = highlights
    if request.orders:
        shown["sort"] = list(hit.keys)
    return shown


def _took(began: float) -> int:
    return int((time.perf_counter() - began) * 1000)
