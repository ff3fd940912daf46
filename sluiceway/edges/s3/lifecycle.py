"""A bucket's lifecycle configuration, and its default encryption."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from sluiceway.edges.http import Response
from sluiceway.edges.s3.body import document
from sluiceway.edges.s3.call import Call
from sluiceway.edges.s3.headers import moment
from sluiceway.errors import Invalid
from sluiceway.services.objects import encryption
from sluiceway.services.objects.lifecycle.checks import check_minimum, checked

_MINIMUM: Final = "x-amz-transition-default-minimum-object-size"


async def get_lifecycle(call: Call) -> Response:
    """GetBucketLifecycleConfiguration: the rules as they were put."""
    tools = call.tools
    kept = await tools.store.view(tools.objects.lifecycle.get, call.bucket)
    rules = _with_dates(kept["rules"], moment)
    return call.reply({"Rules": rules, "TransitionDefaultMinimumObjectSize": kept["minimum"]})


async def put_lifecycle(call: Call) -> Response:
    """PutBucketLifecycleConfiguration."""
    asked = call.params(await document(call)).get("LifecycleConfiguration")
    if asked is None:
        raise _malformed()
    minimum = check_minimum(call.request.headers.get(_MINIMUM))
    tools = call.tools
    rules = checked(_with_dates(asked.get("Rules") or [], _milliseconds), tools.limits.lifecycle_rules_max)
    await tools.store.commit(tools.objects.lifecycle.put, call.bucket, rules, minimum)
    return call.reply({"TransitionDefaultMinimumObjectSize": minimum})


async def delete_lifecycle(call: Call) -> Response:
    """DeleteBucketLifecycle."""
    await call.tools.store.commit(call.tools.objects.lifecycle.delete, call.bucket)
    return Response(204)


def _with_dates(rules: list[dict[str, Any]], convert: Callable[[Any], Any]) -> list[dict[str, Any]]:
    """The rules with each date converted."""

    def converted(action: dict[str, Any]) -> dict[str, Any]:
        return {**action, "Date": convert(action["Date"])} if "Date" in action else action

    made = []
    for rule in rules:
        rule = dict(rule)
        if "Expiration" in rule:
            rule["Expiration"] = converted(rule["Expiration"])
        if "Transitions" in rule:
            rule["Transitions"] = [converted(move) for move in rule["Transitions"]]
        made.append(rule)
    return made


def _milliseconds(date: datetime) -> int:
    aware = date if date.tzinfo else date.replace(tzinfo=UTC)
    return int(aware.timestamp() * 1000)


async def get_encryption(call: Call) -> Response:
    """GetBucketEncryption: every bucket has one."""
    rules = await call.tools.store.view(encryption.configuration, call.bucket)
    return call.reply({"ServerSideEncryptionConfiguration": {"Rules": rules}})


async def put_encryption(call: Call) -> Response:
    """PutBucketEncryption."""
    asked = call.params(await document(call)).get("ServerSideEncryptionConfiguration")
    if asked is None:
        raise _malformed()
    rules = encryption.check_configuration(asked.get("Rules") or [])
    tools = call.tools
    await tools.store.commit(tools.objects.buckets.put_setting, call.bucket, encryption.SETTING, rules)
    return Response(200)


async def delete_encryption(call: Call) -> Response:
    """DeleteBucketEncryption: S3's own keys again."""
    tools = call.tools
    await tools.store.commit(tools.objects.buckets.delete_setting, call.bucket, encryption.SETTING)
    return Response(204)


def _malformed() -> Invalid:
    return Invalid("malformed", "The XML you provided was not well-formed or did not validate")
