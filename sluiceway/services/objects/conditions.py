"""Preconditions of reads and writes (RFC 9110, 13.2.2; S3 API reference, GetObject and PutObject)."""

from __future__ import annotations

from sluiceway.errors import DomainError, NotFound, PreconditionFailed
from sluiceway.services.objects.values import NO_CONDITIONS, Conditions, StoredObject


class NotModified(DomainError):
    """The reader has this state of the object already; ``detail["stored"]`` is the object."""


def check_read(stored: StoredObject, conditions: Conditions) -> None:
    """Raises ``PreconditionFailed("condition")`` or ``NotModified("object")``."""
    if conditions is NO_CONDITIONS:
        return
    modified_s = stored.modified_ms // 1000
    if conditions.if_match is not None:
        if not _has_tag(conditions.if_match, stored.etag):
            raise _failed("If-Match")
    elif conditions.if_unmodified_since_s is not None and modified_s > conditions.if_unmodified_since_s:
        raise _failed("If-Unmodified-Since")
    if conditions.if_none_match is not None:
        if _has_tag(conditions.if_none_match, stored.etag):
            raise NotModified("object", "Not Modified", stored=stored)
    elif conditions.if_modified_since_s is not None and modified_s <= conditions.if_modified_since_s:
        raise NotModified("object", "Not Modified", stored=stored)


def check_source(stored: StoredObject, conditions: Conditions) -> None:
    """The same for the source of a copy, where "not modified" is a failure, too."""
    try:
        check_read(stored, conditions)
    except NotModified:
        raise _failed("x-amz-copy-source-If-None-Match") from None
    except PreconditionFailed as error:
        raise _failed(f"x-amz-copy-source-{error.detail['Condition']}") from None


def check_write(stored: StoredObject | None, key: str, conditions: Conditions) -> None:
    """Conditional writes. Raises ``PreconditionFailed("condition")`` or ``NotFound("key")``."""
    if conditions is NO_CONDITIONS:
        return
    if stored is not None and conditions.if_none_match and _has_tag(conditions.if_none_match, stored.etag):
        raise _failed("If-None-Match")
    if conditions.if_match is not None:
        if stored is None:
            raise NotFound("key", "The specified key does not exist.", Key=key)
        if not _has_tag(conditions.if_match, stored.etag):
            raise _failed("If-Match")


def _has_tag(header: str, etag: str) -> bool:
    tags = [tag.strip().removeprefix("W/").strip('"') for tag in header.split(",")]
    return "*" in tags or etag in tags


def _failed(condition: str) -> PreconditionFailed:
    return PreconditionFailed(
        "condition", "At least one of the pre-conditions you specified did not hold", Condition=condition
    )
