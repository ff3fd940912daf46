"""Buckets and objects by boto3 and the AWS CLI against a real server process."""

from __future__ import annotations

import hashlib
import http.client
import io
import json
import os
import random
import threading
import time
import urllib.parse
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import pytest
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError
from helpers.server import ServerProcess, eventually

MIB = 1024 * 1024
ACCOUNT = "000000000000"


@pytest.fixture(scope="module")
def s3(server: ServerProcess) -> Any:
    return server.client("s3", max_pool_connections=40)


@pytest.fixture
def bucket(s3: Any, request: pytest.FixtureRequest) -> str:
    digest = hashlib.md5(request.node.name.encode()).hexdigest()[:12]
    name = f"b-{digest}"
    s3.create_bucket(Bucket=name)
    return name


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


# -- objects


def test_objects_keep_what_was_said_of_them(server: ServerProcess, s3: Any, bucket: str) -> None:
    about = {
        "ContentType": "text/plain; charset=utf-8", "CacheControl": "max-age=60", "ContentLanguage": "de",
        "ContentDisposition": 'attachment; filename="a b.txt"', "ContentEncoding": "gzip",
        "Metadata": {"color": "red", "with-space": "a  b"},
    }  # fmt: skip
    answer = s3.put_object(Bucket=bucket, Key="full", Body=b"content", Tagging="a=1&b=zwei", **about)
    assert answer["ETag"] == f'"{hashlib.md5(b"content").hexdigest()}"'
    for found in (s3.head_object(Bucket=bucket, Key="full"), s3.get_object(Bucket=bucket, Key="full")):
        assert {name: found[name] for name in about} == about
        assert found["ETag"] == answer["ETag"] and found["ContentLength"] == 7 and found["AcceptRanges"] == "bytes"
    assert s3.get_object(Bucket=bucket, Key="full")["Body"].read() == b"content"
    assert s3.get_object_tagging(Bucket=bucket, Key="full")["TagSet"] == [
        {"Key": "a", "Value": "1"}, {"Key": "b", "Value": "zwei"},
    ]  # fmt: skip
    got = s3.get_object(Bucket=bucket, Key="full", ResponseContentType="image/png", ResponseCacheControl="no-store")
    assert got["ContentType"] == "image/png" and got["CacheControl"] == "no-store"
    s3.put_object(Bucket=bucket, Key="full", Body=b"")
    emptied = s3.get_object(Bucket=bucket, Key="full")
    assert emptied["Body"].read() == b"" and emptied["Metadata"] == {}
    assert emptied["ContentType"] == "binary/octet-stream"
    refused("MetadataTooLarge", s3.put_object, Bucket=bucket, Key="m", Body=b"", Metadata={"x": "y" * 2100})
    refused("NoSuchKey", s3.get_object, Bucket=bucket, Key="m")
    refused("404", s3.head_object, Bucket=bucket, Key="m")


def test_deleting_one_and_many(s3: Any, bucket: str) -> None:
    keys = [f"k {n} <&> ü" for n in range(1000)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: s3.put_object(Bucket=bucket, Key=key, Body=b"x"), keys[:30]))
    s3.delete_object(Bucket=bucket, Key=keys[0])
    s3.delete_object(Bucket=bucket, Key=keys[0])
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in keys]})
    assert [row["Key"] for row in answer["Deleted"]] == keys and not answer.get("Errors")
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
    quiet = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "x"}], "Quiet": True})
    assert not quiet.get("Deleted")
    many = [{"Key": str(n)} for n in range(1001)]
    refused("MalformedXML", s3.delete_objects, Bucket=bucket, Delete={"Objects": many})


