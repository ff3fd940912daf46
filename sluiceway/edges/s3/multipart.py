"""Multipart uploads."""

from __future__ import annotations

import re
from typing import Any

from sluiceway.edges.aws.codecs.xmls import malformed
from sluiceway.edges.http import Response
from sluiceway.edges.s3 import body
from sluiceway.edges.s3.acl import list_of
from sluiceway.edges.s3.call import Call
from sluiceway.edges.s3.checksums import promise_of
from sluiceway.edges.s3.encryption_headers import encryption_headers, refuse_customer_keys
from sluiceway.edges.s3.get import cut, open_pieces, position
from sluiceway.edges.s3.headers import (
    attributes_of,
    check_supported,
    checksum_headers,
    conditions_from,
    moment,
    write_conditions_from,
)
from sluiceway.edges.s3.list import encoder_of, limit_of, whole_number
from sluiceway.edges.s3.put import allow_found, allow_source, checksum_members, copy_source
from sluiceway.edges.s3.written import upload_headers, written_headers
from sluiceway.errors import Conflict, Invalid, TooLarge
from sluiceway.services.objects.buckets import Access
from sluiceway.services.objects.checksums import ALGORITHMS, running
from sluiceway.services.objects.contents import Found
from sluiceway.services.objects.multipart import Chosen, Part, Promised, Upload
from sluiceway.services.objects.values import Checksum, Content, Piece, Source

_TRIES = 3
_SOURCE_RANGE = re.compile(r"bytes=([0-9]+)-([0-9]+)\Z")


async def create(call: Call) -> Response:
    """CreateMultipartUpload."""
    headers = call.request.headers
    tools = call.tools
    check_supported(headers)
    attributes = attributes_of(headers, tools.limits)
    algorithm = headers.get("x-amz-checksum-algorithm").upper() or None
    if algorithm is not None:
        running(algorithm)
    upload = await tools.store.commit(
        tools.objects.multipart.begin,
        call.bucket,
        call.key,
        attributes,
        call.actor,
        algorithm,
        headers.get("x-amz-checksum-type").upper() or None,
        list_of(headers),
    )
    output: dict[str, Any] = {"Bucket": call.bucket, "Key": call.key, "UploadId": upload.id}
    if upload.named:
        output.update(ChecksumAlgorithm=upload.algorithm, ChecksumType=upload.type)
    response = call.reply(output)
    response.headers.extend(encryption_headers(upload.attributes.encryption, context=True))
    response.headers.extend(await upload_headers(call, upload))
    return response


async def upload_part(call: Call) -> Response:
    """UploadPart: the part is a blob, hashed with the upload's algorithm.

    Where the upload was begun without an algorithm, as boto3 does, a part may come with any: the SDKs send CRC32.
    """
    number = _number(call)
    refuse_customer_keys(call.request.headers)
    upload = await _upload(call)
    promise = promise_of(call.request.headers)
    if promise is not None and upload.named and promise.algorithm != upload.algorithm:
        raise Invalid(
            "request",
            "Checksum Type mismatch occurred, expected checksum Type: "
            f"{upload.algorithm.lower()}, "
            f"actual checksum Type: {promise.algorithm.lower()}",
        )
    tools = call.tools
    content = await body.receive(call, promise, upload.algorithm, inline=False)
    async with body.keeping(tools, content):
        part = await tools.store.commit(
            tools.objects.multipart.put_part, call.bucket, call.key, upload.id, number, content
        )
    found = checksum_headers(content.checksum)[:1] if promise is None or promise.algorithm == upload.algorithm else []
    return Response(200, [("etag", f'"{part.etag}"'), *found, *encryption_headers(upload.attributes.encryption)])


async def upload_part_copy(call: Call) -> Response:
    """UploadPartCopy: the part refers to a range of the source's blobs."""
    number = _number(call)
    refuse_customer_keys(call.request.headers)
    upload = await _upload(call)
    source = copy_source(call.request.headers.get("x-amz-copy-source"))
    origin = await allow_source(call, source)
    for _ in range(_TRIES):
        try:
            part, version = await _copy_part(call, upload, number, source, origin)
        except Conflict as error:
            if error.kind not in ("source", "blob"):
                raise
            continue
        result = {"ETag": f'"{part.etag}"', "LastModified": moment(part.modified_ms)}
        if upload.named:
            result[f"Checksum{upload.algorithm}"] = part.checksum
        shown = version if origin and origin.bucket.versioning else None
        response = call.reply({"CopyPartResult": result, "CopySourceVersionId": shown})
        response.headers.extend(encryption_headers(upload.attributes.encryption))
        return response
    raise Conflict("source", "The source is being changed too often to be copied. Please try again.")


