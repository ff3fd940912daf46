"""Versions of objects by boto3: put, got, deleted and listed."""

from __future__ import annotations

import http.client
from typing import Any
from urllib.parse import unquote

import pytest
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from helpers.s3_versions import NEVER, listed, read, refused, switch
from helpers.server import ServerProcess


def headers_of(answer: Any) -> dict[str, str]:
    headers: dict[str, str] = answer["ResponseMetadata"]["HTTPHeaders"]
    return headers


# -- the bucket's setting


def test_versioning_is_turned_on_and_suspended_and_never_off(server: ServerProcess, s3: Any, plain: str) -> None:
    assert "Status" not in s3.get_bucket_versioning(Bucket=plain)
    put = s3.put_bucket_versioning
    refused("IllegalVersioningConfigurationException", put, Bucket=plain, VersioningConfiguration={})
    refused("MalformedXML", put, Bucket=plain, VersioningConfiguration={"Status": "Disabled"})
    mfa = {"Status": "Enabled", "MFADelete": "Enabled"}
    error = refused("NotImplemented", put, Bucket=plain, VersioningConfiguration=mfa, MFA="x 1")
    assert "MFA" in error["Error"]["Message"]
    refused("NoSuchBucket", put, Bucket="not-there", VersioningConfiguration={"Status": "Enabled"})
    assert "Status" not in s3.get_bucket_versioning(Bucket=plain)
    for status in ("Suspended", "Enabled", "Suspended"):
        put(Bucket=plain, VersioningConfiguration={"Status": status, "MFADelete": "Disabled"})
        assert s3.get_bucket_versioning(Bucket=plain)["Status"] == status
    s3.put_bucket_tagging(Bucket=plain, Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})
    assert s3.get_bucket_versioning(Bucket=plain)["Status"] == "Suspended", "other settings leave it alone"


def test_a_bucket_without_versioning_names_no_versions(s3: Any, plain: str) -> None:
    answers = [
        s3.put_object(Bucket=plain, Key="k", Body=b"1"),
        s3.get_object(Bucket=plain, Key="k"),
        s3.head_object(Bucket=plain, Key="k"),
        s3.put_object_tagging(Bucket=plain, Key="k", Tagging={"TagSet": []}),
        s3.copy_object(Bucket=plain, Key="k2", CopySource={"Bucket": plain, "Key": "k"}),
        s3.delete_object(Bucket=plain, Key="k2"),
        s3.delete_object(Bucket=plain, Key="never"),
    ]
    for answer in answers:
        assert not {name for name in headers_of(answer) if "version" in name or "marker" in name}, answer
    assert listed(s3, plain) == [("k", "null", True, False)]
    assert read(s3, plain, "k", "null") == b"1"
    refused("NoSuchVersion", s3.get_object, Bucket=plain, Key="k", VersionId=NEVER)
    s3.delete_object(Bucket=plain, Key="k", VersionId=NEVER)
    assert read(s3, plain, "k") == b"1", "deleting another version is not deleting this one"
    s3.delete_object(Bucket=plain, Key="k", VersionId="null")
    refused("NoSuchKey", s3.get_object, Bucket=plain, Key="k")
    s3.delete_bucket(Bucket=plain)


# -- put, get, delete


