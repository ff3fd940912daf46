"""The process that ``test_store_crash`` kills: it works for ever, and tells each acknowledgement on its output."""

from __future__ import annotations

import asyncio
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sluiceway.config import StoreSettings
from sluiceway.core.clock import SystemClock
from sluiceway.core.store import Tx
from sluiceway.core.wakeups import Wakeups
from sluiceway.engines.filesystem import FileBlobs
from sluiceway.engines.sqlite import SqliteStore, open_store

WORKERS = 64
KEPT = 200  # entries of the log that is trimmed


async def open_here(folder: Path) -> SqliteStore:
    limits = StoreSettings(checkpoint_pages=64)  # so that many a kill meets a checkpoint
    return await open_store(folder / "store.db", limits, SystemClock(), Wakeups())


def tell(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())  # one write of less than PIPE_BUF is never torn


def padding(number: int) -> str:
    """The same for the same number: mostly small, sometimes many pages."""
    size = 150_000 if number % 97 == 0 else number % 700
    return (f"{number}," * (size // 2 + 1))[:size]


class Refused(Exception):
    pass


def change(tx: Tx, number: int) -> int:
    """A row, an index to it, and an entry in two logs: all of it or nothing."""
    offset = tx.append("crash/all", {"number": number})
    tx.put("rows", (number,), {"offset": offset, "padding": padding(number)})
    tx.put("index", (offset,), number)
    tx.trim("crash/short", tx.append("crash/short", number) - KEPT + 1)
    if number % 11 == 0:
        raise Refused
    return offset


async def commit_for_ever(folder: Path, start: int) -> None:
    store = await open_here(folder)

    async def worker(number: int) -> None:
        while True:
            number += WORKERS
            try:
                tell(number, await store.commit(change, number))
            except Refused:
                continue

    await asyncio.gather(*(worker(start + who) for who in range(WORKERS)))


def content(number: int) -> bytes:
    dice = random.Random(number)
    size = dice.choice([0, 10, 5000, 200_000, 800_000])
    return number.to_bytes(8, "big") + dice.randbytes(size)


async def seal_for_ever(folder: Path, start: int) -> None:
    blobs = FileBlobs(folder / "blobs")

    async def worker(number: int) -> None:
        while True:
            number += 16
            staged, data = await blobs.stage(), content(number)
            for at in range(0, len(data), 100_000):
                await staged.write(data[at : at + 100_000])
            if number % 5 == 0:
                await staged.discard()
            else:
                tell(number, await staged.seal())

    await asyncio.gather(*(worker(start + who) for who in range(16)))


MODES: dict[str, Callable[..., Any]] = {"store": commit_for_ever, "blobs": seal_for_ever}

if __name__ == "__main__":
    first, _, where = sys.stdin.readline().rstrip("\n").partition(" ")  # imports are done; now it counts
    asyncio.run(MODES[sys.argv[1]](Path(where), int(first)))
