"""Search by its official clients: elasticsearch and opensearch-py against the real HTTP application, in this process."""

from __future__ import annotations

import asyncio
import random
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import elasticsearch
import elasticsearch.helpers
import opensearchpy
import pytest
from botocore.config import Config
from helpers.inprocess import listening
from opensearchpy import OpenSearch, RequestsHttpConnection
from opensearchpy.helpers.signer import RequestsAWSV4SignerAuth

from sluiceway.config import HttpSettings, SearchSettings, SecuritySettings, StoreSettings
from sluiceway.core.clock import SystemClock
from sluiceway.core.identity import Principal, Scope
from sluiceway.core.search.index import Change, Text
from sluiceway.core.wakeups import Wakeups
from sluiceway.edges.aws.codecs import Codecs
from sluiceway.edges.aws.es import es_edge
from sluiceway.edges.aws.pipeline import AwsPipeline
from sluiceway.edges.elasticsearch import SearchEdge
from sluiceway.edges.routing import Router
from sluiceway.edges.sigv4 import SignatureVerifier
from sluiceway.engines.sqlite.store import SqliteStore, open_store
from sluiceway.engines.tantivy import TantivyIndexes, files
from sluiceway.errors import Unauthenticated
from sluiceway.reactions.search_feeder import SearchFeeder
from sluiceway.services.access import authorize
from sluiceway.services.documents import Documents
from sluiceway.services.documents.domains import Domains

SCOPE = Scope("000000000000", "us-east-1")
ROOT = Principal("root", SCOPE.account, "root", "arn:aws:iam::000000000000:root", access_key_id="AKIAROOT")
READER_POLICY = {
    "Version": "2012-10-17",
    "Statement": [{
        "Effect": "Allow",
        "Action": ["es:ESHttpGet", "es:ESHttpHead"],
        "Resource": "arn:aws:es:us-east-1:000000000000:domain/*/books/*",
    }],
}  # fmt: skip
READER = Principal("user", SCOPE.account, "reader", "arn:aws:iam::000000000000:user/reader", policies=(READER_POLICY,))
LIMITS = SearchSettings(refresh_s=0.02, sort_docs_max=60, bulk_commit=7, feed_entries=50)

BOOKS: list[dict[str, Any]] = [
    {"title": "The Quick Brown Fox", "year": 1999, "price": 9.5, "tags": ["animal", "fast"], "sold": True,
     "out": "2020-01-15", "author": {"name": "Ann Lee"}},
    {"title": "Brown bears and brown foxes", "year": 2005, "price": 19.0, "tags": ["animal"], "sold": False,
     "out": "2021-06-01T10:00:00Z", "author": {"name": "Bob Stone"}},
    {"title": "A quick guide to gardens", "year": 2010, "tags": ["green"], "sold": True, "out": "2022-03-03",
     "author": {"name": "Cy Ann"}},
    {"title": "Quiet rivers", "year": 2010, "price": 4.25, "tags": [], "sold": False, "out": "2023-12-31"},
]  # fmt: skip


class Ring:
    """Two keys."""

    def find(self, access_key_id: str, session_token: str | None) -> tuple[str, Principal]:
        known = {"AKIAROOT": ROOT, "AKIAREADER": READER}.get(access_key_id)
        if known is None:
            raise Unauthenticated("unknown_key", "The security token included in the request is invalid.")
        return "secret", known


@dataclass
class Server:
    """The address, and what is behind it."""

    url: str
    store: SqliteStore
    documents: Documents
    index: TantivyIndexes
    feeder: SearchFeeder
    feeding: asyncio.Task[None]

    def client(self, key: str = "AKIAROOT", secret: str = "secret") -> elasticsearch.Elasticsearch:
        return elasticsearch.Elasticsearch(f"{self.url}/_es", basic_auth=(key, secret), max_retries=0)

    def signed(self, key: str = "AKIAROOT", secret: str = "secret") -> OpenSearch:
        session = boto3.Session(key, secret, region_name="us-east-1")
        signer = RequestsAWSV4SignerAuth(session.get_credentials(), "us-east-1", "es")
        return OpenSearch(
            f"{self.url}/_es", http_auth=signer, connection_class=RequestsHttpConnection, use_ssl=False, max_retries=0
        )


