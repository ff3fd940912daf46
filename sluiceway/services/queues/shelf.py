"""One queue's messages within one transaction: every row is moved here, and counted. Theory: ``states``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sluiceway.config import QueueSettings
from sluiceway.core.store import Key, Tx, View
from sluiceway.services.queues.states import (
    AVAILABLE,
    BODIES,
    CHANGED,
    COUNTERS,
    DELAYED,
    GONE,
    IN_FLIGHT,
    INLINE_BYTES_MAX,
    MESSAGES,
    TRANSITIONS,
    Event,
)
from sluiceway.services.queues.values import Queue, Receipt, new_nonce

Row = dict[str, Any]  # id, sent_ms, receives, and more as ``messages.new_row`` and ``Shelf.take`` make it
Found = tuple[Key, Row]
# What follows the three counts in a row of counters: the next message's number, and a time before which none of the
# messages in flight or delayed is due (0: there is none), so that looking for them costs nothing most of the time.
_NEXT = 3
_DUE = 4


def counters(view: View, queue: Queue) -> list[int]:
    """How many messages are available, in flight and delayed; the next one's number; when the first may be due."""
    row: list[int] | None = view.get(COUNTERS, (queue.shelf,))
    return row if row is not None else [0, 0, 0, 0, 0]


class Shelf:
    """A standard queue's. ``close`` writes what was counted; without it nothing else may be kept either."""

    def __init__(self, tx: Tx, queue: Queue, limits: QueueSettings) -> None:
        self.queue = queue
        self._tx = tx
        self._limits = limits
        self._shelf = queue.shelf
        self._counts = counters(tx, queue)
        self._before = self._counts.copy()

    def close(self) -> None:
        """Write the counters, if they have changed."""
        if self._counts != self._before:
            self._tx.put(COUNTERS, (self._shelf,), self._counts)

    @property
    def _kept_ms(self) -> int:
        return self.queue.number("MessageRetentionPeriod", self._limits.retention_s) * 1000

    @property
    def in_flight(self) -> int:
        """Messages that are received and not deleted."""
        return self._counts[IN_FLIGHT]

    @property
    def next_number(self) -> int:
        """What the next message will be called."""
        return self._counts[_NEXT]

    # -- coming in

    def add(self, row: Row, at_ms: int, state: int = AVAILABLE) -> int:
        """A message that was not here before; its number."""
        number = self._counts[_NEXT]
        self._counts[_NEXT] += 1
        self._counts[state] += 1
        if state != AVAILABLE:
            self._expect(at_ms)
        if _is_large(row):
            self._tx.put(BODIES, (self._shelf, number), {name: row.pop(name) for name in _CONTENT if name in row})
            row["beside"] = 1
        self._tx.put(MESSAGES, self._key(state, at_ms, number, row), row)
        return number

    def _key(self, state: int, at_ms: int, number: int, row: Row) -> Key:
        return (self._shelf, state, at_ms, number)

    # -- transitions

    def _move(self, event: Event, found: Found, at_ms: int) -> None:
        """To the state that ``event`` leads to, there at ``at_ms``."""
        key, row = found
        state, number = int(key[1]), int(key[3])
        after = TRANSITIONS[state, event]
        self._counts[state] -= 1
        self._tx.delete(MESSAGES, key)
        if after == GONE:
            if "changed" in row:
                self._tx.delete(CHANGED, (self._shelf, number))
            if "beside" in row:
                self._tx.delete(BODIES, (self._shelf, number))
            return
        self._counts[after] += 1
        if after == IN_FLIGHT:
            self._expect(at_ms)
        self._tx.put(MESSAGES, self._key(after, at_ms, number, row), row)

    def _expect(self, due_ms: int) -> None:
        self._counts[_DUE] = min(self._counts[_DUE] or due_ms, due_ms)

    def drop(self, event: Event, found: Found) -> None:
        """The message is gone."""
        self._move(event, found, 0)

    def hide(self, found: Found, until_ms: int) -> None:
        """A message in flight stays hidden until then."""
        key, row = found
        row["changed"] = 1
        self._move(Event.HIDDEN, found, until_ms)
        self._tx.put(CHANGED, (self._shelf, int(key[3])), until_ms)

    def give_back(self, limit: int) -> int:
        """Put up to ``limit`` messages that are due among the available ones; how many were due."""
        if not self._counts[_DUE] or self._counts[_DUE] > self._tx.now_ms:
            return 0
        due = 0
        for state in (IN_FLIGHT, DELAYED):
            end = (self._shelf, state, self._tx.now_ms + 1)
            for found in list(self._tx.scan(MESSAGES, prefix=end[:2], end=end, limit=limit - due)):
                due += 1
                expired = self.is_expired(found[1])
                self._move(Event.EXPIRED if expired else Event.DUE, found, int(found[0][2]))
        self._counts[_DUE] = _first_hidden_ms(self._tx, self.queue) or 0
        return due

    def take(self, count: int, hidden_ms: int, bury: Callable[[Shelf, Found], bool]) -> list[tuple[Receipt, Row]]:
        """Receive up to ``count`` messages; ``bury`` takes away what is to be dead-lettered instead, and says so."""
        self.give_back(self._limits.due_max)
        self._settle()
        taken: list[tuple[Receipt, Row]] = []
        passed = 0
        while len(taken) < count and passed < self._limits.due_max:
            candidates = self._candidates(count - len(taken))
            if not candidates:
                break
            for found in candidates:
                if self.is_expired(found[1]):
                    self.drop(Event.EXPIRED, found)
                    passed += 1
                elif bury(self, found):
                    passed += 1
                else:
                    taken.append(self._lend(found, hidden_ms))
            self._settle()
        if not taken and passed:  # there may be more behind them
            self._tx.on_commit(f"queue/{self.queue.name}")
        return taken

    def _lend(self, found: Found, hidden_ms: int) -> tuple[Receipt, Row]:
        key, row = found
        now_ms, number = self._tx.now_ms, int(key[3])
        row["nonce"] = nonce = new_nonce()
        row["taken_ms"] = now_ms
        row["receives"] += 1
        row.setdefault("first_ms", now_ms)
        if row.pop("changed", 0):
            self._tx.delete(CHANGED, (self._shelf, number))
        self._move(Event.RECEIVED, found, now_ms + hidden_ms)
        return Receipt(self.queue.id, now_ms + hidden_ms, number, nonce), self.whole(found)

    def _candidates(self, count: int) -> list[Found]:
        """The next messages to receive; they are moved away before more are asked for."""
        if not self._counts[AVAILABLE]:
            return []
        return list(self._tx.scan(MESSAGES, prefix=(self._shelf, AVAILABLE), limit=count))

    def _settle(self) -> None:
        """Bring up to date what depends on the messages moved."""

    # -- looking

    def find(self, receipt: Receipt) -> Found | None:
        """The message that a receipt handle means: if this was its latest reception, and it is still here."""
        found = self._at(receipt, receipt.until_ms)
        if found is None:
            until_ms = self.changed_ms(receipt)
            found = self._at(receipt, until_ms) if until_ms is not None else None
        return found

    def changed_ms(self, receipt: Receipt) -> int | None:
        """Until when the message was hidden by a change of its visibility, if there was one in its last reception."""
        changed: int | None = self._tx.get(CHANGED, (self._shelf, receipt.number))
        return changed

    def _at(self, receipt: Receipt, until_ms: int) -> Found | None:
        for state in (IN_FLIGHT, AVAILABLE):
            key = (self._shelf, state, until_ms, receipt.number)
            row = self._tx.get(MESSAGES, key)
            if row is not None and row.get("nonce") == receipt.nonce:
                return key, row
        return None

    def whole(self, found: Found) -> Row:
        """The row with its body, wherever that stands."""
        key, row = found
        if "beside" not in row:
            return row
        content: Row = self._tx.get(BODIES, (self._shelf, int(key[3]))) or {}
        return {**row, **content}

    def available_after(self, key: Key | None, limit: int) -> list[Found]:
        """Available messages from the front, or after ``key``, in the order of their keys."""
        start = (*key, 0) if key is not None else None
        return list(self._tx.scan(MESSAGES, prefix=(self._shelf, AVAILABLE), start=start, limit=limit))

    def is_expired(self, row: Row) -> bool:
        """Whether a message is too old to be received, though nobody has cleared it away yet."""
        return bool(row["sent_ms"] + self._kept_ms <= self._tx.now_ms)

    # -- retention

    def expire(self, limit: int) -> int:
        """Drop up to ``limit`` available messages that are too old; how many.

        They stand in the order in which they became available. What was given back late is dropped later: a message
        that is too old is never received, but may be counted for at most another retention period.
        """
        end = (self._shelf, AVAILABLE, self._tx.now_ms - self._kept_ms + 1)
        old = list(self._tx.scan(MESSAGES, prefix=end[:2], end=end, limit=limit))
        for found in old:
            self.drop(Event.EXPIRED, found)
        return len(old)


