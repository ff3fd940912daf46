"""What follows a commit: the values of a reaction, and the pure rules of its retries.

A reaction is a cursor on a log, a filter, a target, a retry policy and a dead-letter place. Its rows are
kept by ``services.reactions``; the dispatcher in ``reactions`` carries it out.

An event's life in one reaction. Every step but the first two is one transaction with the cursor:

| state     | where it is                              | leaves it by                                            |
|-----------|------------------------------------------|---------------------------------------------------------|
| waiting   | in the log, at or above the cursor       | read: in flight, or settled at once if the filter says no |
| in flight | in memory; after a crash it is waiting   | success: delivered; failure: parked, or dead            |
| parked    | a row of "parked", with its reason       | its time comes: in flight again                         |
| delivered | below the cursor (or in "done" above it) | a replay: waiting                                       |
| dead      | a message in the reaction's dead-letter  | a redrive (of rows): parked and due; a discard: gone    |
|           | queue, or a row of "dead_letters"        |                                                         |

In an ordered reaction a failed event is not parked: it stays waiting at the cursor, with its tries and its next
time in the cursor's row, and everything behind it waits, too.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Final, Literal

Backoff = Literal["linear", "arithmetic", "geometric", "exponential"]


@dataclass(frozen=True, slots=True)
class Target:
    """Where a reaction delivers. ``kind`` chooses the code ("queue", "http", "function", ...); ``address``
    is what that code understands (a queue's name, a URL); ``options`` are JSON and belong to the kind."""

    kind: str
    address: str
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how soon a failed delivery is tried again.

    The phases are those of SNS ("Amazon SNS message delivery retries"): ``immediate`` tries without delay,
    ``at_min`` tries after ``delay_min_ms``, then a backoff from ``delay_min_ms`` to ``delay_max_ms``, and
    the last ``at_max`` tries after ``delay_max_ms``. ``delays_ms``, where given, says every delay outright
    (the last one is repeated). ``tries_max`` counts the first delivery too; ``age_max_ms`` ends the tries
    of an event older than that (0: no such limit).

    ``jitter`` is the share of a delay that chance may take away, down to ``delay_min_ms``. By default all of it:
    what failed together, as its target was down, must not come back together ("full jitter", AWS Architecture
    Blog, "Exponential Backoff And Jitter"). A policy's minimum is a promise to the endpoint and holds.
    """

    tries_max: int = 10
    delay_min_ms: int = 1000
    delay_max_ms: int = 60_000
    age_max_ms: int = 0
    immediate: int = 0
    at_min: int = 0
    at_max: int = 0
    backoff: Backoff = "exponential"
    delays_ms: tuple[int, ...] = ()
    jitter: float = 1.0

    def exhausted(self, tries: int, age_ms: int) -> bool:
        """Whether an event that was tried ``tries`` times and is ``age_ms`` old is given up."""
        return tries >= self.tries_max or bool(self.age_max_ms and age_ms >= self.age_max_ms)

    def delay_ms(self, tries: int, chance: float) -> int:
        """Milliseconds until the next try after ``tries`` failed ones; ``chance`` is random in [0, 1)."""
        plain = self._plain_delay_ms(tries)
        floor = 0 if self.delays_ms else min(plain, self.delay_min_ms)
        return int(plain - (plain - floor) * self.jitter * chance)

    def _plain_delay_ms(self, tries: int) -> int:
        if self.delays_ms:
            return self.delays_ms[min(tries, len(self.delays_ms)) - 1]
        step = tries - self.immediate
        if step <= 0:
            return 0
        if step <= self.at_min:
            return self.delay_min_ms
        return self._backoff_ms(step - self.at_min)

    def _backoff_ms(self, step: int) -> int:
        """The ``step``-th delay (from 1) of the backoff phase."""
        steps = self.tries_max - 1 - self.immediate - self.at_min - self.at_max
        low, high = self.delay_min_ms, self.delay_max_ms
        if step > steps or low >= high:
            return high
        if self.backoff == "exponential":
            return int(min(high, low * 2 ** min(step - 1, 40)))
        share = (step - 1) / max(steps - 1, 1)
        if self.backoff == "geometric" and low > 0:
            return int(low * (high / low) ** share)
        if self.backoff == "arithmetic":
            share = share * (share + 1) / 2
        return int(low + (high - low) * share)


#: A function's asynchronous invocations (AWS Lambda Developer Guide, "Asynchronous invocation"): two more
#: tries, after one and two minutes, and an end after six hours.
ASYNCHRONOUS_INVOCATION: Final = RetryPolicy(
    tries_max=3, delays_ms=(60_000, 120_000), age_max_ms=6 * 3600 * 1000, jitter=0.0
)


@dataclass(frozen=True, slots=True)
class Reaction:
    """One subscription of one target to one log.

    ``filter`` is None (everything) or what ``core.filters.matcher`` understands. ``dead_letter`` is the ARN
    of a queue. ``ordered`` delivers in order and retries in place, so that what follows waits; otherwise a
    failed event is parked and the rest goes on. Up to ``concurrency`` deliveries of up to ``batch_max``
    events run at the same time (an ordered one runs one); ``batch_window_ms`` waits for a fuller batch.
    ``bisect`` halves an ordered batch that failed before it is tried again.
    """

    id: str
    log: str
    target: Target
    filter: dict[str, Any] | None = None
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    dead_letter: str | None = None
    ordered: bool = False
    batch_max: int = 1
    batch_window_ms: int = 0
    concurrency: int = 10
    paused: bool = False
    bisect: bool = False

    def to_json(self) -> dict[str, Any]:
        """As it is kept in the table "reactions"."""
        row = {item.name: getattr(self, item.name) for item in fields(self)}
        row["target"] = {
            "kind": self.target.kind,
            "address": self.target.address,
            "options": self.target.options,
        }
        row["retry"] = {item.name: getattr(self.retry, item.name) for item in fields(self.retry)}
        row["retry"]["delays_ms"] = list(self.retry.delays_ms)
        return row

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> Reaction:
        """The reaction that ``to_json`` wrote; fields that an older release didn't know get their default."""
        values = {**row, "target": Target(**row["target"])}
        retry = dict(row.get("retry") or {})
        retry["delays_ms"] = tuple(retry.get("delays_ms") or ())
        values["retry"] = RetryPolicy(**retry)
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Position:
    """A reaction's cursor row: everything below ``next`` is settled, and so are the offsets in ``done``.

    ``epoch`` changes when somebody moves the cursor by hand, so that a delivery that began before does not
    move it back. ``tries``, ``next_try_ms`` and ``batch`` are an ordered reaction's wait at its cursor.
    ``parked`` counts the rows in the table "parked", ``kept`` those in "dead_letters"; the last ones are for people.
    """

    next: int
    epoch: int
    done: tuple[int, ...] = ()
    tries: int = 0
    next_try_ms: int = 0
    batch: int = 0
    parked: int = 0
    kept: int = 0
    delivered: int = 0
    failed: int = 0
    dead: int = 0
    filtered: int = 0
    last_error: str = ""
    last_error_ms: int = 0

    def to_json(self) -> dict[str, Any]:
        """As it is kept in the table "cursors"; what is at its default is left out."""
        row = {item.name: getattr(self, item.name) for item in fields(self)}
        return {
            name: list(value) if name == "done" else value
            for name, value in row.items()
            if value or name in ("next", "epoch", "kept")
        }

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> Position:
        """The position that ``to_json`` wrote."""
        return cls(**{**row, "done": tuple(row.get("done", ()))})


@dataclass(frozen=True, slots=True)
class Parked:
    """An event whose delivery failed ``tries`` times and waits until ``next_try_ms``."""

    offset: int
    next_try_ms: int
    tries: int
    since_ms: int
    time_ms: int
    value: Any
    reason: str = ""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that was given up, with the reason of its last failure."""

    offset: int
    time_ms: int
    value: Any
    tries: int
    reason: str
    dead_ms: int


@dataclass(frozen=True, slots=True)
class Letter:
    """What is sent to a dead-letter queue. ``attributes`` are SQS message attributes
    ({"Name": {"DataType": "String", "StringValue": "..."}}). ``group`` is the message group in a FIFO queue; each
    reaction's letters are one of their own if it is empty. ``content`` is what of it counts against the queue's limit,
    the body if it is None: nothing is too large for its reason."""

    body: str
    attributes: dict[str, dict[str, Any]] = field(default_factory=dict)
    group: str = ""
    content: str | None = None


@dataclass(frozen=True, slots=True)
class ReactionStatus:
    """What an operator wants to know. ``oldest_age_ms`` is the age of the oldest event not yet settled (of the parked
    ones, that whose turn is next is looked at)."""

    reaction: Reaction
    position: Position
    lag: int
    oldest_age_ms: int
    next_try_ms: int | None

    @property
    def parked(self) -> int:
        """Events that wait for their next try."""
        return self.position.parked

    @property
    def dead_kept(self) -> int:
        """Events that were given up and are kept for a redrive."""
        return self.position.kept

    @property
    def attempts(self) -> int:
        """Deliveries that were tried, ever."""
        return self.position.delivered + self.position.failed
