"""The pool of workers: warm ones first, new ones up to the limit, idle ones of others in exchange."""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from sluiceway.config import FunctionSettings
from sluiceway.core.blobs import Blobs
from sluiceway.core.clock import new_id
from sluiceway.core.invoker import Invocation
from sluiceway.core.store import Store, View
from sluiceway.core.wakeups import Wakeups
from sluiceway.errors import DomainError, NotFound, Throttled, TooLarge, Unavailable
from sluiceway.reactions.functions.code import CodeFolders
from sluiceway.reactions.functions.environment import CredentialsOf, Surroundings
from sluiceway.reactions.functions.output import Output
from sluiceway.reactions.functions.worker import Worker, WorkerLost, new_stream
from sluiceway.services.function_logs import FunctionLogs
from sluiceway.services.functions import Function, Functions
from sluiceway.services.functions.service import CHANGED
from sluiceway.services.functions.values import FUNCTIONS

log = logging.getLogger(__name__)

_SWEEP_S: Final = 5.0
_CREDENTIAL_S: Final = 12 * 3600


class FunctionPool:
    """See ``core.invoker.Invoker``. ``root`` is a folder of its own; nothing there outlives the server."""

    def __init__(
        self,
        store: Store,
        blobs: Blobs,
        functions: Functions,
        logs: FunctionLogs,
        credentials: CredentialsOf,
        limits: FunctionSettings,
        root: Path,
        around: Surroundings,
        wakeups: Wakeups,
    ) -> None:
        self._store = store
        self._functions = functions
        self._logs = logs
        self._credentials = credentials
        self._limits = limits
        self._around = around
        self._wakeups = wakeups
        shutil.rmtree(root / "work", ignore_errors=True)
        self._work = root / "work"
        self._code = CodeFolders(root / "code", blobs, limits)
        self._workers: set[Worker] = set()
        self._idle: dict[str, list[Worker]] = {}
        self._in_use: dict[str, int] = {}
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._quiet = asyncio.Event()
        self._stopped = False
        self._tasks: list[asyncio.Task[None]] = []
        self._endings: set[asyncio.Task[None]] = set()

    # -- life

    def start(self) -> None:
        """Begin to look after the workers."""
        self._tasks = [asyncio.create_task(self._sweep()), asyncio.create_task(self._watch_memory())]

    async def stop(self, grace_s: float) -> None:
        """Let what runs finish, up to ``grace_s`` seconds, then kill everything."""
        self._stopped = True
        if self._in_use:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._quiet.wait(), grace_s)
        for task in self._tasks:
            task.cancel()
        self._wake_all()
        await asyncio.gather(*(worker.stop("the server stops") for worker in tuple(self._workers)))
        await asyncio.gather(*self._endings, return_exceptions=True)
        await asyncio.to_thread(shutil.rmtree, self._work, ignore_errors=True)

    @property
    def counts(self) -> tuple[int, int]:
        """Workers at all, and those that are busy, for the metrics."""
        return len(self._workers), sum(self._in_use.values())

    # -- invocations

    async def invoke(
        self,
        function: str,
        payload: bytes,
        *,
        qualifier: str | None = None,
        request_id: str | None = None,
        client_context: str | None = None,
    ) -> Invocation:
        """See ``core.invoker.Invoker``; also raises ``TooLarge("payload")``."""
        if len(payload) > self._limits.payload_bytes_max:
            raise TooLarge(
                "payload", f"Request must be smaller than {self._limits.payload_bytes_max} bytes for the InvokeFunction "
                "operation",
            )  # fmt: skip
        if qualifier not in (None, "$LATEST"):
            raise NotFound("function", f"Function not found: {self._functions.arn(function)}:{qualifier}")
        found = await self._store.view(self._functions.get, function)
        request = request_id or new_id()
        while True:
            worker = await self._take(found)
            try:
                return await worker.invoke(request, payload or b"{}", client_context)
            except WorkerLost:
                worker.usable = False  # each lost one is one less; a new one is not lost but failed
            except BaseException:
                worker.usable = False  # cancelled in the middle: its state is not known
                raise
            finally:
                self._give_back(worker)

    async def _take(self, function: Function) -> Worker:
        ends = time.monotonic() + self._limits.waiting_s
        while True:
            if self._stopped:
                raise Unavailable("stopping", "The server is stopping.")
            in_use = self._in_use.get(function.name, 0)
            if function.concurrency is not None and in_use >= function.concurrency:
                raise Throttled("function", "Rate Exceeded.")
            if (warm := self._warm(function)) is not None or self._has_room():
                self._in_use[function.name] = in_use + 1
                return warm if warm is not None else await self._start_counted(function)
            await self._wait(ends)

    def _warm(self, function: Function) -> Worker | None:
        """The worker used last that is as new as the function."""
        idle = self._idle.get(function.name, [])
        while idle:
            worker = idle.pop()
            if worker.usable and worker.function.revision == function.revision:
                return worker
            self._end(worker)
        return None

    def _has_room(self) -> bool:
        """Whether one more may be started; the worker idle for longest makes room if need be."""
        if len(self._workers) < self._limits.workers_max:
            return True
        idle = [worker for workers in self._idle.values() for worker in workers]
        if not idle:
            return False
        oldest = min(idle, key=lambda worker: worker.idle_since)
        self._idle[oldest.function.name].remove(oldest)
        self._end(oldest)
        return True

    async def _wait(self, ends: float) -> None:
        left = ends - time.monotonic()
        if left <= 0 or len(self._waiters) >= self._limits.waiting_max:
            raise Throttled("function", "Rate Exceeded.")
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await asyncio.wait([waiter], timeout=left)
        if not waiter.done():
            waiter.cancel()

    async def _start_counted(self, function: Function) -> Worker:
        try:
            return await self._start(function)
        except BaseException:
            self._release(function.name)
            raise

    async def _start(self, function: Function) -> Worker:
        stream = new_stream()

        async def keep(lines: Sequence[str]) -> None:
            await self._store.commit(self._logs.append, function.name, stream, lines)

        worker = Worker(function, self._work / new_id(), stream, Output(keep, self._limits), self._limits)
        self._workers.add(worker)
        try:
            task = await self._code.folder(function.code)
            session = f"{function.name}"[:64].ljust(2, "-")
            keys = await self._store.view(self._credentials, function.settings.role, session, _CREDENTIAL_S)
            await worker.start(keys, self._around, task)
        except BaseException:
            self._end(worker)
            raise
        return worker

    def _give_back(self, worker: Worker) -> None:
        if worker.usable and not self._stopped:
            self._idle.setdefault(worker.function.name, []).append(worker)
        else:
            self._end(worker)
        self._release(worker.function.name)

    def _release(self, name: str) -> None:
        left = self._in_use.pop(name) - 1
        if left:
            self._in_use[name] = left
        elif not self._in_use and self._stopped:
            self._quiet.set()
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def _end(self, worker: Worker) -> None:
        self._workers.discard(worker)
        task = asyncio.get_running_loop().create_task(worker.stop())
        self._endings.add(task)
        task.add_done_callback(self._endings.discard)

    def _wake_all(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)

    # -- care

    async def _sweep(self) -> None:
        """End what is idle for long, old, or of an older revision, at once after a change."""
        while True:
            changed = self._wakeups.expect(CHANGED)
            try:
                current = await self._store.view(_revisions)
                self._end_idle(current)
                await self._code.drop_unused(
                    {digest for _, digest in current.values()} | {item.function.code.sha256 for item in self._workers}
                )
            except (DomainError, OSError) as error:
                log.warning("workers could not be looked after: %s", error)
            await asyncio.wait([changed], timeout=_SWEEP_S)
            changed.cancel()

    def _end_idle(self, current: dict[str, tuple[str, str]]) -> None:
        now = time.monotonic()
        for name, workers in self._idle.items():
            revision = current.get(name, ("", ""))[0]
            for worker in tuple(workers):
                stale = worker.function.revision != revision or not worker.usable
                if stale or now - worker.idle_since > self._limits.idle_s or now - worker.born > self._limits.age_s:
                    workers.remove(worker)
                    self._end(worker)
        self._idle = {name: workers for name, workers in self._idle.items() if workers}

    async def _watch_memory(self) -> None:
        while True:
            await asyncio.sleep(self._limits.memory_check_s)
            for worker in tuple(self._workers):
                if worker.busy:
                    worker.check_memory()


def _revisions(view: View) -> dict[str, tuple[str, str]]:
    """Function -> its revision, and the hash of its code."""
    return {str(key[0]): (row["revision"], row["code"]["sha256"]) for key, row in view.scan(FUNCTIONS)}
