"""Drives a case's script: one connection at a time here, or many of them from a process of their own.

A script is a generator: it yields a request's bytes and is sent the answer, and yields a number once so many
operations are complete. What it does between (signing, decoding) is in no latency.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import cast

import uvloop

from bench.cpu import cpu_s
from bench.wire import TIMEOUT_S, Answer, Connection, Reader, Target

Script = Generator[bytes | int, Answer | None, None]
Make = Callable[[int], Script]
FAILURES_MAX = 100


@dataclass
class Run:
    """What a phase gave."""

    seconds: float = 0.0
    operations: int = 0
    cpu_s: float = 0.0
    latencies: list[float] = field(default_factory=list)
    failed: int = 0  # requests that were answered 5xx and asked again

    def __add__(self, other: Run) -> Run:
        return Run(
            self.seconds + other.seconds,
            self.operations + other.operations,
            self.cpu_s + other.cpu_s,
            self.latencies + other.latencies,
            self.failed + other.failed,
        )

    @property
    def per_s(self) -> float:
        return self.operations / self.seconds if self.seconds else 0.0

    @property
    def cpu_ms(self) -> float:
        return 1000 * self.cpu_s / self.operations if self.operations else 0.0


def check(answer: Answer) -> None:
    """Refuse to measure failures."""
    if answer.status >= 300:
        raise RuntimeError(f"answered {answer.status}: {answer.body[:500]!r}")


def asked_again(run: Run, answer: Answer, target: Target) -> bool:
    """Whether the request is to be sent once more: moto_server's threads get into each other's way at times."""
    if answer.status >= 500 and target.name == "moto" and run.failed < FAILURES_MAX:
        run.failed += 1
        return True
    check(answer)
    return False


def sequential(target: Target, make: Make, seconds: float, warm: int, tree: bool) -> Run:
    """One operation after the other on one connection for ``seconds``, after ``warm`` unmeasured ones."""
    connection, run, script = Connection(target.port, time.perf_counter), Run(), make(0)
    step, taken, began, cpu = next(script), 0.0, 0.0, 0.0
    while True:
        if isinstance(step, int):
            if warm > 0:
                warm -= step
            else:
                run.latencies.append(taken)
                run.operations += step
            taken = 0.0
            now = time.perf_counter()
            if warm <= 0 and not began:
                began, cpu = now, cpu_s(target.pid, tree)
            elif began and now - began >= seconds:
                run.seconds, run.cpu_s = now - began, cpu_s(target.pid, tree) - cpu
                connection.close()
                return run
            step = next(script)
        else:
            answer, took = connection.ask(step)
            taken += took
            if not asked_again(run, answer, target):
                step = script.send(answer)


class Asking(asyncio.Protocol):
    """A connection that is asked one thing at a time."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self._reader = Reader()
        self._answered: asyncio.Future[Answer] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's are no subclasses

    def ask(self, wire: bytes) -> asyncio.Future[Answer]:
        assert self.transport is not None
        self._reader = Reader()
        self._answered = asyncio.get_running_loop().create_future()
        self.transport.write(wire)
        return self._answered

    def data_received(self, data: bytes) -> None:
        if self._reader.feed(data) and self._answered is not None:
            if self._reader.closes and self.transport is not None:
                self.transport.close()
                self.transport = None
            answered, self._answered = self._answered, None
            answered.set_result(self._reader.answer())

    def connection_lost(self, error: Exception | None) -> None:
        self.transport = None
        if self._answered is not None:
            self._answered.set_exception(error or ConnectionError("closed within an answer"))


def concurrent(target: Target, make: Make, seconds: float, connections: int, tree: bool) -> Run:
    """All connections at once for ``seconds``, after each has done one operation. For a process of its own."""
    return uvloop.run(_concurrent(target, make, seconds, connections, tree))


async def _concurrent(target: Target, make: Make, seconds: float, connections: int, tree: bool) -> Run:
    run, scripts = Run(), [make(number) for number in range(connections)]
    warm = asyncio.Barrier(connections + 1)
    ends = float("inf")

    async def work(script: Script) -> None:
        loop, protocol = asyncio.get_running_loop(), Asking()
        step, measured = next(script), False
        while True:
            if isinstance(step, int):
                if measured:
                    run.operations += step
                    if time.perf_counter() >= ends:
                        break
                else:
                    await warm.wait()  # until the others are warm, and ...
                    await warm.wait()  # ... the clock runs
                    measured = True
                step = next(script)
                continue
            if protocol.transport is None:
                _, protocol = await loop.create_connection(Asking, "127.0.0.1", target.port)
            answer = await asyncio.wait_for(protocol.ask(step), TIMEOUT_S)
            if not asked_again(run, answer, target):
                step = script.send(answer)
        if protocol.transport is not None:
            protocol.transport.close()

    async with asyncio.TaskGroup() as group:
        for script in scripts:
            group.create_task(work(script))
        await warm.wait()
        cpu, began = cpu_s(target.pid, tree), time.perf_counter()
        ends = began + seconds
        await warm.wait()
    run.seconds, run.cpu_s = time.perf_counter() - began, cpu_s(target.pid, tree) - cpu
    return run
