"""Requests for every operation of the object service that are valid in shape, and then spoilt in one place or more.

All of it comes from a ``random.Random``, so that a seed says everything again.
"""

from __future__ import annotations

import base64
import hashlib
import random
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

from botocore.model import ListShape, MapShape, Shape, StructureShape

from sluiceway.edges.s3.router import SUBRESOURCES

from . import forms
from .raw import Plain, model, serialized
from .s3_wire import UNSIGNED, Ask

TEXTS = ["", "x", "nobody", "a" * 300, "x" * 3000, "ü☃\U0001f600", "a\x00b", "\x1b[31m", "-1", "1e999", "9" * 40, "true", "null",
         "{}", "[]", '{"a":', "%", "%00", "%zz", "../..", "..", ".", "/", "//", ":", "arn:aws:::::", "arn:aws:iam::000000000000:root",
         "arn:aws:sqs:us-east-1:000000000000:nobody", "arn:aws:s3:::fuzzed", "arn:aws:kms:us-east-1:000000000000:key/x",
         "http://[", "s3://x/y", "2020-13-45T99:99:99Z", "*", "$.a", "a=b&c=d", "<a>&", "]]>", "<![CDATA[x]]>", "AAAA", "====", "²",
         "١", "\u2028", "\u202e", "null", "Enabled", "Mon, 99 Foo 99999 99:99:99 GMT", "bytes=0-1", "bytes=5-2", "bytes=-0", '"x"',
         "W/\"x\"", "a,b,c", ";", "aws:x=1", "s3:ObjectCreated:*", "\xff\xfe", "\ufffe", "\t", " ", "  a  b  "]  # fmt: skip
