"""Carries out what was asked of stacks, one resource after the other, and goes on after a crash.

Before a resource is touched its row says so, and afterwards what came of it; names are chosen by a rule. So a
try that a crash interrupted is repeated, and finds what it made.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Final

from sluiceway.config import StackSettings
from sluiceway.core.identity import Principal, Scope
from sluiceway.core.store import Store
from sluiceway.core.wakeups import Wakeups
from sluiceway.errors import NotFound, Unavailable
from sluiceway.reactions.stacks.provider import Caller, Context, Provider
from sluiceway.services.stacks.state import Row, Stacks

log = logging.getLogger(__name__)

_AGAIN_S: Final = 1.0  # before work goes on that the store could not keep


class StackRunner:
    """``caller`` calls the services' operations."""

    def __init__(
        self,
        store: Store,
        stacks: Stacks,
        caller: Caller,
        wakeups: Wakeups,
        scope: Scope,
        own_url: str,
        limits: StackSettings,
    ) -> None:
        self.store = store
        self.stacks = stacks
        self._caller = caller
        self._wakeups = wakeups
        self._scope = scope
        self._own_url = own_url
        self._limits = limits
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._room = asyncio.Semaphore(limits.concurrency)

    @cached_property
    def providers(self) -> Mapping[str, Provider]:
        """Resource types and their code."""
        from sluiceway.reactions.stacks.registry import providers  # here: see ``_once``

        return providers()

    async def run(self) -> None:
        """Until cancelled; cancelling leaves the work to the next start."""
        try:
            while True:
                woken = self._wakeups.expect("stacks")
                for row in await self.store.view(self.stacks.all):
                    if row["status"].endswith("_IN_PROGRESS") and row["name"] not in self._tasks:
                        self._begin(row["name"])
                await woken
        finally:
            for task in list(self._tasks.values()):
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def _begin(self, name: str) -> None:
        task = asyncio.create_task(self._work(name))
        self._tasks[name] = task
        task.add_done_callback(lambda _: self._ended(name))

    def _ended(self, name: str) -> None:
        """Look again: what came while the task ended was left to it."""
        self._tasks.pop(name, None)
        self._wakeups.notify(["stacks"])

    async def _work(self, name: str) -> None:
        async with self._room:
            while True:
                try:
                    await self._once(name)
                    return
                except NotFound:
                    return
                except Unavailable as error:
                    log.warning("stack %s waits: %s", name, error.message)
                    await asyncio.sleep(_AGAIN_S)

    async def _once(self, name: str) -> None:
        from sluiceway.reactions.stacks.work import Work  # here: a server without stacks starts faster, and is smaller

        row = await self.store.view(self.stacks.get, name)
        try:
            await Work(self, row).run()
        except (asyncio.CancelledError, Unavailable):
            raise
        except Exception:
            log.exception("stack %s failed", name)
            status = row["status"].replace("_CLEANUP_IN_PROGRESS", "").replace("_IN_PROGRESS", "_FAILED")
            await self.store.commit(self.stacks.set_status, row, status, "The server failed; its log says why.")

    def context(self, stack: Row, row: Row, again: bool) -> Context:
        """What a provider works with."""
        principal = Principal(**{**stack["principal"], "policies": tuple(stack["principal"]["policies"])})

        async def call(service: str, operation: str, **params: Any) -> dict[str, Any]:
            given = {name: value for name, value in params.items() if value is not None}
            return await self._caller.call(service, operation, given, principal)

        async def claim(physical_id: str) -> None:
            row["physical_id"] = physical_id
            await self.store.commit(self.stacks.keep_order, stack, row)

        return Context(
            call, self._scope, self._own_url, stack["id"], stack["name"], row["logical"], row["generation"], again, claim
        )  # fmt: skip

    async def bounded(self, work: Any) -> Any:
        """``work`` within the time for one resource."""
        async with asyncio.timeout(self._limits.resource_s):
            return await work