def test_every_put_is_a_version_of_its_own(s3: Any, bucket: str) -> None:
    bodies = [b"", b"small", b"L" * (200 * 1024)]
    versions = [s3.put_object(Bucket=bucket, Key="k/ü", Body=body)["VersionId"] for body in bodies]
    assert len(set(versions)) == 3
    for version, body in zip(versions, bodies, strict=True):
        answer = s3.get_object(Bucket=bucket, Key="k/ü", VersionId=version)
        assert answer["VersionId"] == version and answer["Body"].read() == body
        head = s3.head_object(Bucket=bucket, Key="k/ü", VersionId=version)
        assert (head["VersionId"], head["ContentLength"]) == (version, len(body))
    assert s3.get_object(Bucket=bucket, Key="k/ü")["VersionId"] == versions[2]
    ranged = s3.get_object(Bucket=bucket, Key="k/ü", VersionId=versions[1], Range="bytes=1-2")
    assert (ranged["Body"].read(), ranged["VersionId"]) == (b"ma", versions[1])
    etag = head["ETag"]
    not_modified = refused("304", s3.get_object, Bucket=bucket, Key="k/ü", VersionId=versions[2], IfNoneMatch=etag)
    assert headers_of(not_modified)["x-amz-version-id"] == versions[2]
    assert [row["Key"] for row in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["k/ü"]
    assert listed(s3, bucket) == [("k/ü", version, version == versions[2], False) for version in reversed(versions)]


def test_a_deletion_leaves_a_marker_which_can_go(s3: Any, bucket: str) -> None:
    first = s3.put_object(Bucket=bucket, Key="k", Body=b"1")["VersionId"]
    deleted = s3.delete_object(Bucket=bucket, Key="k")
    marker = deleted["VersionId"]
    assert deleted["DeleteMarker"] is True and marker != first
    for call in (s3.get_object, s3.head_object):
        error = refused("NoSuchKey" if call == s3.get_object else "404", call, Bucket=bucket, Key="k")
        assert headers_of(error)["x-amz-delete-marker"] == "true"
        assert headers_of(error)["x-amz-version-id"] == marker
        error = refused("MethodNotAllowed" if call == s3.get_object else "405", call,
                        Bucket=bucket, Key="k", VersionId=marker)  # fmt: skip
        told = headers_of(error)
        assert told["x-amz-delete-marker"] == "true" and told["allow"] == "DELETE" and told["last-modified"]
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)
    assert listed(s3, bucket) == [("k", first, False, False), ("k", marker, True, True)]
    assert read(s3, bucket, "k", first) == b"1"
    refused("NoSuchKey", s3.get_object_tagging, Bucket=bucket, Key="k")
    refused("MethodNotAllowed", s3.get_object_tagging, Bucket=bucket, Key="k", VersionId=marker)
    gone = s3.delete_object(Bucket=bucket, Key="k", VersionId=marker)
    assert gone["DeleteMarker"] is True and gone["VersionId"] == marker
    assert read(s3, bucket, "k") == b"1" and s3.head_object(Bucket=bucket, Key="k")["VersionId"] == first
    gone = s3.delete_object(Bucket=bucket, Key="k", VersionId=first)
    assert "DeleteMarker" not in gone and gone["VersionId"] == first
    again = s3.delete_object(Bucket=bucket, Key="k", VersionId=first)
    assert again["VersionId"] == first, "what is gone stays gone, without an error"
    assert listed(s3, bucket) == []
    error = refused("NoSuchKey", s3.get_object, Bucket=bucket, Key="k")
    assert "x-amz-delete-marker" not in headers_of(error)
    assert s3.delete_object(Bucket=bucket, Key="never")["DeleteMarker"] is True, "also of a key that never was"


