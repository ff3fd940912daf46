"""A bucket's lifecycle rules and default encryption: CloudFormation's properties in the words of the S3 API.

(CloudFormation Template Reference, AWS::S3::Bucket Rule, ServerSideEncryptionRule.)
"""

from __future__ import annotations

from typing import Any, Final

from sluiceway.reactions.stacks.provider import Context, Properties, ResourceFailed, changed, pick

_RULE: Final = frozenset(
    {
        "AbortIncompleteMultipartUpload",
        "ExpirationDate",
        "ExpirationInDays",
        "ExpiredObjectDeleteMarker",
        "Id",
        "NoncurrentVersionExpiration",
        "NoncurrentVersionExpirationInDays",
        "NoncurrentVersionTransition",
        "NoncurrentVersionTransitions",
        "ObjectSizeGreaterThan",
        "ObjectSizeLessThan",
        "Prefix",
        "Status",
        "TagFilters",
        "Transition",
        "Transitions",
    }
)


async def configure(ctx: Context, name: str, old: Properties, new: Properties) -> None:
    """Set what has changed, and remove what is no longer declared."""
    if changed(old, new, "BucketEncryption"):
        await _encryption(ctx, name, new.get("BucketEncryption"))
    if changed(old, new, "LifecycleConfiguration"):
        await _lifecycle(ctx, name, new.get("LifecycleConfiguration"))


async def _encryption(ctx: Context, name: str, declared: Any) -> None:
    if not declared:
        await ctx.call("s3", "DeleteBucketEncryption", Bucket=name)
        return
    rules = [
        pick(rule, "BucketKeyEnabled", "BlockedEncryptionTypes",
             ApplyServerSideEncryptionByDefault="ServerSideEncryptionByDefault")
        for rule in declared["ServerSideEncryptionConfiguration"]
    ]  # fmt: skip
    await ctx.call("s3", "PutBucketEncryption", Bucket=name, ServerSideEncryptionConfiguration={"Rules": rules})


async def _lifecycle(ctx: Context, name: str, declared: Any) -> None:
    if not declared:
        await ctx.call("s3", "DeleteBucketLifecycle", Bucket=name)
        return
    rules = [lifecycle_rule(rule) for rule in declared["Rules"]]
    params = pick(declared, "TransitionDefaultMinimumObjectSize") | {"LifecycleConfiguration": {"Rules": rules}}
    await ctx.call("s3", "PutBucketLifecycleConfiguration", Bucket=name, **params)


def lifecycle_rule(rule: Properties) -> Properties:
    """One rule. Raises ``ResourceFailed`` for a property that it doesn't have: ignoring it could delete too much."""
    unknown = sorted(set(rule) - _RULE)
    if unknown:
        raise ResourceFailed(f"Encountered unsupported property {unknown[0]} of a lifecycle rule")
    made = {"Status": rule["Status"], "Filter": _filter(rule)} | pick(rule, "AbortIncompleteMultipartUpload", ID="Id")
    expiration = pick(rule, "ExpiredObjectDeleteMarker", Days="ExpirationInDays", Date="ExpirationDate")
    if expiration:
        made["Expiration"] = expiration
    moves = [
        pick(move, "StorageClass", Days="TransitionInDays", Date="TransitionDate")
        for move in _listed(rule, "Transition")
    ]
    if moves:
        made["Transitions"] = moves
    return made | _noncurrent(rule)


def _noncurrent(rule: Properties) -> Properties:
    made: Properties = {}
    days = rule.get("NoncurrentVersionExpirationInDays")
    expiration = rule.get("NoncurrentVersionExpiration") or (None if days is None else {"NoncurrentDays": days})
    if expiration is not None:
        made["NoncurrentVersionExpiration"] = pick(expiration, "NoncurrentDays", "NewerNoncurrentVersions")
    moves = [
        pick(move, "StorageClass", "NewerNoncurrentVersions", NoncurrentDays="TransitionInDays")
        for move in _listed(rule, "NoncurrentVersionTransition")
    ]
    if moves:
        made["NoncurrentVersionTransitions"] = moves
    return made


def _listed(rule: Properties, name: str) -> list[Properties]:
    """The list of a property that once held one thing only, and may still be written so."""
    return [*(rule.get(f"{name}s") or []), *([rule[name]] if rule.get(name) else [])]


def _filter(rule: Properties) -> Properties:
    simple = pick(rule, "Prefix", "ObjectSizeGreaterThan", "ObjectSizeLessThan")
    tags = [pick(tag, "Key", "Value") for tag in rule.get("TagFilters") or []]
    if len(simple) + len(tags) > 1:
        return {"And": simple | ({"Tags": tags} if tags else {})}
    return {"Tag": tags[0]} if tags else simple