NUMBERS = [
    0,
    1,
    -1,
    2,
    7,
    100,
    999,
    1000,
    1001,
    10_000,
    10_001,
    10**6,
    2**31 - 1,
    2**31,
    2**53,
    2**63 - 1,
    -(2**63),
    2**64,
    10**30,
]
METHODS = ["GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "PATCH", "TRACE", "get", "PROPFIND", "BREW", "M" * 300]
PATHS = [b"/%", b"/%zz", b"/fuzzed/%", b"/fuzzed/%zz%1", b"/fuzzed/%00", b"/fuzzed/%ff%fe", b"/fuzzed/%c0%ae", b"/fuzzed//", b"//",
         b"/fuzzed/..%2f..", b"/../../etc/passwd", b"/fuzzed/" + b"k" * 1025, b"/fuzzed/" + b"%E2%98%83" * 350, b"/FUZZED/x",
         b"/fu", b"/" + b"b" * 64, b"/xn--b", b"/192.168.0.1/x", b"/fuzzed.", b"/a..b/x", b"/fuzzed/a+b", b"/fuzzed/%2B%20+",
         b"/fuzzed/;x=1", b"/fuzzed/[x]{y}|^`", b"/fuzzed/%0d%0aset-cookie:a", b"/_sluiceway/health", b"/fuzzed/\xc3\xbc",
         b"/%66uzzed/x", b"/fuzzed%2Fkept%2Finline", b"/fuzzed/" + b"/" * 900, b"/fuzzed/%ED%A0%80", b"*"]  # fmt: skip
HEADERS: dict[str, list[str]] = {
    "content-md5": ["", "x", "AAAA", "====", "1B2M2Y8AsgTpgAmY7PhCfg==", "1B2M2Y8AsgTpgAmY7PhCfg==" * 9, "\xff"],
    "x-amz-checksum-crc32": ["", "AAAAAA==", "x", "AAAA", "/////w==", "AAAAAA==-3"], "x-amz-checksum-crc32c": ["AAAAAA==", "!"],
    "x-amz-checksum-crc64nvme": ["AAAAAAAAAAA=", "AAAA"], "x-amz-checksum-sha1": ["2jmj7l5rSw0yVb/vlWAYkK/YBwk=", "="],
    "x-amz-checksum-sha256": ["47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", "x"], "x-amz-checksum-md5": ["AAAA"],
    "x-amz-checksum-algorithm": ["CRC32", "crc32c", "SHA256", "MD4", "", "CRC64NVME"],
    "x-amz-checksum-type": ["FULL_OBJECT", "COMPOSITE", "x"], "x-amz-checksum-mode": ["ENABLED", "x"],
    "x-amz-sdk-checksum-algorithm": ["CRC32", "SHA1", "x"], "x-amz-trailer": ["x-amz-checksum-crc32", "x", ",,", "x-amz-checksum-x"],
    "x-amz-decoded-content-length": ["0", "5", "-1", "x", "9" * 30, ""], "content-encoding": ["aws-chunked", "gzip", ",,", "aws-chunked,"],
    "transfer-encoding": ["chunked", "gzip, chunked", "x"], "expect": ["100-continue", "x"],
    "range": ["bytes=0-0", "bytes=-1", "bytes=9-", "bytes=99999999-", "bytes=-0", "bytes=", "x=1-2", "bytes=1-2,4-5", "bytes=" + "9" * 300 + "-"],
    "x-amz-copy-source": ["", "/", "fuzzed", "fuzzed/kept/inline", "/fuzzed/kept/large", "fuzzed/kept/parts?versionId=null", "missing/x",
                          "fuzzed/missing", "wild/%zz", "wild/%00", "%ff/%fe", "fuzzed/kept/inline?versionId=", "arn:aws:s3:::fuzzed/kept/inline",
                          "fuzzed/kept/inline?x=y&versionId=null", "a" * 3000],
    "x-amz-copy-source-range": ["bytes=0-0", "bytes=0-", "bytes=-5", "bytes=5-0", "bytes=0-99999999999999999999", "x", "bytes=0-5,7-9"],
    "x-amz-copy-source-if-match": ["x", "*", ""], "x-amz-copy-source-if-modified-since": ["x", "Thu, 01 Jan 1970 00:00:00 GMT"],
    "x-amz-metadata-directive": ["COPY", "REPLACE", "x"], "x-amz-tagging-directive": ["COPY", "REPLACE", "x"],
    "x-amz-tagging": ["a=b", "a", "=", "&&&", "a=b&a=c", "%zz=%00", "aws:a=b", "&".join(f"k{n}=v" for n in range(12)), "k" * 200 + "=" + "v" * 300, "\xff=\xfe"],
    "x-amz-meta-x": ["", "x" * 2100, "\xfc", "=?utf-8?q?=ff=fe?=", "=?utf-8?b?/////w==?=", "=?x?q?y?=", "\xed\xa0\x80"],
    "x-amz-meta-": ["x"], "x-amz-acl": ["private", "public-read", "x", "bucket-owner-full-control", "log-delivery-write"],
    "x-amz-grant-read": ["id=x", "uri=http://acs.amazonaws.com/groups/global/AllUsers", "x", 'emailAddress="a@b.c"', ""],
    "x-amz-grant-full-control": ["id=", "id=x, id=y", "=,=,="], "x-amz-object-ownership": ["BucketOwnerEnforced", "ObjectWriter", "x"],
    "x-amz-storage-class": ["STANDARD", "STANDARD_IA", "GLACIER", "x", ""],
    "x-amz-server-side-encryption": ["AES256", "aws:kms", "aws:kms:dsse", "x"],
    "x-amz-server-side-encryption-aws-kms-key-id": ["x", "arn:aws:kms:us-east-1:000000000000:key/x"],
    "x-amz-server-side-encryption-context": ["x", "e30=", "e"], "x-amz-server-side-encryption-bucket-key-enabled": ["true", "x"],
    "x-amz-server-side-encryption-customer-algorithm": ["AES256", "x"], "x-amz-server-side-encryption-customer-key": ["x", "A" * 44],
    "x-amz-object-lock-mode": ["GOVERNANCE", "x"], "x-amz-bucket-object-lock-enabled": ["true", "x"],
    "x-amz-expected-bucket-owner": ["000000000000", "1", ""], "x-amz-source-expected-bucket-owner": ["000000000000", "x"],
    "x-amz-mfa": ["x 1"], "x-amz-request-payer": ["requester", "x"], "x-amz-bypass-governance-retention": ["true", "x"],
    "x-amz-website-redirect-location": ["/x", "x", "http://" + "x" * 3000], "x-amz-mp-object-size": ["0", "-1", "x", "9" * 40],
    "x-amz-write-offset-bytes": ["0", "x"], "x-amz-optional-object-attributes": ["RestoreStatus", "x"],
    "x-amz-object-attributes": ["ETag", "x", "ETag,Checksum,ObjectParts,ObjectSize,StorageClass", ""], "x-amz-max-parts": ["0", "x", "-1", "9" * 30],
    "x-amz-part-number-marker": ["0", "x", "-1", "9" * 30], "x-amz-skip-destination-validation": ["true", "x"],
    "x-amz-security-token": ["x", ""], "if-match": ["*", '"x"', "", "x,y", "\xff"], "if-none-match": ["*", '"x"', "", "W/x"],
    "if-modified-since": ["x", "Thu, 01 Jan 1970 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT", "Mon, 01 Jan 0001 00:00:00 -2359",
                          "Fri, 31 Dec 9999 23:59:59 -2359"],
    "if-unmodified-since": ["x", "Thu, 01 Jan 1970 00:00:00 GMT", "1", "Mon, 01 Jan 0001 00:00:00 +2359"], "content-type": ["", "x", "\xff", "a/b; c=" + "d" * 3000],
    "cache-control": ["x\ty", "\xff"], "content-disposition": ['attachment; filename="\xfc"'], "expires": ["x", "0", "9" * 30],
    "content-language": ["\xff"], "origin": ["http://x", "null", "\xff"], "access-control-request-method": ["PUT", "x"], "x-amz-unknown": ["x"],
    "if-match-last-modified-time": ["x"], "x-amz-if-match-size": ["x", "-1"], "x-amz-if-match-last-modified-time": ["x"],
    "date": ["x"], "connection": ["close", "upgrade"], "upgrade": ["h2c", "websocket"], "accept-encoding": ["x"], "content-length": ["0"],
}  # fmt: skip
PARAMETERS = ["versionId", "partNumber", "uploadId", "max-keys", "max-parts", "max-uploads", "max-buckets", "prefix", "delimiter", "marker",
              "key-marker", "version-id-marker", "upload-id-marker", "part-number-marker", "continuation-token", "start-after", "fetch-owner",
              "encoding-type", "list-type", "response-content-type", "response-expires", "response-content-disposition", "x-id", "id",
              "bucket-region", "select-type", "X-Amz-Date", "X-Amz-Foo", "AWSAccessKeyId", "unheard-of"]  # fmt: skip
_LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
DOCUMENTS = [
    f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY l0 "ha">{_LAUGHS}]><x>&l9;</x>', '<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]><x>&f;</x>',
    "<x>" * 20_000, "<x>" + "<a/>" * 50_000 + "</x>", "<x", "</x>", "<x/>", "<x/><x/>", "{}", "[" * 3000, "\0", "\ufeff<x/>", '<?xml version="9"?><x/>',
    '<?xml version="1.0" encoding="utf-16"?><x/>', '<?xml version="1.0" encoding="x"?><x/>', "<a:x/>", '<x xmlns="urn:x"/>', "<x>&nope;</x>",
    "<x>&#0;</x>", "<x>&#xD800;</x>", "<x>&#1114112;</x>", "<!--", "<![CDATA[", "<?", "x" * 100_000, "\xff\xfe", "<x>]]></x>",
]  # fmt: skip


