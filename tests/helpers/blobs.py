"""What lies on a server's disk beside its store, compared with what the store refers to."""

from __future__ import annotations

import collections
import json
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any


def knowing(*used: str) -> Callable[[list[str]], Awaitable[set[str]]]:
    """What ``Blobs.sweep`` asks: which of some blobs are used."""

    async def known(asked: list[str]) -> set[str]:
        return set(asked) & set(used)

    return known


async def knowing_all(asked: list[str]) -> set[str]:
    """The same where all are used."""
    return set(asked)


def on_disk(data: Path) -> set[str]:
    """The files that hold bytes of objects, finished or not."""
    return {path.name for path in (data / "blobs").rglob("*") if path.is_file()}


def rows(store: sqlite3.Connection, table: str) -> list[tuple[Any, Any]]:
    """Of a table as the store keeps it, which makes it with its first row."""
    there = {name for (name,) in store.execute("SELECT name FROM sqlite_master")}
    return list(store.execute(f'SELECT key, value FROM "{table}"')) if table in there else []


def check_blobs(data: Path) -> None:
    """The files are what the store's rows refer to, each as often as it is counted; no garbage waits."""
    files = on_disk(data)
    with closing(sqlite3.connect(f"file:{data / 'store.db'}?mode=ro", uri=True)) as store:
        counted = {key[1:-1].decode(): int(count) for key, count in rows(store, "blobs")}
        found = collections.Counter[str]()
        for table in ("objects", "object_versions"):
            found.update(blob for _, row in rows(store, table) if (blob := json.loads(row).get("blob")))
        for _, row in rows(store, "object_bodies"):
            found.update(piece[0] for piece in (json.loads(row) if isinstance(row, str) else ()))
        for _, row in rows(store, "upload_parts"):
            found.update(piece[0] for piece in json.loads(row)["pieces"])
        assert not rows(store, "blob_garbage"), "blobs that wait to be deleted"
    assert counted == dict(found), "counts of references that are not those of the rows"
    assert files == set(found), "blobs that nobody refers to, or that are missing"
