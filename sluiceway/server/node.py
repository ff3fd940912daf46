"""A running data folder: services, edges, reactions and their tasks. Reset replaces it as a whole."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

from sluiceway.core.store import Tx
from sluiceway.edges.aws.inprocess import InProcessClient
from sluiceway.edges.http import Handler
from sluiceway.edges.own.metrics import Metrics, Sample
from sluiceway.edges.routing import Router
from sluiceway.engines.tantivy import TantivyIndexes
from sluiceway.reactions.dispatcher import Dispatcher
from sluiceway.reactions.functions import FunctionPool
from sluiceway.reactions.functions.environment import Surroundings
from sluiceway.reactions.search_feeder import SearchFeeder
from sluiceway.reactions.sources import EventSourceTarget, QueuePoller
from sluiceway.reactions.stacks.runner import StackRunner
from sluiceway.reactions.targets.catalog import topic_targets
from sluiceway.reactions.targets.destinations import OutcomeDestinations
from sluiceway.reactions.targets.invoke import InvokeTarget
from sluiceway.server.edges import Edges
from sluiceway.server.services import Services
from sluiceway.services.objects import garbage
from sluiceway.services.objects.lifecycle.runner import LifecycleRunner
from sluiceway.services.objects.restore_runner import RestoreRunner
from sluiceway.services.queues import Moves, QueueKeeper, QueueMover
from sluiceway.services.tables import TtlSweeper
from sluiceway.services.topics import TopicKeeper

log = logging.getLogger(__name__)

_RESTART_S = 1.0
_LEAST_S = 0.1  # that each part gets to stop in, however late it is
_ISSUER_PATH = "/_sluiceway/issuer"
_ISSUER_PARAMETER = "/sluiceway/issuer"


class Node:
    """``hosts`` gives what functions need to reach this server under AWS's names."""

    def __init__(self, services: Services, hosts: Callable[[], Awaitable[dict[str, Any]]]) -> None:
        self.services = services
        self._tasks: list[asyncio.Task[None]] = []
        self.pool = self._make_pool(hosts)
        s = services
        self.search = TantivyIndexes(s.place.data / "search", s.settings.search)
        self.feeder = SearchFeeder(s.store, s.documents, self.search, s.wakeups, s.settings.search)
        self.edges = Edges(services, self.pool, self.search, services.signer.certificate_pem)
        self.client = InProcessClient(self.edges.handlers, services.place.url)
        self.dispatcher = self._make_dispatcher()
        self.poller = QueuePoller(
            s.store, s.queues, s.wakeups, s.mappings, self.pool, s.rights.may_read, s.settings.mappings
        )

    def router(self, own: dict[str, Handler]) -> Router:
        """What answers requests; ``own`` are the server's own pages."""
        return Router(self.edges.handlers, {**self.edges.pages, **own})

    async def start(self) -> None:
        """Clean up after a crash, then go on where everything stood."""
        s = self.services
        await s.store.commit(self._name_issuer)
        self.pool.start()
        self._keep("keys", lambda: s.ring.watch(s.store, s.wakeups))
        self._keep("leftovers", self._sweep_leftovers)
        self._keep("blobs", self.edges.s3.sweeper(s.wakeups).run)
        self._keep(
            "lifecycle", LifecycleRunner(s.store, s.objects.lifecycle, s.wakeups, s.clock, s.settings.objects).run
        )
        self._keep("restores", RestoreRunner(s.store, s.objects.restoring, s.wakeups, s.clock, s.settings.objects).run)
        stacks = StackRunner(s.store, s.stacks, self.client, s.wakeups, s.scope, s.place.url(), s.settings.stacks)
        self._keep("stacks", stacks.run)
        self._keep("tables", TtlSweeper(s.store, s.tables, s.wakeups).run)
        self._keep("streams", self._sweep_streams)
        self._keep("search", self.feeder.run)
        await self.dispatcher.start()
        self._keep("queues", self.poller.run)
        self._keep("topic-keeper", TopicKeeper(s.store, s.topics, s.wakeups).run)
        self._keep("queue-keeper", QueueKeeper(s.store, s.queues, s.wakeups).run)
        self._keep("queue-mover", QueueMover(s.store, Moves(s.queues), s.wakeups).run)
        await self.edges.sockets.start()

    def _name_issuer(self, tx: Tx) -> None:
        """Where templates find who signs people in."""
        value = self.services.place.url() + _ISSUER_PATH
        self.services.parameters.put(tx, _ISSUER_PARAMETER, value, "String", True)

    async def _sweep_leftovers(self) -> None:
        """Once, and beside everything else: with a million blobs it takes half a minute."""
        s = self.services
        swept = await s.blobs.sweep(lambda blobs: s.store.view(garbage.known, blobs))
        if swept:
            log.info("%d unfinished uploads were removed", swept)

    async def _sweep_streams(self) -> None:
        s = self.services
        while True:
            removed = await s.store.commit(s.streams.sweep)
            if removed < s.settings.streams.trim_max:
                await asyncio.sleep(s.settings.streams.sweep_s)

    async def stop(self, grace_s: float) -> None:
        """Finish what is under way within ``grace_s`` seconds, and close the store."""
        ends = time.monotonic() + grace_s

        def left_s() -> float:
            return max(_LEAST_S, ends - time.monotonic())

        await self.edges.sockets.stop(left_s())
        await self.poller.stop(left_s())
        await self.dispatcher.stop(left_s())
        await self.edges.close()
        await self.pool.stop(left_s())
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.to_thread(self.search.close)
        await self.services.close()

    def show_in(self, metrics: Metrics) -> None:
        """Let ``metrics`` show this node's numbers."""
        metrics.replace([self._store_samples, self._disk_samples, self._pool_samples, self._delivery_samples])

    # -- making

    def _make_pool(self, hosts: Callable[[], Awaitable[dict[str, Any]]]) -> FunctionPool:
        s = self.services
        folder = s.place.data / "functions"
        (folder / "cache").mkdir(parents=True, exist_ok=True)
        around = Surroundings(s.scope, s.place.url, hosts, sys.executable, os.getpid(), s.place.data, folder / "cache")
        credentials = s.accounts.assume_role
        return FunctionPool(
            s.store, s.blobs, s.functions, s.logs, credentials, s.settings.functions, folder, around, s.wakeups
        )

    def _make_dispatcher(self) -> Dispatcher:
        s = self.services
        targets = topic_targets(
            s.store, s.queues, s.functions, s.authorize, s.signer, s.place.url, s.scope, s.settings.delivery, s.clock
        )
        outcomes = OutcomeDestinations(s.queues, s.topics, s.functions, s.authorize, s.caller_of)
        targets["function-invoke"] = InvokeTarget(self.pool, s.store, outcomes, s.scope)
        targets["event-source"] = EventSourceTarget(
            self.pool, s.store, s.role_of, s.rights.may_read, s.scope, s.clock, s.settings.mappings
        )
        return Dispatcher(
            s.store, s.wakeups, s.reactions, targets, s.settings.reactions, s.clock, s.topics.logs, s.pressure
        )

    def _keep(self, name: str, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a loop until the end; one that fails is logged and begun again."""

        async def keep() -> None:
            while True:
                try:
                    await run()
                    return
                except asyncio.CancelledError:
                    raise
                except Exception:
                    log.exception("the loop %r failed and starts again", name)
                    await asyncio.sleep(_RESTART_S)

        self._tasks.append(asyncio.create_task(keep(), name=name))

    # -- metrics

    def _store_samples(self) -> list[Sample]:
        stats, problem = self.services.store.stats, self.services.store.problem()
        return [
            Sample("sluiceway_store_commits", "Commit groups.", stats.commits, total=True),
            Sample("sluiceway_store_functions", "Transaction functions committed.", stats.functions, total=True),
            Sample("sluiceway_store_failed", "Transaction functions that failed.", stats.failed, total=True),
            Sample("sluiceway_store_commit_seconds", "Time spent in commits.", stats.commit_s, total=True),
            Sample("sluiceway_store_group_size", "Functions in the last commit group.", stats.group_last),
            Sample("sluiceway_store_queue", "Functions that wait for the writer.", stats.waiting()),
            Sample("sluiceway_store_failing", "1 while the store refuses to write.", float(problem is not None)),
        ]

    def _disk_samples(self) -> list[Sample]:
        s = self.services
        disk = shutil.disk_usage(s.place.data)
        return [
            Sample("sluiceway_store_bytes", "Bytes of the database and its log.", _bytes_of(s.place.data)),
            Sample(
                "sluiceway_blob_bytes",
                "Bytes of the files of large objects; growing after a start.",
                s.blobs.bytes_kept,
            ),
            Sample("sluiceway_disk_free_bytes", "Bytes that are free where the data folder is.", disk.free),
        ]

    def _delivery_samples(self) -> list[Sample]:
        """Of all reactions together, from memory: whatever their number, a scrape costs the same."""
        stats, pressure = self.dispatcher.stats, self.services.pressure
        return [
            Sample("sluiceway_deliveries", "Events delivered.", stats.delivered, total=True),
            Sample("sluiceway_delivery_failures", "Failed tries to deliver.", stats.failed, total=True),
            Sample("sluiceway_dead_letters", "Events given up.", stats.dead, total=True),
            Sample("sluiceway_delivery_errors", "Deliveries that the server itself failed.", stats.errors, total=True),
            Sample("sluiceway_deliveries_in_flight", "Deliveries under way.", sum(stats.in_flight.values())),
            Sample("sluiceway_reactions_running", "Reactions that deliver outward now.", len(self.dispatcher.active())),
            Sample("sluiceway_logs_full", "Topics whose publishers are throttled.", len(pressure.full_logs)),
            Sample("sluiceway_disk_low", "1 while what adds data is throttled.", float(pressure.disk_is_low)),
        ]

    def _pool_samples(self) -> list[Sample]:
        workers, busy = self.pool.counts
        return [
            Sample("sluiceway_function_workers", "Worker processes.", workers),
            Sample("sluiceway_function_workers_busy", "Worker processes with an invocation.", busy),
            Sample("sluiceway_search_lag_seconds", "Time for which a change waits to be found.", self.feeder.lag()),
        ]


def _bytes_of(data: Path) -> int:
    files = (data / name for name in ("store.db", "store.db-wal"))
    return sum(file.stat().st_size for file in files if file.exists())
