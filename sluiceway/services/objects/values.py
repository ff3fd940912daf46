"""The words of the object service: who acts, what an object is, where its bytes lie.

Rows are JSON; these classes are their typed form at the border between the service and its edges. Nobody changes one
once it is made. Those that every request makes are not frozen all the same, as that doubles the time it takes.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from sluiceway.core.clock import new_token

ChecksumType = Literal["FULL_OBJECT", "COMPOSITE"]

#: The id of the version that a key has from a time without versioning, or while it is suspended.
NULL_VERSION: Final = "null"

#: Log of everything that happened to a bucket's objects.
HISTORY = "bucket/"


@dataclass(slots=True)
class Actor:
    """Who asked, as the event record names it. ``canonical_id`` owns what the request makes."""

    principal_id: str
    canonical_id: str
    source_ip: str
    request_id: str
    host_id: str


def server_actor() -> Actor:
    """The server itself, as the events of lifecycle rules and restores name it (S3 User Guide, "Configuring S3 Lifecycle
    event notifications"); each time with ids of its own."""
    service = "s3.amazonaws.com"
    return Actor(service, "", service, secrets.token_hex(8).upper(), new_token(24))


@dataclass(slots=True)
class Checksum:
    """A checksum of the content: ``algorithm`` in S3's spelling ("CRC32C"), ``value`` in base64.

    ``COMPOSITE`` is a checksum of the parts' checksums and ends with "-N" for N parts.
    """

    algorithm: str
    value: str
    type: ChecksumType = "FULL_OBJECT"


@dataclass(frozen=True, slots=True)
class Piece:
    """A range of a blob: ``size`` bytes from ``start``."""

    blob: str
    start: int
    size: int


@dataclass(slots=True)
class Content:
    """The bytes of an object: ``inline`` in the store, or ``pieces`` of blobs in order.

    ``etag`` has no quotes. ``part_sizes`` is what a multipart upload was made of, else empty.
    """

    size: int
    etag: str
    checksum: Checksum | None = None
    inline: bytes | None = None
    pieces: tuple[Piece, ...] = ()


@dataclass(frozen=True, slots=True)
class Encryption:
    """How bytes are to be encrypted, as S3 spells it ("aws:kms"). ``key`` is a KMS key's ARN, ``context`` base64 of
    JSON; ``bucket_key`` is None where nothing was said."""

    algorithm: str
    key: str = ""
    bucket_key: bool | None = None
    context: str = ""

    def to_json(self) -> list[Any]:
        """As rows hold it."""
        return [self.algorithm, self.key, self.bucket_key, self.context]


@dataclass(slots=True)
class Attributes:
    """What a client says about an object. ``headers`` are the system headers that are given back as they
    came, in lower case ("cache-control"); ``metadata`` are user metadata without their prefix. ``encryption`` is
    None where it is by S3's own keys, as nearly always."""

    content_type: str = "binary/octet-stream"
    headers: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    storage_class: str = "STANDARD"
    encryption: Encryption | None = None


@dataclass(frozen=True, slots=True)
class Conditions:
    """Preconditions of a read or a write (RFC 9110, 13.1), with times in seconds since 1970."""

    if_match: str | None = None
    if_none_match: str | None = None
    if_modified_since_s: int | None = None
    if_unmodified_since_s: int | None = None


NO_CONDITIONS = Conditions()


@dataclass(frozen=True, slots=True)
class Source:
    """What is copied; ``version`` is None for the current one."""

    bucket: str
    key: str
    version: str | None = None


@dataclass(frozen=True, slots=True)
class Marker:
    """A delete marker: the version that says that the key was deleted. The members are as an object's."""

    modified_ms: int
    sequence: int
    owner: str
    version: str | None = None

    @property
    def version_id(self) -> str:
        """The id that clients see."""
        return self.version or NULL_VERSION

    def to_json(self) -> dict[str, Any]:
        """The row."""
        row: dict[str, Any] = {"marker": True, "modified_ms": self.modified_ms, "sequence": self.sequence}
        row["owner"] = self.owner
        if self.version is not None:
            row["version"] = self.version
        return row

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> Marker:
        """The marker that ``to_json`` wrote."""
        return cls(row["modified_ms"], row["sequence"], row["owner"], row.get("version"))


@dataclass(slots=True)
class StoredObject:
    """One version's row. ``sequence`` is its place in the bucket's history and names its body's row.

    ``version`` is None for the null version, so that buckets without versioning have nothing to keep of it. ``acl`` is
    its access control list where that is not the private one. ``retired_ms`` is when it stopped being the current
    version, or 0.
    """

    size: int
    etag: str
    modified_ms: int
    sequence: int
    owner: str
    attributes: Attributes
    checksum: Checksum | None
    inline: bool
    blob: str | None
    part_sizes: tuple[int, ...] = ()
    upload: str | None = None
    version: str | None = None
    acl: tuple[tuple[str, str], ...] | None = None
    retired_ms: int = 0

    @property
    def version_id(self) -> str:
        """The id that clients see."""
        return self.version or NULL_VERSION

    def to_json(self) -> dict[str, Any]:
        """The row; what is empty is left out, as most objects have little but a size."""
        about = self.attributes
        row: dict[str, Any] = {
            "size": self.size,
            "etag": self.etag,
            "modified_ms": self.modified_ms,
            "sequence": self.sequence,
            "owner": self.owner,
            "type": about.content_type,
        }
        if about.headers:
            row["headers"] = about.headers
        if about.metadata:
            row["metadata"] = about.metadata
        if about.tags:
            row["tags"] = about.tags
        if about.storage_class != "STANDARD":
            row["class"] = about.storage_class
        if self.inline:
            row["inline"] = True
        if self.blob:
            row["blob"] = self.blob
        if self.upload:
            row["upload"] = self.upload
        if self.version:
            row["version"] = self.version
        if self.retired_ms:
            row["retired_ms"] = self.retired_ms
        if about.encryption:
            row["encryption"] = about.encryption.to_json()
        if self.part_sizes:
            row["parts"] = _runs(self.part_sizes)
        if self.acl is not None:
            row["acl"] = self.acl
        if self.checksum:
            row["checksum"] = [self.checksum.algorithm, self.checksum.value, self.checksum.type]
        return row

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> StoredObject:
        """The object that ``to_json`` wrote."""
        get = row.get
        checksum, parts, acl = get("checksum"), get("parts"), get("acl")
        about = Attributes(
            row["type"],
            get("headers", {}),
            get("metadata", {}),
            get("tags", {}),
            get("class", "STANDARD"),
            Encryption(*row["encryption"]) if "encryption" in row else None,
        )
        return cls(  # by place: names take as long again, and every overwriting and reading comes through here
            row["size"],
            row["etag"],
            row["modified_ms"],
            row["sequence"],
            row["owner"],
            about,
            Checksum(*checksum) if checksum else None,
            get("inline", False),
            get("blob"),
            tuple(size for size, count in parts for _ in range(count)) if parts else (),
            get("upload"),
            get("version"),
            tuple((grantee, permission) for grantee, permission in acl) if acl is not None else None,
            get("retired_ms", 0),
        )


#: What a key can hold: a version with bytes, or one that says that it was deleted.
Kept = StoredObject | Marker


def kept_of(row: dict[str, Any]) -> Kept:
    """The version that a row holds."""
    return Marker.from_json(row) if row.get("marker") else StoredObject.from_json(row)


def _runs(sizes: tuple[int, ...]) -> list[list[int]]:
    """Run-length form: parts are nearly always of one size, and rows are read by every listing."""
    runs: list[list[int]] = []
    for size in sizes:
        if runs and runs[-1][0] == size:
            runs[-1][1] += 1
        else:
            runs.append([size, 1])
    return runs
