"""Queries by the official client, also against a model."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import elasticsearch
import elasticsearch.helpers
import pytest
from helpers.search import LIMITS, Server, failed, found, load


async def test_full_text(server: Server) -> None:
    def work() -> None:
        es = server.client()
        load(es)

        def ids(query: dict[str, Any], **more: Any) -> list[str]:
            return found(es.search(index="books", query=query, **more))

        assert ids({"match_all": {}}, sort=[{"year": "asc"}, {"title.keyword": "desc"}]) == ["1", "2", "4", "3"]
        assert sorted(ids({"match": {"title": "QUICK fox"}})) == ["1", "3"]
        assert ids({"match": {"title": "QUICK fox"}})[0] == "1"
        assert ids({"match": {"title": {"query": "quick fox", "operator": "and"}}}) == ["1"]
        some = {"match": {"title": {"query": "quick brown bears", "minimum_should_match": "67%"}}}
        assert sorted(ids(some)) == ["1", "2"]
        assert ids({"match": {"title": {"query": "quikc", "fuzziness": "AUTO"}}}, sort="year") == ["1", "3"]
        assert ids({"match_phrase": {"title": "brown fox"}}) == ["1"]
        assert ids({"match_phrase": {"title": {"query": "quick fox", "slop": 1}}}) == ["1"]
        assert sorted(ids({"match_phrase_prefix": {"title": "brown fo"}})) == ["1", "2"]
        assert ids({"match_bool_prefix": {"title": "guide gar"}}) == ["3"]
        both = {"multi_match": {"query": "ann", "fields": ["title^2", "author.name"]}}
        assert sorted(ids(both)) == ["1", "3"]
        assert (
            ids({"multi_match": {"query": "ann quick", "type": "most_fields", "fields": ["title", "author.*"]}})[0]
            in "13"
        )
        assert ids({"bool": {"must": [{"match": {"title": "brown"}}], "must_not": {"term": {"sold": True}}}}) == ["2"]
        should = {"bool": {"should": [{"match": {"title": "rivers"}}, {"term": {"year": 2010}}],
                           "minimum_should_match": 2}}  # fmt: skip
        assert ids(should) == ["4"]
        assert sorted(ids({"bool": {"must_not": [{"exists": {"field": "price"}}]}})) == ["3"]
        assert (
            es.search(index="books", query={"bool": {"filter": {"term": {"year": 2010}}}})["hits"]["max_score"] == 0.0
        )
        assert es.count(index="books", query={"match": {"title": "brown"}})["count"] == 2
        assert sorted(found(es.search(index="books", q="title:brown AND NOT sold:true"))) == ["2"]
        assert sorted(found(es.search(index="books", q="quick -garden*"))) == ["1"]

    await asyncio.to_thread(work)


async def test_exact_values(server: Server) -> None:
    def work() -> None:
        es = server.client()
        load(es)

        def ids(query: dict[str, Any]) -> list[str]:
            return found(es.search(index="books", query=query, sort=["_id"]))

        assert ids({"term": {"tags.keyword": "animal"}}) == ["1", "2"]
        assert ids({"terms": {"year": [1999, "2005"]}}) == ["1", "2"]
        assert ids({"terms": {"tags.keyword": ["green", "fast"]}}) == ["1", "3"]
        assert ids({"range": {"year": {"gt": 1999, "lte": 2010}}}) == ["2", "3", "4"]
        assert ids({"range": {"price": {"gte": 4.25, "lt": 10}}}) == ["1", "4"]
        assert ids({"range": {"out": {"gte": "2021", "lte": "2022-03"}}}) == ["2", "3"]
        assert ids({"range": {"out": {"lt": "2020-01-15||+1d/d"}}}) == ["1"]
        assert ids({"range": {"out": {"gt": "now"}}}) == []
        assert ids({"range": {"title.keyword": {"gte": "B", "lt": "R"}}}) == ["2", "4"]
        assert ids({"term": {"out": "2020-01-15"}}) == ["1"]
        assert ids({"exists": {"field": "author"}}) == ["1", "2", "3"]
        assert ids({"prefix": {"author.name.keyword": "Ann"}}) == ["1"]
        assert ids({"wildcard": {"author.name.keyword": "*nn*"}}) == ["1", "3"]
        assert ids({"wildcard": {"author.name.keyword": {"value": "B?B*", "case_insensitive": True}}}) == ["2"]
        assert ids({"regexp": {"title": "gu(id|est)e"}}) == ["3"]
        assert ids({"fuzzy": {"title": {"value": "gadrens"}}}) == ["3"]
        assert ids({"ids": {"values": ["2", "9"]}}) == ["2"]
        assert ids({"term": {"nothing": 1}}) == []
        assert ids({"query_string": {"query": "year:[2000 TO 2009] OR title:river?"}}) == ["2", "4"]
        assert ids({"query_string": {"query": '"brown fox" (bears AND foxes)', "fields": ["title"]}}) == ["1", "2"]
        assert ids(
            {"simple_query_string": {"query": "quick -fox", "fields": ["title"], "default_operator": "and"}}
        ) == ["3"]
        assert ids({"constant_score": {"filter": {"term": {"sold": "false"}}}}) == ["2", "4"]
        assert ids({"dis_max": {"queries": [{"term": {"year": 1999}}, {"match_none": {}}]}}) == ["1"]

    await asyncio.to_thread(work)


async def test_windows_sorts_and_sources(server: Server) -> None:
    def work() -> None:
        es = server.client()
        load(es)
        page = es.search(index="books", from_=1, size=2, sort=[{"price": {"order": "desc", "missing": "_first"}}])
        assert found(page) == ["2", "1"] and page["hits"]["total"] == {"value": 4, "relation": "eq"}
        assert page["hits"]["hits"][0]["sort"] == [19.0] and page["hits"]["hits"][0]["_score"] is None
        assert found(es.search(index="books", sort=[{"price": {"missing": 5}}])) == ["4", "3", "1", "2"]
        assert found(es.search(index="books", sort="price")) == ["4", "1", "2", "3"]
        seen: list[str] = []
        after = None
        for _ in range(5):
            more = {"search_after": after} if after else {}
            page = es.search(index="books", size=1, sort=[{"out": "desc"}, {"_id": "asc"}], **more)
            seen += found(page)
            after = page["hits"]["hits"][-1]["sort"] if page["hits"]["hits"] else None
        assert seen[:4] == ["4", "3", "2", "1"]
        one = es.search(index="books", query={"ids": {"values": ["1"]}}, source=["author.*", "year"], version=True)
        hit = one["hits"]["hits"][0]
        assert (hit["_source"], hit["_version"]) == ({"year": 1999, "author": {"name": "Ann Lee"}}, 1)
        none = es.search(index="books", source=False, size=1, track_total_hits=False)
        assert "_source" not in none["hits"]["hits"][0] and "total" not in none["hits"]
        kept = es.get(index="books", id="1", source_excludes=["a*", "t*"])
        assert set(kept["_source"]) == {"year", "price", "sold", "out"}
        assert es.search(index="books", track_total_hits=2)["hits"]["total"] == {"value": 2, "relation": "gte"}
        assert failed(es.search, index="books", from_=9_999, size=2)[0] == 400
        assert "keyword field" in failed(es.search, index="books", sort="title")[2]
        assert "No mapping found" in failed(es.search, index="books", sort="nope")[2]
        several = es.mget(index="books", ids=["1", "nope"])
        assert [doc["found"] for doc in several["docs"]] == [True, False]

    await asyncio.to_thread(work)


async def test_highlights(server: Server) -> None:
    def work() -> None:
        es = server.client()
        text = "Some filler words here. " * 20 + "The brown fox ran. " + "More filler text follows. " * 20
        es.index(index="h", id="1", document={"title": "A quick brown fox", "text": text}, refresh="wait_for")

        def marks(query: dict[str, Any], **given: Any) -> Any:
            return es.search(index="h", query=query, highlight=given)["hits"]["hits"][0].get("highlight")

        match = {"multi_match": {"query": "FOX", "fields": ["title", "text"]}}
        both = marks(match, fields={"title": {}, "text": {"fragment_size": 40}}, pre_tags=["<b>"], post_tags=["</b>"])
        assert both["title"] == ["A quick brown <b>fox</b>"]
        assert len(both["text"]) == 1 and "<b>fox</b>" in both["text"][0] and len(both["text"][0]) < 60
        whole = marks(match, fields={"text": {"number_of_fragments": 0}})["text"][0]
        assert whole.replace("<em>", "").replace("</em>", "") == text
        phrase = marks({"match_phrase": {"title": "quick brown"}}, fields={"*": {}})
        assert phrase == {"title": ["A <em>quick</em> <em>brown</em> fox"]}
        assert marks({"match_all": {}}, fields={"title": {}}) is None
        assert marks({"prefix": {"title": "qui"}}, fields={"title": {}}) == {"title": ["A <em>quick</em> brown fox"]}

    await asyncio.to_thread(work)


async def test_aggregations(server: Server) -> None:
    def work() -> None:
        es = server.client()
        load(es)
        aggs = {
            "tags": {"terms": {"field": "tags.keyword"}, "aggs": {"dearest": {"max": {"field": "price"}}}},
            "sold": {"terms": {"field": "sold"}},
            "mean": {"avg": {"field": "price"}},
            "years": {"cardinality": {"field": "year"}},
            "prices": {"stats": {"field": "price"}},
            "first": {"min": {"field": "out"}},
            "decades": {"histogram": {"field": "year", "interval": 10, "min_doc_count": 1}},
            "nothing": {"sum": {"field": "nope"}},
        }
        got = es.search(index="books", size=0, aggs=aggs)["aggregations"]
        assert got["tags"]["buckets"][0] == {"key": "animal", "doc_count": 2, "dearest": {"value": 19.0}}
        assert [bucket["key_as_string"] for bucket in got["sold"]["buckets"]] == ["false", "true"]
        assert got["mean"]["value"] == pytest.approx(10.9166, abs=0.001)
        assert got["years"]["value"] == 3 and got["prices"]["count"] == 3
        assert got["first"]["value_as_string"] == "2020-01-15T00:00:00.000Z"
        assert [(b["key"], b["doc_count"]) for b in got["decades"]["buckets"]] == [
            (1990.0, 1),
            (2000.0, 1),
            (2010.0, 2),
        ]
        assert got["nothing"] == {"value": 0.0}
        assert "not offered" in failed(es.search, index="books", aggs={"x": {"top_hits": {}}})[2]

    await asyncio.to_thread(work)


async def test_many_matches_are_sorted_by_a_number_first(server: Server) -> None:
    """More than ``sort_docs_max`` (60 here): the first key narrows what is sorted."""

    def work() -> None:
        es = server.client()
        lines: list[Any] = []
        for number in range(150):
            lines += [{"index": {"_index": "m", "_id": f"{number:03}"}}, {"n": number // 2, "s": f"s{number:03}"}]
        es.bulk(operations=lines, refresh=True)
        page = es.search(index="m", size=5, sort=[{"n": "desc"}, {"s.keyword": "asc"}])
        assert found(page) == ["148", "149", "146", "147", "144"]
        seen: list[str] = []
        while page["hits"]["hits"]:
            seen += found(page)
            page = es.search(index="m", size=5, sort=[{"n": "desc"}, {"s.keyword": "asc"}],
                             search_after=page["hits"]["hits"][-1]["sort"])  # fmt: skip
        assert len(seen) == len(set(seen)) == 150
        assert len(list(elasticsearch.helpers.scan(es, index="m", size=40))) == 150
        assert "narrow the query" in failed(es.search, index="m", sort="s.keyword")[2]

    await asyncio.to_thread(work)


async def test_random_searches_agree_with_a_model(server: Server) -> None:
    """Ranges, combinations and sorts over documents with several values or none, page by page."""
    dice = random.Random(7)
    documents = {
        f"{number:03}": {
            "n": [dice.randint(0, 30) for _ in range(dice.choice((0, 1, 1, 1, 3)))],
            "k": [dice.choice("abcdef") for _ in range(dice.choice((0, 1, 2)))],
            "w": dice.choices(["red", "green", "blue"], k=2),
        }
        for number in range(180)
    }

    def clause() -> tuple[dict[str, Any], Callable[[dict[str, Any]], bool]]:
        kind = dice.randint(0, 4)
        if kind == 0:
            low, high = sorted((dice.randint(0, 30), dice.randint(0, 30)))
            return {"range": {"n": {"gte": low, "lt": high}}}, lambda doc: any(low <= n < high for n in doc["n"])
        if kind == 1:
            letter = dice.choice("abcdefg")
            return {"term": {"k.keyword": letter}}, lambda doc: letter in doc["k"]
        if kind == 2:
            return {"exists": {"field": "n"}}, lambda doc: bool(doc["n"])
        if kind == 3:
            word = dice.choice(["red", "green", "blue"])
            return {"match": {"w": word.upper()}}, lambda doc: word in doc["w"]
        parts = [clause() for _ in range(3)]
        (a, is_a), (b, is_b), (c, is_c) = parts
        query = {"bool": {"should": [a, b], "must_not": c, "minimum_should_match": 1}}
        return query, lambda doc: (is_a(doc) or is_b(doc)) and not is_c(doc)

    def ordered(ids: list[str], descending: bool, numbers: bool) -> list[str]:
        def key(id: str) -> tuple[bool, Any, str]:
            values = documents[id]["n" if numbers else "k"]
            if not values:
                return True, 0, id
            value = max(values) if descending else min(values)
            value = value if numbers else ord(value)
            return False, -value if descending else value, id

        return sorted(ids, key=key)

    def work() -> None:
        es = server.client()
        lines: list[Any] = []
        for id, document in documents.items():
            lines += [{"index": {"_index": "r", "_id": id}}, document]
        es.bulk(operations=lines, refresh=True)
        for _ in range(80):
            query, holds = clause()
            wanted = [id for id, document in documents.items() if holds(document)]
            assert es.count(index="r", query=query)["count"] == len(wanted), query
            numbers, descending, size = dice.random() < 0.7, dice.random() < 0.5, dice.choice((3, 10, 30))
            if len(wanted) > LIMITS.sort_docs_max and not numbers:
                continue
            field, direction = ("n" if numbers else "k.keyword"), ("desc" if descending else "asc")
            seen: list[str] = []
            more: dict[str, Any] = {}
            while True:
                page = es.search(index="r", query=query, size=size, sort=[{field: direction}, {"_id": "asc"}], **more)
                seen += found(page)
                if not found(page):
                    break
                more = {"search_after": page["hits"]["hits"][-1]["sort"]}
            assert seen == ordered(wanted, descending, numbers), (query, field, direction)

    await asyncio.to_thread(work)
