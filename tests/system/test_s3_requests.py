"""Requests in all their forms: buckets in the host, presigned URLs, preflights, waits for 100, and wrong signatures."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
import socket
import urllib.parse
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from helpers import forms
from helpers.raw import Plain, signed
from helpers.server import ServerProcess

BUCKETS = ("plain", "with.dots.in-it", "4beginning")
ORIGIN = "https://app.example.com"
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def s3(server: ServerProcess) -> Any:
    made = server.client("s3")
    for bucket in BUCKETS:
        made.create_bucket(Bucket=bucket)
    return made


@pytest.fixture
def everywhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Names below localhost and amazonaws.com are this machine, as systemd-resolved has it for the former."""
    real = socket.getaddrinfo

    def resolve(host: Any, *rest: Any, **more: Any) -> Any:
        if isinstance(host, str) and host.endswith((".localhost", ".amazonaws.com")):
            host = "127.0.0.1"
        return real(host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    yield


def virtual(server: ServerProcess, host: str, **config: Any) -> Any:
    """A client that puts buckets in the host, where it thinks it may."""
    return boto3.client(
        "s3",
        endpoint_url=f"http://{host}:{server.port}",
        region_name="us-east-1",
        aws_access_key_id=server.key[0],
        aws_secret_access_key=server.key[1],
        config=Config(signature_version="s3v4", s3={"addressing_style": "virtual"}, **config),
    )


def ask(
    server: ServerProcess, method: str, url: str, body: bytes = b"", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    """To a URL whose host is not looked up."""
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        sent = {"Host": parts.netloc, **{name.replace("_", "-"): value for name, value in headers.items()}}
        connection.request(method, target, body, sent)
        response = connection.getresponse()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
    finally:
        connection.close()


# -- where the bucket is


@pytest.mark.parametrize("host", ["s3.localhost", "localhost", "s3.us-east-1.amazonaws.com"])
@pytest.mark.parametrize("bucket", BUCKETS)
def test_boto3_with_the_bucket_in_the_host(
    server: ServerProcess, s3: Any, everywhere: None, host: str, bucket: str
) -> None:
    client = virtual(server, host)
    hosts: list[str] = []
    client.meta.events.register("before-send.s3", lambda request, **_: hosts.append(request.url))
    key = f"{host}/ä b+c/{bucket}"
    client.put_object(Bucket=bucket, Key=key, Body=b"x" * 100_000, ChecksumAlgorithm="SHA256")
    assert client.get_object(Bucket=bucket, Key=key)["Body"].read() == b"x" * 100_000
    assert [row["Key"] for row in client.list_objects_v2(Bucket=bucket, Prefix=f"{host}/")["Contents"]] == [key]
    assert s3.head_object(Bucket=bucket, Key=key)["ContentLength"] == 100_000
    upload = client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    client.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload)
    client.copy_object(Bucket=bucket, Key=f"{key} 2", CopySource={"Bucket": bucket, "Key": key})
    client.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key}, {"Key": f"{key} 2"}]})
    assert not client.list_objects_v2(Bucket=bucket, Prefix=f"{host}/").get("Contents")
    assert all(url.startswith(f"http://{bucket}.{host}:{server.port}/") for url in hosts), hosts
    assert client.list_buckets()["Buckets"]


def test_keys_may_look_like_the_servers_own_paths(server: ServerProcess, s3: Any, everywhere: None) -> None:
    client = virtual(server, "s3.localhost")
    for key in ("_sluiceway/health", "_es", "_api/x/y", "@connections/z"):
        client.put_object(Bucket="plain", Key=key, Body=key.encode())
        assert client.get_object(Bucket="plain", Key=key)["Body"].read() == key.encode()
        assert s3.get_object(Bucket="plain", Key=key)["Body"].read() == key.encode()
    assert ask(server, "GET", f"http://s3.localhost:{server.port}/_sluiceway/health")[0] == 200