@asynccontextmanager
async def serving(folder: Path, limits: SearchSettings = LIMITS) -> AsyncIterator[Server]:
    wakeups, clock = Wakeups(), SystemClock()
    store = await open_store(folder / "store.db", StoreSettings(), clock, wakeups)
    documents, domains = Documents(limits), Domains(SCOPE, limits)
    index = TantivyIndexes(folder / "search", limits)
    feeder = SearchFeeder(store, documents, index, wakeups, limits)
    ring = Ring()
    verifier = SignatureVerifier(ring, SCOPE, clock, SecuritySettings())
    edge = SearchEdge(
        store, documents, index, verifier, authorize, SCOPE, limits,
        domains=domains, keys=ring, wakeups=wakeups, clock=clock,
    )  # fmt: skip
    where: list[str] = []
    es = es_edge(store, domains, limits)
    pipeline = AwsPipeline(es, Codecs(), verifier, authorize, SCOPE, clock, HttpSettings(), lambda: where[0])
    router = Router({"elasticsearch": edge.handle, "es": pipeline.handle}, {})
    feeding = asyncio.create_task(feeder.run())
    try:
        async with listening(router) as url:
            where.append(url)
            yield Server(url, store, documents, index, feeder, feeding)
    finally:
        feeding.cancel()
        await asyncio.gather(feeding, return_exceptions=True)
        edge.close()
        index.close()
        await store.close()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with serving(tmp_path) as running:
        yield running


def found(answer: Any) -> list[str]:
    return [hit["_id"] for hit in answer["hits"]["hits"]]


def load(es: Any, books: list[dict[str, Any]] = BOOKS) -> None:
    lines: list[dict[str, Any]] = []
    for number, book in enumerate(books, 1):
        lines += [{"index": {"_index": "books", "_id": str(number)}}, book]
    answer = es.bulk(operations=lines, refresh="wait_for")
    assert not answer["errors"], answer


def failed(call: Any, *args: Any, **kwargs: Any) -> tuple[int, str, str]:
    """Status, type and reason of the error that the call ends with."""
    with pytest.raises(elasticsearch.ApiError) as caught:
        call(*args, **kwargs)
    error = caught.value.body["error"]
    assert caught.value.body["status"] == caught.value.status_code
    assert error["root_cause"]
    return caught.value.status_code, error["type"], error["reason"]


async def test_documents_by_id(server: Server) -> None:
    def work() -> None:
        es = server.client()
        assert es.info()["tagline"] == "You Know, for Search"
        made = es.index(index="notes", id="1", document={"text": "one", "n": 1.50})
        assert (made["result"], made["_version"], made["_seq_no"], made["_primary_term"]) == ("created", 1, 0, 1)
        again = es.index(index="notes", id="1", document={"text": "two"})
        assert (again["result"], again["_version"], again["_seq_no"]) == ("updated", 2, 1)
        got = es.get(index="notes", id="1")
        assert (got["_source"], got["_version"], got["found"]) == ({"text": "two"}, 2, True)
        assert es.get_source(index="notes", id="1") == {"text": "two"}
        assert es.exists(index="notes", id="1") and not es.exists(index="notes", id="2")
        assert failed(es.create, index="notes", id="1", document={})[:2] == (409, "version_conflict_engine_exception")
        assert failed(es.index, index="notes", id="1", document={}, if_seq_no=0, if_primary_term=1)[0] == 409
        es.index(index="notes", id="1", document={"text": "three"}, if_seq_no=1, if_primary_term=1)
        named = es.index(index="notes", document={"text": "four"})
        assert named["result"] == "created" and len(named["_id"]) == 20
        assert es.delete(index="notes", id="1")["result"] == "deleted"
        with pytest.raises(elasticsearch.NotFoundError) as caught:
            es.delete(index="notes", id="1")
        assert caught.value.body["result"] == "not_found"
        with pytest.raises(elasticsearch.NotFoundError) as missing:
            es.get(index="notes", id="1")
        assert missing.value.body == {"_index": "notes", "_id": "1", "found": False}
        slashed = "a/b c+d?é"
        es.index(index="notes", id=slashed, document={})
        assert es.get(index="notes", id=slashed)["_id"] == slashed

    await asyncio.to_thread(work)


