"""Notifications by boto3, and the settings that tools ask for."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError
from helpers.s3_settings import ACCOUNT, multipart, queue_of, refused
from helpers.server import ServerProcess

# -- what tools ask for


def test_what_a_bucket_is_not_set_up_to_do(s3: Any, bucket: str) -> None:
    assert "LoggingEnabled" not in s3.get_bucket_logging(Bucket=bucket)
    assert "Status" not in s3.get_bucket_accelerate_configuration(Bucket=bucket)
    assert s3.get_bucket_request_payment(Bucket=bucket)["Payer"] == "BucketOwner"
    assert not s3.list_bucket_metrics_configurations(Bucket=bucket)["IsTruncated"]
    assert not s3.list_bucket_inventory_configurations(Bucket=bucket)["IsTruncated"]
    assert not s3.list_bucket_analytics_configurations(Bucket=bucket)["IsTruncated"]
    assert not s3.list_bucket_intelligent_tiering_configurations(Bucket=bucket)["IsTruncated"]
    refused("NoSuchConfiguration", s3.get_bucket_metrics_configuration, Bucket=bucket, Id="x")
    refused("NoSuchWebsiteConfiguration", s3.get_bucket_website, Bucket=bucket)
    refused("ReplicationConfigurationNotFoundError", s3.get_bucket_replication, Bucket=bucket)
    refused("ObjectLockConfigurationNotFoundError", s3.get_object_lock_configuration, Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="a", Body=b"x")
    refused("InvalidRequest", s3.get_object_retention, Bucket=bucket, Key="a")
    refused("InvalidRequest", s3.get_object_legal_hold, Bucket=bucket, Key="a")
    refused("NoSuchBucket", s3.get_bucket_logging, Bucket="none-such")
    payer = {"RequestPaymentConfiguration": {"Payer": "Requester"}}
    refused("NotImplemented", s3.put_bucket_request_payment, Bucket=bucket, **payer)
    target = {"LoggingEnabled": {"TargetBucket": bucket, "TargetPrefix": ""}}
    refused("NotImplemented", s3.put_bucket_logging, Bucket=bucket, BucketLoggingStatus=target)


# -- notifications


def test_every_kind_of_change_is_told(server: ServerProcess, s3: Any, bucket: str) -> None:
    receive = queue_of(server, s3, bucket, "s3:ObjectCreated:*", "s3:ObjectRemoved:*", "s3:ObjectTagging:*")
    tags = {"TagSet": [{"Key": "k", "Value": "v"}]}
    s3.put_object(Bucket=bucket, Key="red flower+ü.jpg", Body=b"x")
    s3.copy_object(Bucket=bucket, Key="b", CopySource={"Bucket": bucket, "Key": "red flower+ü.jpg"})
    multipart(s3, bucket, "c", b"x")
    s3.put_object_tagging(Bucket=bucket, Key="b", Tagging=tags)
    s3.delete_object_tagging(Bucket=bucket, Key="b")
    s3.delete_object(Bucket=bucket, Key="b")
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    version = s3.put_object(Bucket=bucket, Key="c", Body=b"x")["VersionId"]
    marker = s3.delete_object(Bucket=bucket, Key="c")["VersionId"]
    s3.delete_object(Bucket=bucket, Key="c", VersionId=version)
    told = [
        (
            record["eventName"],
            record["eventVersion"],
            record["s3"]["object"]["key"],
            record["s3"]["object"].get("versionId"),
        )
        for record in receive()
    ]
    assert told == [
        ("ObjectCreated:Put", "2.1", "red+flower%2B%C3%BC.jpg", None),
        ("ObjectCreated:Copy", "2.1", "b", None),
        ("ObjectCreated:CompleteMultipartUpload", "2.1", "c", None),
        ("ObjectTagging:Put", "2.3", "b", None),
        ("ObjectTagging:Delete", "2.3", "b", None),
        ("ObjectRemoved:Delete", "2.1", "b", None),
        ("ObjectCreated:Put", "2.1", "c", version),
        ("ObjectRemoved:DeleteMarkerCreated", "2.1", "c", marker),
        ("ObjectRemoved:Delete", "2.1", "c", version),
    ]


def test_notification_rules_that_are_refused(server: ServerProcess, s3: Any, bucket: str) -> None:
    queue_of(server, s3, bucket, "s3:ObjectRemoved:*")
    queue, topic = f"arn:aws:sqs:us-east-1:{ACCOUNT}:{bucket}", f"arn:aws:sns:us-east-1:{ACCOUNT}:t"
    kept = s3.get_bucket_notification_configuration(Bucket=bucket)["QueueConfigurations"]

    def told(*events: str, arn: str = queue, filters: Any = (), **members: str) -> dict[str, Any]:
        rules = [{"Name": name, "Value": value} for name, value in filters]
        return {"QueueArn": arn, "Events": list(events), "Filter": {"Key": {"FilterRules": rules}}, **members}

    put, overlap = "s3:ObjectCreated:Put", "Configurations overlap. Configurations on the same bucket cannot share"
    ambiguous = "Configuration is ambiguously defined. Cannot have overlapping suffixes in two rules if the prefixes"
    cases: list[tuple[str, list[dict[str, Any]]]] = [
        (overlap, [told(put), told("s3:ObjectCreated:*")]),
        (overlap, [told(put, put)]),
        (ambiguous, [told(put, filters=[("prefix", "a")]), told(put, filters=[("prefix", "ab")])]),
        (ambiguous, [told(put, filters=[("suffix", "g")]), told(put, filters=[("suffix", ".jpg")])]),
        (ambiguous, [told(put), told(put, filters=[("suffix", ".jpg")])]),
        ("Same ID used for multiple configurations", [told(put, Id="x"), told("s3:ObjectAcl:Put", Id="x")]),
        ("A specified event is not supported for notifications.", [told("s3:ObjectEaten:*")]),
        ("filter rule name must be either prefix or suffix", [told(put, filters=[("infix", "x")])]),
        ("Cannot specify more than one prefix rule", [told(put, filters=[("prefix", "a"), ("Prefix", "b")])]),
        ("cannot exceed 1024 bytes in UTF-8", [told(put, filters=[("prefix", "ü" * 513)])]),
        ("The ARN is not well formed", [told(put, arn="queue")]),
        ("The ARN could not be parsed", [told(put, arn=topic)]),
        ("region is not valid for the bucket", [told(put, arn=queue.replace("us-east-1", "eu-west-1"))]),
        ("Unable to validate the following destination", [told(put, arn=queue.replace(ACCOUNT, "1" * 12))]),
        ("Unable to validate the following destination", [told(put, arn=f"{queue}-none")]),
        ("FIFO SQS queues are not supported", [told(put, arn=f"{queue}.fifo")]),
    ]
    for words, rules in cases:
        with pytest.raises(ClientError) as caught:
            s3.put_bucket_notification_configuration(
                Bucket=bucket, NotificationConfiguration={"QueueConfigurations": rules}
            )
        error = caught.value.response["Error"]
        assert error["Code"] == "InvalidArgument" and words in error["Message"], (words, error)
    bridge = {"EventBridgeConfiguration": {}}
    refused("NotImplemented", s3.put_bucket_notification_configuration, Bucket=bucket, NotificationConfiguration=bridge)
    assert s3.get_bucket_notification_configuration(Bucket=bucket)["QueueConfigurations"] == kept
    apart = [
        told(put, filters=[("prefix", "a"), ("suffix", ".jpg")]),
        told(put, filters=[("prefix", "ab"), ("suffix", ".png")]),
        told(put, filters=[("prefix", "b")]),
        told("s3:ObjectCreated:Copy"),
    ]
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={"QueueConfigurations": apart})
    assert len(s3.get_bucket_notification_configuration(Bucket=bucket)["QueueConfigurations"]) == 4


def test_each_configuration_is_tried_out(server: ServerProcess, s3: Any, bucket: str) -> None:
    """Every topic and queue in it gets one test event, whether or not the bucket knew it before."""
    queue_of(server, s3, bucket, "s3:ObjectCreated:*")
    sqs = server.client("sqs")
    url = sqs.get_queue_url(QueueName=bucket)["QueueUrl"]
    kept = s3.get_bucket_notification_configuration(Bucket=bucket)["QueueConfigurations"]
    twice = [{**kept[0], "Id": event, "Events": [event]} for event in ("s3:ObjectCreated:*", "s3:ObjectTagging:*")]

    def tested() -> list[Any]:
        found = []
        while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                found.append(json.loads(message["Body"]))
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return found

    assert [event["Event"] for event in tested()] == ["s3:TestEvent"]
    for skip, count in ((False, 1), (True, 0)):
        put = s3.put_bucket_notification_configuration(
            Bucket=bucket,
            NotificationConfiguration={"QueueConfigurations": twice},
            SkipDestinationValidation=skip,
        )
        events = tested()
        assert len(events) == count
        for event in events:
            assert set(event) == {"Service", "Event", "Time", "Bucket", "RequestId", "HostId"}
            assert (event["Bucket"], event["RequestId"]) == (bucket, put["ResponseMetadata"]["RequestId"])