async def _copy_part(
    call: Call, upload: Upload, number: int, source: Source, origin: Access | None
) -> tuple[Part, str]:
    """The part, and the version that it is of."""
    tools = call.tools
    conditions = conditions_from(call.request.headers, "x-amz-copy-source-")
    found = await tools.store.view(tools.objects.contents.find_source, source, conditions)
    allow_found(call, source, origin, found.stored)
    start, length = _source_range(call, found)
    if length > tools.limits.put_bytes_max:
        raise TooLarge("object", "The specified copy source is larger than the maximum allowable size.")
    if found.inline is not None:
        content, shared = (
            await _inline_part(call, found.inline[start : start + length], upload.algorithm),
            False,
        )
    else:
        content, shared = await _shared_part(call, found, start, length, upload.algorithm), True
    if shared:
        part = await tools.store.commit(
            tools.objects.multipart.put_part, call.bucket, call.key, upload.id, number, content, True
        )
    else:
        async with body.keeping(tools, content):
            part = await tools.store.commit(
                tools.objects.multipart.put_part, call.bucket, call.key, upload.id, number, content
            )
    return part, found.stored.version_id


def _source_range(call: Call, found: Found) -> tuple[int, int]:
    header = call.request.headers.get("x-amz-copy-source-range")
    if not header:
        return 0, found.stored.size
    match, size = _SOURCE_RANGE.match(header), found.stored.size
    first, last = (position(match[1]), position(match[2])) if match else (0, -1)
    if last < first:
        raise _bad_source_range(
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the "
            "zero-based offsets of the first and last bytes to copy",
            header,
        )
    if last >= size:
        raise _bad_source_range(f"Range specified is not valid for source object of size: {size}", header)
    return first, last - first + 1


def _bad_source_range(message: str, header: str) -> Invalid:
    return Invalid("argument", message, ArgumentName="x-amz-copy-source-range", ArgumentValue=header[:100])


async def _inline_part(call: Call, data: bytes, algorithm: str) -> Content:
    """Parts are blobs, also those from a small source."""
    sums = body.sums_of(algorithm)
    staged = await call.tools.blobs.stage(sums.all())
    try:
        await staged.write(data)
        blob = await staged.seal()
    except BaseException:
        await staged.discard()
        raise
    return sums.content(len(data), (Piece(blob, 0, len(data)),))


async def _shared_part(call: Call, found: Found, start: int, length: int, algorithm: str) -> Content:
    stream = await open_pieces(call.tools, found.pieces, start, length)
    if stream is None:
        raise Conflict("source", "The source was changed while it was being copied. Please try again.")
    sums = body.sums_of(algorithm)
    async for chunk in stream:
        for hasher in sums.all():
            hasher.update(chunk)
    return sums.content(length, tuple(cut(found.pieces, start, length)))


async def complete(call: Call) -> Response:
    """CompleteMultipartUpload."""
    headers = call.request.headers
    tools = call.tools
    params = call.params(await body.document(call, of_body=False))
    parts = (params.get("MultipartUpload") or {}).get("Parts") or []
    chosen = [_chosen(part) for part in parts]
    expected = [Checksum(name, params[f"Checksum{name}"]) for name in ALGORITHMS if params.get(f"Checksum{name}")]
    size = _size_header(headers.get("x-amz-mp-object-size"))
    promised = Promised(expected[0] if expected else None, headers.get("x-amz-checksum-type").upper(), size)
    stored = await tools.store.commit(
        tools.objects.multipart.complete,
        call.bucket,
        call.key,
        call.query["uploadId"],
        chosen,
        call.actor,
        write_conditions_from(headers),
        promised,
    )
    response = call.reply(
        {
            "Location": f"{call.request.base_url}{call.request.raw_path.decode('latin-1')}",
            "Bucket": call.bucket,
            "Key": call.key,
            "ETag": f'"{stored.etag}"',
            "VersionId": stored.version,
            **checksum_members(stored.checksum),
        }
    )
    response.headers.extend(await written_headers(call, stored))
    return response