_FIELDS = ["acl", "tagging", "success_action_status", "success_action_redirect", "redirect", "bucket", "Policy", "submit", "x-ignore-a",
           "Content-Type", "AWSAccessKeyId", "signature", "x-amz-signature", "x-amz-credential", "x-amz-date"]  # fmt: skip
_CONDITIONS: list[Any] = [
    {"bucket": "wild"}, ["starts-with", "$key", ""], ["starts-with", "$key", "form/"], ["eq", "$key", "x"], ["content-length-range", 0, 10**7],
    ["content-length-range", -1, "x"], ["content-length-range", 5, 1], ["eq", "$x"], [], {}, 5, None, "x", [[]], {"a": {}}, ["starts-with", 5, {}],
    ["starts-with", "$", ""], ["contains", "$key", "x"], {"acl": 5}, ["starts-with", "$content-type", "image/"],
]  # fmt: skip
_POLICIES: list[Any] = [b"", b"x", b"[" * 5000, b"{}", b"null", b'{"expiration": 5, "conditions": 5}', b'{"expiration": "x", "conditions": []}',
                        b'{"expiration": "9999-12-31T23:59:59.999Z"}', b'{"expiration": "2030-01-01T00:00:00Z", "conditions": {}}', b"\xff"]  # fmt: skip