@pytest.mark.parametrize("size", [1000, 200_000])
def test_ranges(s3: Any, bucket: str, size: int) -> None:
    body = random.Random(size).randbytes(size)
    s3.put_object(Bucket=bucket, Key="r", Body=body)
    last = size - 1
    for text, start, end in [
        ("bytes=0-0", 0, 1), ("bytes=10-99", 10, 100), ("bytes=500-", 500, size), ("bytes=-7", size - 7, size),
        (f"bytes=-{size * 2}", 0, size), (f"bytes={last}-{size * 5}", last, size),
    ]:  # fmt: skip
        got = s3.get_object(Bucket=bucket, Key="r", Range=text)
        assert got["ResponseMetadata"]["HTTPStatusCode"] == 206, text
        assert got["ContentRange"] == f"bytes {start}-{end - 1}/{size}" and got["ContentLength"] == end - start
        assert got["Body"].read() == body[start:end]
    for text in (f"bytes={size}-", "bytes=-0", f"bytes={size + 5}-{size + 9}"):
        error = refused("InvalidRange", s3.get_object, Bucket=bucket, Key="r", Range=text)
        assert error["ResponseMetadata"]["HTTPStatusCode"] == 416
    for text in ("bytes=5-2", "lines=1-2", "bytes=a-b", "bytes=0-1,5-6"):
        got = s3.get_object(Bucket=bucket, Key="r", Range=text)
        assert got["ResponseMetadata"]["HTTPStatusCode"] == 200 and got["Body"].read() == body
    assert s3.head_object(Bucket=bucket, Key="r", Range="bytes=0-9")["ContentLength"] == 10
    s3.put_object(Bucket=bucket, Key="empty", Body=b"")
    refused("InvalidRange", s3.get_object, Bucket=bucket, Key="empty", Range="bytes=0-")


def test_conditions(s3: Any, bucket: str) -> None:
    etag = s3.put_object(Bucket=bucket, Key="c", Body=b"one", IfNoneMatch="*")["ETag"]
    where = {"Bucket": bucket, "Key": "c"}
    refused("PreconditionFailed", s3.put_object, **where, Body=b"two", IfNoneMatch="*")
    refused("PreconditionFailed", s3.put_object, **where, Body=b"two", IfMatch='"0123"')
    refused("NoSuchKey", s3.put_object, Bucket=bucket, Key="none", Body=b"two", IfMatch=etag)
    assert s3.get_object(**where, IfMatch=etag)["Body"].read() == b"one"
    refused("PreconditionFailed", s3.get_object, **where, IfMatch='"0123"')
    refused("304", s3.get_object, **where, IfNoneMatch=etag)
    refused("304", s3.head_object, **where, IfNoneMatch=etag)
    assert s3.get_object(**where, IfNoneMatch='"0123"')["Body"].read() == b"one"
    modified = s3.head_object(**where)["LastModified"]
    refused("304", s3.get_object, **where, IfModifiedSince=modified)
    refused("PreconditionFailed", s3.get_object, **where, IfUnmodifiedSince=modified.replace(year=2001))
    s3.put_object(**where, Body=b"two", IfMatch=etag)
    refused("PreconditionFailed", s3.delete_object, **where, IfMatch=etag)
    assert s3.get_object(**where)["Body"].read() == b"two"
    results = []

    def create(n: int) -> None:
        try:
            s3.put_object(Bucket=bucket, Key="race", Body=str(n).encode(), IfNoneMatch="*")
            results.append(n)
        except ClientError as error:
            assert error.response["Error"]["Code"] in ("PreconditionFailed", "ConditionalRequestConflict")

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(create, range(32)))
    assert len(results) == 1
    assert s3.get_object(Bucket=bucket, Key="race")["Body"].read() == str(results[0]).encode()


