"""Event source mappings: boto3 for what manages them, the real dispatcher and poller, and a function that is not."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from helpers.inprocess import listening
from helpers.waiting import until

from sluiceway.config import (
    HttpSettings,
    MappingSettings,
    QueueSettings,
    ReactionSettings,
    SecuritySettings,
    StoreSettings,
    StreamSettings,
)
from sluiceway.core.clock import SystemClock
from sluiceway.core.identity import Principal, Scope
from sluiceway.core.invoker import Invocation
from sluiceway.core.store import Tx, View
from sluiceway.core.wakeups import Wakeups
from sluiceway.edges.aws.codecs import Codecs
from sluiceway.edges.aws.inprocess import InProcessClient, KnownPrincipals
from sluiceway.edges.aws.kinesis import kinesis_edge
from sluiceway.edges.aws.lambda_mappings import mapping_operations
from sluiceway.edges.aws.operations import ServiceEdge
from sluiceway.edges.aws.pipeline import AwsPipeline
from sluiceway.edges.routing import Router
from sluiceway.engines.sqlite.store import SqliteStore, open_store
from sluiceway.errors import AccessDenied, AlreadyExists, Invalid, NotFound, Throttled
from sluiceway.reactions.dispatcher import Dispatcher
from sluiceway.reactions.sources import EventSourceTarget, QueuePoller
from sluiceway.services.access import authorize
from sluiceway.services.mappings import Mappings, RoleRights, Sources
from sluiceway.services.queues import Queues
from sluiceway.services.reactions import Reactions
from sluiceway.services.streams import Streams

SCOPE = Scope("000000000000", "us-east-1")
ROOT = Principal("root", SCOPE.account, "root", "arn:aws:iam::000000000000:root", access_key_id="AKIAROOT")
STREAM = "arn:aws:kinesis:us-east-1:000000000000:stream/s"
TABLE = "arn:aws:dynamodb:us-east-1:000000000000:table/t/stream/2026-01-01T00:00:00.000"
QUEUE = "arn:aws:sqs:us-east-1:000000000000:"
ROLE = "arn:aws:iam::000000000000:role/r"
LIMITS = MappingSettings(retry_ms_min=20, retry_ms_max=40, recover_s=0.05, idle_s=0.5)
CODECS = Codecs()
PARTIAL = ["ReportBatchItemFailures"]
ERRORS = {
    (NotFound, "*"): "ResourceNotFoundException",
    (AlreadyExists, "*"): "ResourceConflictException",
    (Invalid, "*"): "InvalidParameterValueException",
}


class Ring:
    """One key."""

    def find(self, access_key_id: str, session_token: str | None) -> tuple[str, Principal]:
        return "secret", ROOT


class Functions:
    """Functions "f" and "g" with one role; ``denied`` is what it may not use."""

    def __init__(self) -> None:
        self.denied: set[str] = set()

    def exists(self, view: View, name: str) -> bool:
        return name in ("f", "g")

    def plain_name(self, text: str) -> str:
        return text.rpartition(":")[2]

    def arn(self, name: str) -> str:
        return SCOPE.arn("lambda", f"function:{name}")

    def may_use(self, function: str, arn: str, view: View) -> None:
        if arn in self.denied:
            raise AccessDenied("access", "no")


class Tables:
    """One table with changes."""

    def stream_log(self, view: View, stream_arn: str) -> str:
        if stream_arn != TABLE:
            raise NotFound("table", "no such stream")
        return "table/t"


@dataclass
class Fake:
    """A function: ``behave`` gets the event's records and returns its answer; what it raises is an error."""

    behave: Callable[[list[Any]], Any] = lambda records: None
    batches: list[list[Any]] = field(default_factory=list)
    running: int = 0
    most: int = 0

    async def invoke(self, function: str, payload: bytes, **_: Any) -> Invocation:
        records = json.loads(payload)["Records"]
        self.batches.append(records)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            answer = self.behave(records)
            if asyncio.iscoroutine(answer):
                answer = await answer
        except (NotFound, Throttled):
            raise
        except Exception as error:
            document = {"errorMessage": str(error), "errorType": type(error).__name__}
            return Invocation(json.dumps(document).encode(), "Handled", "$LATEST", b"", 1.0, "r")
        finally:
            self.running -= 1
        return Invocation(json.dumps(answer).encode(), None, "$LATEST", b"", 1.0, "r")

    @property
    def data(self) -> list[list[str]]:
        """What came, batch by batch."""
        return [[data_of(record) for record in batch] for batch in self.batches]


