"""What a bucket is set up to do: encryption, lifecycle rules, attributes, and what tools ask for, by boto3."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import urllib3
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from helpers.server import ServerProcess, eventually

MIB = 1024 * 1024
PAST = datetime(2020, 1, 1, tzinfo=UTC)
ACCOUNT = "000000000000"


@pytest.fixture(scope="module")
def s3(server: ServerProcess) -> Any:
    return server.client("s3")


@pytest.fixture
def bucket(s3: Any, request: pytest.FixtureRequest) -> str:
    name = f"b-{hashlib.md5(request.node.name.encode()).hexdigest()[:12]}"
    s3.create_bucket(Bucket=name)
    return name


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


# -- encryption


def test_every_bucket_and_object_says_aes256(s3: Any, bucket: str) -> None:
    default = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}, "BucketKeyEnabled": False}
    assert s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"] == {"Rules": [default]}
    assert s3.put_object(Bucket=bucket, Key="a", Body=b"x")["ServerSideEncryption"] == "AES256"
    assert s3.get_object(Bucket=bucket, Key="a")["ServerSideEncryption"] == "AES256"
    assert s3.head_object(Bucket=bucket, Key="a")["ServerSideEncryption"] == "AES256"
    copied = s3.copy_object(Bucket=bucket, Key="b", CopySource=f"{bucket}/a")
    assert copied["ServerSideEncryption"] == "AES256"
    assert multipart(s3, bucket, "c", b"x")["ServerSideEncryption"] == "AES256"
    s3.put_object(Bucket=bucket, Key="a", Body=b"x", ServerSideEncryption="AES256")


def test_a_default_key_is_kept_with_what_is_put(server: ServerProcess, s3: Any, bucket: str) -> None:
    arn = server.client("kms").create_key()["KeyMetadata"]["Arn"]
    rule = {
        "ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": arn},
        "BucketKeyEnabled": True,
    }
    s3.put_object(Bucket=bucket, Key="before", Body=b"x")
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [rule]})
    assert s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"] == {"Rules": [rule]}
    upload = s3.create_multipart_upload(Bucket=bucket, Key="parts")
    part = s3.upload_part(Bucket=bucket, Key="parts", UploadId=upload["UploadId"], PartNumber=1, Body=b"x")
    answers = [
        s3.put_object(Bucket=bucket, Key="a", Body=b"x"),
        s3.get_object(Bucket=bucket, Key="a"),
        s3.head_object(Bucket=bucket, Key="a"),
        s3.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/before"),
        upload,
        part,
    ]
    s3.delete_bucket_encryption(Bucket=bucket)
    chosen = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    answers.append(
        s3.complete_multipart_upload(Bucket=bucket, Key="parts", UploadId=upload["UploadId"], MultipartUpload=chosen)
    )
    for answer in answers:
        found = answer["ServerSideEncryption"], answer["SSEKMSKeyId"], answer["BucketKeyEnabled"]
        assert found == ("aws:kms", arn, True), answer
    assert s3.head_object(Bucket=bucket, Key="before")["ServerSideEncryption"] == "AES256"
    assert s3.put_object(Bucket=bucket, Key="a", Body=b"x")["ServerSideEncryption"] == "AES256"
    again = s3.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/copy", ServerSideEncryption="AES256")
    assert again["ServerSideEncryption"] == "AES256"


def test_keys_are_checked_and_contexts_kept(server: ServerProcess, s3: Any, bucket: str) -> None:
    kms = server.client("kms")
    key = kms.create_key()["KeyMetadata"]
    kms.create_alias(AliasName="alias/pictures", TargetKeyId=key["KeyId"])
    context = base64.b64encode(b'{"for":"pictures"}').decode()
    named = {"Bucket": bucket, "Key": "a", "Body": b"x", "ServerSideEncryption": "aws:kms"}
    put = s3.put_object(**named, SSEKMSKeyId="alias/pictures", SSEKMSEncryptionContext=context)
    assert (put["SSEKMSKeyId"], put["SSEKMSEncryptionContext"]) == (key["Arn"], context)
    assert "BucketKeyEnabled" not in put
    assert "x-amz-server-side-encryption-context" not in lower_headers(s3.get_object(Bucket=bucket, Key="a"))
    managed = s3.put_object(**named)["SSEKMSKeyId"]
    assert managed == s3.put_object(**named)["SSEKMSKeyId"] != key["Arn"]
    assert "alias/aws/s3" in [alias["AliasName"] for alias in kms.list_aliases()["Aliases"]]
    refused("KMS.NotFoundException", s3.put_object, **named, SSEKMSKeyId="alias/none")
    kms.disable_key(KeyId=key["KeyId"])
    refused("KMS.DisabledException", s3.put_object, **named, SSEKMSKeyId=key["KeyId"])
    kms.schedule_key_deletion(KeyId=key["KeyId"])
    refused("KMS.KMSInvalidStateException", s3.put_object, **named, SSEKMSKeyId=key["KeyId"])
    assert s3.get_object(Bucket=bucket, Key="a")["Body"].read() == b"x"


def test_what_encryption_can_not_be(server: ServerProcess, s3: Any, bucket: str) -> None:
    put = {"Bucket": bucket, "Key": "a", "Body": b"x"}
    refused("InvalidArgument", s3.put_object, **put, ServerSideEncryption="rot13")
    refused("InvalidArgument", s3.put_object, **put, SSEKMSKeyId="alias/x")
    refused("InvalidArgument", s3.put_object, **put, ServerSideEncryption="AES256", SSEKMSKeyId="alias/x")
    refused("InvalidArgument", s3.put_object, **put, ServerSideEncryption="aws:kms", SSEKMSEncryptionContext="{")
    refused("InvalidArgument", s3.put_object, **put, ServerSideEncryption="aws:kms:dsse", BucketKeyEnabled=True)
    name = "x-amz-server-side-encryption"
    for header in (f"{name}-customer-algorithm", f"{name}-customer-key"):
        refused("NotImplemented", with_headers(server, {header: "AES256"}).put_object, **put)
    s3.put_object(**put)
    read = {"Bucket": bucket, "Key": "a"}
    refused("InvalidArgument", with_headers(server, {name: "AES256"}).get_object, **read)
    refused("400", with_headers(server, {name: "AES256"}).head_object, **read)
    refused("NotImplemented", with_headers(server, {f"{name}-customer-algorithm": "AES256"}).get_object, **read)
    copy = with_headers(server, {"x-amz-copy-source-server-side-encryption-customer-key": "AES256"})
    refused("NotImplemented", copy.copy_object, Bucket=bucket, Key="b", CopySource=f"{bucket}/a")


def with_headers(server: ServerProcess, headers: dict[str, str]) -> Any:
    """A client that adds headers of its own, which botocore would refuse over plain HTTP."""
    made = server.client("s3")
    made.meta.events.register("before-call.s3", lambda params, **_: params["headers"].update(headers))
    return made


@pytest.mark.parametrize(
    ("code", "rules"),
    [
        ("MalformedXML", []),
        ("MalformedXML", [{"BucketKeyEnabled": True}, {"BucketKeyEnabled": True}]),
        ("MalformedXML", [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "DES"}}]),
        (
            "InvalidArgument",
            [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256", "KMSMasterKeyID": "k"}}],
        ),
        (
            "InvalidArgument",
            [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms:dsse"}, "BucketKeyEnabled": True}],
        ),
    ],
)
def test_encryption_rules_that_are_refused(s3: Any, code: str, rules: list[Any]) -> None:
    s3.create_bucket(Bucket="encrypted-rules") if "encrypted-rules" not in names(s3) else None
    asked = {"Rules": rules}
    refused(code, s3.put_bucket_encryption, Bucket="encrypted-rules", ServerSideEncryptionConfiguration=asked)


def names(s3: Any) -> list[str]:
    return [row["Name"] for row in s3.list_buckets()["Buckets"]]


def test_forms_are_encrypted_and_expire_as_puts(server: ServerProcess, s3: Any, bucket: str) -> None:
    default = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}, "BucketKeyEnabled": False}
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [default]})
    put_rules(s3, bucket, rule(ID="form", Filter={"Prefix": "up/"}, Expiration={"Days": 1}))
    for given, expected in (({}, "aws:kms"), ({"x-amz-server-side-encryption": "AES256"}, "AES256")):
        form = s3.generate_presigned_post(bucket, "up/a", Fields=given, Conditions=[given] if given else [])
        body, kind = urllib3.encode_multipart_formdata({**form["fields"], "file": ("a", b"x")})
        answer = urllib3.request("POST", form["url"], body=body, headers={"content-type": kind})
        assert answer.status == 204, answer.data
        assert answer.headers["x-amz-server-side-encryption"] == expected
        assert 'rule-id="form"' in answer.headers["x-amz-expiration"]
        assert s3.head_object(Bucket=bucket, Key="up/a")["ServerSideEncryption"] == expected


# -- attributes


def test_attributes_of_a_plain_object(s3: Any, bucket: str) -> None:
    put = s3.put_object(Bucket=bucket, Key="a", Body=b"hello", ChecksumAlgorithm="SHA256", StorageClass="STANDARD_IA")
    wanted = ["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"]
    found = s3.get_object_attributes(Bucket=bucket, Key="a", ObjectAttributes=wanted)
    assert found["ETag"] == put["ETag"].strip('"')
    assert found["Checksum"] == {"ChecksumSHA256": put["ChecksumSHA256"], "ChecksumType": "FULL_OBJECT"}
    assert (found["StorageClass"], found["ObjectSize"]) == ("STANDARD_IA", 5)
    assert "ObjectParts" not in found and "VersionId" not in found
    assert found["LastModified"] == s3.head_object(Bucket=bucket, Key="a")["LastModified"]
    found = s3.get_object_attributes(Bucket=bucket, Key="a", ObjectAttributes=["ObjectSize"])
    assert found["ObjectSize"] == 5 and "ETag" not in found
    refused("InvalidArgument", s3.get_object_attributes, Bucket=bucket, Key="a", ObjectAttributes=["Colour"])
    refused("InvalidRequest", s3.get_object_attributes, Bucket=bucket, Key="a", ObjectAttributes=[""])
    refused("NoSuchKey", s3.get_object_attributes, Bucket=bucket, Key="none", ObjectAttributes=["ETag"])


@pytest.mark.parametrize(
    ("algorithm", "type_"), [("SHA256", "COMPOSITE"), ("CRC32", "COMPOSITE"), ("CRC64NVME", "FULL_OBJECT")]
)
def test_parts_and_their_checksums(s3: Any, bucket: str, algorithm: str, type_: str) -> None:
    bodies = [bytes([n]) * 5 * MIB for n in range(3)] + [b"last"]
    done = multipart(s3, bucket, "big", *bodies, ChecksumAlgorithm=algorithm)
    member = f"Checksum{algorithm}"
    attributes = ["Checksum", "ObjectParts", "ObjectSize"]
    found = s3.get_object_attributes(Bucket=bucket, Key="big", ObjectAttributes=attributes, MaxParts=2)
    assert found["Checksum"] == {member: done[member].partition("-")[0], "ChecksumType": type_}
    parts = found["ObjectParts"]
    assert (parts["TotalPartsCount"], parts["MaxParts"], parts["PartNumberMarker"]) == (4, 2, 0)
    assert parts["IsTruncated"] and parts["NextPartNumberMarker"] == 2
    rest = s3.get_object_attributes(
        Bucket=bucket, Key="big", ObjectAttributes=attributes, PartNumberMarker=parts["NextPartNumberMarker"]
    )["ObjectParts"]
    assert not rest["IsTruncated"]
    listed = parts["Parts"] + rest["Parts"]
    assert [(part["PartNumber"], part["Size"]) for part in listed] == [
        (n, len(body)) for n, body in enumerate(bodies, 1)
    ]
    if algorithm == "SHA256":
        assert [part[member] for part in listed] == [
            base64.b64encode(hashlib.sha256(body).digest()).decode() for body in bodies
        ]
    for part, body in zip(listed, bodies, strict=True):
        read = {"Bucket": bucket, "Key": "big", "PartNumber": part["PartNumber"], "ChecksumMode": "ENABLED"}
        got = s3.get_object(**read)
        assert got[member] == part[member] and got["Body"].read() == body
        assert (s3.head_object(**read)[member], got["PartsCount"]) == (part[member], 4)
    assert s3.head_object(Bucket=bucket, Key="big", ChecksumMode="ENABLED")[member] == done[member]
    beyond = s3.get_object_attributes(Bucket=bucket, Key="big", ObjectAttributes=attributes, PartNumberMarker=9)
    assert "Parts" not in beyond["ObjectParts"] and not beyond["ObjectParts"]["IsTruncated"]


def test_attributes_of_versions(s3: Any, bucket: str) -> None:
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    first = s3.put_object(Bucket=bucket, Key="a", Body=b"one", StorageClass="DEEP_ARCHIVE")["VersionId"]
    s3.put_object(Bucket=bucket, Key="a", Body=b"second")
    asked = {"Bucket": bucket, "Key": "a", "ObjectAttributes": ["ObjectSize", "StorageClass"]}
    assert s3.get_object_attributes(**asked)["ObjectSize"] == 6
    old = s3.get_object_attributes(**asked, VersionId=first)
    assert (old["ObjectSize"], old["StorageClass"], old["VersionId"]) == (3, "DEEP_ARCHIVE", first)
    marker = s3.delete_object(Bucket=bucket, Key="a")["VersionId"]
    assert lower_headers(refused("NoSuchKey", s3.get_object_attributes, **asked))["x-amz-delete-marker"] == "true"
    refused("MethodNotAllowed", s3.get_object_attributes, **asked, VersionId=marker)
    refused("InvalidArgument", s3.get_object_attributes, **asked, VersionId="odd")


def test_attributes_need_both_rights(server: ServerProcess, s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="a", Body=b"x")
    iam = server.client("iam")
    iam.create_user(UserName="reader")
    key = iam.create_access_key(UserName="reader")["AccessKey"]
    reader = server.client("s3", (key["AccessKeyId"], key["SecretAccessKey"]))
    asked = {"Bucket": bucket, "Key": "a", "ObjectAttributes": ["ETag"]}

    def allow(*actions: str) -> None:
        statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        iam.put_user_policy(UserName="reader", PolicyName="p", PolicyDocument=document)

    for only in ("s3:GetObject", "s3:GetObjectAttributes"):
        allow(only)
        refused("AccessDenied", reader.get_object_attributes, **asked)
    allow("s3:GetObject", "s3:GetObjectAttributes")
    assert reader.get_object_attributes(**asked)["ETag"]


# -- lifecycle


def rule(**members: Any) -> dict[str, Any]:
    return {"ID": "r", "Status": "Enabled", "Filter": {}, **members}


def put_rules(s3: Any, bucket: str, *rules: dict[str, Any], **options: Any) -> Any:
    return s3.put_bucket_lifecycle_configuration(
        Bucket=bucket, LifecycleConfiguration={"Rules": list(rules)}, **options
    )


def test_a_configuration_comes_back_as_it_went(s3: Any, bucket: str) -> None:
    refused("NoSuchLifecycleConfiguration", s3.get_bucket_lifecycle_configuration, Bucket=bucket)
    rules = [
        rule(ID="all", Expiration={"Date": datetime(2099, 2, 28, tzinfo=UTC)}),
        rule(ID="prefix", Filter={"Prefix": "logs/"}, Transitions=[{"Days": 0, "StorageClass": "GLACIER_IR"}]),
        rule(
            ID="and",
            Status="Disabled",
            Filter={"And": {"Prefix": "", "Tags": [{"Key": "a", "Value": "b"}], "ObjectSizeGreaterThan": 5}},
            NoncurrentVersionExpiration={"NoncurrentDays": 3, "NewerNoncurrentVersions": 2},
            NoncurrentVersionTransitions=[{"NoncurrentDays": 1, "StorageClass": "GLACIER"}],
        ),
        rule(ID="uploads", Filter={"Prefix": "x"}, AbortIncompleteMultipartUpload={"DaysAfterInitiation": 7}),
        rule(ID="markers", Expiration={"ExpiredObjectDeleteMarker": True}),
        rule(ID="size", Filter={"ObjectSizeLessThan": 9}, Expiration={"Days": 2}),
        rule(ID="tag", Filter={"Tag": {"Key": "k", "Value": ""}}, Expiration={"Days": 2}),
    ]
    assert put_rules(s3, bucket, *rules)["TransitionDefaultMinimumObjectSize"] == "all_storage_classes_128K"
    kept = s3.get_bucket_lifecycle_configuration(Bucket=bucket)
    assert kept["Rules"] == rules
    assert kept["TransitionDefaultMinimumObjectSize"] == "all_storage_classes_128K"
    put_rules(s3, bucket, *rules, TransitionDefaultMinimumObjectSize="varies_by_storage_class")
    kept = s3.get_bucket_lifecycle_configuration(Bucket=bucket)
    assert kept["TransitionDefaultMinimumObjectSize"] == "varies_by_storage_class"
    older = {"Status": "Enabled", "Prefix": "old/", "Expiration": {"Days": 1}}
    put_rules(s3, bucket, older)
    kept = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    assert len(kept[0].pop("ID")) == 48 and kept == [older]
    s3.delete_bucket_lifecycle(Bucket=bucket)
    s3.delete_bucket_lifecycle(Bucket=bucket)
    refused("NoSuchLifecycleConfiguration", s3.get_bucket_lifecycle_configuration, Bucket=bucket)
    with pytest.raises(ClientError, match="TransitionDefaultMinimumObjectSize found: some"):
        put_rules(s3, bucket, older, TransitionDefaultMinimumObjectSize="some")


def test_answers_say_when_an_object_goes(s3: Any, bucket: str) -> None:
    put_rules(
        s3,
        bucket,
        rule(ID="week äöü", Filter={"Prefix": "logs/"}, Expiration={"Days": 7}),
        rule(ID="tagged", Filter={"Tag": {"Key": "temp", "Value": "yes"}}, Expiration={"Days": 1}),
        rule(ID="uploads", AbortIncompleteMultipartUpload={"DaysAfterInitiation": 2}),
    )
    day = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    week = (day + timedelta(days=8)).strftime("%a, %d %b %Y 00:00:00 GMT")
    expected = f'expiry-date="{week}", rule-id="week %C3%A4%C3%B6%C3%BC"'
    put = s3.put_object(Bucket=bucket, Key="logs/a", Body=b"x")
    got = s3.get_object(Bucket=bucket, Key="logs/a")
    head = s3.head_object(Bucket=bucket, Key="logs/a")
    copy = s3.copy_object(Bucket=bucket, Key="logs/b", CopySource=f"{bucket}/logs/a")
    parts = multipart(s3, bucket, "logs/c", b"x")
    assert [answer["Expiration"] for answer in (put, got, head, copy, parts)] == [expected] * 5
    assert "Expiration" not in s3.put_object(Bucket=bucket, Key="other", Body=b"x")
    s3.put_object_tagging(Bucket=bucket, Key="logs/a", Tagging={"TagSet": [{"Key": "temp", "Value": "yes"}]})
    assert 'rule-id="tagged"' in s3.head_object(Bucket=bucket, Key="logs/a")["Expiration"]
    upload = s3.create_multipart_upload(Bucket=bucket, Key="any")
    assert upload["AbortDate"] == day + timedelta(days=3) and upload["AbortRuleId"] == "uploads"
    listed = s3.list_parts(Bucket=bucket, Key="any", UploadId=upload["UploadId"])
    assert (listed["AbortDate"], listed["AbortRuleId"]) == (upload["AbortDate"], "uploads")


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


def test_rules_are_carried_out_and_told(server: ServerProcess, s3: Any, bucket: str) -> None:
    receive = queue_of(server, s3, bucket, "s3:LifecycleExpiration:*", "s3:LifecycleTransition")
    for key in ("old/1", "old/2", "kept", "cold/1"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"x" * 10)
    before = s3.head_object(Bucket=bucket, Key="cold/1")
    put_rules(
        s3,
        bucket,
        rule(ID="old", Filter={"Prefix": "old/"}, Expiration={"Date": PAST}),
        rule(
            ID="cold",
            Filter={"And": {"Prefix": "cold/", "ObjectSizeGreaterThan": 1}},
            Transitions=[{"Date": PAST, "StorageClass": "GLACIER_IR"}],
        ),
    )

    def classes() -> dict[str, str]:
        return {row["Key"]: row["StorageClass"] for row in s3.list_objects_v2(Bucket=bucket)["Contents"]}

    eventually(lambda: classes() == {"cold/1": "GLACIER_IR", "kept": "STANDARD"})
    after = s3.head_object(Bucket=bucket, Key="cold/1")
    assert after["StorageClass"] == "GLACIER_IR"
    assert (after["ETag"], after["LastModified"]) == (before["ETag"], before["LastModified"])
    assert s3.get_object(Bucket=bucket, Key="cold/1")["Body"].read() == b"x" * 10
    records: list[Any] = []
    eventually(lambda: records.extend(receive()) or len(records) == 3)
    for record in records:
        assert record["eventVersion"] == "2.3" and record["userIdentity"] == {"principalId": "s3.amazonaws.com"}
        assert record["requestParameters"] == {"sourceIPAddress": "s3.amazonaws.com"}
    told = {record["s3"]["object"]["key"]: record for record in records}
    assert told["old/1"]["eventName"] == told["old/2"]["eventName"] == "LifecycleExpiration:Delete"
    assert told["cold/1"]["eventName"] == "LifecycleTransition"
    assert told["cold/1"]["lifecycleEventData"] == {"transitionEventData": {"destinationStorageClass": "GLACIER_IR"}}
    assert "size" not in told["old/1"]["s3"]["object"] and told["cold/1"]["s3"]["object"]["size"] == 10


def test_versions_get_markers_and_markers_go(server: ServerProcess, s3: Any, bucket: str) -> None:
    receive = queue_of(server, s3, bucket, "s3:LifecycleExpiration:*")
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    kept = [s3.put_object(Bucket=bucket, Key="a", Body=b"x")["VersionId"] for _ in range(2)]
    s3.put_object(Bucket=bucket, Key="gone", Body=b"x")
    s3.delete_object(Bucket=bucket, Key="gone", VersionId=s3.head_object(Bucket=bucket, Key="gone")["VersionId"])
    lonely = s3.delete_object(Bucket=bucket, Key="gone")["VersionId"]
    put_rules(
        s3, bucket,
        rule(ID="a", Filter={"Prefix": "a"}, Expiration={"Date": PAST}),
        rule(ID="m", Filter={"Prefix": ""}, Expiration={"ExpiredObjectDeleteMarker": True}),
    )  # fmt: skip
    records: list[Any] = []
    eventually(lambda: records.extend(receive()) or len(records) == 2)
    listed = s3.list_object_versions(Bucket=bucket)
    assert [row["VersionId"] for row in listed["Versions"]] == kept[::-1]
    (marker,) = listed["DeleteMarkers"]
    assert marker["Key"] == "a" and marker["IsLatest"]
    told = {record["eventName"]: record["s3"]["object"] for record in records}
    assert told["LifecycleExpiration:DeleteMarkerCreated"]["versionId"] == marker["VersionId"]
    assert told["LifecycleExpiration:Delete"] | {"sequencer": ""} == {
        "key": "gone",
        "versionId": lonely,
        "sequencer": "",
    }


@pytest.mark.parametrize("seed", range(3))
def test_rules_go_on_after_a_kill(tmp_path: Path, seed: int) -> None:
    """Killed again and again while a run is under way: each object goes once, with one event."""
    random_ = random.Random(seed)
    slow = {"SLUICEWAY_OBJECTS__LIFECYCLE_ROWS_MAX": "2", "SLUICEWAY_OBJECTS__LIFECYCLE_BATCH": "1"}
    server = ServerProcess(tmp_path / "data", environment=slow).start()
    try:
        s3 = server.client("s3")
        s3.create_bucket(Bucket="many")
        queue_of(server, s3, "many", "s3:LifecycleExpiration:*")
        keys = [f"{n:03d}" for n in range(150)]
        for key in keys:
            s3.put_object(Bucket="many", Key=key, Body=b"x" if key < "140" else b"x" * 100_000)
        put_rules(s3, "many", rule(Expiration={"Date": PAST}))
        left, killed_at = [], []
        for most in (145, 110, 75, 40):

            def some_are_gone(most: int = most, s3: Any = s3) -> bool:
                killed_at.append(s3.list_objects_v2(Bucket="many")["KeyCount"])
                return killed_at[-1] <= most

            eventually(some_are_gone, every=0.01)
            time.sleep(random_.uniform(0.0, 0.05))
            server.kill()
            server.start()
            s3 = server.client("s3")
            left.append(s3.list_objects_v2(Bucket="many")["KeyCount"])
        eventually(lambda: s3.list_objects_v2(Bucket="many")["KeyCount"] == 0, 60)
        assert left == sorted(left, reverse=True) and any(0 < count < 150 for count in killed_at), (left, killed_at)
        records = received(server, "many")
        assert [record["s3"]["object"]["key"] for record in records] == keys
        eventually(lambda: not [path for path in (server.data / "blobs").rglob("*") if path.is_file()])
    finally:
        server.kill()


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


# -- hostile


def raw_put(server: ServerProcess, path: str, body: bytes) -> tuple[int, bytes]:
    """A signed PUT of bytes that no client would send."""
    key, secret = server.key
    url = f"{server.url}{path}"
    request = AWSRequest("PUT", url, data=body, headers={"x-amz-content-sha256": hashlib.sha256(body).hexdigest()})
    S3SigV4Auth(Credentials(key, secret), "s3", "us-east-1").add_auth(request)
    answer = urllib3.request("PUT", url, body=body, headers=dict(request.headers.items()))
    return answer.status, answer.data


_LIFECYCLE = "<LifecycleConfiguration><Rule><Status>Enabled</Status><Filter/>%s</Rule></LifecycleConfiguration>"


@pytest.mark.parametrize(
    ("code", "body"),
    [
        ("MalformedXML", ""),
        ("MalformedXML", "<LifecycleConfiguration/>"),
        ("MalformedXML", "<LifecycleConfiguration><Rule/></LifecycleConfiguration>"),
        ("MalformedXML", "<LifecycleConfiguration>"),
        ("MalformedXML", _LIFECYCLE % "<Expiration/>"),
        ("MalformedXML", _LIFECYCLE % "<Expiration><Days/></Expiration>"),
        ("MalformedXML", _LIFECYCLE % "<Expiration><Days>one</Days></Expiration>"),
        ("MalformedXML", _LIFECYCLE % f"<Expiration><Days>{'9' * 5000}</Days></Expiration>"),
        ("MalformedXML", _LIFECYCLE % f"<Expiration><Days>-{'9' * 30}</Days></Expiration>"),
        ("InvalidArgument", _LIFECYCLE % "<Expiration><Days>-2147483648</Days></Expiration>"),
        ("MalformedXML", _LIFECYCLE % "<Expiration><Days>1.5</Days></Expiration>"),
        ("MalformedXML", _LIFECYCLE % "<Expiration><Date>tomorrow</Date></Expiration>"),
        ("MalformedXML", _LIFECYCLE % "<Expiration><Date>2026-13-45T00:00:00Z</Date></Expiration>"),
        ("InvalidArgument", _LIFECYCLE % "<Expiration><Date>2026-01-01T00:00:01Z</Date></Expiration>"),
        ("MalformedXML", _LIFECYCLE % "<Transition><Days>1</Days><StorageClass>&#x1F600;</StorageClass></Transition>"),
        ("MalformedXML", _LIFECYCLE % "<Transition/>"),
        ("MalformedXML", _LIFECYCLE % "<NoncurrentVersionTransition/>"),
        ("MalformedXML", _LIFECYCLE % "<NoncurrentVersionExpiration/>"),
        ("MalformedXML", _LIFECYCLE % "<AbortIncompleteMultipartUpload/>"),
        ("InvalidRequest", _LIFECYCLE % "<Unknown/>"),
        ("MalformedXML", "<LifecycleConfiguration>" + "<Rule><Rule>" * 5000),
        ("MalformedXML", "<LifecycleConfiguration>" + "<Rule></Rule>" * 20_000 + "</LifecycleConfiguration>"),
    ],
)
def test_lifecycle_documents_that_are_odd(server: ServerProcess, s3: Any, code: str, body: str) -> None:
    if "odd-documents" not in names(s3):
        s3.create_bucket(Bucket="odd-documents")
    status, answer = raw_put(server, "/odd-documents?lifecycle=", body.encode())
    assert status == 400 and f"<Code>{code}</Code>".encode() in answer, answer
    refused("NoSuchLifecycleConfiguration", s3.get_bucket_lifecycle_configuration, Bucket="odd-documents")


@pytest.mark.parametrize("date", ["1890-01-01T00:00:00Z", "1969-12-31T00:00:00Z", "9999-12-31T00:00:00Z", "2030-02-28"])
def test_far_dates_are_told_and_carried_out(server: ServerProcess, s3: Any, bucket: str, date: str) -> None:
    body = _LIFECYCLE % f"<Expiration><Date>{date}</Date></Expiration>"
    status, answer = raw_put(server, f"/{bucket}?lifecycle=", body.encode())
    assert status == 200, answer
    [kept] = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    assert kept["Expiration"]["Date"].strftime("%Y").zfill(4) == date[:4]
    assert "Expiration" in s3.put_object(Bucket=bucket, Key="a", Body=b"x")


def test_a_rule_s_name_can_not_break_out_of_its_header(server: ServerProcess, s3: Any, bucket: str) -> None:
    odd = "a&#13;&#10;x-evil: 1&quot;&#x1F600;"
    body = _LIFECYCLE % f"<ID>{odd}</ID><Expiration><Days>2147483647</Days></Expiration>"
    assert raw_put(server, f"/{bucket}?lifecycle=", body.encode())[0] == 200
    put = s3.put_object(Bucket=bucket, Key="a", Body=b"x")
    assert 'expiry-date="Fri, 31 Dec 9999' in put["Expiration"]
    assert put["Expiration"].endswith('rule-id="a%0D%0Ax-evil: 1%22%F0%9F%98%80"')
    assert "x-evil" not in lower_headers(put)
