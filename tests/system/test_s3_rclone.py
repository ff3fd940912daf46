"""rclone, as people back up, move and mount with it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from helpers.server import ServerProcess
from helpers.tools import Proxy, Tool, needed, rclone_s3

MIB = 1024 * 1024
#: Names that file systems allow and people have. A file system has no empty segments; rclone writes the rest as it is.
ODD = ["größe ☃.txt", "with space", "a+b&c=d;e,f", "100%", "%41", "q?x#y", "[x]{y}", "~tilde", "quo'te\"s", "back\\slash", "dot.", ".hidden",
       "日本語/ファイル.txt", "deep/er/est/x", "comma,dot..dot", "e\u0301combined", "\U0001f600", "tab\there", "star*", "a:b|c<d>e", "new\nline"]  # fmt: skip


@pytest.fixture(scope="module")
def rclone(server: ServerProcess, tmp_path_factory: pytest.TempPathFactory) -> Tool:
    return rclone_s3(server, tmp_path_factory.mktemp("rclone"))


@pytest.fixture
def bucket(server: ServerProcess, request: pytest.FixtureRequest) -> Iterator[str]:
    name = request.node.name.replace("_", "-").strip("-")[:50].lower().split("[")[0]
    s3 = server.client("s3")
    s3.create_bucket(Bucket=name)
    yield name
    rows = [
        row for page in s3.get_paginator("list_objects_v2").paginate(Bucket=name) for row in page.get("Contents", [])
    ]
    for at in range(0, len(rows), 1000):
        s3.delete_objects(Bucket=name, Delete={"Objects": [{"Key": row["Key"]} for row in rows[at : at + 1000]]})
    assert not s3.list_multipart_uploads(Bucket=name).get("Uploads")
    s3.delete_bucket(Bucket=name)


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def odd_tree(folder: Path) -> dict[str, bytes]:
    for number, name in enumerate(ODD):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(number * 500))
    (folder / "large.bin").write_bytes(os.urandom(17 * MIB))
    (folder / "empty").write_bytes(b"")
    return tree(folder)


def test_copy_sync_and_check(rclone: Tool, server: ServerProcess, bucket: str, tmp_path: Path) -> None:
    here = tmp_path / "here"
    files = odd_tree(here)
    rclone.run("copy", str(here), f"s3:{bucket}/backup")
    keys = [row["Key"] for row in server.client("s3").list_objects_v2(Bucket=bucket)["Contents"]]
    assert len(keys) == len(files) and "backup/größe ☃.txt" in keys and "backup/100%" in keys
    large = server.client("s3").head_object(Bucket=bucket, Key="backup/large.bin")
    assert large["ETag"].endswith('-4"') and "md5chksum" in large["Metadata"], (
        "rclone keeps the MD5 of what it sends in parts"
    )
    assert "0 differences found" in rclone.ask("check", str(here), f"s3:{bucket}/backup").err
    rclone.run("check", "--download", str(here), f"s3:{bucket}/backup")
    rclone.run("copy", f"s3:{bucket}/backup", str(tmp_path / "back"))
    assert tree(tmp_path / "back") == files
    times = {path: (here / path).stat().st_mtime_ns for path in files}
    assert {path: (tmp_path / "back" / path).stat().st_mtime_ns for path in files} == times, "times travel as metadata"

    (here / "new").write_bytes(b"new")
    (here / "with space").write_bytes(b"changed")
    (here / "~tilde").unlink()
    done = rclone.ask("sync", str(here), f"s3:{bucket}/backup", "-v")
    assert done.code == 0 and "Copied (new)" in done.err and "Deleted" in done.err, done.err
    assert "There was nothing to transfer" in rclone.ask("sync", str(here), f"s3:{bucket}/backup", "-v").err
    rclone.run("check", str(here), f"s3:{bucket}/backup")
    (here / "with space").write_bytes(b"Changed")
    done = rclone.ask("check", str(here), f"s3:{bucket}/backup")
    assert done.code == 1 and "1 differences found" in done.err


def test_listings(rclone: Tool, server: ServerProcess, bucket: str) -> None:
    s3 = server.client("s3")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: s3.put_object(Bucket=bucket, Key=f"many/{n:04d}", Body=b"x" * (n % 7)), range(1100)))
    s3.put_object(Bucket=bucket, Key="top ☃", Body=b"top", ContentType="text/x-top")
    assert rclone.run("lsf", f"s3:{bucket}").splitlines() == ["many/", "top ☃"]
    assert len(rclone.run("lsf", "-R", "--files-only", f"s3:{bucket}").splitlines()) == 1101
    assert len(rclone.run("lsf", "--fast-list", "-R", "--files-only", f"s3:{bucket}").splitlines()) == 1101
    v1 = Tool(rclone.program, rclone.home, rclone.words, rclone.environment | {"RCLONE_CONFIG_S3_LIST_VERSION": "1"})
    assert len(v1.run("lsf", "-R", "--files-only", f"s3:{bucket}").splitlines()) == 1101
    assert bucket in rclone.run("lsd", "s3:")
    [top] = json.loads(rclone.run("lsjson", "--hash", f"s3:{bucket}", "--files-only"))
    assert top["Path"] == "top ☃" and top["Size"] == 3 and top["MimeType"] == "text/x-top"
    assert top["Hashes"]["md5"] == "b28354b543375bfa94dabaeda722927f"
    assert "Total objects: 1.101k (1101)" in rclone.run("size", f"s3:{bucket}")
    assert rclone.run("cat", f"s3:{bucket}/top ☃") == "top"
    assert rclone.run("cat", "--offset", "1", "--count", "1", f"s3:{bucket}/top ☃") == "o"
    assert rclone.run("cat", f"s3:{bucket}/missing") == "", "to rclone it is a folder without files"
    assert "directory not found" in rclone.ask("lsf", "s3:no-such-bucket-here").err


@pytest.mark.parametrize("size", [0, 100, 100_000, 12 * MIB])
def test_rcat_streams_what_has_no_length(rclone: Tool, server: ServerProcess, bucket: str, size: int) -> None:
    body = os.urandom(size)
    rclone.run("rcat", f"s3:{bucket}/streamed", stdin=body)
    assert server.client("s3").get_object(Bucket=bucket, Key="streamed")["Body"].read() == body


def test_moves_and_copies_within_the_server(rclone: Tool, server: ServerProcess, bucket: str, tmp_path: Path) -> None:
    here = tmp_path / "here"
    files = odd_tree(here)
    rclone.run("copy", str(here), f"s3:{bucket}/one")
    # A cutoff below the large file's size makes its copy one of parts.
    rclone.run("copy", "--s3-copy-cutoff", "6Mi", f"s3:{bucket}/one", f"s3:{bucket}/two")
    rclone.run("check", "--download", str(here), f"s3:{bucket}/two")
    rclone.run("move", f"s3:{bucket}/two", f"s3:{bucket}/three")
    rclone.run("check", "--download", str(here), f"s3:{bucket}/three")
    assert len(rclone.run("lsf", "-R", "--files-only", f"s3:{bucket}/two").splitlines()) == 0
    rclone.run("moveto", f"s3:{bucket}/three/größe ☃.txt", f"s3:{bucket}/three/renamed ü")
    assert server.client("s3").get_object(Bucket=bucket, Key="three/renamed ü")["Body"].read() == files["größe ☃.txt"]
    rclone.run("touch", f"s3:{bucket}/three/renamed ü")
    rclone.run("settier", "STANDARD_IA", f"s3:{bucket}/three/renamed ü")
    assert server.client("s3").head_object(Bucket=bucket, Key="three/renamed ü")["StorageClass"] == "STANDARD_IA"
    rclone.run("deletefile", f"s3:{bucket}/three/renamed ü")
    rclone.run("purge", f"s3:{bucket}/three")
    assert {row["Key"].split("/")[0] for row in server.client("s3").list_objects_v2(Bucket=bucket)["Contents"]} == {
        "one"
    }


def test_buckets_links_and_leftovers(rclone: Tool, server: ServerProcess, tmp_path: Path) -> None:
    s3 = server.client("s3")
    rclone.run("mkdir", "s3:made-by-rclone")
    rclone.run("rcat", "s3:made-by-rclone/a b", stdin=b"linked")
    upload: dict[str, Any] = {"Bucket": "made-by-rclone", "Key": "left"}
    s3.create_multipart_upload(**upload)
    assert "left" in rclone.run("backend", "list-multipart-uploads", "s3:made-by-rclone")
    rclone.run("backend", "cleanup", "s3:made-by-rclone", "-o", "max-age=0s")
    assert not s3.list_multipart_uploads(Bucket="made-by-rclone").get("Uploads")
    link = rclone.run("link", "--expire", "60s", "s3:made-by-rclone/a b").strip()
    fetched = Tool(needed("rclone"), tmp_path, ["--config", "/dev/null"]).run(
        "copyurl", link, str(tmp_path / "fetched")
    )
    assert not fetched and (tmp_path / "fetched").read_bytes() == b"linked"
    assert rclone.ask("rmdir", "s3:made-by-rclone").code != 0
    rclone.run("purge", "s3:made-by-rclone")
    assert "made-by-rclone" not in rclone.run("lsd", "s3:")


def test_versions(rclone: Tool, server: ServerProcess, bucket: str) -> None:
    s3 = server.client("s3")
    assert "Unversioned" in rclone.run("backend", "versioning", f"s3:{bucket}")
    assert "Enabled" in rclone.run("backend", "versioning", f"s3:{bucket}", "Enabled")
    rclone.run("rcat", f"s3:{bucket}/größe.txt", stdin=b"first")
    rclone.run("rcat", f"s3:{bucket}/größe.txt", stdin=b"second")
    time.sleep(1.1)  # rclone names versions by the second
    between = datetime.now(UTC)
    rclone.run("deletefile", f"s3:{bucket}/größe.txt")
    assert rclone.run("lsf", f"s3:{bucket}") == ""
    old = rclone.run("lsf", "--s3-versions", f"s3:{bucket}").splitlines()
    assert len(old) == 2 and all(name.startswith("größe-v") and name.endswith(".txt") for name in old), old
    bodies = {rclone.run("cat", "--s3-versions", f"s3:{bucket}/{name}") for name in old}
    assert bodies == {"first", "second"}
    at = f"{between:%Y-%m-%dT%H:%M:%S.%fZ}"
    assert rclone.run("lsf", "--s3-version-at", at, f"s3:{bucket}") == "größe.txt\n"
    assert rclone.run("cat", "--s3-version-at", at, f"s3:{bucket}/größe.txt") == "second"
    rclone.run("backend", "cleanup-hidden", f"s3:{bucket}")
    left = s3.list_object_versions(Bucket=bucket)
    assert not left.get("Versions")
    for row in left.get("DeleteMarkers", []):
        s3.delete_object(Bucket=bucket, Key=row["Key"], VersionId=row["VersionId"])


def test_virtual_hosted(server: ServerProcess, bucket: str, tmp_path: Path) -> None:
    proxy = Proxy(server)
    try:
        tool = rclone_s3(server, tmp_path, ENDPOINT=f"http://s3.localhost:{server.port}", FORCE_PATH_STYLE="false")
        tool.environment["http_proxy"] = proxy.url
        here = tmp_path / "here"
        files = odd_tree(here)
        tool.run("copy", str(here), f"s3:{bucket}")
        tool.run("copy", f"s3:{bucket}", str(tmp_path / "back"))
        assert tree(tmp_path / "back") == files
        tool.run("copyto", f"s3:{bucket}/größe ☃.txt", f"s3:{bucket}/copied ü")
        assert tool.run("lsf", f"s3:{bucket}/copied ü").strip() == "copied ü"
    finally:
        proxy.close()


def test_a_wrong_secret_and_a_corrupted_body_are_told(server: ServerProcess, bucket: str, tmp_path: Path) -> None:
    tool = rclone_s3(server, tmp_path, SECRET_ACCESS_KEY="wrong" * 8)
    done = tool.ask("rcat", f"s3:{bucket}/never", stdin=b"x")
    assert done.code != 0 and "SignatureDoesNotMatch" in done.err
    done = tool.ask("lsf", f"s3:{bucket}")
    assert done.code != 0 and ("SignatureDoesNotMatch" in done.err or "403" in done.err)
