"""Kinesis by its official client: boto3 against the real HTTP application, in this process."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from helpers.inprocess import SCOPE, Ring, boto, call, listening, user

from sluiceway.config import HttpSettings, SecuritySettings, StoreSettings, StreamSettings
from sluiceway.core.wakeups import Wakeups
from sluiceway.edges.aws.codecs import Codecs
from sluiceway.edges.aws.kinesis import kinesis_edge
from sluiceway.edges.aws.pipeline import AwsPipeline
from sluiceway.edges.routing import Router
from sluiceway.edges.sigv4 import SignatureVerifier
from sluiceway.engines.sqlite.store import SqliteStore, open_store
from sluiceway.services.access import authorize
from sluiceway.services.streams import Streams

STREAM = "arn:aws:kinesis:us-east-1:000000000000:stream/"
READER = user("reader", {"Effect": "Allow", "Action": "kinesis:*", "Resource": f"{STREAM}mine"})
HOUR_MS = 3_600_000
MIB = 1 << 20


class Shifted:
    """The machine's clock, moved by a test."""

    def __init__(self) -> None:
        self.ahead_ms = 0

    def now_ms(self) -> int:
        return int(datetime.now(UTC).timestamp() * 1000) + self.ahead_ms


@dataclass
class Server:
    """The address, and what is behind it."""

    url: str
    store: SqliteStore
    streams: Streams
    clock: Shifted

    def client(self, key: str = "AKIAROOT") -> Any:
        return boto(self.url, "kinesis", key, max_pool_connections=20, parameter_validation=False)


async def serve(folder: Path) -> AsyncIterator[Server]:
    wakeups, clock = Wakeups(), Shifted()
    store = await open_store(folder / "store.db", StoreSettings(), clock, wakeups)
    streams = Streams(SCOPE, StreamSettings())
    verifier = SignatureVerifier(Ring(READER), SCOPE, Shifted(), SecuritySettings())
    edge = kinesis_edge(store, streams, wakeups, StreamSettings())
    pipeline = AwsPipeline(edge, Codecs(), verifier, authorize, SCOPE, clock, HttpSettings(), lambda: "http://x")
    async with listening(Router({"kinesis": pipeline.handle}, {})) as url:
        yield Server(url, store, streams, clock)
    await store.close()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async for one in serve(tmp_path):
        yield one


async def refused(method: Any, /, **params: Any) -> str:
    with pytest.raises(ClientError) as caught:
        await call(method, **params)
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    return str(caught.value.response["Error"]["Code"])


async def iterator(kinesis: Any, stream: str, kind: str = "TRIM_HORIZON", shard: int = 0, **more: Any) -> str:
    answer = await call(
        kinesis.get_shard_iterator,
        StreamName=stream,
        ShardId=f"shardId-{shard:012}",
        ShardIteratorType=kind,
        **more,
    )
    return str(answer["ShardIterator"])


async def read(kinesis: Any, stream: str, kind: str = "TRIM_HORIZON", shard: int = 0, **more: Any) -> list[bytes]:
    place = await iterator(kinesis, stream, kind, shard, **more)
    return [one["Data"] for one in (await call(kinesis.get_records, ShardIterator=place))["Records"]]


