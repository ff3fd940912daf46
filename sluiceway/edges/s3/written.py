"""What answers say about an object beyond itself: how it is encrypted, and when a lifecycle rule will remove it."""

from __future__ import annotations

from urllib.parse import quote

from sluiceway.core.store import View
from sluiceway.edges.s3.call import Call
from sluiceway.edges.s3.encryption_headers import encryption_headers
from sluiceway.edges.s3.headers import http_date
from sluiceway.services.objects.lifecycle.evaluation import Subject, abortion, expiration
from sluiceway.services.objects.lifecycle.rules import SETTING, rules_of
from sluiceway.services.objects.multipart import Upload
from sluiceway.services.objects.values import StoredObject

#: What a rule's id may show as it is inside a quoted header value; S3 leaves spaces as they are.
_SAFE = " !#$%&'()*+,-./:;<=>?@[]^_`{|}~"


async def written_headers(call: Call, stored: StoredObject) -> list[tuple[str, str]]:
    """For answers to writes."""
    headers = list(encryption_headers(stored.attributes.encryption, context=True))
    if may_expire(call):
        headers.extend(await expiration_headers(call, stored))
    return headers


def may_expire(call: Call) -> bool:
    """Whether the bucket has lifecycle rules, which have to be read then. Where a version is named, S3 says nothing of
    its expiration, even if it is the current one."""
    return call.access is not None and SETTING in call.access.bucket.settings and "versionId" not in call.query


async def expiration_headers(call: Call, stored: StoredObject) -> list[tuple[str, str]]:
    """x-amz-expiration of a current version."""
    if not may_expire(call):
        return []
    subject = Subject.of(call.key, stored)
    found = await call.tools.store.view(_expiration, call.bucket, subject)
    if found is None:
        return []
    due_ms, rule_id = found
    return [("x-amz-expiration", f'expiry-date="{http_date(due_ms)}", rule-id="{_plain(rule_id)}"')]


async def upload_headers(call: Call, upload: Upload) -> list[tuple[str, str]]:
    """For answers about an unfinished upload: how it is encrypted is said by those that make something of it."""
    if call.access is None or SETTING not in call.access.bucket.settings:
        return []
    found = await call.tools.store.view(_abortion, call.bucket, upload)
    if found is None:
        return []
    due_ms, rule_id = found
    return [("x-amz-abort-date", http_date(due_ms)), ("x-amz-abort-rule-id", _plain(rule_id))]


def _expiration(view: View, bucket: str, subject: Subject) -> tuple[int, str] | None:
    return expiration(rules_of(view, bucket).rules, subject)


def _abortion(view: View, bucket: str, upload: Upload) -> tuple[int, str] | None:
    return abortion(rules_of(view, bucket).rules, upload.key, upload.initiated_ms)


def _plain(rule_id: str) -> str:
    return quote(rule_id, safe=_SAFE)
