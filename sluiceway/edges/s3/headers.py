"""Request headers to the service's words, and the service's words to response headers."""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from email.utils import format_datetime, parsedate_to_datetime
from functools import lru_cache
from typing import Final
from urllib.parse import parse_qsl, unquote, unquote_plus

from sluiceway.config import ObjectSettings
from sluiceway.edges.http import Headers
from sluiceway.edges.s3.encryption_headers import asked_of, encryption_headers, refuse_customer_keys
from sluiceway.errors import Invalid, NotImplementedYet
from sluiceway.services.objects.names import check_tags
from sluiceway.services.objects.values import NO_CONDITIONS, Attributes, Checksum, Conditions, StoredObject

#: System headers that are stored and given back as they came.
KEPT: Final = (
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "expires",
    "x-amz-website-redirect-location",
)
#: What a reader may override, by query parameter.
OVERRIDES: Final = (
    "content-type",
    "content-language",
    "expires",
    "cache-control",
    "content-disposition",
    "content-encoding",
)
_STORAGE_CLASSES: Final = frozenset(
    {
        "STANDARD",
        "REDUCED_REDUNDANCY",
        "STANDARD_IA",
        "ONEZONE_IA",
        "INTELLIGENT_TIERING",
        "GLACIER_IR",
        "GLACIER",
        "DEEP_ARCHIVE",
    }
)
#: Headers that ask for what is not here; ignoring them would break what the client was promised.
_REFUSED: Final = (
    "x-amz-object-lock-mode",
    "x-amz-object-lock-retain-until-date",
    "x-amz-object-lock-legal-hold",
    "x-amz-write-offset-bytes",
)
_META: Final = "x-amz-meta-"
#: Headers that say nothing about the object or its body: a request with no others need not be searched for what may be
#: said. (Every other header may, so this list can only be too short.)
SILENT: Final = frozenset(
    {
        "accept",
        "accept-encoding",
        "accept-language",
        "amz-sdk-invocation-id",
        "amz-sdk-request",
        "authorization",
        "connection",
        "content-length",
        "expect",
        "host",
        "origin",
        "referer",
        "user-agent",
        "x-amz-content-sha256",
        "x-amz-date",
        "x-amz-security-token",
        "x-amz-user-agent",
        "x-amzn-trace-id",
    }
)
_ENCODED_WORD = re.compile(r"=\?[\w-]{1,40}\?[bBqQ]\?[^?\s]*\?=")


def attributes_of(headers: Headers, limits: ObjectSettings) -> Attributes:
    """What the client says about the object that it puts."""
    kept: dict[str, str] = {}
    metadata: dict[str, str] = {}
    for name, value in headers.items:
        if name in SILENT:
            continue
        if name.startswith(_META):
            short = name[len(_META) :]
            text = metadata_text(value)
            metadata[short] = f"{metadata[short]},{text}" if short in metadata else text
        elif name in KEPT:
            kept[name] = value
    if "content-encoding" in kept:
        _drop_chunked(kept)
    tags = headers.get("x-amz-tagging")
    return Attributes(
        content_type=headers.get("content-type") or "binary/octet-stream",
        headers=kept,
        metadata=metadata,
        tags=_tags_of(tags, limits) if tags else {},
        storage_class=headers.get("x-amz-storage-class") or "STANDARD",
        encryption=asked_of(headers),
    )


def check_supported(headers: Headers) -> None:
    """Raises ``NotImplementedYet("header")`` or ``Invalid`` for what a write asks and can't have."""
    for name in _REFUSED:
        if name in headers:
            raise NotImplementedYet("header", _IMPLIES)
    storage_class = headers.get("x-amz-storage-class")
    if storage_class and storage_class not in _STORAGE_CLASSES:
        raise Invalid(
            "storage_class", "The storage class you specified is not valid", StorageClassRequested=storage_class[:50]
        )
    redirect = headers.get("x-amz-website-redirect-location")
    if redirect and not redirect.startswith(("/", "http://", "https://")):
        raise Invalid("redirect", "The website redirect location must have a prefix of 'http://' or 'https://' or '/'.")
    refuse_customer_keys(headers)


def _drop_chunked(kept: dict[str, str]) -> None:
    """``aws-chunked`` is how the body travels, not what it is (S3 API reference, PutObject)."""
    codings = [coding.strip() for coding in kept["content-encoding"].split(",")]
    left = ",".join(coding for coding in codings if coding and coding != "aws-chunked")
    if left:
        kept["content-encoding"] = left
    else:
        del kept["content-encoding"]


def _tags_of(header: str, limits: ObjectSettings) -> dict[str, str]:
    if header.count("&") >= 1000:
        raise Invalid("tags", f"Object tags cannot be greater than {limits.object_tags_max}")
    pairs = parse_qsl(header, keep_blank_values=True)
    return check_tags(pairs, limits.object_tags_max)


