"""Keeps search indices up to date: a cursor over each log ``documents/INDEX``.

An index's position is committed in the index itself, together with the changes up to it. So after a crash it goes
on exactly where the index is, and an index that was lost, that is damaged, or that has too few columns for its
mapping is made again from the documents' rows, beside the one that answers.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, ParamSpec, TypeVar

import orjson

from sluiceway.config import SearchSettings
from sluiceway.core.search.index import Change, SearchIndexes
from sluiceway.core.search.values import flatten
from sluiceway.core.store import Store
from sluiceway.core.wakeups import Wakeups
from sluiceway.errors import DomainError, Invalid
from sluiceway.services.documents import Documents
from sluiceway.services.documents.values import Batch, Document, Index, Standing

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

#: Who waits for an index to catch up notifies this, so that nothing is gathered any longer.
NOW: Final = "search/now"
_LOGS: Final = "documents/"
_RETRY_S: Final = 1.0
_RETRY_S_MAX: Final = 30.0
_TRIM_EVERY: Final = 1000


def searchable(uid: str) -> str:
    """What is notified when the index has a new position."""
    return f"search/{uid}"


@dataclass(slots=True)
class _Rebuild:
    """How far an index that is being made has come. ``position`` is where the log was at its beginning."""

    uid: str
    position: int
    after: str | None = None


class SearchFeeder:
    """``run`` it for as long as the server runs. Indices take turns, a batch each."""

    def __init__(
        self, store: Store, documents: Documents, index: SearchIndexes, wakeups: Wakeups, limits: SearchSettings
    ) -> None:
        self._store = store
        self._documents = documents
        self._index = index
        self._wakeups = wakeups
        self._limits = limits
        self._dirty: dict[str, float] = {}
        self._rebuilds: dict[str, _Rebuild] = {}
        self._changed = asyncio.Event()
        self._urgent = asyncio.Event()
        self._thread: ThreadPoolExecutor | None = None
        wakeups.listen(self._heard)

    def lag(self) -> float:
        """Seconds for which a change has been waiting to be searchable."""
        return max(0.0, time.monotonic() - min(self._dirty.values())) if self._dirty else 0.0

    async def run(self) -> None:
        """Feed until cancelled."""
        self._thread = thread = ThreadPoolExecutor(1, "search-feeder")
        self._rebuilds.clear()
        try:
            await self._all()
            pause = _RETRY_S
            while True:
                await self._changed.wait()
                if not self._rebuilds:
                    await self._gather()
                self._changed.clear()
                self._urgent.clear()
                if await self._pass(list(self._dirty)):
                    pause = _RETRY_S
                else:
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, _RETRY_S_MAX)
                if self._dirty:
                    self._changed.set()
        finally:
            await asyncio.to_thread(thread.shutdown, wait=True, cancel_futures=True)

    def _heard(self, names: frozenset[str]) -> None:
        now = time.monotonic()
        for name in names:
            if name == NOW:
                self._urgent.set()
            elif name.startswith(_LOGS):
                self._dirty.setdefault(name.removeprefix(_LOGS), now)
                self._changed.set()

    async def _gather(self) -> None:
        """Let changes come together, unless somebody waits for them."""
        try:
            await asyncio.wait_for(self._urgent.wait(), self._limits.refresh_s)
        except TimeoutError:
            return

    async def _all(self) -> None:
        """Look at every index once, and delete the files of those that are gone."""
        while True:
            try:
                standings = await self._store.view(self._documents.standings)
                await self._blocking(self._index.keep, frozenset(standing.index.uid for standing in standings))
                break
            except (DomainError, OSError) as error:
                log.warning("the search indices can't be looked at, trying again: %s", error)
                await asyncio.sleep(_RETRY_S)
        now = time.monotonic()
        for standing in standings:
            self._dirty.setdefault(standing.index.name, now)
        await self._clean_up()
        if self._dirty:
            self._changed.set()

    async def _pass(self, names: Sequence[str]) -> bool:
        """One batch for each of ``names``; False if something failed and should be tried later."""
        well = True
        for name in names:
            noticed = self._dirty.pop(name)
            try:
                more = await self._step(name)
            except (DomainError, OSError) as error:
                log.warning("search index %s: %s", name, error)
                more, well = True, False
                self._rebuilds.pop(name, None)
            if more:
                self._dirty.setdefault(name, noticed)
        return well

    async def _step(self, name: str) -> bool:
        """Feed one batch; whether there is more."""
        standings = await self._store.view(self._documents.standings, [name])
        if not standings:
            self._rebuilds.pop(name, None)
            await self._clean_up()
            return False
        standing = standings[0]
        index = standing.index
        position = await self._blocking(self._index.position, index.uid)
        if name in self._rebuilds or await self._is_unfit(standing, position):
            return await self._rebuild(name, index)
        assert position is not None
        if position == standing.next:
            return False
        batch = await self._store.view(self._documents.changes, name, position)
        if batch is None or batch.index.uid != index.uid:
            return True
        if await self._is_unfit(Standing(batch.index, standing.first, batch.position), position):
            return True
        await self._blocking(self._apply, batch)
        self._wakeups.notify([searchable(index.uid)])
        if batch.position - standing.first >= _TRIM_EVERY:
            await self._store.commit(self._documents.trim, name, batch.position)
        return batch.more

    async def _is_unfit(self, standing: Standing, position: int | None) -> bool:
        """Whether the index has to be made again: it is not there, it has lost the log, or its columns are too few."""
        if position is None or not standing.first <= position <= standing.next:
            return True
        counts = self._documents.fields(standing.index).counts()
        return not await self._blocking(self._index.fits, standing.index.uid, counts)

    async def _rebuild(self, name: str, index: Index) -> bool:
        """Put one page of documents into a new index."""
        work = self._rebuilds.get(name)
        if work is None or work.uid != index.uid:
            batch = await self._store.view(self._documents.page, name, None)
            if batch is None or batch.index.uid != index.uid:
                return True
            work = self._rebuilds[name] = _Rebuild(index.uid, batch.position)
            counts = self._documents.fields(batch.index).counts()
            await self._blocking(self._index.begin, index.uid, counts)
            if batch.documents:
                log.info("search index %s is being made from its documents", name)
        else:
            batch = await self._store.view(self._documents.page, name, work.after)
            if batch is None or batch.index.uid != index.uid:
                return True
        await self._blocking(self._add, batch)
        if batch.more:
            work.after = batch.documents[-1].id
            return True
        await self._blocking(self._index.finish, index.uid, work.position)
        del self._rebuilds[name]
        self._wakeups.notify([searchable(index.uid)])
        return True

    async def _clean_up(self) -> None:
        """Delete what is left of indices that are gone."""
        standings = await self._store.view(self._documents.standings)
        await self._blocking(self._index.keep, frozenset(standing.index.uid for standing in standings))
        more = True
        while more:
            more = await self._store.commit(self._documents.sweep)

    # -- on the feeder's own thread

    async def _blocking(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        def call() -> T:
            return fn(*args, **kwargs)

        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    def _apply(self, batch: Batch) -> None:
        changes = [*self._changes(batch), *(Change(id) for id in batch.gone)]
        self._index.apply(batch.index.uid, changes, batch.position)

    def _add(self, batch: Batch) -> None:
        self._index.add(batch.index.uid, self._changes(batch))

    def _changes(self, batch: Batch) -> list[Change]:
        fields: Any = self._documents.fields(batch.index)
        return [self._change(fields, document) for document in batch.documents]

    def _change(self, fields: Any, document: Document) -> Change:
        try:
            flat = flatten(fields, orjson.loads(document.source), document.id, self._limits.depth_max)
        except Invalid as error:  # it was accepted once: still there by its id
            log.warning("document %s is not searchable: %s", document.id, error.message)
            return Change(document.id, document.sequence, document.version, document.source)
        columns = {column: tuple(values) for column, values in flat.columns.items()}
        return Change(document.id, document.sequence, document.version, document.source, columns, sorted(flat.paths))
