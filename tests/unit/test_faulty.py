"""The wrappers with faults: a seed gives the same faults again, and each fault is what its name says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from helpers.blobs import knowing, knowing_all

from sluiceway.config import StoreSettings
from sluiceway.core.blobs import Blobs
from sluiceway.core.clock import SystemClock
from sluiceway.core.store import Bounds, Store, Tx
from sluiceway.core.wakeups import Wakeups
from sluiceway.engines.faulty import Crashed, Faults, FaultyBlobs, FaultyStore
from sluiceway.engines.filesystem import FileBlobs
from sluiceway.engines.sqlite import SqliteStore, open_store
from sluiceway.errors import NotFound, Unavailable


@pytest.fixture
async def real(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = await open_store(tmp_path / "store.db", StoreSettings(), SystemClock(), Wakeups())
    yield store
    await store.close()


@pytest.fixture
async def files(tmp_path: Path) -> AsyncIterator[FileBlobs]:
    blobs = FileBlobs(tmp_path / "blobs")
    yield blobs
    blobs.close()


def append(tx: Tx, log: str) -> int:
    return tx.append(log, "x")


async def outcomes(store: Store, log: str, count: int) -> list[bool]:
    """Of each commit, whether it was answered with success."""
    answers: list[bool] = []
    for _ in range(count):
        try:
            await store.commit(append, log)
            answers.append(True)
        except Unavailable:
            answers.append(False)
    return answers


async def appended(store: Store, log: str) -> int:
    bounds: Bounds = await store.view(lambda view: view.bounds(log))
    return bounds.next


async def test_without_faults_nothing_changes(real: SqliteStore, files: FileBlobs) -> None:
    store: Store = FaultyStore(real, 1, Faults())
    blobs: Blobs = FaultyBlobs(files, 1, Faults())
    assert await outcomes(store, "log/a", 10) == [True] * 10
    assert await appended(store, "log/a") == 10
    assert store.problem() is None
    staged = await blobs.stage()
    await staged.write(b"x" * 1000)
    assert staged.size == 1000
    blob_id = await staged.seal()
    await staged.discard()
    assert b"".join([chunk async for chunk in blobs.open(blob_id, 10, 20)]) == b"x" * 20
    assert await blobs.size(blob_id) == 1000
    assert await blobs.sweep(knowing_all) == 0
    await blobs.delete(blob_id)
    with pytest.raises(NotFound):
        await blobs.size(blob_id)


async def test_a_seed_gives_the_same_faults_again(real: SqliteStore) -> None:
    faults = Faults(delay=0.2, delay_s=0.001, refuse=0.3, lose_answer=0.2)
    first = await outcomes(FaultyStore(real, 7, faults), "log/a", 60)
    assert await outcomes(FaultyStore(real, 7, faults), "log/b", 60) == first
    assert await outcomes(FaultyStore(real, 8, faults), "log/c", 60) != first
    assert await appended(real, "log/a") == await appended(real, "log/b") > first.count(True)


async def test_a_refused_commit_did_not_happen(real: SqliteStore) -> None:
    answers = await outcomes(FaultyStore(real, 3, Faults(refuse=0.5)), "log/a", 100)
    assert 20 < answers.count(False) < 80
    assert await appended(real, "log/a") == answers.count(True)


async def test_a_lost_answer_is_of_a_commit_that_happened(real: SqliteStore) -> None:
    answers = await outcomes(FaultyStore(real, 3, Faults(lose_answer=0.5)), "log/a", 100)
    assert 20 < answers.count(False) < 80
    assert await appended(real, "log/a") == 100


async def test_views_and_chunks_break(real: SqliteStore, files: FileBlobs) -> None:
    store, blobs = FaultyStore(real, 1, Faults(break_read=1)), FaultyBlobs(files, 5, Faults(break_read=0.5))
    with pytest.raises(Unavailable):
        await store.view(lambda view: view.get("t", ("k",)))
    staged = await blobs.stage()
    await staged.write(b"x" * 3_000_000)
    blob_id = await staged.seal()
    sizes: set[int] = set()
    for _ in range(30):
        got = 0
        try:
            async for chunk in blobs.open(blob_id):
                got += len(chunk)
        except Unavailable:
            sizes.add(got)
    assert 0 in sizes
    assert any(0 < size < 3_000_000 for size in sizes)  # in the middle of it


async def test_delays_let_others_go_first(real: SqliteStore) -> None:
    store = FaultyStore(real, 2, Faults(delay=0.5, delay_s=0.02))
    order: list[int] = []

    async def one(number: int) -> None:
        await store.commit(append, "log/a")
        order.append(number)

    await asyncio.gather(*(one(number) for number in range(40)))
    assert sorted(order) == list(range(40))
    assert order != list(range(40))


@pytest.mark.parametrize(("moment", "kept"), [("before", 4), ("after", 5)])
async def test_a_crash_at_a_commit(real: SqliteStore, moment: Any, kept: int) -> None:
    ended: list[bool] = []
    faults = Faults(crash_at=5, crash_moment=moment)
    store = FaultyStore(real, 1, faults, on_crash=lambda: ended.append(True))
    assert await outcomes(store, "log/a", 4) == [True] * 4
    assert not store.crashed
    for call in (store.commit(append, "log/a"), store.commit(append, "log/a"), store.view(lambda view: view.now_ms)):
        with pytest.raises(Crashed):
            await call
    assert store.crashed
    assert ended == [True]
    assert await appended(real, "log/a") == kept


@pytest.mark.parametrize(("moment", "kept"), [("before", 0), ("after", 1)])
async def test_a_crash_at_a_seal(files: FileBlobs, tmp_path: Path, moment: Any, kept: int) -> None:
    blobs = FaultyBlobs(files, 1, Faults(crash_at=1, crash_moment=moment))
    staged = await blobs.stage()
    await staged.write(b"x" * 1000)
    with pytest.raises(Crashed):
        await staged.seal()
    with pytest.raises(Crashed):  # a process that is gone does not tidy up
        await staged.discard()
    found = [path.parent.name == "tmp" for path in (tmp_path / "blobs").rglob("*") if path.is_file()]
    assert found == [kept == 0]
    assert await FileBlobs(tmp_path / "blobs").sweep(knowing_all) == 1 - kept


async def test_a_refused_seal_can_be_discarded(files: FileBlobs, tmp_path: Path) -> None:
    blobs = FaultyBlobs(files, 1, Faults(refuse=1))
    with pytest.raises(Unavailable):
        await blobs.stage()
    blobs = FaultyBlobs(files, 1, Faults(lose_answer=1))
    staged = await blobs.stage()
    await staged.write(b"x")
    with pytest.raises(Unavailable):
        await staged.seal()
    await staged.discard()  # sealed: it stays, an orphan for the sweep
    assert await FileBlobs(tmp_path / "blobs").sweep(knowing()) == 1
