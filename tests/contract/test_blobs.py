"""The contract of the blob port (``core.blobs``), the same for every engine; and what only files can get wrong."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import random
import resource
import threading
import time
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from helpers.blobs import knowing, knowing_all
from helpers.waiting import until

from sluiceway.core.blobs import Blobs, Staged
from sluiceway.engines.filesystem import FileBlobs
from sluiceway.errors import NotFound, Unavailable

MIB = 1024 * 1024


async def write(blobs: Blobs, data: bytes, piece: int = 100_000, hashers: tuple[Any, ...] = ()) -> str:
    staged = await blobs.stage(hashers)
    for start in range(0, len(data), piece):
        await staged.write(data[start : start + piece])
    assert staged.size == len(data)
    return await staged.seal()


async def read(blobs: Blobs, blob_id: str, start: int = 0, length: int | None = None) -> bytes:
    return b"".join([chunk async for chunk in blobs.open(blob_id, start, length)])


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


class Journal:
    """A hasher that keeps what it was fed, and is slow."""

    def __init__(self, delay_s: float = 0.0) -> None:
        self.data = bytearray()
        self.delay_s = delay_s
        self.threads: set[int] = set()

    def update(self, data: bytes, /) -> None:
        time.sleep(self.delay_s)
        self.threads.add(threading.get_ident())
        self.data += data


# --- the port ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 1000, 262_143, 262_144, 262_145, 3 * MIB + 17])
@pytest.mark.parametrize("piece", [999, 262_144, 10 * MIB])
async def test_what_is_sealed_is_read_back(blobs: Blobs, size: int, piece: int) -> None:
    data = random.Random(size).randbytes(size)
    blob_id = await write(blobs, data, piece)
    assert await read(blobs, blob_id) == data
    assert await blobs.size(blob_id) == size


async def test_ranges(blobs: Blobs) -> None:
    data = random.Random(1).randbytes(MIB + 5)
    blob_id = await write(blobs, data)
    dice = random.Random(2)
    edges = [0, 1, 262_143, 262_144, 262_145, MIB, MIB + 4, MIB + 5, MIB + 6, 3 * MIB]
    for start in edges:
        for length in [None, 0, 1, 262_144, 262_145, 5 * MIB, dice.randrange(MIB)]:
            end = None if length is None else start + length
            assert await read(blobs, blob_id, start, length) == data[start:end], (start, length)


async def test_every_hasher_sees_all_bytes_in_order(blobs: Blobs) -> None:
    data = random.Random(3).randbytes(2 * MIB)
    hashers = (hashlib.md5(), hashlib.sha256(), Journal(0.002), Journal())
    blob_id = await write(blobs, data, 70_001, hashers)
    assert hashers[0].hexdigest() == hashlib.md5(data).hexdigest()
    assert hashers[1].hexdigest() == hashlib.sha256(data).hexdigest()
    assert bytes(hashers[2].data) == bytes(hashers[3].data) == data == await read(blobs, blob_id)
    assert threading.get_ident() not in hashers[2].threads  # off the event loop


async def test_many_at_once_do_not_mix(blobs: Blobs) -> None:
    async def one(number: int) -> None:
        data = random.Random(number).randbytes(random.Random(number).randrange(900_000))
        journal = Journal()
        blob_id = await write(blobs, data, 10_000 + number * 1000, (journal,))
        assert bytes(journal.data) == await read(blobs, blob_id) == data

    await asyncio.gather(*(one(number) for number in range(40)))


async def test_a_blob_that_is_not_there(blobs: Blobs) -> None:
    for blob_id in ["", "x", "../../etc/passwd", "0" * 36, "../../../../../../../../../etc/passwd!!", "/" * 36]:
        with pytest.raises(NotFound) as met:
            await read(blobs, blob_id)
        assert met.value.kind == "blob"
        with pytest.raises(NotFound):
            await blobs.size(blob_id)
    await blobs.delete("0" * 36)


async def test_deleting(blobs: Blobs) -> None:
    blob_id, other = await write(blobs, b"x" * 1000), await write(blobs, b"y" * 1000)
    await blobs.delete(blob_id)
    await blobs.delete(blob_id)
    for call in (read(blobs, blob_id), blobs.size(blob_id)):
        with pytest.raises(NotFound):
            await call
    assert await read(blobs, other) == b"y" * 1000


async def test_a_blob_deleted_while_it_is_read_is_read_to_its_end(blobs: Blobs) -> None:
    data = random.Random(4).randbytes(2 * MIB)
    blob_id = await write(blobs, data)
    chunks = blobs.open(blob_id)
    got = [await anext(chunks)]
    await blobs.delete(blob_id)
    got += [chunk async for chunk in chunks]
    assert b"".join(got) == data


async def test_what_is_staged_is_not_reachable_and_discarding_forgets_it(blobs_bench: Any) -> None:
    blobs = blobs_bench.open()
    staged = await blobs.stage()
    await staged.write(b"x" * MIB)
    await staged.discard()
    await staged.discard()
    assert files(blobs_bench.folder) == []
    with pytest.raises(RuntimeError):
        await staged.write(b"more")
    with pytest.raises(RuntimeError):
        await staged.seal()


async def test_discarding_after_the_seal_keeps_it(blobs: Blobs) -> None:
    staged = await blobs.stage()
    await staged.write(b"x" * 1000)
    blob_id = await staged.seal()
    await staged.discard()
    assert await read(blobs, blob_id) == b"x" * 1000


async def test_a_sealed_blob_takes_nothing_more(blobs: Blobs) -> None:
    staged = await blobs.stage()
    await staged.write(b"x" * 1000)
    blob_id = await staged.seal()
    with pytest.raises(RuntimeError):
        await staged.write(b"y" * MIB)
    with pytest.raises(RuntimeError):
        await staged.seal()
    assert await read(blobs, blob_id) == b"x" * 1000


async def test_the_sweep_at_the_start_keeps_what_is_used(blobs_bench: Any) -> None:
    blobs = blobs_bench.open()
    used = [await write(blobs, b"used" * 1000) for _ in range(20)]
    for _ in range(10):
        await write(blobs, b"orphan" * 1000)
    for _ in range(3):
        staged = await blobs.stage()
        await staged.write(b"temporary" * 100_000)
    again = blobs_bench.open()  # as after a kill: nobody has discarded what was staged
    assert await again.sweep(knowing(*used)) == 13
    assert await again.sweep(knowing(*used)) == 0
    assert len(files(blobs_bench.folder)) == 20
    for blob_id in used:
        assert await read(again, blob_id) == b"used" * 1000


async def test_the_sweep_leaves_alone_what_this_process_stages(blobs_bench: Any) -> None:
    """However far each is: open, sealed before it is asked about or after, and never known to anybody yet."""
    before = blobs_bench.open()
    old = [await write(before, b"old") for _ in range(300)]
    blobs = blobs_bench.open()
    early, unfinished = await write(blobs, b"early" * 1000), await blobs.stage()
    await unfinished.write(b"unfinished" * 1000)
    made: list[str] = []
    asked: list[str] = []

    async def known(some: list[str]) -> set[str]:
        asked.extend(some)
        made.append(await write(blobs, b"meanwhile" * 1000))
        return set(some) & set(old[:100])

    assert await blobs.sweep(known) == 200
    assert sorted(asked) == sorted(old)
    made += [early, await unfinished.seal()]
    assert {path.name for path in files(blobs_bench.folder)} == {*made, *old[:100]} and len(made) > 3
    await blobs.delete(made[0])
    await blobs.delete(old[0])
    assert len(files(blobs_bench.folder)) == len(made) + 98


async def test_a_sweep_that_fails_goes_on_where_it_was(blobs_bench: Any) -> None:
    before = blobs_bench.open()
    old = [await write(before, b"old") for _ in range(700)]
    blobs = blobs_bench.open()
    asked: list[str] = []

    async def known(some: list[str]) -> set[str]:
        if len(asked) > 200:
            raise Unavailable("store", "not now")
        asked.extend(some)
        return set()

    with pytest.raises(Unavailable):
        await blobs.sweep(known)
    assert 0 < len(files(blobs_bench.folder)) < 700
    left = {path.name for path in files(blobs_bench.folder)}
    assert await blobs.sweep(knowing()) == len(left) and left | set(asked) == set(old)
    assert files(blobs_bench.folder) == []


async def test_bytes_are_counted_once(blobs_bench: Any) -> None:
    """Those of deletions on either side of the sweep's place, too."""
    before = blobs_bench.open()
    old = sorted([await write(before, b"x" * 1000) for _ in range(600)])
    blobs = blobs_bench.open()
    if not hasattr(blobs, "bytes_kept"):
        pytest.skip("it does not count")
    new: list[str] = []

    async def known(some: list[str]) -> set[str]:
        for gone in (old.pop(0), old.pop(), *new[:1]):
            await blobs.delete(gone)
        new[:] = [*new[1:], await write(blobs, b"y" * 1000), await write(blobs, b"y" * 1000)]
        return set(some)

    assert await blobs.sweep(known) == 0
    assert blobs.bytes_kept == sum(path.stat().st_size for path in files(blobs_bench.folder)) > 500_000


