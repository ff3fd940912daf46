"""Keys with characters that XML 1.0 has no way to write (not even as references), in documents without
``encoding-type=url``: every parser reads them, and every other key is as it was."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from helpers.s3_wire import Ask, presign
from helpers.server import ServerProcess
from helpers.tools import aws_cli, rclone_s3, s3cmd_of

BUCKET = "unwritable"
#: All characters that XML 1.0 can't hold but the zero and surrogates, which are no part of keys.
ILLEGAL = [*(chr(code) for code in range(1, 32) if chr(code) not in "\t\n\r"), "\ufffe", "\uffff"]
#: What it can hold in some way: as references, or as they are.
LEGAL = [
    "plain",
    "tab\t.",
    "new\nline",
    "return\r.",
    "both\r\n.",
    "a&b<c>\"d'",
    "\x7f\x85\u2028",
    "\ufffd",
    "\U0001f600",
]
KEYS = sorted([*(f"bad{char}key" for char in ILLEGAL), *LEGAL], key=str.encode)
NAMESPACE = "{http://s3.amazonaws.com/doc/2006-03-01/}"

Fetch = Callable[[str], ElementTree.Element]


@pytest.fixture(scope="module")
def s3(server: ServerProcess) -> Any:
    made = server.client("s3")
    made.create_bucket(Bucket=BUCKET)
    for key in KEYS:
        made.put_object(Bucket=BUCKET, Key=key, Body=b"x")
        made.create_multipart_upload(Bucket=BUCKET, Key=key)
    return made


@pytest.fixture(scope="module")
def fetch(server: ServerProcess, s3: Any) -> Fetch:
    """The document that a query of the bucket answers, by a parser that takes nothing but XML 1.0."""

    def fetched(query: str) -> ElementTree.Element:
        ask = presign(Ask("GET", f"/{BUCKET}".encode(), query.encode()), f"127.0.0.1:{server.port}", server.key)
        url = f"{server.url}{ask.path.decode()}?{ask.query.decode()}"
        with urllib.request.urlopen(url) as answer:
            return ElementTree.fromstring(answer.read())

    return fetched


def shown(key: str) -> str:
    return "".join("\ufffd" if char in ILLEGAL else char for char in key)


def keys_in(document: ElementTree.Element, member: str) -> list[str]:
    return [str(node.findtext(f"{NAMESPACE}Key")) for node in document.iter(NAMESPACE + member)]


@pytest.mark.parametrize(
    ("query", "member"),
    [("", "Contents"), ("list-type=2", "Contents"), ("versions", "Version"), ("uploads", "Upload")],
)
def test_listings_can_be_read(fetch: Fetch, query: str, member: str) -> None:
    assert keys_in(fetch(query), member) == [shown(key) for key in KEYS]


def test_prefixes_can_be_read(fetch: Fetch) -> None:
    document = fetch("list-type=2&prefix=bad&delimiter=key")
    found = [str(node.findtext(f"{NAMESPACE}Prefix")) for node in document.iter(f"{NAMESPACE}CommonPrefixes")]
    assert found == [shown(key) for key in KEYS if key.startswith("bad")]


def test_tokens_are_exact(fetch: Fetch) -> None:
    """Pages go on behind the key that was, not behind the key that is shown."""
    found: list[str] = []
    token = ""
    while True:
        page = fetch(f"list-type=2&max-keys=3{token}")
        found += keys_in(page, "Contents")
        following = page.findtext(f"{NAMESPACE}NextContinuationToken")
        if following is None:
            break
        token = f"&continuation-token={following}"
    assert found == [shown(key) for key in KEYS]


def test_with_the_encoding_keys_are_exact(s3: Any) -> None:
    """SDKs ask for it by themselves."""
    for name, member in (
        ("list_objects", "Contents"),
        ("list_objects_v2", "Contents"),
        ("list_object_versions", "Versions"),
    ):
        pages = s3.get_paginator(name).paginate(Bucket=BUCKET, PaginationConfig={"PageSize": 5})
        assert [row["Key"] for page in pages for row in page[member]] == KEYS, name
    pages = s3.get_paginator("list_multipart_uploads").paginate(
        Bucket=BUCKET, EncodingType="url", PaginationConfig={"PageSize": 1000}
    )
    assert len([row for page in pages for row in page["Uploads"]]) == len(KEYS)


def test_answers_about_one_key_can_be_read(s3: Any) -> None:
    key = "made\x07here"
    assert s3.create_multipart_upload(Bucket=BUCKET, Key=key)["Key"] == "made\ufffdhere"
    s3.copy_object(Bucket=BUCKET, Key=key, CopySource={"Bucket": BUCKET, "Key": "bad\x01key"})
    assert s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() == b"x"
    s3.delete_object(Bucket=BUCKET, Key=key)


def test_tools_list_what_they_can(server: ServerProcess, s3: Any, tmp_path: Path) -> None:
    s3.put_object(Bucket=BUCKET, Key="zz/plain", Body=b"x")
    for name in ("aws", "rclone", "s3cmd"):
        (tmp_path / name).mkdir()
    aws = aws_cli(server, tmp_path / "aws")
    assert "plain" in aws.run("s3", "ls", f"s3://{BUCKET}") and "zz/plain" in aws.run(
        "s3api", "list-objects", "--bucket", BUCKET
    )
    rclone = rclone_s3(server, tmp_path / "rclone")
    assert "zz/plain" in rclone.run("lsf", "--recursive", f"s3:{BUCKET}").splitlines()
    s3cmd = s3cmd_of(server, tmp_path / "s3cmd")
    assert f"s3://{BUCKET}/zz/plain" in s3cmd.run("ls", "--recursive", f"s3://{BUCKET}")
    s3.delete_object(Bucket=BUCKET, Key="zz/plain")
