"""The log on standard error: readable lines or JSON, and no more of one kind than a reader can use."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, TextIO

from sluiceway.config import Settings

_KINDS_MAX: Final = 1000  # told apart in a second


class _Lines(logging.Formatter):
    """One readable line for each record; a traceback follows on lines of its own."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        """Names without the package in front."""
        record.name = record.name.removeprefix("sluiceway.")
        return super().format(record)


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """One JSON object a line."""
        row = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            row["exception"] = self.formatException(record.exc_info)
        return json.dumps(row, ensure_ascii=False)


class BoundedHandler(logging.StreamHandler[TextIO]):
    """At most ``most`` records of one kind (logger and text, before its arguments) in a second. Where a disk is full, each
    request is refused and says so, and a log on that disk would fill it again. How many were left out is told with the
    next record after that second.
    """

    def __init__(self, stream: TextIO, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(stream)
        self._most = most
        self._clock = clock
        self._second = -1
        self._seen: dict[tuple[str, str], int] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Called with the handler's lock held."""
        second = int(self._clock())
        if second != self._second:
            seen, self._seen, self._second = self._seen, {}, second
            for (name, text), count in seen.items():
                if count > self._most:
                    left_out = f"{count - self._most} more like this were left out: {text}"
                    super().emit(logging.LogRecord(name, logging.WARNING, "", 0, left_out, None, None))
        kind = record.name, str(record.msg)
        if len(self._seen) >= _KINDS_MAX and kind not in self._seen:
            kind = "sluiceway", "(of many kinds)"
        self._seen[kind] = count = self._seen.get(kind, 0) + 1
        if count <= self._most:
            super().emit(record)


def configure(settings: Settings) -> None:
    """The log of this process."""
    handler = BoundedHandler(sys.stderr, settings.log_repeats_max)
    handler.setFormatter(_Json() if settings.log_format == "json" else _Lines())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.captureWarnings(True)
    logging.getLogger("sluiceway").setLevel(settings.log_level.upper())