async def test_memory_is_bounded_for_a_large_blob(blobs: Blobs) -> None:
    """200 MB through both ways, with slow hashing; the sender waits for the disk."""
    piece, count = os.urandom(64 * 1024), 3200
    hasher = hashlib.sha256()
    tracemalloc.start()
    try:
        staged = await blobs.stage((hasher, Journalless()))
        for number in range(count):
            await staged.write(bytes(number.to_bytes(4, "big")) + piece[4:])
        blob_id = await staged.seal()
        again = hashlib.sha256()
        async for chunk in blobs.open(blob_id):
            again.update(chunk)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert await blobs.size(blob_id) == count * len(piece)
    assert again.digest() == hasher.digest()
    assert peak < 8 * MIB, peak


class Journalless:
    """A hasher slower than a disk."""

    def update(self, data: bytes, /) -> None:
        time.sleep(0.0002)


async def test_a_sender_in_tiny_pieces_costs_no_more_memory(blobs: Blobs) -> None:
    staged = await blobs.stage()
    tracemalloc.start()
    try:
        for number in range(300_000):
            await staged.write(b"%d" % (number % 10))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    blob_id = await staged.seal()
    assert await read(blobs, blob_id, 0, 20) == b"01234567890123456789"
    assert await blobs.size(blob_id) == 300_000
    assert peak < 3 * MIB, peak


