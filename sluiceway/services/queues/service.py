"""The queue service's messages, as transaction functions: sent, received, hidden, deleted. Theory: ``states``."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, Final

from sluiceway.core.clock import new_id
from sluiceway.core.store import Tx, View
from sluiceway.errors import DomainError, Invalid, NotFound, Throttled
from sluiceway.services.queues import checks, groups, shelf
from sluiceway.services.queues.definitions import Definitions
from sluiceway.services.queues.digests import attributes_md5, body_md5
from sluiceway.services.queues.groups import GroupedShelf
from sluiceway.services.queues.memory import KEPT_MS, forget, recall, remember
from sluiceway.services.queues.shelf import Found, Row, Shelf, counters
from sluiceway.services.queues.states import AVAILABLE, DELAYED, IN_FLIGHT, Event
from sluiceway.services.queues.values import Message, Queue, Receipt, Received, Sent, parse_receipt

_SEQUENCE_START: Final = 10**19
_NOTHING: Final[Mapping[str, Any]] = {}


class Queues(Definitions):
    """Queues and their messages."""

    # -- looking

    def counts(self, view: View, name: str) -> tuple[int, int, int]:
        """About how many messages are visible, in flight, and delayed."""
        queue, most = self.get(view, name), self.limits.count_max
        visible, taken, delayed = counters(view, queue)[:3]
        back = shelf.due_counts(view, queue, IN_FLIGHT, most) if taken else 0
        if queue.fifo:
            waiting = groups.delayed_count(view, queue, most)
            return visible + back - waiting, taken - back, waiting
        ripe = shelf.due_counts(view, queue, DELAYED, most) if delayed else 0
        return visible + back + ripe, taken - back, delayed - ripe

    def next_visible_ms(self, view: View, name: str) -> int | None:
        """When the first message is or becomes visible; None if there is none, or no such queue."""
        queue = self.find(view, name)
        if queue is None:
            return None
        return groups.next_due_ms(view, queue) if queue.fifo else shelf.next_due_ms(view, queue)

    def ready(self, view: View, name: str, most: int) -> tuple[int, int | None]:
        """About how many messages (of a FIFO queue: groups) can be received now, counting no more than ``most`` of what
        must be counted, and when the next one becomes visible. Raises ``NotFound("queue")``."""
        queue, most = self.get(view, name), min(most, self.limits.count_max)
        return groups.ready(view, queue, most) if queue.fifo else shelf.ready(view, queue, most)

    def shelf(self, tx: Tx, queue: Queue) -> Shelf:
        """The queue's messages; ``close`` it in the same transaction."""
        return GroupedShelf(tx, queue, self.limits) if queue.fifo else Shelf(tx, queue, self.limits)

    # -- sending

    def send(
        self,
        tx: Tx,
        name: str,
        body: str,
        *,
        attributes: Mapping[str, Any] | None = None,
        delay_s: int | None = None,
        group_id: str | None = None,
        deduplication_id: str | None = None,
        system: Mapping[str, str] | None = None,
        room: int | None = None,
        content: str | None = None,
        published_ms: int = 0,
    ) -> Sent:
        """``send_message`` in other words."""
        system = system or _NOTHING
        given = Message(
            body, attributes or _NOTHING, delay_s, group_id, deduplication_id, system, room, content, published_ms
        )
        return self.send_message(tx, name, given)

    def send_message(self, tx: Tx, name: str, message: Message) -> Sent:
        """Add a message. Raises ``NotFound("queue")``, ``TooLarge("message")``, ``Invalid``."""
        place = self.shelf(tx, self.usable(tx, name))
        sent = self._send(tx, place, message)
        place.close()
        tx.on_commit(f"queue/{name}")
        return sent

    def send_batch(self, tx: Tx, name: str, messages: Iterable[Message]) -> list[Sent | DomainError]:
        """Add each message that can be; the others' errors. Raises ``NotFound("queue")``."""
        place = self.shelf(tx, self.usable(tx, name))
        results: list[Sent | DomainError] = []
        for message in messages:
            try:
                results.append(self._send(tx, place, message))
            except DomainError as error:  # raised before anything is written
                results.append(error)
        place.close()
        tx.on_commit(f"queue/{name}")
        return results

    def _send(self, tx: Tx, place: Shelf, message: Message) -> Sent:
        """Everything that can be refused is refused before the first writing."""
        queue, now_ms = place.queue, tx.now_ms
        checks.check_message(message, queue.number("MaximumMessageSize", self.limits.message_bytes_max))
        if message.delay_s is not None:
            checks.check_delay(message.delay_s, self.limits)
        if message.group_id is not None:
            checks.check_fifo_id("MessageGroupId", message.group_id)
        md5s = body_md5(message.body), attributes_md5(message.attributes)
        row = _new_row(message, now_ms)
        if queue.fifo:
            key, published_ms = _deduplication(queue, message), message.published_ms or now_ms
            earlier = recall(tx, queue, *key)  # what a release before this one remembered is without the time
            if earlier is not None and (len(earlier) < 3 or published_ms < earlier[2] + KEPT_MS):
                return Sent(earlier[0], *md5s, earlier[1])
            sequence = str(_SEQUENCE_START + place.next_number)
            forget(tx, queue, self.limits.forget_max)
            remember(tx, queue, [row["id"], sequence, published_ms], *key)
            row["deduplication"] = key[-1]
            place.add(row, now_ms)
            return Sent(row["id"], *md5s, sequence)
        if message.deduplication_id is not None:
            raise Invalid("fifo_id", "The request includes a parameter that is not valid for this queue type: "
                          "MessageDeduplicationId.")  # fmt: skip
        delay_s = queue.number("DelaySeconds", 0) if message.delay_s is None else message.delay_s
        place.add(row, now_ms + delay_s * 1000, DELAYED if delay_s else AVAILABLE)
        return Sent(row["id"], *md5s)

    # -- receiving

    def receive(
        self, tx: Tx, name: str, count: int, visibility_s: int | None = None, *, attempt: str | None = None
    ) -> list[Received]:
        """Take up to ``count`` visible messages, oldest first, hidden from others for ``visibility_s``.

        A message that was received too often goes to the dead-letter queue instead. The same ``attempt`` within five
        minutes is answered with the same messages, as long as they are all in flight (FIFO queues only).
        Raises ``NotFound("queue")``, ``Invalid("visibility")``, ``Throttled("in_flight")``.
        """
        queue = self.usable(tx, name)
        hidden_s = queue.number("VisibilityTimeout", self.limits.visibility_s) if visibility_s is None else visibility_s
        checks.check_visibility(hidden_s, self.limits)
        place = self.shelf(tx, queue)
        if attempt is not None and queue.fifo:
            again = self._again(tx, place, attempt, hidden_s)
            if again is not None:
                place.close()
                return again
        undertaker = _Undertaker(self, tx, queue)
        free = self.limits.in_flight_max - place.in_flight
        if free <= 0 and not place.give_back(self.limits.due_max):
            if queue.fifo:  # is not told (SQS Developer Guide, "Message quotas")
                return []
            raise Throttled("in_flight", f"There are {place.in_flight} messages in flight: delete some of them first.")
        taken = place.take(count, hidden_s * 1000, undertaker.bury)
        place.close()
        undertaker.close()
        if attempt is not None and queue.fifo and taken:
            remember(tx, queue, [receipt.handle() for receipt, _ in taken], "attempt", attempt)
        return [self._received(queue, receipt, row) for receipt, row in taken]

    def _again(self, tx: Tx, place: Shelf, attempt: str, hidden_s: int) -> list[Received] | None:
        """The messages of an earlier reception, hidden anew; None if any of them is not its any more."""
        handles = recall(tx, place.queue, "attempt", attempt)
        receipts = [parse_receipt(handle, place.queue) for handle in handles or ()]
        found = [place.find(receipt) for receipt in receipts]
        if not found or any(one is None or int(one[0][2]) <= tx.now_ms for one in found):
            return None
        messages = []
        for receipt, one in zip(receipts, found, strict=True):
            assert one is not None
            place.hide(one, tx.now_ms + hidden_s * 1000)
            messages.append(self._received(place.queue, receipt, place.whole(one)))
        return messages

    def _received(self, queue: Queue, receipt: Receipt, row: Row) -> Received:
        system = {
            **row.get("system", _NOTHING),
            "SentTimestamp": str(row["sent_ms"]),
            "ApproximateReceiveCount": str(row["receives"]),
            "ApproximateFirstReceiveTimestamp": str(row["first_ms"]),
        }
        if "group" in row:
            system["MessageGroupId"] = row["group"]
        if "source" in row:
            system["DeadLetterQueueSourceArn"] = row["source"]
        if queue.fifo:
            system["MessageDeduplicationId"] = row["deduplication"]
            system["SequenceNumber"] = str(_SEQUENCE_START + receipt.number)
        attributes = row.get("attributes") or {}
        at: int | None = row.get("room")
        finish = None if at is None else lambda text: self._finish(text, at)
        return Received(
            row["id"], receipt.handle(), row["body"], attributes, attributes_md5(attributes), system, finish
        )

    # -- afterwards

    def delete(self, tx: Tx, name: str, receipt_handle: str) -> None:
        """Delete a received message; an older reception's handle deletes nothing. Raises ``Invalid("receipt_handle")``.

        A FIFO queue refuses the handle once the visibility timeout is over: ``Invalid("receipt_expired")``.
        """
        errors = self.delete_batch(tx, name, [receipt_handle])
        if errors[0] is not None:
            raise errors[0]

    def delete_batch(self, tx: Tx, name: str, handles: Iterable[str]) -> list[DomainError | None]:
        """Delete each message that can be; the others' errors. Raises ``NotFound("queue")``."""
        place = self.shelf(tx, self.get(tx, name))
        results: list[DomainError | None] = []
        for handle in handles:
            try:
                self._delete(tx, place, handle)
                results.append(None)
            except DomainError as error:
                results.append(error)
        place.close()
        if place.queue.fifo:
            tx.on_commit(f"queue/{name}")  # its group may go on
        return results

    def _delete(self, tx: Tx, place: Shelf, handle: str) -> None:
        receipt = parse_receipt(handle, place.queue)
        found = place.find(receipt)
        if place.queue.fifo:
            until_ms = int(found[0][2]) if found is not None else place.changed_ms(receipt) or receipt.until_ms
            if until_ms <= tx.now_ms:
                raise Invalid("receipt_expired", f"Value {handle} for parameter ReceiptHandle is invalid. Reason: The "
                              "receipt handle has expired.")  # fmt: skip
        if found is not None:
            place.drop(Event.DELETED, found)

    def change_visibility(self, tx: Tx, name: str, receipt_handle: str, seconds: int) -> None:
        """Hide a received message for so long from now on.

        Raises ``Invalid("receipt_handle" | "visibility" | "not_there")``, ``NotFound("in_flight")``.
        """
        errors = self.change_visibility_batch(tx, name, [(receipt_handle, seconds)])
        if errors[0] is not None:
            raise errors[0]

    def change_visibility_batch(
        self, tx: Tx, name: str, changes: Iterable[tuple[str, int]]
    ) -> list[DomainError | None]:
        """Change what can be changed; the others' errors. Raises ``NotFound("queue")``."""
        place = self.shelf(tx, self.get(tx, name))
        results: list[DomainError | None] = []
        for handle, seconds in changes:
            try:
                self._change_visibility(tx, place, handle, seconds)
                results.append(None)
            except DomainError as error:
                results.append(error)
        place.close()
        tx.on_commit(f"queue/{name}")
        return results

    def _change_visibility(self, tx: Tx, place: Shelf, handle: str, seconds: int) -> None:
        checks.check_visibility(seconds, self.limits)
        found = place.find(parse_receipt(handle, place.queue))
        if found is None:
            raise Invalid("not_there", f"Value {handle} for parameter ReceiptHandle is invalid. Reason: Message does not "
                          "exist or is not available for visibility timeout change.")  # fmt: skip
        key, row = found
        if key[1] != IN_FLIGHT or int(key[2]) <= tx.now_ms:
            raise NotFound("in_flight", "The specified message isn't in flight.")
        until_ms, most_s = tx.now_ms + seconds * 1000, self.limits.visibility_s_max
        if until_ms > row["taken_ms"] + most_s * 1000:
            raise Invalid("visibility", f"Value {seconds} for parameter VisibilityTimeout is invalid. Reason: Total "
                          f"VisibilityTimeout for the message is beyond the limit [{most_s} seconds].")  # fmt: skip
        place.hide(found, until_ms)


