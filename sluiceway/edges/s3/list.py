"""ListObjectsV2 and ListObjects."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from sluiceway.core.keys import text_after
from sluiceway.edges.http import Response
from sluiceway.edges.s3.archived import OPTIONAL, restores_listed
from sluiceway.edges.s3.call import Call
from sluiceway.edges.s3.headers import moment
from sluiceway.errors import Invalid
from sluiceway.services.objects.listing import Listing, Page, after, common_prefix, list_objects
from sluiceway.services.objects.values import StoredObject


async def list_v2(call: Call) -> Response:
    """ListObjectsV2: pages go on from a token, which is where the next one begins."""
    query = call.query
    token = query.get("continuation-token")
    start_after = query.get("start-after", "")
    limit = limit_of(call, "max-keys")
    start = from_token(token) if token is not None else after(start_after) if start_after else ""
    page = await _page(call, start, limit)
    encode = encoder_of(call)
    owner = query.get("fetch-owner") == "true"
    output = await _common_output(call, page, limit, owner)
    output["KeyCount"] = len(page.entries) + len(page.prefixes)
    if token is not None:
        output["ContinuationToken"] = token
    if start_after:
        output["StartAfter"] = encode(start_after)
    if page.next is not None:
        output["NextContinuationToken"] = base64.urlsafe_b64encode(page.next.encode()).decode()
    return call.reply(output)


async def list_v1(call: Call) -> Response:
    """ListObjects: the marker is a key, or a common prefix whose keys are all passed."""
    query = call.query
    marker = query.get("marker", "")
    limit = limit_of(call, "max-keys")
    start: str | None = after(marker) if marker else ""
    if common_prefix(marker, query.get("prefix", ""), query.get("delimiter", "")) == marker and marker:
        start = text_after(marker)
    page = Page() if start is None else await _page(call, start, limit)
    output = await _common_output(call, page, limit, True)
    encode = encoder_of(call)
    output["Marker"] = encode(marker)
    if page.next is not None and query.get("delimiter"):
        output["NextMarker"] = encode(page.last)
    return call.reply(output)


async def _page(call: Call, start: str, limit: int) -> Page:
    query = call.query
    listing = Listing(call.bucket, query.get("prefix", ""), query.get("delimiter", ""), start, limit)
    return await call.tools.store.view(list_objects, listing)


async def _common_output(call: Call, page: Page, limit: int, owner: bool) -> dict[str, Any]:
    query = call.query
    encode = encoder_of(call)
    members = [_member(encode(key), stored, owner) for key, stored in page.entries]
    if call.request.headers.has_any(OPTIONAL):
        restores = await restores_listed(call, [stored for _, stored in page.entries])
        for member, (_, stored) in zip(members, page.entries, strict=True):
            member["RestoreStatus"] = restores.get(stored.sequence)
    output: dict[str, Any] = {
        "Name": call.bucket,
        "Prefix": encode(query.get("prefix", "")),
        "MaxKeys": limit,
        "IsTruncated": page.next is not None,
        "Contents": members,
        "CommonPrefixes": [{"Prefix": encode(prefix)} for prefix in page.prefixes],
    }
    if query.get("delimiter"):
        output["Delimiter"] = encode(query["delimiter"])
    if query.get("encoding-type"):
        output["EncodingType"] = query["encoding-type"]
    return output


def _member(key: str, stored: StoredObject, owner: bool) -> dict[str, Any]:
    member: dict[str, Any] = {
        "Key": key,
        "LastModified": moment(stored.modified_ms),
        "ETag": f'"{stored.etag}"',
        "Size": stored.size,
        "StorageClass": stored.attributes.storage_class,
    }
    if stored.checksum is not None:
        member["ChecksumAlgorithm"] = [stored.checksum.algorithm]
        member["ChecksumType"] = stored.checksum.type
    if owner:
        member["Owner"] = {"ID": stored.owner}
    return member


def encoder_of(call: Call) -> Callable[[str], str]:
    """How keys are written: percent-encoded with ``encoding-type=url``, else as they are."""
    encoding = call.query.get("encoding-type", "")
    if encoding not in ("", "url"):
        raise Invalid(
            "argument",
            "Invalid Encoding Method specified in Request",
            ArgumentName="encoding-type",
            ArgumentValue=encoding[:50],
        )
    return quote if encoding else str


def limit_of(call: Call, name: str) -> int:
    """Entries that the client wants at most, never above a page."""
    page_max = call.tools.limits.page_max
    return min(whole_number(call.query.get(name, ""), name, page_max), page_max)


def whole_number(text: str, name: str, default: int) -> int:
    """An argument that is a whole number of 31 bits, or empty."""
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 11 and int(text) < 2**31):
        raise Invalid(
            "argument",
            f"Provided {name} not an integer or within integer range",
            ArgumentName=name,
            ArgumentValue=text[:50],
        )
    return int(text)


def from_token(token: str) -> str:
    """What a page ended with. Raises ``Invalid("argument")`` for what is no token of ours."""
    try:
        return base64.b64decode(token.encode("ascii"), b"-_", validate=True).decode("utf-8")
    except (UnicodeError, binascii.Error):
        raise Invalid(
            "argument",
            "The continuation token provided is incorrect",
            ArgumentName="continuation-token",
            ArgumentValue=token[:100],
        ) from None
