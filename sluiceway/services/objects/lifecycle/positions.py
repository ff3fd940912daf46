"""How far the lifecycle run of a bucket has come.

The table ``lifecycle_runs`` (bucket) has it: a run begins when its day has begun, goes through the bucket in three
phases, and ends as "done". What a run does and how far it has come is one transaction, so a run that was cut off goes
on where it stood.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

from sluiceway.core.store import Part, Tx, View
from sluiceway.services.objects.rows import RUNS

Phase = Literal["objects", "versions", "uploads", "done"]
_NEXT: Final[dict[Phase, Phase]] = {"objects": "versions", "versions": "uploads", "uploads": "done", "done": "done"}


@dataclass(frozen=True, slots=True)
class Position:
    """``day_ms`` is the midnight that the run is for; ``after`` is the key of the row looked at last in the phase,
    without the bucket's part, empty at the phase's beginning."""

    day_ms: int
    phase: Phase = "objects"
    after: tuple[Part, ...] = ()

    def next_phase(self) -> Position:
        """The beginning of what comes next."""
        return Position(self.day_ms, _NEXT[self.phase])

    def to_json(self) -> dict[str, Any]:
        """The row."""
        return {"day_ms": self.day_ms, "phase": self.phase, "after": list(self.after)}


def position_of(view: View, bucket: str) -> Position | None:
    """Where the bucket's run is, None before the first one."""
    row = view.get(RUNS, (bucket,))
    return None if row is None else Position(row["day_ms"], row["phase"], tuple(row["after"]))


def keep_position(tx: Tx, bucket: str, position: Position) -> None:
    """Go on from here."""
    tx.put(RUNS, (bucket,), position.to_json())


def forget_position(tx: Tx, bucket: str) -> None:
    """Begin anew."""
    tx.delete(RUNS, (bucket,))
