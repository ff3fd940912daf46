"""Delivery into the store: in the transaction that advances the cursor, many reactions in one commit."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Final

from sluiceway.core.reaction import DeadLetter, Letter, Parked, Position
from sluiceway.core.store import Entry, Tx
from sluiceway.errors import AccessDenied, DomainError, Invalid, NotFound, Throttled, TooLarge, Unavailable
from sluiceway.reactions.armed import Armed, Context, next_step
from sluiceway.reactions.target import DeliveryFailed, InStoreTarget
from sluiceway.services.reactions import Reactions, Report

log = logging.getLogger(__name__)

_PERMANENT = (AccessDenied, Invalid, NotFound, TooLarge)
_FEW: Final = 32  # reactions that are brought forward in some 3 ms; more would hold up the event loop


@dataclass(frozen=True, slots=True)
class Passed:
    """What one pass over one reaction did. ``more`` says that events are left now; ``due_ms`` is when the
    next parked (or waiting) one is."""

    id: str
    more: bool = False
    due_ms: int | None = None
    delivered: int = 0
    failed: int = 0
    dead: int = 0


@dataclass(slots=True)
class _Pass:
    """One reaction's part of a transaction. ``refuse`` fails events instead of delivering them."""

    tx: Tx
    reactions: Reactions
    armed: Armed
    chance: float
    refuse: str | None
    delivered: int = 0
    filtered: int = 0
    error: str = ""
    park: list[Parked] = field(default_factory=list)
    unpark: list[tuple[int, int]] = field(default_factory=list)
    dead: list[tuple[DeadLetter, Letter]] = field(default_factory=list)
    wait: tuple[int, int, int] = (0, 0, 0)

    def deliver(self, entry: Entry, tries: int, since_ms: int, at_cursor: bool = True) -> bool:
        """Deliver one event or note what becomes of it. False if an ordered reaction must wait: for what stands at its
        cursor, that is; what was parked, as it was redriven, is parked again."""
        if not self.armed.wants(entry):
            self.filtered += 1
            return True
        try:
            self._try(entry)
            self.delivered += 1
            return True
        except DomainError as error:
            # A target that is gone or refuses us stays so until somebody mends it: as in SNS ("Message
            # delivery retries", client-side errors) the event is given up at once, and can be redriven.
            self.error, permanent = error.message, isinstance(error, _PERMANENT)
        now_ms, reaction = self.tx.now_ms, self.armed.reaction
        failure = DeliveryFailed(self.error, permanent)
        step = next_step(reaction, entry, tries, since_ms, failure, now_ms, self.chance)
        if isinstance(step, DeadLetter):
            self.dead.append((step, self.armed.target.letter(reaction, entry, step.reason)))
            return True
        if reaction.ordered and at_cursor:
            self.wait = (step.tries, step.next_try_ms, 0)
            return False
        self.park.append(step)
        return True

    def _try(self, entry: Entry) -> None:
        if self.refuse is not None:
            raise Unavailable("target", self.refuse)
        assert isinstance(self.armed.target, InStoreTarget)
        self.armed.target.deliver(self.tx, self.armed.reaction, entry)

    def again(self, budget: int) -> int | None:
        """Try what is parked and due; when the next one is."""
        due, next_due_ms = self.reactions.due(self.tx, self.armed.reaction, self.tx.now_ms, budget)
        for parked in due:
            self.unpark.append((parked.next_try_ms, parked.offset))
            if parked.value is not None:
                entry = Entry(parked.offset, parked.time_ms, parked.value)
                self.deliver(entry, parked.tries, parked.since_ms, at_cursor=False)
        waiting = [step.next_try_ms for step in self.park]
        return min([*waiting, *([] if next_due_ms is None else [next_due_ms])], default=None)

    def run(self, position: Position, entries: Sequence[Entry], budget: int) -> Passed:
        """Deliver ``entries`` from the cursor, and what is due of the parked."""
        reaction, at, tries = self.armed.reaction, position.next, position.tries
        for entry in entries:
            if entry.offset not in position.done and not self.deliver(entry, tries, entry.time_ms):
                break
            at, tries = entry.offset + 1, 0
        due_ms = self.again(budget) if position.parked else self.again(0) if self.park else None
        report = Report(
            epoch=position.epoch,
            next=at,
            done=tuple(offset for offset in position.done if offset >= at),
            delivered=self.delivered,
            failed=len(self.park) + len(self.dead) + (1 if self.wait[1] else 0),
            filtered=self.filtered,
            park=self.park,
            unpark=self.unpark,
            dead=self.dead,
            wait=self.wait,
            error=self.error,
        )
        self.reactions.settle(self.tx, reaction, report)
        due_ms = self.wait[1] if self.wait[1] else due_ms
        stuck = not entries and not self.unpark  # what is parked must settle first; the next one's time wakes it
        more = not self.wait[1] and not stuck and self.tx.bounds(reaction.log).next > at
        return Passed(reaction.id, more, due_ms, self.delivered, report.failed, len(self.dead))


