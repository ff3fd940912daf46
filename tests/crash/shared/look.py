"""Reads what a server holds: by its protocols while it runs, by the store's port when it has stopped."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import urllib3
from helpers.server import ServerProcess

from shared.findings import Findings
from sluiceway.cli.running import Running
from sluiceway.config import ReactionSettings, StoreSettings
from sluiceway.core.clock import SystemClock
from sluiceway.core.store import View
from sluiceway.core.wakeups import Wakeups
from sluiceway.engines.keyfile import read_root_key
from sluiceway.engines.sqlite import open_store
from sluiceway.services.reactions import Reactions


class Look:
    """Reads a running server as its root user."""

    def __init__(self, server: ServerProcess, outputs: dict[str, str]) -> None:
        self._server = server
        self.outputs = outputs
        self.lengths: dict[str, int] = {}
        self._running = Running(server.url, server.data, 0, "us-east-1", read_root_key(server.data))

    def status(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self._running.fetch("status")["reactions"]
        return rows

    def log(self, name: str, findings: Findings) -> list[Any]:
        """All values of a log; its offsets must begin at 0 and have no gap."""
        entries: list[dict[str, Any]] = []
        while True:
            page = self._running.fetch("events", log=name, limit="1000", **{"from": str(len(entries))})
            entries += page["entries"]
            if not page["entries"]:
                break
        offsets = [entry["offset"] for entry in entries]
        findings.none(f"gaps in {name}", [a for n, a in enumerate(offsets) if a != n])
        times = [entry["time_ms"] for entry in entries]
        findings.none(f"times in {name} that go back", [b for a, b in pairwise(times) if b < a])
        self.lengths[name] = len(entries)
        return [entry["value"] for entry in entries]

    def drain(self, url: str) -> list[str]:
        """The bodies of a queue's messages. They are taken once: the queue hides them for ten minutes."""
        sqs, bodies = self._server.client("sqs"), []
        while True:
            found = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
            if not found:
                return bodies
            bodies += [message["Body"] for message in found]
            gone = [{"Id": str(n), "ReceiptHandle": message["ReceiptHandle"]} for n, message in enumerate(found)]
            sqs.delete_message_batch(QueueUrl=url, Entries=gone)

    def waiting(self, url: str) -> int:
        """Messages of a queue, also those that somebody works on."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self._server.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        return sum(int(found[name]) for name in names)

    def rows(self, table: str) -> dict[str, dict[str, Any]]:
        pages = self._server.client("dynamodb").get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
        return {row["id"]["S"]: row for page in pages for row in page["Items"]}

    def keys(self, bucket: str) -> list[str]:
        pages = self._server.client("s3").get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return [item["Key"] for page in pages for item in page.get("Contents", [])]

    def digests(self, bucket: str, keys: Iterable[str]) -> dict[str, str]:
        s3 = self._server.client("s3", max_pool_connections=8)

        def one(key: str) -> tuple[str, str]:
            return key, hashlib.sha256(s3.get_object(Bucket=bucket, Key=key)["Body"].read()).hexdigest()

        with ThreadPoolExecutor(4) as threads:
            return dict(threads.map(one, keys))

    def records(self, stream: str) -> list[tuple[str, str, str]]:
        """(shard, sequence number, id) of every record, shard by shard."""
        kinesis, found = self._server.client("kinesis"), []
        for shard in kinesis.list_shards(StreamName=stream)["Shards"]:
            place = {"StreamName": stream, "ShardId": shard["ShardId"], "ShardIteratorType": "TRIM_HORIZON"}
            iterator = kinesis.get_shard_iterator(**place)["ShardIterator"]
            while True:
                page = kinesis.get_records(ShardIterator=iterator, Limit=10_000)
                for record in page["Records"]:
                    found.append((shard["ShardId"], record["SequenceNumber"], json.loads(record["Data"])["id"]))
                iterator = page["NextShardIterator"]
                if not page["Records"] and not page["MillisBehindLatest"]:
                    break
        return found

    def searched(self) -> dict[str, int]:
        """Every document that a search finds: id -> number."""
        self._search("POST", "/rows/_refresh")
        found: dict[str, int] = {}
        last = -1
        while True:
            query = {"size": 1000, "query": {"range": {"number": {"gt": last}}}, "sort": [{"number": "asc"}]}
            hits = self._search("POST", "/rows/_search", query)["hits"]["hits"]
            if not hits:
                return found
            found |= {hit["_id"]: hit["_source"]["number"] for hit in hits}
            last = hits[-1]["_source"]["number"]

    def _search(self, method: str, path: str, body: Any = None) -> Any:
        endpoint = self.outputs["SearchEndpoint"]
        url = (endpoint if "://" in endpoint else f"http://{endpoint}") + path
        data = json.dumps(body).encode() if body is not None else b""
        request = botocore.awsrequest.AWSRequest(method, url, data=data, headers={"content-type": "application/json"})
        key = botocore.credentials.Credentials(*self._server.key)
        botocore.auth.SigV4Auth(key, "es", "us-east-1").add_auth(request)
        answer = urllib3.request(method, url, body=data, headers=dict(request.headers), timeout=30, retries=False)
        assert answer.status == 200, answer.data[:500]
        return json.loads(answer.data)


@dataclass(frozen=True)
class Excuse:
    """An event that a reaction parked or gave up. Such an event may be missing, as long as its reason is told."""

    target: str
    value: str
    reason: str


@dataclass
class Kept:
    """What a stopped server's store says of events that were not delivered."""

    excuses: list[Excuse]
    refused: list[str]

    def excused(self, name: str, *targets: str) -> bool:
        """Whether one of the reactions with these kinds of targets keeps the event that names ``name``."""
        return any(one.reason and one.target in targets and name in one.value for one in self.excuses)


def kept(data: Path) -> Kept:
    """Read the store of a server that has stopped."""

    async def read() -> Kept:
        store = await open_store(data / "store.db", StoreSettings(), SystemClock(), Wakeups())
        try:
            return await store.view(_kept)
        finally:
            await store.close()

    return asyncio.run(read())


def _kept(view: View) -> Kept:
    refused = [f"{key}: {row}" for key, row in view.scan("refused_notifications")]
    return Kept(list(_excuses(view)), refused)


def _excuses(view: View) -> Iterator[Excuse]:
    for reaction in Reactions(ReactionSettings()).list(view):
        kind = reaction.target.kind
        for key, row in view.scan("parked", prefix=(reaction.id,)):
            found = [entry.value for entry in view.read(reaction.log, int(key[2]), 1)]
            yield Excuse(kind, json.dumps(row.get("value", found)), str(row["reason"]))
        for _, row in view.scan("dead_letters", prefix=(reaction.id,)):
            yield Excuse(kind, json.dumps(row["value"]), str(row["reason"]))
