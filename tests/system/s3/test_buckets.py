"""Buckets and their events by boto3."""

from __future__ import annotations

import json
import urllib.parse
from pathlib import Path
from typing import Any

import boto3
import pytest
from helpers.s3_system import drain, open_queue, plain, refused, target_policy
from helpers.server import ServerProcess, eventually

# -- buckets


def test_the_oldest_region_makes_a_bucket_again(server: ServerProcess, s3: Any) -> None:
    owned = {"ObjectOwnership": "ObjectWriter"}
    s3.create_bucket(Bucket="twice", **owned, CreateBucketConfiguration={"Tags": [{"Key": "a", "Value": "1"}]})
    private = s3.get_bucket_acl(Bucket="twice")["Grants"]
    s3.put_object(Bucket="twice", Key="kept", Body=b"x")
    s3.put_bucket_versioning(Bucket="twice", VersioningConfiguration={"Status": "Enabled"})
    s3.delete_public_access_block(Bucket="twice")
    s3.put_bucket_acl(Bucket="twice", ACL="public-read")
    made = next(row for row in s3.list_buckets()["Buckets"] if row["Name"] == "twice")
    assert s3.create_bucket(Bucket="twice")["Location"] == "/twice"
    assert s3.get_bucket_acl(Bucket="twice")["Grants"] == private
    # Nothing else is as if it were new.
    assert made in s3.list_buckets()["Buckets"]
    assert s3.get_bucket_versioning(Bucket="twice")["Status"] == "Enabled"
    assert s3.get_bucket_tagging(Bucket="twice")["TagSet"] == [{"Key": "a", "Value": "1"}]
    assert s3.get_object(Bucket="twice", Key="kept")["Body"].read() == b"x"
    # A list that comes along is what the bucket gets; one that can't be changes nothing.
    s3.create_bucket(Bucket="twice", ACL="public-read")
    assert s3.get_bucket_acl(Bucket="twice")["Grants"] != private
    s3.put_public_access_block(Bucket="twice", PublicAccessBlockConfiguration={"BlockPublicAcls": True})
    refused("InvalidBucketAclWithBlockPublicAccessError", s3.create_bucket, Bucket="twice", ACL="public-read-write")
    s3.create_bucket(Bucket="plain")
    refused("InvalidBucketAclWithObjectOwnership", s3.create_bucket, Bucket="plain", ACL="public-read")
    s3.create_bucket(Bucket="plain", ACL="private")


def test_other_regions_refuse_a_bucket_that_is_there(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "data", environment={"SLUICEWAY_REGION": "eu-central-1"}).start()
    try:
        s3 = boto3.client(
            "s3", endpoint_url=server.url, region_name="eu-central-1", aws_access_key_id=server.key[0],
            aws_secret_access_key=server.key[1],
        )  # fmt: skip
        here = {"CreateBucketConfiguration": {"LocationConstraint": "eu-central-1"}}
        s3.create_bucket(Bucket="once", **here)
        answer = refused("BucketAlreadyOwnedByYou", s3.create_bucket, Bucket="once", **here)
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 409
    finally:
        server.stop()


def test_buckets_are_made_listed_and_deleted(server: ServerProcess, s3: Any) -> None:
    assert s3.create_bucket(Bucket="making")["Location"] == "/making"
    refused("InvalidBucketName", s3.create_bucket, Bucket="a..b")
    refused(
        "InvalidLocationConstraint", s3.create_bucket, Bucket="elsewhere",
        CreateBucketConfiguration={"LocationConstraint": "eu-central-1"},
    )  # fmt: skip
    assert s3.head_bucket(Bucket="making")["BucketRegion"] == "us-east-1"
    assert s3.get_bucket_location(Bucket="making")["LocationConstraint"] is None
    names = [row["Name"] for row in s3.list_buckets()["Buckets"]]
    assert "making" in names and names == sorted(names)
    page = s3.list_buckets(MaxBuckets=1, Prefix="mak")
    assert [row["Name"] for row in page["Buckets"]] == ["making"] and "ContinuationToken" not in page
    s3.put_object(Bucket="making", Key="thing", Body=b"x")
    refused("BucketNotEmpty", s3.delete_bucket, Bucket="making")
    s3.delete_object(Bucket="making", Key="thing")
    s3.delete_bucket(Bucket="making")
    refused("404", s3.head_bucket, Bucket="making")
    refused("NoSuchBucket", s3.list_objects_v2, Bucket="making")
    refused("NoSuchBucket", s3.put_object, Bucket="making", Key="thing", Body=b"x")


