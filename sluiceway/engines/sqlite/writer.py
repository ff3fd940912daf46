"""The one writer: a thread that runs waiting transaction functions in groups and commits each group once.

Life of a function: *waiting* in the queue, *running*, then *durable* (answered with its result) or *failed* (answered
with its exception; nothing of it is kept, and the group goes on). Most that fail do so before they write anything, so
a group runs without savepoints, which cost a fifth of it. One that fails after it wrote spoils its group, which is
rolled back and runs again, each function under a savepoint of its own.
When the disk fails, the whole group is answered with ``Unavailable`` and the writer is *troubled*: it refuses
new functions and tries once in a while to make a probe row durable; when that works it goes on.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import apsw

from sluiceway.config import StoreSettings
from sluiceway.core.clock import Clock
from sluiceway.engines.sqlite.files import CORRUPTION, STORAGE_ERRORS, connect, in_words
from sluiceway.engines.sqlite.known import Known, Name, Rows
from sluiceway.engines.sqlite.rows import SqliteTx
from sluiceway.errors import Throttled, Unavailable

log = logging.getLogger(__name__)

_RECOVERY_S = 1.0
_LOG_FACTOR = 4  # times the size at which checkpoints begin: then the writer waits for one


@dataclass(slots=True)
class Job:
    """One transaction function and what came of it."""

    fn: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    answer: asyncio.Future[Any]
    result: Any = None
    error: BaseException | None = None

    @property
    def name(self) -> str:
        """What the log calls it."""
        return getattr(self.fn, "__qualname__", repr(self.fn))


@dataclass(slots=True)
class StoreStats:
    """Counts since the start."""

    commits: int = 0
    functions: int = 0
    failed: int = 0
    commit_s: float = 0.0
    group_last: int = 0
    waiting: Callable[[], int] = field(default=lambda: 0)


class _Spoiled(Exception):
    """A function failed after it had written, and its group has no savepoints to go back to."""


class Writer:
    """``notify(names)`` is called on the event loop after a group is durable. ``kept`` are rows that only this thread
    uses; ``known`` are the views'. ``busy`` tables are written once for a group."""

    def __init__(
        self,
        path: Path,
        limits: StoreSettings,
        clock: Clock,
        notify: Callable[[Iterable[str]], None],
        known: Known,
        kept: Rows,
        busy: frozenset[str],
    ) -> None:
        self._path = path
        self._known = known
        self._kept = kept
        self._busy = busy
        self._limits = limits
        self._clock = clock
        self._notify = notify
        self._loop = asyncio.get_running_loop()
        self._inbox: SimpleQueue[Job | None] = SimpleQueue()  # None: look around
        self._state = threading.Lock()  # of ``trouble`` and ``_damaged`` together
        self._closing = False
        self._current: tuple[SqliteTx, float, Job] | None = None
        self.log_pages = 0  # in the write-ahead log, since it last began anew
        self._connection = self._connect()
        self.stats = StoreStats(waiting=self._inbox.qsize)
        self.trouble: str | None = None
        self._damaged = False
        self._thread = threading.Thread(target=self._work, name="store-writer", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Queue a function, on the event loop's thread. Raises ``Throttled("store")``, ``Unavailable("store")``."""
        if self._closing:
            raise Unavailable("store", "The server is stopping.")
        if self.trouble is not None:
            raise Unavailable("store", self.trouble)
        if self._inbox.qsize() >= self._limits.queue_max:
            raise Throttled("store", "Too many changes are waiting to be written; try again later.")
        self._inbox.put(job)

    def end(self) -> None:
        """Accept no more, on the event loop's thread. What was accepted is run, and then the thread ends."""
        self._closing = True
        self._inbox.put(None)

    def join(self) -> None:
        """Wait for the thread's end. Blocks."""
        self._thread.join()

    def interrupt_late(self) -> None:
        """Called by another thread now and then: stop a function that has used up its time."""
        current = self._current
        if current is not None and time.monotonic() - current[1] > self._limits.function_limit_ms / 1000:
            current[0].expired = True
            self._connection.interrupt()
            log.error("transaction function %s is over its time limit and was interrupted", current[2].name)

    def _work(self) -> None:
        while True:
            group = self._gather()
            if self.trouble is not None:
                self._refuse(group)
                if not self._closing:
                    self._recover()
            elif group:
                self._run(group)
            if self._closing and self._inbox.empty():
                self._connection.close()
                return

    def _gather(self) -> list[Job]:
        """Wait for functions, in trouble not for long; all that have come, up to a group."""
        try:
            first = self._inbox.get(timeout=_RECOVERY_S if self.trouble is not None else None)
        except Empty:
            return []
        count = min(self._inbox.qsize(), self._limits.group_max - 1)  # this thread is the only one that takes any
        taken = [first, *(self._inbox.get_nowait() for _ in range(count))]
        return [job for job in taken if job is not None]

    def _run(self, group: list[Job]) -> None:
        outdated: set[Name] = set()
        try:
            names = self._commit(group, outdated)
        except STORAGE_ERRORS as error:
            self._in_trouble(error)
            self._refuse(group, outdated)
            return
        except Exception:  # whatever it is: callers wait for an answer, and the thread must live
            log.exception("the store's writer failed")
            self._roll_back()
            self._refuse(group, outdated)
            return
        if names is None:
            self._one_by_one(group)
            return
        self._answer(group, names, outdated)
        if self.log_pages > _LOG_FACTOR * self._limits.checkpoint_pages:
            self._catch_up()

    def _connect(self) -> apsw.Connection:
        connection = connect(self._path, self._limits, writer=True)
        connection.set_wal_hook(self._count_pages)
        return connection

    def _count_pages(self, _connection: apsw.Connection, _database: str, pages: int) -> int:
        self.log_pages = pages
        return apsw.SQLITE_OK

    def _catch_up(self) -> None:
        """Checkpoint to the end of the log, so that the next group begins it anew.

        The checkpoints beside a writer that never pauses don't reach the end, and the log would grow for ever.
        """
        try:
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        except STORAGE_ERRORS as error:
            self._in_trouble(error)

    def _commit(self, group: list[Job], outdated: set[Name]) -> set[str] | None:
        """Run and commit ``group``; the names to wake, or None if SQLite dropped the whole transaction.

        ``outdated`` gets what was announced to ``known``, which is to be taken back with the answers.
        """
        connection = self._connection
        try:
            tx, names = self._attempt_all(group, guarded=False)
        except _Spoiled:
            self._roll_back()
            tx, names = self._attempt_all(group, guarded=True)
        if not connection.in_transaction:
            return None
        tx.finish()
        if tx.outdated:
            outdated |= tx.outdated
            self._known.announce(outdated)
        began = time.perf_counter()
        connection.execute("COMMIT")
        self.stats.commit_s += time.perf_counter() - began
        self.stats.commits += 1
        self.stats.functions += len(group)
        self.stats.group_last = len(group)
        return names

    def _attempt_all(self, group: list[Job], guarded: bool) -> tuple[SqliteTx, set[str]]:
        """Begin a transaction and run ``group`` in it, as long as SQLite does not drop it. Raises ``_Spoiled``."""
        self._connection.execute("BEGIN IMMEDIATE")
        tx = SqliteTx(self._connection, self._clock.now_ms(), self._known, self._kept, self._busy)
        names: set[str] = set()
        began = time.monotonic()
        for job in group:
            began = self._attempt(tx, job, names, guarded, began)
            if not self._connection.in_transaction:
                break
        return tx, names

    def _attempt(self, tx: SqliteTx, job: Job, names: set[str], guarded: bool, began: float) -> float:
        """When the function, which ``began`` then, ended."""
        if guarded:
            self._connection.execute("SAVEPOINT one")
        tx.expired = False
        self._current = (tx, began, job)
        job.result, job.error = None, None
        try:
            job.result = job.fn(tx, *job.args, **job.kwargs)
            if guarded:
                tx.flush()  # while the savepoint is there to go back to
            tx.settle(names)
        except STORAGE_ERRORS:
            raise
        except apsw.InterruptError:
            job.error = Unavailable("slow", "The operation took too long and was given up.")
        except StopIteration as error:  # a future can't carry it
            job.error = RuntimeError("the transaction function raised StopIteration")
            job.error.__cause__ = error
        except BaseException as error:  # noqa: BLE001 (it is the caller's, who awaits it; the thread must live)
            job.error = error
        finally:
            self._current = None
        if job.error is not None:
            if tx.forget() and not guarded and self._connection.in_transaction:
                raise _Spoiled
            self.stats.failed += 1
            if not self._connection.in_transaction:
                return began
            if guarded:
                self._connection.execute("ROLLBACK TO one")
        if guarded:
            self._connection.execute("RELEASE one")
        ended = time.monotonic()
        took_ms = (ended - began) * 1000
        if took_ms > self._limits.function_warn_ms:
            log.warning("transaction function %s took %.0f ms; all other writers waited", job.name, took_ms)
        return ended

    def _one_by_one(self, group: list[Job]) -> None:
        """An interrupted function took the others' transaction with it: they run again, it does not."""
        self._roll_back()
        innocent = [job for job in group if job.error is None or not _is_interruption(job.error)]
        self._answer([job for job in group if job not in innocent], set())
        for at, job in enumerate(innocent):
            if self.trouble is not None:
                self._refuse(innocent[at:])
                return
            self._run([job])

    def _roll_back(self) -> None:
        self._kept.clear()
        if self._connection.in_transaction:
            try:
                self._connection.execute("ROLLBACK")
            except apsw.Error:
                log.exception("rolling back failed")

    def found_damage(self, error: apsw.Error) -> None:
        """Called by another thread whose reading met a damaged page: nothing more is written."""
        with self._state:
            self._damaged = True
            self.trouble = in_words(error)
        self._inbox.put(None)

    def _in_trouble(self, error: apsw.Error) -> None:
        self._roll_back()
        self._damaged = self._damaged or isinstance(error, CORRUPTION)
        self.trouble = in_words(error)
        log.error("%s (%s)", self.trouble, error)

    def _recover(self) -> None:
        """Try to make a probe durable on a fresh connection and a fresh write-ahead log.

        After a failed fsync the kernel may call lost pages clean, and SQLite would append to a log with a
        hole in it. So the old log is checkpointed into the database and cut off first.
        """
        if self._damaged:
            return
        try:
            self._connection.close()
            self._connection = self._connect()
            busy = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()[0][0]
            if busy:
                return
            probe = "INSERT OR REPLACE INTO schema_probe (id, written_ms) VALUES (1, ?)"
            self._connection.execute(probe, (self._clock.now_ms(),))
        except apsw.Error as error:
            self._damaged = self._damaged or isinstance(error, CORRUPTION)
            self.trouble = in_words(error)
            return
        with self._state:
            if self._damaged:  # found by a reader meanwhile
                return
            self.trouble = None
        log.warning("the disk works again; writing goes on")

    def _refuse(self, group: list[Job], outdated: AbstractSet[Name] = frozenset()) -> None:
        for job in group:
            job.error = Unavailable("store", self.trouble or "The change could not be made durable.")
        self._answer(group, set(), outdated)

    def _answer(self, group: list[Job], names: set[str], outdated: AbstractSet[Name] = frozenset()) -> None:
        if group or outdated:
            self._call(self._deliver, group, names, outdated)

    def _call(self, function: Callable[..., None], *args: Any) -> None:
        """On the event loop, in the order of the calls."""
        try:
            self._loop.call_soon_threadsafe(function, *args)
        except RuntimeError:  # the loop is closed: nobody waits any more
            log.warning("the store's answers came after the end")

    def _deliver(self, group: list[Job], names: set[str], outdated: AbstractSet[Name]) -> None:
        if outdated:
            self._known.forget(outdated)  # before the answers
        for job in group:
            if job.answer.done():
                continue
            if job.error is not None:
                job.answer.set_exception(job.error)
            else:
                job.answer.set_result(job.result)
        if names:
            self._notify(names)


def _is_interruption(error: BaseException) -> bool:
    return isinstance(error, Unavailable) and error.kind == "slow"
