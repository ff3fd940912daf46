"""Whether a request may begin: its own action, and the others that it needs leave for.

(S3 API reference, "Permissions" of PutObject, CopyObject, CreateMultipartUpload and CreateBucket; Service
Authorization Reference, "API operations defined by Amazon S3".)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sluiceway.core.policy.evaluate import Document
from sluiceway.edges.http import Headers
from sluiceway.edges.s3.body import document
from sluiceway.edges.s3.call import Call
from sluiceway.edges.s3.conditions import Conditions, mentioned, request_tags
from sluiceway.edges.s3.deciding import decide, documents_of, look_ahead

#: Where a document that policies had to look into waits for its handler.
KEPT: Final = "s3.document"
GRANT_HEADERS: Final = {
    "x-amz-grant-full-control": "FULL_CONTROL",
    "x-amz-grant-read": "READ",
    "x-amz-grant-read-acp": "READ_ACP",
    "x-amz-grant-write": "WRITE",
    "x-amz-grant-write-acp": "WRITE_ACP",
}
_TAGGING: Final = frozenset({"s3:PutObjectTagging", "s3:PutObjectVersionTagging"})
_CONDITIONAL: Final = frozenset({"PutObject", "CopyObject", "CompleteMultipartUpload", "DeleteObject"})
_WRITES: Final = frozenset({"PutObject", "CopyObject", "CreateMultipartUpload"})


async def admit(call: Call, action: str, resource: str) -> None:
    """Raises ``AccessDenied``."""
    access = call.access
    stored = await look_ahead(call, access, action, call.bucket, call.key, call.query.get("versionId"))
    if stored is not None:
        call.seen = (action, resource, stored)
    more = await _of_body(call, action, documents_of(call, access))
    for each in (action, *further_actions(call.operation, call.request.headers)):
        decide(call, each, resource, access, more, stored)
    if call.operation in _CONDITIONAL and call.request.headers.get("if-match") not in ("", "*"):
        # Else whoever may write could ask for one ETag after the other (S3 User Guide, "Conditional requests").
        current = await look_ahead(call, access, "s3:GetObject", call.bucket, call.key, None)
        decide(call, "s3:GetObject", resource, access, {}, current)


def has_list(headers: Headers) -> bool:
    """Whether the request says who may access what it makes."""
    return "x-amz-acl" in headers or any(name in headers for name in GRANT_HEADERS)


def further_actions(operation: str, headers: Headers) -> list[str]:
    """Further actions on the same resource, all of which must be allowed."""
    found = []
    if operation in _WRITES:
        if has_list(headers):
            found.append("s3:PutObjectAcl")
        if headers.get("x-amz-tagging") and _tags_count(operation, headers):
            found.append("s3:PutObjectTagging")
    elif operation == "CreateBucket":
        if has_list(headers):
            found.append("s3:PutBucketAcl")
        if "x-amz-object-ownership" in headers:
            found.append("s3:PutBucketOwnershipControls")
    return found


def _tags_count(operation: str, headers: Headers) -> bool:
    """The tags of a copy count only where they replace its source's."""
    return operation != "CopyObject" or headers.get("x-amz-tagging-directive") == "REPLACE"


async def _of_body(call: Call, action: str, documents: Sequence[Document]) -> Conditions:
    """Condition keys that only the body tells: it is read before the decision only where a policy asks for them."""
    if action in _TAGGING and mentioned(documents, "s3:requestobjecttag"):
        tags = ((await _parsed(call)).get("Tagging") or {}).get("TagSet")
        return dict(request_tags(_pairs(tags)))
    if action != "s3:CreateBucket":
        return {}
    if not any(mentioned(documents, key) for key in ("s3:locationconstraint", "aws:requesttag", "aws:tagkeys")):
        return {}
    asked = (await _parsed(call)).get("CreateBucketConfiguration") or {}
    pairs = _pairs(asked.get("Tags"))
    found: Conditions = {f"aws:RequestTag/{name}": [value] for name, value in pairs}
    if pairs:
        found["aws:TagKeys"] = [name for name, _ in pairs]
    if place := asked.get("LocationConstraint"):
        found["s3:LocationConstraint"] = [place]
    return found


async def _parsed(call: Call) -> dict[str, Any]:
    body = await document(call)
    call.request.scratch[KEPT] = body
    return call.params(body)


def _pairs(tag_set: Any) -> list[tuple[str, str]]:
    return [(tag.get("Key") or "", tag.get("Value") or "") for tag in tag_set or ()]