def metadata_text(value: str) -> str:
    """What a client means by a metadata header: RFC 2047's encoded words, UTF-8, or else Latin-1.

    (S3 User Guide, "User-defined object metadata": values are decoded as per RFC 2047 before they are stored. An
    encoded word of nothing but ASCII stays as it came, as do malformed ones.)
    """
    if not value.isascii():
        try:
            return value.encode("latin-1").decode("utf-8")
        except UnicodeDecodeError:
            return value
    if not _ENCODED_WORD.search(value):
        return value
    try:
        decoded = str(make_header(decode_header(value)))
    except (HeaderParseError, LookupError, ValueError):
        return value
    return value if decoded.isascii() or not _is_unicode(decoded) else decoded


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def metadata_header(text: str) -> str:
    """The value as an answer bears it: beyond ASCII, one encoded word (RFC 2047)."""
    return text if text.isascii() else f"=?UTF-8?B?{base64.b64encode(text.encode()).decode()}?="


def conditions_from(headers: Headers, prefix: str = "") -> Conditions:
    """Preconditions; those of a copy's source have the ``prefix`` "x-amz-copy-source-"."""
    if not headers.has_any(_SOURCE_CONDITIONS if prefix else _CONDITIONS):
        return NO_CONDITIONS
    return Conditions(
        headers.get(f"{prefix}if-match") or None,
        headers.get(f"{prefix}if-none-match") or None,
        seconds_of(headers.get(f"{prefix}if-modified-since")),
        seconds_of(headers.get(f"{prefix}if-unmodified-since")),
    )


def write_conditions_from(headers: Headers) -> Conditions:
    """Preconditions of a write: that there is nothing under the key yet, or exactly this.

    Raises ``NotImplementedYet("header")`` as S3 does for ``If-None-Match`` with an ETag, or together with ``If-Match``:
    who is not understood must not be taken for one who said nothing.
    """
    conditions = conditions_from(headers)
    if conditions.if_none_match is not None and (conditions.if_none_match != "*" or conditions.if_match is not None):
        raise NotImplementedYet("header", _IMPLIES, Header="If-None-Match")
    return conditions


def deletion_conditions_from(headers: Headers) -> Conditions:
    """The precondition of a deletion. Raises ``NotImplementedYet("header")`` for those that only directory buckets know
    (S3 API reference, DeleteObject)."""
    for name in _DIRECTORY_CONDITIONS:
        if name in headers:
            raise NotImplementedYet("header", _IMPLIES, Header=name)
    return conditions_from(headers) if "if-match" in headers else NO_CONDITIONS


def copied_from(header: str) -> tuple[str, str | None]:
    """The path (bucket, slash, key) and the version, if any, that an x-amz-copy-source names.

    It is encoded as forms are: a "+" is a space, as Java's ``URLEncoder`` in AWS's examples writes it, and as what the AWS
    CLI and rclone had to escape in keys tells. Nothing but a version ends a key.
    """
    path, found, version = header.partition("?versionId=")
    return unquote_plus(path).removeprefix("/"), unquote(version) if found else None


_DIRECTORY_CONDITIONS: Final = ("x-amz-if-match-last-modified-time", "x-amz-if-match-size")
_IMPLIES: Final = "A header you provided implies functionality that is not implemented"
_CONDITIONS: Final = frozenset({"if-match", "if-none-match", "if-modified-since", "if-unmodified-since"})
_SOURCE_CONDITIONS: Final = frozenset(f"x-amz-copy-source-{name}" for name in _CONDITIONS)


def seconds_of(date: str) -> int | None:
    """Seconds since 1970 of an HTTP date; None for what is not one (RFC 9110, 13.1.3: ignore it)."""
    if not date:
        return None
    try:
        moment = parsedate_to_datetime(date)
    except (ValueError, OverflowError):  # the latter for a year of twenty digits
        return None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def keeps_range(headers: Headers, stored: StoredObject) -> bool:
    """Whether ``If-Range`` lets a range count: what is there must be just what the client has a part of, else it would join
    parts of two objects (RFC 9110, 13.1.5). A weak ETag names nothing exactly."""
    validator = headers.get("if-range")
    if not validator:
        return True
    return validator.strip('"') == stored.etag or seconds_of(validator) == stored.modified_ms // 1000


def http_date(time_ms: int) -> str:
    """RFC 9110's date."""
    return _http_date(time_ms // 1000)


@lru_cache(maxsize=4096)  # what is read often is read with its date
def _http_date(time_s: int) -> str:
    return format_datetime(datetime.fromtimestamp(time_s, UTC), usegmt=True)


def moment(time_ms: int) -> datetime:
    """A timestamp as codecs take it."""
    return datetime.fromtimestamp(time_ms / 1000, UTC)


def checksum_headers(checksum: Checksum | None) -> list[tuple[str, str]]:
    """The checksum and its type."""
    if checksum is None:
        return []
    return [
        (f"x-amz-checksum-{checksum.algorithm.lower()}", checksum.value),
        ("x-amz-checksum-type", checksum.type),
    ]


def object_headers(stored: StoredObject) -> list[tuple[str, str]]:
    """What every answer about an object says, without its length and what not everybody may know."""
    about = stored.attributes
    headers = [
        ("last-modified", http_date(stored.modified_ms)),
        ("etag", f'"{stored.etag}"'),
        ("accept-ranges", "bytes"),
        ("content-type", about.content_type),
    ]
    headers.extend(about.headers.items())
    headers.extend((_META + name, metadata_header(value)) for name, value in about.metadata.items())
    headers.extend(encryption_headers(about.encryption))
    if about.storage_class != "STANDARD":
        headers.append(("x-amz-storage-class", about.storage_class))
    return headers
