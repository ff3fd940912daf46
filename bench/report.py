"""Percentiles, and the tables that are printed and kept."""

from __future__ import annotations

import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from bench.goal import HEAD as GOAL_HEAD
from bench.goal import Goal
from bench.load import Run

if TYPE_CHECKING:
    from bench.calibrate import Machine

HEAD: Final[Sequence[str]] = (
    "operation", "fsync p50", "p50 ms", "p95 ms", "per s", "CPU ms/op", "CPU / echo",
    "moto p50 ms", "moto p95 ms", "moto per s", "moto CPU ms/op", "p50 / moto", "CPU / moto",
)  # fmt: skip


@dataclass
class Row:
    """A case's runs: one connection (``one``), many (``many``), and the same against moto and against the echo."""

    name: str
    one: Run
    many: Run | None = None
    moto_one: Run | None = None
    moto_many: Run | None = None
    echo: Row | None = None
    size: int = 0
    sync: list[float] = field(default_factory=list)

    def add(self, again: Row) -> None:
        """The same, measured once more."""
        self.one += again.one
        if self.many and again.many:
            self.many += again.many


@dataclass
class Report:
    rows: list[Row] = field(default_factory=list)
    echoes: list[Row] = field(default_factory=list)
    goals: list[Goal] = field(default_factory=list)
    machine: Machine | None = None
    quick: bool = False
    rounds: str = ""
    seconds: float = 0.0
    cpu: str = ""


