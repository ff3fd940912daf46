"""What names, metadata and tags may be (S3 User Guide, "Bucket naming rules", "Object metadata")."""

from __future__ import annotations

import re
from collections.abc import Mapping

from sluiceway.config import ObjectSettings
from sluiceway.errors import Invalid, TooLarge

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]\Z")
_ADDRESS = re.compile(r"\d{1,3}(\.\d{1,3}){3}\Z")
_PREFIXES = ("xn--", "sthree-", "amzn-s3-demo-")
_SUFFIXES = ("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3")
_TAG = re.compile(r"[\w\s+\-=._:/@]*\Z")


def check_bucket_name(name: str) -> None:
    """Raises ``Invalid("bucket_name")``."""
    if (
        not _BUCKET.match(name)
        or ".." in name
        or _ADDRESS.match(name)
        or name.startswith(_PREFIXES)
        or name.endswith(_SUFFIXES)
    ):
        raise Invalid("bucket_name", "The specified bucket is not valid.", BucketName=name)


def check_key(key: str, limits: ObjectSettings) -> None:
    """Raises ``TooLarge("key")``; an empty key never gets here."""
    if len(key) * 4 > limits.key_bytes_max and len(key.encode()) > limits.key_bytes_max:
        size = str(len(key.encode()))
        raise TooLarge("key", "Your key is too long", Size=size, MaxSizeAllowed=str(limits.key_bytes_max))


def check_metadata(metadata: Mapping[str, str], limits: ObjectSettings) -> None:
    """Raises ``TooLarge("metadata")`` over the sum of names' and values' UTF-8 bytes."""
    size = sum(len(name.encode()) + len(value.encode()) for name, value in metadata.items())
    if size > limits.metadata_bytes_max:
        raise TooLarge(
            "metadata",
            "Your metadata headers exceed the maximum allowed metadata size",
            Size=str(size),
            MaxSizeAllowed=str(limits.metadata_bytes_max),
        )


def check_tags(tags: list[tuple[str, str]], count_max: int) -> dict[str, str]:
    """The tags as a mapping. Raises ``Invalid("tags")`` (count) or ``Invalid("tag")`` (form, repetition)."""
    if len(tags) > count_max:
        raise Invalid("tags", f"Object tags cannot be greater than {count_max}")
    found: dict[str, str] = {}
    for name, value in tags:
        if not 0 < len(name) <= 128 or not _TAG.match(name) or name.startswith("aws:"):
            raise Invalid("tag", "The TagKey you have provided is invalid", TagKey=name)
        if len(value) > 256 or not _TAG.match(value):
            raise Invalid("tag", "The TagValue you have provided is invalid", TagValue=value)
        if name in found:
            raise Invalid("tag", "Cannot provide multiple Tags with the same key", TagKey=name)
        found[name] = value
    return found
