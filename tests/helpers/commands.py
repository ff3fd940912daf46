"""Commands as processes of their own, forked from one that has imported everything: the imports take a second."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from helpers.server import ServerProcess, eventually

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["sluiceway.cli.app", "sluiceway.server", "boto3", "helpers.commands"])


def _die_with_the_tests() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGKILL)


def _child(arguments: list[str], environment: dict[str, str], folder: str, output: str) -> None:
    from sluiceway.cli.app import app

    os.setsid()
    threading.Thread(target=_die_with_the_tests, daemon=True).start()
    written = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for descriptor in (1, 2):
        os.dup2(written, descriptor)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    app(arguments, prog_name="sluiceway")


@dataclass
class Command:
    """One that runs. ``text()`` is what it has printed so far, to both of its streams."""

    process: Any
    output: Path

    def text(self) -> str:
        return self.output.read_text() if self.output.exists() else ""

    def has(self, *parts: str) -> bool:
        text = self.text()
        return all(part in text for part in parts)

    @property
    def pid(self) -> int:
        return int(self.process.pid)

    def poll(self) -> int | None:
        return None if self.process.exitcode is None else int(self.process.exitcode)

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def signal(self, number: int) -> int:
        """Its exit status after the signal."""
        self.send_signal(number)
        return self.wait()

    def wait(self, seconds: float = 60.0) -> int:
        self.process.join(seconds)
        if self.process.exitcode is None:
            self.process.kill()
            raise AssertionError(f"it did not end:\n{self.text()}")
        return int(self.process.exitcode)


def begin(environment: dict[str, str], folder: Path, *arguments: object) -> Command:
    """``sluiceway ARGUMENTS`` in ``folder``."""
    descriptor, output = tempfile.mkstemp(dir=folder, prefix="output-")
    os.close(descriptor)
    process = _CONTEXT.Process(
        target=_child, args=([str(item) for item in arguments], environment, str(folder), output)
    )
    process.start()
    return Command(process, Path(output))


def complete(environment: dict[str, str], folder: Path, *arguments: object) -> tuple[int, str]:
    """Its exit status, and what it printed."""
    made = begin(environment, folder, *arguments)
    began = time.monotonic()
    code = made.wait()
    assert time.monotonic() - began < 60
    return code, made.text()


class ForkedServer(ServerProcess):
    """As ``ServerProcess``, started in a fifth of the time."""

    def start(self, port: int = 0) -> ForkedServer:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SLUICEWAY_"))},
            "XDG_RUNTIME_DIR": str(self.data.parent),
            **self._environment,
        }
        made = begin(environment, self.data.parent, "up", "--data", self.data, "--port", port, *self._arguments)
        self.process = made  # type: ignore[assignment]
        return self._awaited(made)

    def ephemeral(self) -> ForkedServer:
        """Its folder is chosen by the server, and named in its first line."""
        home = self.data.parent
        made = begin(
            {**os.environ, "XDG_RUNTIME_DIR": str(home), "TMPDIR": str(home)}, home, "up", "--ephemeral", "--port", 0
        )
        self.process = made  # type: ignore[assignment]
        self._awaited(made)
        self.data = Path(made.text().split("its data in ")[1].split(". Ctrl-C")[0])
        return self

    def _awaited(self, made: Command) -> ForkedServer:
        found = eventually(
            lambda: re.search(r"Sluiceway is at (http\S+):(\d+), ", made.text()) or made.poll(), 30, 0.02
        )
        assert isinstance(found, re.Match), made.text()
        self.url, self.port = f"{found[1]}:{found[2]}", int(found[2])
        return self

    def text(self) -> str:
        made = self.process
        return made.text() if isinstance(made, Command) else ""

    def end(self) -> None:
        """At a test's end, whatever became of it."""
        if self.process is not None and self.process.poll() is None:
            self.kill()
