"""What no SDK would send: forged, cut, lying, endless and malicious requests, by sockets against a real server."""

from __future__ import annotations

import base64
import datetime
import hashlib
import hmac
import http.client
import json
import os
import re
import socket
import threading
import time
import urllib.parse
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from helpers.server import ServerProcess, eventually

KIB, MIB = 1024, 1024 * 1024
EMPTY = hashlib.sha256(b"").hexdigest()
BUCKET = "target"


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        found = re.search(rb"<Code>(.*?)</Code>", self.body)
        return found[1].decode() if found else ""


class Signer:
    """Signature Version 4 by hand, so that every part of it can be wrong."""

    def __init__(self, key: tuple[str, str], moved_s: float = 0.0) -> None:
        self.key = key
        now = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=moved_s)
        self.time = f"{now:%Y%m%dT%H%M%SZ}"
        self.scope = f"{self.time[:8]}/us-east-1/s3/aws4_request"
        self.seed = ""

    def hmac(self, text: str) -> str:
        key = b"AWS4" + self.key[1].encode()
        for part in self.scope.split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        return hmac.digest(key, text.encode(), "sha256").hex()

    def sign(self, method: str, path: str, query: str, headers: dict[str, str], payload: str) -> str:
        names = ";".join(sorted(name.lower() for name in headers))
        lines = "".join(f"{name.lower()}:{headers[name].strip()}\n" for name in sorted(headers, key=str.lower))
        whole = "\n".join([method, path, query, lines, names, payload])
        digest = hashlib.sha256(whole.encode("latin-1")).hexdigest()
        self.seed = self.hmac(f"AWS4-HMAC-SHA256\n{self.time}\n{self.scope}\n{digest}")
        return self.seed

    def headers(self, method: str, target: str, host: str, payload: str = EMPTY, **more: str) -> dict[str, str]:
        path, _, query = target.partition("?")
        query = "&".join(sorted(item if "=" in item else f"{item}=" for item in query.split("&") if item))
        signed = {"host": host, "x-amz-date": self.time, "x-amz-content-sha256": payload}
        signed |= {name.replace("_", "-"): value for name, value in more.items()}
        signature = self.sign(method, path, query, signed, payload)
        names = ";".join(sorted(name.lower() for name in signed))
        credential = f"{self.key[0]}/{self.scope}"
        about = f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={signature}"
        return signed | {"authorization": about}

    def url(self, method: str, path: str, host: str, seconds: int = 60, **headers: str) -> str:
        signed = {"host": host, **{name.replace("_", "-"): value for name, value in headers.items()}}
        fields = {
            "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
            "X-Amz-Credential": f"{self.key[0]}/{self.scope}",
            "X-Amz-Date": self.time,
            "X-Amz-Expires": str(seconds),
            "X-Amz-SignedHeaders": ";".join(sorted(signed)),
        }
        query = "&".join(f"{name}={urllib.parse.quote(value, safe='')}" for name, value in sorted(fields.items()))
        return f"{path}?{query}&X-Amz-Signature={self.sign(method, path, query, signed, 'UNSIGNED-PAYLOAD')}"


