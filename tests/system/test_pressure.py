"""Backpressure: publishers are told to come again before the disk is full, and one can get out of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from helpers.server import ServerProcess, eventually

#: More than any machine has: the reserve is touched from the start.
ALL = str(1 << 60)


def refusal(call: Any, **parameters: Any) -> tuple[str, int]:
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    answer = caught.value.response
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    """With a queue, a message in it, and a bucket with an object; ``fill`` starts it again on a full disk."""
    made = ServerProcess(tmp_path / "data").start()
    url = made.client("sqs").create_queue(QueueName="q")["QueueUrl"]
    made.client("sqs").send_message(QueueUrl=url, MessageBody="one")
    made.client("s3").create_bucket(Bucket="kept")
    made.client("s3").put_object(Bucket="kept", Key="k", Body=b"x")
    made.client("sns").create_topic(Name="t")
    yield made
    made.stop()


def restarted(server: ServerProcess, **environment: str) -> ServerProcess:
    server.stop()
    made = ServerProcess(server.data, environment=environment).start()
    server.process = made.process  # the fixture stops it
    return made


def test_a_nearly_full_disk_refuses_what_adds_and_lets_go_on_what_frees(server: ServerProcess) -> None:
    full = restarted(server, SLUICEWAY_STORE__RESERVE_BYTES=ALL)
    s3, sqs, sns = full.client("s3"), full.client("sqs"), full.client("sns")
    topic = sns.list_topics()["Topics"][0]["TopicArn"]
    url = sqs.get_queue_url(QueueName="q")["QueueUrl"]
    assert refusal(s3.put_object, Bucket="kept", Key="more", Body=b"x" * 200_000) == ("SlowDown", 503)
    assert refusal(s3.create_multipart_upload, Bucket="kept", Key="more") == ("SlowDown", 503)
    assert refusal(s3.copy_object, Bucket="kept", Key="c", CopySource="kept/k") == ("SlowDown", 503)
    assert refusal(sqs.send_message, QueueUrl=url, MessageBody="two")[0] == "RequestThrottled"
    assert refusal(sns.publish, TopicArn=topic, Message="m") == ("Throttled", 429)
    entries = [{"Id": "1", "Message": "m"}]
    assert refusal(sns.publish_batch, TopicArn=topic, PublishBatchRequestEntries=entries) == ("Throttled", 429)
    kinesis, dynamodb = full.client("kinesis"), full.client("dynamodb")
    records = {"StreamName": "s", "Data": b"d", "PartitionKey": "p"}
    assert "Exceeded" in refusal(kinesis.put_record, **records)[0]
    assert "Exceeded" in refusal(dynamodb.put_item, TableName="t", Item={"id": {"S": "1"}})[0]

    assert s3.get_object(Bucket="kept", Key="k")["Body"].read() == b"x"
    message = sqs.receive_message(QueueUrl=url)["Messages"][0]
    sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    s3.delete_object(Bucket="kept", Key="k")
    assert "sluiceway_disk_low 1.0" in metrics(full)


def test_a_full_log_throttles_its_own_publishers_until_its_subscription_goes_on(tmp_path: Path) -> None:
    settings = {
        "SLUICEWAY_REACTIONS__UNSETTLED_MAX": "20",
        "SLUICEWAY_REACTIONS__SWEEP_S": "0.2",
        "SLUICEWAY_REACTIONS__RECOVER_S": "0.1",
    }
    server = ServerProcess(tmp_path / "data", environment=settings).start()
    try:
        sns, sqs, s3 = (server.client(name) for name in ("sns", "sqs", "s3"))
        topic, other = (sns.create_topic(Name=name)["TopicArn"] for name in ("slow", "other"))
        url = sqs.create_queue(QueueName="q")["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        allow = {"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage", "Resource": arn}]}
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps({"Version": "2012-10-17", **allow})})
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
        s3.create_bucket(Bucket="loud")
        allow["Statement"] = [{"Effect": "Allow", "Principal": "*", "Action": "sns:Publish", "Resource": topic}]
        sns.set_topic_attributes(
            TopicArn=topic, AttributeName="Policy", AttributeValue=json.dumps({"Version": "2012-10-17", **allow})
        )
        rule = {"TopicArn": topic, "Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]}
        s3.put_bucket_notification_configuration(
            Bucket="loud", NotificationConfiguration={"TopicConfigurations": [rule]}
        )
        s3.put_object(Bucket="loud", Key="first", Body=b"x")
        operate(server, "pause", topic)

        def throttled() -> bool:
            try:
                sns.publish(TopicArn=topic, Message="m")
            except ClientError as error:
                assert error.response["Error"]["Code"] == "Throttled", error
                return True
            return False

        eventually(throttled)
        assert refusal(s3.put_object, Bucket="loud", Key="more", Body=b"x") == ("SlowDown", 503)
        assert "Contents" in s3.list_objects_v2(Bucket="loud", Prefix="first")
        assert s3.list_objects_v2(Bucket="loud", Prefix="more")["KeyCount"] == 0  # no upload without its event
        s3.delete_object(Bucket="loud", Key="first")
        sns.publish(TopicArn=other, Message="nobody else is throttled")
        assert "sluiceway_logs_full 1.0" in metrics(server)
        operate(server, "resume", topic)
        eventually(lambda: not throttled())
        s3.put_object(Bucket="loud", Key="more", Body=b"x")
    finally:
        server.stop()


def metrics(server: ServerProcess) -> str:
    return ask(server, "metrics")


def operate(server: ServerProcess, action: str, topic: str) -> None:
    """Act on the topic's one subscription."""
    rows = json.loads(ask(server, "status"))["reactions"]
    name = next(row["id"] for row in rows if row["log"] == f"topic/{topic.rpartition(':')[2]}")
    ask(server, f"reactions?id={name.replace('/', '%2F')}&action={action}", "POST")


def ask(server: ServerProcess, path: str, method: str = "GET") -> str:
    import urllib.request

    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    signed = AWSRequest(method, f"{server.url}/_sluiceway/{path}")
    SigV4Auth(Credentials(*server.key), "sluiceway", "us-east-1").add_auth(signed)
    request = urllib.request.Request(signed.url, headers=dict(signed.headers.items()), method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return str(answer.read().decode())
