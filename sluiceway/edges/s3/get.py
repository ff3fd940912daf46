"""GetObject and HeadObject: whole, by range, or by part."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass

from sluiceway.core.store import View
from sluiceway.edges.http import Response
from sluiceway.edges.s3.archived import is_archived, refuse_archived, restore_headers
from sluiceway.edges.s3.call import Call, Look, Tools
from sluiceway.edges.s3.encryption_headers import refuse_on_read
from sluiceway.edges.s3.headers import (
    OVERRIDES,
    SILENT,
    checksum_headers,
    conditions_from,
    http_date,
    keeps_range,
    object_headers,
)
from sluiceway.edges.s3.tagging import count_headers
from sluiceway.edges.s3.versions import shown_version, version_headers, version_of
from sluiceway.edges.s3.written import expiration_headers, may_expire
from sluiceway.errors import AccessDenied, Invalid, NotFound, PreconditionFailed, Unavailable
from sluiceway.services.objects import part_sums
from sluiceway.services.objects.conditions import NotModified, check_read
from sluiceway.services.objects.contents import Found
from sluiceway.services.objects.values import Piece, StoredObject

_RANGE = re.compile(r"bytes=(\d*)-(\d*)\Z")
#: An object may be overwritten between its row's reading and its blob's opening; then it is looked up again.
_TRIES = 3


@dataclass(slots=True)
class Span:
    """The bytes to send: ``length`` from ``start``. ``partial`` is what the status says."""

    start: int
    length: int
    partial: bool


async def get_object(call: Call) -> Response:
    """The object's bytes: from the store where they are inline, else streamed from blobs."""
    plain = not call.query and call.request.headers.has_only(SILENT)
    conditions = conditions_from(call.request.headers)
    for _ in range(_TRIES):
        found = await _read(call, _find)
        stored = found.stored
        if plain and found.inline is not None and not is_archived(stored):
            return await _whole(call, stored, found.inline)
        try:
            check_read(stored, conditions)
        except NotModified as error:
            return _not_modified(call, error)
        if is_archived(stored):
            await refuse_archived(call, stored)
        span = _span(call, stored)
        headers = _headers(call, stored, span)
        if _has_more(call, stored):
            headers.extend(await _more_headers(call, stored))
        status = 206 if span.partial else 200
        if found.inline is not None:
            body = found.inline[span.start : span.start + span.length] if span.partial else found.inline
            return Response(status, headers, body)
        stream = await open_pieces(call.tools, found.pieces, span.start, span.length)
        if stream is not None:
            return Response(status, headers, stream)
    raise Unavailable("object", "The object is being changed too often to be read. Please try again.")


async def _whole(call: Call, stored: StoredObject, body: bytes) -> Response:
    """The answer to most reads: all of a small object, of which nothing special is asked."""
    headers = object_headers(stored)
    if stored.attributes.tags:
        headers.extend(count_headers(call, stored))
    headers.extend(version_headers(shown_version(call, stored)))
    headers.append(("content-length", str(stored.size)))
    if may_expire(call):
        headers.extend(await expiration_headers(call, stored))
    return Response(200, headers, body)


async def head_object(call: Call) -> Response:
    """What GetObject would say, without the bytes."""
    found = await _read(call, _head)
    stored = found.stored
    try:
        check_read(stored, conditions_from(call.request.headers))
    except NotModified as error:
        return _not_modified(call, error)
    span = _span(call, stored)
    headers = _headers(call, stored, span)
    if _has_more(call, stored):
        headers.extend(await _more_headers(call, stored))
    return Response(206 if span.partial else 200, headers)


async def _read(call: Call, looking: Look) -> Found:
    """What was read with the bucket; from then on, what is there now."""
    looked, call.looked = call.looked, None
    return looked if looked is not None else await call.tools.store.view(looking, call)


