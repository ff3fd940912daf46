"""The loop of background tasks: woken, on time, and again after any failure."""

from __future__ import annotations

import asyncio
import logging

import pytest
from helpers.waiting import in_no_time

from sluiceway.core.wakeups import Wakeups
from sluiceway.errors import Throttled, Unavailable
from sluiceway.services.tending import AGAIN_S, tend


class Work:
    """Notes when it is called; does what it is told, in turn, and waits for a wake-up at the end."""

    def __init__(self, *turns: float | Exception | None) -> None:
        self.turns = list(turns)
        self.at: list[float] = []

    async def __call__(self) -> float | None:
        self.at.append(asyncio.get_running_loop().time())
        turn = self.turns.pop(0) if self.turns else None
        if isinstance(turn, Exception):
            raise turn
        return turn


async def tended(work: Work, wakeups: Wakeups, until_s: float) -> None:
    """``until_s`` seconds of it."""
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(tend(wakeups, "work", work, "it is not done"), until_s)


@in_no_time
async def test_it_works_at_once_then_after_its_time_or_when_woken() -> None:
    work, wakeups = Work(3.0, 10.0), Wakeups()
    loop = asyncio.get_running_loop()
    loop.call_at(5.0, wakeups.notify, ["other"])
    loop.call_at(7.0, wakeups.notify, ["work"])
    loop.call_at(100.0, wakeups.notify, ["work"])
    await tended(work, wakeups, 1000)
    assert work.at == [0.0, 3.0, 7.0, 100.0]


def test_a_failure_is_logged_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    @in_no_time
    async def test() -> None:
        work, wakeups = (
            Work(Unavailable("disk", "it is full"), Throttled("busy", "too much"), KeyError("row"), 1.0),
            Wakeups(),
        )
        loop = asyncio.get_running_loop()
        for at in range(1, 15):  # who asks all the time does not make it fail all the time
            loop.call_at(float(at), wakeups.notify, ["work"])
        await tended(work, wakeups, 3 * AGAIN_S + 0.5)
        assert work.at == [0.0, AGAIN_S, 2 * AGAIN_S, 3 * AGAIN_S]

    test()
    told = [(record.levelno, record.getMessage(), bool(record.exc_info)) for record in caplog.records]
    assert told == [
        (logging.WARNING, "it is not done for now: it is full", False),
        (logging.WARNING, "it is not done for now: too much", False),
        (logging.ERROR, "it is not done for now", True),
    ]


@in_no_time
async def test_what_comes_while_it_works_is_not_missed() -> None:
    wakeups, times = Wakeups(), list[float]()

    async def work() -> None:
        times.append(asyncio.get_running_loop().time())
        if len(times) == 1:
            wakeups.notify(["work"])

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(tend(wakeups, "work", work, ""), 10)
    assert times == [0.0, 0.0]