# --- callers that go away ------------------------------------------------------------------------------------


async def test_senders_that_go_away_do_not_write_into_others(blobs: Blobs, blobs_bench: Any) -> None:
    """A cancelled write leaves a thread at the file; its descriptor may not be another blob's by then."""
    dice = random.Random(5)

    async def goes_away() -> None:
        staged = await blobs.stage((Journal(0.003),))
        try:
            while True:
                await staged.write(b"\xee" * 300_000)
        finally:
            await staged.discard()

    async def stays(number: int) -> None:
        data = bytes([number % 200]) * (600_000 + number)
        blob_id = await write(blobs, data, 50_000)
        assert await read(blobs, blob_id) == data

    for turn in range(12):
        leaving = [asyncio.create_task(goes_away()) for _ in range(6)]
        await asyncio.sleep(dice.uniform(0, 0.03))
        for task in leaving:
            task.cancel()
        await asyncio.gather(*leaving, *(stays(turn * 10 + n) for n in range(4)), return_exceptions=True)
    left = [path for path in files(blobs_bench.folder) if b"\xee" in path.read_bytes()[:10]]
    assert left == []
    assert len(files(blobs_bench.folder)) == 48


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


async def test_callers_that_go_away_leave_no_open_file(blobs: Blobs, blobs_bench: Any) -> None:
    blob_id = await write(blobs, b"x" * 3 * MIB)
    await asyncio.gather(*(write(blobs, b"x") for _ in range(20)))  # all threads are there
    before = descriptors()

    async def reader() -> None:
        async for _ in blobs.open(blob_id):
            pass

    async def stager() -> Staged:
        staged = await blobs.stage()
        await staged.discard()
        return staged

    dice = random.Random(6)
    for _ in range(30):
        tasks = [asyncio.create_task(call()) for call in (reader, stager) for _ in range(6)]
        await asyncio.sleep(dice.choice([0, 0, 0.0005, 0.002]))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    await until(lambda: descriptors() <= before)


# --- a disk that fails ---------------------------------------------------------------------------------------


@pytest.fixture
async def filed(tmp_path: Path) -> AsyncIterator[FileBlobs]:
    blobs = FileBlobs(tmp_path / "blobs")
    yield blobs
    blobs.close()


def fail_with(number: int) -> Any:
    def fail(*_: Any) -> Any:
        raise OSError(number, os.strerror(number))

    return fail


