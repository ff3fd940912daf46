"""The numbers that objects, queues and delivery are to reach, measured beside calibrations of the same run."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from bench import delivery, large, pages, server, starts, waiting
from bench.cases.queues import Deep, Send, Shallow
from bench.goal import Goal, at_least, at_most, number
from bench.report import Row

Say = Callable[[str], None]
PUT, GET = "PUT 1 KiB", "GET 1 KiB"
#: The server CPU in ms that is asked for, and moto's where the number comes from: the same share of moto's of this run is
#: the same number on a machine of another speed.
ASKED = {PUT: (0.15, 2.0), GET: (0.07, 1.8), Send.name: (0.12, 8.8)}


def small(rows: list[Row]) -> list[Goal]:
    """Of the table's rows for objects of 1 KiB."""
    found = []
    for row in rows:
        if row.name == PUT and row.many is not None:
            used = f"the server used {_core(row.many.cpu_s, row.many.seconds)}"
            found += [_cpu(row), at_least(f"{PUT}, durable", 5000, row.many.per_s, "/s", used)]
        elif row.name == GET and row.many is not None:
            found.append(_cpu(row))
    return found


def _cpu(row: Row) -> Goal:
    """The server's CPU, beside moto's."""
    ours, moto = row.many, row.moto_many
    assert ours is not None
    limit, theirs = ASKED[row.name]
    goal = at_most(f"{row.name}: server CPU", limit, ours.cpu_ms, "ms", f"{number(ours.per_s)}/s")
    if moto is None or not moto.cpu_ms:
        return goal
    share, asked = ours.cpu_ms / moto.cpu_ms, limit / theirs
    note = f"{goal.note}; {number(100 * share)} % of moto's (asked: {number(100 * asked)} %)"
    return replace(goal, note=note, by_ratio=share <= asked)


def messages(rows: list[Row]) -> list[Goal]:
    """Of the table's rows for queues."""
    sends = [_cpu(row) for row in rows if row.name == Send.name and row.many is not None]
    runs = {row.name: row.many for row in rows if row.many is not None}
    limits = {Shallow.name: 0.35, Deep.name: 0.35}
    return sends + [
        at_most(f"{name}: server CPU", limit, runs[name].cpu_ms, "ms", f"{number(runs[name].per_s)}/s")
        for name, limit in limits.items()
        if name in runs
    ]


def _core(cpu_s: float, seconds: float) -> str:
    return f"{number(100 * cpu_s / seconds)} % of a core, the load the rest"


def others(folder: Path, only: str, quick: bool, say: Say) -> list[Goal]:
    """Large objects, pages and starts, on servers of their own."""
    goals: list[Goal] = []
    wanted = [name for name in (large.NAME, pages.NAME, starts.NAME) if only.lower() in name.lower()]
    if large.NAME in wanted:
        say(large.NAME)
        with server.sluiceway(folder, name="large") as started:  # fresh, so that its memory can be seen to grow
            goals += large.measure(started(), folder / "large", quick).goals()
    if only.lower() in delivery.NAME:
        say(delivery.NAME)
        with server.sluiceway(folder, name="delivery", settings=delivery.SETTINGS) as started:
            goals += delivery.measure(started(), quick).goals()
    if only.lower() in waiting.NAME.lower():
        say(waiting.NAME)
        goals += waiting.measure(folder / "waiting", quick).goals()
    if pages.NAME not in wanted and starts.NAME not in wanted:
        return goals
    say("filling a bucket")
    keys, filled_s = pages.make(folder / "many", quick)
    if pages.NAME in wanted:
        say(pages.NAME)
        with server.sluiceway(folder, name="many") as started:
            goals += pages.measure(started(), keys, filled_s, quick).goals()
    if starts.NAME in wanted:
        say(starts.NAME)
        subprocess.run(["sync"], check=False)  # so that the starts don't wait for what was filled in
        goals += starts.measure(folder, (folder / "many", keys), quick).goals()
    return goals