async def test_updates(server: Server) -> None:
    def work() -> None:
        es = server.client()
        assert failed(es.update, index="u", id="1", doc={"a": 1})[:2] == (404, "document_missing_exception")
        assert es.update(index="u", id="1", doc={"a": 1}, upsert={"b": {"c": 2}})["result"] == "created"
        assert es.update(index="u", id="1", doc={"b": {"d": 3}})["result"] == "updated"
        assert es.get(index="u", id="1")["_source"] == {"b": {"c": 2, "d": 3}}
        assert es.update(index="u", id="1", doc={"b": {"d": 3}})["result"] == "noop"
        assert es.update(index="u", id="1", doc={"b": {"e": True}}, source=True)["get"]["_source"]["b"]["e"] is True
        assert failed(es.update, index="u", id="1", doc={"b": {"d": True}})[1] == "mapper_parsing_exception"
        assert es.update(index="u", id="2", doc={"x": 1}, doc_as_upsert=True)["_version"] == 1
        status, kind, reason = failed(es.update, index="u", id="1", script={"source": "ctx.op='none'"})
        assert (status, kind) == (400, "illegal_argument_exception") and "not offered" in reason

    await asyncio.to_thread(work)


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


async def test_indices_and_mappings(server: Server) -> None:
    def work() -> None:
        es = server.client()
        mappings = {"dynamic": "strict", "properties": {
            "title": {"type": "text", "analyzer": "english", "fields": {"raw": {"type": "keyword"}}},
            "code": {"type": "keyword", "normalizer": "lowercase"},
            "n": {"type": "integer"},
            "who": {"properties": {"name": {"type": "keyword"}}},
        }}  # fmt: skip
        made = es.indices.create(index="shop", mappings=mappings, settings={"number_of_shards": 1})
        assert made["acknowledged"] and es.indices.exists(index="shop") and not es.indices.exists(index="shoe")
        assert failed(es.indices.create, index="shop")[1] == "resource_already_exists_exception"
        assert failed(es.indices.create, index="Shop")[1] == "invalid_index_name_exception"
        assert es.indices.get_mapping(index="shop")["shop"]["mappings"] == mappings
        assert es.indices.get(index="shop")["shop"]["settings"]["index"]["number_of_shards"] == "1"
        status, kind, reason = failed(es.index, index="shop", document={"other": 1})
        assert (status, kind) == (400, "strict_dynamic_mapping_exception")
        status, kind, reason = failed(es.index, index="shop", id="7", document={"n": "seven"})
        assert kind == "mapper_parsing_exception" and "[n] of type [integer]" in reason
        assert failed(es.indices.put_mapping, index="shop", properties={"n": {"type": "text"}})[0] == 400
        es.indices.put_mapping(index="shop", properties={"more": {"type": "date", "format": "epoch_second"}})
        es.index(index="shop", id="1", document={"title": "Running shoes", "code": "ABC", "more": 1_600_000_000})
        es.indices.refresh(index="shop")
        assert found(es.search(index="shop", query={"match": {"title": "run shoe"}})) == ["1"]
        assert found(es.search(index="shop", query={"term": {"code": "aBc"}})) == ["1"]
        assert found(es.search(index="shop", query={"term": {"title.raw": "Running shoes"}})) == ["1"]
        assert found(
            es.search(index="shop", query={"range": {"more": {"gte": "2020-09-13", "format": "yyyy-MM-dd"}}})
        ) == ["1"]
        es.indices.put_alias(index="shop", name="store")
        assert found(es.search(index="store")) == ["1"] and es.get(index="store", id="1")["_index"] == "shop"
        assert es.indices.get_alias(index="shop")["shop"]["aliases"] == {"store": {}}
        assert [row["index"] for row in es.cat.indices(format="json")] == ["shop"]
        assert es.cluster.health()["status"] == "green"
        es.indices.delete(index="shop")
        assert failed(es.search, index="shop")[:2] == (404, "index_not_found_exception")
        es.index(index="shop", id="2", document={"fresh": True}, refresh=True)
        assert found(es.search(index="shop")) == ["2"]

    await asyncio.to_thread(work)


