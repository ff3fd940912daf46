"""The AWS CLI, version 1: `aws s3` and `aws s3api`."""

from __future__ import annotations

import hashlib
import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.server import ServerProcess
from helpers.tools import Proxy, Tool, aws_cli

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def aws(server: ServerProcess, tmp_path_factory: pytest.TempPathFactory) -> Tool:
    return aws_cli(server, tmp_path_factory.mktemp("aws"))


@pytest.fixture
def bucket(aws: Tool, server: ServerProcess, request: pytest.FixtureRequest) -> Iterator[str]:
    name = request.node.name.replace("_", "-")[:50].lower()
    server.client("s3").create_bucket(Bucket=name)
    yield name
    aws.run("s3", "rb", f"s3://{name}", "--force")
    assert name not in [row["Name"] for row in server.client("s3").list_buckets()["Buckets"]]


def keys(server: ServerProcess, bucket: str) -> list[str]:
    return [row["Key"] for row in server.client("s3").list_objects_v2(Bucket=bucket).get("Contents", [])]


def test_sync_both_ways(aws: Tool, server: ServerProcess, bucket: str, tmp_path: Path) -> None:
    here, back = tmp_path / "here", tmp_path / "back"
    names = ["index.html", "größe ☃.bin", "a+b&c", "100%", "q?x#y", "deep/er/ü", "~tilde", "two  spaces", "日本語"]
    for name in names:
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_bytes(os.urandom(500))
    (here / "large").write_bytes(os.urandom(13 * MIB))
    aws.run("s3", "sync", str(here), f"s3://{bucket}/site", "--quiet", "--exclude", "a+*")
    assert set(keys(server, bucket)) == {f"site/{name}" for name in [*names, "large"] if name != "a+b&c"}
    about = server.client("s3").head_object(Bucket=bucket, Key="site/index.html")
    assert about["ContentType"] == "text/html"
    assert server.client("s3").head_object(Bucket=bucket, Key="site/large")["ETag"].endswith('-3"')
    assert aws.run("s3", "sync", str(here), f"s3://{bucket}/site", "--exclude", "a+*") == "", "nothing to do"
    aws.run("s3", "sync", f"s3://{bucket}/site", str(back), "--quiet")
    for name in {*names, "large"} - {"a+b&c"}:
        assert (back / name).read_bytes() == (here / name).read_bytes()
    (here / "100%").unlink()
    done = aws.run("s3", "sync", str(here), f"s3://{bucket}/site", "--delete", "--no-progress")
    assert "delete: s3://" in done and "upload: " in done and "a+b&c" in done
    aws.run("s3", "sync", f"s3://{bucket}/site", f"s3://{bucket}/mirror", "--quiet")
    listed = aws.run("s3", "ls", "--recursive", "--summarize", f"s3://{bucket}/mirror/")
    assert "größe ☃.bin" in listed and f"Total Objects: {len(names)}" in listed
    assert "PRE mirror/" in aws.run("s3", "ls", f"s3://{bucket}")
    done = aws.ask("s3", "ls", f"s3://{bucket}/no-such-prefix")
    assert done.code == 1 and not done.out


def test_cp_mv_rm_and_presign(aws: Tool, server: ServerProcess, bucket: str, tmp_path: Path) -> None:
    s3, here = server.client("s3"), tmp_path / "x ü"
    here.write_bytes(os.urandom(300))
    aws.run("s3", "cp", str(here), f"s3://{bucket}/in/", "--metadata", "colour=blue", "--cache-control", "no-store",
            "--content-type", "text/x", "--storage-class", "STANDARD_IA", "--sse", "AES256", "--quiet")  # fmt: skip
    about = s3.head_object(Bucket=bucket, Key="in/x ü")
    assert (about["ContentType"], about["CacheControl"], about["Metadata"]) == (
        "text/x",
        "no-store",
        {"colour": "blue"},
    )
    assert about["StorageClass"] == "STANDARD_IA"
    body = os.urandom(11 * MIB)
    aws.run("s3", "cp", "-", f"s3://{bucket}/streamed", "--expected-size", str(len(body)), stdin=body)
    assert s3.get_object(Bucket=bucket, Key="streamed")["Body"].read() == body
    aws.run("s3", "cp", f"s3://{bucket}/streamed", str(tmp_path / "out"), "--quiet")
    assert (tmp_path / "out").read_bytes() == body
    aws.run("s3", "mv", f"s3://{bucket}/in/x ü", f"s3://{bucket}/moved ü", "--quiet")
    aws.run("s3", "mv", f"s3://{bucket}/streamed", f"s3://{bucket}/large ü", "--quiet")
    assert keys(server, bucket) == ["large ü", "moved ü"]
    assert s3.head_object(Bucket=bucket, Key="moved ü")["Metadata"] == {"colour": "blue"}
    assert s3.get_object(Bucket=bucket, Key="large ü")["Body"].read() == body
    aws.run("s3", "cp", str(here), f"s3://{bucket}/sums", "--checksum-algorithm", "SHA256", "--quiet")
    aws.run("s3", "cp", f"s3://{bucket}/sums", str(tmp_path / "sums"), "--checksum-mode", "ENABLED", "--quiet")
    url = aws.run("s3", "presign", f"s3://{bucket}/moved ü", "--expires-in", "60").strip()
    with urllib.request.urlopen(url) as answer:
        assert answer.read() == here.read_bytes()
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(url[:-1] + ("0" if url[-1] != "0" else "1"))
    aws.run("s3", "rm", f"s3://{bucket}", "--recursive", "--exclude", "large*", "--quiet")
    assert keys(server, bucket) == ["large ü"]
    done = aws.ask("s3", "cp", f"s3://{bucket}/missing", str(tmp_path / "missing"))
    assert done.code != 0 and "404" in done.err
    done = aws.ask("s3", "ls", "s3://no-such-bucket-here")
    assert done.code != 0 and "NoSuchBucket" in done.err


