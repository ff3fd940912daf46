"""What a page of a listing reads, wherever in a large bucket it begins: counted on the real store, not timed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sluiceway.config import StoreSettings
from sluiceway.core.clock import SystemClock
from sluiceway.core.store import Tx
from sluiceway.core.wakeups import Wakeups
from sluiceway.engines.sqlite import SqliteStore, open_store
from sluiceway.engines.sqlite.rows import SqliteView
from sluiceway.services.objects.listing import Listing, list_objects
from sluiceway.services.objects.rows import BUCKETS, OBJECTS
from sluiceway.services.objects.values import Attributes, StoredObject

KEYS, IN_FOLDER, PAGE = 40_000, 20, 1000
ROW = StoredObject(1, "e", 1, 1, "me", Attributes(), None, True, None).to_json()
BUCKET = {"created_ms": 1, "owner": "me", "region": "us-east-1", "settings": []}


def key(number: int) -> str:
    return f"all/{number // IN_FOLDER:05d}/{number % IN_FOLDER:03d}"


def _fill(tx: Tx) -> None:
    tx.put(BUCKETS, ("many",), BUCKET)
    for number in range(KEYS):
        tx.put(OBJECTS, ("many", key(number)), ROW)


@pytest.fixture
async def filled(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = await open_store(tmp_path / "store.db", StoreSettings(function_limit_ms=60_000), SystemClock(), Wakeups())
    await store.commit(_fill)
    yield store
    await store.close()


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of rows that each statement brought from SQLite."""
    counts: list[int] = []
    real = SqliteView._rows

    def counted(self: SqliteView, sql: str, bindings: tuple[Any, ...]) -> list[Any]:
        rows = real(self, sql, bindings)
        counts.append(len(rows))
        return rows

    monkeypatch.setattr(SqliteView, "_rows", counted)
    return counts


@pytest.mark.parametrize("first", [0, KEYS // 2 + 7, KEYS - PAGE])
async def test_a_page_of_keys_reads_its_rows_and_one(filled: SqliteStore, read: list[int], first: int) -> None:
    page = await filled.view(list_objects, Listing("many", start=key(first)))
    assert [name for name, _ in page.entries] == [key(number) for number in range(first, first + PAGE)]
    assert PAGE <= sum(read) <= PAGE + 2  # the bucket's, and the one that says whether there are more
    assert len(read) < PAGE / 30


@pytest.mark.parametrize("first", [0, KEYS // 2 + 7, KEYS - PAGE * IN_FOLDER])
async def test_a_page_of_prefixes_reads_a_few_rows_of_each(filled: SqliteStore, read: list[int], first: int) -> None:
    listing = Listing("many", prefix="all/", delimiter="/", start=key(first))
    page = await filled.view(list_objects, listing)
    folder = first // IN_FOLDER
    assert page.prefixes == [f"all/{number:05d}/" for number in range(folder, min(folder + PAGE, KEYS // IN_FOLDER))]
    assert not page.entries
    assert len(read) <= len(page.prefixes) + 2
    assert sum(read) <= 4 * len(page.prefixes) + 2


async def test_a_prefix_that_hides_everything_is_passed_at_once(filled: SqliteStore, read: list[int]) -> None:
    page = await filled.view(list_objects, Listing("many", delimiter="/"))
    assert (page.prefixes, page.entries, page.next) == (["all/"], [], None)
    assert sum(read) < 10