def data_of(record: Any) -> str:
    if "kinesis" in record:
        return base64.b64decode(record["kinesis"]["data"]).decode()
    return str(record["body"] if "body" in record else record["dynamodb"]["SequenceNumber"])


@dataclass
class Bench:
    """Everything, with an address for boto3."""

    url: str
    store: SqliteStore
    streams: Streams
    queues: Queues
    mappings: Mappings
    reactions: Reactions
    functions: Functions
    fake: Fake
    client: InProcessClient
    poller: QueuePoller

    @cached_property
    def api(self) -> Any:
        config = Config(retries={"max_attempts": 1}, parameter_validation=False)
        return boto3.client(
            "lambda",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id="AKIAROOT",
            aws_secret_access_key="secret",
            config=config,
        )

    async def map(self, source: str = STREAM, function: str = "f", **more: Any) -> Any:
        if not source.startswith(QUEUE):
            more.setdefault("StartingPosition", "TRIM_HORIZON")
        return await call(self.api.create_event_source_mapping, EventSourceArn=source, FunctionName=function, **more)

    async def put(self, *data: str, key: str = "k") -> None:
        records = [(one.encode(), key, None) for one in data]
        await self.store.commit(self.streams.put_many, "s", records)

    async def send(self, name: str, *bodies: str, **more: Any) -> None:
        def all_of_them(tx: Tx) -> None:
            for at, body in enumerate(bodies):
                self.queues.send(tx, name, body, **more, **({"deduplication_id": f"{body}{at}"} if more else {}))

        await self.store.commit(all_of_them)

    async def queue(self, name: str, **attributes: str) -> None:
        await self.store.commit(self.queues.create, name, {"VisibilityTimeout": "1", **attributes}, {})

    async def left(self, name: str) -> tuple[int, int, int]:
        return await self.store.view(self.queues.counts, name)

    async def bodies(self, name: str) -> list[str]:
        taken = await self.store.commit(self.queues.receive, name, 10)
        return [message.body for message in taken]


async def call(method: Any, /, **params: Any) -> Any:
    return await asyncio.to_thread(method, **params)


async def refused(method: Any, /, **params: Any) -> str:
    with pytest.raises(ClientError) as caught:
        await call(method, **params)
    return str(caught.value.response["Error"]["Code"])


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    wakeups, clock, fake, functions = Wakeups(), SystemClock(), Fake(), Functions()
    store = await open_store(tmp_path / "store.db", StoreSettings(), clock, wakeups)
    queues, streams = Queues(SCOPE, QueueSettings()), Streams(SCOPE, StreamSettings())
    reactions = Reactions(ReactionSettings(), queues)
    mappings = Mappings(SCOPE, LIMITS, reactions)
    sources = Sources(SCOPE, streams, Tables(), queues)
    operations = mapping_operations(store, mappings, sources, functions, functions.may_use, functions.may_use)
    edge = ServiceEdge("lambda", "lambda", operations, ERRORS)
    verifier = KnownPrincipals(Ring(), SCOPE, clock, SecuritySettings())
    kinesis = kinesis_edge(store, streams, wakeups, StreamSettings())
    handlers = {
        one.name: AwsPipeline(one, CODECS, verifier, authorize, SCOPE, clock, HttpSettings(), lambda: "http://x").handle
        for one in (edge, kinesis)
    }
    target = EventSourceTarget(fake, store, lambda view, name: ROLE, SCOPE, clock, LIMITS)
    dispatcher = Dispatcher(store, wakeups, reactions, {"event-source": target}, ReactionSettings(), clock)
    poller = QueuePoller(store, queues, wakeups, mappings, fake, LIMITS)
    await dispatcher.start()
    polling = asyncio.create_task(poller.run())
    await store.commit(streams.create, "s", 1)
    async with listening(Router(handlers, {})) as url:
        client = InProcessClient(handlers, lambda: url)
        yield Bench(url, store, streams, queues, mappings, reactions, functions, fake, client, poller)
        await poller.stop(1.0)
        await polling
        await dispatcher.stop(1.0)
    await store.close()


