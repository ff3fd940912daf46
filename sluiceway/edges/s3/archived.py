"""What answers say of archived objects: that they can't be read, or until when (S3 API reference, GetObject,
HeadObject, ListObjectsV2)."""

from __future__ import annotations

from typing import Any, Final

from sluiceway.core.store import View
from sluiceway.edges.s3.call import Call
from sluiceway.edges.s3.headers import http_date, moment
from sluiceway.errors import Invalid
from sluiceway.services.objects.restores import ARCHIVES, Restore, check_readable, restore_of
from sluiceway.services.objects.values import StoredObject

_CLOSED: Final = "The operation is not valid for the object's storage class"
_ASKED: Final = "x-amz-optional-object-attributes"
#: Whether a listing is asked to speak of restores.
OPTIONAL: Final = frozenset({_ASKED})


def is_archived(stored: StoredObject) -> bool:
    """Whether what follows here has anything to say of it."""
    return stored.attributes.storage_class in ARCHIVES


async def refuse_archived(call: Call, stored: StoredObject) -> None:
    """Raises ``Conflict("archived")`` for an object that has to be restored before it is read."""
    await call.tools.store.view(check_readable, call.bucket, stored, _CLOSED)


async def restore_headers(call: Call, stored: StoredObject) -> list[tuple[str, str]]:
    """x-amz-restore of an archived object."""
    found = await call.tools.store.view(restore_of, call.bucket, stored)
    if found is None:
        return []
    if found.ongoing:
        return [("x-amz-restore", 'ongoing-request="true"')]
    return [("x-amz-restore", f'ongoing-request="false", expiry-date="{http_date(found.expires_ms)}"')]


async def restores_listed(call: Call, versions: list[StoredObject]) -> dict[int, dict[str, Any]]:
    """By sequence, what a listing says of restores where the client asks for that."""
    wanted = {name.strip() for value in call.request.headers.all(_ASKED) for name in value.split(",")} - {""}
    if wanted - {"RestoreStatus"}:
        raise Invalid("argument", "Invalid attribute name specified.", ArgumentName=_ASKED)
    archived = [stored for stored in versions if is_archived(stored)] if wanted else []
    return await call.tools.store.view(_statuses, call.bucket, archived) if archived else {}


def _statuses(view: View, bucket: str, archived: list[StoredObject]) -> dict[int, dict[str, Any]]:
    found = {stored.sequence: restore_of(view, bucket, stored) for stored in archived}
    return {sequence: _status(restore) for sequence, restore in found.items() if restore is not None}


def _status(restore: Restore) -> dict[str, Any]:
    if restore.ongoing:
        return {"IsRestoreInProgress": True}
    return {"IsRestoreInProgress": False, "RestoreExpiryDate": moment(restore.expires_ms)}
