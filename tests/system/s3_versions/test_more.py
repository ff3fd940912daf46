"""Versions in tags, copies, parts, batches, policies and events."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from helpers.s3_versions import NEVER, listed, read, refused, switch
from helpers.server import TRUST, ServerProcess, eventually

MIB = 1024 * 1024
ACCOUNT = "000000000000"


# -- tags, copies, parts


def test_each_version_has_its_own_tags(s3: Any, bucket: str) -> None:
    one, two = (s3.put_object(Bucket=bucket, Key="k", Body=b"x", Tagging=f"n={n}")["VersionId"] for n in (1, 2))
    answer = s3.put_object_tagging(
        Bucket=bucket, Key="k", VersionId=one, Tagging={"TagSet": [{"Key": "n", "Value": "changed"}]}
    )
    assert answer["VersionId"] == one
    found = s3.get_object_tagging(Bucket=bucket, Key="k", VersionId=one)
    assert found["TagSet"][0]["Value"] == "changed" and found["VersionId"] == one
    found = s3.get_object_tagging(Bucket=bucket, Key="k")
    assert found["TagSet"][0]["Value"] == "2" and found["VersionId"] == two
    assert s3.delete_object_tagging(Bucket=bucket, Key="k", VersionId=one)["VersionId"] == one
    assert s3.get_object_tagging(Bucket=bucket, Key="k", VersionId=one)["TagSet"] == []
    assert s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"][0]["Value"] == "2"
    refused("NoSuchVersion", s3.put_object_tagging, Bucket=bucket, Key="k", VersionId=NEVER, Tagging={"TagSet": []})
    assert [row[1] for row in listed(s3, bucket)] == [two, one], "tags make no version"


def test_old_versions_are_copied_and_put_in_front_again(s3: Any, bucket: str) -> None:
    old = s3.put_object(Bucket=bucket, Key="k", Body=b"o" * 100_000, Metadata={"age": "old"})["VersionId"]
    new = s3.put_object(Bucket=bucket, Key="k", Body=b"new")["VersionId"]
    marker = s3.delete_object(Bucket=bucket, Key="k")["VersionId"]
    source = {"Bucket": bucket, "Key": "k"}
    refused("NoSuchKey", s3.copy_object, Bucket=bucket, Key="copy", CopySource=source)
    refused("InvalidRequest", s3.copy_object, Bucket=bucket, Key="copy", CopySource=source | {"VersionId": marker})
    refused("NoSuchVersion", s3.copy_object, Bucket=bucket, Key="copy", CopySource=source | {"VersionId": NEVER})
    restored = s3.copy_object(Bucket=bucket, Key="k", CopySource=source | {"VersionId": old})
    assert restored["CopySourceVersionId"] == old and restored["VersionId"] not in (old, new)
    current = s3.get_object(Bucket=bucket, Key="k")
    assert current["Body"].read() == b"o" * 100_000 and current["Metadata"] == {"age": "old"}
    copied = s3.copy_object(Bucket=bucket, Key="copy", CopySource=source)
    assert copied["CopySourceVersionId"] == restored["VersionId"]
    refused("InvalidRequest", s3.copy_object, Bucket=bucket, Key="k", CopySource=source)
    for version in (old, restored["VersionId"]):
        s3.delete_object(Bucket=bucket, Key="k", VersionId=version)
    assert read(s3, bucket, "copy") == b"o" * 100_000, "a copy keeps the bytes that it shares"


def test_uploads_in_parts_make_versions_and_take_parts_of_versions(s3: Any, bucket: str) -> None:
    old = s3.put_object(Bucket=bucket, Key="source", Body=b"a" * (5 * MIB))["VersionId"]
    small = s3.put_object(Bucket=bucket, Key="source", Body=b"small")["VersionId"]
    marker = s3.delete_object(Bucket=bucket, Key="source")["VersionId"]
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    named = {"Bucket": bucket, "Key": "k", "UploadId": upload}
    parts = []
    for number, version in ((1, old), (2, small)):
        source = {"Bucket": bucket, "Key": "source", "VersionId": version}
        answer = s3.upload_part_copy(**named, PartNumber=number, CopySource=source)
        assert answer["CopySourceVersionId"] == version
        parts.append({"PartNumber": number, "ETag": answer["CopyPartResult"]["ETag"]})
    source = {"Bucket": bucket, "Key": "source", "VersionId": marker}
    refused("InvalidRequest", s3.upload_part_copy, **named, PartNumber=3, CopySource=source)
    done = s3.complete_multipart_upload(**named, MultipartUpload={"Parts": parts})
    assert done["VersionId"] == s3.head_object(Bucket=bucket, Key="k")["VersionId"]
    again = s3.complete_multipart_upload(**named, MultipartUpload={"Parts": parts})
    assert again["VersionId"] == done["VersionId"]
    s3.put_object(Bucket=bucket, Key="k", Body=b"over")
    for version in (old, small, marker):
        s3.delete_object(Bucket=bucket, Key="source", VersionId=version)
    answer = s3.get_object(Bucket=bucket, Key="k", VersionId=done["VersionId"])
    assert answer["Body"].read() == b"a" * (5 * MIB) + b"small"
    part = s3.get_object(Bucket=bucket, Key="k", VersionId=done["VersionId"], PartNumber=2)
    assert part["Body"].read() == b"small" and part["PartsCount"] == 2


# -- batches, conditions, whole buckets


def test_a_batch_deletes_keys_and_versions(s3: Any, bucket: str) -> None:
    one, two = (s3.put_object(Bucket=bucket, Key="k", Body=b"x")["VersionId"] for _ in range(2))
    hidden = s3.delete_object(Bucket=bucket, Key="hidden")["VersionId"]
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": [
        {"Key": "k", "VersionId": one}, {"Key": "hidden", "VersionId": hidden}, {"Key": "k"}, {"Key": "never"},
        {"Key": "k", "VersionId": NEVER}, {"Key": "k", "VersionId": "malformed"}, {"Key": "k", "ETag": '"other"'},
    ]})  # fmt: skip
    gone, marker, made, never, unknown = answer["Deleted"]
    assert gone == {"Key": "k", "VersionId": one}
    assert marker == {"Key": "hidden", "VersionId": hidden, "DeleteMarker": True, "DeleteMarkerVersionId": hidden}
    assert made["DeleteMarker"] is True and "VersionId" not in made
    assert never["Key"] == "never" and never["DeleteMarkerVersionId"]
    assert unknown == {"Key": "k", "VersionId": NEVER}
    assert [(row["Code"], row.get("VersionId")) for row in answer["Errors"]] == [
        ("NoSuchVersion", "malformed"), ("PreconditionFailed", None),
    ]  # fmt: skip
    assert listed(s3, bucket, Prefix="k") == [
        ("k", two, False, False), ("k", made["DeleteMarkerVersionId"], True, True)
    ]  # fmt: skip
    every = [{"Key": key, "VersionId": version} for key, version, _, _ in listed(s3, bucket)]
    quiet = s3.delete_objects(Bucket=bucket, Delete={"Objects": every, "Quiet": True})
    assert "Deleted" not in quiet and "Errors" not in quiet and listed(s3, bucket) == []
    too_many = [{"Key": "k", "VersionId": NEVER}] * 1001
    refused("MalformedXML", s3.delete_objects, Bucket=bucket, Delete={"Objects": too_many})


def test_conditions_look_at_the_current_version(s3: Any, bucket: str) -> None:
    first = s3.put_object(Bucket=bucket, Key="k", Body=b"1", IfNoneMatch="*")
    refused("PreconditionFailed", s3.put_object, Bucket=bucket, Key="k", Body=b"2", IfNoneMatch="*")
    refused("PreconditionFailed", s3.delete_object, Bucket=bucket, Key="k", IfMatch='"other"')
    second = s3.put_object(Bucket=bucket, Key="k", Body=b"2", IfMatch=first["ETag"])
    refused("PreconditionFailed", s3.put_object, Bucket=bucket, Key="k", Body=b"3", IfMatch=first["ETag"])
    refused("PreconditionFailed", s3.delete_object,
            Bucket=bucket, Key="k", VersionId=first["VersionId"], IfMatch=first["ETag"])  # fmt: skip
    assert s3.delete_object(Bucket=bucket, Key="k", IfMatch=second["ETag"])["DeleteMarker"] is True
    refused("NoSuchKey", s3.put_object, Bucket=bucket, Key="k", Body=b"3", IfMatch=second["ETag"])
    refused("PreconditionFailed", s3.delete_object, Bucket=bucket, Key="k", IfMatch="*")
    refused("NoSuchKey", s3.delete_object, Bucket=bucket, Key="never", IfMatch="*")
    s3.put_object(Bucket=bucket, Key="k", Body=b"3", IfNoneMatch="*")
    assert read(s3, bucket, "k") == b"3"
    got = s3.get_object(Bucket=bucket, Key="k", VersionId=first["VersionId"], IfMatch=first["ETag"])
    assert got["Body"].read() == b"1"


def test_a_bucket_with_versions_or_markers_stays(s3: Any, bucket: str) -> None:
    version = s3.put_object(Bucket=bucket, Key="k", Body=b"1")["VersionId"]
    marker = s3.delete_object(Bucket=bucket, Key="k")["VersionId"]
    refused("BucketNotEmpty", s3.delete_bucket, Bucket=bucket)
    s3.delete_object(Bucket=bucket, Key="k", VersionId=version)
    refused("BucketNotEmpty", s3.delete_bucket, Bucket=bucket)
    s3.delete_object(Bucket=bucket, Key="k", VersionId=marker)
    s3.delete_bucket(Bucket=bucket)
    s3.create_bucket(Bucket=bucket)
    assert "Status" not in s3.get_bucket_versioning(Bucket=bucket), "a new bucket of the name begins anew"


def test_writers_at_once_each_keep_their_version(s3: Any, bucket: str) -> None:
    def write(number: int) -> str:
        version: str = s3.put_object(Bucket=bucket, Key="k", Body=str(number).encode())["VersionId"]
        return version

    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            latest = [row for row in listed(s3, bucket) if row[2]]
            assert len(latest) <= 1

    with ThreadPoolExecutor(13) as pool:
        looking = pool.submit(look)
        versions = list(pool.map(write, range(60)))
        stop.set()
        looking.result()
        assert len(set(versions)) == 60
        bodies = list(pool.map(lambda version: read(s3, bucket, "k", version), versions))
        assert bodies == [str(number).encode() for number in range(60)]
        list(pool.map(lambda version: s3.delete_object(Bucket=bucket, Key="k", VersionId=version), versions))
    assert listed(s3, bucket) == []


def test_no_byte_of_a_deleted_version_stays(server: ServerProcess, s3: Any, bucket: str) -> None:
    def blobs() -> set[str]:
        return {path.name for path in (server.data / "blobs").rglob("*") if path.is_file()}

    before = blobs()
    for _ in range(3):
        s3.put_object(Bucket=bucket, Key="k", Body=b"x" * 100_000)
    s3.delete_object(Bucket=bucket, Key="k")
    assert len(blobs() - before) == 3
    for _, version, _, _ in listed(s3, bucket):
        s3.delete_object(Bucket=bucket, Key="k", VersionId=version)
    eventually(lambda: not blobs() - before)


# -- policies and events


def test_policies_tell_versions_from_current_objects(server: ServerProcess, s3: Any, bucket: str) -> None:
    iam = server.client("iam")
    iam.create_user(UserName="versions")
    key = iam.create_access_key(UserName="versions")["AccessKey"]
    limited = server.client("s3", (key["AccessKeyId"], key["SecretAccessKey"]))
    one, two = (s3.put_object(Bucket=bucket, Key="k", Body=b"x")["VersionId"] for _ in range(2))
    arn = f"arn:aws:s3:::{bucket}"

    def allow(*statements: dict[str, Any]) -> None:
        document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **one} for one in statements]}
        iam.put_user_policy(UserName="versions", PolicyName="p", PolicyDocument=json.dumps(document))

    allow({"Action": ["s3:GetObject", "s3:DeleteObject", "s3:GetObjectTagging", "s3:PutObject"], "Resource": f"{arn}/*"},
          {"Action": "s3:ListBucket", "Resource": arn})  # fmt: skip
    assert read(limited, bucket, "k") == b"x"
    for call, more in (
        (limited.get_object, {}), (limited.delete_object, {}), (limited.get_object_tagging, {}),
        (limited.delete_object_tagging, {}), (limited.put_object_tagging, {"Tagging": {"TagSet": []}}),
    ):  # fmt: skip
        refused("AccessDenied", call, Bucket=bucket, Key="k", VersionId=one, **more)
    source = {"Bucket": bucket, "Key": "k", "VersionId": one}
    refused("AccessDenied", limited.copy_object, Bucket=bucket, Key="copy", CopySource=source)
    refused("AccessDenied", limited.list_object_versions, Bucket=bucket)
    refused("AccessDenied", limited.get_bucket_versioning, Bucket=bucket)
    refused("AccessDenied", limited.put_bucket_versioning, Bucket=bucket,
            VersioningConfiguration={"Status": "Suspended"})  # fmt: skip
    batch = limited.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "k", "VersionId": one}]})
    assert [row["Code"] for row in batch["Errors"]] == ["AccessDenied"]
    only = {"StringEquals": {"s3:VersionId": one}}
    allow({"Action": ["s3:GetObjectVersion", "s3:DeleteObjectVersion"], "Resource": f"{arn}/*", "Condition": only},
          {"Action": "s3:PutObject", "Resource": f"{arn}/*"},
          {"Action": "s3:ListBucketVersions", "Resource": arn, "Condition": {"StringEquals": {"s3:prefix": "k"}}},
          {"Action": ["s3:GetBucketVersioning", "s3:PutBucketVersioning"], "Resource": arn})  # fmt: skip
    refused("AccessDenied", limited.get_object, Bucket=bucket, Key="k")
    refused("AccessDenied", limited.get_object, Bucket=bucket, Key="k", VersionId=two)
    assert read(limited, bucket, "k", one) == b"x"
    assert limited.copy_object(Bucket=bucket, Key="copy", CopySource=source)["CopySourceVersionId"] == one
    refused("AccessDenied", limited.list_object_versions, Bucket=bucket)
    assert len(listed(limited, bucket, Prefix="k")) == 2
    switch(limited, bucket)
    batch = limited.delete_objects(Bucket=bucket, Delete={"Objects": [
        {"Key": "k", "VersionId": two}, {"Key": "k", "VersionId": one}
    ]})  # fmt: skip
    assert batch["Deleted"] == [{"Key": "k", "VersionId": one}] and batch["Errors"][0]["VersionId"] == two


def test_events_name_versions(server: ServerProcess, s3: Any, plain: str) -> None:
    sqs = server.client("sqs")
    url = sqs.create_queue(QueueName=plain)["QueueUrl"]
    queue = f"arn:aws:sqs:us-east-1:{ACCOUNT}:{plain}"
    send = {"Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "sqs:SendMessage",
            "Resource": queue}  # fmt: skip
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps({"Statement": [send]})})
    events = ["s3:ObjectCreated:*", "s3:ObjectRemoved:*", "s3:ObjectTagging:*"]
    s3.put_bucket_notification_configuration(
        Bucket=plain,
        NotificationConfiguration={"QueueConfigurations": [{"Id": "all", "QueueArn": queue, "Events": events}]},
    )
    tags = {"TagSet": [{"Key": "a", "Value": "b"}]}
    s3.put_object(Bucket=plain, Key="k", Body=b"null")
    s3.put_object_tagging(Bucket=plain, Key="k", Tagging=tags)
    switch(s3, plain)
    one = s3.put_object(Bucket=plain, Key="k", Body=b"one")["VersionId"]
    s3.delete_object_tagging(Bucket=plain, Key="k", VersionId="null")
    marker = s3.delete_object(Bucket=plain, Key="k")["VersionId"]
    s3.delete_object(Bucket=plain, Key="k", VersionId=one)
    s3.delete_object(Bucket=plain, Key="k", VersionId=one)
    s3.delete_objects(Bucket=plain, Delete={"Objects": [{"Key": "k", "VersionId": marker}]})
    records: list[Any] = []

    def received() -> bool:
        for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
            records.extend(json.loads(message["Body"]).get("Records", []))
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return len(records) >= 7

    eventually(received)
    records.sort(key=lambda record: record["s3"]["object"]["sequencer"])
    assert [(record["eventName"], record["s3"]["object"].get("versionId")) for record in records] == [
        ("ObjectCreated:Put", None), ("ObjectTagging:Put", None), ("ObjectCreated:Put", one),
        ("ObjectTagging:Delete", "null"), ("ObjectRemoved:DeleteMarkerCreated", marker),
        ("ObjectRemoved:Delete", one), ("ObjectRemoved:Delete", marker),
    ]  # fmt: skip
    assert records[0]["eventVersion"] == "2.1" and records[1]["eventVersion"] == "2.3"
    assert "size" not in records[4]["s3"]["object"] and records[2]["s3"]["object"]["size"] == 3


def test_functions_are_made_of_a_version(server: ServerProcess, s3: Any, bucket: str) -> None:
    archives = []
    for text in ("one", "two"):
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("main.py", f"def handler(event, context):\n    return {text!r}\n")
        archives.append(packed.getvalue())
    versions = [s3.put_object(Bucket=bucket, Key="code.zip", Body=body)["VersionId"] for body in archives]
    role = server.client("iam").create_role(RoleName=bucket, AssumeRolePolicyDocument=TRUST)["Role"]["Arn"]
    functions = server.client("lambda")
    named = {"FunctionName": bucket, "Runtime": "python3.12", "Role": role, "Handler": "main.handler"}
    code = {"S3Bucket": bucket, "S3Key": "code.zip"}
    made = functions.create_function(**named, Code=code | {"S3ObjectVersion": versions[0]})
    assert made["CodeSha256"] == base64.b64encode(hashlib.sha256(archives[0]).digest()).decode()
    update = functions.update_function_code
    assert update(FunctionName=bucket, **code)["CodeSha256"] != made["CodeSha256"]
    for version in (NEVER, "x"):
        refused("InvalidParameterValueException", update, FunctionName=bucket, **code, S3ObjectVersion=version)
    functions.delete_function(FunctionName=bucket)


def test_versions_outlive_the_server(server: ServerProcess, tmp_path: Any) -> None:
    own = ServerProcess(tmp_path / "data").start()
    try:
        s3 = own.client("s3")
        s3.create_bucket(Bucket="kept")
        switch(s3, "kept")
        versions = [s3.put_object(Bucket="kept", Key="k", Body=b"y" * size)["VersionId"] for size in (3, 100_000)]
        marker = s3.delete_object(Bucket="kept", Key="k")["VersionId"]
        own.kill()
        own.start()
        s3 = own.client("s3")
        assert listed(s3, "kept") == [
            ("k", versions[1], False, False), ("k", versions[0], False, False), ("k", marker, True, True)
        ]  # fmt: skip
        assert [len(read(s3, "kept", "k", version)) for version in versions] == [3, 100_000]
        s3.delete_object(Bucket="kept", Key="k", VersionId=marker)
        assert len(read(s3, "kept", "k")) == 100_000
    finally:
        own.kill()