def test_cors_rules_answer_preflights(server: ServerProcess, s3: Any, bucket: str) -> None:
    target = f"/{bucket}/page.html"
    asks = {"Origin": "https://app.example.com", "Access-Control-Request-Method": "PUT"}
    assert plain(server, "OPTIONS", target, asks)[0] == 403
    refused("NoSuchCORSConfiguration", s3.get_bucket_cors, Bucket=bucket)
    rule = {
        "AllowedMethods": ["GET", "PUT"], "AllowedOrigins": ["https://*.example.com"],
        "AllowedHeaders": ["x-amz-*", "Content-Type"], "ExposeHeaders": ["ETag"], "MaxAgeSeconds": 60,
    }  # fmt: skip
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [rule]})
    assert s3.get_bucket_cors(Bucket=bucket)["CORSRules"] == [rule]
    status, headers, _ = plain(
        server, "OPTIONS", target, asks | {"Access-Control-Request-Headers": "X-Amz-Date, content-type"}
    )
    assert status == 200
    assert headers["access-control-allow-origin"] == "https://app.example.com"
    assert headers["access-control-allow-methods"] == "GET, PUT"
    assert headers["access-control-allow-headers"] == "x-amz-date, content-type"
    assert headers["access-control-expose-headers"] == "ETag" and headers["access-control-max-age"] == "60"
    for change in (
        {"Origin": "https://example.org"},
        {"Access-Control-Request-Method": "DELETE"},
        {"Access-Control-Request-Headers": "authorization"},
    ):
        status, headers, body = plain(server, "OPTIONS", target, asks | change)
        assert status == 403 and b"AccessForbidden" in body and "access-control-allow-origin" not in headers
    status, headers, _ = plain(server, "GET", target, {"Origin": "https://app.example.com"})
    assert status == 403 and headers["access-control-allow-origin"] == "https://app.example.com"
    assert "Origin" in headers["vary"]
    s3.delete_bucket_cors(Bucket=bucket)
    assert plain(server, "OPTIONS", target, asks)[0] == 403
    bad = {"AllowedMethods": ["PATCH"], "AllowedOrigins": ["*"]}
    refused("InvalidRequest", s3.put_bucket_cors, Bucket=bucket, CORSConfiguration={"CORSRules": [bad]})


def test_a_policy_can_open_a_bucket_to_the_public(server: ServerProcess, s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="open/hello", Body=b"hello", ContentType="text/plain")
    s3.put_object(Bucket=bucket, Key="closed", Body=b"secret")
    assert plain(server, "GET", f"/{bucket}/open/hello")[0] == 403
    refused("NoSuchBucketPolicy", s3.get_bucket_policy, Bucket=bucket)
    statement = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject",
                 "Resource": f"arn:aws:s3:::{bucket}/open/*"}  # fmt: skip
    text = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    refused("AccessDenied", s3.put_bucket_policy, Bucket=bucket, Policy=text)
    s3.delete_public_access_block(Bucket=bucket)
    s3.put_bucket_policy(Bucket=bucket, Policy=text)
    assert s3.get_bucket_policy(Bucket=bucket)["Policy"] == text
    status, headers, body = plain(server, "GET", f"/{bucket}/open/hello")
    assert (status, body, headers["content-type"]) == (200, b"hello", "text/plain")
    assert plain(server, "GET", f"/{bucket}/closed")[0] == 403
    assert plain(server, "GET", f"/{bucket}/open/nothing")[0] == 403, "who may not list is not told what is there"
    assert plain(server, "GET", f"/{bucket}?list-type=2")[0] == 403
    assert plain(server, "DELETE", f"/{bucket}/open/hello")[0] == 403
    deny = {"Effect": "Deny", "Principal": "*", "Action": "s3:DeleteObject", "Resource": f"arn:aws:s3:::{bucket}/*"}
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Statement": [deny]}))
    refused("AccessDenied", s3.delete_object, Bucket=bucket, Key="closed")
    s3.delete_bucket_policy(Bucket=bucket)
    assert plain(server, "GET", f"/{bucket}/open/hello")[0] == 403
    refused("MalformedPolicy", s3.put_bucket_policy, Bucket=bucket, Policy="[]")


# -- events


def test_events_reach_a_queue_once_and_in_order(server: ServerProcess, s3: Any, bucket: str) -> None:
    url, arn = open_queue(server, "events", bucket)
    rule = {"Id": "all", "QueueArn": arn, "Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"],
            "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": "in/"}]}}}  # fmt: skip
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={"QueueConfigurations": [rule]})
    [kept] = s3.get_bucket_notification_configuration(Bucket=bucket)["QueueConfigurations"]
    assert kept["QueueArn"] == arn and kept["Id"] == "all"
    [test] = drain(server, url)
    assert test["Event"] == "s3:TestEvent" and test["Bucket"] == bucket and test["Service"] == "Amazon S3"
    answer = s3.put_object(Bucket=bucket, Key="in/Grüße aus+Köln.txt", Body=b"12345")
    for n in range(25):
        s3.put_object(Bucket=bucket, Key=f"in/{n}", Body=b"x" * n)
    s3.put_object(Bucket=bucket, Key="out/1", Body=b"x")
    s3.copy_object(Bucket=bucket, Key="in/copy", CopySource=f"{bucket}/out/1")
    s3.delete_object(Bucket=bucket, Key="in/copy")
    s3.delete_object(Bucket=bucket, Key="in/never")
    records = [record for message in drain(server, url) for record in message["Records"]]
    names = [(record["eventName"], urllib.parse.unquote_plus(record["s3"]["object"]["key"])) for record in records]
    assert names[0] == ("ObjectCreated:Put", "in/Grüße aus+Köln.txt")
    assert names[1:26] == [("ObjectCreated:Put", f"in/{n}") for n in range(25)]
    assert names[26:28] == [("ObjectCreated:Copy", "in/copy"), ("ObjectRemoved:Delete", "in/copy")]
    sequencers = [record["s3"]["object"]["sequencer"] for record in records]
    assert sequencers == sorted(set(sequencers)) and len({len(text) for text in sequencers}) == 1
    check_record(records[0], bucket, answer)


