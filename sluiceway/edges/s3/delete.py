"""DeleteObject and DeleteObjects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sluiceway.edges.aws.codecs.xmls import malformed
from sluiceway.edges.http import Response
from sluiceway.edges.s3.body import document
from sluiceway.edges.s3.call import Call
from sluiceway.edges.s3.deciding import look_ahead_many
from sluiceway.edges.s3.error import code_of
from sluiceway.edges.s3.headers import deletion_conditions_from
from sluiceway.edges.s3.versions import version_headers, version_of
from sluiceway.errors import AccessDenied
from sluiceway.services.objects.removals import Removed, Wanted
from sluiceway.services.objects.values import StoredObject
from sluiceway.services.objects.versions import is_version


async def delete_object(call: Call) -> Response:
    """Remove a key or a version; that it was not there is success, too."""
    conditions = deletion_conditions_from(call.request.headers)
    tools = call.tools
    removed = await tools.store.commit(
        tools.objects.removals.delete, call.bucket, call.key, call.actor, conditions, version_of(call)
    )
    return Response(204, version_headers(removed.version, removed.marker))


async def delete_objects(call: Call) -> Response:
    """Remove up to a thousand keys in one transaction; each is allowed or denied by itself.

    A stranger's list is not even read where neither policy nor grants could allow anything of it.
    """
    access = call.access
    if call.principal.kind == "anonymous" and not (access and (access.policy or access.grants)):
        raise AccessDenied("anonymous", "Access Denied")
    body = await document(call, digest_required=True)
    wanted = call.params(body).get("Delete") or {}
    items = wanted.get("Objects") or []
    if not 0 < len(items) <= call.tools.limits.page_max:
        raise malformed()
    errors: list[dict[str, Any]] = []
    allowed: list[Wanted] = []
    rows = await look_ahead_many(call, [item.get("Key") or "" for item in items])
    for item in items:
        refusal = _refusal(call, item, rows)
        if refusal is None:
            allowed.append(Wanted(item["Key"], item.get("VersionId") or None, item.get("ETag")))
        else:
            errors.append({**_named(item["Key"], item.get("VersionId")), **refusal})
    deleted: list[dict[str, Any]] = []
    outcomes = await call.tools.store.commit(call.tools.objects.removals.delete_many, call.bucket, allowed, call.actor)
    for one, outcome in zip(allowed, outcomes, strict=True):
        if isinstance(outcome, Removed):
            deleted.append(_deleted(one, outcome))
        else:
            code, _ = code_of(outcome)
            errors.append({**_named(one.key, one.version), "Code": code, "Message": outcome.message})
    return call.reply({"Deleted": [] if wanted.get("Quiet") else deleted, "Errors": errors})


def _named(key: str, version: str | None) -> dict[str, Any]:
    return {"Key": key, "VersionId": version} if version else {"Key": key}


def _deleted(one: Wanted, removed: Removed) -> dict[str, Any]:
    """The entry of what is gone; a marker is named apart, also where it is what was to go."""
    member = _named(one.key, one.version)
    if removed.marker:
        member.update(DeleteMarker=True, DeleteMarkerVersionId=removed.version)
    return member


def _refusal(call: Call, item: dict[str, Any], rows: Mapping[str, StoredObject]) -> dict[str, str] | None:
    if not item.get("Key"):
        raise malformed()
    if len(item["Key"].encode()) > call.tools.limits.key_bytes_max:
        return {"Code": "KeyTooLongError", "Message": "Your key is too long"}
    if "LastModifiedTime" in item or "Size" in item:  # conditions that only directory buckets know
        return {"Code": "NotImplemented", "Message": "A condition you provided is not implemented"}
    version, resource = item.get("VersionId"), f"arn:aws:s3:::{call.bucket}/{item['Key']}"
    etag = item.get("ETag")
    if version and not is_version(version):
        return {"Code": "NoSuchVersion", "Message": "The specified version does not exist."}
    try:
        if version:
            call.allow("s3:DeleteObjectVersion", resource, call.access, {"s3:VersionId": [version]})
        else:
            asked = {"s3:if-match": [etag]} if etag else {}
            call.allow("s3:DeleteObject", resource, call.access, asked, rows.get(item["Key"]))
        if etag not in (None, "*"):  # as for a single deletion
            call.allow("s3:GetObject", resource, call.access, stored=rows.get(item["Key"], "unknown"))
    except AccessDenied as denied:
        return {"Code": "AccessDenied", "Message": denied.message}
    return None
