"""Encryption of buckets and objects, and what is told of an object."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest
import urllib3
from helpers.s3_settings import lower_headers, multipart, names, put_rules, refused, rule
from helpers.server import ServerProcess

MIB = 1024 * 1024


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