async def test_a_stream_and_what_is_said_of_it(server: Server) -> None:
    kinesis = server.client()
    await call(kinesis.create_stream, StreamName="s", ShardCount=3, Tags={"a": "1"})
    await asyncio.to_thread(kinesis.get_waiter("stream_exists").wait, StreamName="s")
    described = (await call(kinesis.describe_stream, StreamName="s"))["StreamDescription"]
    assert (described["StreamARN"], described["StreamStatus"]) == (STREAM + "s", "ACTIVE")
    assert described["RetentionPeriodHours"] == 24 and not described["HasMoreShards"]
    ranges = [(int(s["HashKeyRange"]["StartingHashKey"]), int(s["HashKeyRange"]["EndingHashKey"]))
              for s in described["Shards"]]  # fmt: skip
    assert ranges[0][0] == 0 and ranges[-1][1] == 2**128 - 1
    assert all(one[1] + 1 == following[0] for one, following in pairwise(ranges))
    summary = (await call(kinesis.describe_stream_summary, StreamARN=STREAM + "s"))["StreamDescriptionSummary"]
    assert summary["OpenShardCount"] == 3 and summary["StreamModeDetails"] == {"StreamMode": "PROVISIONED"}
    page = await call(kinesis.list_shards, StreamName="s", MaxResults=2)
    rest = await call(kinesis.list_shards, NextToken=page["NextToken"])
    ids = [shard["ShardId"] for shard in page["Shards"] + rest["Shards"]]
    assert ids == [f"shardId-00000000000{at}" for at in range(3)] and "NextToken" not in rest
    after = {"Type": "AFTER_SHARD_ID", "ShardId": ids[0]}
    assert len((await call(kinesis.list_shards, StreamName="s", ShardFilter=after))["Shards"]) == 2
    assert await refused(kinesis.list_shards, NextToken="bm9uc2Vuc2U=") == "InvalidArgumentException"
    await call(kinesis.create_stream, StreamName="t", StreamModeDetails={"StreamMode": "ON_DEMAND"})
    listed = await call(kinesis.list_streams, Limit=1)
    assert listed["StreamNames"] == ["s"] and listed["HasMoreStreams"]
    assert (await call(kinesis.list_streams, NextToken=listed["NextToken"]))["StreamNames"] == ["t"]
    assert (await call(kinesis.list_streams, ExclusiveStartStreamName="s"))["StreamNames"] == ["t"]
    assert (await call(kinesis.describe_limits))["OpenShardCount"] == 7
    await call(kinesis.delete_stream, StreamName="s", EnforceConsumerDeletion=True)
    assert await refused(kinesis.describe_stream, StreamName="s") == "ResourceNotFoundException"


async def test_tags_and_retention(server: Server) -> None:
    kinesis = server.client()
    await call(kinesis.create_stream, StreamName="s", ShardCount=1)
    await call(kinesis.add_tags_to_stream, StreamName="s", Tags={"a": "1", "b": "2", "c": "3"})
    await call(kinesis.remove_tags_from_stream, StreamName="s", TagKeys=["b"])
    page = await call(kinesis.list_tags_for_stream, StreamName="s", Limit=1)
    assert page["Tags"] == [{"Key": "a", "Value": "1"}] and page["HasMoreTags"]
    await call(kinesis.tag_resource, ResourceARN=STREAM + "s", Tags={"d": "4"})
    await call(kinesis.untag_resource, ResourceARN=STREAM + "s", TagKeys=["a"])
    tags = (await call(kinesis.list_tags_for_resource, ResourceARN=STREAM + "s"))["Tags"]
    assert [tag["Key"] for tag in tags] == ["c", "d"]
    too_many = {f"k{at}": "" for at in range(51)}
    assert await refused(kinesis.add_tags_to_stream, StreamName="s", Tags=too_many) == "InvalidArgumentException"
    longer, shorter = kinesis.increase_stream_retention_period, kinesis.decrease_stream_retention_period
    await call(longer, StreamName="s", RetentionPeriodHours=48)
    assert await refused(longer, StreamName="s", RetentionPeriodHours=30) == "InvalidArgumentException"
    assert await refused(shorter, StreamName="s", RetentionPeriodHours=60) == "InvalidArgumentException"
    assert await refused(shorter, StreamName="s", RetentionPeriodHours=23) == "InvalidArgumentException"
    await call(shorter, StreamName="s", RetentionPeriodHours=24)