def check_record(record: dict[str, Any], bucket: str, answer: dict[str, Any]) -> None:
    """The shape documented under "Event message structure"."""
    assert record["eventVersion"].startswith("2.") and record["eventSource"] == "aws:s3"
    assert record["awsRegion"] == "us-east-1" and record["eventTime"].endswith("Z")
    assert record["userIdentity"]["principalId"] and record["requestParameters"] == {"sourceIPAddress": "127.0.0.1"}
    assert record["responseElements"]["x-amz-request-id"] == answer["ResponseMetadata"]["RequestId"]
    assert record["responseElements"]["x-amz-id-2"] == answer["ResponseMetadata"]["HostId"]
    told = record["s3"]
    assert told["s3SchemaVersion"] == "1.0" and told["configurationId"] == "all"
    assert told["bucket"]["name"] == bucket and told["bucket"]["arn"] == f"arn:aws:s3:::{bucket}"
    assert told["bucket"]["ownerIdentity"]["principalId"]
    assert told["object"]["key"] == "in/Gr%C3%BC%C3%9Fe+aus%2BK%C3%B6ln.txt" and told["object"]["size"] == 5
    assert told["object"]["eTag"] == answer["ETag"].strip('"')


def test_events_reach_a_topic(server: ServerProcess, s3: Any, bucket: str) -> None:
    sns, (url, queue) = server.client("sns"), open_queue(server, "behind-topic", bucket)
    topic = sns.create_topic(Name="uploads")["TopicArn"]
    sns.set_topic_attributes(
        TopicArn=topic, AttributeName="Policy", AttributeValue=target_policy("sns:Publish", topic, bucket)
    )
    sent = {"Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage",
            "Resource": queue}  # fmt: skip
    server.client("sqs").set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps({"Statement": [sent]})})
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue)
    rule = {"TopicArn": topic, "Events": ["s3:ObjectCreated:Put"]}
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={"TopicConfigurations": [rule]})
    s3.put_object(Bucket=bucket, Key="a", Body=b"x")
    got: list[Any] = []
    eventually(lambda: got.extend(drain(server, url)) or len(got) >= 2)
    bodies = [json.loads(envelope["Message"]) for envelope in got]
    assert [body.get("Event") for body in bodies] == ["s3:TestEvent", None]
    assert bodies[1]["Records"][0]["s3"]["object"]["key"] == "a" and got[1]["Subject"] == "Amazon S3 Notification"


@pytest.mark.parametrize("kind", ["queue", "topic"])
def test_a_rule_whose_target_refuses_s3_is_refused(server: ServerProcess, s3: Any, bucket: str, kind: str) -> None:
    if kind == "queue":
        url, arn = open_queue(server, "unwilling", "some-other-bucket")
        rules = {"QueueConfigurations": [{"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}]}
    else:
        arn = server.client("sns").create_topic(Name="unwilling")["TopicArn"]
        rules = {"TopicConfigurations": [{"TopicArn": arn, "Events": ["s3:ObjectCreated:*"]}]}
    put = s3.put_bucket_notification_configuration
    refused("InvalidArgument", put, Bucket=bucket, NotificationConfiguration=rules)
    missing = {"QueueConfigurations": [{"QueueArn": f"{arn}-not", "Events": ["s3:ObjectCreated:*"]}]}
    refused("InvalidArgument", put, Bucket=bucket, NotificationConfiguration=missing)
    for broken in (
        "arn:",
        "arn:x",
        "arn:aws:sqs:us-east-1",
        "arn:aws:events:us-east-1:0:bus",
        arn.replace("aws:s", "aws:x"),
    ):
        unknown = {"QueueConfigurations": [{"QueueArn": broken, "Events": ["s3:ObjectCreated:*"]}]}
        for skip in (False, True):
            arguments = {"NotificationConfiguration": unknown, "SkipDestinationValidation": skip}
            if not skip or broken.count(":") < 5:
                refused("InvalidArgument", put, Bucket=bucket, **arguments)
    kept = s3.get_bucket_notification_configuration(Bucket=bucket)
    assert "QueueConfigurations" not in kept and "TopicConfigurations" not in kept
    put(Bucket=bucket, NotificationConfiguration=rules, SkipDestinationValidation=True)
    s3.put_object(Bucket=bucket, Key="still works", Body=b"x")
    if kind == "queue":
        assert drain(server, url) == []
