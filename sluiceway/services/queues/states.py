"""The states of a message, the transitions between them, and the rows that hold it.

A message is **one row** of ``queue_messages``. Its key says its state and its place in it, so that each state is an
ordered range, and going from one to another is taking a row away and putting it elsewhere:

    (shelf, DELAYED, when it becomes available, number)
    (shelf, AVAILABLE, since when, number)            of a standard queue: the longest available comes first
    (shelf, AVAILABLE, group, number)                 of a FIFO queue: a group's messages in their order
    (shelf, IN_FLIGHT, when it is available again, number)

``number`` counts the messages of a queue and is never used twice. A body of more than ``INLINE_BYTES_MAX`` stands in
``queue_bodies`` (shelf, number) instead, so that it is not written again with each transition.

Nothing happens by itself when a time has come. A message whose delay or visibility timeout is over is *due*: whoever
receives from the queue first puts some of what is due among the available, and so does the keeper now and then.

``queue_counters`` (shelf) says how many messages are in each state, the next number, and a time before which nothing is due. Each transition counts, so
nobody ever has to walk through a queue to know how much there is, and a start reads nothing at all.

A receipt handle names the place that a message got when it was received, (time, number), and a nonce that stands in
the row. A message that becomes available again keeps that time as its place, so the handle finds it in either state;
what was moved by a change of its visibility leaves its new time in ``queue_changed`` (shelf, number).

A FIFO queue has two more tables. ``queue_groups`` (shelf, group) says how many messages of a group are in flight and
which of its available ones is the head; ``queue_ready`` (shelf, number of the head) lists the groups that have a head
and nothing in flight: what can be received, the oldest first, however much is behind it. What a FIFO queue remembers for
five minutes is in ``memory``.

A purge or a deletion only gives the queue another shelf; ``queue_discarded`` (shelf) is cleared by the keeper.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

MESSAGES: Final = "queue_messages"
BODIES: Final = "queue_bodies"
COUNTERS: Final = "queue_counters"
CHANGED: Final = "queue_changed"
GROUPS: Final = "queue_groups"
READY: Final = "queue_ready"
DISCARDED: Final = "queue_discarded"

#: What a shelf consists of. Each key begins with the shelf.
SHELF_TABLES: Final = (MESSAGES, BODIES, COUNTERS, CHANGED, GROUPS, READY)

#: Up to here, writing the body with each of the three or four rows costs less than a row of its own.
INLINE_BYTES_MAX: Final = 2048

# Where a message can be; also the place of the state's number in a row of counters. GONE has no row.
AVAILABLE: Final = 0
IN_FLIGHT: Final = 1
DELAYED: Final = 2
GONE: Final = 3


class Event(StrEnum):
    """What happens to a message."""

    DUE = "due"  # its delay or its visibility timeout is over
    RECEIVED = "received"
    HIDDEN = "hidden"  # its visibility timeout was changed
    DELETED = "deleted"  # by its receipt handle
    EXPIRED = "expired"  # it is older than the queue keeps messages
    DEAD = "dead-lettered"  # it was received too often, and goes on in the dead-letter queue
    MOVED = "moved"  # by a move task; it goes on in another queue as a new message


#: All that can happen. What is not here can't: a KeyError is a defect. A message is sent to AVAILABLE or DELAYED.
TRANSITIONS: Final[Mapping[tuple[int, Event], int]] = {
    (DELAYED, Event.DUE): AVAILABLE,
    (DELAYED, Event.EXPIRED): GONE,
    (AVAILABLE, Event.RECEIVED): IN_FLIGHT,
    (AVAILABLE, Event.DELETED): GONE,  # a standard queue's, by its latest handle after its time
    (AVAILABLE, Event.EXPIRED): GONE,
    (AVAILABLE, Event.DEAD): GONE,
    (AVAILABLE, Event.MOVED): GONE,
    (IN_FLIGHT, Event.HIDDEN): IN_FLIGHT,
    (IN_FLIGHT, Event.DUE): AVAILABLE,
    (IN_FLIGHT, Event.DELETED): GONE,
    (IN_FLIGHT, Event.EXPIRED): GONE,
}
