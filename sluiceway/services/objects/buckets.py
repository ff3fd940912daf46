"""Buckets and their settings."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sluiceway.config import ObjectSettings
from sluiceway.core.identity import Scope
from sluiceway.core.store import Key, Tx, View
from sluiceway.errors import AccessDenied, AlreadyExists, Conflict, Invalid, NotFound, TooLarge
from sluiceway.services import counts
from sluiceway.services.accounts.named import NamedPrincipals
from sluiceway.services.objects import garbage, public, records
from sluiceway.services.objects.acls import Acls, bucket_list
from sluiceway.services.objects.grants import Asked, Grants
from sluiceway.services.objects.names import check_bucket_name, check_tags
from sluiceway.services.objects.notifications import NotificationPort, Rule, check_rules
from sluiceway.services.objects.owning import ENFORCED, blocks
from sluiceway.services.objects.policies import check_policy
from sluiceway.services.objects.rows import (
    BUCKETS,
    OBJECTS,
    PARTS,
    RUNS,
    SETTINGS,
    UPLOADS,
    VERSIONS,
    Bucket,
    Versioning,
    bucket_of,
)
from sluiceway.services.objects.values import Actor

#: Uploads, and parts of theirs, that a bucket's deletion gives up in one transaction (a large upload is 10,000 parts);
#: past it, the client aborts its uploads first.
_DROPPED_MAX = 20_000
_OLDEST_REGION = "us-east-1"


@dataclass(slots=True)
class Access:
    """What decides about a request before its operation runs.

    ``grants`` is the bucket's access control list, None where lists are off. ``blocks`` are the settings of its public access block
    that are on, read only where a policy or a list could let the public in.
    """

    bucket: Bucket
    policy: dict[str, Any] | None
    cors: list[dict[str, Any]] | None
    grants: Grants | None = None
    blocks: frozenset[str] = frozenset()


class Buckets:
    """Making, finding and setting up buckets."""

    def __init__(self, scope: Scope, limits: ObjectSettings, deliver: NotificationPort, acls: Acls) -> None:
        self._scope = scope
        self._acls = acls
        self._limits = limits
        self._deliver = deliver
        self._named = NamedPrincipals(scope)

    def create(
        self,
        tx: Tx,
        name: str,
        owner: str,
        tags: list[tuple[str, str]] | None = None,
        ownership: str = "",
        acl: Asked | None = None,
    ) -> Bucket:
        """Make an empty, private bucket; all public access is blocked, as on AWS, unless settings say otherwise.

        Raises ``Invalid("acl_ownership" | "acl_blocked")`` for a list that can't be, ``Invalid("bucket_name")``,
        ``AlreadyExists("bucket")`` (always one's own: there is one account; not in every region, see ``_again``),
        ``Conflict("buckets")`` when there are too many.
        """
        check_bucket_name(name)
        row = tx.get(BUCKETS, (name,))
        if row is not None:
            return self._again(tx, Bucket.from_json(name, row), acl)
        if not counts.one_more(tx, BUCKETS, self._limits.buckets_max):
            raise Conflict("buckets", "You have attempted to create more buckets than allowed")
        settings = (public.SETTING,) if self._limits.public_access_blocked else ()
        owned = ownership or self._limits.ownership
        bucket = Bucket(name, tx.now_ms, owner, self._scope.region, settings, ownership=owned)
        if settings:
            tx.put(SETTINGS, (name, public.SETTING), dict.fromkeys(public.MEMBERS, True))
        tx.put(BUCKETS, (name,), bucket.to_json())
        if acl is not None and acl.canned != "private":
            _check_new(bucket, acl, bool(settings))
            self._acls.keep_on_bucket(tx, bucket, acl)
        if tags:
            self.put_tags(tx, name, tags)
        return bucket

    def _again(self, tx: Tx, bucket: Bucket, acl: Asked | None) -> Bucket:
        """A bucket that is there: in the oldest region it is answered as if it had been made, and gets the list that a
        new one would have had; elsewhere it is refused (S3 API reference, CreateBucket, "BucketAlreadyOwnedByYou").

        What else the request says (tags, ownership) changes nothing.
        """
        if bucket.region != _OLDEST_REGION:
            raise AlreadyExists(
                "bucket",
                "Your previous request to create the named bucket succeeded and you already own it.",
                BucketName=bucket.name,
            )
        if acl is not None and acl.canned != "private":
            _check_new(bucket, acl, "BlockPublicAcls" in blocks(tx, bucket))
        if bucket.lists:
            self._acls.keep_on_bucket(tx, bucket, acl or Asked("private"))
        return bucket

    def get(self, view: View, name: str) -> Bucket:
        """Raises ``NotFound("bucket")``."""
        return bucket_of(view, name)

    def listed(self, view: View, prefix: str = "", after: str = "", limit: int | None = None) -> list[Bucket]:
        """Buckets in the order of their names, after ``after``, those that begin with ``prefix``."""
        found: list[Bucket] = []
        for key, row in view.scan(BUCKETS, start=(max(prefix, after),)):
            name = str(key[0])
            if not name.startswith(prefix):
                break
            if name != after or not after:
                found.append(Bucket.from_json(name, row))
            if limit is not None and len(found) >= limit:
                break
        return found

    def delete(self, tx: Tx, name: str) -> None:
        """Remove an empty bucket with its settings and unfinished uploads; its history stays.

        Raises ``NotFound("bucket")``, ``Conflict("bucket")`` while it holds objects, versions or delete markers,
        or more unfinished uploads than one transaction can give up.
        """
        bucket = bucket_of(tx, name)
        if next(iter(tx.scan(OBJECTS, prefix=(name,), limit=1)), None) is not None:
            raise Conflict("bucket", "The bucket you tried to delete is not empty", BucketName=name)
        if bucket.versioning and next(iter(tx.scan(VERSIONS, prefix=(name,), limit=1)), None) is not None:
            raise Conflict(
                "bucket",
                "The bucket you tried to delete is not empty. You must delete all versions in the bucket.",
                BucketName=name,
            )
        _drop_uploads(tx, name)
        for kind in bucket.settings:
            tx.delete(SETTINGS, (name, kind))
        tx.delete(RUNS, (name,))
        counts.delete(tx, BUCKETS, (name,))

    def access(self, view: View, name: str) -> Access:
        """The bucket with its policy, CORS rules and list. Raises ``NotFound("bucket")``."""
        bucket = bucket_of(view, name)
        if not bucket.settings and not bucket.lists:
            return Access(bucket, None, None)
        document = view.get_as(SETTINGS, (name, "policy"), _document) if "policy" in bucket.settings else None
        cors = view.get(SETTINGS, (name, "cors")) if "cors" in bucket.settings else None
        grants = bucket_list(view, bucket) if bucket.lists else None
        blocked = blocks(view, bucket) if document or bucket.lists else frozenset()
        return Access(bucket, document, cors, grants, blocked)

    def setting(self, view: View, name: str, kind: str, missing: str) -> Any:
        """What was put under ``kind``. Raises ``NotFound(kind)``, with ``missing`` for words, if nothing was."""
        bucket = bucket_of(view, name)
        value = view.get(SETTINGS, (name, kind)) if kind in bucket.settings else None
        if value is None:
            raise NotFound(kind, missing, BucketName=name)
        return value

    def put_setting(self, tx: Tx, name: str, kind: str, value: Any) -> None:
        """Set ``kind`` to a value that its own rules have passed."""
        bucket = bucket_of(tx, name)
        tx.put(SETTINGS, (name, kind), value)
        if kind not in bucket.settings:
            tx.put(BUCKETS, (name,), replace(bucket, settings=(*bucket.settings, kind)).to_json())

    def delete_setting(self, tx: Tx, name: str, kind: str) -> None:
        """Remove ``kind``; nothing happens if it is not there."""
        bucket = bucket_of(tx, name)
        if kind in bucket.settings:
            tx.delete(SETTINGS, (name, kind))
            left = tuple(other for other in bucket.settings if other != kind)
            tx.put(BUCKETS, (name,), replace(bucket, settings=left).to_json())

    def put_versioning(self, tx: Tx, name: str, status: Versioning) -> None:
        """Enable or suspend versioning. Raises ``NotFound("bucket")``."""
        bucket = bucket_of(tx, name)
        tx.put(BUCKETS, (name,), replace(bucket, versioning=status).to_json())

    def put_policy(self, tx: Tx, name: str, text: str) -> None:
        """Keep the policy document as it was sent, but for ``NamedPrincipals``.

        Raises ``Invalid("policy" | "principal")``, ``AccessDenied``.
        """
        bucket = bucket_of(tx, name)
        if len(text.encode()) > self._limits.policy_bytes_max:
            raise TooLarge("policy", "Policy exceeds the maximum allowed document size.")
        document = check_policy(text, bucket.arn)
        kept = self._named.kept(tx, document)
        if public.is_public_policy(document) and "BlockPublicPolicy" in blocks(tx, bucket):
            raise AccessDenied(
                "access",
                "Public policies are prevented by the BlockPublicPolicy setting in S3 Block Public Access.",
            )
        self.put_setting(tx, name, "policy", text if kept is document else json.dumps(kept))

    def policy(self, view: View, name: str) -> str:
        """The policy's text, with the names of the users and roles in it. Raises ``NotFound("policy")``."""
        text: str = self.setting(view, name, "policy", "The bucket policy does not exist")
        document = json.loads(text)
        shown = self._named.shown(view, document)
        return text if shown is document else json.dumps(shown)

    def put_cors(self, tx: Tx, name: str, rules: list[dict[str, Any]]) -> None:
        """Keep CORS rules (members as the S3 API names them). Raises ``Invalid("cors")``."""
        if not 0 < len(rules) <= self._limits.cors_rules_max:
            raise Invalid("malformed", "The XML you provided was not well-formed or did not validate.")
        for rule in rules:
            check_cors_rule(rule)
        self.put_setting(tx, name, "cors", rules)

    def put_tags(self, tx: Tx, name: str, tags: list[tuple[str, str]]) -> None:
        """Replace the bucket's tags. Raises ``Invalid("tag")``."""
        self.put_setting(tx, name, "tags", check_tags(tags, self._limits.bucket_tags_max))

    def put_notifications(
        self, tx: Tx, name: str, rules: Sequence[Rule], actor: Actor, check_targets: bool = True
    ) -> None:
        """Replace the bucket's rules; each topic and queue gets a test event in this transaction, unless nobody
        is to look whether it can be reached (S3 API reference, PutBucketNotificationConfiguration).

        Raises ``Invalid("argument")`` for rules that S3 refuses, also when a target can't be reached.
        """
        bucket = bucket_of(tx, name)
        check_rules(rules, self._limits.notification_rules_max, bucket.region)
        for rule in rules:
            if check_targets:
                self._check_target(tx, bucket, rule)
        if rules:
            self.put_setting(tx, name, "notification", [rule.to_json() for rule in rules])
        else:
            self.delete_setting(tx, name, "notification")
        tested = {rule.target for rule in rules if check_targets and rule.kind != "function"}
        for target in sorted(tested):
            body = records.test_event(tx.now_ms, name, actor)
            self._deliver.publish(tx, target, bucket.arn, self._scope.account, body)

    def notifications(self, view: View, name: str) -> list[Rule]:
        """The bucket's rules; empty if it has none."""
        bucket_of(view, name)
        return [Rule.from_json(row) for row in view.get(SETTINGS, (name, "notification")) or ()]

    def _check_target(self, tx: Tx, bucket: Bucket, rule: Rule) -> None:
        try:
            self._deliver.check(tx, rule.target, bucket.arn)
        except (NotFound, AccessDenied, Invalid):
            raise Invalid(
                "argument",
                "Unable to validate the following destination configurations",
                ArgumentName=rule.target,
                ArgumentValue="It does not exist, or its policy does not allow the bucket to send.",
            ) from None


def _document(_key: Key, text: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(text)
    return document


def _drop_uploads(tx: Tx, name: str) -> None:
    dropped = 0
    for key, _ in list(tx.scan(UPLOADS, prefix=(name,), limit=_DROPPED_MAX + 1)):
        for part_key, part in list(tx.scan(PARTS, prefix=(key[2],))):
            garbage.drop(tx, [piece[0] for piece in part["pieces"]])
            tx.delete(PARTS, part_key)
            dropped += 1
        tx.delete(UPLOADS, key)
        dropped += 1
        if dropped > _DROPPED_MAX:
            raise Conflict("bucket", "The bucket has too many unfinished uploads: abort them first.", BucketName=name)


def _check_new(bucket: Bucket, acl: Asked, blocked: bool) -> None:
    """In the words that S3 has for new buckets (S3 User Guide, "Controlling ownership of objects")."""
    if bucket.ownership == ENFORCED:
        raise Invalid(
            "acl_ownership",
            "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting",
            BucketName=bucket.name,
        )
    if acl.public and blocked:
        raise Invalid(
            "acl_blocked", "Bucket cannot have public ACLs set with BlockPublicAccess enabled", BucketName=bucket.name
        )


def check_cors_rule(rule: dict[str, Any]) -> None:
    """Raises ``Invalid("cors")`` (S3 API reference, CORSRule)."""
    for method in rule.get("AllowedMethods") or ():
        if method not in ("GET", "PUT", "POST", "DELETE", "HEAD"):
            raise Invalid("cors", f"Found unsupported HTTP method in CORS config. Unsupported method is {method[:50]}")
    if not rule.get("AllowedMethods") or not rule.get("AllowedOrigins"):
        raise Invalid("malformed", "The XML you provided was not well-formed or did not validate.")
    for origin in rule["AllowedOrigins"]:
        if origin.count("*") > 1:
            raise Invalid("cors", f'AllowedOrigin "{origin[:200]}" can not have more than one wildcard.')
    for header in rule.get("AllowedHeaders") or ():
        if header.count("*") > 1:
            raise Invalid("cors", f'AllowedHeader "{header[:200]}" can not have more than one wildcard.')
    for header in rule.get("ExposeHeaders") or ():
        if "*" in header:
            raise Invalid(
                "cors",
                f'ExposeHeader "{header[:200]}" contains wildcard. We currently do not support '
                "wildcard for ExposeHeader.",
            )
