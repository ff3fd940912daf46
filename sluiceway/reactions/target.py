"""What a kind of target is. One file per kind stands in ``reactions.targets``.

A target inside the store takes part in the transaction that advances the cursor: exactly once. A target
outside is called first and recorded afterwards: at least once, with an id that does not change.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from sluiceway.core.reaction import Letter, Reaction
from sluiceway.core.store import Entry, Tx


class DeliveryFailed(Exception):
    """A delivery did not succeed.

    ``permanent`` gives the event up at once. ``retry_after_ms`` overrides the retry policy's delay.
    ``counted=False`` leaves the tries as they were (a throttled function: only the age ends those tries).
    ``events`` is how many of an ordered batch it is about, from the first failed one; None: all the rest.
    """

    def __init__(
        self,
        reason: str,
        permanent: bool = False,
        *,
        retry_after_ms: int | None = None,
        counted: bool = True,
        events: int | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.permanent = permanent
        self.retry_after_ms = retry_after_ms
        self.counted = counted
        self.events = events


@dataclass(frozen=True, slots=True)
class Delivered:
    """A partly successful delivery: ``failed`` holds offset -> why. For an ordered reaction everything
    from the lowest failed offset is delivered again."""

    failed: Mapping[int, DeliveryFailed] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Attempt:
    """``tries`` failed ones came before this. ``now_ms`` is its time."""

    tries: int
    now_ms: int


class BaseTarget:
    """What both sorts of target share."""

    def letter(self, reaction: Reaction, entry: Entry, reason: str) -> Letter:
        """What is sent to the reaction's dead-letter queue: the event and why it was given up."""
        value = entry.value.decode("utf-8", "replace") if isinstance(entry.value, bytes) else entry.value
        body = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        return Letter(body, {"ErrorMessage": {"DataType": "String", "StringValue": reason[:1024] or "unknown"}})


class InStoreTarget(BaseTarget, ABC):
    """Delivers into the store, in the transaction that advances the cursor."""

    def cost(self, reaction: Reaction) -> int:
        """How many plain writes one delivery is worth: the writer is everybody's, so that what takes longer
        (a signature) comes in smaller portions."""
        return 1

    @abstractmethod
    def deliver(self, tx: Tx, reaction: Reaction, entry: Entry) -> None:
        """Record the effect of ``entry``.

        Raises a ``DomainError`` **before it wrote anything** if it can't; the event is then parked (or
        waits, if ordered) with the error's message as its reason.
        """


class OutwardTarget(BaseTarget, ABC):
    """Delivers to something outside the store.

    ``eager`` targets are part of this server and bound their own work: a reaction uses all of its concurrency at once.
    Somebody else's endpoint must answer first (see ``reactions.allowance``).
    """

    eager: ClassVar[bool] = False

    @abstractmethod
    async def deliver(self, reaction: Reaction, entries: Sequence[Entry], attempt: Attempt) -> Delivered | None:
        """Deliver ``entries`` (1 to ``reaction.batch_max``) and return when they arrived.

        None, or a ``Delivered`` without failures, means that all arrived. Raises ``DeliveryFailed`` if
        none did. Must bound its own time; may be cancelled at a stop.
        """

    async def close(self) -> None:
        """Let go of connections."""
