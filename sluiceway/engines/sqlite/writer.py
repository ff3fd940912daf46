"""The one writer: runs waiting transaction functions in groups and commits each group once.

Functions run on the event loop, as views do, and a thread makes them durable meanwhile: to pass the interpreter's lock
to and fro for every statement took a sixth of the server's time. A function that turns out to be long (``Pace``) runs on
the thread from then on, with its group. The connection belongs to one of the two at a time: to the thread from an order
until the event loop is called back, else to the event loop. A group that would hold the event loop for too long ends
early, and the rest waits for the next one; one that has to wait there (for a lock of another process) or has a function
that does not come to its end begins again on the thread.

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
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import apsw

from sluiceway.config import StoreSettings
from sluiceway.core.clock import Clock
from sluiceway.engines.sqlite.files import BUSY_MS, CORRUPTION, STORAGE_ERRORS, connect, in_words
from sluiceway.engines.sqlite.known import Known, Name, Rows
from sluiceway.engines.sqlite.pace import Pace
from sluiceway.engines.sqlite.rows import SqliteTx, late
from sluiceway.errors import Throttled, Unavailable

log = logging.getLogger(__name__)

_RECOVERY_S = 1.0
_BUSY_STEP_S = 0.01
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


@dataclass(slots=True)
class Group:
    """Functions of one commit, the names it wakes, and what was announced to ``Known``, to be taken back with the
    answers."""

    jobs: list[Job]
    names: set[str] = field(default_factory=set)
    outdated: set[Name] = field(default_factory=set)


class _Spoiled(Exception):
    """A function failed after it had written, and its group has no savepoints to go back to."""


class _TooLong(Exception):
    """A function takes too long for the event loop."""


#: What has a group that runs on the event loop begin again on the thread.
_NOT_ON_LOOP = (_TooLong, apsw.InterruptError, apsw.BusyError)


class Writer:
    """``notify(names)`` is called on the event loop after a group is durable. ``kept`` are rows that only transactions
    use; ``known`` are the views'. ``busy`` tables are written once for a group."""

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
        self._waiting: list[Job] = []
        self._orders: SimpleQueue[Callable[[], None] | None] = SimpleQueue()  # to the thread; None ends it
        self._idle = True  # whether nothing is ordered of the thread, nor to be begun
        self._retry: asyncio.TimerHandle | None = None
        self._on_loop = False  # whether a group is running on the event loop
        self._pace = Pace(limits.function_short_ms)
        self._state = threading.Lock()  # of ``trouble`` and ``_damaged`` together
        self._closing = False
        self._current: tuple[SqliteTx, float, Job] | None = None
        self.log_pages = 0.0  # in the write-ahead log since it last began anew, counted in pages of the setting's size
        self._connection = self._connect()
        self.stats = StoreStats(waiting=lambda: len(self._waiting))
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
        if len(self._waiting) >= self._limits.queue_max:
            raise Throttled("store", "Too many changes are waiting to be written; try again later.")
        self._waiting.append(job)
        if self._idle:
            self._idle = False
            self._loop.call_soon(self._next)

    def end(self) -> None:
        """Accept no more, on the event loop's thread. What was accepted is run, and then the thread ends."""
        self._closing = True
        if self._retry is not None:
            self._retry.cancel()
            self._orders.put(None)
        elif self._idle:
            self._orders.put(None)

    def join(self) -> None:
        """Wait for the thread's end. Blocks; the event loop must go on meanwhile."""
        self._thread.join()

    def interrupt_late(self) -> None:
        """Called by another thread now and then: stop a function that has used up its time; on the event loop, where it
        begins again beside it, one that others wait for."""
        current, on_loop = self._current, self._on_loop
        limit_ms = self._limits.function_limit_ms
        if on_loop:
            limit_ms = min(limit_ms, self._limits.function_warn_ms)
        if current is None or time.monotonic() - current[1] <= limit_ms / 1000:
            return
        told, current[0].expired = current[0].expired, True
        if self._current is current:
            self._connection.interrupt()
        if told:
            return
        if on_loop:
            log.warning("transaction function %s holds up the event loop: it begins again beside it", current[2].name)
        else:
            log.error("transaction function %s is over its time limit and was interrupted", current[2].name)

    def _work(self) -> None:
        while (order := self._orders.get()) is not None:
            order()
            # behind those who were answered, so that they are served first
            self._call(self._loop.call_soon, self._next)
        self._connection.close()

    def _next(self) -> None:
        """On the event loop, when the connection is its own: begin with those who wait, in trouble or at the end with
        that."""
        if self.trouble is not None:
            self._in_trouble_still()
            return
        if not self._waiting:
            self._idle = True
            if self._closing:
                self._orders.put(None)
            return
        most = self._limits.group_max
        group, self._waiting = Group(self._waiting[:most]), self._waiting[most:]
        order: Callable[[], None] = partial(self._run, group)
        if all(self._pace.is_short(job.fn) for job in group.jobs):
            self._on_loop = True
            order = self._begin(group)
            self._on_loop = False
        self._orders.put(order)

    def _in_trouble_still(self) -> None:
        waiting, self._waiting = self._waiting, []
        self._refuse(Group(waiting))
        if self._closing:
            self._orders.put(None)
        elif self._retry is None:
            self._retry = self._loop.call_later(_RECOVERY_S, self._try_again)

    def _try_again(self) -> None:
        self._retry = None
        self._orders.put(self._recover)

    def _run(self, group: Group) -> None:
        """All of it, on the thread."""
        self._begin(group)()

    def _begin(self, group: Group) -> Callable[[], None]:
        """Run ``group``'s functions; what is to be done on the thread then."""
        try:
            if self._attempt_group(group):
                return partial(self._end, group)
            return partial(self._one_by_one, group)
        except Exception as error:  # noqa: BLE001 (whatever it is: callers wait for an answer, and the thread must live)
            if self._on_loop and isinstance(error, _NOT_ON_LOOP):
                self._roll_back()
                return partial(self._run, group)
            self._give_up(group, error)
            return _nothing

    def _end(self, group: Group) -> None:
        """Commit what ``_begin`` ran, and answer."""
        try:
            self._commit(group)
        except Exception as error:  # noqa: BLE001 (as above)
            self._give_up(group, error)
            return
        self._answer(group)
        if self.log_pages > _LOG_FACTOR * self._limits.checkpoint_pages:
            self._catch_up()

    def _give_up(self, group: Group, error: Exception) -> None:
        if isinstance(error, STORAGE_ERRORS):
            self._in_trouble(error)
        else:
            log.error("the store's writer failed", exc_info=error)
            self._roll_back()
        self._refuse(group)

    def _connect(self) -> apsw.Connection:
        connection = connect(self._path, self._limits, writer=True)
        page_bytes = int(str(connection.pragma("page_size")))  # of the file, which may be older
        self._page_size = page_bytes / self._limits.page_bytes
        connection.set_wal_hook(self._count_pages)
        connection.set_busy_handler(self._wait_for_lock)
        return connection

    def _wait_for_lock(self, tries: int) -> bool:
        """Whether to try again for what another process has locked. The event loop does not wait."""
        if self._on_loop:
            return False
        time.sleep(_BUSY_STEP_S)
        return tries * _BUSY_STEP_S * 1000 < BUSY_MS

    def _count_pages(self, _connection: apsw.Connection, _database: str, pages: int) -> int:
        self.log_pages = pages * self._page_size
        return apsw.SQLITE_OK

    def _catch_up(self) -> None:
        """Checkpoint to the end of the log, so that the next group begins it anew.

        The checkpoints beside a writer that never pauses don't reach the end, and the log would grow for ever.
        """
        try:
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        except STORAGE_ERRORS as error:
            self._in_trouble(error)
        except apsw.Error as error:  # such as an interruption that came late
            log.warning("catching up with the log failed, the next group tries again: %s", error)

    def _attempt_group(self, group: Group) -> bool:
        """Run ``group`` up to its commit; False if SQLite dropped the whole transaction."""
        try:
            tx = self._attempt_all(group, guarded=False)
        except _Spoiled:
            self._roll_back()
            tx = self._attempt_all(group, guarded=True)
        if not self._connection.in_transaction:
            return False
        tx.finish()
        if tx.outdated:
            group.outdated = tx.outdated
            self._known.announce(group.outdated)
        return True

    def _commit(self, group: Group) -> None:
        began = time.perf_counter()
        self._connection.execute("COMMIT")
        self.stats.commit_s += time.perf_counter() - began
        self.stats.commits += 1
        self.stats.functions += len(group.jobs)
        self.stats.group_last = len(group.jobs)

    def _attempt_all(self, group: Group, guarded: bool) -> SqliteTx:
        """Begin a transaction and run ``group`` in it, as long as SQLite does not drop it. Raises ``_Spoiled``."""
        self._connection.execute("BEGIN IMMEDIATE")
        tx = SqliteTx(self._connection, self._clock.now_ms(), self._known, self._kept, self._busy)
        group.names = set()
        if self._on_loop:
            self._run_on_loop(tx, group, guarded)
        else:
            self._run_beside(tx, group, guarded)
        return tx

    def _run_on_loop(self, tx: SqliteTx, group: Group, guarded: bool) -> None:
        """Raises ``_TooLong``."""
        began = time.monotonic()
        until, short_s = began + self._limits.group_short_ms / 1000, self._limits.function_short_ms / 1000
        for at, job in enumerate(group.jobs, 1):
            ended = self._attempt(tx, job, group.names, guarded, began)
            if ended - began > short_s:
                self._pace.was_long(job.fn)
            if not self._connection.in_transaction:  # an interruption took it along
                raise _TooLong
            if ended > until and at < len(group.jobs):
                self._waiting[:0] = group.jobs[at:]
                del group.jobs[at:]
                break
            began = ended

    def _run_beside(self, tx: SqliteTx, group: Group, guarded: bool) -> None:
        began = time.monotonic()
        for job in group.jobs:
            worked = time.thread_time()
            began = self._attempt(tx, job, group.names, guarded, began)
            # Without what it waited for: here that is the interpreter's lock, the longer the busier the event loop is.
            self._pace.took(job.fn, (time.thread_time() - worked) * 1000)
            if not self._connection.in_transaction:
                if not _is_interruption(job.error):  # it was told, and went on
                    job.error = late()
                break

    def _attempt(self, tx: SqliteTx, job: Job, names: set[str], guarded: bool, began: float) -> float:
        """When the function, which ``began`` then, ended. Raises ``_Spoiled``, ``_TooLong``."""
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
            job.error = late()
        except StopIteration as error:  # a future can't carry it
            job.error = RuntimeError("the transaction function raised StopIteration")
            job.error.__cause__ = error
        except BaseException as error:  # noqa: BLE001 (it is the caller's, who awaits it; the thread must live)
            job.error = error
        finally:
            self._current = None
        if job.error is not None:
            self._undo(tx, job, guarded)
        if guarded and self._connection.in_transaction:
            self._connection.execute("RELEASE one")
        ended = time.monotonic()
        took_ms = (ended - began) * 1000
        if took_ms > self._limits.function_warn_ms:
            log.warning("transaction function %s took %.0f ms; all other writers waited", job.name, took_ms)
        return ended

    def _undo(self, tx: SqliteTx, job: Job, guarded: bool) -> None:
        """Take back what a failed function did. Raises ``_Spoiled``, ``_TooLong``."""
        wrote, is_late = tx.forget(), _is_interruption(job.error)
        if is_late and self._on_loop:
            self._pace.was_long(job.fn)
            raise _TooLong
        if wrote and not guarded and self._connection.in_transaction:
            if not is_late:
                raise _Spoiled
            self._roll_back()  # as SQLite does mostly: it is not to take so long once more
        self.stats.failed += 1
        if guarded and self._connection.in_transaction:
            self._connection.execute("ROLLBACK TO one")

    def _one_by_one(self, group: Group) -> None:
        """An interrupted function took the others' transaction with it: they run again, it does not."""
        self._roll_back()
        self._answer(Group([job for job in group.jobs if _is_interruption(job.error)]))
        innocent = [job for job in group.jobs if not _is_interruption(job.error)]
        for at, job in enumerate(innocent):
            if self.trouble is not None:
                self._refuse(Group(innocent[at:]))
                return
            self._begin(Group([job]))()

    def _roll_back(self) -> None:
        self._kept.clear()
        if self._connection.in_transaction:
            try:
                self._connection.execute("ROLLBACK")
            except apsw.Error:
                log.exception("rolling back failed")

    def note_trouble(self, error: apsw.Error) -> None:
        """Nothing more is written; after damage, which a reader may meet, never."""
        with self._state:
            if not self._damaged:
                self._damaged = isinstance(error, CORRUPTION)
                self.trouble = in_words(error)

    def _in_trouble(self, error: apsw.Error) -> None:
        self._roll_back()
        self.note_trouble(error)
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
            self.note_trouble(error)
            return
        with self._state:
            if self._damaged:  # found by a reader meanwhile
                return
            self.trouble = None
        log.warning("the disk works again; writing goes on")

    def _refuse(self, group: Group) -> None:
        for job in group.jobs:
            job.error = Unavailable("store", self.trouble or "The change could not be made durable.")
        group.names = set()
        self._answer(group)

    def _answer(self, group: Group) -> None:
        if group.jobs or group.outdated:
            self._call(self._deliver, group)

    def _call(self, function: Callable[..., object], *args: Any) -> None:
        """On the event loop, in the order of the calls."""
        try:
            self._loop.call_soon_threadsafe(function, *args)
        except RuntimeError:  # the loop is closed: nobody waits any more
            log.warning("the store's answers came after the end")

    def _deliver(self, group: Group) -> None:
        if group.outdated:
            self._known.forget(group.outdated)  # before the answers
        for job in group.jobs:
            if job.answer.done():
                continue
            if job.error is not None:
                job.answer.set_exception(job.error)
            else:
                job.answer.set_result(job.result)
        if group.names:
            self._notify(group.names)


def _nothing() -> None:
    """An order that has been done already."""


def _is_interruption(error: BaseException | None) -> bool:
    return isinstance(error, Unavailable) and error.kind == "slow"
