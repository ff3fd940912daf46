"""Who owns objects, and the access control lists of buckets and objects.

(S3 User Guide, "Controlling ownership of objects and disabling ACLs for your bucket".) A bucket's row says how it
owns; a list is kept only where it differs from the private one, so that buckets without lists cost no read.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from sluiceway.core.store import Tx, View
from sluiceway.errors import AccessDenied, Invalid, NotFound
from sluiceway.services.objects import versions
from sluiceway.services.objects.grants import Asked, Grants, grants_of, private
from sluiceway.services.objects.history import History
from sluiceway.services.objects.owning import ENFORCED, OWNERSHIPS, check_asked
from sluiceway.services.objects.rows import BUCKETS, SETTINGS, Bucket, bucket_of
from sluiceway.services.objects.values import Actor, StoredObject

#: Kind of a bucket's setting that holds its list.
SETTING = "acl"
_HAS_LIST = "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting"


@dataclass(frozen=True, slots=True)
class Acl:
    """A list and whose thing it is about."""

    owner: str
    grants: Grants


class Acls:
    """Lists and ownership of all buckets."""

    def __init__(self, history: History) -> None:
        self._history = history

    def ownership(self, view: View, name: str) -> str:
        """Raises ``NotFound("bucket" | "ownership")``."""
        found = bucket_of(view, name).ownership
        if not found:
            raise NotFound("ownership", "The bucket ownership controls were not found", BucketName=name)
        return found

    def put_ownership(self, tx: Tx, name: str, ownership: str) -> None:
        """Set how the bucket owns what is put into it; "" takes the setting away, which leaves lists on.

        Raises ``Invalid("malformed" | "acl_ownership")``.
        """
        if ownership and ownership not in OWNERSHIPS:
            raise Invalid("malformed", "The XML you provided was not well-formed or did not validate")
        bucket = bucket_of(tx, name)
        if ownership == ENFORCED and bucket_list(tx, bucket) != private(bucket.owner):
            raise Invalid("acl_ownership", _HAS_LIST, BucketName=name)
        tx.put(BUCKETS, (name,), replace(bucket, ownership=ownership).to_json())

    def of_bucket(self, view: View, name: str) -> Acl:
        """Raises ``NotFound("bucket")``."""
        bucket = bucket_of(view, name)
        return Acl(bucket.owner, bucket_list(view, bucket))

    def of_object(self, view: View, name: str, key: str, version: str | None = None) -> Acl:
        """Raises as ``versions.object_at``."""
        bucket = bucket_of(view, name)
        return object_list(bucket, versions.object_at(view, bucket, key, version))

    def put_on_bucket(self, tx: Tx, name: str, asked: Asked) -> None:
        """Replace the bucket's list. Raises ``Invalid("acl")``, ``AccessDenied("public_acl")``."""
        bucket = bucket_of(tx, name)
        check_asked(tx, bucket, asked)
        if not bucket.lists:
            return
        self.keep_on_bucket(tx, bucket, asked)

    def keep_on_bucket(self, tx: Tx, bucket: Bucket, asked: Asked) -> None:
        """Write a list that was checked."""
        grants = asked.resolved(bucket.owner, bucket.owner)
        if grants == private(bucket.owner):
            if SETTING in bucket.settings:
                tx.delete(SETTINGS, (bucket.name, SETTING))
                left = tuple(kind for kind in bucket.settings if kind != SETTING)
                tx.put(BUCKETS, (bucket.name,), replace(bucket, settings=left).to_json())
            return
        tx.put(SETTINGS, (bucket.name, SETTING), [list(grant) for grant in grants])
        if SETTING not in bucket.settings:
            tx.put(BUCKETS, (bucket.name,), replace(bucket, settings=(*bucket.settings, SETTING)).to_json())

    def put_on_object(
        self, tx: Tx, name: str, key: str, asked: Asked, actor: Actor, version: str | None = None
    ) -> None:
        """Replace a version's list; a change of it is an event. Time and ETag of the object stay.

        Raises as ``versions.object_at``, ``Invalid("acl")``, ``AccessDenied("public_acl")``.
        """
        bucket = bucket_of(tx, name)
        stored = versions.object_at(tx, bucket, key, version)
        check_asked(tx, bucket, asked)
        if not bucket.lists:
            return
        grants = asked.resolved(stored.owner, bucket.owner)
        changed = replace(stored, acl=None if grants == private(stored.owner) else grants)
        if changed == stored:
            return  # as on AWS, where a request that changes nothing is no event
        versions.rewrite(tx, name, key, changed)
        sequence = self._history.next_sequence(tx, name)
        self._history.note(tx, bucket, "ObjectAcl:Put", key, sequence, changed, actor)


def bucket_list(view: View, bucket: Bucket) -> Grants:
    """The bucket's list; where lists are off, its owner's full control."""
    if not bucket.lists or SETTING not in bucket.settings:
        return private(bucket.owner)
    return grants_of(view.get(SETTINGS, (bucket.name, SETTING)) or ())


def object_list(bucket: Bucket, stored: StoredObject) -> Acl:
    """The object's list; where lists are off, the bucket's owner owns it and has full control."""
    if not bucket.lists:
        return Acl(bucket.owner, private(bucket.owner))
    return Acl(stored.owner, private(stored.owner) if stored.acl is None else stored.acl)


def check_owner(acl: Acl, given: Any) -> None:
    """A list that is put names the owner, who can't be changed by it. Raises ``AccessDenied``, ``Invalid``."""
    owner = given.get("ID") if isinstance(given, dict) else None
    if not owner:
        raise Invalid("acl_form", "The XML you provided was not well-formed or did not validate")
    if owner != acl.owner:
        raise AccessDenied("owner", "Access Denied")
