"""RestoreObject (S3 API reference)."""

from __future__ import annotations

from sluiceway.edges.http import Response
from sluiceway.edges.s3.body import document
from sluiceway.edges.s3.call import Call
from sluiceway.edges.s3.versions import version_of
from sluiceway.errors import NotImplementedYet


async def restore_object(call: Call) -> Response:
    """RestoreObject: 202 where a copy is to be made, 200 where there is one, which then stays longer."""
    asked = call.params(await document(call)).get("RestoreRequest") or {}
    if asked.get("Type") or asked.get("SelectParameters") or asked.get("OutputLocation"):
        raise NotImplementedYet("restore", "Selecting from archived objects is not offered: restore them.")
    tier = asked.get("Tier") or (asked.get("GlacierJobParameters") or {}).get("Tier") or "Standard"
    tools = call.tools
    there = await tools.store.commit(
        tools.objects.restoring.ask, call.bucket, call.key, version_of(call), asked.get("Days"), tier, call.actor
    )
    return Response(200 if there else 202)
