"""One request of the REST API, and what its handlers work with."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar

import orjson

from sluiceway.config import SearchSettings
from sluiceway.core.search.asking import Asking
from sluiceway.core.search.index import SearchIndexes
from sluiceway.core.store import Store
from sluiceway.core.wakeups import Wakeups
from sluiceway.errors import Invalid, Throttled, Unavailable
from sluiceway.services.documents import Documents, Index
from sluiceway.services.documents.service import parsed

P = ParamSpec("P")
T = TypeVar("T")


class Searchers:
    """Threads on which the index is read, so that the event loop goes on. More than ``waiting_max`` don't wait."""

    def __init__(self, threads: int, waiting_max: int) -> None:
        self._pool = ThreadPoolExecutor(threads, "search")
        self._waiting = 0
        self._waiting_max = waiting_max

    async def run(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """``fn(*args)`` on one of the threads. Raises ``Throttled("searches")``."""
        if self._waiting >= self._waiting_max:
            raise Throttled("searches", f"rejected execution: {self._waiting_max} searches are waiting already")

        def call() -> T:
            return fn(*args, **kwargs)

        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, call)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Start nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)


@dataclass(frozen=True, slots=True)
class Tools:
    """What handlers share."""

    store: Store
    documents: Documents
    index: SearchIndexes
    wakeups: Wakeups
    searchers: Searchers
    limits: SearchSettings

    def asking(self, index: Index, now_ms: int) -> Asking:
        """To read a query for the index with."""
        limits = self.limits
        return Asking(
            self.documents.fields(index),
            self.index.analyze,
            now_ms,
            limits.clauses_max,
            limits.terms_max,
            limits.depth_max,
        )

    async def caught_up(self, index: Index, sequence: int) -> bool:
        """Wait until the change ``sequence`` is searchable; False if that takes too long."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self.limits.refresh_wait_s
        while True:
            moved = self.wakeups.expect(f"search/{index.uid}")
            position = await self.searchers.run(self.index.position, index.uid)
            left = until - loop.time()
            if (position is not None and position > sequence) or left <= 0:
                moved.cancel()
                return left > 0
            self.wakeups.notify(["search/now"])
            await asyncio.wait([moved], timeout=min(left, 1.0))
            moved.cancel()


@dataclass(slots=True)
class Call:
    """``path`` are the parts of the path that stand for names, ``query`` the parameters."""

    method: str
    path: dict[str, str]
    query: dict[str, str]
    body: bytes
    now_ms: int
    tools: Tools

    def json(self, default: Any = None) -> Any:
        """The body. Raises ``Invalid("json")``."""
        if not self.body.strip():
            if default is None:
                raise Invalid("json", "request body is required")
            return default
        return parsed(self.body)

    def flag(self, name: str, default: bool = False) -> bool:
        """A boolean parameter. Raises ``Invalid("parameter")``."""
        value = self.query.get(name)
        if value is None:
            return default
        if value in ("", "true"):
            return True
        if value == "false":
            return False
        raise Invalid("parameter", f"Failed to parse value [{value[:100]}] as only [true] or [false] are allowed.")

    def number(self, name: str) -> int | None:
        """An integer parameter. Raises ``Invalid("parameter")``."""
        value = self.query.get(name)
        if value is None:
            return None
        if not value.lstrip("-").isdecimal() or len(value) > 18:
            raise Invalid("parameter", f"Failed to parse int parameter [{name}] with value [{value[:100]}]")
        return int(value)

    def refresh(self) -> bool:
        """Whether the answer waits until the change is searchable. Raises ``Invalid("parameter")``."""
        value = self.query.get("refresh", "false")
        if value not in ("", "true", "false", "wait_for"):
            raise Invalid("parameter", f"Unknown value for refresh: [{value[:100]}].")
        return value != "false"


@dataclass(slots=True)
class Answer:
    """``body`` is what JSON can say (with ``orjson.Fragment`` for JSON texts), or a text."""

    status: int
    body: Any = None
    headers: list[tuple[str, str]] = field(default_factory=list)


Handler = Callable[[Call], Awaitable[Answer]]


def fragment(text: str) -> Any:
    """A JSON text that goes into an answer as it is."""
    return orjson.Fragment(text)


def shards(total: int = 1, failed: int = 0) -> dict[str, int]:
    """``_shards`` of an answer."""
    return {"total": total, "successful": total - failed, "failed": failed}


def gone(call: Call, index: Index) -> Unavailable:
    """Ask for a damaged index to be made again, and what to say until then."""
    call.tools.wakeups.notify([index.log])
    return Unavailable("search_index", f"[{index.name}] is being made again from its documents")