async def test_records_are_read_from_five_kinds_of_place(server: Server) -> None:
    kinesis = server.client()
    await call(kinesis.create_stream, StreamName="s", ShardCount=1)
    latest = await iterator(kinesis, "s", "LATEST")
    numbers = []
    for at in range(3):
        put = await call(kinesis.put_record, StreamName="s", Data=b"%d" % at, PartitionKey="k")
        numbers.append(put["SequenceNumber"])
    await asyncio.sleep(0.003)
    between = datetime.now(UTC)
    await asyncio.sleep(0.003)
    await call(kinesis.put_record, StreamName="s", Data=b"3", PartitionKey="k")
    assert numbers == sorted(numbers, key=int) and len({len(number) for number in numbers}) == 1
    assert await read(kinesis, "s") == [b"0", b"1", b"2", b"3"]
    assert await read(kinesis, "s", "AT_SEQUENCE_NUMBER", StartingSequenceNumber=numbers[1]) == [b"1", b"2", b"3"]
    assert await read(kinesis, "s", "AFTER_SEQUENCE_NUMBER", StartingSequenceNumber=numbers[1]) == [b"2", b"3"]
    assert await read(kinesis, "s", "AT_TIMESTAMP", Timestamp=between) == [b"3"]
    assert await read(kinesis, "s", "AT_TIMESTAMP", Timestamp=datetime(2020, 1, 1, tzinfo=UTC)) == [
        b"0", b"1", b"2", b"3"]  # fmt: skip
    assert await read(kinesis, "s", "LATEST") == []
    answer = await call(kinesis.get_records, ShardIterator=latest, Limit=3)
    assert [one["Data"] for one in answer["Records"]] == [b"0", b"1", b"2"] and answer["MillisBehindLatest"] > 0
    assert answer["Records"][0]["SequenceNumber"] == numbers[0] and answer["Records"][0]["PartitionKey"] == "k"
    rest = await call(kinesis.get_records, ShardIterator=answer["NextShardIterator"])
    assert [one["Data"] for one in rest["Records"]] == [b"3"] and rest["MillisBehindLatest"] == 0
    future = datetime.fromtimestamp(server.clock.now_ms() / 1000 + 60, UTC)
    bad: list[dict[str, Any]] = [
        {"ShardIteratorType": "AT_SEQUENCE_NUMBER"},
        {"ShardIteratorType": "AT_SEQUENCE_NUMBER", "StartingSequenceNumber": "7"},
        {"ShardIteratorType": "AT_SEQUENCE_NUMBER", "StartingSequenceNumber": str(int(numbers[-1]) + 9)},
        {"ShardIteratorType": "AT_TIMESTAMP"},
        {"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": future},
        {"ShardIteratorType": "EARLIEST"},
    ]
    for params in bad:
        code = await refused(kinesis.get_shard_iterator, StreamName="s", ShardId="shardId-000000000000", **params)
        assert code == "InvalidArgumentException", params
    other = {"StreamName": "s", "ShardId": "shardId-000000000001", "ShardIteratorType": "LATEST"}
    assert await refused(kinesis.get_shard_iterator, **other) == "ResourceNotFoundException"


async def test_a_batch_keeps_its_order_in_each_shard(server: Server) -> None:
    kinesis = server.client()
    await call(kinesis.create_stream, StreamName="s", ShardCount=4)
    records = [{"Data": b"%d" % at, "PartitionKey": f"k{at % 11}"} for at in range(300)]
    answer = await call(kinesis.put_records, StreamName="s", Records=records)
    assert answer["FailedRecordCount"] == 0
    for at, put in enumerate(answer["Records"]):
        number = int.from_bytes(hashlib.md5(f"k{at % 11}".encode()).digest(), "big") >> 126
        assert put["ShardId"] == f"shardId-{number:012}"
    for shard in range(4):
        mine = [at for at, put in enumerate(answer["Records"]) if put["ShardId"] == f"shardId-{shard:012}"]
        assert [int(data) for data in await read(kinesis, "s", shard=shard)] == mine
    ends = [(0, 0), (2**126 - 1, 0), (2**126, 1), (2**127, 2), (2**128 - 1, 3)]
    for key, shard in ends:
        put = await call(kinesis.put_record, StreamName="s", Data=b"", PartitionKey="k", ExplicitHashKey=str(key))
        assert put["ShardId"] == f"shardId-{shard:012}"
    beyond = {"StreamName": "s", "Data": b"", "PartitionKey": "k", "ExplicitHashKey": str(2**128)}
    assert await refused(kinesis.put_record, **beyond) == "InvalidArgumentException"