# -- what manages them


async def test_a_mapping_lives(bench: Bench) -> None:
    api = bench.api
    made = await bench.map(BatchSize=7, FunctionResponseTypes=PARTIAL, Enabled=False)
    one = {"UUID": made["UUID"]}
    assert made["State"] == "Disabled" and made["FunctionArn"].endswith(":function:f")
    assert (made["EventSourceArn"], made["BatchSize"], made["StartingPosition"]) == (STREAM, 7, "TRIM_HORIZON")
    assert made["FunctionResponseTypes"] == PARTIAL and made["LastProcessingResult"] == "No records processed"
    assert (await call(api.get_event_source_mapping, **one))["MaximumRetryAttempts"] == -1
    await bench.put("a")
    await asyncio.sleep(0.05)
    assert bench.fake.batches == []
    changes = {"FunctionName": bench.functions.arn("f"), "Enabled": True, "BatchSize": 5, "MaximumRetryAttempts": 3}
    updated = await call(api.update_event_source_mapping, **one, **changes)
    assert (updated["State"], updated["BatchSize"], updated["FunctionResponseTypes"]) == ("Enabled", 5, PARTIAL)
    await until(lambda: bench.fake.data == [["a"]])

    async def is_well() -> bool:
        return str((await call(api.get_event_source_mapping, **one))["LastProcessingResult"]) == "OK"

    await until(is_well)
    assert await refused(api.create_event_source_mapping, EventSourceArn=STREAM, FunctionName="f",
                         StartingPosition="LATEST") == "ResourceConflictException"  # fmt: skip
    assert (await call(api.delete_event_source_mapping, **one))["State"] == "Deleting"
    assert await refused(api.get_event_source_mapping, **one) == "ResourceNotFoundException"
    assert await bench.store.view(lambda view: list(bench.reactions.list(view))) == []


async def test_mappings_are_listed_by_source_and_function(bench: Bench) -> None:
    api = bench.api
    await bench.queue("q")
    ids = {(await bench.map(source, function, Enabled=False))["UUID"] for source in (STREAM, TABLE, QUEUE + "q")
           for function in ("f", "g")}  # fmt: skip

    async def listed(**params: Any) -> list[Any]:
        return list((await call(api.list_event_source_mappings, **params))["EventSourceMappings"])

    assert {one["UUID"] for one in await listed()} == ids
    assert len(await listed(EventSourceArn=STREAM)) == 2
    found = await listed(FunctionName="g", EventSourceArn=TABLE)
    assert [(one["EventSourceArn"], one["FunctionArn"][-2:]) for one in found] == [(TABLE, ":g")]
    first = await call(api.list_event_source_mappings, MaxItems=4)
    rest = await listed(Marker=first["NextMarker"])
    assert {one["UUID"] for one in [*first["EventSourceMappings"], *rest]} == ids
    assert await listed(FunctionName="nobody") == []