class Wire:
    """A connection that sends any bytes and reads one answer after another."""

    def __init__(self, server: ServerProcess, receive_bytes: int = 0) -> None:
        self.socket = socket.socket()
        if receive_bytes:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.settimeout(10)
        self.socket.connect(("127.0.0.1", server.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def head(self, method: str, target: str, headers: dict[str, str]) -> None:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self.send(f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode("latin-1"))

    def answer(self, method: str = "GET") -> Answer:
        response = http.client.HTTPResponse(self.socket, method=method)
        response.begin()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, headers, response.read())

    def closed(self) -> bool:
        """Whether the server ends the connection, soon."""
        self.socket.settimeout(5)
        try:
            while self.socket.recv(65536):
                pass
        except ConnectionError:
            return True
        except TimeoutError:
            return False
        return True


class Target:
    """The server, as an attacker with or without a key sees it."""

    def __init__(self, server: ServerProcess) -> None:
        self.server = server
        self.host = f"127.0.0.1:{server.port}"
        self.s3 = server.client("s3")

    def signer(self, moved_s: float = 0.0, key: tuple[str, str] | None = None) -> Signer:
        return Signer(key or self.server.key, moved_s)

    def ask(
        self, method: str, target: str, body: bytes = b"", headers: dict[str, str] | None = None, signed: bool = True
    ) -> Answer:
        """One request on a connection of its own."""
        sent = {"host": self.host}
        if signed:
            sent = self.signer().headers(method, target, self.host, hashlib.sha256(body).hexdigest())
        with Wire(self.server) as wire:
            wire.head(method, target, sent | {"content-length": str(len(body))} | (headers or {}))
            wire.send(body)
            return wire.answer(method)

    def has(self, key: str) -> bool:
        return any(row["Key"] == key for row in self.s3.list_objects_v2(Bucket=BUCKET, Prefix=key).get("Contents", []))

    def files(self) -> set[Path]:
        return {path for path in (self.server.data / "blobs").rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def target(server: ServerProcess) -> Target:
    made = Target(server)
    made.s3.create_bucket(Bucket=BUCKET)
    made.s3.put_object(Bucket=BUCKET, Key="there", Body=b"content")
    return made


@pytest.fixture(autouse=True)
def _nothing_is_left(target: Target) -> Iterator[None]:
    """After whatever was done to it: the server answers, said nothing of an internal error, and kept no bytes."""
    before = target.files()
    target.server.lines.clear()
    yield
    assert target.s3.get_object(Bucket=BUCKET, Key="there")["Body"].read() == b"content"
    eventually(lambda: target.files() == before)
    assert not [line for line in target.server.lines if "Traceback" in line], "\n".join(target.server.lines)


# -- aws-chunked


def signed_chunks(signer: Signer, chunks: list[bytes], trailer: str = "") -> bytes:
    """The body of STREAMING-AWS4-HMAC-SHA256-PAYLOAD, with ``-TRAILER`` where there is one."""
    previous, out = signer.seed, b""
    for chunk in [*chunks, b""]:
        digest = hashlib.sha256(chunk).hexdigest()
        text = f"AWS4-HMAC-SHA256-PAYLOAD\n{signer.time}\n{signer.scope}\n{previous}\n{EMPTY}\n{digest}"
        previous = signer.hmac(text)
        out += f"{len(chunk):x};chunk-signature={previous}\r\n".encode() + chunk + (b"\r\n" if chunk else b"")
    if trailer:
        digest = hashlib.sha256(f"{trailer}\n".encode()).hexdigest()
        text = f"AWS4-HMAC-SHA256-TRAILER\n{signer.time}\n{signer.scope}\n{previous}\n{digest}"
        out += f"{trailer}\r\nx-amz-trailer-signature:{signer.hmac(text)}\r\n".encode()
    return out + b"\r\n"


def crc32(data: bytes) -> str:
    return base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()


@pytest.mark.parametrize("size", [100, 200_000])
def test_signed_chunks(target: Target, size: int) -> None:
    data, path = os.urandom(size), f"/{BUCKET}/streamed"
    chunks = [data[at : at + 65_536] for at in range(0, size, 65_536)]

    def put(spoil: Any = lambda body: body, length: int = size, trailer: str = "") -> Answer:
        signer = target.signer()
        kind = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD" + ("-TRAILER" if trailer else "")
        more = {"x_amz_decoded_content_length": str(length), "content_encoding": "aws-chunked"}
        if trailer:
            more["x_amz_trailer"] = "x-amz-checksum-crc32"
        headers = signer.headers("PUT", path, target.host, kind, **more)
        body = spoil(signed_chunks(signer, chunks, trailer))
        with Wire(target.server) as wire:
            wire.head("PUT", path, headers | {"content-length": str(len(body))})
            wire.send(body)
            return wire.answer("PUT")

    good = f"x-amz-checksum-crc32:{crc32(data)}"
    for trailer in ("", good):
        assert put(trailer=trailer).status == 200
        got = target.s3.get_object(Bucket=BUCKET, Key="streamed")
        assert got["Body"].read() == data and "ContentEncoding" not in got
        target.s3.delete_object(Bucket=BUCKET, Key="streamed")
    inside = signed_chunks(target.signer(), chunks).index(b"\r\n") + 50  # a byte of the first chunk
    spoilt = {
        "a byte changed": (
            put(lambda body: body[:inside] + bytes([body[inside] ^ 1]) + body[inside + 1 :]),
            "Signature",
        ),
        "cut": (put(lambda body: body[: -len(body) // 4]), ""),
        "the last chunk missing": (put(lambda body: body[: body.rindex(b"0;chunk")]), "IncompleteBody"),
        "more than told": (put(length=size - 1), "IncompleteBody"),
        "less than told": (put(length=size + 1), "IncompleteBody"),
        "a signature of another length": (put(lambda body: body.replace(b"signature=", b"signature=0", 1)), ""),
        "garbage": (put(lambda body: b"zz\r\n" + body), "IncompleteBody"),
        "a line without end": (put(lambda body: b"1" * 5000 + body), "IncompleteBody"),
        "a huge chunk": (put(lambda body: b"fffffffffff" + body), ""),
        "a wrong checksum": (put(trailer=f"x-amz-checksum-crc32:{crc32(b'x')}"), "BadDigest"),
        "another trailer": (put(trailer="x-amz-checksum-sha1:AAAA"), ""),
        "a trailer's signature": (put(lambda body: body[:-6] + b"00\r\n\r\n", trailer=good), ""),
    }
    for name, (answer, code) in spoilt.items():
        assert answer.status in (400, 403) and answer.code.startswith(code), (name, answer)
        assert answer.code and answer.code != "InternalError", (name, answer)
    assert not target.has("streamed")


def test_unsigned_chunks_with_a_trailer(target: Target) -> None:
    data, path = os.urandom(100_000), f"/{BUCKET}/streamed"

    def put(body: bytes, announced: str = "x-amz-checksum-crc32") -> Answer:
        headers = target.signer().headers(
            "PUT", path, target.host, "STREAMING-UNSIGNED-PAYLOAD-TRAILER", content_encoding="gzip,aws-chunked",
            x_amz_decoded_content_length=str(len(data)), x_amz_trailer=announced,
        )  # fmt: skip
        with Wire(target.server) as wire:
            wire.head("PUT", path, headers | {"content-length": str(len(body))})
            wire.send(body)
            return wire.answer("PUT")

    chunks = f"{60_000:x}\r\n".encode() + data[:60_000] + f"\r\n{40_000:X}\r\n".encode() + data[60_000:] + b"\r\n0\r\n"
    trailer = f"x-amz-checksum-crc32:{crc32(data)}\r\n\r\n".encode()
    for body, code in (
        (chunks + b"\r\n", "InvalidRequest"),
        (chunks + f"x-amz-checksum-crc32:{crc32(b'')}\r\n\r\n".encode(), "BadDigest"),
        (chunks + b"x-amz-checksum-crc32:rubbish\r\n\r\n", "InvalidRequest"),
        (chunks + b"x-amz-checksum-crc32" + b":" * 5000 + b"\r\n\r\n", "InvalidRequest"),
        (chunks + b"a:b\r\n" * 100 + trailer, "InvalidRequest"),
        (b"-1\r\n" + chunks, "IncompleteBody"),
        (b"0x10\r\n" + chunks, "IncompleteBody"),
        (data, "IncompleteBody"),
        (b"", "IncompleteBody"),
    ):
        answer = put(body)
        assert answer.status == 400 and answer.code in (code, "MalformedTrailerError", "IncompleteBody"), (code, answer)
    assert not target.has("streamed")
    assert put(chunks + trailer).status == 200
    got = target.s3.get_object(Bucket=BUCKET, Key="streamed")
    assert got["Body"].read() == data and got["ContentEncoding"] == "gzip"
    target.s3.delete_object(Bucket=BUCKET, Key="streamed")


# -- signatures


def test_presigned_urls(target: Target) -> None:
    path, signer = f"/{BUCKET}/there", target.signer()

    def ask(url: str, method: str = "GET", headers: dict[str, str] | None = None, body: bytes = b"") -> Answer:
        return target.ask(method, url, body, headers, signed=False)

    url = target.s3.generate_presigned_url("get_object", {"Bucket": BUCKET, "Key": "there"}, 60)
    assert ask(url.removeprefix(target.server.url)).body == b"content"
    url = target.s3.generate_presigned_url("put_object", {"Bucket": BUCKET, "Key": "up", "ContentType": "text/x"}, 60)
    url = url.removeprefix(target.server.url)
    assert ask(url, "PUT", {"content-type": "text/y"}, b"sent").code == "SignatureDoesNotMatch"
    assert ask(url, "PUT", {"content-type": "text/x"}, b"sent").status == 200
    head = target.s3.head_object(Bucket=BUCKET, Key="up")
    assert head["ContentType"] == "text/x" and head["ContentLength"] == 4
    target.s3.delete_object(Bucket=BUCKET, Key="up")
    good = signer.url("GET", path, target.host)
    assert ask(good).body == b"content"
    flipped = good[:-1] + ("0" if good[-1] != "0" else "1")
    with_header = signer.url("GET", path, target.host, x_amz_meta_a="1")
    assert ask(with_header, headers={"x-amz-meta-a": "1"}).status == 200
    refused = {
        "expired": (ask(target.signer(-120).url("GET", path, target.host)), "AccessDenied"),
        "not yet valid": (ask(target.signer(3600).url("GET", path, target.host)), "AccessDenied"),
        "another key": (ask(good.replace("there", "other")), "SignatureDoesNotMatch"),
        "another method": (ask(good, "DELETE"), "SignatureDoesNotMatch"),
        "another host": (ask(good, headers={"host": "localhost:1"}), "SignatureDoesNotMatch"),
        "another header": (ask(with_header, headers={"x-amz-meta-a": "2"}), "SignatureDoesNotMatch"),
        "a header left out": (ask(with_header), "SignatureDoesNotMatch"),
        "an unsigned amz header": (ask(good, headers={"x-amz-meta-b": "1"}), "AccessDenied"),
        "more query": (ask(f"{good}&response-content-type=text/html"), "SignatureDoesNotMatch"),
        "a longer life": (ask(good.replace("Expires=60", "Expires=61")), "SignatureDoesNotMatch"),
        "a flipped digit": (ask(flipped), "SignatureDoesNotMatch"),
        "no signature": (ask(good.rpartition("&")[0]), "AuthorizationQueryParametersError"),
        "an endless life": (ask(signer.url("GET", path, target.host, 10**9)), "AuthorizationQueryParametersError"),
        "a negative life": (ask(signer.url("GET", path, target.host, -1)), "AuthorizationQueryParametersError"),
        "a wrong secret": (
            ask(target.signer(key=(target.server.key[0], "x" * 40)).url("GET", path, target.host)),
            "SignatureDoesNotMatch",
        ),
        "an unknown key": (
            ask(target.signer(key=("AKIAUNKNOWN00000000", "x")).url("GET", path, target.host)),
            "InvalidAccessKeyId",
        ),
        "version 2": (ask(f"{path}?AWSAccessKeyId=x&Expires=9999999999&Signature=y"), "InvalidRequest"),
    }
    for name, (answer, code) in refused.items():
        assert answer.code == code and answer.status in (400, 403), (name, answer)
    assert ask(signer.url("HEAD", path, target.host), "HEAD").status == 200


def user(target: Target, name: str, *statements: dict[str, Any]) -> tuple[str, str]:
    iam = target.server.client("iam")
    iam.create_user(UserName=name)
    document = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
    iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=document)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return key["AccessKeyId"], key["SecretAccessKey"]


def test_a_deleted_key_opens_nothing(target: Target) -> None:
    arn = f"arn:aws:s3:::{BUCKET}/*"
    key = user(target, "leaver", {"Effect": "Allow", "Action": "s3:GetObject", "Resource": arn})
    url = target.signer(key=key).url("GET", f"/{BUCKET}/there", target.host)
    assert target.ask("GET", url, signed=False).body == b"content"
    target.server.client("iam").delete_access_key(UserName="leaver", AccessKeyId=key[0])
    eventually(lambda: target.ask("GET", url, signed=False).code == "InvalidAccessKeyId")


def test_a_user_stays_within_a_prefix(target: Target) -> None:
    own = f"arn:aws:s3:::{BUCKET}/home/ann/*"
    key = user(
        target, "ann",
        {"Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"], "Resource": own},
        {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": f"arn:aws:s3:::{BUCKET}",
         "Condition": {"StringLike": {"s3:prefix": "home/ann/*"}}},
    )  # fmt: skip
    ann = target.server.client("s3", key)
    ann.put_object(Bucket=BUCKET, Key="home/ann/a", Body=b"mine")
    assert ann.get_object(Bucket=BUCKET, Key="home/ann/a")["Body"].read() == b"mine"
    assert ann.list_objects_v2(Bucket=BUCKET, Prefix="home/ann/")["KeyCount"] == 1
    ann.copy_object(Bucket=BUCKET, Key="home/ann/b", CopySource=f"{BUCKET}/home/ann/a")
    for name, arguments in (
        ("put_object", {"Key": "home/anna", "Body": b"x"}),
        ("put_object", {"Key": "home/ann/../bob/a", "Body": b"x"}),
        ("get_object", {"Key": "there"}),
        ("get_object", {"Key": "not there"}),
        ("delete_object", {"Key": "there"}),
        ("list_objects_v2", {"Prefix": "home/"}),
        ("list_objects_v2", {}),
        ("copy_object", {"Key": "home/ann/stolen", "CopySource": f"{BUCKET}/there"}),
        ("copy_object", {"Key": "stolen", "CopySource": f"{BUCKET}/home/ann/a"}),
        ("create_multipart_upload", {"Key": "elsewhere"}),
        ("put_bucket_policy", {"Policy": "{}"}),
        ("delete_bucket", {}),
    ):
        if "../" in str(arguments.get("Key")):
            getattr(ann, name)(Bucket=BUCKET, **arguments)
            assert not target.has("home/bob/a"), "a key is a name, not a path"
            continue
        with pytest.raises(ClientError, match="AccessDenied"):
            getattr(ann, name)(Bucket=BUCKET, **arguments)
    answer = ann.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": "home/ann/a"}, {"Key": "there"}]})
    assert [row["Key"] for row in answer["Deleted"]] == ["home/ann/a"]
    assert [(row["Key"], row["Code"]) for row in answer["Errors"]] == [("there", "AccessDenied")]
    with pytest.raises(ClientError, match="AccessDenied"):
        ann.list_buckets()


@pytest.mark.parametrize(
    "method, path",
    [
        ("GET", "/"), ("GET", f"/{BUCKET}"), ("GET", f"/{BUCKET}/there"), ("HEAD", f"/{BUCKET}/there"),
        ("PUT", f"/{BUCKET}/new"), ("DELETE", f"/{BUCKET}/there"), ("POST", f"/{BUCKET}?delete"),
        ("PUT", "/another-bucket"), ("DELETE", f"/{BUCKET}"), ("GET", f"/{BUCKET}?policy"),
        ("PUT", f"/{BUCKET}?policy"), ("POST", f"/{BUCKET}/new?uploads"), ("GET", f"/{BUCKET}?notification"),
    ],
)  # fmt: skip
def test_anonymous_requests_are_refused(target: Target, method: str, path: str) -> None:
    answer = target.ask(method, path, headers={"x-amz-content-sha256": EMPTY}, signed=False)
    assert answer.status == 403 and (answer.code == "AccessDenied" or method == "HEAD"), answer
    assert not target.has("new")


@pytest.mark.parametrize("name", ["abac", "website", "replication", "object-lock", "torrent"])
def test_unknown_subresources_are_not_implemented(target: Target, name: str) -> None:
    """What a bucket can't be set up to do may be asked for, as it is by tools, but not set."""
    read = ("GET", f"/{BUCKET}") if name == "torrent" else ("PUT", f"/{BUCKET}")
    for method, path in (read, ("PUT", f"/{BUCKET}"), ("PUT", f"/{BUCKET}/there")):
        answer = target.ask(method, f"{path}?{name}", b"<x/>" if method == "PUT" else b"")
        assert (answer.status, answer.code) == (501, "NotImplemented"), (method, path, answer)


# -- bodies that lie, end early, or never end


def test_a_wrong_signature_is_refused_before_the_body(target: Target) -> None:
    path, body = f"/{BUCKET}/expected", os.urandom(100_000)
    signer = target.signer()
    digest = hashlib.sha256(body).hexdigest()
    waits = {"content-length": str(len(body)), "expect": "100-continue"}
    with Wire(target.server) as wire:
        headers = signer.headers("PUT", path, target.host, digest) | waits
        wire.head("PUT", path, headers | {"authorization": headers["authorization"][:-4] + "0000"})
        answer = wire.answer("PUT")
        assert answer.code == "SignatureDoesNotMatch" and answer.headers["connection"] == "close"
        assert wire.closed()
    with Wire(target.server) as wire:
        wire.head("PUT", path, signer.headers("PUT", path, target.host, digest) | waits)
        assert wire.socket.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        wire.send(body)
        assert wire.answer("PUT").status == 200
    target.s3.delete_object(Bucket=BUCKET, Key="expected")


def test_a_refused_body_is_skipped_and_the_connection_goes_on(target: Target) -> None:
    body = os.urandom(4 * MIB)
    with Wire(target.server) as wire:
        path = "/no-such-bucket-here/x"
        wire.head("PUT", path, target.signer().headers("PUT", path, target.host, "UNSIGNED-PAYLOAD")
                  | {"content-length": str(len(body))})  # fmt: skip
        wire.send(body)
        assert wire.answer("PUT").code == "NoSuchBucket"
        path = f"/{BUCKET}/there"
        for _ in range(2):
            wire.head("GET", path, target.signer().headers("GET", path, target.host))
            assert wire.answer().body == b"content"
        both = b""
        for number in range(2):
            headers = target.signer().headers("GET", path, target.host)
            lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            both += f"GET {path}{'' if number == 0 else 'not'} HTTP/1.1\r\n{lines}\r\n".encode()
        wire.send(both)
        received = b""
        while received.count(b"</Error>") < 1:
            received += wire.socket.recv(65536)
        assert received.index(b"content") < received.index(b"SignatureDoesNotMatch"), (
            "pipelined answers keep their order"
        )


@pytest.mark.parametrize("size", [1000, 8 * MIB])
def test_an_upload_that_is_cut_off_leaves_nothing(target: Target, size: int) -> None:
    path = f"/{BUCKET}/cut"
    before = target.files()
    for reset in (False, True):
        with Wire(target.server) as wire:
            headers = target.signer().headers("PUT", path, target.host, "UNSIGNED-PAYLOAD")
            wire.head("PUT", path, headers | {"content-length": str(size)})
            wire.send(os.urandom(size // 2))
            if size > MIB:
                eventually(lambda: len(target.files()) > len(before))
            if reset:
                wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            else:
                wire.socket.shutdown(socket.SHUT_WR)
    eventually(lambda: target.files() == before)
    assert not target.has("cut")


def test_a_body_other_than_what_was_signed_is_refused(target: Target) -> None:
    path = f"/{BUCKET}/forged"
    for size in (100, 200_000):
        body = os.urandom(size)
        with Wire(target.server) as wire:
            headers = target.signer().headers("PUT", path, target.host, hashlib.sha256(body).hexdigest())
            wire.head("PUT", path, headers | {"content-length": str(size)})
            wire.send(body[:-1] + bytes([body[-1] ^ 1]))
            assert wire.answer("PUT").code == "XAmzContentSHA256Mismatch"
    assert not target.has("forged")


def test_more_body_than_told_is_not_stored(target: Target) -> None:
    path = f"/{BUCKET}/long"
    with Wire(target.server) as wire:
        headers = target.signer().headers("PUT", path, target.host, "UNSIGNED-PAYLOAD")
        wire.head("PUT", path, headers | {"content-length": "5"})
        wire.send(b"12345smuggled bytes\r\n\r\n")
        assert wire.answer("PUT").status in (200, 400)
        assert wire.closed()
    if target.has("long"):
        assert target.s3.get_object(Bucket=BUCKET, Key="long")["Body"].read() == b"12345"
        target.s3.delete_object(Bucket=BUCKET, Key="long")


@pytest.mark.parametrize(
    "length, statuses",
    [
        ("-1", (400,)), ("+5", (400,)), ("5, 5", (400,)), ("5x", (400,)), ("0x5", (400,)), ("", (400, 411)),
        ("1e3", (400,)), ("9" * 30, (400,)), (str(2**63), (400,)), (str(6 * 1024**3), (400,)), ("5\r\ncontent-length: 6", (400,)),
        ("5\r\ntransfer-encoding: chunked", (400, 411)),
    ],
)  # fmt: skip
def test_impossible_lengths(target: Target, length: str, statuses: tuple[int, ...]) -> None:
    path = f"/{BUCKET}/impossible"
    with Wire(target.server) as wire:
        headers = target.signer().headers("PUT", path, target.host, "UNSIGNED-PAYLOAD")
        wire.head("PUT", path, headers | {"content-length": length})
        wire.send(b"12345")
        assert wire.answer("PUT").status in statuses
    assert not target.has("impossible")


@pytest.mark.parametrize(
    "body",
    [b"5\r\n12345\r\n0\r\n\r\n", b"zz\r\nrubbish\r\n", b"-5\r\n12345\r\n", b"f" * 20 + b"\r\n", b"5;" + b"x" * 100_000],
)
def test_http_chunks_need_a_length_and_garbage_is_refused(target: Target, body: bytes) -> None:
    path = f"/{BUCKET}/chunked"
    with Wire(target.server) as wire:
        headers = target.signer().headers("PUT", path, target.host, "UNSIGNED-PAYLOAD")
        wire.head("PUT", path, headers | {"transfer-encoding": "chunked"})
        wire.send(body)
        assert wire.answer("PUT").status in (400, 411)
    assert not target.has("chunked")


@pytest.mark.parametrize("flood", ["long", "many", "line"])
def test_header_floods_are_cut_off(target: Target, flood: str) -> None:
    with Wire(target.server) as wire:
        data = {
            "long": b"GET / HTTP/1.1\r\nx: " + b"y" * (1 * MIB),
            "many": b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 100_000,
            "line": b"GET /" + b"y" * (1 * MIB),
        }[flood]
        try:
            wire.send(data + b"\r\n\r\n")
            assert wire.answer().status in (400, 414, 431)
        except ConnectionError:
            pass
        assert wire.closed()


@pytest.mark.parametrize(
    "path",
    [
        "/../../../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", f"/{BUCKET}/../../../../etc/passwd",
        f"/{BUCKET}/%2e%2e/%2e%2e/root-key.json", f"/{BUCKET}/..%2f..%2froot-key.json", f"/{BUCKET}/%00",
        f"/{BUCKET}/%c0%ae%c0%ae/etc/passwd", f"/{BUCKET}/%ff%fe", f"/{BUCKET}/%", f"/{BUCKET}/%zz", "//etc/passwd",
        f"//{BUCKET}/there", f"/{BUCKET}\\..\\..\\x", "/~root/.ssh/id_rsa", f"/{BUCKET}/there%0d%0aset-cookie:x",
    ],
)  # fmt: skip
def test_paths_lead_nowhere_else(target: Target, path: str) -> None:
    for signed in (True, False):
        answer = target.ask("GET", path, signed=signed)
        assert answer.status in (400, 403, 404) and b"root:" not in answer.body, answer
        assert answer.code not in ("", "InternalError") and "set-cookie" not in answer.headers


def test_keys_that_look_like_paths_are_names(target: Target) -> None:
    for key in ("../../../../tmp/s3-escaped", "/etc/s3-escaped", "../root-key.json"):
        target.s3.put_object(Bucket=BUCKET, Key=key, Body=b"k" * 100)
        assert target.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() == b"k" * 100
        target.s3.delete_object(Bucket=BUCKET, Key=key)
    assert not Path("/tmp/s3-escaped").exists() and not Path("/etc/s3-escaped").exists()
    assert len(target.server.key[1]) >= 40


def test_who_stops_in_the_middle_is_let_go(own_server: ServerProcess) -> None:
    """Headers that don't end, bodies that don't come, the rest of a refused body, and readers that don't read."""
    own_server._environment |= {
        "SLUICEWAY_HTTP__HEADER_S": "1", "SLUICEWAY_HTTP__BODY_IDLE_S": "1", "SLUICEWAY_HTTP__STALL_S": "2",
    }  # fmt: skip
    target = Target(own_server.start())
    target.s3.create_bucket(Bucket=BUCKET)
    target.s3.put_object(Bucket=BUCKET, Key="large", Body=os.urandom(16 * MIB))
    wires = {name: Wire(own_server, 4096) for name in ("headers", "body", "refused", "reader")}
    wires["headers"].send(b"GET / HTTP/1.1\r\nhost: x\r\nx-a")
    headers = target.signer().headers("PUT", f"/{BUCKET}/never", target.host, "UNSIGNED-PAYLOAD")
    wires["body"].head("PUT", f"/{BUCKET}/never", headers | {"content-length": str(9 * MIB)})
    wires["body"].send(b"x" * 100_000)
    wires["refused"].head("PUT", "/no-such-bucket-here/x", headers | {"content-length": str(9 * MIB)})
    assert wires["refused"].answer("PUT").status == 403
    wires["refused"].send(b"x")
    path = f"/{BUCKET}/large"
    wires["reader"].head("GET", path, target.signer().headers("GET", path, target.host))
    assert wires["reader"].socket.recv(1, socket.MSG_PEEK), "it is being read"
    target.s3.delete_object(Bucket=BUCKET, Key="large")
    assert target.files(), "it is being read"
    assert wires["body"].answer("PUT").code == "RequestTimeout"
    # Not a byte may be taken from the reader's connection before it was given up, or it would be no stalled one.
    eventually(lambda: not target.files())
    for name, wire in wires.items():
        began = time.monotonic()
        with wire:
            assert wire.closed() and time.monotonic() - began < 30, name


# -- documents

LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
BOMBS = {
    "laughs": f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY l0 "ha">{LAUGHS}]><ROOT><ID>&l9;</ID></ROOT>',
    "quadratic": '<!DOCTYPE x [<!ENTITY a "' + "a" * 100_000 + '">]><ROOT><ID>' + "&a;" * 10_000 + "</ID></ROOT>",
    "file": '<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]><ROOT><ID>&f;</ID></ROOT>',
    "parameter": '<!DOCTYPE x [<!ENTITY % p SYSTEM "http://127.0.0.1:9/x.dtd"> %p;]><ROOT/>',
    "type": "<!DOCTYPE ROOT><ROOT></ROOT>",
    "deep": "<ROOT>" + "<a>" * 200_000 + "</a>" * 200_000 + "</ROOT>",
    "wide": "<ROOT>" + "<a/>" * 400_000 + "</ROOT>",
    "huge": "<ROOT>" + "x" * (3 * MIB) + "</ROOT>",
    "open": "<ROOT><a>",
    "wrong": "<Other/>",
    "empty": "",
    "json": '{"a": 1}',
    "many": "<ROOT>" + "<a/>" * 99_000 + "</Other>",
    "nul": "<ROOT>\0</ROOT>",
    "utf-16": '<?xml version="1.0" encoding="utf-16"?><ROOT/>',
}


@pytest.mark.parametrize(
    "root, method, path",
    [
        ("CORSConfiguration", "PUT", f"/{BUCKET}?cors"),
        ("CompleteMultipartUpload", "POST", f"/{BUCKET}/new?uploadId=x"),
        ("Delete", "POST", f"/{BUCKET}?delete"),
        ("NotificationConfiguration", "PUT", f"/{BUCKET}?notification"),
        ("Tagging", "PUT", f"/{BUCKET}/there?tagging"),
    ],
)
def test_malicious_documents_are_refused(target: Target, root: str, method: str, path: str) -> None:
    for name, text in BOMBS.items():
        body = text.replace("ROOT", root).encode()
        began = time.monotonic()
        digest = base64.b64encode(hashlib.md5(body).digest()).decode()
        answer = target.ask(method, path, body, {"content-md5": digest})
        took = time.monotonic() - began
        assert answer.status in (400, 404), (name, answer)
        assert answer.code not in ("", "InternalError") and b"root:" not in answer.body and took < 10, (
            name,
            took,
            answer,
        )
    with pytest.raises(ClientError, match="NoSuchCORSConfiguration"):
        target.s3.get_bucket_cors(Bucket=BUCKET)
    assert "TopicConfigurations" not in target.s3.get_bucket_notification_configuration(Bucket=BUCKET)


def test_metadata_beyond_ascii_travels_as_encoded_words(target: Target) -> None:
    path = f"/{BUCKET}/meta"
    sent = {
        "utf8": "Grüße ☃".encode().decode("latin-1"),
        "latin": "Grüße",
        "word": "=?utf-8?q?Gr=C3=BC=C3=9Fe?=",
        "broken": "=?utf-8?b?!!?=",
        "plain": "nothing special",
    }
    with Wire(target.server) as wire:
        more = {f"x-amz-meta-{name}": value for name, value in sent.items()}
        wire.head("PUT", path, target.signer().headers("PUT", path, target.host, **more) | {"content-length": "0"})
        assert wire.answer("PUT").status == 200
    found = target.s3.head_object(Bucket=BUCKET, Key="meta")["Metadata"]
    word = "=?UTF-8?B?" + base64.b64encode("Grüße".encode()).decode() + "?="
    snow = "=?UTF-8?B?" + base64.b64encode("Grüße ☃".encode()).decode() + "?="
    assert found == {"utf8": snow, "latin": word, "word": word, "broken": sent["broken"], "plain": sent["plain"]}
    target.s3.put_object(Bucket=BUCKET, Key="meta", Body=b"", Metadata=found)
    assert target.s3.head_object(Bucket=BUCKET, Key="meta")["Metadata"] == found
    target.s3.delete_object(Bucket=BUCKET, Key="meta")


# -- values that no client library would let through

LONG = "9" * 5000


@pytest.mark.parametrize(
    "method, path, headers, code",
    [
        ("GET", "/there?partNumber=" + LONG, {}, "InvalidArgument"),
        ("GET", "/there?partNumber=-1", {}, "InvalidArgument"),
        ("GET", "/there", {"range": "bytes=" + LONG + "-"}, "InvalidRange"),
        ("GET", "/there?versionId=abc", {}, "InvalidArgument"),
        ("DELETE", "/there?versionId=abc", {}, "InvalidArgument"),
        ("GET", "?list-type=2&max-keys=" + LONG, {}, "InvalidArgument"),
        ("GET", "?list-type=2&encoding-type=x", {}, "InvalidArgument"),
        ("GET", "?uploads=&max-uploads=" + LONG, {}, "InvalidArgument"),
        ("PUT", "/odd", {"x-amz-tagging": "&".join(f"a{n}=b" for n in range(1500))}, "BadRequest"),
        ("PUT", "/odd", {"x-amz-tagging": "aws:x=1"}, "InvalidTag"),
        ("PUT", "/odd?uploadId=x&partNumber=" + LONG, {}, "InvalidArgument"),
        ("PUT", "/odd?uploadId=x&partNumber=1", {}, "NoSuchUpload"),
        ("PUT", "/odd?partNumber=1", {}, "InvalidArgument"),
        ("PUT", "/odd", {"x-amz-copy-source": "nothing"}, "InvalidArgument"),
        ("PUT", "/odd?tagging", {"x-amz-copy-source": f"{BUCKET}/there"}, "MalformedXML"),
        ("PUT", "/odd", {"x-amz-copy-source": "/%ff%fe/%00"}, "NoSuchBucket"),
        ("PUT", "/odd", {"x-amz-checksum-crc32": "AAAAAA==", "x-amz-checksum-sha1": "x"}, "InvalidRequest"),
        ("PUT", "/odd", {"x-amz-checksum-md4": "AAAA"}, "InvalidRequest"),
        ("PUT", "/odd", {"x-amz-storage-class": "CHEAP"}, "InvalidStorageClass"),
        ("PUT", "/odd", {"x-amz-server-side-encryption-customer-algorithm": "AES256"}, "NotImplemented"),
        ("PUT", "/odd", {"x-amz-acl": "public-read"}, "AccessControlListNotSupported"),
        ("POST", "/odd?uploads", {"x-amz-checksum-algorithm": "MD4"}, "InvalidRequest"),
        ("POST", "/odd", {}, "MethodNotAllowed"),
        ("PATCH", "/there", {}, "MethodNotAllowed"),
        ("TRACE", "/there", {}, "MethodNotAllowed"),
    ],
)
def test_odd_values_are_refused(target: Target, method: str, path: str, headers: dict[str, str], code: str) -> None:
    path = f"/{BUCKET}{path}"
    more = {name.replace("-", "_"): value for name, value in headers.items()}
    signed = target.signer().headers(method, path, target.host, **more)
    with Wire(target.server) as wire:
        wire.head(method, path, signed | {"content-length": "0"})
        answer = wire.answer(method)
    assert answer.code == code and 400 <= answer.status <= 501, answer
    assert not target.has("odd")


@pytest.mark.parametrize("date", ["x", ",", "a b c d e f", "Mon, 99 Foo 99999 99:99:99 GMT", "0", "Thu, 01 Jan 1970"])
def test_dates_that_are_none_are_ignored(target: Target, date: str) -> None:
    for name in ("if-modified-since", "if-unmodified-since"):
        assert target.ask("GET", f"/{BUCKET}/there", headers={name: date}).body in (b"content", b"")


@pytest.mark.parametrize(
    "method, path, body",
    [
        ("POST", "?delete", "<Delete><Object><VersionId>x</VersionId></Object></Delete>"),
        ("POST", "?delete", "<Delete><Object/></Delete>"),
        ("POST", "?delete", "<Delete><Object><Key></Key></Object></Delete>"),
        ("PUT", "?cors", "<CORSConfiguration><CORSRule/></CORSConfiguration>"),
        (
            "PUT", "?cors",
            "<CORSConfiguration><CORSRule><AllowedMethod>GET</AllowedMethod><AllowedOrigin>*</AllowedOrigin>"
            f"<MaxAgeSeconds>{10**30}</MaxAgeSeconds></CORSRule></CORSConfiguration>",
        ),
        (
            "PUT", "?cors",
            "<CORSConfiguration><CORSRule><AllowedMethod>GET</AllowedMethod><AllowedOrigin>*</AllowedOrigin>"
            f"<MaxAgeSeconds>{LONG}</MaxAgeSeconds></CORSRule></CORSConfiguration>",
        ),
        (
            "POST", "/new?uploadId=x",
            f"<CompleteMultipartUpload><Part><PartNumber>{LONG}</PartNumber><ETag>x</ETag></Part>"
            "</CompleteMultipartUpload>",
        ),
        ("POST", "/new?uploadId=x", "<CompleteMultipartUpload><Part/></CompleteMultipartUpload>"),
        ("PUT", "/there?tagging", "<Tagging><TagSet><Tag/></TagSet></Tagging>"),
        ("PUT", "?notification", "<NotificationConfiguration><QueueConfiguration/></NotificationConfiguration>"),
        ("PUT", "?policy", "[" * 20_000),
        ("PUT", "?policy", '{"Statement": ' * 1400),
        ("PUT", "?policy", '{"Statement": ' + LONG + "}"),
        ("PUT", "?policy", '"\\ud800"'),
    ],
)  # fmt: skip
def test_odd_documents_are_refused(target: Target, method: str, path: str, body: str) -> None:
    data = body.encode()
    digest = base64.b64encode(hashlib.md5(data).digest()).decode()
    answer = target.ask(method, f"/{BUCKET}{path}", data, {"content-md5": digest})
    assert answer.status in (400, 404) and answer.code not in ("", "InternalError"), answer


@pytest.mark.parametrize(
    "change",
    [
        {"Principal": 5}, {"Principal": {"AWS": 5}}, {"Principal": {"AWS": [{}]}}, {"Principal": {}}, {"Principal": []},
        {"Condition": "x"}, {"Condition": {"StringEquals": 5}}, {"Condition": {"StringEquals": {"aws:username": {}}}},
        {"Condition": {"Bogus": {"a": "b"}}}, {"Condition": {"IpAddress": {"aws:SourceIp": "no address"}}},
        {"Condition": {"DateLessThan": {"aws:CurrentTime": "never"}}}, {"Condition": []},
        {"Condition": {"NumericLessThan": {"s3:max-keys": "x"}}}, {"Sid": 7}, {"NotPrincipal": "*"},
        {"Resource": f"arn:aws:s3:::{BUCKET}/" + "*?" * 300}, {"Resource": f"arn:aws:s3:::{BUCKET}/${{aws:username"},
        {"Condition": {"StringLike": {"aws:UserAgent": "*a" * 300}}}, {"Effect": ["Allow"]}, {"Action": {}},
    ],
)  # fmt: skip
def test_odd_policies_are_refused_or_harmless(target: Target, change: dict[str, Any]) -> None:
    statement = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject",
                 "Resource": f"arn:aws:s3:::{BUCKET}/other/*"}  # fmt: skip
    body = json.dumps({"Version": "2012-10-17", "Statement": [statement | change]}).encode()
    target.s3.delete_public_access_block(Bucket=BUCKET)
    answer = target.ask("PUT", f"/{BUCKET}?policy", body)
    assert answer.status in (204, 400), answer
    began = time.monotonic()
    for path in ("there", "other/" + "a" * 900):
        assert target.ask("GET", f"/{BUCKET}/{path}", signed=False, headers={"user-agent": "a" * 900}).status == 403
        assert target.ask("GET", f"/{BUCKET}/{path}").status in (200, 404)
    assert time.monotonic() - began < 10, "patterns must not take exponential time"
    target.s3.delete_bucket_policy(Bucket=BUCKET)


# -- readers


def test_a_slow_reader_holds_nobody_up_and_still_gets_the_whole(target: Target) -> None:
    body = os.urandom(16 * MIB)
    target.s3.put_object(Bucket=BUCKET, Key="slowly", Body=body)
    path = f"/{BUCKET}/slowly"
    with Wire(target.server, receive_bytes=4096) as wire:
        wire.head("GET", path, target.signer().headers("GET", path, target.host))
        got = wire.socket.recv(1000)
        target.s3.delete_object(Bucket=BUCKET, Key="slowly")
        for _ in range(20):
            time.sleep(0.02)
            got += wire.socket.recv(1000)
            assert target.s3.get_object(Bucket=BUCKET, Key="there")["Body"].read() == b"content"
        with pytest.raises(ClientError, match="NoSuchKey"):
            target.s3.get_object(Bucket=BUCKET, Key="slowly")
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, MIB)
        parts = [got]
        while sum(map(len, parts)) < len(body) and (part := wire.socket.recv(MIB)):
            parts.append(part)
        whole = b"".join(parts).partition(b"\r\n\r\n")[2]
        while len(whole) < len(body) and (part := wire.socket.recv(MIB)):
            whole += part
    assert hashlib.md5(whole).digest() == hashlib.md5(body).digest()


def test_readers_that_leave_let_go_of_what_they_read(target: Target) -> None:
    target.s3.put_object(Bucket=BUCKET, Key="left", Body=os.urandom(16 * MIB))
    path = f"/{BUCKET}/left"

    def leave() -> None:
        with Wire(target.server, receive_bytes=4096) as wire:
            wire.head("GET", path, target.signer().headers("GET", path, target.host))
            wire.socket.recv(1000)

    threads = [threading.Thread(target=leave) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    target.s3.delete_object(Bucket=BUCKET, Key="left")
