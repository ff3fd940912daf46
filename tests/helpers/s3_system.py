"""Buckets, queues and plain requests of the tests of the object service."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from helpers.server import ServerProcess

ACCOUNT = "000000000000"


def refused(code: str, call: Callable[..., Any], **arguments: Any) -> Any:
    """The error that ``call`` must end in."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    assert caught.value.response["Error"]["Code"] == code, caught.value
    return caught.value.response


def plain(server: ServerProcess, method: str, target: str, headers: dict[str, str] | None = None) -> Any:
    """An unsigned request: status, headers, body."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request(method, target, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def target_policy(action: str, arn: str, bucket: str) -> str:
    statement = {"Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": action, "Resource": arn,
                 "Condition": {"ArnLike": {"aws:SourceArn": f"arn:aws:s3:::{bucket}"}}}  # fmt: skip
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def open_queue(server: ServerProcess, name: str, bucket: str) -> tuple[str, str]:
    """URL and ARN of a queue that the bucket may send to."""
    sqs = server.client("sqs")
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = f"arn:aws:sqs:us-east-1:{ACCOUNT}:{name}"
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": target_policy("sqs:SendMessage", arn, bucket)})
    return url, arn


def drain(server: ServerProcess, url: str) -> list[dict[str, Any]]:
    """Every message that is in the queue now, as JSON, in the order received."""
    sqs, found = server.client("sqs"), []
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
        found.extend(json.loads(message["Body"]) for message in messages)
        entries = [{"Id": str(n), "ReceiptHandle": m["ReceiptHandle"]} for n, m in enumerate(messages)]
        sqs.delete_message_batch(QueueUrl=url, Entries=entries)
    return found


def trailing(server: ServerProcess) -> Any:
    """A client that sends ``aws-chunked`` with a trailer, as boto3 does wherever the endpoint is https."""
    client = server.client("s3")

    def move(params: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
        algorithm = context.get("checksum", {}).get("request_algorithm")
        if isinstance(algorithm, dict):
            algorithm["in"] = "trailer"

    client.meta.events.register("before-call.s3.PutObject", move)
    client.meta.events.register("before-call.s3.UploadPart", move)
    return client
