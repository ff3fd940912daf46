"""Fills a data folder with the rows of many objects before a server opens it: ``python -m bench.fill FOLDER COUNT``.

The first object is put by the object service; the others are its row under other names, written through the store's
port in large transactions. A million signed requests would take minutes and leave the same rows.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from sluiceway.config import load_settings
from sluiceway.core.store import Tx
from sluiceway.server.services import Place, Services, open_services
from sluiceway.services.objects.rows import OBJECTS
from sluiceway.services.objects.values import Actor, Attributes, Content

BUCKET = "many"
IN_FOLDER = 100  # keys below each common prefix
_GROUP = 5_000  # rows of a transaction, some 15 ms


def key_of(number: int) -> str:
    """Keys in their order, a hundred in each folder."""
    return f"{number // IN_FOLDER:06d}/picture-{number % IN_FOLDER:04d}.jpg"


def _first(tx: Tx, services: Services) -> None:
    actor = Actor("bench", "0" * 64, "127.0.0.1", "bench", "bench")
    content = Content(1, "0cc175b9c0f1b6a831c399e269772661", None, b"a")
    services.objects.buckets.create(tx, BUCKET, actor.canonical_id)
    services.objects.contents.put(tx, BUCKET, key_of(0), content, Attributes(), actor)


def _more(tx: Tx, begin: int, end: int) -> None:
    row = tx.get(OBJECTS, (BUCKET, key_of(0)))
    for number in range(begin, end):
        tx.put(OBJECTS, (BUCKET, key_of(number)), row)


async def fill(folder: Path, count: int) -> None:
    """Make ``count`` objects in the bucket ``many``."""
    folder.mkdir(parents=True)
    services = await open_services(load_settings({"data": folder}), Place(folder, lambda: ""))
    await services.store.commit(_first, services)
    for begin in range(1, count, _GROUP):
        await services.store.commit(_more, begin, min(begin + _GROUP, count))
    await services.close()


if __name__ == "__main__":
    asyncio.run(fill(Path(sys.argv[1]), int(sys.argv[2])))