async def test_dynamic_mappings(server: Server) -> None:
    def work() -> None:
        es = server.client()
        es.index(index="d", id="1", document={
            "s": "text", "i": 3, "f": 1.5, "b": True, "d": "2020-01-01T00:00:00Z", "o": {"x.y": ["a", "b"]}, "e": None, "l": [],
        }, refresh="wait_for")  # fmt: skip
        shown = es.indices.get_mapping(index="d")["d"]["mappings"]["properties"]
        text = {"type": "text", "fields": {"keyword": {"type": "keyword", "ignore_above": 256}}}
        assert shown == {
            "s": text, "i": {"type": "long"}, "f": {"type": "float"}, "b": {"type": "boolean"}, "d": {"type": "date"},
            "o": {"properties": {"x": {"properties": {"y": text}}}},
        }  # fmt: skip
        assert found(es.search(index="d", query={"term": {"o.x.y.keyword": "b"}})) == ["1"]
        assert failed(es.index, index="d", document={"o": 5})[1] == "mapper_parsing_exception"
        assert failed(es.index, index="d", document={"i": {"deep": 1}})[1] == "mapper_parsing_exception"
        # Values that only another field's document brought are not remembered with a refused one.
        assert failed(es.index, index="d", document={"new": 1, "i": "x"})[0] == 400
        assert "new" not in es.indices.get_mapping(index="d")["d"]["mappings"]["properties"]
        for start in range(0, 40, 20):  # more columns than an index has at first
            es.index(
                index="d",
                id=f"w{start}",
                document={f"t{n}": f"word{n}" for n in range(start, start + 20)},
                refresh=True,
            )
        assert found(es.search(index="d", query={"match": {"t39": "word39"}})) == ["w20"]
        assert found(es.search(index="d", query={"match": {"s": "text"}})) == ["1"]

    await asyncio.to_thread(work)


async def test_bulk_items_fail_alone(server: Server) -> None:
    def work() -> None:
        es = server.client()
        lines: list[Any] = []
        for number in range(30):
            lines += [{"index": {"_index": "b", "_id": str(number)}}, {"n": number}]
        lines += [
            {"create": {"_index": "b", "_id": "3"}},
            {"n": 3},
            {"index": {"_index": "b", "_id": "x"}},
            {"n": "word"},
        ]
        lines += [{"update": {"_index": "b", "_id": "4"}}, {"doc": {"m": 1}}, {"delete": {"_index": "b", "_id": "5"}}]
        lines += [{"delete": {"_index": "b", "_id": "nope"}}, {"update": {"_index": "b", "_id": "nope"}}, {"doc": {}}]
        answer = es.bulk(operations=lines, refresh=True)
        assert answer["errors"] is True
        results = [next(iter(item.values())) for item in answer["items"]]
        assert [item["status"] for item in results[:30]] == [201] * 30
        assert [item["status"] for item in results[30:]] == [409, 400, 200, 200, 404, 404]
        assert results[31]["error"]["type"] == "mapper_parsing_exception"
        assert es.count(index="b")["count"] == 29
        done, problems = elasticsearch.helpers.bulk(es, ({"_index": "b", "_id": f"h{n}", "n": n} for n in range(50)))
        assert (done, problems) == (50, [])
        es.indices.refresh(index="b")
        assert len(list(elasticsearch.helpers.scan(es, index="b", size=20))) == 79
        ranged = elasticsearch.helpers.scan(es, index="b", query={"query": {"range": {"n": {"lt": 10}}}}, size=3)
        assert len({hit["_id"] for hit in ranged}) == 19
        gone = es.delete_by_query(index="b", query={"range": {"n": {"gte": 10}}}, refresh=True)
        assert (gone["deleted"], gone["version_conflicts"], es.count(index="b")["count"]) == (60, 0, 19)
        packed = elasticsearch.Elasticsearch(f"{server.url}/_es", basic_auth=("AKIAROOT", "secret"), http_compress=True)
        assert packed.index(index="b", id="packed", document={"n": 1})["result"] == "created"

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