@pytest.mark.parametrize("host", ["s3.localhost", "localhost", "s3.amazonaws.com"])
def test_presigned_urls_with_the_bucket_in_the_host(server: ServerProcess, s3: Any, host: str) -> None:
    client = virtual(server, host)
    for bucket in BUCKETS:
        about = {"Bucket": bucket, "Key": "pre signed/ü"}
        url = client.generate_presigned_url("put_object", {**about, "ContentType": "text/x-a"}, ExpiresIn=604_800)
        assert urllib.parse.urlsplit(url).netloc == f"{bucket}.{host}:{server.port}"
        status, _, body = ask(server, "PUT", url, b"hello", content_type="text/x-b")
        assert status == 403 and b"SignatureDoesNotMatch" in body, "the type is signed"
        assert ask(server, "PUT", url, b"hello", content_type="text/x-a")[0] == 200
        url = client.generate_presigned_url("get_object", {**about, "ResponseContentType": "text/x-c"})
        status, headers, body = ask(server, "GET", url)
        assert (status, headers["content-type"], body) == (200, "text/x-c", b"hello")
        made = client.generate_presigned_post(bucket, "posted/${filename}")
        parts = urllib.parse.urlsplit(made["url"])
        status, headers, body = ask(
            server, "POST", made["url"], forms.body(made["fields"].items()), content_type=forms.content_type()
        )
        assert status == 204 and parts.netloc.endswith(f":{server.port}"), body
        assert s3.get_object(Bucket=bucket, Key="posted/a.txt")["Body"].read() == b"content"


def test_preflights_on_paths_and_hosts(server: ServerProcess, s3: Any) -> None:
    rule = {"AllowedMethods": ["PUT", "GET"], "AllowedOrigins": ["https://*.example.com"], "AllowedHeaders": ["*"]}
    port = server.port
    asks = {"Origin": ORIGIN, "Access_Control_Request_Method": "PUT", "Access_Control_Request_Headers": "x-amz-date"}
    for bucket in BUCKETS:
        urls = [f"http://127.0.0.1:{port}/{bucket}/key", f"http://{bucket}.s3.localhost:{port}/key",
                f"http://{bucket}.localhost:{port}/key", f"http://{bucket}.s3.amazonaws.com/key"]  # fmt: skip
        for url in urls:
            status, headers, body = ask(server, "OPTIONS", url, **asks)
            assert status == 403 and b"CORSResponse: CORS is not enabled for this bucket." in body
            assert b"<Method>PUT</Method><ResourceType>BUCKET</ResourceType>" in body
        s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [rule]})
        for url in urls:
            status, headers, body = ask(server, "OPTIONS", url, **asks)
            assert (status, body) == (200, b"")
            assert headers["access-control-allow-origin"] == ORIGIN
            assert headers["access-control-allow-methods"] == "PUT, GET"
            assert headers["access-control-allow-headers"] == "x-amz-date"
            assert ask(server, "OPTIONS", url, **{**asks, "Origin": "null"})[0] == 403
            # An error is the page's to read as well, whatever it is.
            for method, more in (("GET", {}), ("PUT", {"authorization": "AWS4-HMAC-SHA256 nonsense"})):
                status, headers, _ = ask(server, method, url, Origin=ORIGIN, **more)
                assert status in (400, 403) and headers["access-control-allow-origin"] == ORIGIN
                assert headers["vary"].startswith("Origin")
            assert "access-control-allow-origin" not in ask(server, "DELETE", url, Origin=ORIGIN)[1]
        s3.delete_bucket_cors(Bucket=bucket)
    for url in (f"http://127.0.0.1:{port}/nobodys-bucket/key", f"http://nobodys-bucket.s3.localhost:{port}/key",
                f"http://127.0.0.1:{port}/"):  # fmt: skip
        status, _, body = ask(server, "OPTIONS", url, **asks)
        assert status == 403 and b"<Code>AccessForbidden</Code><Message>CORSResponse: Bucket not found" in body
        assert ask(server, "OPTIONS", url)[0] == 400


# -- what a wrong signature is told


def elements(body: bytes) -> dict[str, str]:
    found = re.findall(rb"<(\w+)>([^<]*)</\1>", body)
    return {name.decode(): value.decode().replace("&amp;", "&").replace("&#13;", "\r") for name, value in found}


