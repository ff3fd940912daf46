"""Uploads in parts at the limits of their number, on the real store."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from sluiceway.config import ObjectSettings, StoreSettings
from sluiceway.core.clock import SystemClock
from sluiceway.core.identity import Scope
from sluiceway.core.store import Tx, View
from sluiceway.core.wakeups import Wakeups
from sluiceway.engines.sqlite import SqliteStore, open_store
from sluiceway.errors import Conflict
from sluiceway.services.objects import Objects
from sluiceway.services.objects.garbage import BLOBS, GARBAGE
from sluiceway.services.objects.multipart import Chosen
from sluiceway.services.objects.rows import PARTS, UPLOADS
from sluiceway.services.objects.values import Actor, Attributes, Content, Piece

ACTOR = Actor("AWS:me", "me", "127.0.0.1", "request", "host")
LIMITS = ObjectSettings()


class Nowhere:
    """Takes no notifications."""

    def publish(self, tx: Tx, target_arn: str, bucket_arn: str, account: str, body: dict[str, Any]) -> None:
        raise AssertionError("no rule asks for it")

    def check(self, tx: Tx, target_arn: str, bucket_arn: str) -> None:
        raise AssertionError("no rule asks for it")

    def arn(self, tx: Tx, name: str) -> str:
        raise AssertionError("nothing asks for a key")


def objects() -> Objects:
    return Objects(Scope("000000000000", "us-east-1"), LIMITS, Nowhere(), Nowhere())


async def opened(tmp_path: Path, service: Objects) -> SqliteStore:
    # Above what a small machine takes for ten thousand parts, and below what comparing each with each takes.
    limits = StoreSettings(function_limit_ms=2500)
    store = await open_store(tmp_path / "store.db", limits, SystemClock(), Wakeups())
    await store.commit(service.buckets.create, "bkt", "me")
    return store


def part(number: int) -> Content:
    size = LIMITS.part_bytes_min
    etag = hashlib.md5(b"%d" % number).hexdigest()
    return Content(size, etag, pieces=(Piece(f"blob-{number}", 0, size),))


def count(view: View, table: str) -> int:
    return sum(1 for _ in view.scan(table))


async def test_as_many_parts_as_there_may_be(tmp_path: Path) -> None:
    """All ten thousand are made an object, or given up, within the time that a transaction has."""
    service = objects()
    store = await opened(tmp_path, service)
    most = LIMITS.parts_max
    upload = await store.commit(service.multipart.begin, "bkt", "k", Attributes(), ACTOR)

    def fill(tx: Tx, numbers: range) -> None:
        for number in numbers:
            service.multipart.put_part(tx, "bkt", "k", upload.id, number, part(number))

    for first in range(1, most + 1, 500):
        await store.commit(fill, range(first, min(first + 500, most + 1)))
    # Every second one: the others are let go.
    chosen = [Chosen(number, part(number).etag) for number in range(1, most + 1, 2)]
    stored = await store.commit(service.multipart.complete, "bkt", "k", upload.id, chosen, ACTOR)
    assert len(stored.part_sizes) == most // 2 and stored.size == most // 2 * LIMITS.part_bytes_min
    assert [await store.view(count, table) for table in (PARTS, BLOBS, GARBAGE)] == [0, most // 2, most // 2]
    await store.commit(service.removals.delete, "bkt", "k", ACTOR)
    assert [await store.view(count, table) for table in (BLOBS, GARBAGE)] == [0, most]
    await store.close()


@pytest.mark.parametrize("number", [20_000, 20_001])
async def test_a_bucket_goes_with_all_of_its_uploads_or_stays(tmp_path: Path, number: int) -> None:
    service = objects()
    store = await opened(tmp_path, service)

    def begin(tx: Tx, numbers: range) -> None:
        for at in numbers:
            service.multipart.begin(tx, "bkt", f"k{at}", Attributes(), ACTOR)

    for first in range(0, number, 500):
        await store.commit(begin, range(first, min(first + 500, number)))
    if number > 20_000:
        with pytest.raises(Conflict):
            await store.commit(service.buckets.delete, "bkt")
        assert await store.view(count, UPLOADS) == number
    else:
        await store.commit(service.buckets.delete, "bkt")
        assert await store.view(count, UPLOADS) == 0
    await store.close()