async def test_signed_requests_and_policies(server: Server) -> None:
    def work() -> None:
        os = server.signed()
        assert os.info()["version"]["number"] == "7.10.2"
        os.index(index="books", id="ü 1/2", body={"title": "Signed"}, refresh="wait_for")
        assert os.get(index="books", id="ü 1/2")["_source"] == {"title": "Signed"}
        assert os.search(index="books", body={"query": {"match": {"title": "signed"}}})["hits"]["total"]["value"] == 1
        assert opensearchpy.helpers.bulk(os, [{"_index": "books", "_id": "2", "title": "Two"}]) == (1, [])
        reader = server.signed("AKIAREADER")
        assert reader.get(index="books", id="2")["_source"] == {"title": "Two"}
        with pytest.raises(opensearchpy.AuthorizationException) as refused:
            reader.index(index="books", id="3", body={})
        assert "es:ESHttpPut" in str(refused.value.info["error"]["reason"])
        with pytest.raises(opensearchpy.AuthorizationException):
            reader.get(index="other", id="2")
        with pytest.raises(opensearchpy.AuthenticationException):
            server.signed(secret="wrong").info()
        with pytest.raises(elasticsearch.AuthenticationException) as caught:
            server.client(secret="wrong").info()
        assert caught.value.body["error"]["type"] == "security_exception"
        with pytest.raises(elasticsearch.AuthenticationException) as nobody:
            elasticsearch.Elasticsearch(f"{server.url}/_es", max_retries=0).info()
        assert nobody.value.meta.headers["www-authenticate"].startswith("Basic")

    await asyncio.to_thread(work)


