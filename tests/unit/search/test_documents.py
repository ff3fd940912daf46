"""Documents and indices by the official client, and what of requests is refused."""

from __future__ import annotations

import asyncio
from typing import Any

import boto3
import elasticsearch
import elasticsearch.helpers
import opensearchpy
import pytest
from botocore.config import Config
from helpers.search import READER, Server, failed, found, load


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
