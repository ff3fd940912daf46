"""May this request do this? Policies first, then access control lists, which only add.

(S3 User Guide, "How Amazon S3 authorizes a request".) An explicit deny wins over any list; a public policy in a bucket
that restricts such lets in nobody from outside the account.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

from sluiceway.core.identity import Principal
from sluiceway.core.policy.evaluate import Document
from sluiceway.core.store import View
from sluiceway.edges.s3 import conditions
from sluiceway.errors import AccessDenied, NotFound
from sluiceway.services.objects.actions import KEYS
from sluiceway.services.objects.buckets import Access
from sluiceway.services.objects.grants import NEEDED, OF_OWNER, ON_OWN, is_self, permits, private
from sluiceway.services.objects.public import is_public_policy
from sluiceway.services.objects.values import StoredObject
from sluiceway.services.objects.versions import current_at, is_version, version_at

if TYPE_CHECKING:
    from sluiceway.edges.s3.call import Call

_EXISTING: Final = "s3:existingobjecttag"
#: An object as it is, None where there is none, or that nobody looked: then no list lets anybody in.
Looked = StoredObject | None | Literal["unknown"]

#: Who owns an object may always read and write its list.
_OWNERS: Final = frozenset({"READ_ACP", "WRITE_ACP"})


def is_free(call: Call, access: Access | None) -> bool:
    """Whether nothing can be refused: the account's root, where no policy stands."""
    return call.verified.principal.kind == "root" and (access is None or access.policy is None)


async def look_ahead(
    call: Call, access: Access | None, action: str, bucket: str, key: str, version: str | None
) -> StoredObject | None:
    """The version's row, where a list or a condition on its tags may decide; None also where it is not there."""
    if not key or access is None or is_free(call, access):
        return None
    of_list = access.grants is not None and (action in NEEDED["object"] or action in ON_OWN)
    of_tags = action in KEYS[_EXISTING] and conditions.mentioned(documents_of(call, access), _EXISTING)
    if not of_list and not of_tags:
        return None
    return await call.tools.store.view(_row, bucket, key, version)


def _row(view: View, bucket: str, key: str, version: str | None) -> StoredObject | None:
    if version is None:
        return current_at(view, bucket, key)
    kept = version_at(view, bucket, key, version) if is_version(version) else None
    return kept if isinstance(kept, StoredObject) else None


async def look_ahead_many(call: Call, keys: Sequence[str]) -> dict[str, StoredObject]:
    """The rows of what a request deletes, where a list may decide; those that are there."""
    access = call.access
    if access is None or access.grants is None or is_free(call, access):
        return {}
    return await call.tools.store.view(_rows, call.bucket, keys)


def _rows(view: View, bucket: str, keys: Sequence[str]) -> dict[str, StoredObject]:
    found = {key: current_at(view, bucket, key) for key in keys}
    return {key: stored for key, stored in found.items() if stored is not None}


def decide(
    call: Call,
    action: str,
    resource: str,
    access: Access | None,
    more: Mapping[str, list[str]],
    looked: Looked,
) -> None:
    """Raises ``AccessDenied``."""
    policy = access.policy if access else None
    principal = call.principal
    if principal.kind == "anonymous" and access is not None and _is_restricted(access):
        raise AccessDenied("access", "Access Denied")
    known: dict[str, list[str]] = {}
    if conditions.asked_for(documents_of(call, access)):
        known = conditions.collect(call, action, more, looked if isinstance(looked, StoredObject) else None)
    try:
        call.tools.authorize(principal, action, resource, known, policy)
    except AccessDenied as denied:
        if access is None or denied.detail.get("explicit") or not _listed(call, action, access, looked):
            raise


def documents_of(call: Call, access: Access | None) -> list[Document]:
    found: list[Any] = list(call.principal.policies)
    if access is not None and access.policy is not None:
        found.append(access.policy)
    return found


def _is_restricted(access: Access) -> bool:
    return "RestrictPublicBuckets" in access.blocks and access.policy is not None and is_public_policy(access.policy)


def _listed(call: Call, action: str, access: Access, looked: Looked) -> bool:
    """Whether a list allows what no policy allows."""
    if access.grants is None:
        return False
    principal = call.principal
    ignore = "IgnorePublicAcls" in access.blocks
    needed = NEEDED["bucket"].get(action)
    if needed is not None:
        if action in ON_OWN and not (looked is None or _owns(looked, principal)):
            return False
        own = is_self(access.bucket.owner, principal)
        if action in OF_OWNER and not own:
            return False
        own = needed in _OWNERS and own
        return own or permits(access.grants, needed, principal, ignore_public=ignore)
    needed = NEEDED["object"].get(action)
    if needed is None or looked == "unknown":
        return False
    if looked is None:
        if "versionId" not in call.query and permits(access.grants, "READ", principal, ignore_public=ignore):
            raise NotFound("key", "The specified key does not exist.", Key=call.key)  # who may list may know
        return False
    grants = private(looked.owner) if looked.acl is None else looked.acl
    own = needed in _OWNERS and is_self(looked.owner, principal)
    return own or permits(grants, needed, principal, ignore_public=ignore)


def _owns(looked: Looked, principal: Principal) -> bool:
    return isinstance(looked, StoredObject) and is_self(looked.owner, principal)
