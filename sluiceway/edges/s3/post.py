"""POST Object: an upload by a browser's form (S3 API reference, "Browser-based uploads using POST").

A form is a PutObject whose headers are fields. So it is read up to its file, checked, and made a call of
PutObject on behalf of who signed it; the file then streams where a PUT's body would.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Final
from urllib.parse import quote, urlencode, urlsplit

from sluiceway.core.identity import ANONYMOUS
from sluiceway.edges.aws.codecs.xmls import escape
from sluiceway.edges.http import Headers, Request, Response
from sluiceway.edges.s3.address import Address
from sluiceway.edges.s3.admission import admit
from sluiceway.edges.s3.body import receive_file
from sluiceway.edges.s3.call import Call
from sluiceway.edges.s3.checksums import Promise
from sluiceway.edges.s3.deciding import is_free
from sluiceway.edges.s3.form import FormReader
from sluiceway.edges.s3.form_policy import Sizes, parse_policy
from sluiceway.edges.s3.headers import KEPT
from sluiceway.edges.s3.hoisted import NAME, UNSAFE
from sluiceway.edges.s3.put import put_content, stored_headers
from sluiceway.edges.s3.tagging import tag_pairs
from sluiceway.edges.sigv4 import Verified
from sluiceway.edges.sigv4_forms import missing_field, verify_form
from sluiceway.errors import Invalid, TooLarge
from sluiceway.services.objects.values import Content, StoredObject

#: What of the request itself policies may look at.
_OF_REQUEST: Final = ("host", "user-agent", "referer")
_AS_HEADERS: Final = frozenset({*KEPT, "content-type", "content-md5"})
#: Fields of the form's signature, and headers that would speak of another body or another object.
_NO_HEADERS: Final = (
    "x-amz-algorithm",
    "x-amz-content-sha256",
    "x-amz-copy-source",
    "x-amz-credential",
    "x-amz-date",
    "x-amz-decoded-content-length",
    "x-amz-security-token",
    "x-amz-signature",
    "x-amz-trailer",
)
_URL_SAFE: Final = "!#$%&'()*+,/:;=?@[]~"


async def post_object(call: Call) -> Response:
    """Store a form's file; the answer is the one that the form asks for."""
    form = FormReader(call.request.headers.get("content-type"), call.tools.limits.form_bytes_max)
    if call.principal is not ANONYMOUS:
        raise Invalid("argument", "Only one auth mechanism allowed: a form is signed in its fields.")
    announced = _announced(call)
    chunks = await _up_to_file(call, form)
    fields = form.filled()
    if "key" not in fields:
        raise missing_field("key")
    if not fields["key"]:
        raise Invalid("argument", "User key must have a length greater than 0.", ArgumentName="key", ArgumentValue="")
    verified = verify_form(call.tools.verifier, fields)
    sizes = _sizes(call, fields, announced)
    put = _as_put(call, fields, verified)
    if not is_free(put, put.access):
        await admit(put, "s3:PutObject", f"arn:aws:s3:::{put.bucket}/{put.key}")

    async def receive(call: Call, promise: Promise | None, algorithm: str) -> Content:
        return await receive_file(call, promise, algorithm, _within(chunks, sizes))

    stored = await put_content(put, receive, "ObjectCreated:Post")
    return _answer(call, fields, stored, await stored_headers(put, stored))


def _announced(call: Call) -> int:
    """The body's length, which bounds the file's from above. Raises ``Invalid("length")``, ``TooLarge("object")``."""
    text = call.request.headers.get("content-length")
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise Invalid("length", "You must provide the Content-Length HTTP header.")
    limits = call.tools.limits
    if int(text) > limits.put_bytes_max + limits.form_bytes_max:
        raise _too_large(int(text), limits.put_bytes_max)
    return int(text)


async def _up_to_file(call: Call, form: FormReader) -> AsyncIterator[bytes]:
    """Read the fields. What is returned gives the file's bytes, and raises if the form ends in another way than
    it should."""
    source = call.request.body.chunks()
    first: list[bytes] = []
    try:
        async with asyncio.timeout(call.tools.limits.form_s):
            async for raw in source:
                first = form.feed(raw)
                if form.file_begun:
                    break
            else:
                form.finish()
    except TimeoutError:
        raise Invalid("request_timeout", "The form's fields did not arrive within the time allowed.") from None
    return _file(form, first, source)


