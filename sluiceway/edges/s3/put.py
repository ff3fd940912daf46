"""PutObject, and CopyObject, which moves no byte."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from sluiceway.config import ObjectSettings
from sluiceway.edges.http import Headers, Response
from sluiceway.edges.s3 import body
from sluiceway.edges.s3.acl import list_of
from sluiceway.edges.s3.call import Call
from sluiceway.edges.s3.checksums import Promise, algorithm_or_default, promise_of
from sluiceway.edges.s3.deciding import look_ahead
from sluiceway.edges.s3.get import open_pieces
from sluiceway.edges.s3.headers import (
    SILENT,
    attributes_of,
    check_supported,
    checksum_headers,
    conditions_from,
    copied_from,
    moment,
    write_conditions_from,
)
from sluiceway.edges.s3.versions import version_headers
from sluiceway.edges.s3.written import written_headers
from sluiceway.errors import Conflict, Invalid
from sluiceway.services.objects.buckets import Access
from sluiceway.services.objects.checksums import running, text_of
from sluiceway.services.objects.contents import Found
from sluiceway.services.objects.grants import Asked
from sluiceway.services.objects.names import check_key
from sluiceway.services.objects.values import (
    NO_CONDITIONS,
    Attributes,
    Checksum,
    Conditions,
    Content,
    Source,
    StoredObject,
)
from sluiceway.services.objects.versions import bad_version

_SOURCE = "x-amz-copy-source"
_TRIES = 3
_REDIRECT = "x-amz-website-redirect-location"
#: What makes a copy of an object onto itself one that changes something.
_CHANGES = ("x-amz-storage-class", "x-amz-server-side-encryption", _REDIRECT)

Receive = Callable[[Call, Promise | None, str], Awaitable[Content]]


async def put_object(call: Call) -> Response:
    """Store the body; the answer goes out when row, bytes and events are durable."""
    if "partNumber" in call.query:
        raise Invalid("argument", "A part number was given without an upload id.", ArgumentName="uploadId")
    stored = await put_content(call, body.receive, "ObjectCreated:Put")
    return Response(200, await stored_headers(call, stored))


@dataclass(frozen=True, slots=True)
class _Said:
    """What the headers say about the object that is put."""

    attributes: Attributes
    conditions: Conditions = NO_CONDITIONS
    acl: Asked | None = None
    promise: Promise | None = None


_SILENCE: Final = _Said(Attributes())


def _said(headers: Headers, limits: ObjectSettings) -> _Said:
    check_supported(headers)
    conditions = write_conditions_from(headers)
    return _Said(attributes_of(headers, limits), conditions, list_of(headers), promise_of(headers))


async def put_content(call: Call, receive: Receive, event: str) -> StoredObject:
    """Make what ``receive`` takes in the object that the request's headers describe."""
    headers = call.request.headers
    tools = call.tools
    said = _SILENCE if headers.has_only(SILENT) else _said(headers, tools.limits)
    check_key(call.key, tools.limits)
    content = await receive(call, said.promise, algorithm_or_default(said.promise))
    put = (call.bucket, call.key, content, said.attributes, call.actor, said.conditions, event, said.acl)
    if not content.pieces:
        return await tools.store.commit(tools.objects.contents.put, *put)
    async with body.keeping(tools, content):
        return await tools.store.commit(tools.objects.contents.put, *put)


async def stored_headers(call: Call, stored: StoredObject) -> list[tuple[str, str]]:
    """What the answer to a write says of the new object."""
    headers = [("etag", f'"{stored.etag}"'), *checksum_headers(stored.checksum), *version_headers(stored.version)]
    headers.extend(await written_headers(call, stored))
    return headers


async def copy_object(call: Call) -> Response:
    """Copy within the server. Access to the source is checked here, to the target before."""
    headers = call.request.headers
    check_supported(headers)
    check_key(call.key, call.tools.limits)
    source = copy_source(headers.get(_SOURCE))
    replace = _directive(call, "x-amz-metadata-directive", "metadata")
    _directive(call, "x-amz-tagging-directive", "tagging")
    origin = await allow_source(call, source)
    for _ in range(_TRIES):
        try:
            stored, version = await _copy(call, source, replace, origin)
        except Conflict as error:
            if error.kind not in ("source", "blob"):
                raise
            continue
        result = {"ETag": f'"{stored.etag}"', "LastModified": moment(stored.modified_ms)}
        result |= checksum_members(stored.checksum)
        output = {"CopyObjectResult": result, "VersionId": stored.version, "CopySourceVersionId": version}
        response = call.reply(output)
        response.headers.extend(await written_headers(call, stored))
        return response
    raise Conflict("source", "The source is being changed too often to be copied. Please try again.")


def _directive(call: Call, header: str, kind: str) -> bool:
    value = call.request.headers.get(header) or "COPY"
    if value not in ("COPY", "REPLACE"):
        raise Invalid("argument", f"Unknown {kind} directive.", ArgumentName=header, ArgumentValue=value[:50])
    return value == "REPLACE"


