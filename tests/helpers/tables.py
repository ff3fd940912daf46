"""Tables behind a listener in the test's own process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from helpers.inprocess import SCOPE, Ring, listening, user
from sluiceway.config import HttpSettings, SecuritySettings, StoreSettings, TableSettings
from sluiceway.core.clock import SystemClock
from sluiceway.core.wakeups import Wakeups
from sluiceway.edges.aws.codecs import Codecs
from sluiceway.edges.aws.dynamodb import dynamodb_edge
from sluiceway.edges.aws.dynamodbstreams import streams_edge
from sluiceway.edges.aws.pipeline import AwsPipeline
from sluiceway.edges.routing import Router
from sluiceway.edges.sigv4 import SignatureVerifier
from sluiceway.engines.sqlite.store import SqliteStore, open_store
from sluiceway.services.access import authorize
from sluiceway.services.tables import Tables, TtlSweeper

ONE_TABLE = "arn:aws:dynamodb:us-east-1:000000000000:table/open"
GUEST = user(
    "guest",
    {"Effect": "Allow", "Action": "dynamodb:*", "Resource": [ONE_TABLE, f"{ONE_TABLE}/*", "arn:*:table/shut/index/*"]},
    {"Effect": "Allow", "Action": "dynamodb:*", "Resource": "arn:aws:dynamodb:eu-west-1:*:*"},
)
LIMITS = TableSettings(trim_every=4, sweep_max=7, ttl_sweep_s=0.05, backfill_max=60, stream_bytes_max=1000)


class ShiftedClock:
    """The machine's clock, and so much more."""

    def __init__(self) -> None:
        self.ahead_ms = 0

    def now_ms(self) -> int:
        return SystemClock().now_ms() + self.ahead_ms


@dataclass
class Server:
    """The address, and what is behind it; the loop runs on a thread of its own."""

    folder: Path
    clock: ShiftedClock = field(default_factory=ShiftedClock)
    url: str = ""

    def start(self) -> None:
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(ready)))
        self._thread.start()
        assert ready.wait(20)

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(20)

    async def _serve(self, ready: threading.Event) -> None:
        self.loop, self.wakeups = asyncio.get_running_loop(), Wakeups()
        self.store: SqliteStore = await open_store(self.folder / "store.db", StoreSettings(), self.clock, self.wakeups)
        self.tables = Tables(SCOPE, LIMITS)
        verifier = SignatureVerifier(Ring(GUEST), SCOPE, SystemClock(), SecuritySettings())
        edges = [dynamodb_edge(self.store, self.tables, LIMITS), streams_edge(self.store, self.tables, LIMITS)]
        codecs = Codecs()
        handlers = {
            edge.name: AwsPipeline(
                edge, codecs, verifier, authorize, SCOPE, self.clock, HttpSettings(), lambda: self.url
            ).handle
            for edge in edges
        }
        self._stopping = asyncio.Event()
        async with listening(Router(handlers, {})) as self.url:
            ready.set()
            await self._stopping.wait()
        await self.store.close()

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run ``work`` on the server's loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(20)

    def sweep(self) -> None:
        """One round of the sweeper."""
        self.do(TtlSweeper(self.store, self.tables, self.wakeups).sweep())

    def rows(self, table: str) -> int:
        """How many rows of all tables the store has in ``table``."""
        return int(self.do(self.store.view(lambda view: sum(1 for _ in view.scan(table)))))

    def keywords(self, key: str) -> dict[str, Any]:
        return {
            "endpoint_url": self.url,
            "region_name": "us-east-1",
            "aws_access_key_id": key,
            "aws_secret_access_key": "secret",
            "config": Config(retries={"max_attempts": 1}, parameter_validation=False),
        }

    def client(self, service: str = "dynamodb", key: str = "AKIAROOT") -> Any:
        return boto3.client(service, **self.keywords(key))

    def resource(self) -> Any:
        return boto3.resource("dynamodb", **self.keywords("AKIAROOT"))


def schema(partition: str, sort: str = "") -> list[dict[str, str]]:
    keys = [{"AttributeName": partition, "KeyType": "HASH"}]
    return [*keys, {"AttributeName": sort, "KeyType": "RANGE"}] if sort else keys


def typed(attributes: str) -> list[dict[str, str]]:
    """ "id:S at:N" as AttributeDefinitions."""
    return [dict(zip(("AttributeName", "AttributeType"), one.split(":"), strict=True)) for one in attributes.split()]


def index(name: str, partition: str, sort: str = "", kind: str = "ALL", included: Any = ()) -> dict[str, Any]:
    projection: dict[str, Any] = {"ProjectionType": kind}
    if included:
        projection["NonKeyAttributes"] = list(included)
    return {"IndexName": name, "KeySchema": schema(partition, sort), "Projection": projection}


def make(db: Any, name: str, attributes: str = "id:S", sort: str = "", stream: str = "", **more: Any) -> str:
    if stream:
        more["StreamSpecification"] = {"StreamEnabled": True, "StreamViewType": stream}
    db.create_table(
        TableName=name,
        KeySchema=schema("id", sort),
        AttributeDefinitions=typed(attributes),
        BillingMode="PAY_PER_REQUEST",
        **more,
    )
    return name


def refused(method: Any, /, **params: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        method(**params)
    response = caught.value.response
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 400, response
    return response["Error"]["Code"], response["Error"]["Message"]


def everything(method: Any, /, **params: Any) -> list[dict[str, Any]]:
    """Items of all pages."""
    items: list[dict[str, Any]] = []
    for _ in range(1000):
        page = method(**params)
        items += page.get("Items", [])
        if "LastEvaluatedKey" not in page:
            return items
        params["ExclusiveStartKey"] = page["LastEvaluatedKey"]
    raise AssertionError("pages never end")


def records_of(streams: Any, arn: str, kind: str = "TRIM_HORIZON", **more: Any) -> list[dict[str, Any]]:
    """All records from an iterator on, page by page."""
    shards = streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]
    given = {"StreamArn": arn, "ShardId": shards[0]["ShardId"], "ShardIteratorType": kind, **more}
    iterator = streams.get_shard_iterator(**given)["ShardIterator"]
    found: list[dict[str, Any]] = []
    while iterator:
        page = streams.get_records(ShardIterator=iterator)
        if not page["Records"]:
            break
        found += page["Records"]
        iterator = page.get("NextShardIterator")
    return found


def all_records(streams: Any, arn: str) -> list[dict[str, Any]]:
    return records_of(streams, arn)
