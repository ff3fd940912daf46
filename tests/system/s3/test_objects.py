"""Objects and listings by boto3."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import time
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError
from helpers.s3_system import plain, refused, trailing
from helpers.server import ServerProcess

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
        (f"bytes=-{10**30}", 0, size), (f"bytes={last}-{'9' * 5000}", last, size), (f"bytes={'0' * 5000}5-7", 5, 8),
    ]:  # fmt: skip
        got = s3.get_object(Bucket=bucket, Key="r", Range=text)
        assert got["ResponseMetadata"]["HTTPStatusCode"] == 206, text
        assert got["ContentRange"] == f"bytes {start}-{end - 1}/{size}" and got["ContentLength"] == end - start
        assert got["Body"].read() == body[start:end]
    for text in (f"bytes={size}-", "bytes=-0", f"bytes={size + 5}-{size + 9}", f"bytes={10**30}-"):
        error = refused("InvalidRange", s3.get_object, Bucket=bucket, Key="r", Range=text)
        assert error["ResponseMetadata"]["HTTPStatusCode"] == 416
    for text in ("bytes=5-2", "lines=1-2", "bytes=a-b", "bytes=0-1,5-6"):
        got = s3.get_object(Bucket=bucket, Key="r", Range=text)
        assert got["ResponseMetadata"]["HTTPStatusCode"] == 200 and got["Body"].read() == body
    assert s3.head_object(Bucket=bucket, Key="r", Range="bytes=0-9")["ContentLength"] == 10
    s3.put_object(Bucket=bucket, Key="empty", Body=b"")
    refused("InvalidRange", s3.get_object, Bucket=bucket, Key="empty", Range="bytes=0-")


def test_a_range_counts_only_of_what_the_client_has_a_part_of(server: ServerProcess, s3: Any, bucket: str) -> None:
    """Else a resumed download joins the parts of two objects (RFC 9110, 13.1.5)."""
    etag = s3.put_object(Bucket=bucket, Key="r", Body=b"0123456789")["ETag"]
    url = s3.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "r"}).removeprefix(server.url)
    modified = plain(server, "GET", url)[1]["last-modified"]

    def ask(validator: str, range_: str = "bytes=4-6") -> tuple[int, bytes]:
        status, _, body = plain(server, "GET", url, {"Range": range_, "If-Range": validator})
        return status, body

    for same in (etag, modified):
        assert ask(same) == (206, b"456"), same
    weak, later = f"W/{etag}", "Thu, 01 Jan 2099 00:00:00 GMT"
    for other in ('"other"', weak, "Thu, 01 Jan 1970 00:00:00 GMT", later, "nonsense"):
        assert ask(other) == (200, b"0123456789"), other
    assert ask('"other"', "bytes=50-")[0] == 200 and ask(etag, "bytes=50-")[0] == 416


def test_nothing_was_made_after_the_answer_that_tells_of_it(server: ServerProcess, s3: Any, bucket: str) -> None:
    """RFC 9110, 8.8.2.1: Last-Modified is not later than Date."""
    url = s3.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "new"}).removeprefix(server.url)
    ends = time.monotonic() + 2.2  # over the turn of a second, where a date from the last one shows
    while time.monotonic() < ends:
        s3.put_object(Bucket=bucket, Key="new", Body=b"new")
        told = plain(server, "GET", url)[1]
        assert parsedate_to_datetime(told["last-modified"]) <= parsedate_to_datetime(told["date"])


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


def test_a_copys_source_is_encoded_as_a_form_is(server: ServerProcess, s3: Any, bucket: str) -> None:
    """AWS's examples make it with Java's URLEncoder; a "+" in a key has to be escaped (AWS CLI issue 614)."""
    for key in ("a b", "a+b", "a?b", "a"):
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    client = server.client("s3")
    sent = ""
    client.meta.events.register_last(  # after botocore encoded what it was given
        "before-parameter-build.s3.CopyObject", lambda params, **_: params.update(CopySource=sent)
    )
    for source, body in (("a+b", b"a b"), ("a%20b", b"a b"), ("a%2Bb", b"a+b"), ("a?b", b"a?b"), ("a%3Fb", b"a?b")):
        sent = f"{bucket}/{source}"
        client.copy_object(Bucket=bucket, Key="copy", CopySource=sent)
        assert s3.get_object(Bucket=bucket, Key="copy")["Body"].read() == body, source


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
