"""Delivery outward for one reaction, while it has something to do.

A runner reads ahead of the cursor, keeps up to ``concurrency`` deliveries under way (see ``allowance``), and records
outcomes beside them, in one commit for all that finished meanwhile. Deliveries finish in any order: the cursor is the lowest
offset not yet settled, and settled offsets above it are kept beside it, so that a crash repeats only what
was under way. An ordered reaction has one delivery under way and waits at its cursor after a failure.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from sluiceway.core.reaction import DeadLetter, Letter, Parked, Position, Reaction
from sluiceway.core.store import Entry, View
from sluiceway.errors import DomainError
from sluiceway.reactions.armed import Armed, Context, next_step
from sluiceway.reactions.target import Attempt, Delivered, DeliveryFailed, OutwardTarget
from sluiceway.services.reactions import Reactions, Report

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Look:
    """What the store holds for a runner: the cursor, the next events, what is parked and due."""

    position: Position | None
    entries: Sequence[Entry] = ()
    due: Sequence[Parked] = ()
    due_ms: int | None = None


def _look(
    view: View, reactions: Reactions, reaction: Reaction, at: int | None, limit: int, now_ms: int,
    busy: frozenset[tuple[int, int]], due_max: int, parked_max: int,
) -> _Look:  # fmt: skip
    position = reactions.position(view, reaction.id)
    if position is None:
        return _Look(None)
    start = position.next if at is None else at
    entries = view.read(reaction.log, start, limit) if limit and position.parked < parked_max else []
    if not position.parked:
        return _Look(position, entries)
    due, due_ms = reactions.due(view, reaction, now_ms, due_max, busy)
    return _Look(position, entries, due, due_ms)


@dataclass(slots=True)
class _Work:
    """One delivery: events from the cursor, or parked ones (then ``parked`` is beside each entry)."""

    entries: list[Entry]
    parked: list[Parked] = field(default_factory=list)
    tries: int = 0
    outcome: Delivered | DeliveryFailed | None = None


class Runner:
    """Runs until nothing is left to do now. ``armed`` may be replaced while it runs."""

    def __init__(self, armed: Armed, context: Context) -> None:
        self.armed = armed
        self.dirty = False
        self._context = context
        self._changed = asyncio.Event()
        self._stopping = False
        self._at: int | None = None  # the next offset to read; None: begin at the cursor
        self._position: Position | None = None
        self._full = False  # so many are parked that nothing more is read
        self._buffer: deque[Entry] = deque()
        self._window_ends_ms = 0
        self._open: set[int] = set()  # offsets read from the cursor on and not settled
        self._settled: set[int] = set()  # delivered offsets at or above the cursor
        self._filtered = 0
        self._passed = 0  # offsets that were settled before the start, read and not yet told of
        self._busy: set[tuple[int, int]] = set()  # parked rows under way
        self._finished: list[_Work] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._recording: asyncio.Task[None] | None = None
        self._stale = False
        self._more = False
        self._due_ms: int | None = None

    def wake(self) -> None:
        """There may be something new."""
        self.dirty = True
        self._changed.set()

    def stop(self) -> None:
        """Begin nothing more; ``run`` ends when what is under way is recorded."""
        self._stopping = True
        self._changed.set()

    async def run(self) -> int | None:
        """Deliver until nothing is left to do now; when the next parked event is due."""
        try:
            while True:
                self.dirty = False
                self._changed.clear()
                if self._recording is not None and self._recording.done():
                    recording, self._recording = self._recording, None
                    recording.result()  # raises what the recording raised
                if not self._stopping:
                    await self._fill()
                self._begin_recording()
                if self._stale and not (self._tasks or self._finished or self._recording):
                    if self._position is None:  # the reaction is gone
                        return None
                    self._reset()
                elif self._idle():
                    return self._due_ms
                elif not self._can_start():
                    await self._wait()
        finally:
            self._context.stats.in_flight.pop(self.armed.reaction.id, None)
            for task in (*self._tasks, *([self._recording] if self._recording else [])):
                task.cancel()

    def _idle(self) -> bool:
        if self._tasks or self._finished or self._filtered or self._passed or self._recording:
            return False
        if self._stopping or self._at is None or self.armed.reaction.paused:
            return True
        return not (self.dirty or self._more or self._buffer)

    def _can_start(self) -> bool:
        """Whether another turn of the loop could begin a delivery without waiting for anything."""
        if self._stopping or self._stale or self.armed.reaction.paused or self._free() <= 0:
            return False
        if self._buffer:
            return not self._waits_for_batch() and not self._waits_in_place()
        return self.dirty or (self._more and self._room() > 0)

    def _free(self) -> int:
        """Deliveries that may begin now. In order, nothing begins before the last outcome is recorded."""
        if self.armed.reaction.ordered:
            return 1 - len(self._tasks) - len(self._finished) - (self._recording is not None)
        if len(self._finished) >= self._context.limits.read_max:
            return 0  # the disk can't keep up
        return self._allowed() - len(self._tasks)  # below 0 after a failure, which takes some away

    def _allowed(self) -> int:
        reaction, target = self.armed.reaction, self.armed.target
        if isinstance(target, OutwardTarget) and target.eager:
            return max(1, reaction.concurrency)
        return self._context.allowances.of(reaction.id, reaction.concurrency)

    def _room(self) -> int:
        """Events that may be read ahead now: none while an ordered reaction waits, which may be long. Otherwise twice
        what may be under way, so that what waits behind a slow target stays on disk."""
        reaction, limits = self.armed.reaction, self._context.limits
        if reaction.ordered and self._waits_in_place():
            return 0
        ahead = 0 if self._at is None or not self._open else self._at - min(self._open)
        wanted = max(min(limits.read_max, 2 * self._allowed() * reaction.batch_max), reaction.batch_max)
        return max(0, min(wanted - len(self._buffer), limits.window_max + wanted - ahead))

    def _waits_for_batch(self) -> bool:
        reaction = self.armed.reaction
        if self._position is not None and self._position.tries:
            return False  # a batch that failed has waited enough
        short = len(self._buffer) < min(reaction.batch_max, self._batch_size())
        return short and self._context.clock.now_ms() < self._window_ends_ms

    def _waits_in_place(self) -> bool:
        position = self._position
        return position is not None and position.next_try_ms > self._context.clock.now_ms()

    def _batch_size(self) -> int:
        halved = self._position.batch if self._position is not None else 0
        return halved or max(1, self.armed.reaction.batch_max)

    async def _fill(self) -> None:
        """Read what is new and due, and begin as many deliveries as may run."""
        if self._stale or self.armed.reaction.paused:
            return
        free, room = self._free(), self._room()
        if free <= 0:
            self._more = True  # what this wake-up was for has not been looked at
            return
        context, batch = self._context, max(1, self.armed.reaction.batch_max)
        look = await context.store.view(
            _look, context.reactions, self.armed.reaction, self._at, room, context.clock.now_ms(),
            frozenset(self._busy), free * batch, context.limits.parked_max,
        )  # fmt: skip
        self._take(look, room)
        self._start_parked(look.due, batch)
        self._start_new()

    def _take(self, look: _Look, room: int) -> None:
        """Fit what was read into the state."""
        self._due_ms, self._more = look.due_ms, False
        known = self._position
        if look.position is None or (known is not None and look.position.epoch != known.epoch):
            self._stale = True
            self._buffer.clear()
            return
        self._full = look.position.parked >= self._context.limits.parked_max
        if self._at is None:
            self._position = look.position
            self._at = look.position.next
            self._settled = set(look.position.done)
        if look.entries and not self._buffer:
            self._window_ends_ms = self._context.clock.now_ms() + self.armed.reaction.batch_window_ms
        for entry in look.entries:
            self._at = entry.offset + 1
            if entry.offset in self._settled:
                self._passed += 1
                continue
            if self.armed.wants(entry):
                self._buffer.append(entry)
                self._open.add(entry.offset)
            else:
                self._filtered += 1
        self._more = len(look.entries) == room and not self._full  # with no room, the log's end was not looked for

    def _start_parked(self, due: Sequence[Parked], batch: int) -> None:
        """At most half of the free places (at least one): new events go on beside old failures."""
        places = max(1, self._free() // 2) if self._buffer else self._free()
        for at in range(0, len(due), batch):
            if places <= 0 or self._free() <= 0:
                self._more = True
                return
            places -= 1
            some = list(due[at : at + batch])
            self._busy.update((one.next_try_ms, one.offset) for one in some)
            there = [one for one in some if one.value is not None]
            entries = [Entry(one.offset, one.time_ms, one.value) for one in there]
            if not entries:  # trimmed from the log by force: nothing is left to deliver
                self._finished.append(_Work([], some))
                continue
            self._start(_Work(entries, some, max(one.tries for one in some)))

    def _start_new(self) -> None:
        while self._buffer and self._free() > 0 and not self._stale:
            if self._waits_for_batch() or self._waits_in_place():
                return
            size = min(self._batch_size(), len(self._buffer))
            tries = self._position.tries if self.armed.reaction.ordered and self._position else 0
            self._start(_Work([self._buffer.popleft() for _ in range(size)], tries=tries))

    def _start(self, work: _Work) -> None:
        task = asyncio.create_task(self._deliver(self.armed, work))
        self._tasks.add(task)
        self._context.stats.in_flight[self.armed.reaction.id] = len(self._tasks)

    async def _deliver(self, armed: Armed, work: _Work) -> None:
        assert isinstance(armed.target, OutwardTarget)
        try:
            attempt = Attempt(work.tries, self._context.clock.now_ms())
            work.outcome = await armed.target.deliver(armed.reaction, work.entries, attempt) or Delivered()
        except DeliveryFailed as failure:
            work.outcome = failure
        except DomainError as error:
            work.outcome = DeliveryFailed(error.message)
        except Exception as error:
            log.exception("the target of reaction %s failed", armed.reaction.id)
            self._context.stats.errors += 1
            work.outcome = DeliveryFailed(f"The server failed to deliver ({type(error).__name__}).")
        self._learn(armed, work.outcome)
        self._finished.append(work)
        task = asyncio.current_task()
        if task is not None:
            self._tasks.discard(task)
        self._context.stats.in_flight[armed.reaction.id] = len(self._tasks)
        self._changed.set()

    def _learn(self, armed: Armed, outcome: Delivered | DeliveryFailed) -> None:
        """What the outcome says of the target; that an event is refused for good says nothing."""
        reaction, allowances = armed.reaction, self._context.allowances
        if not isinstance(outcome, DeliveryFailed):
            allowances.succeeded(reaction.id, reaction.concurrency)
        elif not outcome.permanent:
            allowances.failed(reaction.id)

    async def _wait(self) -> None:
        """Until a delivery ends, something new comes, or a time comes that somebody waits for."""
        now_ms = self._context.clock.now_ms()
        times = []
        if self._free() > 0 and not (self._stopping or self._stale or self.armed.reaction.paused):
            if self._buffer and self._waits_for_batch():
                times.append(self._window_ends_ms)
            if self._waits_in_place() and self._position is not None:
                times.append(self._position.next_try_ms)
            if self._due_ms is not None:
                times.append(self._due_ms)
        timeout = max(0.001, (min(times) - now_ms) / 1000) if times else None
        try:
            await asyncio.wait_for(self._changed.wait(), timeout)
        except TimeoutError:
            self.dirty = True

    def _reset(self) -> None:
        """Somebody moved the cursor: begin again from there."""
        self._at, self._position, self._stale = None, None, False
        self._buffer.clear()
        self._open.clear()
        self._settled.clear()
        self._filtered, self._passed, self._more = 0, 0, False
        self.dirty = True

    def _begin_recording(self) -> None:
        """Commit what became of the finished deliveries, all in one. New ones begin meanwhile: a write to disk takes
        longer than most deliveries."""
        if self._recording is not None or self._position is None:
            return
        if not (self._finished or self._filtered or self._passed):
            return
        finished, self._finished = self._finished, []
        self._recording = asyncio.create_task(self._record(finished, self._report(finished)))
        self._recording.add_done_callback(lambda _: self._changed.set())

    async def _record(self, finished: Sequence[_Work], report: Report) -> None:
        context, reaction = self._context, self.armed.reaction
        while True:
            try:
                current = await context.store.commit(context.reactions.settle, reaction, report)
                break
            except DomainError as error:
                log.warning("reaction %s can't record its deliveries: %s", reaction.id, error.message)
                context.stats.last_error = error.message
                await asyncio.sleep(context.limits.recover_s)
        self._count(report)
        if self._full and report.unpark:
            self.dirty = True  # there may be room now
        for work in finished:
            self._busy.difference_update((one.next_try_ms, one.offset) for one in work.parked)
        if not current:
            self._stale = True
            self._buffer.clear()

    def _count(self, report: Report) -> None:
        stats = self._context.stats
        stats.commits += 1
        stats.delivered += report.delivered
        stats.failed += report.failed
        stats.dead += len(report.dead)
        waiting = [parked.next_try_ms for parked in report.park]
        if self._due_ms is not None:
            waiting.append(self._due_ms)
        self._due_ms = min(waiting, default=None)

    def _report(self, finished: Sequence[_Work]) -> Report:
        tally = _Tally(self.armed, self._context)
        for work in finished:
            tally.add(work)
        for offset in tally.settled:
            if offset in self._open:
                self._open.discard(offset)
                self._settled.add(offset)
        position = self._position
        assert position is not None and self._at is not None
        if tally.stopped_at is not None:
            self._rewind(tally.stopped_at)
        following = min(self._open, default=self._at)
        self._settled = {offset for offset in self._settled if offset >= following}
        wait = tally.wait
        if tally.stopped_at is None and following == position.next:  # nothing happened at the cursor
            wait = (position.tries, position.next_try_ms, position.batch)
        self._position = Position(following, position.epoch, tries=wait[0], next_try_ms=wait[1], batch=wait[2])
        filtered, self._filtered, self._passed = self._filtered, 0, 0
        return Report(
            epoch=position.epoch,
            next=following,
            done=tuple(sorted(self._settled)),
            delivered=tally.delivered,
            failed=tally.failed,
            filtered=filtered,
            park=tally.park,
            unpark=tally.unpark,
            dead=tally.dead,
            wait=wait,
            error=tally.error,
        )

    def _rewind(self, offset: int) -> None:
        """An ordered reaction reads again from the event that failed."""
        self._buffer.clear()
        self._open.clear()
        self._settled.clear()
        self._at, self._more, self._filtered, self._passed = offset, True, 0, 0


class _Tally:
    """Sorts finished deliveries into settled, parked and dead."""

    def __init__(self, armed: Armed, context: Context) -> None:
        self._armed = armed
        self._context = context
        self._now_ms = context.clock.now_ms()
        self.settled: list[int] = []
        self.delivered = 0
        self.failed = 0
        self.park: list[Parked] = []
        self.unpark: list[tuple[int, int]] = []
        self.dead: list[tuple[DeadLetter, Letter]] = []
        self.stopped_at: int | None = None
        self.wait = (0, 0, 0)
        self.error = ""

    def add(self, work: _Work) -> None:
        """Count one finished delivery."""
        self.unpark.extend((one.next_try_ms, one.offset) for one in work.parked)
        if self._armed.reaction.ordered and not work.parked:
            self._add_ordered(work)
            return
        waited = {one.offset: one for one in work.parked}
        for entry in work.entries:
            failure = _failure_of(work, entry.offset)
            if failure is None:
                self.delivered += 1
            else:
                before = waited.get(entry.offset)
                tries, since_ms = (before.tries, before.since_ms) if before else (0, entry.time_ms)
                self._fail(entry, tries, since_ms, failure)
            if not work.parked:
                self.settled.append(entry.offset)

    def _fail(self, entry: Entry, tries: int, since_ms: int, failure: DeliveryFailed) -> None:
        self.failed += 1
        self.error = failure.reason
        reaction, chance = self._armed.reaction, self._context.chance.random()
        step = next_step(reaction, entry, tries, since_ms, failure, self._now_ms, chance)
        if isinstance(step, DeadLetter):
            self._bury(entry, step)
        else:
            self.park.append(step)

    def _bury(self, entry: Entry, dead: DeadLetter) -> None:
        self.dead.append((dead, self._armed.target.letter(self._armed.reaction, entry, dead.reason)))

    def _add_ordered(self, work: _Work) -> None:
        """Up to the first failure is settled; from there on the reaction waits, or gives the rest up."""
        failures = [_failure_of(work, entry.offset) for entry in work.entries]
        first = next((at for at, failure in enumerate(failures) if failure is not None), len(failures))
        self.delivered += first
        self.settled.extend(entry.offset for entry in work.entries[:first])
        if first == len(failures):
            return
        failure = failures[first]
        assert failure is not None
        self.failed += 1
        self.error = failure.reason
        self._hold(work.entries[first:], work.tries if first == 0 else 0, failure)

    def _hold(self, rest: list[Entry], tries: int, failure: DeliveryFailed) -> None:
        reaction, chance = self._armed.reaction, self._context.chance.random()
        failed = rest[: failure.events]
        splits = reaction.bisect and failure.counted and not failure.permanent
        halved = len(failed) // 2 if splits else 0
        if halved:  # a split costs none of the tries
            self.stopped_at = rest[0].offset
            self.wait = (tries, 0, halved)
            return
        step = next_step(reaction, rest[0], tries, rest[0].time_ms, failure, self._now_ms, chance)
        if isinstance(step, Parked):
            self.stopped_at = rest[0].offset
            self.wait = (step.tries, step.next_try_ms, len(failed) if reaction.bisect else 0)
            return
        if len(failed) < len(rest):
            self.stopped_at = rest[len(failed)].offset
        for entry in failed:
            dead = DeadLetter(entry.offset, entry.time_ms, entry.value, step.tries, step.reason, self._now_ms)
            self._bury(entry, dead)
            self.settled.append(entry.offset)


def _failure_of(work: _Work, offset: int) -> DeliveryFailed | None:
    if isinstance(work.outcome, DeliveryFailed):
        return work.outcome
    return work.outcome.failed.get(offset) if work.outcome is not None else None
