"""The embedded engine of the store port: one SQLite database in WAL mode (see ``core.store``)."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import apsw

from sluiceway.config import StoreSettings
from sluiceway.core.clock import Clock
from sluiceway.core.store import Tx, View
from sluiceway.core.wakeups import Wakeups
from sluiceway.engines.sqlite.files import CORRUPTION, STORAGE_ERRORS, check, connect, in_words, migrate
from sluiceway.engines.sqlite.known import Known, Outdated, Rows
from sluiceway.engines.sqlite.rows import SqliteView
from sluiceway.engines.sqlite.writer import Job, StoreStats, Writer
from sluiceway.errors import Unavailable

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")
_TICK_S = 0.25  # how often the housekeeping thread looks


class SqliteStore:
    """Made by ``open_store``. Views run on the caller's thread: they are short, and reads don't wait."""

    def __init__(
        self,
        path: Path,
        limits: StoreSettings,
        clock: Clock,
        wakeups: Wakeups,
        steady: frozenset[str],
        hot: frozenset[str],
        busy: frozenset[str],
    ) -> None:
        self._limits = limits
        self._clock = clock
        self._reader = connect(path, limits)
        self._checkpointer = connect(path, limits)
        self._known = Known(steady | hot, limits.rows_known_bytes_max)
        self._unknown = Known(frozenset(), 0)  # for a view that is to read everything from its snapshot
        kept = Rows(steady | busy, limits.rows_known_bytes_max)
        self._writer = Writer(path, limits, clock, wakeups.notify, self._known, kept, busy)
        self._ending = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="store-keeper", daemon=True)
        self._keeper.start()
        self.stats: StoreStats = self._writer.stats

    async def commit(self, fn: Callable[Concatenate[Tx, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """See ``core.store.Store``."""
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._writer.submit(Job(fn, args, kwargs, answer))
        return await answer

    async def view(self, fn: Callable[Concatenate[View, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """See ``core.store.Store``."""
        if self._ending.is_set():
            raise Unavailable("store", "The server is stopping.")
        reader, known = self._reader, self._known
        try:
            while True:
                try:
                    return fn(SqliteView(reader, self._clock.now_ms(), known), *args, **kwargs)
                except Outdated:
                    known = self._unknown
                finally:
                    if reader.in_transaction:
                        reader.execute("ROLLBACK")
        except STORAGE_ERRORS as error:
            log.error("reading failed: %s (%s)", in_words(error), error)
            if isinstance(error, CORRUPTION):
                self._writer.note_trouble(error)
            raise Unavailable("store", in_words(error)) from None

    def problem(self) -> str | None:
        """See ``core.store.Store``."""
        return self._writer.trouble

    async def close(self) -> None:
        """See ``core.store.Store``."""
        self._writer.end()
        await asyncio.to_thread(self._writer.join)
        self._ending.set()
        await asyncio.to_thread(self._keeper.join)
        self._reader.close()

    def _keep(self) -> None:
        """Checkpoints beside the writer, and its time limit."""
        connection = self._checkpointer
        while not self._ending.wait(_TICK_S):
            self._writer.interrupt_late()
            try:
                if self._writer.log_pages > self._limits.checkpoint_pages:
                    connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
            except apsw.Error as error:
                # The writer meets the same disk and says so to its callers; here the next tick tries again.
                log.warning("checkpoint failed: %s", error)
        try:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except apsw.Error as error:
            log.warning("the last checkpoint failed, the next start repeats it: %s", error)
        connection.close()


async def open_store(
    path: Path,
    limits: StoreSettings,
    clock: Clock,
    wakeups: Wakeups,
    steady: frozenset[str] = frozenset(),
    hot: frozenset[str] = frozenset(),
    busy: frozenset[str] = frozenset(),
) -> SqliteStore:
    """Open or create the database at ``path``.

    Rows of the tables ``steady``, which nearly every function reads and few change, are kept in memory once they are
    read; those of ``hot``, of which some are read often, for views only. Those of ``busy``, which nearly every function
    changes (counters), are written once for all functions that are committed together.

    Raises ``Unavailable("schema")`` for a newer schema, ``Unavailable("store")`` if it can't be used.
    """
    try:
        await asyncio.to_thread(_prepare, path, limits)
        return SqliteStore(path, limits, clock, wakeups, steady, hot, busy)
    except STORAGE_ERRORS as error:
        raise Unavailable("store", f"{path}: {in_words(error)}") from error


def _prepare(path: Path, limits: StoreSettings) -> None:
    connection = connect(path, limits, writer=True)
    try:
        migrate(connection)
        check(connection, limits)
    finally:
        connection.close()