def test_the_version_before_becomes_current_again(s3: Any, bucket: str) -> None:
    versions = [s3.put_object(Bucket=bucket, Key="k", Body=bytes([n]) * 100_000)["VersionId"] for n in range(4)]
    s3.delete_object(Bucket=bucket, Key="k", VersionId=versions[1])
    assert read(s3, bucket, "k")[:1] == b"\x03"
    s3.delete_object(Bucket=bucket, Key="k", VersionId=versions[3])
    assert read(s3, bucket, "k")[:1] == b"\x02"
    assert [row["Key"] for row in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["k"]
    s3.delete_object(Bucket=bucket, Key="k", VersionId=versions[2])
    assert read(s3, bucket, "k")[:1] == b"\x00"
    refused("NoSuchVersion", s3.get_object, Bucket=bucket, Key="k", VersionId=versions[2])


def test_the_null_version_from_before_and_from_suspension(s3: Any, plain: str) -> None:
    s3.put_object(Bucket=plain, Key="k", Body=b"before")
    switch(s3, plain)
    assert s3.get_object(Bucket=plain, Key="k")["VersionId"] == "null"
    second = s3.put_object(Bucket=plain, Key="k", Body=b"second")["VersionId"]
    assert listed(s3, plain) == [("k", second, True, False), ("k", "null", False, False)]
    assert read(s3, plain, "k", "null") == b"before"
    switch(s3, plain, "Suspended")
    assert "VersionId" not in s3.put_object(Bucket=plain, Key="k", Body=b"suspended")
    assert s3.get_object(Bucket=plain, Key="k")["VersionId"] == "null"
    s3.put_object(Bucket=plain, Key="k", Body=b"again")
    assert listed(s3, plain) == [("k", "null", True, False), ("k", second, False, False)]
    deleted = s3.delete_object(Bucket=plain, Key="k")
    assert deleted["DeleteMarker"] is True and deleted["VersionId"] == "null"
    refused("MethodNotAllowed", s3.get_object, Bucket=plain, Key="k", VersionId="null")
    assert listed(s3, plain) == [("k", second, False, False), ("k", "null", True, True)]
    s3.put_object(Bucket=plain, Key="k", Body=b"over the marker")
    assert listed(s3, plain) == [("k", "null", True, False), ("k", second, False, False)]
    s3.delete_object(Bucket=plain, Key="k", VersionId="null")
    assert read(s3, plain, "k") == b"second"
    refused("NoSuchVersion", s3.get_object, Bucket=plain, Key="k", VersionId="null")


def test_what_is_no_version_id_is_said_so(server: ServerProcess, s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"1")
    other = s3.put_object(Bucket=bucket, Key="other", Body=b"1")["VersionId"]
    for wrong in ("x", "-" * 32, "9" * 3000, "ü" * 32, "null ", "A" * 31 + "\n"):
        for call in (s3.get_object, s3.head_object, s3.delete_object, s3.get_object_tagging):
            refused("400" if call == s3.head_object else "InvalidArgument", call,
                    Bucket=bucket, Key="k", VersionId=wrong)  # fmt: skip
    for wrong in ("x", "-" * 32, "9" * 3000, "%C3%BC" * 8, "A" * 31 + "%0A"):
        source = f"{bucket}/k?versionId={wrong}"
        refused("InvalidArgument", s3.copy_object, Bucket=bucket, Key="copy", CopySource=source)
    for unknown in (NEVER, other, "null", "_" * 32):
        error = refused("NoSuchVersion", s3.get_object, Bucket=bucket, Key="k", VersionId=unknown)
        assert error["Error"]["VersionId"] == unknown
        s3.delete_object(Bucket=bucket, Key="k", VersionId=unknown)
    assert read(s3, bucket, "k") == b"1"
    assert len(listed(s3, bucket)) == 2


@pytest.mark.parametrize(
    "method, query",
    [
        ("PUT", "versionId=null"),
        ("PUT", f"versionId={NEVER}"),
        ("PUT", "versionId="),
        ("POST", "uploads=&versionId=null"),
        ("GET", "versionId="),
        ("GET", "tagging=&versionId="),
        ("HEAD", "versionId="),
        ("DELETE", "versionId="),
    ],
)
def test_a_version_is_not_taken_where_none_can_be(
    server: ServerProcess, s3: Any, bucket: str, method: str, query: str
) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"1")
    request = AWSRequest(method, f"{server.url}/{bucket}/k?{query}")
    S3SigV4QueryAuth(Credentials(*server.key), "s3", "us-east-1").add_auth(request)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request(
            method, str(request.url).removeprefix(server.url), b"" if method in ("PUT", "POST") else None
        )
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    assert answer.status == 400 and (method == "HEAD" or b"<Code>InvalidArgument</Code>" in body), body
    assert read(s3, bucket, "k") == b"1" and len(listed(s3, bucket)) == 1