_CONTENT = ("body", "attributes")


def _is_large(row: Row) -> bool:
    size = len(row["body"])
    if "attributes" in row:
        size += sum(len(name) + sum(map(len, value.values())) for name, value in row["attributes"].items())
    return size > INLINE_BYTES_MAX


def next_due_ms(view: View, queue: Queue) -> int | None:
    """When something can be received from a standard queue at the earliest; None if it is empty."""
    counts = counters(view, queue)
    if counts[AVAILABLE]:
        return view.now_ms
    return _first_hidden_ms(view, queue) if counts[_DUE] else None


def ready(view: View, queue: Queue, most: int) -> tuple[int, int | None]:
    """How many messages of a standard queue are available or due, and when the next one is due."""
    counts = counters(view, queue)
    if not counts[_DUE] or counts[_DUE] > view.now_ms:
        return counts[AVAILABLE], counts[_DUE] or None
    due = sum(due_counts(view, queue, state, most) for state in (IN_FLIGHT, DELAYED))
    return counts[AVAILABLE] + due, _first_hidden_ms(view, queue, view.now_ms + 1)


def _first_hidden_ms(view: View, queue: Queue, begin_ms: int = 0) -> int | None:
    """When the first message that is in flight or delayed is due, at or after ``begin_ms``."""
    firsts = [first_ms(view, queue, state, begin_ms) for state in (IN_FLIGHT, DELAYED)]
    return min((first for first in firsts if first is not None), default=None)


def first_ms(view: View, queue: Queue, state: int, begin_ms: int) -> int | None:
    """When the first message of a state is due, at or after ``begin_ms``."""
    prefix = (queue.shelf, state)
    for key, _ in view.scan(MESSAGES, prefix=prefix, start=(*prefix, begin_ms), limit=1):
        return int(key[2])
    return None


def due_counts(view: View, queue: Queue, state: int, limit: int) -> int:
    """How many messages of a state are due, up to ``limit``."""
    end = (queue.shelf, state, view.now_ms + 1)
    return sum(1 for _ in view.scan(MESSAGES, prefix=end[:2], end=end, limit=limit))
