"""What a worker prints: gathered into lines, kept as the invocation's tail, and committed in small groups."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from sluiceway.config import FunctionSettings
from sluiceway.errors import DomainError

log = logging.getLogger(__name__)

_TAIL_BYTES: Final = 4096  # Invoke's LogResult
_READ_BYTES: Final = 64 * 1024


class Output:
    """``commit`` keeps lines; a worker that prints faster than they can be kept waits on its pipe."""

    def __init__(self, commit: Callable[[Sequence[str]], Awaitable[None]], limits: FunctionSettings) -> None:
        self._commit = commit
        self._limits = limits
        self._partial = b""
        self._waiting: list[str] = []
        self._waiting_bytes = 0
        self._tail: deque[bytes] = deque()
        self._tail_bytes = 0
        self._flushing: asyncio.Task[None] | None = None

    async def read(self, reader: asyncio.StreamReader) -> None:
        """Take everything until the pipe closes."""
        while data := await reader.read(_READ_BYTES):
            self.feed(data)
            if self._waiting_bytes > self._limits.log_waiting_bytes_max:
                await self.flush()
        if self._partial:
            self.feed(b"\n")

    def feed(self, data: bytes) -> None:
        """Bytes that were printed."""
        self._keep_tail(data)
        *lines, self._partial = (self._partial + data).split(b"\n")
        if len(self._partial) > self._limits.log_line_bytes_max:
            lines.append(self._partial)
            self._partial = b""
        for line in lines:
            self._add(line[: self._limits.log_line_bytes_max].decode("utf-8", "replace"))

    def say(self, line: str) -> None:
        """A line of the server's own (START, END, REPORT)."""
        self._keep_tail(line.encode() + b"\n")
        self._add(line)

    def begin(self) -> None:
        """A new invocation: its tail is empty."""
        self._tail.clear()
        self._tail_bytes = 0

    def tail(self) -> bytes:
        """The last 4 KiB since ``begin``."""
        return b"".join(self._tail)[-_TAIL_BYTES:]

    async def flush(self) -> None:
        """Commit what waits. A store that refuses costs lines, not the function."""
        lines, self._waiting, self._waiting_bytes = self._waiting, [], 0
        if not lines:
            return
        try:
            await self._commit(lines)
        except DomainError as error:
            log.warning("%d log lines of a function are lost: %s", len(lines), error.message)

    def _add(self, line: str) -> None:
        self._waiting.append(line)
        self._waiting_bytes += len(line) + 1
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.get_running_loop().create_task(self._later())

    async def _later(self) -> None:
        await asyncio.sleep(self._limits.log_delay_s)
        while self._waiting:
            await self.flush()

    def _keep_tail(self, data: bytes) -> None:
        self._tail.append(data[-_TAIL_BYTES:])
        self._tail_bytes += len(self._tail[-1])
        while self._tail_bytes - len(self._tail[0]) >= _TAIL_BYTES:
            self._tail_bytes -= len(self._tail.popleft())
