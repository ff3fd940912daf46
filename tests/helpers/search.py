"""Search behind a listener in the test's own process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import elasticsearch
import elasticsearch.helpers
import pytest
from opensearchpy import OpenSearch, RequestsHttpConnection
from opensearchpy.helpers.signer import RequestsAWSV4SignerAuth

from helpers.inprocess import SCOPE, Ring, listening, user
from sluiceway.config import HttpSettings, SearchSettings, SecuritySettings, StoreSettings
from sluiceway.core.clock import SystemClock
from sluiceway.core.wakeups import Wakeups
from sluiceway.edges.aws.codecs import Codecs
from sluiceway.edges.aws.es import es_edge
from sluiceway.edges.aws.pipeline import AwsPipeline
from sluiceway.edges.elasticsearch import SearchEdge
from sluiceway.edges.routing import Router
from sluiceway.edges.sigv4 import SignatureVerifier
from sluiceway.engines.sqlite.store import SqliteStore, open_store
from sluiceway.engines.tantivy import TantivyIndexes
from sluiceway.reactions.search_feeder import SearchFeeder
from sluiceway.services.access import authorize
from sluiceway.services.documents import Documents
from sluiceway.services.documents.domains import Domains

READER = user(
    "reader",
    {
        "Effect": "Allow",
        "Action": ["es:ESHttpGet", "es:ESHttpHead"],
        "Resource": "arn:aws:es:us-east-1:000000000000:domain/*/books/*",
    },
)
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
    ring = Ring(READER)
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
