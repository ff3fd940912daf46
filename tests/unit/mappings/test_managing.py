"""Event source mappings are made, changed, listed and refused."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError
from helpers.inprocess import ROOT, SCOPE, call
from helpers.mappings import PARTIAL, QUEUE, ROLE, STREAM, TABLE, Bench
from helpers.waiting import until

from sluiceway.core.identity import Principal
from sluiceway.core.store import View
from sluiceway.errors import AccessDenied, NotFound
from sluiceway.services.mappings import RoleRights


async def refused(method: Any, /, **params: Any) -> str:
    with pytest.raises(ClientError) as caught:
        await call(method, **params)
    return str(caught.value.response["Error"]["Code"])


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
        ({"EventSourceArn": STREAM, **base, "DestinationConfig": {"OnFailure": {"Destination": QUEUE + "q.fifo"}}},
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
