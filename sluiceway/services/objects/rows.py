"""The tables of the object service, and the bucket's row, which most functions begin with.

``buckets`` (name); ``bucket_settings`` (bucket, kind): policy, cors, notification, tagging;
``objects`` (bucket, key): the current version of each key, in the order of listings;
``object_bodies`` (bucket, sequence): inline bytes, or the pieces of an object made of many blobs;
``uploads`` (bucket, key, upload id); ``upload_parts`` (upload id, number).

Versions that are not current will have a table of their own, so that listings never walk over them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sluiceway.core.store import View
from sluiceway.errors import NotFound

BUCKETS: Final = "buckets"
SETTINGS: Final = "bucket_settings"
OBJECTS: Final = "objects"
BODIES: Final = "object_bodies"
UPLOADS: Final = "uploads"
PARTS: Final = "upload_parts"


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket. ``settings`` are the kinds that it has a row for, so that what it lacks costs no read."""

    name: str
    created_ms: int
    owner: str
    region: str
    settings: tuple[str, ...] = ()

    @property
    def arn(self) -> str:
        """Its name in policies and events."""
        return f"arn:aws:s3:::{self.name}"

    def to_json(self) -> dict[str, Any]:
        """Its row."""
        return {
            "created_ms": self.created_ms,
            "owner": self.owner,
            "region": self.region,
            "settings": list(self.settings),
        }


def bucket_of(view: View, name: str) -> Bucket:
    """Raises ``NotFound("bucket")``."""
    row = view.get(BUCKETS, (name,))
    if row is None:
        raise NotFound("bucket", "The specified bucket does not exist", BucketName=name)
    return Bucket(name, row["created_ms"], row["owner"], row["region"], tuple(row["settings"]))
