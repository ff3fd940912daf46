"""Event source mappings of queues."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from helpers.inprocess import call
from helpers.mappings import PARTIAL, QUEUE, Bench
from helpers.waiting import until

from sluiceway.errors import Throttled


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
