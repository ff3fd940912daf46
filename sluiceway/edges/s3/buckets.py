"""Buckets and their configuration."""

from __future__ import annotations

import base64
from typing import Any, Final

from sluiceway.core.clock import new_token
from sluiceway.edges.aws.codecs.xmls import malformed
from sluiceway.edges.http import Response
from sluiceway.edges.s3.acl import list_of, ownership_of
from sluiceway.edges.s3.body import document
from sluiceway.edges.s3.call import Call
from sluiceway.edges.s3.headers import check_supported, moment
from sluiceway.edges.s3.list import from_token
from sluiceway.edges.s3.tagging import tag_pairs, tag_set
from sluiceway.errors import Invalid, NotImplementedYet
from sluiceway.services.objects.notifications import Rule, TargetKind

_BUCKETS_MAX: Final = 10_000  # of one page (S3 API reference, ListBuckets)
#: Member of the notification configuration -> (kind of target, member with the target's ARN).
_RULES: Final[tuple[tuple[str, TargetKind, str], ...]] = (
    ("TopicConfigurations", "topic", "TopicArn"),
    ("QueueConfigurations", "queue", "QueueArn"),
    ("LambdaFunctionConfigurations", "function", "LambdaFunctionArn"),
)


async def create_bucket(call: Call) -> Response:
    """CreateBucket, in this server's region only."""
    headers = call.request.headers
    check_supported(headers)
    if headers.get("x-amz-bucket-object-lock-enabled").lower() == "true":
        raise NotImplementedYet("header", "A header you provided implies functionality that is not implemented")
    acl, ownership = list_of(headers, "bucket"), ownership_of(headers)
    params = call.params(await document(call))
    asked = params.get("CreateBucketConfiguration") or {}
    region = call.tools.objects.scope.region
    if asked.get("LocationConstraint") not in (None, "", region):
        raise Invalid("location", "The specified location-constraint is not valid")
    tags = tag_pairs(asked.get("Tags"))
    tools = call.tools
    if tags:
        about = {f"aws:RequestTag/{name}": [value] for name, value in tags} | {
            "aws:TagKeys": [name for name, _ in tags]
        }
        call.allow("s3:TagResource", f"arn:aws:s3:::{call.bucket}", None, about)
    owner = call.actor.canonical_id
    await tools.store.commit(tools.objects.buckets.create, call.bucket, owner, tags, ownership, acl)
    return call.reply({"Location": f"/{call.bucket}"})


async def head_bucket(call: Call) -> Response:
    """HeadBucket: that it is there was found before."""
    region = call.access.bucket.region if call.access else ""
    return Response(200, [("x-amz-bucket-region", region), ("content-type", "application/xml")])


async def delete_bucket(call: Call) -> Response:
    """DeleteBucket."""
    await call.tools.store.commit(call.tools.objects.buckets.delete, call.bucket)
    return Response(204)


async def list_buckets(call: Call) -> Response:
    """ListBuckets: all of them, or pages where the client asks for them."""
    query = call.query
    prefix, after = query.get("prefix", ""), from_token(query.get("continuation-token", ""))
    limit = _buckets_wanted(query.get("max-buckets", ""), call.tools.limits.buckets_max)
    tools = call.tools
    found = await tools.store.view(tools.objects.buckets.listed, prefix, after, limit + 1)
    if query.get("bucket-region", tools.objects.scope.region) != tools.objects.scope.region:
        raise Invalid(
            "argument",
            "Argument value is not supported by this endpoint: it lists the buckets of its own region",
            ArgumentName="bucket-region",
            ArgumentValue=query["bucket-region"][:50],
        )
    output: dict[str, Any] = {
        "Owner": {"ID": call.principal.canonical_id},
        "Buckets": [
            {"Name": bucket.name, "CreationDate": moment(bucket.created_ms), "BucketRegion": bucket.region}
            for bucket in found[:limit]
        ],
    }
    if len(found) > limit:
        output["ContinuationToken"] = base64.urlsafe_b64encode(found[limit - 1].name.encode()).decode()
    if prefix:
        output["Prefix"] = prefix
    return call.reply(output)


def _buckets_wanted(text: str, every: int) -> int:
    """Buckets of one page."""
    if not text:
        return every
    if not (text.isascii() and text.isdigit() and len(text) < 6 and 1 <= int(text) <= _BUCKETS_MAX):
        raise Invalid(
            "argument",
            f"Argument max-buckets must be an integer between 1 and {_BUCKETS_MAX}",
            ArgumentName="max-buckets",
            ArgumentValue=text[:50],
        )
    return int(text)


async def get_location(call: Call) -> Response:
    """GetBucketLocation: us-east-1 is written as nothing, as on AWS."""
    region = call.access.bucket.region if call.access else ""
    return call.reply({"LocationConstraint": "" if region == "us-east-1" else region})


