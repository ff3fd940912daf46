"""Both ports with faults, for tests: delays, errors and a crash, drawn from a seed.

The calls of one wrapper draw from one sequence, so that a seed and an order of calls give the same faults.
A wrapper that has crashed raises ``Crashed`` for ever, as a process that is gone: open the real engine
again on the same folder.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Concatenate, Literal, ParamSpec, TypeVar

from sluiceway.core.blobs import Blobs, Hasher, Staged
from sluiceway.core.store import Store, Tx, View
from sluiceway.errors import Unavailable

P = ParamSpec("P")
T = TypeVar("T")
Moment = Literal["before", "after"]
_WORDS = "An error that a test asked for."


class Crashed(BaseException):
    """The process is gone. Not an ``Exception``, so that no handler goes on as if it were alive."""


@dataclass(frozen=True, slots=True)
class Faults:
    """How often what happens; chances are from 0 to 1.

    ``crash_at`` counts the calls that make something durable (``commit``, ``seal``), from 1. The crash comes
    ``before`` the call does anything, or ``after`` it is durable and before its caller hears of it.
    """

    delay: float = 0.0  # the chance that a call waits first
    delay_s: float = 0.005  # and how long at most
    refuse: float = 0.0  # a call is refused, and nothing has happened
    lose_answer: float = 0.0  # a commit or seal is durable, and its caller is told that it failed
    break_read: float = 0.0  # a blob's chunk, or a view, can't be read
    crash_at: int | None = None
    crash_moment: Moment = "after"


class _Dice:
    """What shall happen to the next call."""

    def __init__(self, kind: str, seed: int, faults: Faults, on_crash: Callable[[], None] | None) -> None:
        self._kind = kind
        self._random = random.Random(seed)
        self._faults = faults
        self._on_crash = on_crash
        self._durable_calls = 0
        self.crashed = False

    async def before(self, chance: float) -> None:
        """Wait, refuse with ``chance``, or do nothing."""
        self.alive()
        if self._happens(self._faults.delay):
            await asyncio.sleep(self._random.uniform(0, self._faults.delay_s))
            self.alive()
        if self._happens(chance):
            raise Unavailable(self._kind, _WORDS)

    async def before_durable(self) -> int:
        """``before`` for a call that makes something durable; its number."""
        await self.before(self._faults.refuse)
        self._durable_calls += 1
        self._crash_if("before", self._durable_calls)
        return self._durable_calls

    def after_durable(self, number: int) -> None:
        """The call is durable: crash, lose its answer, or do nothing."""
        self.alive()
        self._crash_if("after", number)
        if self._happens(self._faults.lose_answer):
            raise Unavailable(self._kind, _WORDS)

    def alive(self) -> None:
        """Raises ``Crashed`` after the crash."""
        if self.crashed:
            raise Crashed

    def _happens(self, chance: float) -> bool:
        return chance > 0 and self._random.random() < chance

    def _crash_if(self, moment: Moment, number: int) -> None:
        if self._faults.crash_at == number and self._faults.crash_moment == moment:
            self.crashed = True
            if self._on_crash is not None:
                self._on_crash()
            raise Crashed


class FaultyStore:
    """A store with faults. ``on_crash`` may end the process for real."""

    def __init__(self, store: Store, seed: int, faults: Faults, *, on_crash: Callable[[], None] | None = None) -> None:
        self._store = store
        self._faults = faults
        self._dice = _Dice("store", seed, faults, on_crash)

    @property
    def crashed(self) -> bool:
        """Whether the crash has come."""
        return self._dice.crashed

    async def commit(self, fn: Callable[Concatenate[Tx, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """See ``core.store.Store``."""
        number = await self._dice.before_durable()
        result = await self._store.commit(fn, *args, **kwargs)
        self._dice.after_durable(number)
        return result

    async def view(self, fn: Callable[Concatenate[View, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """See ``core.store.Store``."""
        await self._dice.before(self._faults.break_read)
        return await self._store.view(fn, *args, **kwargs)

    def problem(self) -> str | None:
        """See ``core.store.Store``."""
        return self._store.problem()

    async def close(self) -> None:
        """Close the real one, also after a crash: a test has to let go of the files."""
        await self._store.close()


class FaultyBlobs:
    """Blobs with faults."""

    def __init__(self, blobs: Blobs, seed: int, faults: Faults, *, on_crash: Callable[[], None] | None = None) -> None:
        self._blobs = blobs
        self._faults = faults
        self._dice = _Dice("blobs", seed, faults, on_crash)

    @property
    def crashed(self) -> bool:
        """Whether the crash has come."""
        return self._dice.crashed

    async def stage(self, hashers: Sequence[Hasher] = ()) -> FaultyStaged:
        """See ``core.blobs.Blobs``."""
        await self._dice.before(self._faults.refuse)
        return FaultyStaged(await self._blobs.stage(hashers), self._dice, self._faults)

    async def open(self, blob_id: str, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """See ``core.blobs.Blobs``."""
        await self._dice.before(self._faults.break_read)
        async for chunk in self._blobs.open(blob_id, start, length):
            yield chunk
            await self._dice.before(self._faults.break_read)

    async def size(self, blob_id: str) -> int:
        """See ``core.blobs.Blobs``."""
        await self._dice.before(self._faults.break_read)
        return await self._blobs.size(blob_id)

    async def delete(self, blob_id: str) -> None:
        """See ``core.blobs.Blobs``."""
        await self._dice.before(self._faults.refuse)
        await self._blobs.delete(blob_id)

    async def sweep(self, known: Callable[[list[str]], Awaitable[set[str]]]) -> int:
        """See ``core.blobs.Blobs``."""
        await self._dice.before(self._faults.refuse)
        return await self._blobs.sweep(known)


class FaultyStaged:
    """A blob being written with faults."""

    def __init__(self, staged: Staged, dice: _Dice, faults: Faults) -> None:
        self._staged = staged
        self._dice = dice
        self._faults = faults
        self.size = 0

    async def write(self, data: bytes) -> None:
        """See ``core.blobs.Staged``."""
        await self._dice.before(self._faults.refuse)
        await self._staged.write(data)
        self.size = self._staged.size

    async def seal(self) -> str:
        """See ``core.blobs.Staged``."""
        number = await self._dice.before_durable()
        blob_id = await self._staged.seal()
        self._dice.after_durable(number)
        return blob_id

    async def discard(self) -> None:
        """See ``core.blobs.Staged``. Never refused; a process that is gone leaves the temporary file."""
        self._dice.alive()
        await self._staged.discard()
