"""Event source mappings of streams."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import UTC, datetime
from typing import Any

from helpers.inprocess import call
from helpers.mappings import PARTIAL, QUEUE, ROLE, STREAM, TABLE, Bench, data_of
from helpers.waiting import until

from sluiceway.core.store import Tx
from sluiceway.errors import Throttled


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
