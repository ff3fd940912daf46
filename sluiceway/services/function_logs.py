"""What functions print: one log per function, as CloudWatch Logs shows it (group ``/aws/lambda/NAME``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sluiceway.config import FunctionSettings
from sluiceway.core.store import Entry, Tx, View
from sluiceway.services.reactions import offset_at

GROUP: Final = "/aws/lambda/"
_TRIM_MAX: Final = 1000


def log_of(function: str) -> str:
    """The log that holds a function's lines."""
    return f"function-logs/{function}"


class FunctionLogs:
    """An entry is {"at": ms, "stream": NAME, "lines": [TEXT, ...]}: lines that were gathered together."""

    def __init__(self, limits: FunctionSettings) -> None:
        self._limits = limits

    def append(self, tx: Tx, function: str, stream: str, lines: Sequence[str]) -> None:
        """Keep ``lines``, and forget what is older than the retention."""
        log = log_of(function)
        tx.append(log, {"at": tx.now_ms, "stream": stream, "lines": list(lines)})
        bounds = tx.bounds(log)
        oldest = tx.read(log, bounds.first, 1)
        limit_ms = tx.now_ms - self._limits.log_kept_s * 1000
        if oldest and oldest[0].time_ms < limit_ms:
            tx.trim(log, min(offset_at(tx, log, limit_ms), bounds.first + _TRIM_MAX))

    def read(self, view: View, function: str, offset: int, limit: int) -> list[Entry]:
        """Entries from ``offset``."""
        return view.read(log_of(function), offset, limit)

    def start(self, view: View, function: str, time_ms: int | None) -> int:
        """The offset of the first entry at or after ``time_ms``."""
        log = log_of(function)
        return view.bounds(log).first if time_ms is None else offset_at(view, log, time_ms)

    def remove(self, tx: Tx, function: str) -> None:
        """Forget all lines."""
        tx.trim(log_of(function), tx.bounds(log_of(function)).next)


def events_of(entry: Entry) -> list[dict[str, Any]]:
    """The lines of an entry as events with ids that order them."""
    return [
        {
            "id": f"{entry.offset:020d}{number:06d}",
            "at": entry.value["at"],
            "stream": entry.value["stream"],
            "text": text,
        }
        for number, text in enumerate(entry.value["lines"])
    ]