class _Undertaker:
    """Takes messages to the dead-letter queue that were received too often."""

    def __init__(self, queues: Queues, tx: Tx, queue: Queue) -> None:
        self._queues = queues
        self._tx = tx
        self._queue = queue
        self._most = queue.redrive[1] if queue.redrive is not None else None
        self._target: Shelf | None = None

    def bury(self, place: Shelf, found: Found) -> bool:
        """Whether the message was taken there.

        It keeps its id and, in a standard queue, its age (SQS Developer Guide, "Using dead-letter queues").
        """
        if self._most is None or found[1]["receives"] < self._most:
            return False
        if self._target is None:
            queue = self._queues.dead_letter_queue(self._tx, self._queue)
            if queue is None:
                return False
            self._target = self._queues.shelf(self._tx, queue)
        row = fresh_row(place.whole(found), self._queues.arn(self._queue.name))
        place.drop(Event.DEAD, found)
        if self._target.queue.fifo:
            row["sent_ms"] = self._tx.now_ms
        self._target.add(row, row["sent_ms"])
        return True

    def close(self) -> None:
        """Count what was buried."""
        if self._target is not None:
            self._target.close()
            self._tx.on_commit(f"queue/{self._target.queue.name}")


def fresh_row(row: Row, source: str | None) -> Row:
    """A message as it arrives in another queue: never received there. ``source`` is where it was too often."""
    kept: Row = {name: row[name] for name in _LASTING if name in row}
    if source is not None:
        kept["source"] = source
    kept["receives"] = 0
    return kept