async def test_a_failed_sync_is_answered_and_nothing_stays(
    filed: FileBlobs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    staged = await filed.stage()
    await staged.write(b"x" * MIB)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail_with(errno.EIO))
        with pytest.raises(Unavailable, match="disk failed") as met:
            await staged.seal()
        assert met.value.kind == "blobs"
    with pytest.raises((Unavailable, RuntimeError)):
        await staged.seal()  # a second try may not call durable what the kernel has dropped
    await staged.discard()
    assert files(tmp_path / "blobs") == []
    blob_id = await write(filed, b"y" * MIB)
    assert await read(filed, blob_id) == b"y" * MIB


async def test_a_folder_that_can_not_be_synced_is_answered_and_nothing_stays(
    filed: FileBlobs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    real = os.fsync

    def files_only(descriptor: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.EIO, "folder")
        real(descriptor)

    staged = await filed.stage()
    await staged.write(b"x" * 1000)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", files_only)
        with pytest.raises(Unavailable):
            await staged.seal()
    await staged.discard()
    assert files(tmp_path / "blobs") == []


async def test_every_folder_on_the_way_is_synced_before_the_seal_is_answered(
    filed: FileBlobs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Also for two blobs that make the same folder at the same time, where one of them is slow."""
    real, synced = os.fsync, set()

    def slow(descriptor: int) -> None:
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        if os.path.isdir(path):
            time.sleep(0.01)
        real(descriptor)
        synced.add(path)

    monkeypatch.setattr(os, "fsync", slow)
    names = iter(f"abcd{number:04d}-0000-4000-8000-000000000000" for number in range(8))
    monkeypatch.setattr("sluiceway.engines.filesystem.new_id", lambda: next(names))
    root = tmp_path / "blobs"

    async def one() -> None:
        await write(filed, b"x" * 1000)
        assert {str(root), str(root / "ab"), str(root / "ab" / "cd")} <= synced

    await asyncio.gather(*(one() for _ in range(8)))


async def test_a_write_that_failed_is_never_followed_by_a_seal(
    filed: FileBlobs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Even if the caller does not mind the error and goes on: the blob would have a hole."""
    real, calls = os.writev, iter(range(1000))

    def third_fails(descriptor: int, data: Any) -> int:
        if next(calls) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(descriptor, data)

    staged = await filed.stage()
    failures = 0
    with monkeypatch.context() as patch:
        patch.setattr(os, "writev", third_fails)
        for _ in range(60):
            try:
                await staged.write(b"x" * 300_000)
            except Unavailable as error:
                failures += 1
                assert "No space left" in error.message
        assert failures > 5
        for _ in range(3):
            with pytest.raises(Unavailable):
                await staged.seal()
    await staged.discard()
    assert files(tmp_path / "blobs") == []


async def test_discarding_on_a_broken_disk_raises_nothing(
    filed: FileBlobs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    staged = await filed.stage()
    await staged.write(b"x" * MIB)
    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", fail_with(errno.EROFS))
        await staged.discard()
    assert len(files(tmp_path / "blobs")) == 1
    assert await FileBlobs(tmp_path / "blobs").sweep(knowing_all) == 1


async def test_a_hasher_that_fails_fails_the_blob(filed: FileBlobs, tmp_path: Path) -> None:
    class Broken:
        def update(self, data: bytes, /) -> None:
            raise ValueError("broken")

    staged = await filed.stage((Broken(),))
    with pytest.raises(ValueError, match="broken"):
        for _ in range(20):
            await staged.write(b"x" * 300_000)
        await staged.seal()
    await staged.discard()
    assert files(tmp_path / "blobs") == []


async def test_a_file_size_limit_is_a_full_disk(filed: FileBlobs, tmp_path: Path) -> None:
    """A real refusal by the kernel. (Python ignores SIGXFSZ, so that write answers EFBIG.)"""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    staged = await filed.stage()
    resource.setrlimit(resource.RLIMIT_FSIZE, (MIB, hard))
    try:
        with pytest.raises(Unavailable, match="disk failed"):
            for _ in range(40):
                await staged.write(b"x" * 100_000)
            await staged.seal()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    await staged.discard()
    assert files(tmp_path / "blobs") == []
    blob_id = await write(filed, b"x" * 4 * MIB)
    assert await filed.size(blob_id) == 4 * MIB


async def test_after_closing_calls_are_refused(tmp_path: Path) -> None:
    blobs = FileBlobs(tmp_path / "blobs")
    blob_id = await write(blobs, b"x")
    blobs.close()
    for call in (blobs.stage(), read(blobs, blob_id), blobs.size(blob_id)):
        with pytest.raises(Unavailable):
            await call
