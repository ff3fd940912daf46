"""The servers side by side: Sluiceway, moto_server and a bare echo, each a process of its own."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from bench.wire import Target

START_S = 60.0
SECRET_PREFIXES = ("AWS_", "SLUICEWAY_")
Starting = Callable[[], Target]  # waits until it listens; so all start at once


def environment(folder: Path) -> dict[str, str]:
    """Without what would change a server's ways or where it is found."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(SECRET_PREFIXES)}
    kept.pop("PYTHONDONTWRITEBYTECODE", None)  # it would have every start compile every module again
    return kept | {"XDG_RUNTIME_DIR": str(folder), "PYTHONUNBUFFERED": "1"}


@contextmanager
def _process(
    command: list[str], folder: Path, name: str, settings: Mapping[str, str] | None = None
) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    log = folder / f"{name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *command],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment(folder) | dict(settings or {}),
        )
    try:
        yield process, log
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(process: subprocess.Popen[bytes], log: Path, port: int) -> int:
    """Until the process listens; ``port`` 0 is found in what it prints."""
    ends = time.monotonic() + START_S
    while time.monotonic() < ends and process.poll() is None:
        match = re.search(r"^Sluiceway is at http\S+:(\d+), ", log.read_text(), re.M)
        found = port or (int(match[1]) if match else 0)
        if found:
            try:
                socket.create_connection(("127.0.0.1", found), 1).close()
            except OSError:
                pass
            else:
                return found
        time.sleep(0.05)
    raise RuntimeError(f"{process.args!r} did not start:\n{log.read_text()[-3000:]}")


def free_port() -> int:
    """A TCP port that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def key_of(data: Path) -> tuple[str, str]:
    """The root key of a data folder."""
    row = json.loads((data / "root-key.json").read_text())
    return row["access_key_id"], row["secret_access_key"]


@contextmanager
def sluiceway(
    folder: Path, profile: Path | None = None, name: str = "data", settings: Mapping[str, str] | None = None
) -> Iterator[Starting]:
    """A server with the data folder ``name``; with ``profile``, cProfile's numbers of its main thread go there."""
    data = folder / name
    under = ["-m", "cProfile", "-o", str(profile)] if profile else []
    command = [*under, "-m", "sluiceway", "up", "--data", str(data), "--port", "0"]
    with _process(command, folder, f"sluiceway-{name}", settings) as (process, log):

        def started() -> Target:
            port = _wait(process, log, 0)
            return Target("sluiceway", port, process.pid, key_of(data))

        yield started


@contextmanager
def moto(folder: Path) -> Iterator[Starting]:
    """moto_server: in memory, checks no signature."""
    port = free_port()
    with _process(["-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], folder, "moto") as (process, log):
        yield lambda: Target("moto", _wait(process, log, port), process.pid)


@contextmanager
def echo(folder: Path) -> Iterator[Starting]:
    """The least that a Python server can do with the same HTTP stack."""
    port = free_port()
    command = ["-m", "uvicorn", "bench.echo:application", "--host", "127.0.0.1", "--port", str(port), "--http",
               "httptools", "--loop", "uvloop", "--no-access-log", "--log-level", "warning"]  # fmt: skip
    with _process(command, folder, "echo") as (process, log):
        yield lambda: Target("echo", _wait(process, log, port), process.pid)
