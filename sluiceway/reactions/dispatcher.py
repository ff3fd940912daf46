"""Runs every reaction: wakes them by the names of their logs, and by time for what is parked.

An idle reaction is an entry in two dictionaries, no task and no poll. Reactions that deliver into the store
share one pump; a reaction that delivers outward has a runner while it has something to do.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence, Set

from sluiceway.config import ReactionSettings
from sluiceway.core.clock import Clock
from sluiceway.core.filters import matcher
from sluiceway.core.reaction import Reaction
from sluiceway.core.store import Store, Tx, View
from sluiceway.core.wakeups import Wakeups
from sluiceway.errors import DomainError
from sluiceway.reactions.armed import Armed, Context, DispatcherStats
from sluiceway.reactions.instore import InStorePump
from sluiceway.reactions.runner import Runner
from sluiceway.reactions.target import InStoreTarget, OutwardTarget
from sluiceway.services.pressure import Pressure
from sluiceway.services.reactions import Reactions

log = logging.getLogger(__name__)

Targets = Mapping[str, InStoreTarget | OutwardTarget]
KeptLogs = Callable[[View], Iterable[str]]

_PAGE = 200  # reactions looked at in one snapshot
_EASE_S = 1.0


class Dispatcher:
    """``targets`` maps a target's kind to its code. ``kept_logs`` names logs whose settled events are
    trimmed by age even if nothing reacts to them (topics without subscriptions). ``pressure`` is told which logs
    are full, and asked whether there is room for copies."""

    def __init__(
        self,
        store: Store,
        wakeups: Wakeups,
        reactions: Reactions,
        targets: Targets,
        limits: ReactionSettings,
        clock: Clock,
        kept_logs: KeptLogs | None = None,
        pressure: Pressure | None = None,
    ) -> None:
        self.stats = DispatcherStats()
        self._context = Context(store, reactions, limits, clock, self.stats, pressure)
        self._wakeups = wakeups
        self._targets = targets
        self._kept_logs = kept_logs
        self._armed: dict[str, Armed] = {}
        self._by_log: dict[str, set[str]] = defaultdict(set)
        self._runners: dict[str, Runner] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._queued: dict[str, None] = {}
        self._pump = InStorePump(self._context, self._armed.get, self._later)
        self._changed: set[str] = set()
        self._refresh = asyncio.Event()
        self._due: list[tuple[int, str]] = []
        self._due_at: dict[str, int] = {}
        self._alarm = asyncio.Event()
        self._loops: list[asyncio.Task[None]] = []
        self._stopping = False

    async def start(self) -> None:
        """Load every reaction and go on from its cursor."""
        self._wakeups.listen(self._woken)
        self._loops = [
            asyncio.create_task(self._pump.run()),
            asyncio.create_task(self._keep(self._refreshing)),
            asyncio.create_task(self._keep(self._timing)),
            asyncio.create_task(self._keep(self._sweeping)),
        ]
        await self._look_at_all(arm=True)

    async def stop(self, grace_s: float) -> None:
        """Begin nothing more; let what is under way end for up to ``grace_s`` seconds, and record it."""
        self._stopping = True
        for loop in self._loops[1:]:
            loop.cancel()
        self._pump.stop()
        for runner in self._runners.values():
            runner.stop()
        running = [*self._loops[:1], *self._tasks.values()]
        if running:
            _, late = await asyncio.wait(running, timeout=grace_s)
            for task in late:
                task.cancel()
        await asyncio.gather(*self._loops, *self._tasks.values(), return_exceptions=True)
        for target in self._targets.values():
            if isinstance(target, OutwardTarget):
                await target.close()

    def poke(self) -> None:
        """Look at the clock again (it was set, or a test moved it)."""
        self._alarm.set()
        for runner in self._runners.values():
            runner.wake()

    def active(self) -> Sequence[str]:
        """The reactions that have a runner now."""
        return list(self._runners)

    # -- waking

    def _woken(self, names: frozenset[str]) -> None:
        if self._stopping:
            return
        for name in names:
            for reaction_id in self._by_log.get(name, ()):
                self._activate(reaction_id)
            if name.startswith("reaction/"):
                self._changed.add(name.removeprefix("reaction/"))
                self._refresh.set()

    def _activate(self, reaction_id: str) -> None:
        armed = self._armed.get(reaction_id)
        if armed is None or armed.reaction.paused or self._stopping:
            return
        if isinstance(armed.target, InStoreTarget):
            self._pump.wake(reaction_id)
            return
        runner = self._runners.get(reaction_id)
        if runner is not None:
            runner.wake()
        elif len(self._runners) >= self._context.limits.active_max:
            self._queued[reaction_id] = None
        else:
            self._run(armed)

    def _run(self, armed: Armed) -> None:
        runner = Runner(armed, self._context)
        self._runners[armed.reaction.id] = runner
        self._tasks[armed.reaction.id] = asyncio.create_task(self._running(armed.reaction.id, runner))

    async def _running(self, reaction_id: str, runner: Runner) -> None:
        due_ms: int | None = None
        try:
            due_ms = await runner.run()
        except Exception as error:
            log.exception("reaction %s stopped; it starts again from its cursor", reaction_id)
            self.stats.errors += 1
            self.stats.last_error = f"{reaction_id}: {type(error).__name__}"
            due_ms = self._context.clock.now_ms() + int(self._context.limits.recover_s * 1000)
        finally:
            del self._runners[reaction_id]
            del self._tasks[reaction_id]
        if runner.dirty:
            self._activate(reaction_id)
        elif due_ms is not None:
            self._later(reaction_id, due_ms)
        while self._queued and len(self._runners) < self._context.limits.active_max:
            self._activate(self._pop_queued())

    def _pop_queued(self) -> str:
        reaction_id = next(iter(self._queued))
        del self._queued[reaction_id]
        return reaction_id

    # -- changes of reactions

    async def _refreshing(self) -> None:
        await self._refresh.wait()
        self._refresh.clear()
        changed, self._changed = list(self._changed), set()
        try:
            found = await self._context.store.view(_load, self._context.reactions, changed)
        except BaseException:
            self._changed.update(changed)
            self._refresh.set()
            raise
        for reaction_id, reaction in zip(changed, found, strict=True):
            if reaction is None:
                self._disarm(reaction_id)
            else:
                self._arm(reaction)
                self._activate(reaction_id)

    def _arm(self, reaction: Reaction) -> None:
        target = self._targets.get(reaction.target.kind)
        if target is None:
            log.error("reaction %s has a target of the unknown kind %s", reaction.id, reaction.target.kind)
            return
        try:
            matches = matcher(reaction.filter)
        except DomainError as error:
            log.error("reaction %s has a filter that can't be read: %s", reaction.id, error.message)
            return
        armed = Armed(reaction, target, matches)
        self._armed[reaction.id] = armed
        self._by_log[reaction.log].add(reaction.id)
        runner = self._runners.get(reaction.id)
        if runner is not None:
            runner.armed = armed
            runner.wake()

    def _disarm(self, reaction_id: str) -> None:
        armed = self._armed.pop(reaction_id, None)
        self._queued.pop(reaction_id, None)
        self._context.allowances.forget(reaction_id)
        if armed is None:
            return
        ids = self._by_log[armed.reaction.log]
        ids.discard(reaction_id)
        if not ids:
            del self._by_log[armed.reaction.log]
        runner = self._runners.get(reaction_id)
        if runner is not None:
            runner.stop()

    # -- time

    def _later(self, reaction_id: str, due_ms: int) -> None:
        known = self._due_at.get(reaction_id)
        if known is not None and known <= due_ms:
            return
        self._due_at[reaction_id] = due_ms
        heapq.heappush(self._due, (due_ms, reaction_id))
        if self._due[0] == (due_ms, reaction_id):
            self._alarm.set()

    async def _timing(self) -> None:
        """Wake whose time has come, then sleep until the next (at most a minute: clocks are set)."""
        now_ms = self._context.clock.now_ms()
        while self._due and self._due[0][0] <= now_ms:
            due_ms, reaction_id = heapq.heappop(self._due)
            if self._due_at.get(reaction_id) == due_ms:
                del self._due_at[reaction_id]
                self._activate(reaction_id)
        self._alarm.clear()
        wait_s = min(60.0, (self._due[0][0] - now_ms) / 1000) if self._due else 60.0
        try:
            await asyncio.wait_for(self._alarm.wait(), max(wait_s, 0.001))
        except TimeoutError:
            return

    # -- the sweep

    async def _sweeping(self) -> None:
        await self._ease(self._context.limits.sweep_s)
        await self._look_at_all(arm=False)
        await self._trim_logs()
        more = True
        while more:
            more = await self._context.store.commit(self._context.reactions.sweep)

    async def _ease(self, seconds: float) -> None:
        """Wait so long, with an eye on the logs that are full: their publishers wait for them."""
        ends, pressure, context = asyncio.get_running_loop().time() + seconds, self._context.pressure, self._context
        while (left := ends - asyncio.get_running_loop().time()) > 0:
            if pressure is None or not pressure.full_logs:
                await asyncio.sleep(min(left, _EASE_S))
                continue
            await asyncio.sleep(min(left, context.limits.recover_s))
            lags = await context.store.view(_lags, context.reactions, pressure.full_logs)
            pressure.note(lags, whole=False)

    async def _look_at_all(self, arm: bool) -> None:
        """Activate what has something to do (wake-ups may be lost, and a start has none)."""
        after, lags = "", dict[str, int]()
        while True:
            page = await self._context.store.view(_page, self._context.reactions, after)
            for reaction, lag, busy in page:
                if arm or reaction.id not in self._armed:
                    self._arm(reaction)
                if busy:
                    self._activate(reaction.id)
                after = reaction.id
                if lag:
                    lags[reaction.log] = max(lag, lags.get(reaction.log, 0))
            if len(page) < _PAGE:
                break
            await asyncio.sleep(0)
        if self._context.pressure is not None:
            self._context.pressure.note(lags.items(), whole=True)

    async def _trim_logs(self) -> None:
        context = self._context
        ours = {name for name in self._by_log if name.startswith(("topic/", "function/"))}
        before_ms = context.clock.now_ms() - context.limits.retention_s * 1000
        for name in await context.store.view(_old_logs, ours, self._kept_logs, before_ms):
            trimmed = context.limits.trim_max
            while trimmed >= context.limits.trim_max:
                trimmed = await context.store.commit(_trim, context.reactions, name, before_ms)

    async def _keep(self, step: Callable[[], Awaitable[None]]) -> None:
        """Repeat ``step`` whatever happens to it: one bad round must not end the dispatcher."""
        while not self._stopping:
            try:
                await step()
            except Exception as error:
                log.exception("the dispatcher failed in %s; it goes on", getattr(step, "__name__", "a step"))
                self.stats.errors += 1
                self.stats.last_error = type(error).__name__
                await asyncio.sleep(self._context.limits.recover_s)


def _load(view: View, reactions: Reactions, ids: Sequence[str]) -> list[Reaction | None]:
    return [reactions.find(view, reaction_id) for reaction_id in ids]


def _page(view: View, reactions: Reactions, after: str) -> list[tuple[Reaction, int, bool]]:
    """The next reactions by id, each with how far it is behind and whether it has something to do."""
    page = []
    for key, row in view.scan("reactions", start=(after + "\0",), limit=_PAGE):
        reaction = Reaction.from_json(row)
        position = reactions.position(view, str(key[0]))
        bounds = view.bounds(reaction.log)
        lag = bounds.next - max(bounds.first, position.next) if position is not None else 0
        page.append((reaction, lag, lag > 0 or (position is not None and position.parked > 0)))
    return page


def _lags(view: View, reactions: Reactions, logs: Iterable[str]) -> list[tuple[str, int]]:
    return [(log, reactions.lag(view, log)) for log in logs]


def _old_logs(view: View, ours: Set[str], kept_logs: KeptLogs | None, before_ms: int) -> list[str]:
    """The logs whose first event is older than ``before_ms``."""
    names = {*ours, *(kept_logs(view) if kept_logs is not None else ())}
    firsts = ((name, view.read(name, 0, 1)) for name in names)
    return [name for name, first in firsts if first and first[0].time_ms < before_ms]


def _trim(tx: Tx, reactions: Reactions, name: str, before_ms: int) -> int:
    return reactions.trim(tx, name, before_ms)
