"""Queues by boto3."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError


def made(sqs: Any, name: str, **attributes: str) -> str:
    url: str = sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
    return url


def fifo(sqs: Any, name: str, **attributes: str) -> str:
    return made(sqs, name, FifoQueue="true", ContentBasedDeduplication="true", **attributes)


def arn(sqs: Any, url: str) -> str:
    found: str = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    return found


def counts(sqs: Any, url: str) -> tuple[int, int, int]:
    names = ["", "NotVisible", "Delayed"]
    asked = [f"ApproximateNumberOfMessages{name}" for name in names]
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=asked)["Attributes"]
    visible, taken, delayed = (int(found[name]) for name in asked)
    return visible, taken, delayed


def take(sqs: Any, url: str, count: int = 10, **more: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=count, **more).get(
        "Messages", []
    )
    return found


def refused(method: Any, **params: Any) -> str:
    with pytest.raises(ClientError) as caught:
        method(**params)
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] < 500
    code: str = caught.value.response["Error"]["Code"]
    return code


def redrive(target: str, count: Any = 1) -> dict[str, str]:
    return {"RedrivePolicy": json.dumps({"deadLetterTargetArn": target, "maxReceiveCount": count})}