async def get_policy(call: Call) -> Response:
    """GetBucketPolicy: the document as it was put."""
    return call.reply({"Policy": await call.tools.store.view(call.tools.objects.buckets.policy, call.bucket)})


async def put_policy(call: Call) -> Response:
    """PutBucketPolicy."""
    body = await document(call)
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise Invalid("policy", "Policies must be valid JSON and the first byte must be '{'") from None
    await call.tools.store.commit(call.tools.objects.buckets.put_policy, call.bucket, text)
    return Response(204)


async def delete_policy(call: Call) -> Response:
    """DeleteBucketPolicy."""
    return await _delete_setting(call, "policy")


async def get_cors(call: Call) -> Response:
    """GetBucketCors."""
    return call.reply({"CORSRules": await _setting(call, "cors", "The CORS configuration does not exist")})


async def put_cors(call: Call) -> Response:
    """PutBucketCors."""
    rules = (await _payload(call, "CORSConfiguration")).get("CORSRules") or []
    await call.tools.store.commit(call.tools.objects.buckets.put_cors, call.bucket, rules)
    return Response(200)


async def delete_cors(call: Call) -> Response:
    """DeleteBucketCors."""
    return await _delete_setting(call, "cors")


async def get_tagging(call: Call) -> Response:
    """GetBucketTagging."""
    tags = await _setting(call, "tags", "The TagSet does not exist")
    return call.reply({"TagSet": tag_set(tags)})


async def put_tagging(call: Call) -> Response:
    """PutBucketTagging."""
    tags = tag_pairs((await _payload(call, "Tagging")).get("TagSet"))
    await call.tools.store.commit(call.tools.objects.buckets.put_tags, call.bucket, tags)
    return Response(204)


async def delete_tagging(call: Call) -> Response:
    """DeleteBucketTagging."""
    return await _delete_setting(call, "tags")


async def get_notification(call: Call) -> Response:
    """GetBucketNotificationConfiguration."""
    tools = call.tools
    rules = await tools.store.view(tools.objects.buckets.notifications, call.bucket)
    output: dict[str, Any] = {}
    for member, kind, arn in _RULES:
        found = [_rule_member(rule, arn) for rule in rules if rule.kind == kind]
        if found:
            output[member] = found
    return call.reply(output)


async def put_notification(call: Call) -> Response:
    """PutBucketNotificationConfiguration."""
    asked = await _payload(call, "NotificationConfiguration")
    if "EventBridgeConfiguration" in asked:
        raise NotImplementedYet("target", "This server has no EventBridge.")
    rules = [_rule(kind, item, item.get(arn) or "") for member, kind, arn in _RULES for item in asked.get(member) or ()]
    skip = call.request.headers.get("x-amz-skip-destination-validation").lower() == "true"
    tools = call.tools
    await tools.store.commit(tools.objects.buckets.put_notifications, call.bucket, rules, call.actor, not skip)
    return Response(200)


def _rule(kind: TargetKind, item: dict[str, Any], target: str) -> Rule:
    found: dict[str, str] = {}
    filters = ((item.get("Filter") or {}).get("Key") or {}).get("FilterRules") or ()
    for entry in filters:
        name, value = (entry.get("Name") or "").lower(), entry.get("Value") or ""
        if name not in ("prefix", "suffix"):
            raise Invalid("argument", "filter rule name must be either prefix or suffix")
        if name in found:
            raise Invalid("argument", f"Cannot specify more than one {name} rule in a filter.")
        found[name] = value
    events = tuple(item.get("Events") or ())
    return Rule(
        item.get("Id") or new_token(18),
        kind,
        target,
        events,
        found.get("prefix", ""),
        found.get("suffix", ""),
    )


def _rule_member(rule: Rule, arn: str) -> dict[str, Any]:
    member: dict[str, Any] = {"Id": rule.id, arn: rule.target, "Events": list(rule.events)}
    filters = [("Prefix", rule.prefix), ("Suffix", rule.suffix)]
    rules = [{"Name": name, "Value": value} for name, value in filters if value]
    if rules:
        member["Filter"] = {"Key": {"FilterRules": rules}}
    return member


async def _payload(call: Call, member: str) -> dict[str, Any]:
    """The document that the body must be: none at all would wipe out what is configured."""
    found: dict[str, Any] | None = call.params(await document(call)).get(member)
    if found is None:
        raise malformed()
    return found


async def _setting(call: Call, kind: str, missing: str) -> Any:
    return await call.tools.store.view(call.tools.objects.buckets.setting, call.bucket, kind, missing)


async def _delete_setting(call: Call, kind: str) -> Response:
    await call.tools.store.commit(call.tools.objects.buckets.delete_setting, call.bucket, kind)
    return Response(204)