def test_the_host_may_name_the_bucket(server: ServerProcess, s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="hosted/a", Body=b"hello")
    s3.delete_public_access_block(Bucket=bucket)
    statement = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/*"}
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Statement": [statement]}))
    for host in (
        f"{bucket}.s3.amazonaws.com",
        f"{bucket}.s3.us-east-1.amazonaws.com",
        f"{bucket}.localhost:{server.port}",
    ):
        assert plain(server, "GET", "/hosted/a", {"Host": host})[2] == b"hello", host


def test_copies(s3: Any, bucket: str) -> None:
    for key, body in (("small ü+%", b"small"), ("large", os.urandom(300_000))):
        s3.put_object(Bucket=bucket, Key=key, Body=body, ContentType="text/x", Metadata={"a": "1"}, Tagging="t=1")
        where = {"Bucket": bucket, "Key": f"copy of {key}"}
        answer = s3.copy_object(**where, CopySource={"Bucket": bucket, "Key": key})
        got = s3.get_object(**where)
        assert answer["CopyObjectResult"]["ETag"] == got["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'
        assert got["Body"].read() == body and got["Metadata"] == {"a": "1"} and got["ContentType"] == "text/x"
        assert got["TagCount"] == 1
        s3.copy_object(**where, CopySource={"Bucket": bucket, "Key": key}, MetadataDirective="REPLACE",
                       Metadata={"b": "2"}, ContentType="text/y")  # fmt: skip
        s3.delete_object(Bucket=bucket, Key=key)
        got = s3.get_object(**where)
        assert got["Body"].read() == body and got["Metadata"] == {"b": "2"} and got["ContentType"] == "text/y"
        refused("InvalidRequest", s3.copy_object, **where, CopySource={"Bucket": bucket, "Key": where["Key"]})
        refused("PreconditionFailed", s3.copy_object, Bucket=bucket, Key="x", CopySourceIfMatch='"no"',
                CopySource={"Bucket": bucket, "Key": where["Key"]})  # fmt: skip
    refused("NoSuchKey", s3.copy_object, Bucket=bucket, Key="x", CopySource=f"{bucket}/none")
    refused("NoSuchBucket", s3.copy_object, Bucket=bucket, Key="x", CopySource="no-such-bucket-here/none")


def test_a_redirect_does_not_come_along_with_a_copy(s3: Any, bucket: str) -> None:
    source = {"Bucket": bucket, "Key": "page"}
    s3.put_object(**source, Body=b"x", WebsiteRedirectLocation="/old", CacheControl="no-store")
    s3.copy_object(Bucket=bucket, Key="plain", CopySource=source)
    s3.copy_object(Bucket=bucket, Key="other", CopySource=source, WebsiteRedirectLocation="https://a.example/")
    s3.copy_object(**source, CopySource=source, WebsiteRedirectLocation="/new")  # a change of itself
    found = {key: s3.head_object(Bucket=bucket, Key=key) for key in ("plain", "other", "page")}
    assert {about["CacheControl"] for about in found.values()} == {"no-store"}
    assert {key: about.get("WebsiteRedirectLocation") for key, about in found.items()} == {
        "plain": None, "other": "https://a.example/", "page": "/new",
    }  # fmt: skip


def test_readers_may_override_headers_with_latin_1(s3: Any, bucket: str) -> None:
    where = {"Bucket": bucket, "Key": "k"}
    s3.put_object(**where, Body=b"x", ContentDisposition="inline")
    got = s3.get_object(**where, ResponseContentDisposition='attachment; filename="\xfc.txt"')
    assert got["ContentDisposition"] == 'attachment; filename="\xfc.txt"'
    assert s3.get_object(**where, ResponseContentDisposition="")["ContentDisposition"] == ""
    for beyond in ("\u0100", "a\r\nx-injected: 1", "\x00"):
        refused("InvalidArgument", s3.get_object, **where, ResponseContentDisposition=beyond)


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


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"])
def test_checksums_in_headers_and_trailers(server: ServerProcess, s3: Any, bucket: str, algorithm: str) -> None:
    body = random.Random(1).randbytes(150_000)
    for client, key in ((s3, "header"), (trailing(server), "trailer")):
        answer = client.put_object(Bucket=bucket, Key=key, Body=body, ChecksumAlgorithm=algorithm)
        sent = answer["ResponseMetadata"]["HTTPHeaders"]
        assert sent[f"x-amz-checksum-{algorithm.lower()}"] == answer[f"Checksum{algorithm}"]
        got = s3.get_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
        assert got["Body"].read() == body and got[f"Checksum{algorithm}"] == answer[f"Checksum{algorithm}"]
        assert got["ChecksumType"] == "FULL_OBJECT" and "ContentEncoding" not in got
    wrong = {"CRC32": 6, "CRC32C": 6, "CRC64NVME": 11, "SHA1": 27, "SHA256": 43}[algorithm]
    given = {f"Checksum{algorithm}": "A" * wrong + "=" * (-wrong % 4)}
    for size in (10, 150_000):
        refused("BadDigest", s3.put_object, Bucket=bucket, Key="wrong", Body=body[:size], **given)
    refused("404", s3.head_object, Bucket=bucket, Key="wrong")


def test_the_default_checksum_is_the_sdks(server: ServerProcess, s3: Any, bucket: str) -> None:
    answer = trailing(server).put_object(Bucket=bucket, Key="d", Body=io.BytesIO(b"123456789"))
    assert answer["ChecksumCRC32"] == "y/Q5Jg=="
    assert s3.head_object(Bucket=bucket, Key="d", ChecksumMode="ENABLED")["ChecksumCRC32"] == "y/Q5Jg=="
    refused("BadDigest", s3.put_object, Bucket=bucket, Key="e", Body=b"x", ContentMD5="1B2M2Y8AsgTpgAmY7PhCfg==")
    refused("InvalidDigest", s3.put_object, Bucket=bucket, Key="e", Body=b"x", ContentMD5="rubbish")
    refused("404", s3.head_object, Bucket=bucket, Key="e")


# -- listings

ODD: tuple[str, ...] = (
    "Ünïcödé/☃.txt", "with space/a b", "per%cent/%41%20", "plus+plus", "/leading", "//two", "a//b", "..", "../up",
    "a/../b", ".", "a/./b", "trailing/", "quote\"'<>&", "ctrl\x01\x1f", "new\nline", "tab\t", "q?x=1&y#z", "back\\slash",
    "emoji-\U0001f600", "\uffff-after-bmp", "k" * 1024, "ü" * 512, "{}|^`[]", "~tilde", "eq=eq;semi:colon@at,comma!$*()",
)  # fmt: skip


def test_keys_may_be_odd(s3: Any, bucket: str) -> None:
    for key in ODD:
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    for key in ODD:
        assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == key.encode(), key
    listed = [row["Key"] for row in s3.list_objects_v2(Bucket=bucket)["Contents"]]
    assert listed == sorted(ODD, key=str.encode)
    for key in ("k" * 1025, "ü" * 513):
        refused("KeyTooLongError", s3.put_object, Bucket=bucket, Key=key, Body=b"")
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in ODD if key.isprintable()]})
    assert not answer.get("Errors")
    left = [row["Key"] for row in s3.list_objects_v2(Bucket=bucket)["Contents"]]
    assert left == sorted(key for key in ODD if not key.isprintable())


def test_listings_page_through_many_keys(s3: Any, bucket: str) -> None:
    keys = [f"{folder}/{n:04d} %+ü" for folder in ("a", "b", "c ☃", "d+") for n in range(600)]
    keys += [f"top {n:03d}" for n in range(100)]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda key: s3.put_object(Bucket=bucket, Key=key, Body=b""), keys))
    keys.sort(key=str.encode)
    pages = list(s3.get_paginator("list_objects_v2").paginate(Bucket=bucket))
    assert [page["KeyCount"] for page in pages] == [1000, 1000, 500]
    assert [row["Key"] for page in pages for row in page["Contents"]] == keys
    old = s3.get_paginator("list_objects").paginate(Bucket=bucket, PaginationConfig={"PageSize": 700})
    assert [row["Key"] for page in old for row in page["Contents"]] == keys

    def listed(**arguments: Any) -> tuple[list[str], list[str]]:
        rows, prefixes = [], []
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, **arguments):
            rows += [row["Key"] for row in page.get("Contents", [])]
            prefixes += [row["Prefix"] for row in page.get("CommonPrefixes", [])]
        return rows, prefixes

    tops = [key for key in keys if key.startswith("top")]
    folders = ["a/", "b/", "c ☃/", "d+/"]
    assert listed(Delimiter="/") == (tops, folders)
    assert listed(Delimiter="/", PaginationConfig={"PageSize": 3}) == (tops, folders)
    assert listed(Prefix="c ☃/") == ([key for key in keys if key.startswith("c ☃/")], [])
    assert listed(Prefix="d+/05", Delimiter="/") == ([key for key in keys if key.startswith("d+/05")], [])
    assert listed(Delimiter="%+")[1][0] == "a/0000 %+"
    assert listed(StartAfter="d+/0599 %+ü") == (tops, [])
    assert listed(StartAfter="b/", Prefix="b/0599") == (["b/0599 %+ü"], [])
    assert listed(Prefix="nothing") == ([], [])
    none = s3.list_objects_v2(Bucket=bucket, MaxKeys=0)
    assert none["KeyCount"] == 0 and not none["IsTruncated"]
    refused("InvalidArgument", s3.list_objects_v2, Bucket=bucket, ContinuationToken="%%%")
    refused("InvalidArgument", s3.list_objects_v2, Bucket=bucket, MaxKeys=-1)


# -- multipart


def test_a_large_file_goes_up_in_parts(s3: Any, bucket: str, tmp_path: Path) -> None:
    body = random.Random(5).randbytes(40 * MIB + 12345)
    (tmp_path / "large").write_bytes(body)
    config = TransferConfig(multipart_threshold=8 * MIB, multipart_chunksize=8 * MIB, max_concurrency=5)
    s3.upload_file(str(tmp_path / "large"), bucket, "large", Config=config, ExtraArgs={"Metadata": {"a": "b"}})
    head = s3.head_object(Bucket=bucket, Key="large", PartNumber=2)
    assert head["PartsCount"] == 6 and head["ContentLength"] == 8 * MIB and head["Metadata"] == {"a": "b"}
    parts = [body[at : at + 8 * MIB] for at in range(0, len(body), 8 * MIB)]
    digest = hashlib.md5(b"".join(hashlib.md5(part).digest() for part in parts)).hexdigest()
    assert head["ETag"] == f'"{digest}-6"'
    s3.download_file(bucket, "large", str(tmp_path / "back"), Config=config)
    assert (tmp_path / "back").read_bytes() == body
    border = s3.get_object(Bucket=bucket, Key="large", Range=f"bytes={8 * MIB - 10}-{16 * MIB + 9}")
    assert border["Body"].read() == body[8 * MIB - 10 : 16 * MIB + 10]
    assert not s3.list_multipart_uploads(Bucket=bucket).get("Uploads")
    s3.copy_object(Bucket=bucket, Key="whole", CopySource=f"{bucket}/large")
    whole = s3.get_object(Bucket=bucket, Key="whole")
    assert whole["ETag"] == f'"{hashlib.md5(body).hexdigest()}"' and whole["Body"].read() == body


def test_the_steps_of_a_multipart_upload(server: ServerProcess, s3: Any, bucket: str) -> None:
    source = random.Random(6).randbytes(6 * MIB)
    s3.put_object(Bucket=bucket, Key="source", Body=source)
    upload = s3.create_multipart_upload(Bucket=bucket, Key="m/ü", ContentType="text/m", Metadata={"x": "y"})
    where = {"Bucket": bucket, "Key": "m/ü", "UploadId": upload["UploadId"]}
    assert [row["Key"] for row in s3.list_multipart_uploads(Bucket=bucket)["Uploads"]] == ["m/ü"]
    one = s3.upload_part(**where, PartNumber=1, Body=source[: 5 * MIB])["ETag"]
    s3.upload_part(**where, PartNumber=3, Body=b"to be replaced")
    copied = s3.upload_part_copy(
        **where, PartNumber=2, CopySource=f"{bucket}/source", CopySourceRange=f"bytes=0-{5 * MIB - 1}"
    )
    two = copied["CopyPartResult"]["ETag"]
    three = s3.upload_part(**where, PartNumber=3, Body=b"the end")["ETag"]
    rows = s3.list_parts(**where)["Parts"]
    assert [(row["PartNumber"], row["Size"], row["ETag"]) for row in rows] == [
        (1, 5 * MIB, one), (2, 5 * MIB, two), (3, 7, three),
    ]  # fmt: skip
    page = s3.list_parts(**where, MaxParts=1, PartNumberMarker=1)
    assert page["IsTruncated"] and page["NextPartNumberMarker"] == 2
    page = s3.list_parts(**where, MaxParts=0)
    assert not page["IsTruncated"] and "Parts" not in page
    refused("404", s3.head_object, Bucket=bucket, Key="m/ü")

    def complete(*parts: tuple[int, str]) -> dict[str, Any]:
        chosen = [{"PartNumber": number, "ETag": etag} for number, etag in parts]
        return {**where, "MultipartUpload": {"Parts": chosen}}

    finish = s3.complete_multipart_upload
    refused("InvalidPart", finish, **complete((1, one), (2, '"d41d8cd98f00b204e9800998ecf8427e"')))
    refused("InvalidPart", finish, **complete((1, one), (4, three)))
    refused("InvalidPartOrder", finish, **complete((2, two), (1, one)))
    refused("InvalidPartOrder", finish, **complete((1, one), (1, one)))
    small = s3.upload_part(**where, PartNumber=2, Body=b"small")["ETag"]
    refused("EntityTooSmall", finish, **complete((1, one), (2, small), (3, three)))
    refused("MalformedXML", finish, **complete())
    answer = finish(**complete((1, one), (3, three)))
    body = source[: 5 * MIB] + b"the end"
    got = s3.get_object(Bucket=bucket, Key="m/ü")
    assert got["Body"].read() == body and got["ETag"] == answer["ETag"] and got["ETag"].endswith('-2"')
    assert got["ContentType"] == "text/m" and got["Metadata"] == {"x": "y"}
    refused("NoSuchUpload", s3.list_parts, **where)
    refused("NoSuchUpload", s3.upload_part, **where, PartNumber=1, Body=b"x")


@pytest.mark.parametrize(
    "algorithm, kind",
    [("CRC32", "COMPOSITE"), ("CRC32", "FULL_OBJECT"), ("CRC32C", "COMPOSITE"), ("CRC64NVME", "FULL_OBJECT"),
     ("SHA1", "COMPOSITE"), ("SHA256", "COMPOSITE"), (None, "FULL_OBJECT")],
)  # fmt: skip
def test_checksums_of_parts(server: ServerProcess, s3: Any, bucket: str, algorithm: str | None, kind: str) -> None:
    named = {"ChecksumAlgorithm": algorithm} if algorithm else {}
    chosen = {**named, "ChecksumType": kind} if algorithm else {}
    where = {"Bucket": bucket, "Key": "sum"}
    where["UploadId"] = s3.create_multipart_upload(**where, **chosen)["UploadId"]
    bodies, parts, member = (
        (random.Random(9).randbytes(5 * MIB), b"the rest"),
        [],
        f"Checksum{algorithm or 'CRC64NVME'}",
    )
    for number, (client, body) in enumerate(zip((trailing(server), s3), bodies, strict=True), 1):
        answer = client.upload_part(**where, PartNumber=number, Body=body, **named)
        parts.append({"PartNumber": number, "ETag": answer["ETag"], **({member: answer[member]} if algorithm else {})})
        if not algorithm:
            refused("BadDigest", s3.upload_part, **where, PartNumber=number, Body=body, ChecksumCRC32="AAAAAA==")
    if algorithm:
        wrong = [{**parts[0], member: parts[1][member]}, parts[1]]
        refused("InvalidPart", s3.complete_multipart_upload, **where, MultipartUpload={"Parts": wrong})
        other = "SHA1" if algorithm != "SHA1" else "SHA256"
        refused("InvalidRequest", s3.upload_part, **where, PartNumber=1, Body=b"x", ChecksumAlgorithm=other)
    done = s3.complete_multipart_upload(**where, MultipartUpload={"Parts": parts}, IfNoneMatch="*")
    again = s3.complete_multipart_upload(**where, MultipartUpload={"Parts": parts}, IfNoneMatch="*")
    assert again["ETag"] == done["ETag"], "an answer that was lost can be asked for again"
    found = s3.head_object(Bucket=bucket, Key="sum", ChecksumMode="ENABLED")
    assert found[member] == done[member] and found["ChecksumType"] == kind
    if kind == "COMPOSITE":
        assert found[member].endswith("-2")
    else:
        whole = s3.put_object(
            Bucket=bucket, Key="whole", Body=b"".join(bodies), ChecksumAlgorithm=algorithm or "CRC64NVME"
        )
        assert whole[member] == found[member]
    where["UploadId"] = s3.create_multipart_upload(Bucket=bucket, Key="sum")["UploadId"]
    etag = s3.upload_part(**where, PartNumber=1, Body=b"x")["ETag"]
    only = {"Parts": [{"PartNumber": 1, "ETag": etag}]}
    refused("PreconditionFailed", s3.complete_multipart_upload, **where, MultipartUpload=only, IfNoneMatch="*")
    s3.abort_multipart_upload(**where)


def test_completions_and_abortions_at_once_make_one_object_or_none(server: ServerProcess, s3: Any, bucket: str) -> None:
    url, arn = open_queue(server, "completions", bucket)
    rule = {"QueueArn": arn, "Events": ["s3:ObjectCreated:CompleteMultipartUpload"]}
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={"QueueConfigurations": [rule]})
    drain(server, url)
    before = eventually_still(server)
    made = []
    for number in range(10):
        where = {"Bucket": bucket, "Key": f"k{number}"}
        where["UploadId"] = s3.create_multipart_upload(**where)["UploadId"]
        parts = [{"PartNumber": 1, "ETag": s3.upload_part(**where, PartNumber=1, Body=b"x")["ETag"]}]

        def finish(n: int, where: dict[str, str] = where, parts: list[Any] = parts) -> bool:
            try:
                if n == 3:
                    s3.abort_multipart_upload(**where)
                    return False
                return bool(s3.complete_multipart_upload(**where, MultipartUpload={"Parts": parts}))
            except s3.exceptions.NoSuchUpload:
                return False

        with ThreadPoolExecutor(6) as pool:
            if any(pool.map(finish, range(6))):
                made.append(where["Key"])
    assert [row["Key"] for row in s3.list_objects_v2(Bucket=bucket).get("Contents", [])] == made
    assert [message["Records"][0]["s3"]["object"]["key"] for message in drain(server, url)] == made
    eventually(lambda: len(blob_files(server)) == len(before) + len(made))


def test_an_aborted_upload_leaves_nothing(server: ServerProcess, s3: Any, bucket: str) -> None:
    before = eventually_still(server)
    upload = s3.create_multipart_upload(Bucket=bucket, Key="gone")["UploadId"]
    where = {"Bucket": bucket, "Key": "gone", "UploadId": upload}
    for number in (0, 10_001):
        refused("InvalidArgument", s3.upload_part, **where, PartNumber=number, Body=b"x")
    for number in (1, 2, 10_000):
        s3.upload_part(**where, PartNumber=number, Body=os.urandom(100_000))
    assert len(blob_files(server)) == len(before) + 3
    s3.abort_multipart_upload(**where)
    eventually(lambda: blob_files(server) == before)
    refused("NoSuchUpload", s3.abort_multipart_upload, **where)
    refused(
        "NoSuchUpload",
        s3.complete_multipart_upload,
        **where,
        MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": "x"}]},
    )
    refused("NoSuchUpload", s3.list_parts, Bucket=bucket, Key="gone", UploadId="../../etc/passwd")


def blob_files(server: ServerProcess) -> set[str]:
    """Every file that the server keeps bytes of objects in, finished or not."""
    return {str(path) for path in (server.data / "blobs").rglob("*") if path.is_file()}


def eventually_still(server: ServerProcess) -> set[str]:
    """The blobs, once no more of them come or go."""
    found: list[set[str]] = [set()]

    def still() -> bool:
        found.append(blob_files(server))
        return found[-1] == found[-2]

    eventually(still, every=0.2)
    return found[-1]


# -- at once, and much


ENOUGH = 100


class Everyone:
    """Thirty-two threads that put, get and delete the same keys, and check every answer they get."""

    def __init__(self, s3: Any, bucket: str) -> None:
        self.s3, self.bucket = s3, bucket
        self.keys = [f"key-{n}" for n in range(20)]
        self.written: dict[str, dict[str, int]] = {key: {} for key in self.keys}  # key -> MD5 -> size
        self.puts = self.gets = 0
        self.wrong: list[str] = []
        self._lock = threading.Lock()

    def run(self, seconds: float) -> None:
        began = time.monotonic()
        with ThreadPoolExecutor(32) as pool:
            for done in [pool.submit(self._one, seed, began, seconds) for seed in range(32)]:
                done.result()

    def _goes_on(self, began: float, seconds: float) -> bool:
        took = time.monotonic() - began
        return took < seconds or (min(self.puts, self.gets) <= ENOUGH and took < 10 * seconds)

    def _one(self, seed: int, began: float, seconds: float) -> None:
        chance = random.Random(seed)
        while self._goes_on(began, seconds):
            key, what = chance.choice(self.keys), chance.random()
            if what < 0.4:
                self._put(key, chance.randbytes(32) * chance.choice((1, 100, 2048, 2049, 6000)))
            elif what < 0.9:
                self._get(key)
            else:
                self.s3.delete_object(Bucket=self.bucket, Key=key)

    def _put(self, key: str, body: bytes) -> None:
        digest = hashlib.md5(body).hexdigest()
        with self._lock:
            self.written[key][digest] = len(body)
            self.puts += 1
        answer = self.s3.put_object(Bucket=self.bucket, Key=key, Body=body)
        assert answer["ETag"] == f'"{digest}"'

    def _get(self, key: str) -> None:
        try:
            got = self.s3.get_object(Bucket=self.bucket, Key=key)
        except self.s3.exceptions.NoSuchKey:
            return
        body = got["Body"].read()
        digest = hashlib.md5(body).hexdigest()
        with self._lock:
            self.gets += 1
            if self.written[key].get(digest) != len(body) or got["ETag"] != f'"{digest}"':
                self.wrong.append(f"{key}: {len(body)} bytes with {got['ETag']}")


def test_readers_and_writers_of_the_same_keys(server: ServerProcess, s3: Any, bucket: str) -> None:
    url, arn = open_queue(server, "witness", bucket)
    rule = {"QueueArn": arn, "Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]}
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={"QueueConfigurations": [rule]})
    everyone = Everyone(s3, bucket)
    everyone.run(4.0)
    assert not everyone.wrong and everyone.puts > ENOUGH and everyone.gets > ENOUGH
    records = [record for message in drain(server, url) for record in message.get("Records", [])]
    records.sort(key=lambda record: record["s3"]["object"]["sequencer"])
    assert sum(record["eventName"] == "ObjectCreated:Put" for record in records) == everyone.puts
    last = {record["s3"]["object"]["key"]: record["s3"]["object"].get("eTag") for record in records}
    now = {row["Key"]: row["ETag"].strip('"') for row in s3.list_objects_v2(Bucket=bucket).get("Contents", [])}
    assert now == {key: etag for key, etag in last.items() if etag}, "the last event of a key is its state"
    s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in everyone.keys]})


def memory_peak(server: ServerProcess) -> int:
    """The most memory that the server ever had resident, in bytes (proc(5), VmHWM)."""
    assert server.process is not None
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


class Endless(io.RawIOBase):
    """A file of ``size`` bytes that nobody holds in memory."""

    def __init__(self, size: int) -> None:
        self._size, self._at = size, 0
        self._block = random.Random(7).randbytes(MIB)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int = -1) -> bytes:
        left = self._size - self._at
        wanted = min(left, MIB if size < 0 else size)
        start = self._at % MIB
        data = self._block[start : start + wanted]
        self._at += len(data)
        return data


def test_large_bodies_take_little_memory(server: ServerProcess, s3: Any, bucket: str) -> None:
    size = 300 * MIB
    trailing(server).put_object(Bucket=bucket, Key="huge", Body=Endless(size))
    digest, expected, stream = hashlib.md5(), hashlib.md5(), Endless(size)
    body = s3.get_object(Bucket=bucket, Key="huge")["Body"]
    while chunk := body.read(MIB):
        digest.update(chunk)
    while chunk := stream.read(MIB):
        expected.update(chunk)
    assert digest.hexdigest() == expected.hexdigest()
    s3.delete_object(Bucket=bucket, Key="huge")
    assert memory_peak(server) < 250 * MIB, f"{memory_peak(server) / MIB:.0f} MiB"