async def test_data_and_keys_of_every_sort(server: Server) -> None:
    kinesis = server.client()
    await call(kinesis.create_stream, StreamName="s", ShardCount=1)
    full = bytes(range(256)) * (MIB // 256)
    records = [(b"", "k"), (b"\x00\xff", "ключ-日本-🦜"), (full[:-1], "k"), (b"x", "y" * 256)]
    for data, key in records:
        await call(kinesis.put_record, StreamName="s", Data=data, PartitionKey=key)
    answer = await call(kinesis.get_records, ShardIterator=await iterator(kinesis, "s"))
    assert [(one["Data"], one["PartitionKey"]) for one in answer["Records"]] == records
    for data, key in ((full, "k"), (b"", ""), (b"", "y" * 257)):
        code = await refused(kinesis.put_record, StreamName="s", Data=data, PartitionKey=key)
        assert code in ("InvalidArgumentException", "ValidationException")
    too_much = [{"Data": full[:-1], "PartitionKey": "k"}] * 6
    assert await refused(kinesis.put_records, StreamName="s", Records=too_much) == "InvalidArgumentException"
    too_many = [{"Data": b"", "PartitionKey": "k"}] * 501
    assert await refused(kinesis.put_records, StreamName="s", Records=too_many) == "InvalidArgumentException"
    some = [{"Data": b"a", "PartitionKey": "k"}, {"Data": full, "PartitionKey": "k"}]
    assert await refused(kinesis.put_records, StreamName="s", Records=some) == "InvalidArgumentException"
    assert len(await read(kinesis, "s")) == 4


async def test_one_answer_is_bounded(server: Server) -> None:
    kinesis = server.client()
    await call(kinesis.create_stream, StreamName="s", ShardCount=1)
    data = b"x" * (MIB - 1)

    def put(tx: Any) -> None:
        for _ in range(3):
            server.streams.put_many(tx, "s", [(data, "k", None)] * 4)

    await server.store.commit(put)
    first = await call(kinesis.get_records, ShardIterator=await iterator(kinesis, "s"))
    second = await call(kinesis.get_records, ShardIterator=first["NextShardIterator"])
    assert (len(first["Records"]), len(second["Records"])) == (10, 2)
    for limit in (0, 10_001):
        answer = await refused(kinesis.get_records, ShardIterator=first["NextShardIterator"], Limit=limit)
        assert answer in ("InvalidArgumentException", "ValidationException")


async def test_iterators_expire_and_cannot_be_forged(server: Server) -> None:
    kinesis, reader = server.client(), server.client("AKIAREADER")
    for name in ("mine", "secret"):
        await call(kinesis.create_stream, StreamName=name, ShardCount=1)
        await call(kinesis.put_record, StreamName=name, Data=name.encode(), PartitionKey="k")
    mine = await iterator(reader, "mine")
    assert [one["Data"] for one in (await call(reader.get_records, ShardIterator=mine))["Records"]] == [b"mine"]
    secret = await iterator(kinesis, "secret")
    assert await refused(reader.get_records, ShardIterator=secret) == "AccessDeniedException"
    named = await refused(reader.get_records, ShardIterator=secret, StreamARN=STREAM + "mine")
    assert named in ("AccessDeniedException", "InvalidArgumentException")
    place = json.loads(base64.b64decode(mine))
    forged = base64.b64encode(json.dumps(["secret", *place[1:]]).encode()).decode()
    assert await refused(reader.get_records, ShardIterator=forged) == "AccessDeniedException"
    far = base64.b64encode(json.dumps([*place[:3], 2**62, place[4]]).encode()).decode()
    for wrong in ("x", "AAAA", "W10=", "e30=", mine + "A", far):
        assert await refused(kinesis.get_records, ShardIterator=wrong) == "InvalidArgumentException", wrong
    server.clock.ahead_ms = 301_000
    assert await refused(kinesis.get_records, ShardIterator=mine) == "ExpiredIteratorException"
    fresh = await iterator(kinesis, "mine")
    await call(kinesis.delete_stream, StreamName="mine")
    assert await refused(kinesis.get_records, ShardIterator=fresh) == "ResourceNotFoundException"
    await call(kinesis.create_stream, StreamName="mine", ShardCount=1)
    assert await refused(kinesis.get_records, ShardIterator=fresh) == "InvalidArgumentException"
    assert await read(kinesis, "mine") == []


async def test_an_iterator_outlives_a_restart(tmp_path: Path) -> None:
    place = ""
    async for server in serve(tmp_path):
        kinesis = server.client()
        await call(kinesis.create_stream, StreamName="s", ShardCount=1)
        place = await iterator(kinesis, "s", "LATEST")
        await call(kinesis.put_record, StreamName="s", Data=b"a", PartitionKey="k")
    async for server in serve(tmp_path):
        records = (await call(server.client().get_records, ShardIterator=place))["Records"]
        assert [one["Data"] for one in records] == [b"a"]


async def test_what_is_past_its_retention_is_hidden_and_forgotten(server: Server) -> None:
    kinesis = server.client()
    await call(kinesis.create_stream, StreamName="s", ShardCount=1)
    first = await call(kinesis.put_record, StreamName="s", Data=b"old", PartitionKey="k")
    server.clock.ahead_ms = 25 * HOUR_MS
    await call(kinesis.put_record, StreamName="s", Data=b"new", PartitionKey="k")
    assert await read(kinesis, "s") == [b"new"]
    old = {"StartingSequenceNumber": first["SequenceNumber"]}
    assert await read(kinesis, "s", "AT_SEQUENCE_NUMBER", **old) == [b"new"]
    assert await server.store.commit(server.streams.sweep) == 1
    assert await server.store.commit(server.streams.sweep) == 0
    assert await read(kinesis, "s", "AFTER_SEQUENCE_NUMBER", **old) == [b"new"]


async def test_a_removed_stream_is_forgotten_little_by_little(server: Server) -> None:
    kinesis, few = server.client(), Streams(SCOPE, StreamSettings(trim_max=3))
    await call(kinesis.create_stream, StreamName="s", ShardCount=1)
    await server.store.commit(few.put_many, "s", [(b"old", "k", None)] * 10)
    await server.store.commit(few.delete, "s")
    await call(kinesis.create_stream, StreamName="s", ShardCount=1)
    await call(kinesis.put_record, StreamName="s", Data=b"new", PartitionKey="k")
    assert [await server.store.commit(few.sweep) for _ in range(4)] == [3, 3, 1, 0]
    bounds = await server.store.view(lambda view: view.bounds(few.shard_log("s", "shardId-000000000000")))
    assert (bounds.first, bounds.next) == (10, 11)
    assert await read(kinesis, "s") == [b"new"]


async def test_many_writers_leave_no_gap(server: Server) -> None:
    kinesis = server.client()
    await call(kinesis.create_stream, StreamName="s", ShardCount=2)

    async def write(writer: int) -> list[tuple[int, int]]:
        """(shard, number) of what one writer wrote, one after the other."""
        places = []
        for at in range(15):
            put = await call(
                kinesis.put_record, StreamName="s", Data=b"%d-%d" % (writer, at), PartitionKey=f"{writer}-{at % 5}"
            )
            places.append((int(put["ShardId"][-1]), int(put["SequenceNumber"])))
        return places

    written = await asyncio.gather(*(write(writer) for writer in range(10)))
    for shard in (0, 1):
        numbers = sorted(number for places in written for where, number in places if where == shard)
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        data = await read(kinesis, "s", shard=shard)
        assert len(data) == len(numbers)
        for writer in range(10):
            mine = [int(one.partition(b"-")[2]) for one in data if one.startswith(b"%d-" % writer)]
            assert mine == sorted(mine)


async def test_streams_that_can_not_be_made(server: Server) -> None:
    kinesis = server.client()
    await call(kinesis.create_stream, StreamName="s", ShardCount=1)
    assert await refused(kinesis.create_stream, StreamName="s", ShardCount=1) == "ResourceInUseException"
    assert await refused(kinesis.create_stream, StreamName="b", ShardCount=501) == "LimitExceededException"
    assert await refused(kinesis.create_stream, StreamName="b") == "InvalidArgumentException"
    for name in ("bad name", "a/b", "x" * 129):
        code = await refused(kinesis.create_stream, StreamName=name, ShardCount=1)
        assert code in ("InvalidArgumentException", "ValidationException")
    other = STREAM.replace("us-east-1", "eu-west-1") + "s"
    assert await refused(kinesis.describe_stream, StreamARN=other) == "ResourceNotFoundException"
    assert await refused(kinesis.put_record, StreamARN="arn:aws:sqs:us-east-1:000000000000:s", Data=b"",
                         PartitionKey="k") == "InvalidArgumentException"  # fmt: skip
