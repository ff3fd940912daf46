"""boto3 with all that it does by itself: transfers in threads, streams, checksums, pages, waiters, and URLs."""

from __future__ import annotations

import hashlib
import io
import os
import threading
import urllib.request
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError, WaiterError
from helpers.server import ServerProcess

MIB = 1024 * 1024
ALGORITHMS = ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"]
IN_PARTS = TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB, max_concurrency=6)


@pytest.fixture(scope="module")
def s3(server: ServerProcess) -> Any:
    return server.client("s3", max_pool_connections=16)


def resource(server: ServerProcess) -> Any:
    key = server.key
    return boto3.resource(
        "s3",
        endpoint_url=server.url,
        region_name="us-east-1",
        aws_access_key_id=key[0],
        aws_secret_access_key=key[1],
        config=Config(s3={"addressing_style": "path"}),
    )


@pytest.fixture
def bucket(s3: Any, request: pytest.FixtureRequest) -> Iterator[str]:
    name = request.node.name.split("[")[0].replace("_", "-")[:50].lower()
    s3.create_bucket(Bucket=name)
    yield name
    for row in s3.list_objects_v2(Bucket=name).get("Contents", []):
        s3.delete_object(Bucket=name, Key=row["Key"])
    assert not s3.list_multipart_uploads(Bucket=name).get("Uploads")
    s3.delete_bucket(Bucket=name)


