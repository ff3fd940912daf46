"""Versions: a bucket's versioning, its versions' listing, and what answers say of the version they speak of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from sluiceway.edges.aws.codecs.xmls import malformed
from sluiceway.edges.http import Response
from sluiceway.edges.s3.archived import OPTIONAL, restores_listed
from sluiceway.edges.s3.body import document
from sluiceway.edges.s3.call import Call
from sluiceway.edges.s3.headers import http_date, moment
from sluiceway.edges.s3.list import encoder_of, limit_of
from sluiceway.errors import DomainError, Invalid, NotImplementedYet
from sluiceway.services.objects.values import Marker, StoredObject
from sluiceway.services.objects.version_listing import Version, VersionListing, VersionPage, list_versions
from sluiceway.services.objects.versions import bad_version

_VERSION_ID: Final = "x-amz-version-id"
_MARKER: Final = ("x-amz-delete-marker", "true")
#: Operations whose errors tell of the delete marker that they met (S3 User Guide, "Working with delete markers").
_TELLING: Final = frozenset({"GetObject", "HeadObject", "GetObjectAttributes"})


def version_of(call: Call) -> str | None:
    """The version that is asked for, None for the current one. Raises ``Invalid("argument")``."""
    version = call.query.get("versionId")
    if version == "":
        raise bad_version(version)
    return version


def shown_version(call: Call, stored: StoredObject) -> str | None:
    """What answers about an object call its version: nothing, in buckets that never had versioning."""
    return stored.version_id if call.access is not None and call.access.bucket.versioning else None


def version_headers(version: str | None, marker: bool = False) -> list[tuple[str, str]]:
    """The headers that name a version, and whether it is a delete marker."""
    headers = [] if version is None else [(_VERSION_ID, version)]
    if marker:
        headers.append(_MARKER)
    return headers


def marker_headers(operation: str | None, error: DomainError) -> list[tuple[str, str]]:
    """What an error says of the delete marker that it is about."""
    marker = error.detail.get("marker")
    if not isinstance(marker, Marker) or operation not in _TELLING:
        return []
    headers = version_headers(marker.version_id, marker=True)
    if error.kind == "marker":
        headers += [("last-modified", http_date(marker.modified_ms)), ("allow", "DELETE")]
    return headers


async def get_versioning(call: Call) -> Response:
    """GetBucketVersioning: nothing is said of a bucket that never had it."""
    versioning = call.access.bucket.versioning if call.access else ""
    return call.reply({"Status": versioning} if versioning else {})


async def put_versioning(call: Call) -> Response:
    """PutBucketVersioning."""
    asked = call.params(await document(call)).get("VersioningConfiguration")
    if asked is None:
        raise malformed()
    if asked.get("MFADelete") == "Enabled":
        raise NotImplementedYet("mfa", "MFA delete is not offered: this server has no multi-factor devices.")
    status = asked.get("Status")
    if status is None:
        raise Invalid("versioning", "The Versioning element must be specified")
    if status not in ("Enabled", "Suspended") or asked.get("MFADelete") not in (None, "Disabled"):
        raise malformed()
    await call.tools.store.commit(call.tools.objects.buckets.put_versioning, call.bucket, status)
    return Response(200)


async def list_object_versions(call: Call) -> Response:
    """ListObjectVersions."""
    query = call.query
    key, version = query.get("key-marker", ""), query.get("version-id-marker", "")
    if version and not key:
        raise Invalid(
            "argument",
            "A version-id marker cannot be specified without a key marker.",
            ArgumentName="version-id-marker",
            ArgumentValue=version[:100],
        )
    limit = limit_of(call, "max-keys")
    encode = encoder_of(call)
    listing = VersionListing(call.bucket, query.get("prefix", ""), query.get("delimiter", ""), key, version, limit)
    page = await call.tools.store.view(list_versions, listing)
    kept = [version.kept for version in page.versions if isinstance(version.kept, StoredObject)]
    restores = await restores_listed(call, kept) if call.request.headers.has_any(OPTIONAL) else {}
    output: dict[str, Any] = {
        "Name": call.bucket,
        "Prefix": encode(listing.prefix),
        "KeyMarker": encode(key),
        "VersionIdMarker": version,
        "MaxKeys": limit,
        "IsTruncated": page.more,
        **_entries(page, encode, restores),
    }
    if listing.delimiter:
        output["Delimiter"] = encode(listing.delimiter)
    if query.get("encoding-type"):
        output["EncodingType"] = query["encoding-type"]
    if page.more:
        output["NextKeyMarker"] = encode(page.last[0])
        if page.last[1]:
            output["NextVersionIdMarker"] = page.last[1]
    return call.reply(output)


def _entries(page: VersionPage, encode: Callable[[str], str], restores: Mapping[int, dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, list[dict[str, Any]]] = {"Versions": [], "DeleteMarkers": []}
    for version in page.versions:
        kind = "DeleteMarkers" if isinstance(version.kept, Marker) else "Versions"
        found[kind].append(_member(version, encode(version.key), restores))
    found["CommonPrefixes"] = [{"Prefix": encode(prefix)} for prefix in page.prefixes]
    return found


def _member(version: Version, key: str, restores: Mapping[int, dict[str, Any]]) -> dict[str, Any]:
    kept = version.kept
    member: dict[str, Any] = {
        "Key": key,
        "VersionId": kept.version_id,
        "IsLatest": version.latest,
        "LastModified": moment(kept.modified_ms),
        "Owner": {"ID": kept.owner},
    }
    if isinstance(kept, StoredObject):
        member.update(ETag=f'"{kept.etag}"', Size=kept.size, StorageClass=kept.attributes.storage_class)
        member["RestoreStatus"] = restores.get(kept.sequence)
        if kept.checksum is not None:
            member.update(ChecksumAlgorithm=[kept.checksum.algorithm], ChecksumType=kept.checksum.type)
    return member
