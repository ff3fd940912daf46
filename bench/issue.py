"""The numbers that objects, queues and delivery are to reach, measured beside calibrations of the same run."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

from bench import delivery, large, pages, server, starts
from bench.cases.queues import Deep, Send, Shallow
from bench.goal import Goal, at_least, at_most, number
from bench.report import Row

Say = Callable[[str], None]
PUT, GET = "PUT 1 KiB", "GET 1 KiB"


def small(rows: list[Row]) -> list[Goal]:
    """Of the table's rows for objects of 1 KiB."""
    runs = {row.name: row.many for row in rows if row.many is not None}
    found = []
    if put := runs.get(PUT):
        found += [
            at_most(f"{PUT}, durable: server CPU", 0.15, put.cpu_ms, "ms"),
            at_least(f"{PUT}, durable", 5000, put.per_s, "/s", f"the server used {_core(put.cpu_s, put.seconds)}"),
        ]
    if get := runs.get(GET):
        found.append(at_most(f"{GET}: server CPU", 0.07, get.cpu_ms, "ms", f"{number(get.per_s)}/s"))
    return found


def messages(rows: list[Row]) -> list[Goal]:
    """Of the table's rows for queues."""
    runs = {row.name: row.many for row in rows if row.many is not None}
    limits = {Send.name: 0.12, Shallow.name: 0.35, Deep.name: 0.35}
    return [
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