async def test_what_is_refused(bench: Bench) -> None:
    api = bench.api
    await bench.queue("q")
    await bench.queue("q.fifo", FifoQueue="true")
    base = {"FunctionName": "f", "StartingPosition": "LATEST"}
    cases: list[tuple[dict[str, Any], str]] = [
        ({"EventSourceArn": STREAM, "FunctionName": "f"}, "InvalidParameterValueException"),
        ({"EventSourceArn": STREAM + "x", **base}, "InvalidParameterValueException"),
        ({"EventSourceArn": "nonsense", **base}, "InvalidParameterValueException"),
        ({"EventSourceArn": STREAM.replace("us-east-1", "eu-west-1"), **base}, "InvalidParameterValueException"),
        ({"EventSourceArn": STREAM, **base, "FunctionName": "nobody"}, "ResourceNotFoundException"),
        ({"EventSourceArn": STREAM, **base, "BatchSize": 10_001}, "InvalidParameterValueException"),
        ({"EventSourceArn": STREAM, **base, "MaximumRecordAgeInSeconds": 59}, "InvalidParameterValueException"),
        ({"EventSourceArn": STREAM, **base, "TumblingWindowInSeconds": 5}, "NotImplemented"),
        ({"EventSourceArn": STREAM, **base, "FilterCriteria": {"Filters": [{"Pattern": "{"}]}},
         "InvalidParameterValueException"),
        ({"EventSourceArn": STREAM, **base,
          "DestinationConfig": {"OnFailure": {"Destination": "arn:aws:sns:us-east-1:000000000000:t"}}},
         "InvalidParameterValueException"),
        ({"EventSourceArn": TABLE, **base, "StartingPosition": "AT_TIMESTAMP",
          "StartingPositionTimestamp": datetime(2026, 1, 1, tzinfo=UTC)}, "InvalidParameterValueException"),
        ({"EventSourceArn": QUEUE + "gone", "FunctionName": "f"}, "InvalidParameterValueException"),
        ({"EventSourceArn": QUEUE + "q", **base}, "InvalidParameterValueException"),
        ({"EventSourceArn": QUEUE + "q", "FunctionName": "f", "BatchSize": 11}, "InvalidParameterValueException"),
        ({"EventSourceArn": QUEUE + "q.fifo", "FunctionName": "f", "MaximumBatchingWindowInSeconds": 1},
         "InvalidParameterValueException"),
        ({"EventSourceArn": QUEUE + "q", "FunctionName": "f", "ScalingConfig": {"MaximumConcurrency": 1}},
         "InvalidParameterValueException"),
        ({"FunctionName": "f"}, "InvalidParameterValueException"),
    ]  # fmt: skip
    for params, code in cases:
        assert await refused(api.create_event_source_mapping, **params) == code, params
    bench.functions.denied = {STREAM, QUEUE + "dead"}
    assert await refused(api.create_event_source_mapping, EventSourceArn=STREAM, **base) == (
        "InvalidParameterValueException"
    )
    bench.functions.denied = {QUEUE + "dead"}
    destination = {"DestinationConfig": {"OnFailure": {"Destination": QUEUE + "dead"}}}
    assert await refused(api.create_event_source_mapping, EventSourceArn=STREAM, **base, **destination) == (
        "InvalidParameterValueException"
    )
    assert (await call(api.list_event_source_mappings))["EventSourceMappings"] == []


async def test_what_templates_send(bench: Bench) -> None:
    """As the providers of AWS::Kinesis::Stream and AWS::Lambda::EventSourceMapping do, with text for numbers."""

    async def do(service: str, operation: str, **params: Any) -> Any:
        return await bench.client.call(service, operation, params, ROOT)

    await do("kinesis", "CreateStream", StreamName="made", StreamModeDetails={"StreamMode": "ON_DEMAND"})
    stream = (await do("kinesis", "DescribeStreamSummary", StreamName="made"))["StreamDescriptionSummary"]
    assert (stream["StreamStatus"], stream["OpenShardCount"]) == ("ACTIVE", 4)
    mapping = {
        "EventSourceArn": stream["StreamARN"],
        "FunctionName": bench.functions.arn("f"),
        "StartingPosition": "AT_TIMESTAMP",
        "StartingPositionTimestamp": "1767225600",
        "BatchSize": "20",
        "Enabled": "true",
        "BisectBatchOnFunctionError": "true",
        "MaximumRetryAttempts": "2",
        "FunctionResponseTypes": PARTIAL,
    }
    made = await do("lambda", "CreateEventSourceMapping", **mapping)
    assert (made["State"], made["BatchSize"], made["MaximumRetryAttempts"]) == ("Enabled", 20, 2)
    listed = await do("lambda", "ListEventSourceMappings", EventSourceArn=stream["StreamARN"],
                      FunctionName=bench.functions.arn("f"))  # fmt: skip
    assert [one["UUID"] for one in listed["EventSourceMappings"]] == [made["UUID"]]
    await do("lambda", "UpdateEventSourceMapping", UUID=made["UUID"], FunctionName="g", Enabled="false")
    got = await do("lambda", "GetEventSourceMapping", UUID=made["UUID"])
    assert (got["State"], got["FunctionArn"]) == ("Disabled", bench.functions.arn("g"))
    await do("lambda", "DeleteEventSourceMapping", UUID=made["UUID"])
    await do("kinesis", "DeleteStream", StreamName="made", EnforceConsumerDeletion=True)


