"""The tables of the object service, and the bucket's row, which most functions begin with.

``buckets`` (name); ``bucket_settings`` (bucket, kind): policy, cors, notification, tagging;
``objects`` (bucket, key): the current version of each key that has one, in the order of listings;
``object_versions`` (bucket, key, -sequence): versions that are not current, and all delete markers, newest first;
``object_nulls`` (bucket, key): the sequence of the key's null version where that is in ``object_versions``;
``object_bodies`` (bucket, sequence): inline bytes, or the pieces of an object made of many blobs;
``object_part_sums`` (bucket, sequence): the checksums of the parts that an object was made of;
``uploads`` (bucket, key, upload id); ``upload_parts`` (upload id, number);
``object_restores`` and ``object_restore_times``: see ``restores``;
``lifecycle_runs`` (bucket): how far the run of its lifecycle rules has come.

A listing of keys so walks over neither old versions nor markers, and a bucket that never had versioning has no row
in the second and third of these tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

from sluiceway.core.store import Key, View
from sluiceway.errors import NotFound

BUCKETS: Final = "buckets"
SETTINGS: Final = "bucket_settings"
OBJECTS: Final = "objects"
VERSIONS: Final = "object_versions"
NULLS: Final = "object_nulls"
BODIES: Final = "object_bodies"
UPLOADS: Final = "uploads"
PARTS: Final = "upload_parts"
RUNS: Final = "lifecycle_runs"

#: Empty for a bucket that never had it, which it can't become again.
Versioning = Literal["", "Enabled", "Suspended"]


@dataclass(slots=True)
class Bucket:
    """A bucket. ``settings`` are the kinds that it has a row for, so that what it lacks costs no read.

    ``ownership`` is the rule of its ownership controls, "" where they were deleted.
    """

    name: str
    created_ms: int
    owner: str
    region: str
    settings: tuple[str, ...] = ()
    versioning: Versioning = ""
    ownership: str = "BucketOwnerEnforced"

    @property
    def lists(self) -> bool:
        """Whether access control lists have a say here."""
        return self.ownership != "BucketOwnerEnforced"

    @property
    def arn(self) -> str:
        """Its name in policies and events."""
        return f"arn:aws:s3:::{self.name}"

    def to_json(self) -> dict[str, Any]:
        """Its row."""
        row: dict[str, Any] = {
            "created_ms": self.created_ms,
            "owner": self.owner,
            "region": self.region,
            "settings": list(self.settings),
        }
        if self.versioning:
            row["versioning"] = self.versioning
        if self.lists:
            row["ownership"] = self.ownership
        return row

    @classmethod
    def from_json(cls, name: str, row: dict[str, Any]) -> Bucket:
        """The bucket that ``to_json`` wrote."""
        settings = tuple(row["settings"])
        ownership = row.get("ownership", "BucketOwnerEnforced")
        versioning = row.get("versioning", "")
        return cls(name, row["created_ms"], row["owner"], row["region"], settings, versioning, ownership)


def bucket_of(view: View, name: str) -> Bucket:
    """Raises ``NotFound("bucket")``."""
    bucket = view.get_as(BUCKETS, (name,), _bucket)
    if bucket is None:
        raise NotFound("bucket", "The specified bucket does not exist", BucketName=name)
    return bucket


def _bucket(key: Key, row: dict[str, Any]) -> Bucket:
    return Bucket.from_json(str(key[0]), row)
