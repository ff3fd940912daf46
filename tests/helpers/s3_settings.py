"""What the tests of buckets' settings share."""

from __future__ import annotations

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


def lower_headers(answer: Any) -> dict[str, str]:
    return dict(answer["ResponseMetadata"]["HTTPHeaders"])


def multipart(s3: Any, bucket: str, key: str, *parts: bytes, **options: Any) -> Any:
    """An object of these parts; the completion's answer."""
    upload = s3.create_multipart_upload(Bucket=bucket, Key=key, **options)["UploadId"]
    algorithm = options.get("ChecksumAlgorithm")
    done = []
    for number, body in enumerate(parts, 1):
        given = {"ChecksumAlgorithm": algorithm} if algorithm else {}
        part = s3.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=number, Body=body, **given)
        sums = {name: value for name, value in part.items() if name.startswith("Checksum") and name != "ChecksumType"}
        done.append({"PartNumber": number, "ETag": part["ETag"], **(sums if algorithm else {})})
    return s3.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": done})


def names(s3: Any) -> list[str]:
    return [row["Name"] for row in s3.list_buckets()["Buckets"]]


def rule(**members: Any) -> dict[str, Any]:
    return {"ID": "r", "Status": "Enabled", "Filter": {}, **members}


def put_rules(s3: Any, bucket: str, *rules: dict[str, Any], **options: Any) -> Any:
    return s3.put_bucket_lifecycle_configuration(
        Bucket=bucket, LifecycleConfiguration={"Rules": list(rules)}, **options
    )


def queue_of(server: ServerProcess, s3: Any, bucket: str, *events: str) -> Callable[[], list[Any]]:
    """A queue that gets the bucket's events; what it holds."""
    sqs = server.client("sqs")
    url = sqs.create_queue(QueueName=bucket)["QueueUrl"]
    arn = f"arn:aws:sqs:us-east-1:{ACCOUNT}:{bucket}"
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "s3.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": arn,
        "Condition": {
            "ArnEquals": {"aws:SourceArn": f"arn:aws:s3:::{bucket}"},
            "StringEquals": {"aws:SourceAccount": ACCOUNT},
        },
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
    configuration = {"QueueConfigurations": [{"Id": "told", "QueueArn": arn, "Events": list(events)}]}
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=configuration)
    return lambda: received(server, bucket)


def received(server: ServerProcess, name: str) -> list[Any]:
    """All records in a queue now, in the order received."""
    sqs = server.client("sqs")
    url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
    found: list[Any] = []
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        for message in messages:
            found.extend(json.loads(message["Body"]).get("Records", []))
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return found
