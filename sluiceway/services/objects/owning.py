"""Whose an object becomes when it is put, and which list it gets.

(S3 User Guide, "Controlling ownership of objects and disabling ACLs for your bucket".)
"""

from __future__ import annotations

from typing import Final

from sluiceway.core.store import View
from sluiceway.errors import AccessDenied, Invalid
from sluiceway.services.objects import public
from sluiceway.services.objects.grants import ANONYMOUS_ID, Asked, Grants, private
from sluiceway.services.objects.rows import SETTINGS, Bucket
from sluiceway.services.objects.values import Actor

ENFORCED: Final = "BucketOwnerEnforced"
PREFERRED: Final = "BucketOwnerPreferred"
WRITER: Final = "ObjectWriter"
OWNERSHIPS: Final = frozenset({ENFORCED, PREFERRED, WRITER})

_HARMLESS: Final = ("private", "bucket-owner-full-control")


def check_asked(view: View, bucket: Bucket, asked: Asked) -> None:
    """Raises ``Invalid("acl")`` where lists are off and this one says more than the owner's full control, and
    ``AccessDenied("public_acl")`` where it is public and the bucket's block refuses that."""
    if not bucket.lists:
        same = asked.grants == private(bucket.owner) if not asked.canned else asked.canned in _HARMLESS
        if not same:
            raise Invalid("acl", "The bucket does not allow ACLs")
        return
    if asked.public and "BlockPublicAcls" in blocks(view, bucket):
        raise AccessDenied(
            "public_acl",
            "Public access control lists (ACLs) are prevented by the BlockPublicAcls setting in S3 Block Public Access.",
        )


def blocks(view: View, bucket: Bucket) -> frozenset[str]:
    """The settings of the bucket's public access block that are on."""
    if public.SETTING not in bucket.settings:
        return frozenset()
    kept = view.get(SETTINGS, (bucket.name, public.SETTING)) or {}
    return frozenset(name for name, on in kept.items() if on)


def applied(bucket: Bucket, asked: Asked | None, actor: Actor) -> tuple[str, Grants | None]:
    """The owner of what ``actor`` puts, and its list: None for the private one. ``asked`` was checked."""
    if not bucket.lists:
        return bucket.owner, None
    owner = actor.canonical_id or ANONYMOUS_ID
    if asked is None:
        return owner, None
    if bucket.ownership == PREFERRED and asked.canned == "bucket-owner-full-control":
        owner = bucket.owner
    grants = asked.resolved(owner, bucket.owner)
    return owner, None if grants == private(owner) else grants