def test_s3api(aws: Tool, server: ServerProcess, bucket: str, tmp_path: Path) -> None:
    def api(*words: str) -> Any:
        said = aws.run("s3api", *words)
        return json.loads(said) if said.strip() else None

    body = tmp_path / "body"
    body.write_bytes(os.urandom(6 * MIB))
    digest = hashlib.md5(body.read_bytes()).hexdigest()
    where = ("--bucket", bucket, "--key", "a/ü")
    assert (
        api("put-object", *where, "--body", str(body), "--checksum-algorithm", "CRC32C", "--tagging", "a=b")["ETag"]
        == f'"{digest}"'
    )
    head = api("head-object", *where, "--checksum-mode", "ENABLED")
    assert head["ContentLength"] == 6 * MIB and head["ChecksumCRC32C"]
    assert (
        api("get-object", *where, "--range", "bytes=10-19", str(tmp_path / "range"))["ContentRange"]
        == f"bytes 10-19/{6 * MIB}"
    )
    assert (tmp_path / "range").read_bytes() == body.read_bytes()[10:20]
    assert api("get-object-tagging", *where)["TagSet"] == [{"Key": "a", "Value": "b"}]
    upload = api("create-multipart-upload", "--bucket", bucket, "--key", "parts")["UploadId"]
    about = ("--bucket", bucket, "--key", "parts", "--upload-id", upload)
    etag = api("upload-part", *about, "--part-number", "1", "--body", str(body))["ETag"]
    assert api("list-parts", *about)["Parts"][0]["Size"] == 6 * MIB
    (tmp_path / "parts.json").write_text(json.dumps({"Parts": [{"PartNumber": 1, "ETag": etag}]}))
    done = api("complete-multipart-upload", *about, "--multipart-upload", f"file://{tmp_path / 'parts.json'}")
    assert done["ETag"].endswith('-1"')
    done = api(
        "delete-objects", "--bucket", bucket, "--delete", json.dumps({"Objects": [{"Key": "a/ü"}, {"Key": "parts"}]})
    )
    assert {row["Key"] for row in done["Deleted"]} == {"a/ü", "parts"}
    for words, code in (
        (("get-object", *where, str(tmp_path / "x")), "NoSuchKey"),
        (("create-bucket", "--bucket", "UPPER"), "InvalidBucketName"),
        (("put-object", *where, "--body", str(body), "--content-md5", "AAAA"), "InvalidDigest"),
    ):
        failed = aws.ask("s3api", *words)
        assert failed.code != 0 and f"({code})" in failed.err, failed.err


def test_virtual_hosted(server: ServerProcess, bucket: str, tmp_path: Path) -> None:
    proxy = Proxy(server)
    try:
        tool = aws_cli(server, tmp_path, "addressing_style = virtual")
        tool.environment |= {"AWS_ENDPOINT_URL": f"http://s3.localhost:{server.port}", "HTTP_PROXY": proxy.url}
        body = os.urandom(7 * MIB)
        (tmp_path / "x ü").write_bytes(body)
        tool.run("s3", "cp", str(tmp_path / "x ü"), f"s3://{bucket}/deep/x ü", "--quiet")
        tool.run("s3", "cp", f"s3://{bucket}/deep/x ü", str(tmp_path / "back"), "--quiet")
        assert (tmp_path / "back").read_bytes() == body and keys(server, bucket) == ["deep/x ü"]
        url = tool.run("s3", "presign", f"s3://{bucket}/deep/x ü").strip()
        assert url.startswith(f"http://{bucket}.s3.localhost:{server.port}/deep/")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({"http": proxy.url}))
        with opener.open(url) as answer:
            assert answer.read() == body
    finally:
        proxy.close()
