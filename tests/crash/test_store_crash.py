"""SIGKILL under load: what was acknowledged is there, whole; nothing is torn; offsets have no gap.

A child process works and tells each acknowledgement on a pipe; the parent kills it at a random moment, also while
it opens the store, and looks. The rounds go on with the same folder. For a longer run, or to repeat one:
``SLUICEWAY_TEST_ROUNDS=500 SLUICEWAY_TEST_SEED=7 pytest tests/crash/test_store_crash.py``.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest
from helpers.blobs import knowing

from sluiceway.core.store import View
from sluiceway.engines.filesystem import FileBlobs

sys.path.insert(0, str(Path(__file__).parent))

from store_child import KEPT, WORKERS, change, content, open_here, padding

SEED = int(os.environ.get("SLUICEWAY_TEST_SEED", time.time_ns() % 1_000_000))
ROUNDS = int(os.environ.get("SLUICEWAY_TEST_ROUNDS", "20"))
CHILD = Path(__file__).with_name("store_child.py")
OPEN_MAX_S = 30
SHARED = 5  # rounds that go on with the same folder

pytestmark = [pytest.mark.crash, pytest.mark.timeout(60 + 10 * ROUNDS)]


def lines_of(pipe: IO[bytes]) -> Iterator[list[str]]:
    for line in pipe:
        if line.endswith(b"\n"):
            yield line.decode().split()


class Victims:
    """Children, the next of which starts while the last one's work is looked at."""

    def __init__(self, mode: str) -> None:
        self._mode = mode
        self._next = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        pipe = subprocess.PIPE
        return subprocess.Popen([sys.executable, str(CHILD), self._mode], stdin=pipe, stdout=pipe, stderr=pipe)

    def run_and_kill(self, folder: Path, start: int, dice: random.Random) -> list[list[str]]:
        """What a child told before it was killed at a random moment."""
        child, self._next = self._next, self._start()
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(f"{start} {folder}\n".encode())
        child.stdin.flush()
        pipe = lines_of(child.stdout)
        told: list[list[str]] = []
        if dice.random() < 0.25:  # also while it opens its files; what it tells waits in the pipe
            time.sleep(dice.uniform(0, 0.1))
        else:
            told.append(next(pipe, []))
            end = time.monotonic() + dice.uniform(0, 0.4)
            while time.monotonic() < end:
                told.append(next(pipe, []))
        child.send_signal(signal.SIGKILL)
        told.extend(pipe)
        _, errors = child.communicate()
        assert child.returncode == -signal.SIGKILL, errors.decode()
        return [line for line in told if line]

    def close(self) -> None:
        self._next.kill()
        self._next.communicate()


@pytest.fixture
def victims(request: pytest.FixtureRequest) -> Iterator[Victims]:
    made = Victims(request.param)
    yield made
    made.close()


def check_store(view: View, acknowledged: dict[int, int]) -> int:
    """All of it is consistent, and every acknowledged change is there; how many changes there are."""
    index = {key[0]: number for key, number in view.scan("index")}
    rows: dict[Any, Any] = {}
    for key, row in view.scan("rows"):
        rows[key[0]] = row["offset"]
        assert row["padding"] == padding(int(key[0])), f"row {key} is torn"
    count = view.bounds("crash/all").next
    entries = view.read("crash/all", 0, count + 10)
    assert [entry.offset for entry in entries] == list(range(count))
    assert rows == {entry.value["number"]: entry.offset for entry in entries}
    assert index == {entry.offset: entry.value["number"] for entry in entries}
    times = [entry.time_ms for entry in entries]
    assert times == sorted(times)
    lost = {number: offset for number, offset in acknowledged.items() if rows.get(number) != offset}
    assert not lost, f"{len(lost)} acknowledged changes are lost"
    assert not any(number % 11 == 0 for number in rows), "a refused change is there"
    short = view.bounds("crash/short")
    assert (short.first, short.next) == (max(0, count - KEPT), count)
    kept = view.read("crash/short", 0, count + 10)
    assert [(entry.offset, entry.value) for entry in kept] == [
        (entry.offset, entry.value["number"]) for entry in entries[short.first :]
    ]
    return count


def say(words: str) -> None:
    print(f"seed {SEED}, {words}", flush=True)


@pytest.mark.parametrize("victims", ["store"], indirect=True)
async def test_acknowledged_commits_survive_kills(victims: Victims, tmp_path: Path) -> None:
    dice = random.Random(SEED)
    acknowledged: dict[int, int] = {}
    count = 0
    for turn in range(ROUNDS):
        folder = tmp_path / str(turn // SHARED)  # a fresh one now and then, so that looking does not take long
        if turn % SHARED == 0:
            folder.mkdir()
            acknowledged, count = {}, 0
        say(f"round {turn}: {len(acknowledged)} acknowledged, {count} there")
        start = (turn % SHARED) * 10_000_000
        told = await asyncio.to_thread(victims.run_and_kill, folder, start, dice)
        offsets = [int(offset) for _, offset in told]
        assert offsets == sorted(offsets), "answers did not come in the order of the commits"
        acknowledged.update((int(number), int(offset)) for number, offset in told)
        store = await asyncio.wait_for(open_here(folder), OPEN_MAX_S)
        assert store.problem() is None
        before = count
        count = await store.view(check_store, acknowledged)
        assert count - before <= len(told) + WORKERS  # no more than was under way is there unannounced
        probe = start + 9_999_999 - (start + 9_999_999) % 11 + 1
        acknowledged[probe] = await store.commit(change, probe)
        assert acknowledged[probe] == count
        count += 1
        await store.close()
    assert ROUNDS < 5 or len(acknowledged) > 1000


async def read(blobs: FileBlobs, blob_id: str) -> bytes:
    return b"".join([chunk async for chunk in blobs.open(blob_id)])


@pytest.mark.parametrize("victims", ["blobs"], indirect=True)
async def test_sealed_blobs_survive_kills_whole(victims: Victims, tmp_path: Path) -> None:
    dice = random.Random(SEED + 1)
    temporary = orphans = sealed = 0
    for turn in range(ROUNDS):
        folder = tmp_path / str(turn)
        told = await asyncio.to_thread(victims.run_and_kill, folder, turn * 1_000_000, dice)
        say(f"round {turn}: {len(told)} sealed")
        used = {blob_id: int(number) for number, blob_id in told}
        sealed += len(used)
        blobs = FileBlobs(folder / "blobs")
        found: dict[str, int] = {}
        for path in (folder / "blobs").glob("??/??/*"):  # also what nobody was told of is whole
            data = await read(blobs, path.name)
            found[path.name] = int.from_bytes(data[:8], "big")
            assert data == content(found[path.name]), f"blob {found[path.name]} is torn"
        lost = {blob_id: number for blob_id, number in used.items() if found.get(blob_id) != number}
        assert not lost, f"{len(lost)} sealed blobs are lost"
        orphans += len(found) - len(used)
        left = len(list((folder / "blobs" / "tmp").iterdir()))
        temporary += left
        assert await blobs.sweep(knowing(*used)) >= left
        files = {path.name for path in (folder / "blobs").rglob("*") if path.is_file()}
        assert files == set(used)
        if used:
            blob_id, number = next(iter(used.items()))
            assert await read(blobs, blob_id) == content(number)
        blobs.close()
    say(f"{sealed} sealed, {temporary} temporary files and {orphans} orphans swept")
    assert ROUNDS < 5 or (sealed > 20 and temporary > 0)
