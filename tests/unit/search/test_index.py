"""The index follows the documents: after a restart, and from the beginning."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

from helpers.search import LIMITS, found, load, serving

from sluiceway.core.search.index import Change, Text
from sluiceway.engines.tantivy import files


async def test_the_index_goes_on_where_it_was(tmp_path: Path) -> None:
    """Without a last commit, as after a crash; then without its files; then with broken ones."""

    def count(es: Any, wanted: int) -> None:
        es.indices.refresh(index="books")
        assert es.count(index="books")["count"] == wanted
        assert len(found(es.search(index="books", query={"match": {"title": "quick"}}))) == 2

    async with serving(tmp_path) as server:
        es = server.client()
        await asyncio.to_thread(load, es)
        await asyncio.to_thread(count, es, 4)
        uid = (await asyncio.to_thread(es.indices.get_settings, index="books"))["books"]["settings"]["index"]["uuid"]
        server.feeding.cancel()
        await asyncio.gather(server.feeding, return_exceptions=True)
        await asyncio.to_thread(es.index, index="books", id="5", document={"title": "later"})
        await asyncio.to_thread(es.delete, index="books", id="4")
        # Documents that were added to the engine, but not committed: they are fed again, not twice.
        opened = server.index._opened(uid)
        assert opened is not None and opened.position == 4
        lost = Change("5", 4, 1, "{}", {"t0": [Text("quick quick quick", "standard|lowercase")]})
        files.write(server.index._writer(opened), lost, server.index._kitchen, opened.columns)
    async with serving(tmp_path) as server:
        await asyncio.to_thread(count, server.client(), 4)
        assert server.index.position(uid) == 6
        folder = next((tmp_path / "search" / uid).iterdir())
    shutil.rmtree(tmp_path / "search")
    async with serving(tmp_path) as server:
        await asyncio.to_thread(count, server.client(), 4)
        folder = next((tmp_path / "search" / uid).iterdir())
    for path in folder.iterdir():
        if path.suffix in (".term", ".store", ".idx", ".pos"):
            path.write_bytes(b"not an index" * 10)
    async with serving(tmp_path) as server:
        await asyncio.to_thread(count, server.client(), 4)


async def test_a_long_index_is_made_again_in_pages(tmp_path: Path) -> None:
    def ids(es: Any) -> list[str]:
        es.indices.refresh(index="p")
        return sorted(found(es.search(index="p", size=1000)))

    lines: list[Any] = []
    for number in range(233):
        lines += [{"index": {"_index": "p", "_id": str(number)}}, {"n": number}]
    async with serving(tmp_path) as server:
        await asyncio.to_thread(server.client().bulk, operations=lines)
        assert await asyncio.to_thread(ids, server.client()) == sorted(str(number) for number in range(233))
    for size in (1, 50, 58, 232, 233, 234):
        shutil.rmtree(tmp_path / "search")
        async with serving(tmp_path, LIMITS.model_copy(update={"feed_entries": size})) as server:
            assert await asyncio.to_thread(ids, server.client()) == sorted(str(number) for number in range(233))
