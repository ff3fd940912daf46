"""DeleteObject and DeleteObjects."""

from __future__ import annotations

from typing import Any

from sluiceway.edges.http import Response
from sluiceway.edges.s3.body import document
from sluiceway.edges.s3.call import Call
from sluiceway.edges.s3.headers import conditions_from
from sluiceway.errors import AccessDenied, Invalid
from sluiceway.services.objects.values import NO_CONDITIONS


async def delete_object(call: Call) -> Response:
    """Remove a key; that it was not there is success, too."""
    conditions = NO_CONDITIONS
    if "if-match" in call.request.headers:
        conditions = conditions_from(call.request.headers)
    tools = call.tools
    await tools.store.commit(tools.objects.contents.delete, call.bucket, call.key, call.actor, conditions)
    return Response(204)


async def delete_objects(call: Call) -> Response:
    """Remove up to a thousand keys in one transaction; each is allowed or denied by itself.

    A stranger's list is not even read where no policy could allow anything of it.
    """
    if call.principal.kind == "anonymous" and not (call.access and call.access.policy):
        raise AccessDenied("anonymous", "Access Denied")
    body = await document(call, digest_required=True)
    wanted = call.params(body).get("Delete") or {}
    items = wanted.get("Objects") or []
    if not 0 < len(items) <= call.tools.limits.page_max:
        raise Invalid("malformed", "The XML you provided was not well-formed or did not validate")
    errors: list[dict[str, Any]] = []
    allowed: list[tuple[str, str | None]] = []
    for item in items:
        refusal = _refusal(call, item)
        if refusal is None:
            allowed.append((item["Key"], item.get("ETag")))
        else:
            errors.append({"Key": item["Key"], **refusal})
    removed = await call.tools.store.commit(call.tools.objects.contents.delete_many, call.bucket, allowed, call.actor)
    deleted = [{"Key": key} for (key, _), done in zip(allowed, removed, strict=True) if done]
    message = "At least one of the pre-conditions you specified did not hold"
    errors.extend(
        {"Key": key, "Code": "PreconditionFailed", "Message": message}
        for (key, _), done in zip(allowed, removed, strict=True)
        if not done
    )
    return call.reply({"Deleted": [] if wanted.get("Quiet") else deleted, "Errors": errors})


def _refusal(call: Call, item: dict[str, Any]) -> dict[str, str] | None:
    if item.get("VersionId") not in (None, "", "null"):
        return {"Code": "NoSuchVersion", "Message": "The specified version does not exist."}
    if not item.get("Key"):
        raise Invalid("malformed", "The XML you provided was not well-formed or did not validate")
    if len(item["Key"].encode()) > call.tools.limits.key_bytes_max:
        return {"Code": "KeyTooLongError", "Message": "Your key is too long"}
    try:
        call.allow("s3:DeleteObject", f"arn:aws:s3:::{call.bucket}/{item['Key']}", call.access)
    except AccessDenied as denied:
        return {"Code": "AccessDenied", "Message": denied.message}
    return None
