"""A FIFO queue's messages: the groups, and which of them can be received. Theory: ``states``.

SQS Developer Guide, "FIFO queue delivery logic": while a message of a group is in flight, no other of the group is
received; one reception may take several of a group, in their order.
"""

from __future__ import annotations

from sluiceway.config import QueueSettings
from sluiceway.core.store import Key, Tx, View
from sluiceway.services.queues.shelf import Found, Row, Shelf, counters, due_counts, first_ms
from sluiceway.services.queues.states import AVAILABLE, GROUPS, IN_FLIGHT, MESSAGES, READY, Event
from sluiceway.services.queues.values import Queue, Receipt

_NONE = -1  # no head


class GroupedShelf(Shelf):
    """A message's delay is the queue's own, and holds for what is in it already: so it is looked at when receiving,
    and no message of a FIFO queue is in the state DELAYED."""

    def __init__(self, tx: Tx, queue: Queue, limits: QueueSettings) -> None:
        super().__init__(tx, queue, limits)
        self._delay_ms = delay_ms(queue)
        self._touched: dict[str, list[int]] = {}  # group -> [in flight, head]

    def add(self, row: Row, at_ms: int, state: int = AVAILABLE) -> int:
        """See ``Shelf``. A group that waits already needs nothing more."""
        number = super().add(row, at_ms, AVAILABLE)
        key = (self._shelf, row["group"])
        if row["group"] not in self._touched and self._tx.get(GROUPS, key) is None:
            self._tx.put(GROUPS, key, [0, number])
            self._tx.put(READY, (self._shelf, number), [row["group"], row["sent_ms"]])
        return number

    def close(self) -> None:
        """See ``Shelf``."""
        self._settle()
        super().close()

    def _key(self, state: int, at_ms: int, number: int, row: Row) -> Key:
        return (self._shelf, state, row["group"] if state == AVAILABLE else at_ms, number)

    def _move(self, event: Event, found: Found, at_ms: int) -> None:
        key, row = found
        group = self._group(row["group"])
        group[0] += (event is Event.RECEIVED) - (key[1] == IN_FLIGHT and event is not Event.HIDDEN)
        super()._move(event, found, at_ms)

    def _group(self, name: str) -> list[int]:
        known = self._touched.get(name)
        if known is None:
            known = self._touched[name] = self._tx.get(GROUPS, (self._shelf, name)) or [0, _NONE]
        return known

    def _settle(self) -> None:
        """Each group moved in has its right head, and is ready only with a head."""
        for name, (in_flight, head) in self._touched.items():
            row = [in_flight, _NONE]
            if not in_flight:
                for key, first in self._tx.scan(MESSAGES, prefix=(self._shelf, AVAILABLE, name), limit=1):
                    row = [0, int(key[3])]
                    if row[1] != head:
                        self._tx.put(READY, (self._shelf, row[1]), [name, first["sent_ms"]])
            if head not in (_NONE, row[1]):
                self._tx.delete(READY, (self._shelf, head))
            if row == [0, _NONE]:
                self._tx.delete(GROUPS, (self._shelf, name))
            else:
                self._tx.put(GROUPS, (self._shelf, name), row)
        self._touched = {}

    def _candidates(self, count: int) -> list[Found]:
        return self._front(count, self._tx.now_ms - self._delay_ms)

    def _front(self, count: int, sent_until_ms: int) -> list[Found]:
        """Messages of groups that are ready, sent up to then."""
        found: list[Found] = []
        for _, (group, sent_ms) in list(self._tx.scan(READY, prefix=(self._shelf,), limit=count)):
            if len(found) == count or sent_ms > sent_until_ms:
                break
            prefix = (self._shelf, AVAILABLE, group)
            rows = self._tx.scan(MESSAGES, prefix=prefix, limit=count - len(found))
            found += [one for one in list(rows) if one[1]["sent_ms"] <= sent_until_ms]
        return found

    def _at(self, receipt: Receipt, until_ms: int) -> Found | None:
        """A FIFO queue's handle is good only as long as the message is in flight."""
        key = (self._shelf, IN_FLIGHT, until_ms, receipt.number)
        row = self._tx.get(MESSAGES, key)
        return (key, row) if row is not None and row.get("nonce") == receipt.nonce else None

    def expire(self, limit: int) -> int:
        """See ``Shelf``; a group that has messages in flight is looked at when they are back or deleted."""
        old = self._front(limit, self._tx.now_ms - self._kept_ms)
        for found in old:
            self.drop(Event.EXPIRED, found)
        self._settle()
        return len(old)


def delay_ms(queue: Queue) -> int:
    """For how long messages of a FIFO queue wait."""
    return queue.number("DelaySeconds", 0) * 1000


def next_due_ms(view: View, queue: Queue) -> int | None:
    """When something can be received from a FIFO queue at the earliest; None if it is empty."""
    firsts = [row[1] + delay_ms(queue) for _, row in view.scan(READY, prefix=(queue.shelf,), limit=1)]
    if counters(view, queue)[IN_FLIGHT]:
        firsts += [int(key[2]) for key, _ in view.scan(MESSAGES, prefix=(queue.shelf, IN_FLIGHT), limit=1)]
    return min(firsts, default=None)


def ready(view: View, queue: Queue, most: int) -> tuple[int, int | None]:
    """How many groups of a FIFO queue can be received from, or may be as soon as what is due is back; and when there
    are more."""
    sent_until_ms, dues, count = view.now_ms - delay_ms(queue), list[int](), 0
    for _, (_, sent_ms) in view.scan(READY, prefix=(queue.shelf,), limit=most):
        if sent_ms > sent_until_ms:
            dues.append(sent_ms + delay_ms(queue))
            break
        count += 1
    if counters(view, queue)[IN_FLIGHT]:
        count += due_counts(view, queue, IN_FLIGHT, most)
        first = first_ms(view, queue, IN_FLIGHT, view.now_ms + 1)
        dues += [] if first is None else [first]
    return count, min(dues, default=None)


def delayed_count(view: View, queue: Queue, limit: int) -> int:
    """About how many messages wait for their delay: those of groups whose first does, up to ``limit``."""
    if not delay_ms(queue):
        return 0
    waiting = 0
    for _, (group, sent_ms) in view.scan(READY, prefix=(queue.shelf,)):
        if sent_ms + delay_ms(queue) > view.now_ms:
            waiting += sum(
                1 for _ in view.scan(MESSAGES, prefix=(queue.shelf, AVAILABLE, group), limit=limit - waiting)
            )
        if waiting >= limit:
            break
    return waiting