#: Members that are refused whatever else there is.
_RARE = ("SSE", "CopySourceSSE", "ObjectLock", "Grant", "EventBridge")


@dataclass
class Nonsense:
    """``known`` are values of members that mean something that is there, by the members' names."""

    chance: random.Random
    known: dict[str, list[Any]]

    def request(self, operation: str, spoil: bool = True) -> tuple[Ask, bool]:
        """A request for the operation, and whether it is still one for it."""
        shape = model("s3").operation_model(operation).input_shape
        plain = self._serialized(operation, shape)
        path, _, query = plain.path.partition("?")
        ask = Ask(plain.method, path.encode(), query.encode(), plain.body, tuple(_printable(plain)))
        if self._needs_digest(operation, ask):
            digest = base64.b64encode(hashlib.md5(ask.body).digest()).decode()
            ask = ask.header("content-md5", digest)
        about = (ask.method, ask.path, ask.query)
        for _ in range(self.chance.choice((0, 1, 1, 1, 2, 3)) if spoil else 0):
            ask = self.chance.choice(_SPOILERS)(self, ask)
        return ask, (ask.method, ask.path, ask.query) == about

    def _needs_digest(self, operation: str, ask: Ask) -> bool:
        checksum = model("s3").operation_model(operation).http_checksum or {}
        named = any(name.lower().startswith(("x-amz-checksum-", "content-md5")) for name, _ in ask.headers)
        return bool(checksum.get("requestChecksumRequired")) and not named and self.chance.random() < 0.9

    def _serialized(self, operation: str, shape: Shape | None) -> Plain:
        """What does not even fit the wire is thrown again."""
        for _ in range(50):
            params = self._value(shape) if shape is not None else {}
            for name, member in (shape.members if isinstance(shape, StructureShape) else {}).items():
                if (
                    name in self.known
                    and (name in params or name in shape.required_members)
                    and self.chance.random() < 0.93
                ):
                    params[name] = self.chance.choice(self.known[name])
                if member.serialization.get("location") == "uri":
                    params[name] = str(params.get(name) or "x")
                if member.type_name == "blob" and name == "Body":
                    params[name] = self._body()
            try:
                return serialized("s3", operation, params)
            except (TypeError, ValueError, AttributeError, OverflowError, KeyError):
                continue
        return serialized("s3", operation, {"Bucket": "fuzzed", "Key": "x", "UploadId": "x", "PartNumber": 1})

    def _body(self) -> bytes:
        return self.chance.randbytes(self.chance.choice((0, 1, 10, 1000, 65_536, 65_537, 200_000)))

    def _value(self, shape: Shape, depth: int = 0) -> Any:
        chance = self.chance
        if isinstance(shape, StructureShape):
            often = 0.6 if depth else min(0.3, 3 / (len(shape.members) + 1))
            return {
                name: self._value(member, depth + 1)
                for name, member in shape.members.items()
                if depth < 6
                and (name in shape.required_members or chance.random() < often)
                and (not name.startswith(_RARE) or chance.random() < 0.1)
            }
        if isinstance(shape, ListShape):
            return [
                self._value(shape.member, depth + 1)
                for _ in range(chance.choice((0, 1, 1, 2, 3, 12)) if depth < 6 else 0)
            ]
        if isinstance(shape, MapShape):
            return {self.text(): self._value(shape.value, depth + 1) for _ in range(chance.choice((0, 1, 1, 2)))}
        kind = shape.type_name
        if kind == "string":
            enum = getattr(shape, "enum", None)
            return chance.choice(enum) if enum and chance.random() < 0.8 else self.text()
        if kind in ("integer", "long"):
            return chance.choice(NUMBERS)
        if kind == "boolean":
            return chance.random() < 0.5
        if kind == "timestamp":
            return chance.choice([0, 1, 1_700_000_000, 4_000_000_000])
        return chance.choice([b"", b"x", b"\x00\xff" * 40, b"{}"])

    def form(self, host: str, key: tuple[str, str]) -> Ask:
        """A browser's form, spoilt."""
        chance = self.chance
        fields = {"key": chance.choice(["form/${filename}", "form/x", "${filename}"] * 3 + ["", self.text()])}
        for name in chance.sample([*HEADERS, *_FIELDS], chance.choice((0, 0, 1, 2, 4))):
            fields[name] = chance.choice(HEADERS.get(name) or [self.text(), "201", "https://x/?a=b"])
        conditions = None if chance.random() < 0.6 else chance.sample(_CONDITIONS, chance.choice((0, 1, 3)))
        if chance.random() < 0.9:
            document = None if chance.random() < 0.9 else chance.choice(_POLICIES)
            fields = forms.signed(key, "wild", fields, conditions, document=document)
        pairs: list[tuple[str, str | bytes]] = [(name, value) for name, value in fields.items()]
        if chance.random() < 0.3:
            pairs.insert(chance.randrange(len(pairs) + 1), (self.text(), self.text()))
        if chance.random() < 0.2:
            pairs.append(chance.choice(pairs))
        filename = chance.choice(("a.txt", "", "größe.txt", "../../x", 'a"b', "x" * 2000))
        body = forms.body(pairs, chance.choice((b"", b"x", self._body(), None)), filename)
        about = (("host", host), ("content-type", forms.content_type()))
        ask = Ask("POST", b"/wild", b"", body, about)
        for _ in range(chance.choice((0, 0, 1, 2))):
            ask = chance.choice((_cut_body, _flipped_body, _other_body, _length, _odd_header, _twice, _odd_parameter))(
                self, ask
            )
        return ask

    def text(self) -> str:
        """Any text."""
        return self.chance.choice(TEXTS)


