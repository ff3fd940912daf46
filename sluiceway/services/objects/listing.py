"""Pages of a bucket's keys, in UTF-8 binary order.

A common prefix is passed by seeking behind it, so a page costs what it shows, wherever in the bucket it
begins and however many keys a prefix hides. (S3 API reference, ListObjectsV2, ListMultipartUploads.)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from sluiceway.core.keys import text_after
from sluiceway.core.store import Key, View
from sluiceway.services.objects.rows import OBJECTS, bucket_of
from sluiceway.services.objects.values import StoredObject


@dataclass(slots=True)
class Page:
    """``entries`` are (key, object), ``prefixes`` the common ones. ``next`` is where the next page begins
    (inclusive), None at the end; ``last`` is the last key or prefix shown."""

    entries: list[tuple[str, StoredObject]] = field(default_factory=list)
    prefixes: list[str] = field(default_factory=list)
    next: str | None = None
    last: str = ""


@dataclass(frozen=True, slots=True)
class Listing:
    """What to list. ``start`` is inclusive: use ``after(key)`` for an exclusive one."""

    bucket: str
    prefix: str = ""
    delimiter: str = ""
    start: str = ""
    limit: int = 1000


def after(key: str) -> str:
    """The least text above ``key``."""
    return key + "\x00"


def list_objects(view: View, listing: Listing) -> Page:
    """One page. Raises ``NotFound("bucket")``."""
    bucket_of(view, listing.bucket)
    page = Page()
    if listing.limit <= 0:
        return page
    start: str | None = max(listing.start, listing.prefix)
    while start is not None:
        start = _walk(view, listing, start, page)
    return page


def _walk(view: View, listing: Listing, start: str, page: Page) -> str | None:
    """Take rows from ``start`` until a common prefix; the key to seek to, or None when the page is done."""
    room = listing.limit - len(page.entries) - len(page.prefixes)
    for key, row in _rows(view, listing.bucket, start, room + 1):
        name = str(key[1])
        if not name.startswith(listing.prefix):
            return None
        if len(page.entries) + len(page.prefixes) >= listing.limit:
            page.next = name
            return None
        common = common_prefix(name, listing.prefix, listing.delimiter)
        if common is not None:
            page.prefixes.append(common)
            page.last = common
            return text_after(common)
        page.entries.append((name, StoredObject.from_json(row)))
        page.last = name
    return None


def _rows(view: View, bucket: str, start: str, limit: int) -> Iterator[tuple[Key, Any]]:
    return view.scan(OBJECTS, prefix=(bucket,), start=(bucket, start), limit=limit)


def common_prefix(key: str, prefix: str, delimiter: str) -> str | None:
    """The part of ``key`` up to the first delimiter after ``prefix``, or None."""
    if not delimiter:
        return None
    at = key.find(delimiter, len(prefix))
    return None if at < 0 else key[: at + len(delimiter)]
