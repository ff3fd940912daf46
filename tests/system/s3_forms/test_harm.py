"""Browser forms that mean harm, and forms at once."""

from __future__ import annotations

import base64
import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from helpers import forms
from helpers.s3_forms import BUCKET, KIB, MIB, MISSING, Site
from helpers.server import ServerProcess, eventually

# -- forms that mean harm


def raw(site: Site, body: bytes, announced: int | None = None, seconds: float = 20.0) -> bytes:
    """Send a body that may be shorter than announced; the answer, or nothing within ``seconds``."""
    length = len(body) if announced is None else announced
    head = f"POST /{BUCKET} HTTP/1.1\r\nhost: x\r\ncontent-type: {forms.content_type()}\r\ncontent-length: {length}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", site.server.port), timeout=seconds) as connection:
        answer = b""
        try:
            connection.sendall(head.encode("latin-1") + body)
            while b"</Error>" not in answer and (received := connection.recv(65536)):
                answer += received
        except (ConnectionError, TimeoutError):
            pass
        return answer


@pytest.mark.parametrize(
    "content_type, status, code",
    [
        ("multipart/form-data", 400, "MalformedPOSTRequest"),
        ("multipart/form-data; boundary=", 400, "MalformedPOSTRequest"),
        ("multipart/form-data; boundary=" + "b" * 500, 400, "MalformedPOSTRequest"),
        ("multipart/form-data; boundary=other", 400, "MalformedPOSTRequest"),
        ("multipart/mixed; boundary=x", 412, "PreconditionFailed"),
        ("text/html", 412, "PreconditionFailed"),
        ("", 412, "PreconditionFailed"),
    ],
)
def test_what_is_no_form(site: Site, content_type: str, status: int, code: str) -> None:
    made = forms.signed(site.server.key, BUCKET, {"key": "none"})
    answer = site.post(forms.body(made.items()), content_type=content_type).refused(status, code)
    if status == 412:
        assert answer.element("Condition") == "Bucket POST must be of the enclosure-type multipart/form-data"
    assert "none" not in site.stored()


def test_floods_end_early(site: Site) -> None:
    made = forms.signed(site.server.key, BUCKET, {"key": "flood"})
    endless = forms.part("x-ignore-a", b"a" * (8 * MIB)) + forms.body(made.items())
    many = b"".join(forms.part(f"x-ignore-{number}", "") for number in range(5000)) + forms.body(made.items())
    names = forms.part("x-ignore-" + "n" * 100_000, "") + forms.body(made.items())
    for flood in (endless, many, names):
        site.post(flood).refused(400, "MaxPostPreDataLengthExceeded")
    after = forms.body(made.items())[: -len(forms.BOUNDARY) - 6] + forms.part("later", b"a" * MIB)
    site.post(after + f"--{forms.BOUNDARY}--\r\n".encode()).refused(400, "MaxPostPreDataLengthExceeded")
    fields = {"key": "k", **{f"x-amz-meta-{n}": "${filename}" * 40 for n in range(10)}}
    site.send(fields, filename="n" * 4000).refused(400, "MaxPostPreDataLengthExceeded")
    assert not {"flood", "k"} & site.stored()


def test_files_that_are_none_or_two(site: Site) -> None:
    made = forms.signed(site.server.key, BUCKET, {"key": "two"})
    answer = site.post(forms.body(made.items(), None)).refused(400, "InvalidArgument", "exactly one file")
    assert (answer.element("ArgumentName"), answer.element("ArgumentValue")) == ("file", "0")
    first = forms.part("file", b"one", "1") + forms.part("file", b"two" * 100_000, "2")
    whole = b"".join(forms.part(*item) for item in made.items()) + first + f"--{forms.BOUNDARY}--\r\n".encode()
    site.post(whole).refused(400, "InvalidArgument", "exactly one file")
    key_last = forms.part("file", b"one", "1") + forms.body(made.items(), None)
    site.post(key_last).refused(400, "InvalidArgument", MISSING.format("key"))
    twice = forms.part("key", "other") + forms.body(made.items())
    site.post(twice).refused(400, "InvalidArgument", "twice")
    assert not {"two", "other"} & site.stored()
    late = b"".join(forms.part(*item) for item in made.items()) + forms.part("file", b"one", "1")
    late += forms.part("key", "other") + forms.part("submit", "Upload") + f"--{forms.BOUNDARY}--\r\n".encode()
    assert site.post(late).status == 204, "fields after the file are ignored"
    assert "two" in site.stored() and "other" not in site.stored()