def look(view: View, call: Call) -> Found:
    """The object and its bytes' place, where nobody need be asked."""
    return call.tools.objects.contents.find(view, call.bucket, call.key, version=version_of(call))


def look_at_head(view: View, call: Call) -> Found:
    """The object alone."""
    stored = call.tools.objects.contents.head(view, call.bucket, call.key, version=version_of(call))
    return Found(stored, None, ())


def _find(view: View, call: Call) -> Found:
    return _seen(look, view, call)


def _head(view: View, call: Call) -> Found:
    return _seen(look_at_head, view, call)


def _seen(looking: Look, view: View, call: Call) -> Found:
    try:
        found = looking(view, call)
    except NotFound as error:
        raise hidden(call, error) from None
    call.check_seen(found.stored)
    return found


def hidden(call: Call, error: NotFound) -> NotFound | AccessDenied:
    """Who may not list the bucket is not told which keys it lacks (S3 API reference, GetObject)."""
    if error.kind not in ("key", "version"):
        return error
    action = "s3:ListBucket" if error.kind == "key" else "s3:ListBucketVersions"
    try:
        call.allow(action, f"arn:aws:s3:::{call.bucket}", call.access)
    except AccessDenied as denied:
        return denied
    return error


def _span(call: Call, stored: StoredObject) -> Span:
    number = call.query.get("partNumber")
    header = call.request.headers.get("range")
    if number is not None:
        if header:
            raise Invalid("request", "Cannot specify both Range header and partNumber query parameter")
        return _part_span(number, stored)
    if not header or not keeps_range(call.request.headers, stored):
        return Span(0, stored.size, False)
    return range_of(header, stored.size) or Span(0, stored.size, False)


def _part_span(text: str, stored: StoredObject) -> Span:
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 9 else 0
    if not 1 <= number <= 10_000:
        raise Invalid("argument", "Part number must be an integer between 1 and 10000, inclusive")
    sizes = stored.part_sizes or (stored.size,)
    if number > len(sizes):
        raise Invalid(
            "part_range",
            "The requested partnumber is not satisfiable",
            PartNumberRequested=number,
            ActualPartCount=len(sizes),
        )
    return Span(sum(sizes[: number - 1]), sizes[number - 1], True)


def range_of(header: str, size: int) -> Span | None:
    """A single range of bytes; None for a header that is to be ignored, several ranges included.

    Raises ``Invalid("range")`` (RFC 9110, 14.1.2; S3 API reference, GetObject).
    """
    match = _RANGE.match(header.strip())
    if match is None or not (match[1] or match[2]):
        return None
    if match[1]:
        start, last = position(match[1]), position(match[2]) if match[2] else size - 1
        if match[2] and last < start:
            return None
    else:
        start, last = max(0, size - position(match[2])), size - 1
        if position(match[2]) == 0:
            raise _bad_range(header, size)
    if start >= size:
        raise _bad_range(header, size)
    return Span(start, min(last, size - 1) - start + 1, True)


def position(digits: str) -> int:
    """The number; of one with more than 20 digits no more than that it lies behind every object's end, as Python
    converts only so many."""
    return int(digits.lstrip("0")[:20] or "0")


def _bad_range(header: str, size: int) -> Invalid:
    return Invalid(
        "range", "The requested range is not satisfiable", RangeRequested=header[:100], ActualObjectSize=size
    )


def _headers(call: Call, stored: StoredObject, span: Span) -> list[tuple[str, str]]:
    refuse_on_read(call.request.headers)
    headers = object_headers(stored)
    if stored.attributes.tags:
        headers.extend(count_headers(call, stored))
    headers.extend(version_headers(shown_version(call, stored)))
    headers.append(("content-length", str(span.length)))
    if span.partial:
        last = span.start + span.length - 1
        if span.length:
            headers.append(("content-range", f"bytes {span.start}-{last}/{stored.size}"))
    if stored.part_sizes and "partNumber" in call.query:
        headers.append(("x-amz-mp-parts-count", str(len(stored.part_sizes))))
    elif span.length == stored.size and _wants_checksum(call):
        headers.extend(checksum_headers(stored.checksum))
    return _overridden(call, headers)


