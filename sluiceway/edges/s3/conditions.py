"""What a request tells policies about itself: the condition keys of Amazon S3, and the global ones.

(Service Authorization Reference, "Condition keys for Amazon S3"; IAM User Guide, "AWS global condition context
keys".) A key is there exactly where AWS documents it for the action. Nothing is collected where no policy asks.
"""

from __future__ import annotations

import calendar
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

from sluiceway.core.policy.evaluate import Document, statements_of
from sluiceway.edges.aws.pipeline import conditions_of
from sluiceway.edges.s3.headers import copied_from
from sluiceway.edges.sigv4 import ALGORITHM
from sluiceway.services.objects.actions import applies
from sluiceway.services.objects.values import StoredObject

if TYPE_CHECKING:
    from sluiceway.edges.s3.call import Call

Conditions = dict[str, list[str]]

#: Headers that are condition keys under their own name.
_HEADERS: Final = (
    "x-amz-acl",
    "x-amz-grant-full-control",
    "x-amz-grant-read",
    "x-amz-grant-read-acp",
    "x-amz-grant-write",
    "x-amz-grant-write-acp",
    "x-amz-object-ownership",
    "x-amz-metadata-directive",
    "x-amz-storage-class",
    "x-amz-website-redirect-location",
    "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-server-side-encryption-customer-algorithm",
    "if-match",
    "if-none-match",
)
#: Query parameter -> condition key.
_QUERY: Final = (
    ("prefix", "s3:prefix"),
    ("delimiter", "s3:delimiter"),
    ("max-keys", "s3:max-keys"),
    ("versionId", "s3:VersionId"),
)
#: Operations that are allowed as s3:PutObject without making an object yet.
_PARTIAL: Final = frozenset({"CreateMultipartUpload", "UploadPart", "UploadPartCopy"})


def asked_for(documents: Iterable[Document]) -> bool:
    """Whether what a request tells of itself can matter: some statement has a condition or a variable."""
    return any(
        "Condition" in statement or any("${" in text for text in _texts(statement))
        for document in documents
        for statement in statements_of(document)
    )


def mentioned(documents: Iterable[Document], key: str) -> bool:
    """Whether a policy names ``key`` (in lower case), as a condition or a variable."""
    return any(
        key in text.lower()
        for document in documents
        for statement in statements_of(document)
        for member in ("Condition", "Resource", "NotResource")
        for text in _texts(statement.get(member))
    )


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield name
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


def collect(call: Call, action: str, more: Mapping[str, list[str]], stored: StoredObject | None) -> Conditions:
    """All keys of the request for ``action``. ``more`` comes from its body; ``stored`` is the object as it is."""
    known = _common(call)
    known.update(more)
    for key, values in _specific(call, action, stored):
        if applies(key, action):
            known[key] = values
    return known


def _common(call: Call) -> Conditions:
    request, verified = call.request, call.verified
    now_ms = call.tools.clock.now_ms()
    scope = call.tools.objects.scope
    known = conditions_of(request, verified.principal, scope, now_ms)
    if call.bucket:
        known["s3:ResourceAccount"] = [scope.account]
    else:
        del known["aws:ResourceAccount"]
    if content := request.headers.get("x-amz-content-sha256"):
        known["s3:x-amz-content-sha256"] = [content]
    if version := request.scratch.get("tls_version"):
        known["s3:TlsVersion"] = [version.removeprefix("TLSv")]
    if verified.principal.kind != "anonymous" and verified.signature:
        known["s3:authType"] = [_way_of_signing(call)]
        known["s3:signatureversion"] = [ALGORITHM]
        known["s3:signatureAge"] = [str(max(0, now_ms - _signed_ms(verified.timestamp)))]
    return known


def _way_of_signing(call: Call) -> str:
    if "authorization" in call.request.headers:
        return "REST-HEADER"
    return "REST-QUERY-STRING" if "X-Amz-Signature" in call.query else "POST"


def _signed_ms(timestamp: str) -> int:
    parts = [int(timestamp[at : at + 2]) for at in (4, 6, 9, 11, 13)]
    return calendar.timegm((int(timestamp[:4]), parts[0], parts[1], parts[2], parts[3], parts[4])) * 1000


def _specific(call: Call, action: str, stored: StoredObject | None) -> Iterator[tuple[str, list[str]]]:
    headers = call.request.headers
    for name in _HEADERS:
        if name in headers:
            yield f"s3:{name}", [headers.get(name)]
    for name, key in _QUERY:
        if name in call.query:
            yield key, [call.query[name]]
    if source := headers.get("x-amz-copy-source"):
        # Clients write a source with and without its slash, and encoded as they like: policies see one form.
        yield "s3:x-amz-copy-source", [copied_from(source)[0]]
    if action == "s3:PutObject":
        yield "s3:ObjectCreationOperation", ["false" if call.operation in _PARTIAL else "true"]
        if tagging := headers.get("x-amz-tagging"):
            yield from request_tags(parse_qsl(tagging, keep_blank_values=True))
    elif action == "s3:PutObjectTagging" and (tagging := headers.get("x-amz-tagging")):
        yield from request_tags(parse_qsl(tagging, keep_blank_values=True))
    if stored is not None:
        for name, value in stored.attributes.tags.items():
            yield f"s3:ExistingObjectTag/{name}", [value]


def request_tags(pairs: Iterable[tuple[str, str]]) -> Iterator[tuple[str, list[str]]]:
    """The tags that a request gives an object."""
    names = []
    for name, value in pairs:
        names.append(name)
        yield f"s3:RequestObjectTag/{name}", [value]
    if names:
        yield "s3:RequestObjectTagKeys", names