def _printable(plain: Plain) -> list[tuple[str, str]]:
    """Its headers; what would end one stays out, as that is no header but HTTP."""
    return [
        (name, "".join(c for c in str(value).encode().decode("latin-1") if c >= " " and c != "\x7f"))
        for name, value in plain.headers.items()
        if name.isascii() and name.replace("-", "").isalnum()
    ]


def _odd_header(n: Nonsense, ask: Ask) -> Ask:
    name = n.chance.choice(list(HEADERS))
    ask = ask if n.chance.random() < 0.3 else ask.without(name)
    return ask.header(name, n.chance.choice(HEADERS[name]))


def _twice(n: Nonsense, ask: Ask) -> Ask:
    return ask.header(*n.chance.choice(ask.headers)) if ask.headers else _odd_header(n, ask)


def _lost_header(n: Nonsense, ask: Ask) -> Ask:
    return ask.without(n.chance.choice(ask.headers)[0]) if ask.headers else ask


def _cut_body(n: Nonsense, ask: Ask) -> Ask:
    return replace(ask, body=ask.body[: n.chance.randrange(len(ask.body) + 1)])


def _flipped_body(n: Nonsense, ask: Ask) -> Ask:
    body = bytearray(ask.body)
    for _ in range(n.chance.choice((1, 5)) if body else 0):
        body[n.chance.randrange(len(body))] = n.chance.randrange(256)
    return replace(ask, body=bytes(body))


def _other_body(n: Nonsense, ask: Ask) -> Ask:
    document = n.chance.choice(DOCUMENTS)
    root = ask.body.partition(b"<")[2].partition(b" ")[0].partition(b">")[0].decode("latin-1")
    if root.isalpha() and n.chance.random() < 0.7:
        document = document.replace("<x", f"<{root}").replace("</x", f"</{root}")
    return replace(ask, body=document.encode())


def _random_body(n: Nonsense, ask: Ask) -> Ask:
    return replace(ask, body=n._body())


def _true_digest(n: Nonsense, ask: Ask) -> Ask:
    """After a body was spoilt, so that its reader sees it."""
    digest = base64.b64encode(hashlib.md5(ask.body).digest()).decode()
    return ask.without("content-md5").header("content-md5", digest)


def _spoilt_document(n: Nonsense, ask: Ask) -> Ask:
    return _true_digest(n, n.chance.choice((_cut_body, _flipped_body, _other_body))(n, ask))