def _wants_checksum(call: Call) -> bool:
    return call.request.headers.get("x-amz-checksum-mode").upper() == "ENABLED"


def _has_more(call: Call, stored: StoredObject) -> bool:
    """Whether something is said that has to be read first: most answers are spared that."""
    return "partNumber" in call.query or may_expire(call) or is_archived(stored)


async def _more_headers(call: Call, stored: StoredObject) -> list[tuple[str, str]]:
    """When the object or its restored copy expires, and the checksum of the part that is read."""
    headers = await expiration_headers(call, stored)
    if is_archived(stored):
        headers.extend(await restore_headers(call, stored))
    if stored.part_sizes and "partNumber" in call.query and _wants_checksum(call):
        number = int(call.query["partNumber"])
        checksum = await call.tools.store.view(part_sums.of_part, call.bucket, stored, number)
        headers.extend(checksum_headers(checksum))
    return headers


def _overridden(call: Call, headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """``response-*`` parameters; only signed requests may use them (S3 API reference, GetObject)."""
    if not call.query:
        return headers
    asked = {name: call.query[f"response-{name}"] for name in OVERRIDES if f"response-{name}" in call.query}
    if not asked:
        return headers
    if call.principal.kind == "anonymous":
        raise Invalid("request", "Request specific response headers cannot be used for anonymous GET requests.")
    for value in asked.values():
        if not value.isprintable() or max(value, default="") > "\xff":
            raise Invalid("argument", "Header value cannot be represented using ISO-8859-1.")
    return [(name, value) for name, value in headers if name not in asked] + list(asked.items())


def _not_modified(call: Call, error: NotModified) -> Response:
    stored = error.detail["stored"]
    if not isinstance(stored, StoredObject):
        raise PreconditionFailed("condition", error.message)
    headers = [("etag", f'"{stored.etag}"'), ("last-modified", http_date(stored.modified_ms))]
    headers.extend(version_headers(shown_version(call, stored)))
    if "cache-control" in stored.attributes.headers:
        headers.append(("cache-control", stored.attributes.headers["cache-control"]))
    return Response(304, headers)


async def open_pieces(tools: Tools, pieces: tuple[Piece, ...], start: int, length: int) -> AsyncIterator[bytes] | None:
    """A stream over the range, its first bytes already read; None if a blob went away meanwhile.

    Every blob of it is pinned until the stream ends, so that the sweep lets a reader finish.
    """
    stream = _stream(tools, cut(pieces, start, length))
    try:
        first = await anext(stream, b"")
    except NotFound:
        return None
    return _resumed(first, stream)


async def _resumed(first: bytes, stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for chunk in stream:
        yield chunk


async def _stream(tools: Tools, pieces: list[Piece]) -> AsyncIterator[bytes]:
    tools.pins.update(piece.blob for piece in pieces)
    try:
        # A blob that was dropped before it was pinned may be gone: better to find out before the headers.
        for piece in pieces[1:]:
            await tools.blobs.size(piece.blob)
        for piece in pieces:
            async for chunk in tools.blobs.open(piece.blob, piece.start, piece.size):
                yield chunk
    finally:
        for piece in pieces:
            tools.pins[piece.blob] -= 1
            if tools.pins[piece.blob] <= 0:
                del tools.pins[piece.blob]


def cut(pieces: tuple[Piece, ...], start: int, length: int) -> list[Piece]:
    """The pieces that hold the range, the first and last cut to it."""
    found: list[Piece] = []
    for piece in pieces:
        if length <= 0:
            break
        if start >= piece.size:
            start -= piece.size
            continue
        size = min(piece.size - start, length)
        found.append(Piece(piece.blob, piece.start + start, size))
        length -= size
        start = 0
    return found
