"""Presigned URLs as the SDKs for JavaScript, Go and Ruby make them: with headers in the query."""

from __future__ import annotations

import base64
import hashlib
import json
import urllib.parse
from typing import Any

from helpers.raw import Answer, exchange, understood
from helpers.s3_wire import Ask, presign
from helpers.server import ServerProcess


def send(
    server: ServerProcess,
    path: str,
    query: dict[str, str],
    *headers: tuple[str, str],
    key: tuple[str, str] | None = None,
) -> Answer:
    encoded = urllib.parse.urlencode(query, quote_via=urllib.parse.quote, safe="")
    ask = Ask("PUT", urllib.parse.quote(path).encode(), encoded.encode(), b"content", headers)
    signed = presign(ask, f"127.0.0.1:{server.port}", key or server.key)
    return understood("s3", "PutObject", exchange(server, signed.wire(), "PUT")).check()


def test_headers_may_come_in_the_query(server: ServerProcess, s3: Any, bucket: str) -> None:
    query = {
        "x-amz-meta-owner": "Grüße",
        "X-Amz-Meta-Go": "writes them so",
        "x-amz-storage-class": "STANDARD_IA",
        "x-amz-server-side-encryption": "aws:kms",
        "x-amz-acl": "bucket-owner-full-control",
    }
    assert send(server, f"/{bucket}/a", query).status == 200
    found = s3.head_object(Bucket=bucket, Key="a")
    word = f"=?UTF-8?B?{base64.b64encode('Grüße'.encode()).decode()}?="
    assert found["Metadata"] == {"owner": word, "go": "writes them so"}
    assert found["StorageClass"] == "STANDARD_IA" and found["ServerSideEncryption"] == "aws:kms"
    assert s3.get_object(Bucket=bucket, Key="a")["Body"].read() == b"content"
    refused = {
        "NotImplemented": {"x-amz-object-lock-mode": "GOVERNANCE"},
        "InvalidStorageClass": {"x-amz-storage-class": "CHEAP"},
        "AccessControlListNotSupported": {"x-amz-acl": "public-read"},
        "AccessDenied": {"x-amz-expected-bucket-owner": "111111111111"},
        "MetadataTooLarge": {"x-amz-meta-a": "a" * 2100},
        "InvalidArgument": {"x-amz-meta-a": "a\r\nset-cookie: b"},
    }
    for code, query in refused.items():
        assert send(server, f"/{bucket}/b", query).code == code
    assert send(server, f"/{bucket}/b", {"x-amz-meta-a b": "c"}).code == "InvalidArgument"
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 1


def test_a_header_that_is_sent_counts(server: ServerProcess, s3: Any, bucket: str) -> None:
    assert send(server, f"/{bucket}/a", {"x-amz-meta-a": "query"}, ("x-amz-meta-a", "sent")).status == 200
    assert s3.head_object(Bucket=bucket, Key="a")["Metadata"] == {"a": "sent"}


def test_what_s3_leaves_aside_in_the_query(server: ServerProcess, s3: Any, bucket: str) -> None:
    """Tags, and checksums of the empty body that SDKs sign: neither is taken, and neither is refused."""
    query = {"x-amz-tagging": "a=b", "x-amz-checksum-crc32": "AAAAAA==", "x-amz-sdk-checksum-algorithm": "CRC32"}
    assert send(server, f"/{bucket}/a", query | {"X-Amz-Content-Sha256": "UNSIGNED-PAYLOAD"}).status == 200
    assert s3.get_object_tagging(Bucket=bucket, Key="a")["TagSet"] == []
    assert s3.get_object(Bucket=bucket, Key="a")["Body"].read() == b"content"


def test_a_copy_may_be_presigned(server: ServerProcess, s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="from", Body=b"source")
    assert send(server, f"/{bucket}/to", {"x-amz-copy-source": f"{bucket}/from"}).status == 200
    assert s3.get_object(Bucket=bucket, Key="to")["Body"].read() == b"source"


def test_policies_see_them(server: ServerProcess, s3: Any, bucket: str) -> None:
    iam, name = server.client("iam"), f"u-{hashlib.md5(bucket.encode()).hexdigest()[:8]}"
    iam.create_user(UserName=name)
    statement = {
        "Effect": "Allow", "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{bucket}/*",
        "Condition": {"StringEquals": {"s3:x-amz-storage-class": "STANDARD_IA"}},
    }  # fmt: skip
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=document)
    made = iam.create_access_key(UserName=name)["AccessKey"]
    key = made["AccessKeyId"], made["SecretAccessKey"]
    wanted = {"x-amz-storage-class": "STANDARD_IA"}
    assert send(server, f"/{bucket}/a", wanted, key=key).status == 200
    assert send(server, f"/{bucket}/b", {}, key=key).code == "AccessDenied"
    assert send(server, f"/{bucket}/b", wanted | {"x-amz-acl": "private"}, key=key).code == "AccessDenied"
