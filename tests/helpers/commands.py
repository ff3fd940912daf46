"""Commands as processes of their own, forked from one that has imported everything: the imports take a second."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["sluiceway.cli.app", "sluiceway.server", "boto3", "helpers.commands"])


def _child(arguments: list[str], environment: dict[str, str], folder: str, output: str) -> None:
    from sluiceway.cli.app import app

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

    def signal(self, number: int) -> int:
        """Its exit status after the signal."""
        os.kill(self.process.pid, number)
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
