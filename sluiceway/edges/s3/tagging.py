"""The tags of objects, and how sets of tags are read and written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sluiceway.edges.aws.codecs.xmls import malformed
from sluiceway.edges.http import Response
from sluiceway.edges.s3.body import document
from sluiceway.edges.s3.call import Call
from sluiceway.edges.s3.versions import shown_version, version_of
from sluiceway.errors import AccessDenied
from sluiceway.services.objects.values import StoredObject


async def get_tagging(call: Call) -> Response:
    """GetObjectTagging."""
    tools = call.tools
    stored = await tools.store.view(tools.objects.contents.head, call.bucket, call.key, version=version_of(call))
    return call.reply({"TagSet": tag_set(stored.attributes.tags), "VersionId": shown_version(call, stored)})


async def put_tagging(call: Call) -> Response:
    """PutObjectTagging."""
    asked = call.params(await document(call)).get("Tagging")
    if asked is None:
        raise malformed()
    return await _put(call, tag_pairs(asked.get("TagSet")))


async def delete_tagging(call: Call) -> Response:
    """DeleteObjectTagging."""
    return await _put(call, None)


async def _put(call: Call, tags: list[tuple[str, str]] | None) -> Response:
    tools = call.tools
    stored = await tools.store.commit(
        tools.objects.contents.put_tags, call.bucket, call.key, tags, call.actor, version_of(call)
    )
    return call.reply({"VersionId": shown_version(call, stored)})


def count_headers(call: Call, stored: StoredObject) -> list[tuple[str, str]]:
    """How many tags an object has, for who may read them (S3 API reference, GetObject, "x-amz-tagging-count")."""
    action = "s3:GetObjectVersionTagging" if "versionId" in call.query else "s3:GetObjectTagging"
    try:
        call.allow(action, f"arn:aws:s3:::{call.bucket}/{call.key}", call.access, stored=stored)
    except AccessDenied:
        return []
    return [("x-amz-tagging-count", str(len(stored.attributes.tags)))]


def tag_pairs(found: Any) -> list[tuple[str, str]]:
    """The tags that a document holds."""
    return [(tag.get("Key") or "", tag.get("Value") or "") for tag in found or ()]


def tag_set(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """The tags as a document holds them."""
    return [{"Key": name, "Value": value} for name, value in tags.items()]