def test_a_wrong_signature_is_told_what_was_signed(server: ServerProcess, s3: Any) -> None:
    path = "/plain/a%20b?list-type=2&prefix=%C3%BC"
    about = {"x-amz-content-sha256": hashlib.sha256(b"").hexdigest(), "x-amz-meta-note": "z\xfc <&>  two"}
    right = signed(Plain("GET", path, headers=about), server.port, server.key, "s3")
    wrong = right.headers["authorization"][:-8] + "00000000"
    status, _, body = ask(server, "GET", f"http://127.0.0.1:{server.port}{path}",
                          **{**right.headers, "authorization": wrong})  # fmt: skip
    told = elements(body)
    assert status == 403 and told["Code"] == "SignatureDoesNotMatch"
    assert told["AWSAccessKeyId"] == server.key[0] and told["SignatureProvided"] == wrong[-64:]
    canonical = bytes.fromhex(told["CanonicalRequestBytes"])
    assert canonical.startswith(b"GET\n/plain/a%20b\nlist-type=2&prefix=%C3%BC\nhost:127.0.0.1:")
    assert told["StringToSign"].splitlines()[3] == hashlib.sha256(canonical).hexdigest()
    assert bytes.fromhex(told["StringToSignBytes"]).decode() == told["StringToSign"]
    assert server.key[1] not in body.decode("utf-8", "replace")
    url = s3.generate_presigned_url("get_object", {"Bucket": "plain", "Key": "k"})
    status, _, body = ask(server, "GET", url.replace("/k?", "/other?"))
    assert status == 403 and elements(body)["CanonicalRequest"].startswith("GET\n/plain/other\nX-Amz-Algorithm=")


def test_an_unknown_key_is_named(server: ServerProcess, s3: Any) -> None:
    headers = signed(Plain("GET", "/plain/k", headers={"x-amz-content-sha256": "UNSIGNED-PAYLOAD"}), server.port,
                     ("AKIA<nobody>", "secret"), "s3").headers  # fmt: skip
    status, _, body = ask(server, "GET", f"{server.url}/plain/k", **headers)
    assert status == 403 and b"<Code>InvalidAccessKeyId</Code>" in body
    assert b"<AWSAccessKeyId>AKIA&lt;nobody&gt;</AWSAccessKeyId>" in body


@pytest.mark.parametrize("path", ["/plain/k", "/plain?list-type=2"])
def test_older_and_other_signatures_are_refused_with_a_way_out(server: ServerProcess, s3: Any, path: str) -> None:
    url = f"http://127.0.0.1:{server.port}{path}"
    more = "&" if "?" in path else "?"
    for target, headers in (
        (url, {"authorization": f"AWS {server.key[0]}:c2lnbmF0dXJl", "date": "Thu, 26 Nov 2026 00:00:00 GMT"}),
        (f"{url}{more}AWSAccessKeyId={server.key[0]}&Signature=c2ln&Expires=9999999999", {}),
    ):
        status, _, body = ask(server, "GET", target, **headers)
        assert status == 400 and elements(body)["Code"] == "InvalidRequest" and b"AWS4-HMAC-SHA256" in body
    for target, headers in (
        (url, {"authorization": "AWS4-ECDSA-P256-SHA256 Credential=A/20261126/s3/aws4_request, SignedHeaders=host"}),
        (f"{url}{more}X-Amz-Algorithm=AWS4-ECDSA-P256-SHA256&X-Amz-Signature=00", {}),
    ):
        status, _, body = ask(server, "GET", target, **headers)
        assert status == 501 and elements(body)["Code"] == "NotImplemented" and b"SigV4A" in body


# -- who is refused sends nothing


def waits(server: ServerProcess, method: str, path: str, headers: dict[str, str], length: int) -> bytes:
    """The answer to a head that waits for 100, up to the connection's end."""
    sent = {"host": f"127.0.0.1:{server.port}", **headers, "content-length": str(length), "expect": "100-continue"}
    lines = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode())
        answer = b""
        while received := connection.recv(65536):
            answer += received
        return answer


def put(server: ServerProcess, path: str, **more: Any) -> dict[str, str]:
    about = Plain("PUT", path, headers={"x-amz-content-sha256": "UNSIGNED-PAYLOAD"})
    return signed(about, server.port, more.pop("key", server.key), "s3", **more).headers


