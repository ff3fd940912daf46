"""Mail and text messages that would have been sent, where no mail server or gateway is set.

They are entries of the log ``mailbox``: {"kind", "to", "subject", "body", "time_ms"}; anybody can follow it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Final, Literal

from sluiceway.core.store import Tx, View

MAILBOX: Final = "mailbox"


@dataclass(frozen=True, slots=True)
class Note:
    """One mail ("email") or text message ("sms"); ``to`` is an address or a phone number."""

    kind: Literal["email", "sms"]
    to: str
    subject: str
    body: str
    time_ms: int


class Outbox:
    """``kept_max`` is how many are kept; older ones are dropped."""

    def __init__(self, kept_max: int) -> None:
        self._kept_max = kept_max

    def put(self, tx: Tx, note: Note) -> int:
        """Keep ``note``; its number."""
        offset = tx.append(MAILBOX, asdict(note))
        if offset - tx.bounds(MAILBOX).first >= self._kept_max:
            tx.trim(MAILBOX, offset - self._kept_max + 1)
        return offset

    def list(self, view: View, limit: int = 100) -> list[Note]:
        """The newest ``limit``, the oldest of them first."""
        bounds = view.bounds(MAILBOX)
        start = max(bounds.first, bounds.next - limit)
        return [Note(**entry.value) for entry in view.read(MAILBOX, start, limit)]
