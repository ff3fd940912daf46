"""Services deliver what the role in whose name they do it may still read and send."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from helpers.rights import arn, function, may, role
from helpers.server import ServerProcess, eventually


class Work:
    """A function that sends what it gets to a queue, and the role that its mapping reads by."""

    def __init__(self, server: ServerProcess) -> None:
        self.server = server
        self.role = role(server)
        self.allow("sqs:*", "kinesis:*")
        self.name = function(server.client("lambda"), self.role)
        self.lambda_ = server.client("lambda")

    def allow(self, *actions: str) -> None:
        document = {"Version": "2012-10-17", "Statement": [may(list(actions))]}
        self.server.client("iam").put_role_policy(
            RoleName=self.role.rpartition("/")[2], PolicyName="p", PolicyDocument=json.dumps(document)
        )

    def map(self, source: str, **more: Any) -> str:
        made = self.lambda_.create_event_source_mapping(FunctionName=self.name, EventSourceArn=source, **more)
        return str(made["UUID"])

    def result(self, mapping: str) -> str:
        return str(self.lambda_.get_event_source_mapping(UUID=mapping)["LastProcessingResult"])


@pytest.fixture
def work(server: ServerProcess) -> Work:
    return Work(server)


def left(sqs: Any, url: str) -> int:
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    return sum(map(int, sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"].values()))


def test_a_queues_mapping_reads_as_long_as_its_role_may(server: ServerProcess, work: Work) -> None:
    sqs = server.client("sqs")
    url = sqs.create_queue(QueueName="read")["QueueUrl"]
    mapping = work.map(arn("sqs", "read"))
    sqs.send_message(QueueUrl=url, MessageBody="one")
    eventually(lambda: work.result(mapping) == "OK" and not left(sqs, url))
    work.allow("sqs:GetQueueAttributes")
    sqs.send_message(QueueUrl=url, MessageBody="two")
    assert "sqs:ReceiveMessage" in eventually(lambda: (now := work.result(mapping)).startswith("PROBLEM") and now)
    assert left(sqs, url) == 1
    work.allow("sqs:*")
    eventually(lambda: work.result(mapping) == "OK" and not left(sqs, url))


def test_a_streams_mapping_reads_as_long_as_its_role_may(server: ServerProcess, work: Work) -> None:
    kinesis, logs = server.client("kinesis"), server.client("logs")
    kinesis.create_stream(StreamName="read", ShardCount=1)
    mapping = work.map(arn("kinesis", "stream/read"), StartingPosition="TRIM_HORIZON")

    def runs() -> int:
        events = logs.filter_log_events(logGroupName=f"/aws/lambda/{work.name}", filterPattern="START")["events"]
        return len(events)

    kinesis.put_record(StreamName="read", Data=b"one", PartitionKey="k")
    eventually(lambda: work.result(mapping) == "OK" and runs() == 1)
    work.allow("kinesis:GetShardIterator")
    kinesis.put_record(StreamName="read", Data=b"two", PartitionKey="k")
    time.sleep(1)
    assert runs() == 1
    work.allow("kinesis:*")
    eventually(lambda: runs() == 2)


def test_what_a_mapping_gives_up_goes_only_where_its_role_may_send(server: ServerProcess, work: Work) -> None:
    kinesis, sqs = server.client("kinesis"), server.client("sqs")
    kinesis.create_stream(StreamName="given-up", ShardCount=1)
    url = sqs.create_queue(QueueName="given-up")["QueueUrl"]
    work.lambda_.update_function_configuration(FunctionName=work.name, Handler="main.nothing")
    work.map(arn("kinesis", "stream/given-up"), StartingPosition="TRIM_HORIZON", MaximumRetryAttempts=0,
             DestinationConfig={"OnFailure": {"Destination": arn("sqs", "given-up")}})  # fmt: skip
    kinesis.put_record(StreamName="given-up", Data=b"one", PartitionKey="k")
    eventually(lambda: left(sqs, url) == 1)
    work.allow("kinesis:*")
    kinesis.put_record(StreamName="given-up", Data=b"two", PartitionKey="k")
    time.sleep(2)
    assert left(sqs, url) == 1