async def _file(form: FormReader, first: list[bytes], source: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    for data in first:
        yield data
    async for raw in source:
        for data in form.feed(raw):
            yield data
    form.finish()


def _sizes(call: Call, fields: Mapping[str, str], announced: int) -> Sizes:
    """What the form's policy and the service allow. Raises as ``parse_policy`` and ``FormPolicy.check``."""
    limits = call.tools.limits
    sizes = Sizes(0, limits.put_bytes_max)
    if fields.get("policy"):
        now_s = call.tools.clock.now_ms() / 1000
        policy = parse_policy(fields["policy"])
        sizes = policy.check(fields, call.bucket, now_s, limits.put_bytes_max)
    least = announced - limits.form_bytes_max
    if least > sizes.most:
        raise _too_large(least, sizes.most)
    return sizes


async def _within(chunks: AsyncIterator[bytes], sizes: Sizes) -> AsyncIterator[bytes]:
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        if size > sizes.most:
            raise _too_large(size, sizes.most)
        yield chunk
    if size < sizes.least:
        raise Invalid(
            "small",
            "Your proposed upload is smaller than the minimum allowed size",
            ProposedSize=str(size),
            MinSizeAllowed=str(sizes.least),
        )


def _too_large(size: int, most: int) -> TooLarge:
    return TooLarge(
        "object",
        "Your proposed upload exceeds the maximum allowed size",
        ProposedSize=str(size),
        MaxSizeAllowed=str(most),
    )


def _as_put(call: Call, fields: Mapping[str, str], verified: Verified) -> Call:
    """The same upload as a PUT by the form's signer."""
    asked, key = call.request, fields["key"]
    path = f"/{call.bucket}/{quote(key, safe='/')}".encode()
    items = [(name, asked.headers.get(name)) for name in _OF_REQUEST if name in asked.headers]
    items += _headers(call, fields)
    request = Request(
        "PUT", path, b"", Headers(items), asked.body, asked.scheme, asked.client, asked.request_id, asked.scratch
    )
    address = Address(call.bucket, key, path)
    return Call(request, call.operation, address, {}, verified, call.tools, call.access)


def _headers(call: Call, fields: Mapping[str, str]) -> list[tuple[str, str]]:
    """The fields that are headers of a PUT, as they would be on the wire."""
    found: list[tuple[str, str]] = []
    for field, value in fields.items():
        name = {"acl": "x-amz-acl", "tagging": "x-amz-tagging"}.get(field, field)
        if field == "tagging":
            value = _tagging(call, value)
        elif name not in _AS_HEADERS and (not name.startswith("x-amz-") or name.startswith(_NO_HEADERS)):
            continue
        if UNSAFE.search(value) or not NAME.match(name):
            raise Invalid(
                "argument", "A field has characters that a header can't have.", ArgumentName=name, ArgumentValue=""
            )
        found.append((name, value.strip().encode().decode("latin-1")))
    return found


def _tagging(call: Call, document: str) -> str:
    """The form's XML in the form that the header has."""
    parsed = call.tools.codec.parse(
        "PutObjectTagging", "PUT", f"/{call.bucket}/key", [("tagging", "")], Headers([]), document.encode()
    )
    return urlencode(tag_pairs((parsed.get("Tagging") or {}).get("TagSet")))


def _answer(call: Call, fields: Mapping[str, str], stored: StoredObject, headers: list[tuple[str, str]]) -> Response:
    key, etag = fields["key"], f'"{stored.etag}"'
    wanted = fields.get("success_action_redirect") or fields.get("redirect") or ""
    target = redirect_to(wanted, {"bucket": call.bucket, "key": key, "etag": etag})
    if target:
        return Response(303, [*headers, ("location", target)])
    location = _location(call, key)
    headers.append(("location", location))
    status = fields.get("success_action_status")
    if status != "201":
        return Response(200 if status == "200" else 204, headers)
    elements = {"Location": location, "Bucket": call.bucket, "Key": key, "ETag": etag}
    inner = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in elements.items())
    document = f'<?xml version="1.0" encoding="UTF-8"?>\n<PostResponse>{inner}</PostResponse>'
    return Response(201, [*headers, ("content-type", "application/xml")], document.encode())


def _location(call: Call, key: str) -> str:
    """The object's address in the style of the request's; S3 encodes the key's slashes, too."""
    request = call.request
    bucket = f"/{call.bucket}" if call.address.raw_path == request.raw_path else ""
    return f"{request.base_url}{bucket}/{quote(key, safe='')}"


def redirect_to(url: str, about: Mapping[str, str]) -> str | None:
    """``url`` with ``about`` in its query; None where it is no absolute address of the web."""
    if UNSAFE.search(url) or " " in url.strip():
        return None
    try:
        parts = urlsplit(url.strip())
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not parts.netloc:
        return None
    query = "&".join(filter(None, [parts.query, urlencode(about, quote_via=quote, safe="")]))
    return quote(parts._replace(query=query).geturl(), safe=_URL_SAFE)
