"""GetObjectAttributes (S3 API reference)."""

from __future__ import annotations

from typing import Any, Final

from sluiceway.core.store import View
from sluiceway.edges.http import Response
from sluiceway.edges.s3.call import Call
from sluiceway.edges.s3.encryption_headers import refuse_on_read
from sluiceway.edges.s3.get import hidden
from sluiceway.edges.s3.headers import http_date
from sluiceway.edges.s3.list import whole_number
from sluiceway.edges.s3.put import checksum_members
from sluiceway.edges.s3.versions import shown_version, version_headers, version_of
from sluiceway.errors import Invalid, NotFound
from sluiceway.services.objects import part_sums
from sluiceway.services.objects.values import Checksum, StoredObject

_NAMES: Final = frozenset({"ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"})
_HEADER: Final = "x-amz-object-attributes"


async def get_attributes(call: Call) -> Response:
    """What is asked of an object's attributes. It needs the right to read the object, too."""
    refuse_on_read(call.request.headers)
    wanted = _wanted(call.request.headers.all(_HEADER))
    marker, limit = _number(call, "x-amz-part-number-marker", 0), _number(call, "x-amz-max-parts", 1000)
    stored, sums = await call.tools.store.view(_look_up, call, "ObjectParts" in wanted)
    output: dict[str, Any] = {}
    if "ETag" in wanted:
        output["ETag"] = stored.etag
    if "Checksum" in wanted and stored.checksum is not None:
        output["Checksum"] = _members(stored.checksum)
    if "ObjectParts" in wanted and stored.part_sizes:
        output["ObjectParts"] = _parts(stored, sums, marker, min(limit, call.tools.limits.page_max))
    if "StorageClass" in wanted:
        output["StorageClass"] = stored.attributes.storage_class
    if "ObjectSize" in wanted:
        output["ObjectSize"] = stored.size
    response = call.reply(output)
    response.headers.append(("last-modified", http_date(stored.modified_ms)))
    response.headers.extend(version_headers(shown_version(call, stored)))
    return response


def _wanted(values: list[str]) -> set[str]:
    names = {name.strip() for value in values for name in value.split(",")} - {""}
    if not names:
        raise Invalid(
            "request",
            "The x-amz-object-attributes header specifying the attributes to be retrieved is either missing or empty",
        )
    unknown = sorted(names - _NAMES)
    if unknown:
        raise Invalid(
            "argument", "Invalid attribute name specified.", ArgumentName=_HEADER, ArgumentValue=unknown[0][:100]
        )
    return names


def _number(call: Call, header: str, default: int) -> int:
    return whole_number(call.request.headers.get(header) or "", header, default)


def _look_up(view: View, call: Call, with_parts: bool) -> tuple[StoredObject, list[str]]:
    try:
        stored = call.tools.objects.contents.head(view, call.bucket, call.key, version=version_of(call))
    except NotFound as error:
        raise hidden(call, error) from None
    call.check_seen(stored)
    action = "s3:GetObjectVersion" if "versionId" in call.query else "s3:GetObject"
    call.allow(action, f"arn:aws:s3:::{call.bucket}/{call.key}", call.access, stored=stored)
    return stored, part_sums.of_parts(view, call.bucket, stored) if with_parts else []


def _members(checksum: Checksum) -> dict[str, str]:
    """Here S3 says a composite checksum without the number of its parts."""
    value = checksum.value.partition("-")[0] if checksum.type == "COMPOSITE" else checksum.value
    return checksum_members(Checksum(checksum.algorithm, value, checksum.type))


def _parts(stored: StoredObject, sums: list[str], marker: int, limit: int) -> dict[str, Any]:
    count = len(stored.part_sizes)
    shown = range(min(marker, count) + 1, min(marker + limit, count) + 1)
    members: dict[str, Any] = {"TotalPartsCount": count}
    if not sums or stored.checksum is None:
        return members
    algorithm = f"Checksum{stored.checksum.algorithm}"
    return members | {
        "PartNumberMarker": marker,
        "NextPartNumberMarker": shown[-1] if shown else marker,
        "MaxParts": limit,
        "IsTruncated": bool(shown) and shown[-1] < count,
        "Parts": [
            {"PartNumber": number, "Size": stored.part_sizes[number - 1], algorithm: sums[number - 1]}
            for number in shown
        ],
    }
