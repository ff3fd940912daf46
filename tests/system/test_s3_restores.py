"""Archived objects: closed until they are restored, by boto3, the AWS CLI and s3cmd against a real server."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from helpers.server import ServerProcess, eventually
from helpers.tools import aws_cli, s3cmd_of

MIB = 1024 * 1024
ACCOUNT = "000000000000"
ARCHIVES = ["GLACIER", "DEEP_ARCHIVE"]
DAYS = {"RestoreRequest": {"Days": 2}}


def refused(code: str, status: int, call: Callable[..., Any], **arguments: Any) -> Any:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    answer = caught.value.response
    assert (answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]) == (code, status), caught.value
    return answer


def status_of(answer: Any) -> int:
    return int(answer["ResponseMetadata"]["HTTPStatusCode"])


def restored(s3: Any, bucket: str, key: str, **version: str) -> str:
    """x-amz-restore of the restored object."""
    head = eventually(lambda: _done(s3.head_object(Bucket=bucket, Key=key, **version)))
    return str(head["Restore"])


def _done(head: Any) -> Any:
    return head if 'ongoing-request="false"' in head.get("Restore", "") else None


def two_parts(s3: Any, bucket: str, key: str, storage_class: str) -> bytes:
    upload = s3.create_multipart_upload(Bucket=bucket, Key=key, StorageClass=storage_class)["UploadId"]
    bodies = [b"a" * 5 * MIB, b"b" * 1000]
    parts = [
        {"PartNumber": number, "ETag": s3.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=number, Body=body)["ETag"]}
        for number, body in enumerate(bodies, 1)
    ]  # fmt: skip
    s3.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": parts})
    return b"".join(bodies)


@pytest.mark.parametrize("storage_class", ARCHIVES)
def test_archived_objects_are_closed_until_restored(s3: Any, bucket: str, storage_class: str) -> None:
    s3.put_object(Bucket=bucket, Key="small", Body=b"small", StorageClass=storage_class)
    bodies = {"small": b"small", "large": two_parts(s3, bucket, "large", storage_class)}
    upload = s3.create_multipart_upload(Bucket=bucket, Key="to")["UploadId"]
    for key, body in bodies.items():
        source = {"Bucket": bucket, "Key": key}
        for more in ({}, {"Range": "bytes=0-1"}, {"PartNumber": 1}):
            answer = refused("InvalidObjectState", 403, s3.get_object, Bucket=bucket, Key=key, **more)
            assert answer["Error"]["Message"] == "The operation is not valid for the object's storage class"
            assert answer["StorageClass"] == storage_class
        refused("InvalidObjectState", 403, s3.copy_object, Bucket=bucket, Key="copy", CopySource=source)
        refused(
            "InvalidObjectState",
            403,
            s3.copy_object,
            Bucket=bucket,
            Key=key,
            CopySource=source,
            StorageClass="STANDARD",
        )
        refused(
            "InvalidObjectState", 403, s3.upload_part_copy, Bucket=bucket, Key="to", UploadId=upload, PartNumber=1,
            CopySource=source,
        )  # fmt: skip
        head = s3.head_object(Bucket=bucket, Key=key)
        assert (head["StorageClass"], head["ContentLength"]) == (storage_class, len(body)) and "Restore" not in head
        # What is not its bytes is open.
        s3.put_object_tagging(Bucket=bucket, Key=key, Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})
        assert s3.get_object_attributes(Bucket=bucket, Key=key, ObjectAttributes=["StorageClass"])["StorageClass"]
        assert status_of(s3.restore_object(Bucket=bucket, Key=key, **DAYS)) == 202
        expiry = restored(s3, bucket, key).partition('expiry-date="')[2].rstrip('"')
        days = (datetime.strptime(expiry, "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=UTC) - datetime.now(UTC)).days
        assert expiry.endswith("00:00:00 GMT") and 2 <= days <= 3
        got = s3.get_object(Bucket=bucket, Key=key)
        assert got["Body"].read() == body and 'ongoing-request="false"' in got["Restore"]
        assert got["StorageClass"] == storage_class
        assert status_of(s3.restore_object(Bucket=bucket, Key=key, RestoreRequest={"Days": 30})) == 200
        assert expiry not in s3.head_object(Bucket=bucket, Key=key)["Restore"]
        s3.upload_part_copy(Bucket=bucket, Key="to", UploadId=upload, PartNumber=1, CopySource=source)
        # The way back: a copy of another class.
        s3.copy_object(Bucket=bucket, Key=key, CopySource=source, StorageClass="STANDARD", TaggingDirective="REPLACE")
        head = s3.head_object(Bucket=bucket, Key=key)
        assert "StorageClass" not in head and "Restore" not in head
        assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == body


def test_what_is_refused(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="warm", Body=b"x")
    s3.put_object(Bucket=bucket, Key="tiered", Body=b"x", StorageClass="INTELLIGENT_TIERING")
    s3.put_object(Bucket=bucket, Key="cold", Body=b"x", StorageClass="DEEP_ARCHIVE")
    ask = s3.restore_object
    answer = refused("InvalidObjectState", 403, ask, Bucket=bucket, Key="warm", **DAYS)
    assert answer["Error"]["Message"] == "Restore is not allowed for the object's current storage class"
    refused("InvalidObjectState", 403, ask, Bucket=bucket, Key="warm")
    refused("InvalidArgument", 400, ask, Bucket=bucket, Key="tiered", **DAYS)
    refused("ObjectAlreadyInActiveTierError", 403, ask, Bucket=bucket, Key="tiered", RestoreRequest={})
    refused("MalformedXML", 400, ask, Bucket=bucket, Key="cold")
    refused("MalformedXML", 400, ask, Bucket=bucket, Key="cold", RestoreRequest={})
    refused("InvalidArgument", 400, ask, Bucket=bucket, Key="cold", RestoreRequest={"Days": 0})
    fast = {"Days": 1, "GlacierJobParameters": {"Tier": "Expedited"}}
    refused("InvalidArgument", 400, ask, Bucket=bucket, Key="cold", RestoreRequest=fast)
    odd = {"Days": 1, "GlacierJobParameters": {"Tier": "Odd"}}
    refused("MalformedXML", 400, ask, Bucket=bucket, Key="cold", RestoreRequest=odd)
    select = {"Type": "SELECT", "OutputLocation": {"S3": {"BucketName": bucket, "Prefix": ""}}}
    refused("NotImplemented", 501, ask, Bucket=bucket, Key="cold", RestoreRequest=select)
    refused("NoSuchKey", 404, ask, Bucket=bucket, Key="nothing", **DAYS)
    refused("NoSuchBucket", 404, ask, Bucket="there-is-none", Key="cold", **DAYS)
    refused("InvalidArgument", 400, ask, Bucket=bucket, Key="cold", VersionId="odd", **DAYS)


def test_listings_and_versions(s3: Any, bucket: str) -> None:
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    first = s3.put_object(Bucket=bucket, Key="a", Body=b"one", StorageClass="GLACIER")["VersionId"]
    s3.put_object(Bucket=bucket, Key="a", Body=b"two", StorageClass="GLACIER")
    s3.put_object(Bucket=bucket, Key="b", Body=b"warm")
    s3.restore_object(Bucket=bucket, Key="a", VersionId=first, **DAYS)
    restored(s3, bucket, "a", VersionId=first)
    assert s3.get_object(Bucket=bucket, Key="a", VersionId=first)["Body"].read() == b"one"
    refused("InvalidObjectState", 403, s3.get_object, Bucket=bucket, Key="a")
    asked = {"Bucket": bucket, "OptionalObjectAttributes": ["RestoreStatus"]}
    rows = s3.list_object_versions(**asked)["Versions"]
    found = [row.get("RestoreStatus", {}).get("IsRestoreInProgress") for row in rows]
    assert found == [None, False, None] and rows[1]["RestoreStatus"]["RestoreExpiryDate"].hour == 0
    for call in (s3.list_objects, s3.list_objects_v2):
        assert ["RestoreStatus" in row for row in call(**asked)["Contents"]] == [False, False]
    s3.restore_object(Bucket=bucket, Key="a", **DAYS)
    restored(s3, bucket, "a")
    for call in (s3.list_objects, s3.list_objects_v2):
        assert ["RestoreStatus" in row for row in call(**asked)["Contents"]] == [True, False]
        assert ["RestoreStatus" in row for row in call(Bucket=bucket)["Contents"]] == [False, False]
    marker = s3.delete_object(Bucket=bucket, Key="a")["VersionId"]
    refused("NoSuchKey", 404, s3.restore_object, Bucket=bucket, Key="a", **DAYS)
    refused("MethodNotAllowed", 405, s3.restore_object, Bucket=bucket, Key="a", VersionId=marker, **DAYS)


def test_a_rule_archives_and_events_tell(server: ServerProcess, s3: Any, bucket: str) -> None:
    sqs = server.client("sqs")
    url = sqs.create_queue(QueueName=bucket)["QueueUrl"]
    arn = f"arn:aws:sqs:us-east-1:{ACCOUNT}:{bucket}"
    statement = {"Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "sqs:*", "Resource": arn}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
    rules = {"QueueConfigurations": [{"QueueArn": arn, "Events": ["s3:ObjectRestore:*"]}]}
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=rules)
    body = b"x" * 200_000
    s3.put_object(Bucket=bucket, Key="old", Body=body)
    move = {"ID": "r", "Status": "Enabled", "Filter": {}, "Transitions": [
        {"Date": datetime(2020, 1, 1, tzinfo=UTC), "StorageClass": "GLACIER"}]}  # fmt: skip
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [move]})
    eventually(lambda: s3.head_object(Bucket=bucket, Key="old").get("StorageClass") == "GLACIER")
    refused("InvalidObjectState", 403, s3.get_object, Bucket=bucket, Key="old")
    s3.restore_object(Bucket=bucket, Key="old", **DAYS)
    found: list[dict[str, Any]] = []

    def both() -> bool:
        for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
            found.extend(json.loads(message["Body"]).get("Records", []))
        return len(found) >= 2

    eventually(both)
    post, done = sorted(found, key=lambda record: str(record["s3"]["object"]["sequencer"]))
    assert (post["eventName"], done["eventName"]) == ("ObjectRestore:Post", "ObjectRestore:Completed")
    assert "glacierEventData" not in post and done["userIdentity"]["principalId"] == "s3.amazonaws.com"
    about = done["glacierEventData"]["restoreEventData"]
    assert about["lifecycleRestoreStorageClass"] == "GLACIER"
    assert about["lifecycleRestorationExpiryTime"].endswith("T00:00:00.000Z")
    assert s3.get_object(Bucket=bucket, Key="old")["Body"].read() == body


def test_it_needs_leave(server: ServerProcess, s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="a", Body=b"x", StorageClass="GLACIER")
    iam = server.client("iam")
    iam.create_user(UserName="restorer")
    key = iam.create_access_key(UserName="restorer")["AccessKey"]
    user = server.client("s3", (key["AccessKeyId"], key["SecretAccessKey"]))

    def allow(*actions: str) -> None:
        statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        iam.put_user_policy(UserName="restorer", PolicyName="p", PolicyDocument=document)

    allow("s3:GetObject", "s3:PutObject", "s3:ListBucket")
    refused("AccessDenied", 403, user.restore_object, Bucket=bucket, Key="a", **DAYS)
    allow("s3:RestoreObject")
    assert status_of(user.restore_object(Bucket=bucket, Key="a", **DAYS)) == 202
    refused("AccessDenied", 403, user.get_object, Bucket=bucket, Key="a")


def test_functions_are_not_made_of_archived_code(server: ServerProcess, s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="code.zip", Body=b"x", StorageClass="GLACIER")
    role = server.client("iam")
    trust = json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}]})  # fmt: skip
    arn = role.create_role(RoleName="coder", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    answer = refused(
        "InvalidParameterValueException", 400, server.client("lambda").create_function, FunctionName="f", Role=arn,
        Runtime="python3.12", Handler="a.b", Code={"S3Bucket": bucket, "S3Key": "code.zip"},
    )  # fmt: skip
    assert "InvalidObjectState" in answer["Error"]["Message"]


def test_tools_restore(server: ServerProcess, s3: Any, bucket: str, tmp_path: Path) -> None:
    for name in ("aws", "s3cmd"):
        (tmp_path / name).mkdir()
        s3.put_object(Bucket=bucket, Key=name, Body=b"cold", StorageClass="GLACIER")
    aws = aws_cli(server, tmp_path / "aws")
    assert aws.ask("s3", "cp", f"s3://{bucket}/aws", str(tmp_path / "got")).code != 0
    aws.run("s3api", "restore-object", "--bucket", bucket, "--key", "aws", "--restore-request", "Days=1")
    restored(s3, bucket, "aws")
    aws.run("s3", "cp", f"s3://{bucket}/aws", str(tmp_path / "got"))
    assert (tmp_path / "got").read_bytes() == b"cold"
    s3cmd = s3cmd_of(server, tmp_path / "s3cmd")
    s3cmd.run("restore", "--restore-days=1", f"s3://{bucket}/s3cmd")
    restored(s3, bucket, "s3cmd")
    s3cmd.run("get", f"s3://{bucket}/s3cmd", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == b"cold"


def test_a_restore_is_under_way_and_survives_a_crash(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "data", environment={"SLUICEWAY_OBJECTS__RESTORE_S": "3"}).start()
    try:
        s3 = server.client("s3")
        s3.create_bucket(Bucket="slow")
        s3.put_object(Bucket="slow", Key="a", Body=b"x", StorageClass="GLACIER")
        assert status_of(s3.restore_object(Bucket="slow", Key="a", **DAYS)) == 202
        begun = time.monotonic()
        assert s3.head_object(Bucket="slow", Key="a")["Restore"] == 'ongoing-request="true"'
        row = s3.list_objects_v2(Bucket="slow", OptionalObjectAttributes=["RestoreStatus"])["Contents"][0]
        assert row["RestoreStatus"] == {"IsRestoreInProgress": True}
        refused("RestoreAlreadyInProgress", 409, s3.restore_object, Bucket="slow", Key="a", **DAYS)
        refused("InvalidObjectState", 403, s3.get_object, Bucket="slow", Key="a")
        server.kill()
        server.start()
        s3 = server.client("s3")
        restored(s3, "slow", "a")
        assert time.monotonic() - begun > 2.5
        assert s3.get_object(Bucket="slow", Key="a")["Body"].read() == b"x"
        assert server.process is not None
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(20) == 0
    finally:
        if server.process is not None and server.process.poll() is None:
            server.kill()
