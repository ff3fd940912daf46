"""A queue's messages as a function gets them (AWS Lambda Developer Guide, "Using Lambda with Amazon SQS")."""

from __future__ import annotations

import json
from typing import Any

from sluiceway.core.filters import content
from sluiceway.services.queues import Received


def record_of(message: Received, queue_arn: str, region: str) -> bytes:
    """One of an event's Records."""
    record: dict[str, Any] = {
        "messageId": message.message_id,
        "receiptHandle": message.receipt_handle,
        "body": message.body,
        "attributes": message.system,
        "messageAttributes": {name: _attribute(value) for name, value in message.attributes.items()},
        "md5OfBody": message.body_md5,
        "eventSource": "aws:sqs",
        "eventSourceARN": queue_arn,
        "awsRegion": region,
    }
    if message.attributes:
        record["md5OfMessageAttributes"] = message.attributes_md5
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def filtered_view(message: Received) -> dict[str, Any]:
    """What filter patterns see: the body only."""
    return {"body": content(message.body)}


def _attribute(value: dict[str, Any]) -> dict[str, Any]:
    shown = {"dataType": value["DataType"], "stringListValues": [], "binaryListValues": []}
    if "StringValue" in value:
        shown["stringValue"] = value["StringValue"]
    if "BinaryValue" in value:  # base64 already
        shown["binaryValue"] = value["BinaryValue"]
    return shown
