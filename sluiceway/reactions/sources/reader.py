"""Reads one queue for one function: collects batches, invokes, and deletes what succeeded.

AWS Lambda Developer Guide, "Using Lambda with Amazon SQS": messages of a failed batch stay hidden until their
visibility timeout ends; a throttled batch is tried again until then; what a filter refuses is deleted.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sluiceway.config import MappingSettings
from sluiceway.core.filters import patterns_matcher
from sluiceway.core.identity import Arn
from sluiceway.core.invoker import Invocation, Invoker
from sluiceway.core.store import Store, Tx, View
from sluiceway.core.wakeups import Wakeups
from sluiceway.errors import AccessDenied, NotFound, Throttled, Unavailable
from sluiceway.reactions.sources.answers import BadAnswer, error_of, failed_items
from sluiceway.reactions.sources.messages import filtered_view, record_of
from sluiceway.services.mappings import Mappings, SourceMapping
from sluiceway.services.mappings.service import OK, PROBLEM
from sluiceway.services.queues import Queues, Received

log = logging.getLogger(__name__)

_FRAME_BYTES: Final = len('{"Records":[]}')
_VISIBILITY_S: Final = 30

#: Raises ``AccessDenied`` unless the function's role may read the source of this ARN: (function, ARN, view).
MayRead = Callable[[str, str, View], None]


@dataclass(frozen=True, slots=True)
class Desk:
    """What all readers share; ``room`` bounds the batches of all of them."""

    store: Store
    queues: Queues
    wakeups: Wakeups
    mappings: Mappings
    invoker: Invoker
    may_read: MayRead
    limits: MappingSettings
    room: asyncio.Semaphore


@dataclass(slots=True)
class _Batch:
    """Messages taken for one invocation; their loan ends at ``until_s`` of the loop's time."""

    until_s: float
    messages: list[Received] = field(default_factory=list)
    size: int = 0