def test_a_role_reads_what_its_policies_allow() -> None:
    allowed = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": ["kinesis:Get*", "kinesis:DescribeStream"], "Resource": STREAM},
            {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": QUEUE + "dead"},
        ],
    }
    role = Principal("role", SCOPE.account, "r", ROLE, policies=(allowed,))
    by_queue = {"Statement": [{"Effect": "Allow", "Principal": {"AWS": ROLE}, "Action": "sqs:*", "Resource": "*"}]}

    def caller_of(view: View, function: str) -> Principal:
        if function != "f":
            raise NotFound("function", "gone")
        return role

    rights = RoleRights(caller_of, lambda view, name: by_queue if name == "open" else None)
    view: Any = None
    rights.may_read("f", STREAM, view)
    rights.may_read("f", QUEUE + "open", view)
    rights.may_send("f", QUEUE + "dead", view)
    for function, arn in (("f", STREAM + "x"), ("f", TABLE), ("f", QUEUE + "q"), ("f", QUEUE + "dead"), ("g", STREAM)):
        with pytest.raises(AccessDenied):
            rights.may_read(function, arn, view)
    with pytest.raises(AccessDenied):
        rights.may_send("f", QUEUE + "q", view)


# -- streams


async def test_records_come_in_order_in_lambdas_form(bench: Bench) -> None:
    await bench.put(*[str(at) for at in range(25)])
    await bench.map(BatchSize=10)
    await until(lambda: sum(map(len, bench.fake.batches)) == 25)
    await bench.put("25", key="ключ")
    await until(lambda: sum(map(len, bench.fake.batches)) == 26)
    assert [len(batch) for batch in bench.fake.batches] == [10, 10, 5, 1]
    assert [one for batch in bench.fake.data for one in batch] == [str(at) for at in range(26)]
    record = bench.fake.batches[-1][0]
    sequence, arrived = record["kinesis"].pop("sequenceNumber"), record["kinesis"].pop("approximateArrivalTimestamp")
    assert abs(arrived - time.time()) < 60 and int(sequence) > 10**55
    assert record == {
        "kinesis": {"kinesisSchemaVersion": "1.0", "partitionKey": "ключ", "data": "MjU="},
        "eventSource": "aws:kinesis",
        "eventVersion": "1.0",
        "eventID": f"shardId-000000000000:{sequence}",
        "eventName": "aws:kinesis:record",
        "invokeIdentityArn": ROLE,
        "awsRegion": "us-east-1",
        "eventSourceARN": STREAM,
    }


async def test_a_mapping_begins_where_it_was_told(bench: Bench) -> None:
    await bench.put("old")
    await asyncio.sleep(0.005)
    between = datetime.now(UTC)
    await asyncio.sleep(0.005)
    await bench.put("later")
    await bench.map(function="f", StartingPosition="LATEST")
    await bench.map(function="g", StartingPosition="AT_TIMESTAMP", StartingPositionTimestamp=between)
    await bench.put("new")
    await until(lambda: sum(map(len, bench.fake.batches)) == 3)
    assert sorted(one for batch in bench.fake.data for one in batch) == ["later", "new", "new"]


async def test_a_failure_blocks_its_shard_and_no_other(bench: Bench) -> None:
    await bench.store.commit(bench.streams.create, "two", 2)
    broken = True

    def behave(records: list[Any]) -> None:
        if broken and data_of(records[0]).startswith("a"):
            raise ValueError("not now")

    bench.fake.behave = behave
    made = await bench.map(STREAM[:-1] + "two", BatchSize=1)

    def put(tx: Tx) -> None:
        ends = [("a1", "0"), ("a2", "0"), ("b1", str(2**128 - 1)), ("b2", str(2**128 - 1))]
        bench.streams.put_many(tx, "two", [(data.encode(), "k", end) for data, end in ends])

    await bench.store.commit(put)
    await until(lambda: bench.fake.data.count(["a1"]) >= 3 and ["b2"] in bench.fake.data)
    assert ["a2"] not in bench.fake.data and bench.fake.data.count(["b1"]) == 1
    got = await call(bench.api.get_event_source_mapping, UUID=made["UUID"])
    assert got["LastProcessingResult"] == "PROBLEM: Function call failed"
    broken = False
    await until(lambda: ["a2"] in bench.fake.data)