# -- listings


def test_versions_are_listed_in_order_page_by_page(s3: Any, bucket: str) -> None:
    keys = ["a", "a/1", "a/2", "a b", "b/é", "b/\U0001f600", "b/\uffff", "z"]
    made: dict[str, list[tuple[str, bool]]] = {}
    for number in range(3):
        for key in keys:
            if number == 1 and key in ("a/1", "z"):
                entry = (s3.delete_object(Bucket=bucket, Key=key)["VersionId"], True)
            else:
                entry = (s3.put_object(Bucket=bucket, Key=key, Body=b"x")["VersionId"], False)
            made.setdefault(key, []).insert(0, entry)
    ordered = [
        (key, version, at == 0, marker)
        for key in sorted(keys, key=str.encode)
        for at, (version, marker) in enumerate(made[key])
    ]
    for size in (1, 2, 5, 1000):
        pages = listed(s3, bucket, PaginationConfig={"PageSize": size})
        assert sorted(pages) == sorted(ordered)
        if size == 1:
            assert pages == ordered
    assert listed(s3, bucket, Prefix="b/") == [row for row in ordered if row[0].startswith("b/")]

    def shown(**arguments: Any) -> tuple[list[str], list[str], bool]:
        page = s3.list_object_versions(Bucket=bucket, **arguments)
        names = [row["Key"] for row in page.get("Versions", []) + page.get("DeleteMarkers", [])]
        return names, [row["Prefix"] for row in page.get("CommonPrefixes", [])], page["IsTruncated"]

    assert shown(Delimiter="/") == (["a"] * 3 + ["a b"] * 3 + ["z"] * 3, ["a/", "b/"], False)
    assert shown(Delimiter="/", MaxKeys=7) == (["a"] * 3 + ["a b"] * 3, ["a/"], True)
    assert shown(Delimiter="/", KeyMarker="a/") == (["z"] * 3, ["b/"], False)
    assert shown(Delimiter="/", KeyMarker="a/1") == (["z"] * 3, ["a/", "b/"], False)
    assert shown(MaxKeys=0) == ([], [], False)
    assert shown(Prefix="nothing") == ([], [], False)
    page = s3.list_object_versions(Bucket=bucket, MaxKeys=2)
    assert page["NextKeyMarker"] == "a" and page["NextVersionIdMarker"] == page["Versions"][-1]["VersionId"]
    page = s3.list_object_versions(Bucket=bucket, Delimiter="/", MaxKeys=7)
    assert page["NextKeyMarker"] == "a/" and "NextVersionIdMarker" not in page
    raw = s3.list_object_versions(Bucket=bucket, Prefix="a b", EncodingType="url")
    assert {unquote(row["Key"]) for row in raw["Versions"]} == {"a b"} and raw["Versions"][0]["Key"] == "a%20b"
    member = raw["Versions"][0]
    assert member["Size"] == 1 and member["ETag"] and member["Owner"]["ID"] and member["StorageClass"] == "STANDARD"


def test_malformed_listings_are_refused(s3: Any, bucket: str) -> None:
    call = s3.list_object_versions
    refused("InvalidArgument", call, Bucket=bucket, VersionIdMarker=NEVER)
    refused("InvalidArgument", call, Bucket=bucket, KeyMarker="k", VersionIdMarker="x")
    refused("InvalidArgument", call, Bucket=bucket, MaxKeys=-1)
    refused("InvalidArgument", call, Bucket=bucket, EncodingType="x")
    refused("NoSuchBucket", call, Bucket="not-there")
    assert call(Bucket=bucket, KeyMarker="k", VersionIdMarker=NEVER)["IsTruncated"] is False