@pytest.mark.parametrize("size", [100, 2 * MIB])
def test_a_form_that_is_cut_off_leaves_nothing(site: Site, size: int) -> None:
    before = site.files()
    made = forms.signed(site.server.key, BUCKET, {"key": "cut"})
    whole = forms.body(made.items(), b"x" * size)
    head = len(whole) - size - len(forms.BOUNDARY) - 10
    for cut in (10, head - 50, head + size // 2, len(whole) - 20, len(whole) - 5):
        assert b"<Code>MalformedPOSTRequest<" in raw(site, whole[:cut]), cut
    for cut in (10, head + size // 2):
        assert raw(site, whole[:cut], announced=len(whole), seconds=1) == b""
    assert "cut" not in site.stored()
    eventually(lambda: site.files() == before)


def test_lengths(site: Site) -> None:
    answer = raw(site, b"", announced=6 * 1024 * MIB)
    assert b"EntityTooLarge" in answer and b"HTTP/1.1 400" in answer[:20]
    head = f"POST /{BUCKET} HTTP/1.1\r\nhost: x\r\ncontent-type: {forms.content_type()}\r\n"
    with socket.create_connection(("127.0.0.1", site.server.port), timeout=10) as connection:
        connection.sendall(head.encode() + b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n")
        assert b"MissingContentLength" in connection.recv(65536)
    made = forms.signed(
        site.server.key, BUCKET, {"key": "far"}, [{"bucket": BUCKET}, {"key": "far"}, ["content-length-range", 0, 10]]
    )
    started = time.monotonic()
    whole = forms.body(made.items(), b"x" * 40_000)
    answer = raw(site, whole[: len(whole) - 30_000], announced=1024 * MIB)
    assert b"EntityTooLarge" in answer and time.monotonic() - started < 20, "known before the file has come"


def test_odd_names_and_keys(site: Site) -> None:
    name = "quote%22 100%25 ümläut \U0001f600.txt"
    assert site.send({"key": "odd/${filename}", "success_action_status": "201"}, filename=name,
                     conditions=[{"bucket": BUCKET}, ["starts-with", "$key", "odd/"],
                                 {"success_action_status": "201"}]).status == 201  # fmt: skip
    assert 'odd/quote" 100%25 ümläut \U0001f600.txt' in site.stored()
    base = [{"bucket": BUCKET}, ["starts-with", "$key", ""]]
    for given, stored in (("../../etc/passwd", "passwd"), ("..", ".."), ("", ""), (None, "${filename}")):
        assert site.send({"key": "path/${filename}"}, filename=given, conditions=base).status == 204
        assert f"path/{stored}" in site.stored()
    for broken in (b'name="a\x00b"', b'name="\xff"', b"", b'filename="x"', b'name=""'):
        made = forms.signed(site.server.key, BUCKET, {"key": "broken"})
        odd = f"--{forms.BOUNDARY}\r\nContent-Disposition: form-data; ".encode() + broken + b"\r\n\r\nx\r\n"
        site.post(odd + forms.body(made.items())).refused(400, "MalformedPOSTRequest")
    made = forms.signed(site.server.key, BUCKET, {"key": "broken"})
    site.post(forms.part("x-ignore-b", b"\xff\xfe") + forms.body(made.items())).refused(400, "MalformedPOSTRequest")
    assert "broken" not in site.stored()


def test_a_large_file_takes_little_memory(site: Site) -> None:
    def peak() -> int:
        assert site.server.process is not None
        status = Path(f"/proc/{site.server.process.pid}/status").read_text()
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1])

    size = 200 * MIB
    made = forms.signed(site.server.key, BUCKET, {"key": "large"})
    whole = forms.body(made.items(), b"")
    at = whole.rindex(b"\r\n--")
    before = peak()
    block = b"0123456789abcdef" * (64 * KIB)
    with socket.create_connection(("127.0.0.1", site.server.port), timeout=60) as connection:
        head = f"POST /{BUCKET} HTTP/1.1\r\nhost: x\r\ncontent-type: {forms.content_type()}\r\n"
        connection.sendall(f"{head}content-length: {len(whole) + size}\r\n\r\n".encode() + whole[:at])
        for _ in range(size // len(block)):
            connection.sendall(block)
        connection.sendall(whole[at:])
        assert b"HTTP/1.1 204" in connection.recv(65536)
    assert peak() - before < 32 * KIB, "memory does not grow with the file"
    assert site.s3.head_object(Bucket=BUCKET, Key="large")["ContentLength"] == size
    site.s3.delete_object(Bucket=BUCKET, Key="large")


# -- beside others, and in time


def test_forms_at_once(site: Site) -> None:
    """Each is stored whole or refused whole, whatever comes beside it, also under the same key."""
    sizes = [10, 70_000, 300_000]

    def upload(number: int) -> int:
        data = bytes([number]) * sizes[number % 3]
        fields = {"key": f"at-once/{number % 4}", "x-amz-meta-number": str(number)}
        if number % 5 == 0:
            fields["x-amz-checksum-sha256"] = base64.b64encode(bytes(32)).decode()
        return site.send(fields, data).status

    before = site.files()
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(upload, range(1, 41)))
    assert statuses == [400 if number % 5 == 0 else 204 for number in range(1, 41)]
    kept = 0
    for name in range(4):
        stored = site.s3.get_object(Bucket=BUCKET, Key=f"at-once/{name}")
        number = int(stored["Metadata"]["number"])
        assert number % 4 == name and stored["Body"].read() == bytes([number]) * sizes[number % 3]
        kept += sizes[number % 3] > 64 * KIB
    eventually(lambda: len(site.files() - before) == kept)


def test_a_bucket_with_versions_names_the_new_one(site: Site) -> None:
    bucket = "versioned-forms"
    site.s3.create_bucket(Bucket=bucket)
    site.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    found = []
    for data in (b"one", b"two"):
        made = forms.signed(site.server.key, bucket, {"key": "k"})
        answer = site.post(forms.body(made.items(), data), path=f"/{bucket}")
        assert answer.status == 204
        found.append(answer.headers["x-amz-version-id"])
    assert [
        site.s3.get_object(Bucket=bucket, Key="k", VersionId=version)["Body"].read() for version in found
    ] == [b"one", b"two"]  # fmt: skip


def test_fields_that_never_end_are_given_up(own_server: ServerProcess) -> None:
    own_server._environment["SLUICEWAY_OBJECTS__FORM_S"] = "1"
    own_server.start()
    own_server.client("s3").create_bucket(Bucket=BUCKET)
    head = f"POST /{BUCKET} HTTP/1.1\r\nhost: x\r\ncontent-type: {forms.content_type()}\r\ncontent-length: 9999\r\n\r\n"
    with socket.create_connection(("127.0.0.1", own_server.port), timeout=10) as connection:
        connection.sendall(head.encode() + forms.part("key", "k"))
        answer = b""
        while b"</Error>" not in answer:
            connection.sendall(b"x")
            connection.settimeout(0.2)
            try:
                answer += connection.recv(65536)
            except TimeoutError:
                continue
        assert b"RequestTimeout" in answer