def percentile(values: Sequence[float], at: int) -> float:
    """The nearest-rank percentile, in milliseconds for seconds."""
    ordered = sorted(values)
    return 1000 * ordered[min(len(ordered) - 1, (len(ordered) * at) // 100)] if ordered else 0.0


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _speed(row: Row, run: Run | None) -> str:
    if run is None or not run.operations:
        return ""
    speed = f" ({_number(run.per_s * row.size / 1e6)} MB/s)" if row.size else ""
    return _number(run.per_s) + speed


def _ratio(ours: float, theirs: float) -> str:
    return _number(ours / theirs) if ours and theirs else ""


def _latency(run: Run | None) -> list[str]:
    return [_number(percentile(run.latencies, at)) if run else "" for at in (50, 95)]


def _cpu(run: Run | None) -> float:
    return run.cpu_ms if run else 0.0


def _cells(row: Row) -> list[str]:
    cpu, moto = _cpu(row.many), _cpu(row.moto_many)
    medians = [percentile(run.latencies, 50) if run else 0.0 for run in (row.one, row.moto_one)]
    return [
        row.name, _number(percentile(row.sync, 50)) if row.sync else "", *_latency(row.one), _speed(row, row.many), _number(cpu) if cpu else "",
        _ratio(cpu, _cpu(row.echo.many) if row.echo else 0.0), *_latency(row.moto_one), _speed(row, row.moto_many),
        _number(moto) if moto else "", _ratio(*medians), _ratio(cpu, moto),
    ]  # fmt: skip


def _table(head: Sequence[str], rows: list[list[str]]) -> str:
    widths = [max(len(line[n]) for line in [list(head), *rows]) for n in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        padded = [cells[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(cells[1:], widths[1:], strict=True))]
        return f"| {' | '.join(padded)} |"

    rule = "|".join(["", "-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:]), ""])
    return "\n".join([line(head), rule, *map(line, rows)])


def tables(report: Report) -> str:
    """Both tables: what this machine can do, and what the operations cost."""
    parts = []
    if machine := report.machine:
        pairs = [
            (f"4 KiB write + fdatasync ({machine.filesystem})", machine.fsync_ms),
            ("spawn of `python -c pass`", machine.spawn_ms),
        ]
        rows = [[name, _number(p50), _number(p95), "", ""] for name, (p50, p95) in pairs]
        rows += [[f"{name}, one thread", "", "", f"{_number(speed)} MB/s", ""]
                 for name, speed in (("MD5", machine.md5_mb_s), ("SHA-256", machine.sha256_mb_s))]  # fmt: skip
        rows += [[row.name, *_cells(row)[2:6]] for row in report.echoes]
        parts.append(_table(["calibration", *HEAD[2:6]], rows))
    if report.rows:
        parts.append(_table(HEAD, [_cells(row) for row in report.rows]))
    failed = sum(run.failed for row in report.rows for run in (row.moto_one, row.moto_many) if run)
    if failed:
        parts.append(f"moto_server answered {failed} requests 5xx; they were asked again, on the operation's time.")
    if report.goals:
        parts.append(_table(GOAL_HEAD, [goal.cells() for goal in report.goals]))
    return "\n\n".join(parts)


def document(report: Report) -> str:
    """The page that is kept: tables, and how to read them."""
    kind = "`python -m bench --quick`" if report.quick else "`make bench`"
    return f"""# Benchmarks

Written by `python -m bench --write docs/benchmarks.md`; don't edit. Measured by {kind} on {time.strftime("%Y-%m-%d")}
in {report.seconds:.0f} s: {report.cpu}, {platform.system()} {platform.release()}, Python {platform.python_version()}.

Everything runs on one machine, at the same time as whatever else runs there. Compare ratios, not milliseconds: each
row stands beside calibrations and beside moto_server of the same run, by turns in {report.rounds} of each. The disk of a
shared machine changes from second to second: *fsync p50* is what 4 KiB and fdatasync took around the very row.

{tables(report)}

## What is measured

- **Client.** Raw sockets, one keep-alive connection (`bench/wire.py`). Requests are signed beforehand by botocore's
  Signature Version 4 with the payload's hash, so the client's cost is a `send` and a `recv`; the server checks every
  signature. A delete from a queue is signed when its handle is known, outside of any latency.
- **p50, p95**: one request after the other on one connection. **per s**: sixteen connections at once from a process of
  their own (uvloop); 32 where a number is asked for below (objects of 1 KiB, sends, receives). **CPU ms/op**: user and
  system time of the server process during that (proc(5)); for the warm invoke also that of the functions' processes. The
  loads share the machine's {report.cpu.split(",")[0]} with the server.
- **Calibrations.** `echo` is the least that an ASGI application does on uvicorn (httptools, uvloop), asked by the same
  client: 1 KiB there and back; 1 MiB in and 2 bytes out; 10 MiB out. *CPU / echo* divides by the echo that moves as
  many bytes. The `fdatasync` loop writes to the folder that holds the server's data.
- **moto_server** ({_moto_version()}) keeps everything in memory, syncs nothing and checks no signature; Sluiceway
  answers once a write is on the disk. Its function runtime needs Docker, so it has no number for invokes.
- **SNS publish**: a long poll waits at the queue before the publish. *acknowledged* ends with the publish's answer,
  *received* with the poll's. At 16 connections each one publishes, receives a message and deletes it, and the CPU is
  that of all three.
- **SQS** is the sum of three requests. **PutRecords** sends 100 records of 100 bytes in each request.
- **Upload acknowledged to WebSocket**: bucket, topic, Python function, `post_to_connection` by boto3, the client's
  socket. It starts with the answer to a PUT of 1 KiB and ends when the client has the message.

The last table holds the numbers that the object service and delivery are to reach. They are meant for a quiet machine;
*by ratio* is reached as a share of moto_server's CPU in the same run, of which the share that is asked for is known (2.0
ms for a PUT, 1.8 for a GET, 8.8 for a send where the numbers come from).

- **Large object.** One client sends it through a presigned URL and reads it back, calibration and server by turns; rates
  are the best of the rounds. The calibration of the PUT is one thread that hashes a file of that size with MD5, writes it
  to the same disk and syncs it; that of the GET is a process that reads the very file and sends it, 256 KiB at a time
  (`bench/bare.py`). Memory is the peak of the resident set (proc(5), VmHWM) above what it was before. The others are
  small PUTs and GETs in turn, 125 a second, each at its time; what the one before delays counts.
- **Pages.** ListObjectsV2 on one connection, at the beginning, in the middle and at the end of a bucket. It is filled
  through the store's port before the server opens it (`bench/fill.py`): the object service puts the first object, the
  others are its row under other names. The most is allowed that this can tell from "the same".
- **Delivery.** A publish of 256 bytes to queues that all subscribe to its topic ends when the server has counted the last
  copy. Publishes come on sixteen connections; processor time and clock run until the last message is in its queue, a raw
  one or one in SNS's envelope, which is signed (0.27 ms) when it is received. An upload of 1 KiB starts at its time, 200 a
  second, and ends when the subscribed webhook has the request: from the acknowledgement.
- **Waiting messages.** They are put into the database while no server has it open. Then it is started, from the process's
  beginning to the answer of a signed ReceiveMessage, the best of the rounds; memory is compared 1.5 s after a thousand
  sends, receives and deletes, with that queue and before it was filled.
- **Start.** From the process's beginning to the answer of a signed ListBuckets, the best of the rounds. Memory is that of
  a server 1.5 s later, and after it was used a little.
"""


def _moto_version() -> str:
    from importlib.metadata import version

    return version("moto")
