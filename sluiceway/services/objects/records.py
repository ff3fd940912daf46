"""Event records in AWS's format (S3 User Guide, "Event message structure", version 2.1)."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final
from urllib.parse import quote_plus

from sluiceway.services.objects.values import Actor, Kept, StoredObject

#: Events whose records have members of their own, and the version of the format that says so.
_LATER: Final = ("ObjectTagging:", "ObjectAcl:", "LifecycleExpiration:", "LifecycleTransition", "ObjectRestore:Delete")
#: What a delete marker has for an ETag: that of nothing.
_NO_BYTES: Final = "d41d8cd98f00b204e9800998ecf8427e"
#: Keys that quoting leaves as they are, most by far.
_PLAIN: Final = re.compile(r"[A-Za-z0-9_.~/-]*").fullmatch


@lru_cache(maxsize=64)  # the changes of one commit have the same time
def timestamp(time_ms: int) -> str:
    """ISO 8601 with milliseconds, as S3 writes it."""
    moment = datetime.fromtimestamp(time_ms // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{time_ms % 1000:03d}Z"


def record(
    *,
    name: str,
    time_ms: int,
    region: str,
    bucket: str,
    owner: str,
    key: str,
    sequence: int,
    stored: Kept | None,
    actor: Actor,
    version: str | None = None,
) -> dict[str, Any]:
    """One record. ``name`` is without "s3:"; ``stored`` is None for a removal, ``version`` without versioning.

    ``sequencer`` is the change's place in the bucket's history: events of one key compare by it.
    """
    thing: dict[str, Any] = {"key": key if _PLAIN(key) else quote_plus(key, safe="/")}
    if isinstance(stored, StoredObject):
        thing["size"] = stored.size
        thing["eTag"] = stored.etag
    elif stored is not None:
        thing["eTag"] = _NO_BYTES
    if version is not None:
        thing["versionId"] = version
    thing["sequencer"] = f"{sequence:018X}"
    return {
        "eventVersion": "2.3" if name.startswith(_LATER) else "2.1",
        "eventSource": "aws:s3",
        "awsRegion": region,
        "eventTime": timestamp(time_ms),
        "eventName": name,
        "userIdentity": {"principalId": actor.principal_id},
        "requestParameters": {"sourceIPAddress": actor.source_ip},
        "responseElements": {"x-amz-request-id": actor.request_id, "x-amz-id-2": actor.host_id},
        "s3": {
            "s3SchemaVersion": "1.0",
            "bucket": {
                "name": bucket,
                "ownerIdentity": {"principalId": owner},
                "arn": f"arn:aws:s3:::{bucket}",
            },
            "object": thing,
        },
    }


def for_rule(event: dict[str, Any], rule_id: str) -> dict[str, Any]:
    """The message for one notification rule: the record with the rule's id, in its envelope."""
    s3 = event["s3"]
    told = {"s3SchemaVersion": s3["s3SchemaVersion"], "configurationId": rule_id, **s3}
    return {"Records": [{**event, "s3": told}]}


def test_event(time_ms: int, bucket: str, actor: Actor) -> dict[str, Any]:
    """What S3 sends to a new topic or queue target to show that it can."""
    return {
        "Service": "Amazon S3",
        "Event": "s3:TestEvent",
        "Time": timestamp(time_ms),
        "Bucket": bucket,
        "RequestId": actor.request_id,
        "HostId": actor.host_id,
    }