async def test_a_bad_record_is_found_by_halves_and_given_up(bench: Bench) -> None:
    await bench.queue("dead")

    def behave(records: list[Any]) -> None:
        if "bad" in map(data_of, records):
            raise ValueError("bad record")

    bench.fake.behave = behave
    await bench.put("0", "1", "2", "bad", "4", "5", "6", "7")
    await bench.map(
        BatchSize=8,
        BisectBatchOnFunctionError=True,
        MaximumRetryAttempts=1,
        DestinationConfig={"OnFailure": {"Destination": QUEUE + "dead"}},
    )
    good = ["0", "1", "2", "4", "5", "6", "7"]
    await until(lambda: sorted(one for batch in bench.fake.data if "bad" not in batch for one in batch) == good)
    assert bench.fake.data.count(["bad"]) == 2
    letter = json.loads((await bench.bodies("dead"))[0])
    assert letter["requestContext"]["condition"] == "RetryAttemptsExhausted"
    info = letter["KinesisBatchInfo"]
    bad = next(batch[0] for batch in bench.fake.batches if [data_of(one) for one in batch] == ["bad"])
    assert info["startSequenceNumber"] == info["endSequenceNumber"] == bad["kinesis"]["sequenceNumber"]
    assert (info["shardId"], info["streamArn"], info["batchSize"]) == ("shardId-000000000000", STREAM, 1)


async def test_what_failed_of_a_batch_comes_again_alone(bench: Bench) -> None:
    def behave(records: list[Any]) -> Any:
        bad = [one for one in records if data_of(one) in ("2", "4") and len(bench.fake.batches) < 3]
        return {"batchItemFailures": [{"itemIdentifier": one["kinesis"]["sequenceNumber"]} for one in bad]}

    bench.fake.behave = behave
    await bench.put(*"012345")
    await bench.map(BatchSize=10, FunctionResponseTypes=PARTIAL)
    await until(lambda: len(bench.fake.batches) == 3)
    assert bench.fake.data == [list("012345"), list("2345"), list("2345")]


async def test_a_wrong_report_fails_all(bench: Bench) -> None:
    answers: list[Any] = [
        {"batchItemFailures": [{"itemIdentifier": "7"}]},
        {"batchItemFailures": [{"itemIdentifier": ""}]},
        {"batchItemFailures": [{"wrong": "x"}]},
        {"batchItemFailures": "x"},
        "text",
    ]
    bench.fake.behave = lambda records: answer if len(bench.fake.batches) == 1 else {"batchItemFailures": None}
    await bench.map(FunctionResponseTypes=PARTIAL)
    for answer in answers:
        bench.fake.batches.clear()
        await bench.put("0", "1")
        await until(lambda: len(bench.fake.batches) == 2)
        await asyncio.sleep(0.05)
        assert bench.fake.data == [["0", "1"], ["0", "1"]], answer


async def test_a_large_batch_goes_in_parts_and_only_the_failed_part_is_given_up(bench: Bench) -> None:
    await bench.queue("dead")
    big = "x" * 1_000_000

    def behave(records: list[Any]) -> None:
        if any(data_of(one).startswith("0") for one in records):
            raise ValueError("no")

    bench.fake.behave = behave
    await bench.put(*[f"{at}{big}" for at in range(4)])
    await bench.put(*[f"{at}{big}" for at in range(4, 8)])
    await bench.map(MaximumRetryAttempts=0, DestinationConfig={"OnFailure": {"Destination": QUEUE + "dead"}})
    await until(lambda: sum(map(len, bench.fake.batches)) == 8)
    assert [[one[0] for one in batch] for batch in bench.fake.data] == [list("0123"), list("4567")]

    async def four_letters() -> bool:
        return (await bench.left("dead"))[0] == 4

    await until(four_letters)


async def test_throttling_is_waited_out_and_costs_no_try(bench: Bench) -> None:
    def behave(records: list[Any]) -> None:
        if len(bench.fake.batches) < 2:
            raise Throttled("function", "Rate Exceeded.")

    bench.fake.behave = behave
    await bench.put("0", "1")
    await bench.map(MaximumRetryAttempts=0, BisectBatchOnFunctionError=True)
    await until(lambda: len(bench.fake.batches) == 2)
    assert bench.fake.data == [["0", "1"], ["0", "1"]]


