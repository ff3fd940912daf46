"""The public access block of a bucket, and whether its policy is public."""

from __future__ import annotations

import json

from sluiceway.edges.http import Response
from sluiceway.edges.s3.body import document
from sluiceway.edges.s3.call import Call
from sluiceway.errors import Invalid
from sluiceway.services.objects.public import MEMBERS, SETTING, is_public_policy

_MISSING = "The public access block configuration was not found"


async def get_block(call: Call) -> Response:
    """GetPublicAccessBlock."""
    tools = call.tools
    kept = await tools.store.view(tools.objects.buckets.setting, call.bucket, SETTING, _MISSING)
    return call.reply({"PublicAccessBlockConfiguration": kept})


async def put_block(call: Call) -> Response:
    """PutPublicAccessBlock."""
    params = call.params(await document(call))
    asked = params.get("PublicAccessBlockConfiguration")
    if not isinstance(asked, dict):
        raise Invalid("malformed", "The XML you provided was not well-formed or did not validate.")
    tools = call.tools
    kept = {name: bool(asked.get(name)) for name in MEMBERS}
    await tools.store.commit(tools.objects.buckets.put_setting, call.bucket, SETTING, kept)
    return Response(200)


async def delete_block(call: Call) -> Response:
    """DeletePublicAccessBlock."""
    tools = call.tools
    await tools.store.commit(tools.objects.buckets.delete_setting, call.bucket, SETTING)
    return Response(204)


async def policy_status(call: Call) -> Response:
    """GetBucketPolicyStatus."""
    tools = call.tools
    missing = "The bucket policy does not exist"
    text = await tools.store.view(tools.objects.buckets.setting, call.bucket, "policy", missing)
    return call.reply({"PolicyStatus": {"IsPublic": is_public_policy(json.loads(text))}})
