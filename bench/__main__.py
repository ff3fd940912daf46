"""``python -m bench [--quick] [--write FILE] [--only WORDS] [--profile FILE]``, from the repository's root."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context
from pathlib import Path

from bench import calibrate, load, server
from bench.case import Case, Maker
from bench.cases import BASELINES, CASES, sockets
from bench.cases.queues import Publish
from bench.cpu import settle
from bench.load import Run
from bench.report import Report, Row, document, tables
from bench.wire import Target

UPLOADS, QUICK_UPLOADS = 50, 10


class Bench:
    """Measures cases one after the other; ``clients`` is the process that asks on many connections."""

    def __init__(self, clients: ProcessPoolExecutor, seconds: float, say: Callable[[str], None]) -> None:
        self._clients, self._seconds, self._say = clients, seconds, say

    def both(self, target: Target, case: Case) -> tuple[Run, Run]:
        """A case on one connection, then on many."""
        self._say(f"{case.name} on {target.name}")
        made = case.prepare(target)
        make = Maker(case, target, made)
        settle(target.pid)
        one = load.sequential(target, make, self._seconds, case.warm, case.tree)
        settle(target.pid)
        given = (target, make, self._seconds, case.connections, case.tree)
        return one, self._clients.submit(load.concurrent, *given).result()

    def publish(self, target: Target, other: Target, case: Publish) -> list[Row]:
        """Two rows: until the acknowledgement, and until the message is received."""
        runs = []
        for one in (target, other):
            self._say(f"{case.name} on {one.name}")
            made = case.prepare(one)
            settle(one.pid)
            acknowledged, received = case.waiting(one, made, self._seconds)
            given = (one, Maker(case, one, made), self._seconds, case.connections, case.tree)
            runs.append((acknowledged, received, self._clients.submit(load.concurrent, *given).result()))
        (acknowledged, received, many), (moto_acknowledged, moto_received, moto_many) = runs
        return [
            Row("SNS publish, acknowledged", acknowledged, moto_one=moto_acknowledged),
            Row(case.name, received, many, moto_received, moto_many),
        ]


def measure(folder: Path, arguments: argparse.Namespace, say: Callable[[str], None]) -> Report:
    """All that was asked for, in ``folder``."""
    quick, began = arguments.quick, time.monotonic()
    seconds = 0.35 if quick else 2.0
    report = Report(quick=quick, cpu=processor())
    cases = [case for case in CASES if arguments.only.lower() in case.name.lower()]
    with ExitStack() as stack:
        clients = stack.enter_context(ProcessPoolExecutor(1, get_context("spawn")))
        bench = Bench(clients, seconds, say)
        echo = stack.enter_context(server.echo(folder))
        moto = stack.enter_context(server.moto(folder))
        target = stack.enter_context(server.sluiceway(folder, arguments.profile))
        say("calibrations")
        report.machine = calibrate.measure(folder, seconds)
        for case in BASELINES:
            one, many = bench.both(echo, case)
            report.echoes.append(Row(case.name, one, many, size=case.size))
        bases = {row.name: row.many for row in report.echoes}
        for case in cases:
            if isinstance(case, Publish):
                report.rows += bench.publish(target, moto, case)
            else:
                theirs = bench.both(moto, case) if case.moto else (None, None)
                ours = bench.both(target, case)
                report.rows.append(Row(case.name, *ours, *theirs, size=case.size))
            report.rows[-1].echo = bases[case.base]
        if arguments.only.lower() in sockets.NAME.lower():
            say(sockets.NAME)
            made = sockets.prepare(target)
            settle(target.pid)
            report.rows.append(Row(sockets.NAME, sockets.measure(target, made, QUICK_UPLOADS if quick else UPLOADS)))
    report.seconds = time.monotonic() - began
    return report


def processor() -> str:
    """How many cores, and of which kind."""
    kinds = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    kind = kinds[0].partition(":")[2].strip() if kinds else "unknown"
    return f"{os.cpu_count()} cores, {kind}"


def _say(text: str) -> None:
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
        report = measure(Path(made), arguments, _say)
    print(tables(report))
    print(f"\n{report.seconds:.0f} s in all")
    if arguments.write:
        arguments.write.parent.mkdir(parents=True, exist_ok=True)
        arguments.write.write_text(document(report))


if __name__ == "__main__":
    main()
