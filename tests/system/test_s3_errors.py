"""Every kind of bad request with the answer that S3 gives to it: code, status, message, and what else the error names."""

from __future__ import annotations

import base64
import datetime
import hashlib
import json
import re
import socket
import urllib.parse
import xml.etree.ElementTree as ET
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from helpers.raw import Answer, read_answer
from helpers.s3_wire import UNSIGNED, Ask, sign
from helpers.server import ServerProcess

MIB = 1024 * 1024
B = "errors"
CRC = base64.b64encode(zlib.crc32(b"other").to_bytes(4, "big")).decode()


@dataclass
class There:
    """What there is to ask about."""

    server: ServerProcess
    upload: str
    etags: list[str]

    def send(self, ask: Ask) -> Answer:
        with socket.create_connection(("127.0.0.1", self.server.port), timeout=10) as connection:
            connection.sendall(ask.wire())
            return read_answer(connection, ask.method)

    def sign(self, ask: Ask) -> Ask:
        return sign(ask, f"127.0.0.1:{self.server.port}", self.server.key)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One that waits for no body longer than a second."""
    made = ServerProcess(tmp_path_factory.mktemp("errors") / "data", environment={"SLUICEWAY_HTTP__BODY_IDLE_S": "1"})
    yield made.start()
    assert made.stop() == 0


@pytest.fixture(scope="module")
def there(server: ServerProcess) -> There:
    s3 = server.client("s3")
    s3.create_bucket(Bucket=B)
    s3.create_bucket(Bucket=f"{B}-empty")
    s3.put_object(Bucket=B, Key="there", Body=b"content")
    upload = s3.create_multipart_upload(Bucket=B, Key="parts")["UploadId"]
    etags = [
        s3.upload_part(Bucket=B, Key="parts", UploadId=upload, PartNumber=n, Body=b"x" * n)["ETag"].strip('"')
        for n in (1, 2)
    ]
    return There(server, upload, etags)


def ask(
    method: str, target: str, body: bytes = b"", payload: str | None = None, length: str | None = "", **headers: str
) -> Ask:
    """Headers with "_" for "-"."""
    path, _, query = target.partition("?")
    pairs = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return Ask(method, path.encode(), query.encode(), body, pairs, length, payload)


def document(method: str, target: str, text: str) -> Ask:
    """A document with its digest."""
    md5 = base64.b64encode(hashlib.md5(text.encode()).digest()).decode()
    return ask(method, target, text.encode(), content_md5=md5)


def complete(there: There, *parts: tuple[int, str], upload: str = "") -> Ask:
    inside = "".join(f"<Part><PartNumber>{n}</PartNumber><ETag>{etag}</ETag></Part>" for n, etag in parts)
    target = f"/{B}/parts?uploadId={upload or there.upload}"
    return ask("POST", target, f"<CompleteMultipartUpload>{inside}</CompleteMultipartUpload>".encode())


def tags(*pairs: tuple[str, str]) -> str:
    inside = "".join(f"<Tag><Key>{key}</Key><Value>{value}</Value></Tag>" for key, value in pairs)
    return f"<Tagging><TagSet>{inside}</TagSet></Tagging>"


def chunked(body: bytes, size: int) -> Ask:
    return ask("PUT", f"/{B}/no", body, "STREAMING-UNSIGNED-PAYLOAD-TRAILER", content_encoding="aws-chunked",
               x_amz_decoded_content_length=str(size), x_amz_trailer="x-amz-checksum-crc32")  # fmt: skip


Make = Callable[[There], Ask]
PRECONDITION = r"At least one of the pre-conditions you specified did not hold"
NOT_XML = r"The XML you provided was not well-formed or did not validate against our published schema"
TOO_LONG = "k" * 1025
#: What is sent -> status, code, message (a pattern), further elements of the error (patterns).
CASES: dict[str, tuple[Make | Ask, int, str, str, dict[str, str]]] = {
    # operations
    "a method that objects lack": (ask("PATCH", f"/{B}/there"), 405, "MethodNotAllowed",
        "The specified method is not allowed against this resource", {"Method": "PATCH", "ResourceType": "OBJECT"}),
    "a method that buckets lack": (ask("PATCH", f"/{B}"), 405, "MethodNotAllowed", "not allowed against", {"ResourceType": "BUCKET"}),
    "a POST to an object": (ask("POST", f"/{B}/there"), 405, "MethodNotAllowed", "not allowed against", {"Method": "POST"}),
    "a PUT to the service": (ask("PUT", "/"), 405, "MethodNotAllowed", "not allowed against", {"ResourceType": "SERVICE"}),
    "an operation that is not here": (ask("PUT", f"/{B}?website"), 501, "NotImplemented", "implies functionality that is not implemented", {}),
    # what is not there
    "no such bucket": (ask("GET", "/no-such-bucket-here"), 404, "NoSuchBucket", "The specified bucket does not exist",
        {"BucketName": "no-such-bucket-here"}),
    "no such key": (ask("GET", f"/{B}/missing%20%C3%BC"), 404, "NoSuchKey", r"The specified key does not exist\.", {"Key": "missing ü"}),
    "no such upload": (ask("PUT", f"/{B}/parts?uploadId=missing&partNumber=1", b"x"), 404, "NoSuchUpload",
        "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed", {"UploadId": "missing"}),
    "no such upload to complete": (lambda there: complete(there, (1, "x"), upload="missing"), 404, "NoSuchUpload", "specified upload", {}),
    "no such upload to abort": (ask("DELETE", f"/{B}/parts?uploadId=missing"), 404, "NoSuchUpload", "specified upload", {}),
    "no such policy": (ask("GET", f"/{B}?policy"), 404, "NoSuchBucketPolicy", "The bucket policy does not exist", {"BucketName": B}),
    "no such CORS rules": (ask("GET", f"/{B}?cors"), 404, "NoSuchCORSConfiguration", "The CORS configuration does not exist", {"BucketName": B}),
    "no such tags": (ask("GET", f"/{B}?tagging"), 404, "NoSuchTagSet", "The TagSet does not exist", {"BucketName": B}),
    # buckets
    "a bucket's name in capitals": (ask("PUT", "/Upper"), 400, "InvalidBucketName", r"The specified bucket is not valid\.", {"BucketName": "Upper"}),
    "a bucket's short name": (ask("PUT", "/ab"), 400, "InvalidBucketName", "not valid", {}),
    "a bucket's long name": (ask("PUT", f"/{'b' * 64}"), 400, "InvalidBucketName", "not valid", {}),
    "a bucket like an address": (ask("PUT", "/192.168.0.1"), 400, "InvalidBucketName", "not valid", {}),
    "a bucket with two dots": (ask("PUT", "/a..b"), 400, "InvalidBucketName", "not valid", {}),
    "a bucket in another region": (document("PUT", "/elsewhere", "<CreateBucketConfiguration><LocationConstraint>mars-1"
        "</LocationConstraint></CreateBucketConfiguration>"), 400, "InvalidLocationConstraint", "specified location-constraint is not valid", {}),
    "a bucket that is full": (ask("DELETE", f"/{B}"), 409, "BucketNotEmpty", "The bucket you tried to delete is not empty", {"BucketName": B}),
    # keys, metadata, tags
    "a long key": (ask("PUT", f"/{B}/{TOO_LONG}"), 400, "KeyTooLongError", "Your key is too long", {"Size": "1025", "MaxSizeAllowed": "1024"}),
    "a long key of few characters": (ask("PUT", f"/{B}/" + "%E2%98%83" * 342), 400, "KeyTooLongError", "too long", {"Size": "1026"}),
    "a path that is no UTF-8": (ask("GET", f"/{B}/%ff%fe"), 400, "InvalidURI", "", {}),
    "much metadata": (ask("PUT", f"/{B}/no", x_amz_meta_a="x" * 2048), 400, "MetadataTooLarge",
        "Your metadata headers exceed the maximum allowed metadata size", {"Size": "2049", "MaxSizeAllowed": "2048"}),
    "eleven tags": (ask("PUT", f"/{B}/no", x_amz_tagging="&".join(f"k{n}=v" for n in range(11))), 400, "BadRequest",
        "Object tags cannot be greater than 10", {}),
    "eleven tags in XML": (document("PUT", f"/{B}/there?tagging", tags(*[(f"k{n}", "v") for n in range(11)])), 400, "BadRequest",
        "Object tags cannot be greater than 10", {}),
    "the same tag twice": (document("PUT", f"/{B}/there?tagging", tags(("a", "b"), ("a", "c"))), 400, "InvalidTag",
        "Cannot provide multiple Tags with the same key", {"TagKey": "a"}),
    "a tag's long key": (document("PUT", f"/{B}/there?tagging", tags(("k" * 129, "v"))), 400, "InvalidTag", "The TagKey you have provided is invalid", {}),
    "a tag's long value": (document("PUT", f"/{B}/there?tagging", tags(("k", "v" * 257))), 400, "InvalidTag", "The TagValue you have provided is invalid", {}),
    "a tag of AWS's": (document("PUT", f"/{B}/there?tagging", tags(("aws:x", "v"))), 400, "InvalidTag", "", {}),
    "a tag with an odd character": (document("PUT", f"/{B}/there?tagging", tags(("a?", "v"))), 400, "InvalidTag", "The TagKey", {"TagKey": r"a\?"}),
    "51 tags of a bucket": (document("PUT", f"/{B}?tagging", tags(*[(f"k{n}", "v") for n in range(51)])), 400, "BadRequest", "50", {}),
    "a storage class of nobody": (ask("PUT", f"/{B}/no", x_amz_storage_class="CHEAP"), 400, "InvalidStorageClass",
        "The storage class you specified is not valid", {"StorageClassRequested": "CHEAP"}),
    # ranges and conditions
    "a range behind the end": (ask("GET", f"/{B}/there", range="bytes=7-"), 416, "InvalidRange", "The requested range is not satisfiable",
        {"RangeRequested": "bytes=7-", "ActualObjectSize": "7"}),
    "a part that is none": (ask("GET", f"/{B}/there?partNumber=2"), 416, "InvalidPartNumber", "The requested partnumber is not satisfiable",
        {"PartNumberRequested": "2", "ActualPartCount": "1"}),
    "range and part": (ask("GET", f"/{B}/there?partNumber=1", range="bytes=0-1"), 400, "InvalidRequest",
        "Cannot specify both Range header and partNumber query parameter", {}),
    "If-Match": (ask("GET", f"/{B}/there", if_match='"x"'), 412, "PreconditionFailed", PRECONDITION, {"Condition": "If-Match"}),
    "If-Unmodified-Since": (ask("GET", f"/{B}/there", if_unmodified_since="Thu, 01 Jan 1970 00:00:00 GMT"), 412, "PreconditionFailed",
        PRECONDITION, {"Condition": "If-Unmodified-Since"}),
    "If-None-Match of a write": (ask("PUT", f"/{B}/there", b"x", if_none_match="*"), 412, "PreconditionFailed", PRECONDITION, {"Condition": "If-None-Match"}),
    "If-Match of a write": (ask("PUT", f"/{B}/there", b"x", if_match='"x"'), 412, "PreconditionFailed", PRECONDITION, {"Condition": "If-Match"}),
    "If-Match of nothing": (ask("PUT", f"/{B}/missing", b"x", if_match='"x"'), 404, "NoSuchKey", "The specified key", {"Key": "missing"}),
    # integrity
    "another MD5": (ask("PUT", f"/{B}/no", b"x", content_md5=base64.b64encode(b"x" * 16).decode()), 400, "BadDigest",
        "The Content-MD5 you specified did not match what we received",
        {"ExpectedDigest": "eHh4eHh4eHh4eHh4eHh4eA==", "CalculatedDigest": "nd1PnGH6cqVk3Q0uMgKeVw==|neT+lGH6cqVk.*|.*"}),
    "an MD5 that is none": (ask("PUT", f"/{B}/no", b"x", content_md5="AAAA"), 400, "InvalidDigest", "The Content-MD5 you specified was invalid",
        {"Content-MD5": "AAAA"}),
    "another checksum": (ask("PUT", f"/{B}/no", b"x", x_amz_checksum_crc32=CRC), 400, "BadDigest",
        "The CRC32 you specified did not match the calculated checksum", {}),
    "a checksum that is none": (ask("PUT", f"/{B}/no", b"x", x_amz_checksum_crc32="AAAA"), 400, "InvalidRequest",
        "Value for x-amz-checksum-crc32 header is invalid", {}),
    "two checksums": (ask("PUT", f"/{B}/no", b"x", x_amz_checksum_crc32=CRC, x_amz_checksum_sha1="x"), 400, "InvalidRequest",
        "Expecting a single x-amz-checksum- header", {}),
    "another SHA-256 than was signed": (ask("PUT", f"/{B}/no", b"x", "0" * 64), 400, "XAmzContentSHA256Mismatch",
        "The provided 'x-amz-content-sha256' header does not match what was computed",
        {"ClientComputedContentSHA256": "0{64}", "S3ComputedContentSHA256": hashlib.sha256(b"x").hexdigest()}),
    "a trailing checksum of other bytes": (chunked(f"1\r\nx\r\n0\r\nx-amz-checksum-crc32:{CRC}\r\n\r\n".encode(), 1), 400, "BadDigest", "The CRC32", {}),
    # lengths
    "no length": (lambda there: ask("PUT", f"/{B}/no", b"1\r\nx\r\n0\r\n\r\n", UNSIGNED, None, transfer_encoding="chunked"), 411,
        "MissingContentLength", "You must provide the Content-Length HTTP header", {}),
    "less than told": (ask("PUT", f"/{B}/no", b"x", UNSIGNED, "5"), 400, "RequestTimeout",
        "|".join(("Your socket connection to the server was not read from or written to within the timeout period", "did not arrive")), {}),
    "cut in the middle of chunks": (chunked(b"5\r\nabc", 5), 400, "IncompleteBody", "You did not provide the number of bytes specified by the|", {}),
    "fewer bytes in chunks than told": (chunked(b"1\r\nx\r\n0\r\n\r\n", 9), 400, "IncompleteBody", "You did not provide the number of bytes", {}),
    "too large": (ask("PUT", f"/{B}/no", b"", UNSIGNED, str(5 * 1024**3 + 1)), 400, "EntityTooLarge",
        "Your proposed upload exceeds the maximum allowed size", {"ProposedSize": "5368709121", "MaxSizeAllowed": "5368709120"}),
    "a document that is too large": (ask("PUT", f"/{B}?cors", b"x" * (3 * MIB)), 400, "MaxMessageLengthExceeded|MalformedXML", "", {}),
    # documents
    "XML that ends early": (document("PUT", f"/{B}?cors", "<CORSConfiguration><CORSRule>"), 400, "MalformedXML", NOT_XML, {}),
    "no XML": (document("POST", f"/{B}?delete", "{}"), 400, "MalformedXML", NOT_XML, {}),
    "other XML": (document("PUT", f"/{B}/there?tagging", "<Other/>"), 400, "MalformedXML", "", {}),
    "an entity": (document("PUT", f"/{B}?cors", '<!DOCTYPE x [<!ENTITY a "b">]><CORSConfiguration/>'), 400, "MalformedXML", "", {}),
    "1001 keys to delete": (document("POST", f"/{B}?delete", "<Delete>" + "<Object><Key>k</Key></Object>" * 1001 + "</Delete>"), 400,
        "MalformedXML", NOT_XML, {}),
    "no digest of what to delete": (ask("POST", f"/{B}?delete", b"<Delete><Object><Key>k</Key></Object></Delete>"), 400, "InvalidRequest",
        "Missing required header for this request: Content-MD5", {}),
    "a policy that is none": (document("PUT", f"/{B}?policy", "no JSON"), 400, "MalformedPolicy", "Policies must be valid JSON|invalid Json", {}),
    # multipart
    "parts out of order": (lambda there: complete(there, (2, there.etags[1]), (1, there.etags[0])), 400, "InvalidPartOrder",
        "The list of parts was not in ascending order. Parts must be ordered by part number", {"UploadId": ".+"}),
    "a part that was not uploaded": (lambda there: complete(there, (1, there.etags[0]), (7, "0" * 32)), 400, "InvalidPart",
        r"One or more of the specified parts could not be found\.", {"PartNumber": "7", "ETag": "0{32}", "UploadId": ".+"}),
    "a part with another tag": (lambda there: complete(there, (1, "0" * 32)), 400, "InvalidPart", "One or more", {"PartNumber": "1"}),
    "a part that is too small": (lambda there: complete(there, (1, there.etags[0]), (2, there.etags[1])), 400, "EntityTooSmall",
        "Your proposed upload is smaller than the minimum allowed size",
        {"ProposedSize": "1", "MinSizeAllowed": str(5 * MIB), "PartNumber": "1", "ETag": ".+"}),
    "parts of another checksum type": (lambda there: complete(there, (1, there.etags[0])).header("x-amz-checksum-type", "COMPOSITE"), 400,
        "InvalidRequest", "The upload was created using the FULL_OBJECT checksum mode", {}),
    "a copy with tags of a third kind": (ask("PUT", f"/{B}/no", x_amz_copy_source=f"/{B}/there", x_amz_tagging_directive="MERGE"), 400,
        "InvalidArgument", r"Unknown tagging directive\.", {"ArgumentName": "x-amz-tagging-directive", "ArgumentValue": "MERGE"}),
    "a redirect to a script": (ask("PUT", f"/{B}/no", b"", x_amz_website_redirect_location="javascript:alert(1)"), 400,
        "InvalidRedirectLocation", "must have a prefix of 'http://' or 'https://' or '/'", {}),
    "no parts": (lambda there: complete(there), 400, "MalformedXML", "", {}),
    "part 0": (lambda there: ask("PUT", f"/{B}/parts?uploadId={there.upload}&partNumber=0", b"x"), 400, "InvalidArgument",
        "Part number must be an integer between 1 and 10000, inclusive", {"ArgumentName": "partNumber", "ArgumentValue": "0"}),
    "part 10,001": (lambda there: ask("PUT", f"/{B}/parts?uploadId={there.upload}&partNumber=10001", b"x"), 400, "InvalidArgument",
        "Part number must be", {"ArgumentValue": "10001"}),
    # copies
    "a copy to itself": (ask("PUT", f"/{B}/there", x_amz_copy_source=f"{B}/there"), 400, "InvalidRequest",
        "This copy request is illegal because it is trying to copy an object to itself without changing", {}),
    "a copy of nothing": (ask("PUT", f"/{B}/no", x_amz_copy_source=f"{B}/missing"), 404, "NoSuchKey", "The specified key", {"Key": "missing"}),
    "a copy from nowhere": (ask("PUT", f"/{B}/no", x_amz_copy_source="no-such-bucket-here/x"), 404, "NoSuchBucket", "bucket", {}),
    "a copy of no name": (ask("PUT", f"/{B}/no", x_amz_copy_source="x"), 400, "InvalidArgument",
        "Copy Source must mention the source bucket and key", {"ArgumentName": "x-amz-copy-source", "ArgumentValue": "x"}),
    "a copy with a condition": (ask("PUT", f"/{B}/no", x_amz_copy_source=f"{B}/there", x_amz_copy_source_if_match='"x"'), 412,
        "PreconditionFailed", PRECONDITION, {"Condition": "x-amz-copy-source-If-Match"}),
    "a copy of a range behind the end": (lambda there: ask("PUT", f"/{B}/parts?uploadId={there.upload}&partNumber=3", x_amz_copy_source=f"{B}/there",
        x_amz_copy_source_range="bytes=0-99"), 400, "InvalidArgument|InvalidRange", "", {}),
    # listings
    "a token of nobody": (ask("GET", f"/{B}?list-type=2&continuation-token=%21"), 400, "InvalidArgument", "The continuation token provided is incorrect",
        {"ArgumentName": "continuation-token"}),
    "max-keys that is none": (ask("GET", f"/{B}?list-type=2&max-keys=x"), 400, "InvalidArgument", "Provided max-keys not an integer or within integer range",
        {"ArgumentName": "max-keys", "ArgumentValue": "x"}),
    "max-keys below zero": (ask("GET", f"/{B}?max-keys=-1"), 400, "InvalidArgument", "", {"ArgumentValue": "-1"}),
    "an encoding of nobody": (ask("GET", f"/{B}?encoding-type=x"), 400, "InvalidArgument", "Invalid Encoding Method specified in Request", {}),
}  # fmt: skip


def fields(answer: Answer) -> dict[str, str]:
    return {child.tag: child.text or "" for child in ET.fromstring(answer.body)}


def check(answer: Answer, status: int, code: str, message: str, expected: dict[str, str]) -> None:
    assert answer.status == status, answer
    found = fields(answer)
    assert re.fullmatch(code, found["Code"]), found
    assert re.match(message, found["Message"]) or re.search(message, found["Message"]), found
    for name, pattern in expected.items():
        assert re.fullmatch(pattern, found.get(name, "-")), (name, pattern, found)
    assert answer.headers["content-type"] == "application/xml"
    assert found["RequestId"] == answer.headers["x-amz-request-id"] and found["HostId"] == answer.headers["x-amz-id-2"]


@pytest.mark.parametrize("case", CASES)
def test_what_the_answer_is(there: There, case: str) -> None:
    made, status, code, message, expected = CASES[case]
    answer = there.send(there.sign(made if isinstance(made, Ask) else made(there)))
    check(answer, status, code, message, expected)
    if status != 412 and (not isinstance(made, Ask) or made.length == ""):
        rest = there.server.client("s3").list_objects_v2(Bucket=B)
        assert [row["Key"] for row in rest["Contents"]] == ["there"]


def presigned(server: ServerProcess, seconds: int, ago_s: int = 0) -> Ask:
    """A GET of the object that is there."""
    from botocore.auth import S3SigV4QueryAuth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    request = AWSRequest("GET", f"{server.url}/{B}/there")
    signer = S3SigV4QueryAuth(Credentials(*server.key), "s3", "us-east-1", expires=seconds)
    then = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=ago_s)

    class Then(datetime.datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime.datetime:
            return then

    import botocore.auth

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.auth, "get_current_datetime", lambda *_, **__: then.replace(tzinfo=None), raising=False)
        signer.add_auth(request)
    parts = urllib.parse.urlsplit(request.url)
    return Ask("GET", parts.path.encode(), parts.query.encode(), headers=(("host", parts.netloc),))


def test_signatures(there: There) -> None:
    good = there.sign(ask("GET", f"/{B}/there"))
    assert there.send(good).status == 200
    authorization = dict(good.headers)["authorization"]

    def with_(text: str) -> Ask:
        return good.without("authorization").header("authorization", text)

    wrong = there.send(with_(authorization[:-4] + "0000"))
    check(wrong, 403, "SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided", {
        "AWSAccessKeyId": there.server.key[0], "SignatureProvided": ".*0000", "StringToSign": r"AWS4-HMAC-SHA256\n\d{8}T\d{6}Z\n[^\n]*\n[0-9a-f]{64}",
        "StringToSignBytes": "41 57 53 34 .*", "CanonicalRequest": rf"(?s)GET\n/{B}/there\n.*", "CanonicalRequestBytes": "47 45 54 .*"})  # fmt: skip
    assert there.server.key[1].encode() not in wrong.body
    unknown = there.send(with_(authorization.replace(there.server.key[0], "AKIAUNKNOWN000000000")))
    check(unknown, 403, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records",
          {"AWSAccessKeyId": "AKIAUNKNOWN000000000"})  # fmt: skip
    check(
        there.send(with_("AWS key:signature")), 400, "InvalidRequest", "not supported. Please use AWS4-HMAC-SHA256", {}
    )
    check(
        there.send(with_("Nonsense")),
        400,
        "InvalidArgument|AuthorizationHeaderMalformed",
        "Unsupported|authorization",
        {},
    )
    check(there.send(with_(authorization.replace("us-east-1", "mars-1"))), 400, "AuthorizationHeaderMalformed",
          "the region 'mars-1' is wrong; expecting 'us-east-1'", {"Region": "us-east-1"})  # fmt: skip
    anonymous = replace(good, headers=(("host", dict(good.headers)["host"]),))
    check(there.send(anonymous), 403, "AccessDenied", "", {})
    late = good.without("x-amz-date", "authorization").header("x-amz-date", "20200101T000000Z")
    check(there.send(late.header("authorization", re.sub(r"/\d{8}/", "/20200101/", authorization))), 403, "RequestTimeTooSkewed",
          "The difference between the request time and the current time is too large",
          {"RequestTime": "20200101T000000Z", "ServerTime": ".*Z", "MaxAllowedSkewMilliseconds": "900000"})  # fmt: skip
    unsigned = good.without("x-amz-content-sha256")
    assert there.send(unsigned).status in (400, 403)


def test_presigned_urls(there: There) -> None:
    assert there.send(presigned(there.server, 60)).status == 200
    expired = there.send(presigned(there.server, 60, ago_s=120))
    check(expired, 403, "AccessDenied", "Request has expired",
          {"X-Amz-Expires": "60", "Expires": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "ServerTime": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"})  # fmt: skip
    early = there.send(presigned(there.server, 60, ago_s=-3600))
    check(early, 403, "AccessDenied", "Request is not yet valid", {})
    long = there.send(presigned(there.server, 7 * 86_400 + 1))
    check(long, 400, "AuthorizationQueryParametersError", "X-Amz-Expires must be", {})
    assert there.send(presigned(there.server, 7 * 86_400)).status == 200
    good = presigned(there.server, 60)
    wrong = there.send(replace(good, query=good.query[:-4] + b"0000"))
    check(
        wrong,
        403,
        "SignatureDoesNotMatch",
        "does not match",
        {"StringToSign": "(?s)AWS4-HMAC-SHA256.*", "CanonicalRequest": "(?s)GET.*"},
    )


HEADS = {
    "no such key": (ask("HEAD", f"/{B}/missing"), 404), "no such bucket": (ask("HEAD", "/no-such-bucket-here"), 404),
    "no such bucket of a key": (ask("HEAD", "/no-such-bucket-here/x"), 404), "a range": (ask("HEAD", f"/{B}/there", range="bytes=9-"), 416),
    "a condition": (ask("HEAD", f"/{B}/there", if_match='"x"'), 412), "a bad number": (ask("HEAD", f"/{B}/there?partNumber=x"), 400),
    "a bad path": (ask("HEAD", f"/{B}/%ff"), 400),
}  # fmt: skip


@pytest.mark.parametrize("case", HEADS)
def test_errors_of_head_have_no_body(there: There, case: str) -> None:
    made, status = HEADS[case]
    with socket.create_connection(("127.0.0.1", there.server.port), timeout=10) as connection:
        connection.sendall(there.sign(made).wire())
        said = b""
        while not said.endswith(b"\r\n\r\n"):
            said += connection.recv(65_536)
        assert said.startswith(b"HTTP/1.1 %d" % status) and b"x-amz-request-id" in said
        # What follows the head is the next answer.
        connection.sendall(there.sign(ask("GET", f"/{B}/there")).wire())
        after = connection.recv(65_536)
        assert after.startswith(b"HTTP/1.1 200"), after


def test_errors_of_deletes_are_in_the_list(there: There) -> None:
    text = f'<Delete><Object><Key>{TOO_LONG}</Key></Object><Object><Key>there</Key><ETag>"x"</ETag></Object><Object><Key>gone</Key></Object></Delete>'
    answer = there.send(there.sign(document("POST", f"/{B}?delete", text)))
    root = ET.fromstring(answer.body)
    rows = [{child.tag.rpartition("}")[2]: child.text for child in row} for row in root]
    assert answer.status == 200 and rows[0] == {"Key": "gone"}
    assert {(row["Key"], row["Code"]) for row in rows[1:]} == {
        (TOO_LONG, "KeyTooLongError"),
        ("there", "PreconditionFailed"),
    }


def test_policies_of_other_buckets_are_refused(there: There) -> None:
    for statement, message in (
        ({"Resource": "arn:aws:s3:::other/*"}, "Policy has invalid resource"),
        ({"Action": "sqs:SendMessage"}, "Policy has invalid action|Action does not apply"),
    ):
        whole = {
            "Effect": "Allow",
            "Principal": "*",
            "Action": "s3:GetObject",
            "Resource": f"arn:aws:s3:::{B}/*",
        } | statement
        policy = json.dumps({"Version": "2012-10-17", "Statement": [whole]})
        answer = there.send(there.sign(document("PUT", f"/{B}?policy", policy)))
        check(answer, 400, "MalformedPolicy", message, {})