_LASTING: Final = ("id", "sent_ms", "body", "attributes", "system", "group", "deduplication", "room")


def _new_row(message: Message, now_ms: int) -> Row:
    row: Row = {"id": new_id(), "sent_ms": now_ms, "receives": 0, "body": message.body}
    if message.attributes:
        row["attributes"] = message.attributes
    if message.system:
        row["system"] = message.system
    if message.group_id is not None:
        row["group"] = message.group_id
    if message.room is not None:
        row["room"] = message.room
    return row


def _deduplication(queue: Queue, message: Message) -> tuple[str, str, str]:
    """Under which key a FIFO queue remembers a message. Raises ``Invalid`` if it is no message for one."""
    if message.delay_s:
        raise Invalid("delay", f"Value {message.delay_s} for parameter DelaySeconds is invalid. Reason: The request "
                      "include parameter that is not valid for this queue type.")  # fmt: skip
    if message.group_id is None:
        raise Invalid("group_missing", "The request must contain the parameter MessageGroupId.")
    scope = message.group_id if queue.per_group else ""
    if message.deduplication_id is not None:
        checks.check_fifo_id("MessageDeduplicationId", message.deduplication_id)
        return "sent", scope, message.deduplication_id
    if queue.attributes.get("ContentBasedDeduplication") == "true":
        return "sent", scope, hashlib.sha256(message.body.encode()).hexdigest()
    raise Invalid("fifo_id", "The queue should either have ContentBasedDeduplication enabled or "
                  "MessageDeduplicationId provided explicitly")  # fmt: skip
