"""From nothing to the first answer, and the memory of a server that has nothing to do."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bench.goal import Goal, at_most, number
from bench.load import check
from bench.server import environment, free_port, key_of
from bench.wire import Connection, Target

NAME = "start and idle memory"
ROUNDS, QUICK_ROUNDS = 5, 2
IDLE_S = 1.5  # until what runs after the start is done
MIB = 1 << 20


@dataclass
class Starts:
    """Seconds of each start, of an empty folder and of a filled one; bytes after the last ones."""

    first: list[float] = field(default_factory=list)
    again: list[float] = field(default_factory=list)
    filled: list[float] = field(default_factory=list)
    python: list[float] = field(default_factory=list)
    idle: dict[str, int] = field(default_factory=dict)
    used: dict[str, int] = field(default_factory=dict)
    keys: int = 0

    def goals(self) -> list[Goal]:
        """The issue's numbers."""
        base = f"`python -c pass` {number(min(self.python))} s"
        filled = [at_most(f"the same with {self.keys} objects", 0.7, min(self.filled), "s", _all(self.filled))]
        return [
            at_most("start to first answer, new folder", 0.7, min(self.first), "s", f"{_all(self.first)}; {base}"),
            at_most("start to first answer, folder in use", 0.7, min(self.again), "s", _all(self.again)),
            *(filled if self.filled else []),
            _memory("idle memory (resident set)", self.idle),
            _memory("the same after small PUT, GET and list", self.used),
        ]


def _all(seconds: list[float]) -> str:
    return "all: " + ", ".join(map(number, seconds))


def _memory(name: str, sizes: dict[str, int]) -> Goal:
    return at_most(
        name, 80, sizes["Rss"] / MIB, "MiB", f"of which its own and not shared: {number(sizes['Pss'] / MIB)} MiB"
    )


def measure(folder: Path, filled: tuple[Path, int] | None, quick: bool) -> Starts:
    """Starts by turns; ``filled`` is a data folder with many objects, and how many."""
    found = Starts(keys=filled[1] if filled else 0)
    _start(folder / "start", None)  # Python compiles what nobody has imported before
    for number_of in range(QUICK_ROUNDS if quick else ROUNDS):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", "pass"], check=True)
        found.python.append(time.perf_counter() - began)
        data = folder / f"start-{number_of}"
        found.first.append(_start(data, None))
        found.again.append(_start(data, found))
        if filled:
            found.filled.append(_start(filled[0], None))
    return found


def _start(data: Path, about: Starts | None) -> float:
    """Seconds from the process's beginning to a signed request's answer."""
    port = free_port()
    command = [sys.executable, "-m", "sluiceway", "up", "--data", str(data), "--port", str(port)]
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment(data.parent)) as process:
        try:
            target = first_answer(process, data, port, lambda target: target.wire("s3", "GET", "/"))
            taken = time.perf_counter() - began
            if about is not None:
                time.sleep(IDLE_S)
                about.idle = sizes_of(process.pid)
                _use(target)
                time.sleep(IDLE_S)
                about.used = sizes_of(process.pid)
            return taken
        finally:
            process.terminate()


def first_answer(process: subprocess.Popen[bytes], data: Path, port: int, request: Callable[[Target], bytes]) -> Target:
    """The server, as soon as it has answered ``request``; asked again every few milliseconds until somebody listens."""
    while process.poll() is None:
        connection = Connection(port, time.perf_counter)
        try:
            target = Target("sluiceway", port, process.pid, key_of(data))
            answer, _ = connection.ask(request(target))
        except (OSError, ValueError):
            time.sleep(0.003)
            continue
        check(answer)
        connection.close()
        return target
    raise RuntimeError("the server did not start")


def _use(target: Target) -> None:
    client = target.client("s3")
    client.create_bucket(Bucket="used")
    for count in range(20):
        client.put_object(Bucket="used", Key=str(count), Body=bytes(1024))
        client.get_object(Bucket="used", Key=str(count))["Body"].read()
    client.list_objects_v2(Bucket="used")


def sizes_of(pid: int) -> dict[str, int]:
    """Rss and Pss in bytes (proc(5), smaps_rollup)."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return {name: int(size) * 1024 for name, size in re.findall(r"^(Rss|Pss):\s+(\d+) kB", text, re.M)}