class QueueReader:
    """Runs until ``stop``."""

    def __init__(self, mapping: SourceMapping, desk: Desk) -> None:
        self.mapping = mapping
        self._desk = desk
        self._queue = Arn.parse(mapping.source).resource
        self._region = Arn.parse(mapping.source).region
        self._matches = patterns_matcher(mapping.patterns) if mapping.filters else None
        self._stopped = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._noted = ""

    def stop(self) -> None:
        """Take nothing more; ``run`` ends when what is under way has ended."""
        self._stopped.set()

    async def run(self) -> None:
        """Deliver batch after batch, up to the mapping's concurrency at the same time."""
        try:
            while not self._stopped.is_set():
                try:
                    await self._turn()
                except Exception:
                    log.exception("the reader of %s failed; it goes on", self.mapping.source)
                    await self._rest(self._desk.limits.recover_s)
            if self._tasks:
                await asyncio.wait(self._tasks)
        finally:
            for task in self._tasks:
                task.cancel()

    async def _turn(self) -> None:
        """Begin one batch, or wait for messages or for a free place."""
        if len(self._tasks) >= (self.mapping.concurrency or self._desk.limits.concurrency):
            await self._rest(None, *self._tasks)
            return
        try:
            batch = await self._next_batch()
        except (NotFound, AccessDenied) as error:
            await self._note(f"PROBLEM: {error.message}")
            await self._rest(self._desk.limits.idle_s)
            return
        if batch is None:
            return
        task = asyncio.create_task(self._deliver(batch))
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    async def _next_batch(self) -> _Batch | None:
        """What is there to deliver now; None after having waited for it."""
        woken = self._desk.wakeups.expect(f"queue/{self._queue}")
        try:
            wait_s = await self._desk.store.view(self._wait_s)
            if wait_s > 0:
                await self._rest(wait_s, woken)
                return None
            await self._desk.room.acquire()
            batch = await self._collect_or_release()
            if batch.messages:
                return batch
            await self._rest(self._desk.limits.recover_s, woken)  # what is due may not be taken: its group is busy
            return None
        finally:
            woken.cancel()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._desk.room.release()
        if not task.cancelled() and task.exception() is not None:
            log.error("a batch of %s failed", self.mapping.source, exc_info=task.exception())

    def _wait_s(self, view: View) -> float:
        self._desk.may_read(self.mapping.function, self.mapping.source, view)
        due_ms = self._desk.queues.next_visible_ms(view, self._queue)
        if due_ms is None:
            self._desk.queues.get(view, self._queue)  # a queue that is gone is never due
            return self._desk.limits.idle_s
        return min(self._desk.limits.idle_s, (due_ms - view.now_ms) / 1000)

    async def _rest(self, seconds: float | None, *wakers: asyncio.Future[None]) -> None:
        """Until a time has passed, one of ``wakers`` is done, or all is to stop."""
        stop: asyncio.Future[Any] = asyncio.ensure_future(self._stopped.wait())
        await asyncio.wait([stop, *wakers], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()

    # -- taking

    async def _collect_or_release(self) -> _Batch:
        """A batch; the place that it holds is given back if there is none."""
        batch = None
        try:
            batch = await self._collect()
            return batch
        finally:
            if batch is None or not batch.messages:
                self._desk.room.release()

    async def _collect(self) -> _Batch:
        """Messages until the batch is full, too large for more, or its window over."""
        loop = asyncio.get_running_loop()
        queue = await self._desk.store.view(self._desk.queues.get, self._queue)
        begin_s = loop.time()
        batch = _Batch(begin_s + queue.number("VisibilityTimeout", _VISIBILITY_S))
        closes_s = begin_s + min(self.mapping.window_s, (batch.until_s - begin_s) / 2)
        while len(batch.messages) < self.mapping.batch_max and batch.size < self._desk.limits.payload_bytes_max:
            if self._stopped.is_set():
                break
            woken = self._desk.wakeups.expect(f"queue/{self._queue}")
            try:
                count = min(self._desk.limits.receive_max, self.mapping.batch_max - len(batch.messages))
                taken = await self._desk.store.commit(self._desk.queues.receive, self._queue, count)
                batch.messages.extend(taken)
                batch.size += sum(len(message.body) for message in taken)
                left_s = closes_s - loop.time()
                if not batch.messages or (left_s <= 0 and len(taken) < count):
                    break
                if not taken:
                    await self._rest(min(left_s, self._desk.limits.recover_s), woken)
            finally:
                woken.cancel()
        return batch

    # -- delivering

    async def _deliver(self, batch: _Batch) -> None:
        wanted = [one for one in batch.messages if self._matches is None or self._matches(filtered_view(one))]
        kept = {one.message_id for one in wanted}
        await self._settle([one for one in batch.messages if one.message_id not in kept], "")
        records = [record_of(one, self.mapping.source, self._region) for one in wanted]
        begin = 0
        while begin < len(wanted):
            end = self._part_end(records, begin)
            well = await self._invoke(wanted[begin:end], records[begin:end], batch.until_s)
            if not well and self._queue.endswith(".fifo"):  # nothing overtakes what failed
                return
            begin = end

    def _part_end(self, records: Sequence[bytes], begin: int) -> int:
        """How far one event reaches."""
        size, end = _FRAME_BYTES, begin
        while end < len(records):
            size += len(records[end]) + 1
            if end > begin and size > self._desk.limits.payload_bytes_max:
                break
            end += 1
        return end

    async def _invoke(self, messages: Sequence[Received], records: Sequence[bytes], until_s: float) -> bool:
        """Run the function and delete what succeeded; whether all did."""
        try:
            outcome = await self._run_function(b'{"Records":[' + b",".join(records) + b"]}", until_s)
        except (NotFound, Throttled, Unavailable) as error:
            await self._note(f"PROBLEM: {error.message}")
            return False
        if outcome.error is not None:
            log.info("%s failed on a batch of %s: %s", self.mapping.function, self._queue, error_of(outcome))
            await self._note(PROBLEM)
            return False
        failed: set[str] = set()
        if self.mapping.partial:
            try:
                failed = failed_items(outcome.payload, {one.message_id for one in messages})
            except BadAnswer as error:
                await self._note(f"PROBLEM: {error}")
                return False
        await self._settle([one for one in messages if one.message_id not in failed], PROBLEM if failed else OK)
        return not failed

    async def _run_function(self, payload: bytes, until_s: float) -> Invocation:
        """Invoke; while it is throttled, again and again until the messages' loan ends."""
        loop, pause_s = asyncio.get_running_loop(), self._desk.limits.recover_s
        while True:
            try:
                return await self._desk.invoker.invoke(self.mapping.function, payload)
            except (Throttled, Unavailable):
                if self._stopped.is_set() or loop.time() + pause_s >= until_s:
                    raise
            await self._rest(pause_s)

    async def _settle(self, messages: Sequence[Received], result: str) -> None:
        if messages or result not in ("", self._noted):
            await self._desk.store.commit(self._delete, [one.receipt_handle for one in messages], result)
            self._noted = result or self._noted

    def _delete(self, tx: Tx, handles: Sequence[str], result: str) -> None:
        with contextlib.suppress(NotFound):  # the queue went meanwhile, and its messages with it
            for handle in handles:
                self._desk.queues.delete(tx, self._queue, handle)
        if result:
            self._desk.mappings.note(tx, self.mapping.id, result)

    async def _note(self, result: str) -> None:
        if result != self._noted:
            await self._desk.store.commit(self._desk.mappings.note, self.mapping.id, result)
            self._noted = result
