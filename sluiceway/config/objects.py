"""Objects."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sluiceway.config.section import GiB, KiB, MiB, Section


class ObjectSettings(Section):
    """The object service. Limits without another reason are S3's own (S3 User Guide, "Quotas")."""

    inline_bytes_max: int = Field(
        64 * KiB, description="Bodies up to this many bytes live in the store and share its group commit."
    )
    put_bytes_max: int = Field(5 * GiB, description="Bytes of a single PUT or part; larger objects are multipart.")
    object_bytes_max: int = Field(5 * 1024 * GiB, description="Bytes of an object made of parts.")
    part_bytes_min: int = Field(5 * MiB, description="Bytes of every part but the last.")
    parts_max: int = Field(10_000, description="Parts of one multipart upload.")
    key_bytes_max: int = Field(1024, description="UTF-8 bytes of an object's key.")
    metadata_bytes_max: int = Field(2 * KiB, description="Bytes of user metadata, names and values together.")
    buckets_max: int = Field(10_000, description="Buckets of the account.")
    page_max: int = Field(1000, description="Entries of one page of a listing, and keys of one batch delete.")
    policy_bytes_max: int = Field(20 * KiB, description="Bytes of a bucket policy.")
    ownership: Literal["BucketOwnerEnforced", "BucketOwnerPreferred", "ObjectWriter"] = Field(
        "BucketOwnerEnforced",
        description="Object ownership of new buckets that ask for none; the first turns access control lists off, "
        "as AWS does since April 2023.",
    )
    public_access_blocked: bool = Field(True, description="Whether new buckets block all public access, as on AWS.")
    cors_rules_max: int = Field(100, description="CORS rules of a bucket.")
    notification_rules_max: int = Field(100, description="Notification rules of a bucket.")
    object_tags_max: int = Field(10, description="Tags of an object.")
    bucket_tags_max: int = Field(50, description="Tags of a bucket.")
    document_bytes_max: int = Field(
        2 * MiB, description="Bytes of an XML body; a batch delete of 1,000 long keys stays below it."
    )
    form_bytes_max: int = Field(20 * KiB, description="Bytes of a POST form's fields and boundaries, without the file.")
    form_s: float = Field(60.0, description="Seconds for a POST form's fields to arrive; 20 KiB take 3 s at 64 kbit/s.")
    lifecycle_rules_max: int = Field(1000, description="Lifecycle rules of a bucket.")
    lifecycle_rows_max: int = Field(
        250, description="Objects or versions that a lifecycle run looks at in one go (about 4 ms)."
    )
    lifecycle_batch: int = Field(
        200, description="Objects or parts that a lifecycle run deletes or moves in one transaction (about 20 ms)."
    )
    lifecycle_s: float = Field(
        3600.0,
        description="Seconds between looks for lifecycle work, should the clock be set; else midnight UTC wakes.",
    )
    restore_s: float = Field(1.0, description="Seconds that restoring an archived object takes; no tape is waited for.")
    sweep_batch: int = Field(100, description="Deleted blobs taken from disk in one go; more only delays a stop.")