def deliver_into_store(
    tx: Tx,
    reactions: Reactions,
    work: Sequence[Armed],
    budget: int,
    parked_max: int,
    chance: random.Random,
    refuse: str | None = None,
) -> list[Passed]:
    """Bring every reaction of ``work`` forward by up to its share of ``budget`` events. One with ``parked_max`` parked
    ones tries those first."""
    share = max(1, budget // max(1, sum(_cost(armed) for armed in work)))
    read: dict[tuple[str, int], list[Entry]] = {}
    passed = []
    for armed in work:
        position = reactions.position(tx, armed.reaction.id)
        if position is None:
            passed.append(Passed(armed.reaction.id))
        elif position.next_try_ms > tx.now_ms:
            passed.append(Passed(armed.reaction.id, due_ms=position.next_try_ms))
        else:
            at, full = (armed.reaction.log, position.next), position.parked >= parked_max
            if at not in read and not full:
                read[at] = tx.read(*at, share)
            one = _Pass(tx, reactions, armed, chance.random(), refuse)
            passed.append(one.run(position, [] if full else read[at], share))
    return passed


def _cost(armed: Armed) -> int:
    return armed.target.cost(armed.reaction) if isinstance(armed.target, InStoreTarget) else 1


class InStorePump:
    """Takes all in-store reactions that have something to do, and commits their deliveries together.

    A round is a few transactions, each short enough for the others that write, submitted at once so that the store
    makes them durable with one write to disk. What becomes ready meanwhile shares the next round. ``later`` is told
    (id, due_ms).
    """

    def __init__(
        self, context: Context, find: Callable[[str], Armed | None], later: Callable[[str, int], None]
    ) -> None:
        self._context = context
        self._find = find
        self._later = later
        self._ready: dict[str, None] = {}
        self._wake = asyncio.Event()
        self._stopping = False

    def wake(self, reaction_id: str) -> None:
        """``reaction_id`` may have something to do."""
        self._ready[reaction_id] = None
        self._wake.set()

    def stop(self) -> None:
        """End ``run`` after the commit that is under way."""
        self._stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Until ``stop``."""
        while not self._stopping:
            await self._wake.wait()
            self._wake.clear()
            while self._ready and not self._stopping:
                await self._round()

    async def _round(self) -> None:
        pressure, limits = self._context.pressure, self._context.limits
        if pressure is not None and pressure.disk_is_low:  # a copy takes room; in its log the event has it already
            self._context.stats.last_error = "Copies wait: the disk is nearly full."
            await asyncio.sleep(limits.recover_s)
            return
        ids = list(islice(self._ready, limits.in_store_batch * limits.in_store_groups))
        for reaction_id in ids:
            del self._ready[reaction_id]
        work = [armed for armed in map(self._find, ids) if armed is not None and not armed.reaction.paused]
        parts = [work[at : at + limits.in_store_batch] for at in range(0, len(work), limits.in_store_batch)]
        if len(parts) == 1:
            await self._deliver(parts[0])
        elif parts:
            await asyncio.gather(*map(self._deliver, parts))

    async def _deliver(self, work: Sequence[Armed]) -> None:
        try:
            await self._pass(work, self._context.limits.in_store_batch)
        except (Unavailable, Throttled) as error:
            await self._postpone(work, error)
        except Exception:
            log.exception("delivery into the store failed; trying its %d reactions one by one", len(work))
            self._context.stats.errors += 1
            for armed in work:
                await self._alone(armed)

    async def _pass(self, work: Sequence[Armed], budget: int, refuse: str | None = None) -> None:
        context = self._context
        deliver = deliver_into_store if len(work) <= _FEW else partial(deliver_into_store)  # which takes long
        passed = await context.store.commit(
            deliver, context.reactions, work, budget, context.limits.parked_max, context.chance, refuse
        )
        context.stats.commits += 1
        for one in passed:
            context.stats.delivered += one.delivered
            context.stats.failed += one.failed
            context.stats.dead += one.dead
            if one.more:
                self.wake(one.id)
            elif one.due_ms is not None:
                self._later(one.id, one.due_ms)

    async def _postpone(self, work: Sequence[Armed], error: DomainError) -> None:
        """The store can't write now; everything stays where it is."""
        log.warning("delivery into the store waits: %s", error.message)
        self._context.stats.last_error = error.message
        for armed in work:
            self.wake(armed.reaction.id)
        await asyncio.sleep(self._context.limits.recover_s)

    async def _alone(self, armed: Armed) -> None:
        """One event of one reaction, after a failure that no target foresaw. If it fails again, the event
        itself is at fault: it is treated as a failed delivery, so that the rest can go on."""
        try:
            await self._pass([armed], 1)
            self.wake(armed.reaction.id)
        except (Unavailable, Throttled) as error:
            await self._postpone([armed], error)
        except Exception as error:
            log.exception("reaction %s can't deliver its next event", armed.reaction.id)
            self._context.stats.last_error = f"{armed.reaction.id}: {type(error).__name__}"
            await self._refuse(armed, f"The server failed on this event ({type(error).__name__}).")

    async def _refuse(self, armed: Armed, reason: str) -> None:
        try:
            await self._pass([armed], 1, reason)
        except Exception as error:
            # Nothing of this reaction can be recorded; the sweep comes back to it, the others go on.
            log.exception("reaction %s is left for the next sweep", armed.reaction.id)
            self._context.stats.last_error = f"{armed.reaction.id}: {type(error).__name__}"