async def _copy(call: Call, source: Source, replace: bool, origin: Access | None) -> tuple[StoredObject, str | None]:
    """The copy, and the version that it is one of, where the source's bucket has versions."""
    tools = call.tools
    versioned = bool(origin and origin.bucket.versioning)
    headers = call.request.headers
    conditions = conditions_from(headers, f"{_SOURCE}-")
    found = await tools.store.view(tools.objects.contents.check_source, source, conditions)
    # An older version may be put in front again: that is a change, though it is a copy of the key to itself.
    same = (source.bucket, source.key) == (call.bucket, call.key) and not (versioned and source.version)
    if same and not replace and not any(name in headers for name in _CHANGES):
        raise Invalid(
            "request",
            "This copy request is illegal because it is trying to copy an object to itself without changing the "
            "object's metadata, storage class, website redirect location or encryption attributes.",
        )
    allow_found(call, source, origin, found.stored)
    if found.stored.attributes.tags and headers.get("x-amz-tagging-directive") != "REPLACE":
        _allow_tags(call, source, origin, found.stored)
    stored = await tools.store.commit(
        tools.objects.contents.copy,
        source,
        (call.bucket, call.key),
        found.stored.sequence,
        _copied_attributes(call, found.stored, replace),
        call.actor,
        write_conditions_from(headers),
        await _recomputed(call, found),
        list_of(headers),
    )
    return stored, found.stored.version_id if versioned else None


def allow_found(call: Call, source: Source, origin: Access | None, stored: StoredObject) -> None:
    """The source may have been replaced since ``allow_source``. Raises ``AccessDenied``."""
    resource = f"arn:aws:s3:::{source.bucket}/{source.key}"
    if source.version is None:
        call.allow("s3:GetObject", resource, origin, stored=stored)
    else:
        call.allow("s3:GetObjectVersion", resource, origin, {"s3:VersionId": [source.version]}, stored)


def _allow_tags(call: Call, source: Source, origin: Access | None, stored: StoredObject) -> None:
    """Tags come along only with whom may read and write them (S3 API reference, CopyObject)."""
    resource = f"arn:aws:s3:::{source.bucket}/{source.key}"
    if source.version is None:
        call.allow("s3:GetObjectTagging", resource, origin, stored=stored)
    else:
        call.allow("s3:GetObjectVersionTagging", resource, origin, {"s3:VersionId": [source.version]}, stored)
    call.allow("s3:PutObjectTagging", f"arn:aws:s3:::{call.bucket}/{call.key}", call.access)


def _copied_attributes(call: Call, source: StoredObject, replace: bool) -> Attributes:
    headers = call.request.headers
    asked = attributes_of(headers, call.tools.limits)
    about = asked if replace else source.attributes
    tags = asked.tags if headers.get("x-amz-tagging-directive") == "REPLACE" else source.attributes.tags
    # Where a website would redirect to is no object's metadata: it never comes along (S3 API reference, CopyObject).
    kept = {name: value for name, value in about.headers.items() if name != _REDIRECT}
    if _REDIRECT in asked.headers:
        kept[_REDIRECT] = asked.headers[_REDIRECT]
    return Attributes(about.content_type, kept, about.metadata, tags, asked.storage_class, asked.encryption)


async def _recomputed(call: Call, found: Found) -> tuple[str, Checksum | None] | None:
    """The ETag and checksum of a copy that can't keep its source's: one of parts becomes one of a piece, and
    the client may want another algorithm."""
    algorithm = call.request.headers.get("x-amz-checksum-algorithm").upper()
    stored = found.stored
    same = stored.checksum is not None and algorithm in ("", stored.checksum.algorithm)
    if same and not stored.part_sizes:
        return None
    kept = stored.checksum.algorithm if stored.checksum else ""
    name = algorithm or kept or "CRC64NVME"
    checksum = running(name)
    md5 = hashlib.md5(usedforsecurity=False)
    if found.inline is not None:
        checksum.update(found.inline)
        md5.update(found.inline)
    else:
        stream = await open_pieces(call.tools, found.pieces, 0, stored.size)
        if stream is None:
            raise Conflict("source", "The source was changed while it was being copied. Please try again.")
        async for chunk in stream:
            checksum.update(chunk)
            md5.update(chunk)
    return md5.hexdigest(), Checksum(name, text_of(checksum.digest()))


async def allow_source(call: Call, source: Source) -> Access | None:
    """The source's bucket. Raises ``NotFound("bucket")`` or ``AccessDenied``."""
    tools = call.tools
    access = call.access
    if source.bucket != call.bucket:
        access = await tools.store.view(tools.objects.buckets.access, source.bucket)
    resource, version = f"arn:aws:s3:::{source.bucket}/{source.key}", source.version
    action = "s3:GetObject" if version is None else "s3:GetObjectVersion"
    stored = await look_ahead(call, access, action, source.bucket, source.key, version)
    call.allow(action, resource, access, {} if version is None else {"s3:VersionId": [version]}, stored)
    return access


def copy_source(header: str) -> Source:
    """What x-amz-copy-source names. Raises ``Invalid("argument")``."""
    path, version = copied_from(header)
    bucket, _, key = path.partition("/")
    if not bucket or not key:
        raise Invalid(
            "argument",
            "Copy Source must mention the source bucket and key: sourcebucket/sourcekey",
            ArgumentName=_SOURCE,
            ArgumentValue=header[:200],
        )
    if version == "":
        raise bad_version(version)
    return Source(bucket, key, version)


def checksum_members(checksum: Checksum | None) -> dict[str, str]:
    """The checksum as the model's members name it."""
    if checksum is None:
        return {}
    return {f"Checksum{checksum.algorithm}": checksum.value, "ChecksumType": checksum.type}
