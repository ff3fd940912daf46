"""Pages of a bucket's versions: by key in UTF-8 binary order, and each key's newest first.

Current versions and all others are two ordered tables; a page is a merge of two scans that begin where it begins, and
a common prefix is passed by seeking both behind it. (S3 API reference, ListObjectVersions.)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from heapq import merge
from itertools import islice

from sluiceway.core.keys import text_after
from sluiceway.core.store import View
from sluiceway.services.objects.listing import after, common_prefix
from sluiceway.services.objects.rows import OBJECTS, VERSIONS, bucket_of
from sluiceway.services.objects.values import NULL_VERSION, Kept, kept_of
from sluiceway.services.objects.versions import current_at, latest_at, null_sequence, sequence_in


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a key. ``latest`` is whether no newer one is there."""

    key: str
    kept: Kept
    latest: bool


@dataclass(frozen=True, slots=True)
class Place:
    """Where to begin: at the newest version of ``key``, or at its first one older than the one at ``below``."""

    key: str
    below: int | None = None


@dataclass(slots=True)
class VersionPage:
    """``versions`` in order, and the common ``prefixes``. ``more`` is whether another page follows what is shown
    last: (key, version id), or (common prefix, "")."""

    versions: list[Version] = field(default_factory=list)
    prefixes: list[str] = field(default_factory=list)
    last: tuple[str, str] = ("", "")
    more: bool = False


@dataclass(frozen=True, slots=True)
class VersionListing:
    """What to list. It begins after ``key_marker``: after all its versions, or after the one ``version_marker``."""

    bucket: str
    prefix: str = ""
    delimiter: str = ""
    key_marker: str = ""
    version_marker: str = ""
    limit: int = 1000


def list_versions(view: View, listing: VersionListing) -> VersionPage:
    """One page. Raises ``NotFound("bucket")``, ``Invalid("argument")`` for a marker that is no version id."""
    bucket_of(view, listing.bucket)
    page = VersionPage()
    start = _first(view, listing)
    while start is not None and listing.limit > 0:
        start = _walk(view, listing, start, page)
    return page


def walk(view: View, bucket: str, place: Place, limit: int) -> Iterator[Version]:
    """Up to ``limit`` versions of the bucket in order from ``place``, markers included."""
    key, below = place.key, place.below
    seen = key if below is not None else None
    latest = latest_at(view, bucket, key) if below is not None else None
    for name, _, kept in islice(merge(_current(view, bucket, place, limit), _kept(view, bucket, place, limit)), limit):
        first = name != seen or (latest is not None and name == key and kept.sequence == latest.sequence)
        yield Version(name, kept, first)
        seen = name


#: A version in the order of listings: key, minus its sequence, itself. No two have the first two in common.
_Ordered = tuple[str, int, Kept]


def _current(view: View, bucket: str, place: Place, limit: int) -> Iterator[_Ordered]:
    start = place.key
    if place.below is not None:
        # The rest of the key's versions may begin with the current one, where newer ones have gone since.
        stored = current_at(view, bucket, place.key)
        if stored is not None and stored.sequence >= place.below:
            start = after(place.key)
    for key, row in view.scan(OBJECTS, prefix=(bucket,), start=(bucket, start), limit=limit):
        yield str(key[1]), -row["sequence"], kept_of(row)


def _kept(view: View, bucket: str, place: Place, limit: int) -> Iterator[_Ordered]:
    start = (bucket, place.key) if place.below is None else (bucket, place.key, 1 - place.below)
    for key, row in view.scan(VERSIONS, prefix=(bucket,), start=start, limit=limit):
        yield str(key[1]), int(key[2]), kept_of(row)


def _first(view: View, listing: VersionListing) -> Place | None:
    key, version = listing.key_marker, listing.version_marker
    below = None
    if version:
        below = null_place(view, listing.bucket, key) if version == NULL_VERSION else sequence_in(version)
    if not key or key < listing.prefix:
        return Place(listing.prefix)
    if version:
        return Place(key, below)
    if common_prefix(key, listing.prefix, listing.delimiter) == key:
        beyond = text_after(key)
        return None if beyond is None else Place(beyond)
    return Place(after(key))


def null_place(view: View, bucket: str, key: str) -> int | None:
    """The sequence of a key's null version; where it is gone, the page begins at the key again: better some versions
    twice than some never."""
    current = current_at(view, bucket, key)
    if current is not None and current.version is None:
        return current.sequence
    return null_sequence(view, bucket, key)


def _walk(view: View, listing: VersionListing, start: Place, page: VersionPage) -> Place | None:
    """Take versions from ``start`` until a common prefix; where to go on, or None when the page is done."""
    room = listing.limit - len(page.versions) - len(page.prefixes)
    for version in walk(view, listing.bucket, start, room + 1):
        key = version.key
        if not key.startswith(listing.prefix):
            return None
        if len(page.versions) + len(page.prefixes) >= listing.limit:
            page.more = True
            return None
        common = common_prefix(key, listing.prefix, listing.delimiter)
        if common is not None:
            page.prefixes.append(common)
            page.last = (common, "")
            beyond = text_after(common)
            return None if beyond is None else Place(beyond)
        page.versions.append(version)
        page.last = (key, version.kept.version_id)
    return None
