"""Documents and values that no client library would let through."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from typing import Any

import pytest
from botocore.exceptions import ClientError
from helpers.s3_hostile import BUCKET, MIB, Target, Wire

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
        ("GET", "?list-type=2&max-keys=" + "0" * 20 + "9" * 5000, {}, "InvalidArgument"),
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


@pytest.mark.parametrize(
    "date",
    [
        "x", ",", "a b c d e f", "Mon, 99 Foo 99999 99:99:99 GMT", "0", "Thu, 01 Jan 1970",
        f"Thu, 01 Jan {10**20} 00:00:00 GMT", f"Thu, 01 Jan 1970 {10**20}:00:00 GMT", f"Thu, 01 Jan 1970 00:00:00 +{10**20}",
    ],
)  # fmt: skip
def test_dates_that_are_none_are_ignored(target: Target, date: str) -> None:
    for name in ("if-modified-since", "if-unmodified-since"):
        answer = target.ask("GET", f"/{BUCKET}/there", headers={name: date})
        assert answer.status in (200, 304, 412) and answer.body in (b"content", b"")


def test_a_date_that_is_none_signs_nothing(target: Target) -> None:
    about = f"AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/s3/aws4_request, SignedHeaders=date;host, Signature={'0' * 64}"
    headers = {"date": f"Thu, 01 Jan {10**20} 00:00:00 GMT", "authorization": about}
    answer = target.ask("GET", f"/{BUCKET}/there", headers=headers, signed=False)
    assert (answer.status, answer.code) == (400, "AuthorizationHeaderMalformed")


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