async def test_filters_look_into_the_data(bench: Bench) -> None:
    filters = [{"Pattern": json.dumps({"data": {"t": [{"numeric": [">", 5]}]}})}, {"Pattern": '{"data": ["plain"]}'}]
    await bench.map(FilterCriteria={"Filters": filters}, MaximumBatchingWindowInSeconds=0)
    await bench.put('{"t": 3}', '{"t": 9}', "plain", "other", "[9]", '{"t": 8}')
    await until(lambda: sum(map(len, bench.fake.batches)) == 3)
    assert [one for batch in bench.fake.data for one in batch] == ['{"t": 9}', "plain", '{"t": 8}']


async def test_changes_of_a_table_come_as_they_are(bench: Bench) -> None:
    changes = [
        {"eventID": str(at), "eventName": "INSERT" if at % 2 else "REMOVE", "dynamodb": {"SequenceNumber": f"{at:021}"}}
        for at in range(4)
    ]

    def append(tx: Tx) -> None:
        for change in changes:
            tx.append("table/t", change)

    def behave(records: list[Any]) -> Any:
        failed = records[1:] if len(bench.fake.batches) == 1 else []
        return {"batchItemFailures": [{"itemIdentifier": one["dynamodb"]["SequenceNumber"]} for one in failed]}

    bench.fake.behave = behave
    await bench.store.commit(append)
    filters = {"Filters": [{"Pattern": '{"eventName": ["INSERT"]}'}]}
    await bench.map(TABLE, FilterCriteria=filters, FunctionResponseTypes=PARTIAL)
    await until(lambda: len(bench.fake.batches) == 2)
    assert bench.fake.batches == [[changes[1], changes[3]], [changes[3]]]


# -- queues


async def test_messages_come_in_batches_and_are_deleted(bench: Bench) -> None:
    await bench.queue("q")
    attributes = {"a": {"DataType": "String", "StringValue": "x"}, "b": {"DataType": "Binary", "BinaryValue": "AP8="}}
    await bench.send("q", *[str(at) for at in range(12)])
    made = await bench.map(QUEUE + "q", ScalingConfig={"MaximumConcurrency": 2})
    await until(lambda: sum(map(len, bench.fake.batches)) == 12)
    assert sorted(len(batch) for batch in bench.fake.batches) == [2, 10]
    await bench.store.commit(lambda tx: bench.queues.send(tx, "q", "last", attributes=attributes))
    await until(lambda: len(bench.fake.batches) == 3)
    record = bench.fake.batches[-1][0]
    assert record["messageAttributes"] == {
        "a": {"dataType": "String", "stringValue": "x", "stringListValues": [], "binaryListValues": []},
        "b": {"dataType": "Binary", "binaryValue": "AP8=", "stringListValues": [], "binaryListValues": []},
    }
    assert record["attributes"]["ApproximateReceiveCount"] == "1" and record["body"] == "last"
    assert (record["eventSource"], record["eventSourceARN"]) == ("aws:sqs", QUEUE + "q")

    async def is_empty() -> bool:
        return await bench.left("q") == (0, 0, 0)

    await until(is_empty)
    got = await call(bench.api.get_event_source_mapping, UUID=made["UUID"])
    assert got["LastProcessingResult"] == "OK" and got["ScalingConfig"] == {"MaximumConcurrency": 2}
    await call(bench.api.delete_event_source_mapping, UUID=made["UUID"])
    await until(lambda: not bench.poller._tasks)
    await bench.send("q", "nobody reads this")
    await asyncio.sleep(0.1)
    assert len(bench.fake.batches) == 3


async def test_a_failed_batch_comes_back_and_ends_as_dead_letter(bench: Bench) -> None:
    await bench.queue("dead")
    redrive = json.dumps({"deadLetterTargetArn": QUEUE + "dead", "maxReceiveCount": 2})
    await bench.queue("q", RedrivePolicy=redrive)

    def behave(records: list[Any]) -> None:
        raise ValueError("never")

    bench.fake.behave = behave
    await bench.map(QUEUE + "q")
    await bench.send("q", "poison")

    async def is_dead() -> bool:
        return (await bench.left("dead"))[0] == 1

    await until(is_dead)
    assert bench.fake.data == [["poison"], ["poison"]]
    assert await bench.bodies("dead") == ["poison"]