def _odd_parameter(n: Nonsense, ask: Ask) -> Ask:
    name = n.chance.choice(PARAMETERS)
    value = n.chance.choice((n.text(), str(n.chance.choice(NUMBERS))))
    return replace(
        ask, query=b"&".join(part for part in (ask.query, f"{name}={quote(value, safe='')}".encode()) if part)
    )


def _subresource(n: Nonsense, ask: Ask) -> Ask:
    name = n.chance.choice(
        [*sorted(SUBRESOURCES), "unheard-of", "ACL", "acl=x", "%61cl", "%zz", "%ff", "=", "&&", "\xfc"]
    )
    parts = [ask.query, name.encode()]
    return replace(ask, query=b"&".join(part for part in (parts if n.chance.random() < 0.5 else parts[::-1]) if part))


def _query_twice(n: Nonsense, ask: Ask) -> Ask:
    return replace(ask, query=ask.query + b"&" + ask.query)


def _no_query(n: Nonsense, ask: Ask) -> Ask:
    parts = ask.query.split(b"&")
    parts.pop(n.chance.randrange(len(parts)))
    return replace(ask, query=b"&".join(parts))


def _method(n: Nonsense, ask: Ask) -> Ask:
    return replace(ask, method=n.chance.choice(METHODS))


def _path(n: Nonsense, ask: Ask) -> Ask:
    if n.chance.random() < 0.3:
        bucket = n.chance.choice(n.known["Bucket"]).encode()
        noise = quote(n.chance.randbytes(n.chance.choice((1, 3, 30))), safe="").encode()
        return replace(ask, path=b"/" + bucket + b"/" + noise)
    return replace(ask, path=n.chance.choice(PATHS))


def _length(n: Nonsense, ask: Ask) -> Ask:
    size = len(ask.body)
    lies = [
        None,
        "0",
        str(size // 2),
        str(size + 1),
        str(size + 10_000),
        "-1",
        "x",
        "9" * 30,
        f"{size}, {size}",
        f"+{size}",
        str(6 * 2**30),
    ]
    return replace(ask, length=n.chance.choice(lies))


def _payload(n: Nonsense, ask: Ask) -> Ask:
    return replace(ask, payload=n.chance.choice(_PAYLOADS))


def _chunked(n: Nonsense, ask: Ask) -> Ask:
    """As SDKs send a stream: in chunks, with a checksum after them; now and then with a fault."""
    chunk = n.chance.choice((1000, 65_536))
    pieces = [ask.body[at : at + chunk] for at in range(0, min(len(ask.body), 50 * chunk), chunk)]
    sizes = [f"{len(piece):x}" for piece in pieces]
    if n.chance.random() < 0.3 and sizes:
        sizes[n.chance.randrange(len(sizes))] = n.chance.choice(("zz", "-1", "", "fffffffffffff", "1;x=y", "0"))
    body = b"".join(size.encode() + b"\r\n" + piece + b"\r\n" for size, piece in zip(sizes, pieces, strict=True))
    crc = base64.b64encode(zlib.crc32(ask.body).to_bytes(4, "big")).decode()
    crc = n.chance.choice((crc, crc, crc, "AAAAAA==", "x", ""))
    body += f"0\r\nx-amz-checksum-crc32:{crc}\r\n\r\n".encode()
    size = str(n.chance.choice((len(ask.body), len(ask.body), len(ask.body) + 1, 0)))
    ask = (
        ask.without("content-md5")
        .header("x-amz-decoded-content-length", size)
        .header("x-amz-trailer", "x-amz-checksum-crc32")
    )
    return replace(ask, body=body, payload="STREAMING-UNSIGNED-PAYLOAD-TRAILER").header(
        "content-encoding", "aws-chunked"
    )


_SPOILERS: list[Callable[[Nonsense, Ask], Ask]] = [
    _odd_header, _odd_header, _odd_header, _odd_header, _twice, _lost_header, _cut_body, _flipped_body, _random_body, _spoilt_document,
    _spoilt_document, _spoilt_document, _odd_parameter, _odd_parameter, _subresource, _query_twice, _no_query, _method, _path, _length,
    _payload, _chunked, _chunked,
]  # fmt: skip
_PAYLOADS = [UNSIGNED, "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
             "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD", "0" * 64, "x", "", "F" * 64]  # fmt: skip
