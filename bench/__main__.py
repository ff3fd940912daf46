"""``python -m bench [--quick] [--write FILE] [--only WORDS] [--profile FILE]``, from the repository's root."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import ExitStack
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path

from bench import calibrate, issue, load, server
from bench.case import Case, Made, Maker
from bench.cases import BASELINES, CASES, sockets
from bench.cases.queues import Publish
from bench.cpu import settle
from bench.load import Run
from bench.report import Report, Row, document, tables
from bench.wire import Target

UPLOADS, QUICK_UPLOADS = 50, 10


class Bench:
    """Measures cases one after the other, each in rounds: here and there by turns, so that both have the same weather."""

    def __init__(self, folder: Path, clients: Executor, seconds: float, rounds: int) -> None:
        self._folder, self._clients = folder, clients
        self._seconds, self._rounds = seconds / rounds, rounds

    def echoes(self, target: Target) -> list[Row]:
        """The baselines once."""
        rows = []
        for case in BASELINES:
            one, many = self._run(target, case, case.prepare(target))
            rows.append(Row(case.name, one[0], many, size=case.size))
        return rows

    def rows(self, case: Case, target: Target, other: Target) -> list[Row]:
        """The rows of a case: two for a publish, one for all others."""
        made, theirs = case.prepare(target), case.prepare(other) if case.moto else {}
        sync: list[float] = []
        ours: list[tuple[list[Run], Run]] = []
        others: list[tuple[list[Run], Run]] = []
        for _ in range(self._rounds):
            if case.moto:
                others.append(self._run(other, case, theirs))
            sync += calibrate.fsync(self._folder, 0.1)
            ours.append(self._run(target, case, made))
            sync += calibrate.fsync(self._folder, 0.1)
        (ones, many), (other_ones, other_many) = _sum(ours), _sum(others)
        rows = [Row(name, one, moto_one=two, sync=sync)
                for name, one, two in zip(case.rows, ones, other_ones or repeat(None), strict=False)]  # fmt: skip
        last = rows[-1]
        last.many, last.moto_many, last.size = many, other_many, case.size
        return rows

    def _run(self, target: Target, case: Case, made: Made) -> tuple[list[Run], Run]:
        """On one connection (a run for each of the case's rows), then on many."""
        make = Maker(case, target, made)
        settle(target.pid)
        if isinstance(case, Publish):
            ones = [*case.waiting(target, made, self._seconds)]
        else:
            ones = [load.sequential(target, make, self._seconds, case.warm, case.tree)]
        settle(target.pid)
        given = (target, make, self._seconds, case.connections, case.tree)
        return ones, self._clients.submit(load.concurrent, *given).result()


def _sum(rounds: list[tuple[list[Run], Run]]) -> tuple[list[Run], Run | None]:
    if not rounds:
        return [], None
    ones = [sum(runs, Run()) for runs in zip(*(ones for ones, _ in rounds), strict=True)]
    return ones, sum((many for _, many in rounds), Run())


def measure(folder: Path, arguments: argparse.Namespace) -> Report:
    """All that was asked for, in ``folder``."""
    quick, began = arguments.quick, time.monotonic()
    report = Report(quick=quick, rounds="one round" if quick else "two rounds", cpu=processor())
    with ExitStack() as stack:
        clients = stack.enter_context(ProcessPoolExecutor(1, get_context("spawn")))
        ready = clients.submit(load.Run)
        starting = [stack.enter_context(one(folder)) for one in (server.echo, server.moto)]
        starting.append(stack.enter_context(server.sluiceway(folder, arguments.profile)))
        echo, moto, target = (started() for started in starting)
        ready.result()
        say("calibrations")
        report.machine = calibrate.measure(folder, 0.3 if quick else 2.0)
        bench = Bench(folder, clients, 0.25 if quick else 2.0, 1 if quick else 2)
        report.echoes = bench.echoes(echo)
        for case in (case for case in CASES if arguments.only.lower() in case.name.lower()):
            say(case.name)
            rows = bench.rows(case, target, moto)
            rows[-1].echo = next(row for row in report.echoes if row.name == case.base)
            report.rows += rows
        if arguments.only.lower() in sockets.NAME.lower():
            say(sockets.NAME)
            made = sockets.prepare(target)
            settle(target.pid)
            sync = calibrate.fsync(folder, 0.1)
            run = sockets.measure(target, made, QUICK_UPLOADS if quick else UPLOADS)
            report.rows.append(Row(sockets.NAME, run, sync=sync + calibrate.fsync(folder, 0.1)))
        report.goals = (
            issue.small(report.rows) + issue.messages(report.rows) + issue.others(folder, arguments.only, quick, say)
        )
        if not quick:
            say("calibrations again")
            for row, again in zip(report.echoes, bench.echoes(echo), strict=True):
                row.add(again)
    report.seconds = time.monotonic() - began
    return report


def processor() -> str:
    """How many cores, and of which kind."""
    kinds = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    kind = kinds[0].partition(":")[2].strip() if kinds else "unknown"
    return f"{os.cpu_count()} cores, {kind}"


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench")
    parser.add_argument("--quick", action="store_true", help="short phases, for a look or a test")
    parser.add_argument("--write", type=Path, metavar="FILE", help="also write the report as Markdown")
    parser.add_argument("--only", default="", metavar="WORDS", help="cases whose name contains this")
    parser.add_argument("--folder", type=Path, help="where the servers' data go (default: a temporary folder)")
    parser.add_argument("--profile", type=Path, metavar="FILE", help="run the server under cProfile, numbers to FILE")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sluiceway-bench-", dir=arguments.folder) as made:
        report = measure(Path(made), arguments)
    print(tables(report))
    print(f"\n{report.seconds:.0f} s in all")
    if arguments.write:
        arguments.write.parent.mkdir(parents=True, exist_ok=True)
        arguments.write.write_text(document(report))


if __name__ == "__main__":
    main()
