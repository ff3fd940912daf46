"""Signatures of requests and chunks that are wrong in every way."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import zlib
from typing import Any

import pytest
from botocore.exceptions import ClientError
from helpers.s3_hostile import BUCKET, EMPTY, Answer, Signer, Target, Wire
from helpers.server import eventually

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


def test_a_document_is_what_its_trailer_says(target: Target) -> None:
    """Else a list of what is to be deleted that was damaged on its way is carried out."""
    path, host = f"/{BUCKET}?delete", target.host
    text = b"<Delete><Object><Key>listed</Key></Object></Delete>"
    target.s3.put_object(Bucket=BUCKET, Key="listed", Body=b"")

    def delete(trailer: str, length: int = len(text)) -> Answer:
        headers = target.signer().headers(
            "POST", path, host, "STREAMING-UNSIGNED-PAYLOAD-TRAILER", content_encoding="aws-chunked",
            x_amz_decoded_content_length=str(length), x_amz_trailer="x-amz-checksum-crc32",
        )  # fmt: skip
        body = f"{len(text):x}\r\n".encode() + text + b"\r\n0\r\n" + trailer.encode() + b"\r\n"
        with Wire(target.server) as wire:
            wire.head("POST", path, headers | {"content-length": str(len(body))})
            wire.send(body)
            return wire.answer("POST")

    good = f"x-amz-checksum-crc32:{crc32(text)}\r\n"
    assert delete(f"x-amz-checksum-crc32:{crc32(b'')}\r\n").code == "BadDigest"
    assert delete("x-amz-checksum-crc32:rubbish\r\n").code == "InvalidRequest"
    assert delete("").code == "InvalidRequest"
    for length in (3, len(text) - 1, len(text) + 1):
        assert delete(good, length).code == "IncompleteBody"
    named = target.signer().headers(
        "POST", path, host, hashlib.sha256(text).hexdigest(), x_amz_checksum_algorithm="CRC32"
    )
    with Wire(target.server) as wire:
        wire.head("POST", path, named | {"content-length": str(len(text))})
        wire.send(text)
        assert wire.answer("POST").code == "InvalidRequest", "an algorithm alone is no digest"
    assert target.has("listed")
    assert delete(good).status == 200 and not target.has("listed")


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