def test_a_refused_put_is_answered_without_its_body(server: ServerProcess, s3: Any) -> None:
    iam = server.client("iam")
    iam.create_user(UserName="nobody")
    made = iam.create_access_key(UserName="nobody")["AccessKey"]
    nobody = made["AccessKeyId"], made["SecretAccessKey"]
    expired = s3.generate_presigned_url("put_object", {"Bucket": "plain", "Key": "k"}, ExpiresIn=1)
    stale = re.sub(r"X-Amz-Date=\d{8}", "X-Amz-Date=20200101", expired)
    stale = re.sub(r"%2F\d{8}%2F", "%2F20200101%2F", stale).removeprefix(server.url)
    path = "/plain/waiting"
    cases: list[tuple[str, dict[str, str], int, bytes]] = [
        (path, put(server, path, key=nobody), 100 * MIB, b"AccessDenied"),
        (path, {}, 100 * MIB, b"AccessDenied"),
        (path, put(server, path, moved_s=-3600), 100 * MIB, b"RequestTimeTooSkewed"),
        (path, put(server, path), 5 * 1024 * MIB + 1, b"EntityTooLarge"),
        (stale, {}, 100 * MIB, b"Request has expired"),
        ("/nowhere-at-all/k", put(server, "/nowhere-at-all/k"), 100 * MIB, b"NoSuchBucket"),
        (path, put(server, path) | {"content-md5": "short"}, 100 * MIB, b"InvalidDigest"),
        (path, put(server, path) | {"if-none-match": "*", "x-amz-storage-class": "x"}, 1, b"AccessDenied"),
    ]
    for target, headers, length, code in cases:
        answer = waits(server, "PUT", target, headers, length)
        assert code in answer and b"100 Continue" not in answer, (code, answer[:600])
        assert b"connection: close" in answer.lower()
    assert not s3.list_objects_v2(Bucket="plain", Prefix="waiting").get("Contents")


def test_a_form_that_is_too_large_is_answered_without_its_body(server: ServerProcess, s3: Any) -> None:
    headers = {"content-type": forms.content_type()}
    answer = waits(server, "POST", "/plain", headers, 6 * 1024 * MIB)
    assert b"EntityTooLarge" in answer and b"100 Continue" not in answer
    answer = waits(server, "POST", "/plain", {"content-type": "text/html"}, 100)
    assert b"HTTP/1.1 412" in answer and b"100 Continue" not in answer
    answer = waits(server, "POST", "/nowhere-at-all", headers, 100)
    assert b"NoSuchBucket" in answer and b"100 Continue" not in answer


def test_a_form_that_waits_is_told_to_go_on(server: ServerProcess, s3: Any) -> None:
    made = forms.signed(server.key, "plain", {"key": "continued"})
    body = forms.body(made.items(), os.urandom(200_000))
    head = f"POST /plain HTTP/1.1\r\nhost: x\r\ncontent-type: {forms.content_type()}\r\nexpect: 100-continue\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode())
        assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert connection.recv(1000).startswith(b"HTTP/1.1 204")
    assert s3.head_object(Bucket="plain", Key="continued")["ContentLength"] == 200_000


def test_policies_see_forms_too(server: ServerProcess, s3: Any) -> None:
    """What a policy says of a request holds for a form: its page, its address, its caller."""
    statement = {
        "Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::plain/*",
        "Condition": {"StringNotLike": {"aws:Referer": "https://app.example.com/*"}},
    }  # fmt: skip
    s3.put_bucket_policy(Bucket="plain", Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    try:
        made = forms.signed(server.key, "plain", {"key": "from-a-page"})
        for referer, status in (("https://app.example.com/upload", 204), ("https://example.org/", 403)):
            answer = ask(
                server, "POST", f"{server.url}/plain", forms.body(made.items()),
                content_type=forms.content_type(), Referer=referer,
            )  # fmt: skip
            assert answer[0] == status, answer
    finally:
        s3.delete_bucket_policy(Bucket="plain")


def test_trailers_of_http_do_not_become_headers(server: ServerProcess, s3: Any) -> None:
    """What follows a body in chunks was not signed: it says nothing about the object, and refuses nothing."""
    body = b"5\r\nhello\r\n0\r\n\r\n"
    about = Plain("PUT", "/plain/trailed", headers={
        "x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "x-amz-decoded-content-length": "5",
        "content-encoding": "aws-chunked"})  # fmt: skip
    headers = signed(about, server.port, server.key, "s3").headers
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = f"PUT /plain/trailed HTTP/1.1\r\nhost: 127.0.0.1:{server.port}\r\n{lines}"
    head += "transfer-encoding: chunked\r\nconnection: close\r\n\r\n"
    rest = b"%x\r\n%b\r\n0\r\nx-amz-meta-late: 1\r\ncontent-language: la\r\n\r\n" % (len(body), body)
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(head.encode() + rest)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200"), answer
    got = s3.get_object(Bucket="plain", Key="trailed")
    assert got["Body"].read() == b"hello" and got["Metadata"] == {} and "ContentLanguage" not in got
