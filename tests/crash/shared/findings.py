"""What is wrong, collected, so that one run tells all of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from shared.producers import Sent, number_of, producer_of

_SHOWN = 5


class Findings:
    """``wrong`` has a line for each rule that was broken, with examples."""

    def __init__(self) -> None:
        self.wrong: list[str] = []

    def none(self, what: str, found: Iterable[Any]) -> None:
        """``found`` must be empty."""
        some = list(found)
        if some:
            self.wrong.append(f"{what}: {len(some)}, such as {some[:_SHOWN]}")

    def counted(self, what: str, sent: Sent, found: Counter[str]) -> None:
        """Acknowledged ids are there; no id more often than it was sent, and none that was never sent."""
        self.none(f"{what} lost", (name for name in sent.acknowledged if not found[name]))
        self.none(f"{what} more often than sent", (name for name, n in found.items() if n > sent.tries.get(name, 0)))

    def in_order(self, what: str, names: Iterable[str]) -> None:
        """Each producer sent its numbers one after the other, so they come first in this order."""
        last: dict[str, int] = {}
        wrong, seen = [], set()
        for name in names:
            if name not in seen and number_of(name) < last.get(producer_of(name), -1):
                wrong.append(name)
            seen.add(name)
            last[producer_of(name)] = max(number_of(name), last.get(producer_of(name), -1))
        self.none(f"{what} out of order", wrong)