class Pipe(io.RawIOBase):
    """A stream that can't be rewound and does not say how long it is."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self._data.read(min(size, 100_000) if size >= 0 else -1)


@pytest.mark.parametrize("size", [0, 1, 64 * 1024, 64 * 1024 + 1, 5 * MIB - 1, 5 * MIB, 21 * MIB])
def test_transfers_in_threads(s3: Any, bucket: str, size: int) -> None:
    body = os.urandom(size)
    told: list[int] = []
    s3.upload_fileobj(io.BytesIO(body), bucket, "größe ☃", Config=IN_PARTS, Callback=told.append)
    assert sum(told) == size
    found = io.BytesIO()
    s3.download_fileobj(bucket, "größe ☃", found, Config=IN_PARTS)
    assert found.getvalue() == body
    etag = s3.head_object(Bucket=bucket, Key="größe ☃")["ETag"]
    assert etag.endswith(f'-{-(-size // (5 * MIB))}"') == (size >= 5 * MIB)


@pytest.mark.parametrize("size", [10, 13 * MIB])
def test_streams_of_unknown_length(s3: Any, bucket: str, size: int) -> None:
    body = os.urandom(size)
    s3.upload_fileobj(
        Pipe(body), bucket, "piped", Config=IN_PARTS, ExtraArgs={"Metadata": {"a": "b"}, "ContentType": "x/y"}
    )
    got = s3.get_object(Bucket=bucket, Key="piped")
    assert got["Body"].read() == body and got["Metadata"] == {"a": "b"} and got["ContentType"] == "x/y"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_checksum_in_one_piece_and_in_parts(s3: Any, bucket: str, algorithm: str) -> None:
    for key, size in (("inline", 100), ("blob", 200_000), ("parts", 11 * MIB)):
        body = os.urandom(size)
        s3.upload_fileobj(io.BytesIO(body), bucket, key, Config=IN_PARTS, ExtraArgs={"ChecksumAlgorithm": algorithm})
        about = s3.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
        composite = key == "parts" and algorithm != "CRC64NVME"
        assert about["ChecksumType"] == ("COMPOSITE" if composite else "FULL_OBJECT")
        assert about[f"Checksum{algorithm}"].endswith("-3") == composite
        got = s3.get_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
        assert got["Body"].read() == body  # botocore compares, too
        kind = "COMPOSITE" if composite else "FULL_OBJECT"
        [row] = s3.list_objects_v2(Bucket=bucket, Prefix=key)["Contents"]
        assert (row["ChecksumAlgorithm"], row["ChecksumType"]) == ([algorithm], kind)


def test_pages_waiters_and_resources(server: ServerProcess, s3: Any, bucket: str) -> None:
    for number in range(12):
        s3.put_object(Bucket=bucket, Key=f"page/{number:02d}", Body=b"x")
    s3.put_object(Bucket=bucket, Key="page/deep/er", Body=b"x")
    for name, member in (("list_objects_v2", "Contents"), ("list_objects", "Contents")):
        pages = list(s3.get_paginator(name).paginate(Bucket=bucket, PaginationConfig={"PageSize": 5}))
        assert [len(page[member]) for page in pages] == [5, 5, 3]
        pages = list(
            s3.get_paginator(name).paginate(
                Bucket=bucket, Prefix="page/", Delimiter="/", PaginationConfig={"PageSize": 7}
            )
        )
        assert [row["Prefix"] for page in pages for row in page.get("CommonPrefixes", [])] == ["page/deep/"]
        assert sum(len(page.get("Contents", [])) for page in pages) == 12
    s3.get_waiter("bucket_exists").wait(Bucket=bucket)
    s3.get_waiter("object_exists").wait(Bucket=bucket, Key="page/00")
    s3.get_waiter("object_not_exists").wait(Bucket=bucket, Key="missing")
    s3.get_waiter("bucket_not_exists").wait(Bucket="no-such-bucket-here")
    with pytest.raises(WaiterError):
        s3.get_waiter("object_exists").wait(Bucket=bucket, Key="missing", WaiterConfig={"Delay": 1, "MaxAttempts": 1})
    found = resource(server).Bucket(bucket)
    assert len(list(found.objects.filter(Prefix="page/"))) == 13
    assert found.Object("page/00").content_length == 1
    found.objects.filter(Prefix="page/").delete()
    assert not list(found.objects.all())


def test_versions_of_a_resource(server: ServerProcess, s3: Any, bucket: str) -> None:
    found = resource(server).Bucket(bucket)
    found.Versioning().enable()
    assert found.Versioning().status == "Enabled"
    for body in (b"one", b"two"):
        s3.upload_fileobj(io.BytesIO(body), bucket, "größe/a", Config=IN_PARTS)
    found.Object("größe/a").delete()
    found.Object("b").put(Body=b"x")
    versions = list(found.object_versions.filter(Prefix="größe/"))
    assert len(versions) == 3
    bodies = [version.get()["Body"].read() for version in versions if version.size is not None]
    assert bodies == [b"two", b"one"]
    pages = s3.get_paginator("list_object_versions").paginate(Bucket=bucket, PaginationConfig={"PageSize": 1})
    assert sum(len(page.get("Versions", [])) + len(page.get("DeleteMarkers", [])) for page in pages) == 4
    found.object_versions.delete()
    assert not list(found.object_versions.all())


def test_copies_of_large_and_small(s3: Any, bucket: str) -> None:
    for key, size in (("small +ü%", 100), ("large ü", 17 * MIB)):
        body = os.urandom(size)
        s3.upload_fileobj(io.BytesIO(body), bucket, key, Config=IN_PARTS, ExtraArgs={"Metadata": {"a": "b"}})
        s3.copy({"Bucket": bucket, "Key": key}, bucket, f"copied/{key}", Config=IN_PARTS)
        got = s3.get_object(Bucket=bucket, Key=f"copied/{key}")
        assert got["Body"].read() == body and got["Metadata"] == {"a": "b"}
        s3.copy({"Bucket": bucket, "Key": key}, bucket, key, Config=IN_PARTS,
                ExtraArgs={"MetadataDirective": "REPLACE", "Metadata": {"c": "d"}})  # fmt: skip
        got = s3.get_object(Bucket=bucket, Key=key)
        assert got["Body"].read() == body and got["Metadata"] == {"c": "d"}


def test_presigned_urls(s3: Any, bucket: str) -> None:
    def fetch(
        method: str, operation: str, body: bytes | None = None, headers: dict[str, str] | None = None, **about: Any
    ) -> bytes:
        url = s3.generate_presigned_url(operation, {"Bucket": bucket, **about}, 60)
        with urllib.request.urlopen(urllib.request.Request(url, body, headers or {}, method=method)) as answer:
            return bytes(answer.read())

    fetch(
        "PUT",
        "put_object",
        b"hello",
        {"Content-Type": "text/x", "x-amz-meta-a": "b"},
        Key="a ü+%",
        ContentType="text/x",
        Metadata={"a": "b"},
    )
    assert fetch("GET", "get_object", Key="a ü+%", ResponseContentType="text/y") == b"hello"
    assert s3.head_object(Bucket=bucket, Key="a ü+%")["Metadata"] == {"a": "b"}
    assert b"<KeyCount>1</KeyCount>" in fetch("GET", "list_objects_v2")
    upload = s3.create_multipart_upload(Bucket=bucket, Key="parts")["UploadId"]
    fetch("PUT", "upload_part", b"x" * 100, Key="parts", UploadId=upload, PartNumber=1)
    etag = hashlib.md5(b"x" * 100).hexdigest()
    parts = {"Parts": [{"PartNumber": 1, "ETag": etag}]}
    s3.complete_multipart_upload(Bucket=bucket, Key="parts", UploadId=upload, MultipartUpload=parts)
    fetch("DELETE", "delete_object", Key="parts")
    assert [row["Key"] for row in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["a ü+%"]


def test_conditional_writes_have_one_winner(s3: Any, bucket: str) -> None:
    won: list[int] = []

    def put(number: int) -> None:
        try:
            s3.put_object(Bucket=bucket, Key="once", Body=b"%d" % number, IfNoneMatch="*")
        except ClientError as error:
            assert error.response["Error"]["Code"] in ("PreconditionFailed", "ConditionalRequestConflict")
        else:
            won.append(number)

    threads = [threading.Thread(target=put, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1 and s3.get_object(Bucket=bucket, Key="once")["Body"].read() == b"%d" % won[0]


def test_virtual_hosted(server: ServerProcess, bucket: str) -> None:
    """The connection goes to the server; the bucket is in the host that is signed."""
    key = server.key
    s3 = boto3.client("s3", endpoint_url=f"http://s3.us-east-1.localhost:{server.port}", region_name="us-east-1", aws_access_key_id=key[0],
                      aws_secret_access_key=key[1], config=Config(s3={"addressing_style": "virtual"}, proxies={"http": server.url}))  # fmt: skip
    hosts: set[str] = set()
    s3.meta.events.register("before-send.s3", lambda request, **_: hosts.add(request.url.split("/")[2]))
    body = os.urandom(6 * MIB)
    s3.upload_fileobj(io.BytesIO(body), bucket, "deep/größe", Config=IN_PARTS)
    found = io.BytesIO()
    s3.download_fileobj(bucket, "deep/größe", found, Config=IN_PARTS)
    assert found.getvalue() == body
    s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "deep/größe"})
    assert [row["Key"] for row in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["copy", "deep/größe"]
    assert hosts == {f"{bucket}.s3.us-east-1.localhost:{server.port}"}
