"""How many deliveries of a reaction may be under way: its concurrency, once its target has shown that it answers.

A target that hangs holds a connection, memory and a place among all deliveries for each of them until its time is over.
So a reaction begins with two; each success allows one more, up to its concurrency, and a failure takes it back to one,
which is the probe that finds out when the target is back. What one dead target holds is two places, and then one,
however many events wait for it.
"""

from __future__ import annotations

from typing import Final

_FIRST: Final = 2


class Allowances:
    """By reaction, in memory: a start begins with two again."""

    def __init__(self) -> None:
        self._allowed: dict[str, int] = {}

    def of(self, reaction_id: str, concurrency: int) -> int:
        """Deliveries that may be under way now."""
        return max(1, min(concurrency, self._allowed.get(reaction_id, _FIRST)))

    def succeeded(self, reaction_id: str, concurrency: int) -> None:
        """A delivery has arrived."""
        allowed = self._allowed.get(reaction_id, _FIRST)
        if allowed < concurrency:
            self._allowed[reaction_id] = allowed + 1

    def failed(self, reaction_id: str) -> None:
        """The target did not answer, or says that it can't now."""
        self._allowed[reaction_id] = 1

    def forget(self, reaction_id: str) -> None:
        """The reaction is gone."""
        self._allowed.pop(reaction_id, None)