def _size_header(text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise Invalid("argument", "Value for x-amz-mp-object-size header is invalid.")
    return int(text)


def _chosen(part: dict[str, Any]) -> Chosen:
    number, etag = part.get("PartNumber"), part.get("ETag")
    if number is None or not etag:
        raise malformed()
    given = tuple((name, part[f"Checksum{name}"]) for name in ALGORITHMS if part.get(f"Checksum{name}"))
    return Chosen(number, etag, given)


async def abort(call: Call) -> Response:
    """AbortMultipartUpload."""
    tools = call.tools
    await tools.store.commit(tools.objects.multipart.abort, call.bucket, call.key, call.query["uploadId"])
    return Response(204)


async def list_parts(call: Call) -> Response:
    """ListParts."""
    tools = call.tools
    limit = limit_of(call, "max-parts")
    after = whole_number(call.query.get("part-number-marker", ""), "part-number-marker", 0)
    upload, parts, more = await tools.store.view(
        tools.objects.multipart.parts, call.bucket, call.key, call.query["uploadId"], after, limit
    )
    output: dict[str, Any] = {
        "Bucket": call.bucket,
        "Key": call.key,
        "UploadId": upload.id,
        "PartNumberMarker": after,
        "NextPartNumberMarker": parts[-1].number if parts else after,
        "MaxParts": limit,
        "IsTruncated": more,
        "Initiator": {"ID": upload.owner},
        "Owner": {"ID": upload.owner},
        "StorageClass": upload.attributes.storage_class,
        "Parts": [_part_member(upload, part) for part in parts],
    }
    if upload.named:
        output.update(ChecksumAlgorithm=upload.algorithm, ChecksumType=upload.type)
    response = call.reply(output)
    response.headers.extend(await upload_headers(call, upload))
    return response


def _part_member(upload: Upload, part: Part) -> dict[str, Any]:
    member: dict[str, Any] = {
        "PartNumber": part.number,
        "LastModified": moment(part.modified_ms),
        "ETag": f'"{part.etag}"',
        "Size": part.size,
    }
    if upload.named:
        member[f"Checksum{upload.algorithm}"] = part.checksum
    return member


async def list_uploads(call: Call) -> Response:
    """ListMultipartUploads."""
    tools = call.tools
    query = call.query
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
    marker = (
        query.get("key-marker", ""),
        query.get("upload-id-marker", "") if query.get("key-marker") else "",
    )
    limit = limit_of(call, "max-uploads")
    page = await tools.store.view(tools.objects.multipart.uploads, call.bucket, prefix, delimiter, marker, limit)
    encode = encoder_of(call)
    output: dict[str, Any] = {
        "Bucket": call.bucket,
        "KeyMarker": encode(marker[0]),
        "UploadIdMarker": marker[1],
        "Prefix": encode(prefix),
        "MaxUploads": limit,
        "IsTruncated": page.next is not None,
        "Uploads": [_upload_member(upload, encode(upload.key)) for upload in page.uploads],
        "CommonPrefixes": [{"Prefix": encode(common)} for common in page.prefixes],
    }
    if delimiter:
        output["Delimiter"] = encode(delimiter)
    if query.get("encoding-type"):
        output["EncodingType"] = query["encoding-type"]
    if page.next is not None:
        output.update(NextKeyMarker=encode(page.next[0]), NextUploadIdMarker=page.next[1])
    return call.reply(output)


def _upload_member(upload: Upload, key: str) -> dict[str, Any]:
    member: dict[str, Any] = {
        "UploadId": upload.id,
        "Key": key,
        "Initiated": moment(upload.initiated_ms),
        "StorageClass": upload.attributes.storage_class,
        "Owner": {"ID": upload.owner},
        "Initiator": {"ID": upload.owner},
    }
    if upload.named:
        member.update(ChecksumAlgorithm=upload.algorithm, ChecksumType=upload.type)
    return member


async def _upload(call: Call) -> Upload:
    tools = call.tools
    return await tools.store.view(tools.objects.multipart.get, call.bucket, call.key, call.query["uploadId"])


def _number(call: Call) -> int:
    text = call.query.get("partNumber", "")
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 9 else 0
    call.tools.objects.multipart.check_number(number)
    return number
