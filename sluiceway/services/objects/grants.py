"""Access control lists: what they may say, what a canned one means, and what a grant allows.

A list is a tuple of (grantee, permission): the grantee is a canonical user id or a group's URI. (S3 User Guide,
"Access control list (ACL) overview": the tables of groups, of canned ACLs, and "Mapping of ACL permissions and
access policy permissions".) Lists only ever allow; what a policy denies stays denied.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from sluiceway.core.identity import Principal
from sluiceway.errors import Invalid

Grant = tuple[str, str]
Grants = tuple[Grant, ...]
Level = Literal["bucket", "object"]

ALL_USERS: Final = "http://acs.amazonaws.com/groups/global/AllUsers"
AUTHENTICATED_USERS: Final = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers"
LOG_DELIVERY: Final = "http://acs.amazonaws.com/groups/s3/LogDelivery"
GROUPS: Final = frozenset({ALL_USERS, AUTHENTICATED_USERS, LOG_DELIVERY})
PUBLIC_GROUPS: Final = frozenset({ALL_USERS, AUTHENTICATED_USERS})
PERMISSIONS: Final = frozenset({"READ", "WRITE", "READ_ACP", "WRITE_ACP", "FULL_CONTROL"})
#: Grants of one list (S3 User Guide, "Access control list (ACL) overview").
GRANTS_MAX: Final = 100
#: Who owns what nobody signed for, and Amazon EC2, which reads machine images of "aws-exec-read": AWS's own ids.
ANONYMOUS_ID: Final = "65a011a29cdf8ec533ec3d1ccaae921c"
_EC2_ID: Final = "6aa5a366c34c1cbe25dc49211496e913e0351eb0e8c37aa3477e40942ec6b97c"
_CANONICAL_ID = re.compile(r"[0-9a-f]{32}(?:[0-9a-f]{32})?\Z")

#: Canned list -> what it grants besides the owner's full control; "" stands for the bucket's owner.
_CANNED: Final[Mapping[str, Grants]] = {
    "private": (),
    "public-read": ((ALL_USERS, "READ"),),
    "public-read-write": ((ALL_USERS, "READ"), (ALL_USERS, "WRITE")),
    "authenticated-read": ((AUTHENTICATED_USERS, "READ"),),
    "aws-exec-read": ((_EC2_ID, "READ"),),
    "bucket-owner-read": (("", "READ"),),
    "bucket-owner-full-control": (("", "FULL_CONTROL"),),
    "log-delivery-write": ((LOG_DELIVERY, "WRITE"), (LOG_DELIVERY, "READ_ACP")),
}
#: Policy action -> the permission in a bucket's list that allows it; and the same for an object's list.
NEEDED: Final[Mapping[Level, Mapping[str, str]]] = {
    "bucket": {
        "s3:ListBucket": "READ",
        "s3:ListBucketVersions": "READ",
        "s3:ListBucketMultipartUploads": "READ",
        "s3:PutObject": "WRITE",
        "s3:DeleteObject": "WRITE",
        "s3:DeleteObjectVersion": "WRITE",
        "s3:GetBucketAcl": "READ_ACP",
        "s3:PutBucketAcl": "WRITE_ACP",
    },
    "object": {
        "s3:GetObject": "READ",
        "s3:GetObjectVersion": "READ",
        "s3:GetObjectAcl": "READ_ACP",
        "s3:GetObjectVersionAcl": "READ_ACP",
        "s3:PutObjectAcl": "WRITE_ACP",
        "s3:PutObjectVersionAcl": "WRITE_ACP",
    },
}
#: Of these, "WRITE" speaks of new objects, and of existing ones to their owner only.
ON_OWN: Final = frozenset({"s3:PutObject", "s3:DeleteObject"})
#: And this only if it was given to the bucket's owner.
OF_OWNER: Final = frozenset({"s3:DeleteObjectVersion"})


@dataclass(frozen=True, slots=True)
class Asked:
    """A list as a request gives it: a ``canned`` name, or ``grants``."""

    canned: str = ""
    grants: Grants = ()

    @property
    def public(self) -> bool:
        """Whether it lets in everybody, or everybody with an account."""
        return is_public(_CANNED[self.canned] if self.canned else self.grants)

    def to_json(self) -> dict[str, Any]:
        """As an upload keeps it until its completion."""
        return {"canned": self.canned, "grants": [list(grant) for grant in self.grants]}

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Asked:
        """What ``to_json`` wrote."""
        return cls(row["canned"], grants_of(row["grants"]))

    def resolved(self, owner: str, bucket_owner: str) -> Grants:
        """The list for something of ``owner`` in a bucket of ``bucket_owner``."""
        if not self.canned:
            return self.grants
        own = (owner, "FULL_CONTROL")
        others = [(grantee or bucket_owner, permission) for grantee, permission in _CANNED[self.canned]]
        return (own, *(grant for grant in others if grant[0] != owner))


def canned(name: str, level: Level) -> Asked:
    """The canned list ``name``. Raises ``Invalid("argument")`` for one that there is not."""
    if name not in _CANNED or (level == "object" and name == "log-delivery-write"):
        raise Invalid("argument", "", ArgumentName="x-amz-acl", ArgumentValue=name[:100])
    if level == "bucket" and name.startswith("bucket-owner-"):
        return Asked("private")  # ignored for buckets, as on AWS
    return Asked(name)


def granted(grants: Sequence[Grant]) -> Asked:
    """The list of ``grants``. Raises ``Invalid("argument" | "acl_form")``."""
    if len(grants) > GRANTS_MAX:
        raise Invalid("acl_form", f"An access control list can't have more than {GRANTS_MAX} grants")
    for grantee, permission in grants:
        if permission not in PERMISSIONS:
            raise Invalid("acl_form", "The XML you provided was not well-formed or did not validate")
        if ":" in grantee:
            if grantee not in GROUPS:
                raise Invalid("argument", "Invalid group uri", ArgumentName="uri", ArgumentValue=grantee[:200])
        elif not _CANONICAL_ID.match(grantee):
            raise Invalid("argument", "Invalid id", ArgumentName="CanonicalUser/ID", ArgumentValue=grantee[:200])
    return Asked("", tuple(dict.fromkeys(grants)))


def grants_of(row: Iterable[Sequence[str]]) -> Grants:
    """A list as a row keeps it."""
    return tuple((grantee, permission) for grantee, permission in row)


def private(owner: str) -> Grants:
    """The list of what was put without one."""
    return ((owner, "FULL_CONTROL"),)


def is_public(grants: Grants) -> bool:
    """S3 User Guide, "The meaning of public": any permission to one of the two groups that anybody can be in."""
    return any(grantee in PUBLIC_GROUPS for grantee, _ in grants)


def permits(grants: Grants, permission: str, principal: Principal, *, ignore_public: bool = False) -> bool:
    """Whether a list gives ``principal`` the permission.

    Root, and users with an id of their own, are whom an id can name. A role acts under the account's id and its rights
    are its policies', as on AWS, where a grant to an account says nothing yet about the account's roles.
    """
    for grantee, given in grants:
        if given not in (permission, "FULL_CONTROL"):
            continue
        if grantee in PUBLIC_GROUPS:
            if not ignore_public and (grantee == ALL_USERS or principal.kind != "anonymous"):
                return True
        elif is_self(grantee, principal):
            return True
    return False


def is_self(owner: str, principal: Principal) -> bool:
    """Whether ``owner`` is the id that the caller answers for."""
    if principal.kind == "anonymous":
        return owner == ANONYMOUS_ID
    return principal.kind in ("user", "root") and owner == principal.canonical_id