async def test_malformed_requests(server: Server) -> None:
    import http.client
    from base64 import b64encode

    def ask(method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=10)
        token = b64encode(b"AKIAROOT:secret").decode()
        connection.request(method, path, body, {"authorization": f"Basic {token}", "content-type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read()

    def work() -> None:
        load(server.client())
        search = "/_es/books/_search"
        deep = b'{"query":' + b'{"bool":{"must":' * 45 + b'{"match_all":{}}' + b"}}" * 45 + b"}"
        for body in (
            b"{", b"[]", b"nul", b'"x"', b"\xff\xfe", b'{"query":[]}', b'{"query":{"match":{}}}', b'{"query":{}}',
            b'{"query":{"match":{"title":{"query":{"a":1}}}}}', b'{"query":{"nope":{}}}', b'{"size":-1}', b'{"size":"x"}',
            b'{"sort":[{"year":{"order":"up"}}]}', b'{"sort":[5]}', b'{"search_after":[1]}', b'{"from":1e99}',
            b'{"query":{"range":{"year":{"gte":"x"}}}}', b'{"query":{"range":{"year":5}}}', b'{"aggs":5}', b'{"aggs":{"a":{}}}',
            b'{"query":{"regexp":{"title":"a{1000}{1000}"}}}', b'{"query":{"regexp":{"title":"("}}}',
            b'{"query":{"query_string":{"query":"title:(a"}}}', b'{"query":{"query_string":{"query":"a)"}}}',
            b'{"query":{"term":{"year":[1]}}}', b'{"query":{"term":{"year":"a"}}}', b'{"highlight":{"fields":5}}',
            b'{"query":{"bool":{"minimum_should_match":"x%","should":[{"match_all":{}}]}}}', b'{"_source":{"x":1}}',
            b'{"query":{"terms":{"year":{"index":"a"}}}}', b'{"suggest":{}}', b'{"unknown":1}', b"[" * 5000, deep,
            b'{"query":{"match":{"title":{"query":"a","fuzziness":"x"}}}}', b'{"track_total_hits":"maybe"}',
        ):  # fmt: skip
            status, answer = ask("POST", search, body)
            assert status == 400 and b'"root_cause"' in answer, (body[:80], status, answer)
        for method, path, body, wanted in (
            ("PUT", "/_es/books/_doc/1", b"{", 400), ("PUT", "/_es/books/_doc/1", b"", 400),
            ("PUT", "/_es/books/_doc/1", b"[1]", 400), ("PUT", "/_es/books/_doc/" + "x" * 600, b"{}", 400),
            ("POST", "/_es/_bulk", b"", 400), ("POST", "/_es/_bulk", b'{"index":{}}', 400),
            ("POST", "/_es/_bulk", b'{"index":{}}\n{}\n', 400), ("POST", "/_es/_bulk", b'{"what":{}}\n{}\n', 400),
            ("POST", "/_es/_bulk", b'{"index":{"_index":"b"}}\n', 400), ("POST", "/_es/_bulk", b"x\ny\n", 400),
            ("PUT", "/_es/bad%2Aname", b"{}", 400), ("PUT", "/_es/idx", b'{"mappings":{"properties":{"a":{"type":"zzz"}}}}', 400),
            ("PUT", "/_es/idx", b'{"mappings":{"properties":{"a":5}}}', 400), ("PUT", "/_es/idx", b'{"settings":5}', 400),
            ("PUT", "/_es/idx", b'{"settings":{"analysis":{"analyzer":{"x":{"tokenizer":"zzz"}}}}}', 400),
            ("GET", "/_es/books/_doc/%ff", None, 400), ("GET", "/_es/_nope", None, 400), ("GET", "/_es/a/b/c/d", None, 400),
            ("GET", "/_es/books/_search?what=1", None, 400), ("PATCH", "/_es/books", None, 405), ("POST", "/_es/books/_doc/1/_update", b"{}", 400),
            ("POST", "/_es/_search/scroll", b'{"scroll_id":"zzz"}', 400), ("GET", "/_es/books/_search?size=x", None, 400),
            ("PUT", "/_es/books/_doc/1?refresh=sometimes", b"{}", 400), ("PUT", "/_es/books/_doc/1?if_seq_no=1", b"{}", 400),
            ("POST", "/_es/_mget", b'{"docs":[{}]}', 400), ("POST", "/_es/_aliases", b'{"actions":[5]}', 400),
            ("PUT", "/_es/books/_doc/1", b'{"":1}', 400), ("PUT", "/_es/books/_doc/1", b'{"a..b":1}', 400),
            ("PUT", "/_es/books/_doc/1", b'{"year":123456789012345678901234567890}', 400),
            ("PUT", "/_es/books/_doc/1", b'{"k":' + b"[" * 200 + b"]" * 200 + b"}", 400),
        ):  # fmt: skip
            status, answer = ask(method, path, body)
            assert status == wanted and b'"error"' in answer, (method, path, body, status, answer)
        assert ask("GET", "/_es/?pretty")[1].startswith(b"{\n")
        assert ask("GET", "/_es/books/_search?filter_path=hits.total.value")[1] == b'{"hits":{"total":{"value":4}}}'
        assert ask("HEAD", "/_es/books/_doc/1") == (200, b"") and ask("HEAD", "/_es/nope") == (404, b"")

    await asyncio.to_thread(work)


async def test_the_index_goes_on_where_it_was(tmp_path: Path) -> None:
    """Without a last commit, as after a crash; then without its files; then with broken ones."""

    def count(es: Any, wanted: int) -> None:
        es.indices.refresh(index="books")
        assert es.count(index="books")["count"] == wanted
        assert len(found(es.search(index="books", query={"match": {"title": "quick"}}))) == 2

    async with serving(tmp_path) as server:
        es = server.client()
        await asyncio.to_thread(load, es)
        await asyncio.to_thread(count, es, 4)
        uid = (await asyncio.to_thread(es.indices.get_settings, index="books"))["books"]["settings"]["index"]["uuid"]
        server.feeding.cancel()
        await asyncio.gather(server.feeding, return_exceptions=True)
        await asyncio.to_thread(es.index, index="books", id="5", document={"title": "later"})
        await asyncio.to_thread(es.delete, index="books", id="4")
        # Documents that were added to the engine, but not committed: they are fed again, not twice.
        opened = server.index._opened(uid)
        assert opened is not None and opened.position == 4
        lost = Change("5", 4, 1, "{}", {"t0": [Text("quick quick quick", "standard|lowercase")]})
        files.write(server.index._writer(opened), lost, server.index._kitchen, opened.columns)
    async with serving(tmp_path) as server:
        await asyncio.to_thread(count, server.client(), 4)
        assert server.index.position(uid) == 6
        folder = next((tmp_path / "search" / uid).iterdir())
    shutil.rmtree(tmp_path / "search")
    async with serving(tmp_path) as server:
        await asyncio.to_thread(count, server.client(), 4)
        folder = next((tmp_path / "search" / uid).iterdir())
    for path in folder.iterdir():
        if path.suffix in (".term", ".store", ".idx", ".pos"):
            path.write_bytes(b"not an index" * 10)
    async with serving(tmp_path) as server:
        await asyncio.to_thread(count, server.client(), 4)


async def test_a_long_index_is_made_again_in_pages(tmp_path: Path) -> None:
    def ids(es: Any) -> list[str]:
        es.indices.refresh(index="p")
        return sorted(found(es.search(index="p", size=1000)))

    lines: list[Any] = []
    for number in range(233):
        lines += [{"index": {"_index": "p", "_id": str(number)}}, {"n": number}]
    async with serving(tmp_path) as server:
        await asyncio.to_thread(server.client().bulk, operations=lines)
        assert await asyncio.to_thread(ids, server.client()) == sorted(str(number) for number in range(233))
    for size in (1, 50, 58, 232, 233, 234):
        shutil.rmtree(tmp_path / "search")
        async with serving(tmp_path, LIMITS.model_copy(update={"feed_entries": size})) as server:
            assert await asyncio.to_thread(ids, server.client()) == sorted(str(number) for number in range(233))


async def test_domains(server: Server) -> None:
    def work() -> None:
        config = Config(retries={"max_attempts": 1})
        aws = boto3.client("es", endpoint_url=server.url, region_name="us-east-1", aws_access_key_id="AKIAROOT",
                           aws_secret_access_key="secret", config=config)  # fmt: skip
        made = aws.create_elasticsearch_domain(DomainName="books", TagList=[{"Key": "a", "Value": "b"}])["DomainStatus"]
        arn = "arn:aws:es:us-east-1:000000000000:domain/books"
        assert (made["ARN"], made["Endpoint"], made["Created"]) == (arn, f"{server.url}/_es", True)
        with pytest.raises(aws.exceptions.ResourceAlreadyExistsException):
            aws.create_elasticsearch_domain(DomainName="books")
        with pytest.raises(aws.exceptions.ClientError):
            aws.create_elasticsearch_domain(DomainName="Not-lower")
        assert aws.describe_elasticsearch_domain(DomainName="books")["DomainStatus"]["DomainName"] == "books"
        assert len(aws.describe_elasticsearch_domains(DomainNames=["books", "none"])["DomainStatusList"]) == 1
        assert aws.list_domain_names()["DomainNames"][0]["DomainName"] == "books"
        aws.add_tags(ARN=arn, TagList=[{"Key": "c", "Value": "d"}])
        assert {tag["Key"] for tag in aws.list_tags(ARN=arn)["TagList"]} == {"a", "c"}
        aws.remove_tags(ARN=arn, TagKeys=["a"])
        statement = {"Effect": "Allow", "Principal": {"AWS": READER.arn}, "Action": "es:*", "Resource": f"{arn}/*"}
        import json

        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        aws.update_elasticsearch_domain_config(DomainName="books", AccessPolicies=policy)
        config_ = aws.describe_elasticsearch_domain_config(DomainName="books")["DomainConfig"]
        assert config_["AccessPolicies"]["Options"] == policy
        server.signed("AKIAREADER").index(index="other", id="1", body={"a": 1})
        assert aws.delete_elasticsearch_domain(DomainName="books")["DomainStatus"]["Deleted"] is True
        with pytest.raises(aws.exceptions.ResourceNotFoundException):
            aws.describe_elasticsearch_domain(DomainName="books")

    await asyncio.to_thread(work)
