"""A reaction made ready to run, and what running it needs."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sluiceway.config import ReactionSettings
from sluiceway.core.clock import Clock
from sluiceway.core.reaction import DeadLetter, Parked, Reaction
from sluiceway.core.store import Entry, Store
from sluiceway.reactions.allowance import Allowances
from sluiceway.reactions.target import DeliveryFailed, InStoreTarget, OutwardTarget
from sluiceway.services.pressure import Pressure
from sluiceway.services.reactions import Reactions


@dataclass(frozen=True, slots=True)
class Armed:
    """A reaction with its filter compiled (None: everything matches) and its target found."""

    reaction: Reaction
    target: InStoreTarget | OutwardTarget
    matches: Callable[[Any], bool] | None

    def wants(self, entry: Entry) -> bool:
        """Whether the filter lets ``entry`` through."""
        return self.matches is None or self.matches(entry.value)


@dataclass(slots=True)
class DispatcherStats:
    """What the dispatcher counts since its start. ``in_flight`` holds reaction id -> running deliveries."""

    delivered: int = 0
    failed: int = 0
    dead: int = 0
    commits: int = 0
    errors: int = 0
    last_error: str = ""
    in_flight: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Context:
    """What every runner shares."""

    store: Store
    reactions: Reactions
    limits: ReactionSettings
    clock: Clock
    stats: DispatcherStats
    pressure: Pressure | None = None
    chance: random.Random = field(default_factory=random.Random)
    allowances: Allowances = field(default_factory=Allowances)


def next_step(
    reaction: Reaction,
    entry: Entry,
    tries: int,
    since_ms: int,
    failure: DeliveryFailed,
    now_ms: int,
    chance: float,
) -> Parked | DeadLetter:
    """What becomes of ``entry`` after a failure: its next try, or its end.

    ``tries`` failed ones came before; ``since_ms`` is when the event's age began to count.
    """
    tries += 1 if failure.counted else 0
    exhausted = reaction.retry.exhausted(tries, now_ms - since_ms)
    if failure.permanent or exhausted:
        return DeadLetter(entry.offset, entry.time_ms, entry.value, tries, failure.reason, now_ms)
    delay_ms = failure.retry_after_ms
    if delay_ms is None:
        delay_ms = reaction.retry.delay_ms(max(tries, 1), chance)
    return Parked(entry.offset, now_ms + delay_ms, tries, since_ms, entry.time_ms, entry.value, failure.reason)