async def test_only_the_messages_that_failed_come_back(bench: Bench) -> None:
    await bench.queue("q")

    def behave(records: list[Any]) -> Any:
        failed = [one for one in records if one["body"] == "b" and len(bench.fake.batches) == 1]
        return {"batchItemFailures": [{"itemIdentifier": one["messageId"]} for one in failed]}

    bench.fake.behave = behave
    await bench.send("q", "a", "b", "c")
    await bench.map(QUEUE + "q", FunctionResponseTypes=PARTIAL)
    await until(lambda: len(bench.fake.batches) == 2)
    assert bench.fake.data == [["a", "b", "c"], ["b"]]


async def test_groups_keep_their_order_across_failures(bench: Bench) -> None:
    await bench.queue("q.fifo", FifoQueue="true")
    seen: list[str] = []

    def behave(records: list[Any]) -> None:
        if len(bench.fake.batches) == 1:
            raise ValueError("once")
        seen.extend(one["body"] for one in records)

    bench.fake.behave = behave
    await bench.map(QUEUE + "q.fifo", BatchSize=2)
    await bench.send("q.fifo", *"12345", group_id="g")
    await until(lambda: len(seen) == 5)
    assert seen == list("12345")


async def test_what_a_filter_refuses_is_deleted(bench: Bench) -> None:
    await bench.queue("q")
    await bench.map(QUEUE + "q", FilterCriteria={"Filters": [{"Pattern": '{"body": {"a": [1]}}'}]})
    await bench.send("q", '{"a": 1}', '{"a": 2}', "plain")

    async def is_empty() -> bool:
        return bool(bench.fake.batches) and await bench.left("q") == (0, 0, 0)

    await until(is_empty)
    assert bench.fake.data == [['{"a": 1}']]


async def test_no_more_than_the_concurrency_runs(bench: Bench) -> None:
    await bench.queue("q", VisibilityTimeout="30")
    three = asyncio.Event()

    async def slowly() -> None:
        if bench.fake.running == 3:
            three.set()
        await three.wait()
        await asyncio.sleep(0.02)

    bench.fake.behave = lambda records: slowly()
    await bench.map(QUEUE + "q", BatchSize=1, ScalingConfig={"MaximumConcurrency": 3})
    await bench.send("q", *[str(at) for at in range(20)])
    await until(lambda: len(bench.fake.batches) == 20)
    assert bench.fake.most == 3


async def test_a_window_gathers_a_larger_batch(bench: Bench) -> None:
    await bench.queue("q", VisibilityTimeout="30")
    await bench.map(QUEUE + "q", BatchSize=25, MaximumBatchingWindowInSeconds=20)
    await bench.send("q", *[str(at) for at in range(12)])
    await asyncio.sleep(0.1)
    assert bench.fake.batches == []
    await bench.send("q", *[str(at) for at in range(13)])
    await until(lambda: [len(batch) for batch in bench.fake.batches] == [25])


async def test_a_throttled_batch_is_tried_again_within_its_loan(bench: Bench) -> None:
    await bench.queue("q", VisibilityTimeout="30")

    def behave(records: list[Any]) -> None:
        if len(bench.fake.batches) < 3:
            raise Throttled("function", "Rate Exceeded.")

    bench.fake.behave = behave
    await bench.map(QUEUE + "q")
    await bench.send("q", "a")
    await until(lambda: len(bench.fake.batches) == 3)
    assert [batch[0]["attributes"]["ApproximateReceiveCount"] for batch in bench.fake.batches] == ["1"] * 3


async def test_a_queue_that_goes_and_comes_again(bench: Bench) -> None:
    await bench.queue("q")
    made = await bench.map(QUEUE + "q")
    await bench.store.commit(bench.queues.remove, "q")

    async def has_problem() -> bool:
        got = await call(bench.api.get_event_source_mapping, UUID=made["UUID"])
        return str(got["LastProcessingResult"]).startswith("PROBLEM")

    await until(has_problem)
    await bench.queue("q")
    await bench.send("q", "a")
    await until(lambda: bench.fake.data == [["a"]])
