"""What a case is: an operation, told as a script that ``bench.load`` drives."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass
from itertools import cycle
from typing import ClassVar

from bench.load import Script
from bench.wire import Target

Made = dict[str, str]
TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }
)


@dataclass(frozen=True)
class Case:
    """``script`` is picklable work: a method of a module's class, given what ``prepare`` made."""

    name: ClassVar[str] = ""
    tree: ClassVar[bool] = False  # count the processes below the server, too
    moto: ClassVar[bool] = True  # moto_server can do it without more
    size: ClassVar[int] = 0  # bytes per operation, where MB/s say more
    base: ClassVar[str] = "echo 1 KiB"  # the echo that does the same to the HTTP stack
    connections: ClassVar[int] = 16
    warm: ClassVar[int] = 20  # operations before the clock starts

    @property
    def rows(self) -> tuple[str, ...]:
        """What its lines in the table are called; the last one is also measured on many connections."""
        return (self.name,)

    def prepare(self, target: Target) -> Made:
        """Make what the script needs."""
        return {}

    def script(self, target: Target, made: Made, worker: int) -> Script:
        """The operations of one connection, without end."""
        raise NotImplementedError


def repeat(wires: list[bytes], operations: int = 1) -> Script:
    """The same requests over and over."""
    for wire in cycle(wires):
        yield wire
        yield operations


def archive(text: str) -> bytes:
    """A function's code: ``main.py``."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        made.writestr("main.py", text)
    return buffer.getvalue()


class Maker:
    """``case.script`` with all but the worker's number given; survives the way to another process."""

    def __init__(self, case: Case, target: Target, made: Made) -> None:
        self._given: tuple[Case, Target, Made] = (case, target, made)

    def __call__(self, worker: int) -> Script:
        case, target, made = self._given
        return case.script(target, made, worker)
