"""The queue service, as transaction functions.

A message is a row that doesn't change; when it becomes visible is its place in the schedule. Receiving moves
that place into the future and remembers the reception's nonce, deleting takes all of it away. So receiving is
a range scan of what is due, and nothing is copied.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from sluiceway.config import QueueSettings
from sluiceway.core.clock import new_id
from sluiceway.core.identity import Arn, Scope
from sluiceway.core.store import Tx, View
from sluiceway.errors import AlreadyExists, Invalid, NotFound, Throttled
from sluiceway.services.queues import checks
from sluiceway.services.queues.values import (
    COUNTERS,
    DEDUPLICATION,
    MESSAGES,
    QUEUES,
    SCHEDULE,
    TAKEN,
    Queue,
    Receipt,
    Received,
    Sent,
    attributes_md5,
    body_md5,
)

_DEDUPLICATION_MS = 5 * 60 * 1000  # SQS Developer Guide, "Exactly-once processing"
_SEQUENCE_START = 10**19


class Queues:
    """``scope`` is the account and region of every queue."""

    def __init__(self, scope: Scope, limits: QueueSettings) -> None:
        self.scope = scope
        self._limits = limits

    # -- queues

    def arn(self, name: str) -> str:
        """The queue's ARN."""
        return self.scope.arn("sqs", name)

    def create(self, tx: Tx, name: str, attributes: dict[str, str], tags: dict[str, str]) -> Queue:
        """Make a queue; the existing one if it has these attributes.

        Raises ``Invalid("name" | "attribute_name" | "attribute_value")``, ``AlreadyExists("queue")``.
        """
        kept = checks.check_attributes(attributes)
        checks.check_name(name, kept.get("FifoQueue") == "true")
        existing = self._find(tx, name)
        if existing is not None:
            if any(existing.attributes.get(key, value) != value for key, value in kept.items()):
                raise AlreadyExists(
                    "queue", "A queue already exists with the same name and a different value for an attribute."
                )
            return existing
        if sum(1 for _ in tx.scan(QUEUES, limit=self._limits.queues_max)) >= self._limits.queues_max:
            raise Throttled("queues", f"There are {self._limits.queues_max} queues already.")
        self._check_redrive(tx, kept)
        queue = Queue(name, tx.now_ms, tx.now_ms, kept, tags)
        tx.put(QUEUES, (name,), queue.to_json())
        return queue

    def get(self, view: View, name: str) -> Queue:
        """Raises ``NotFound("queue")``."""
        queue = self._find(view, name)
        if queue is None:
            raise NotFound("queue", "The specified queue does not exist.")
        return queue

    def all(self, view: View, prefix: str = "") -> Iterator[Queue]:
        """Queues by name."""
        for _, row in view.scan(QUEUES, start=(prefix,)):
            queue = Queue(**row)
            if not queue.name.startswith(prefix):
                return
            yield queue

    def policy(self, view: View, name: str) -> dict[str, Any] | None:
        """The queue's own policy."""
        queue = self._find(view, name)
        return queue.policy if queue else None

    def set_attributes(self, tx: Tx, name: str, attributes: dict[str, str]) -> None:
        """Change attributes; an empty text takes one away. Raises as ``create`` does."""
        queue = self.get(tx, name)
        if "FifoQueue" in attributes and attributes["FifoQueue"] != queue.attributes.get("FifoQueue", "false"):
            raise Invalid("attribute_value", "The type of a queue can't be changed.")
        kept = checks.check_attributes(attributes)
        self._check_redrive(tx, kept)
        merged = {key: value for key, value in queue.attributes.items() if key not in attributes} | kept
        tx.put(QUEUES, (name,), replace(queue, attributes=merged, modified_ms=tx.now_ms).to_json())

    def set_tags(self, tx: Tx, name: str, tags: dict[str, str]) -> None:
        """Replace the tags."""
        tx.put(QUEUES, (name,), replace(self.get(tx, name), tags=tags).to_json())

    def remove(self, tx: Tx, name: str) -> None:
        """Delete the queue and everything in it."""
        self.get(tx, name)
        self._empty(tx, name)
        tx.delete(COUNTERS, (name,))
        tx.delete(QUEUES, (name,))
        tx.on_commit(f"queue/{name}")

    def purge(self, tx: Tx, name: str) -> None:
        """Delete every message."""
        self.get(tx, name)
        self._empty(tx, name)
        self._count(tx, name, set_to=0)

    def counts(self, view: View, name: str) -> tuple[int, int, int]:
        """About how many messages are visible, in flight, and delayed."""
        row: Any = view.get(COUNTERS, (name,)) or {"messages": 0}
        hidden = view.scan(SCHEDULE, prefix=(name,), start=(name, view.now_ms + 1), limit=self._limits.in_flight_max)
        taken = delayed = 0
        for _, value in hidden:
            taken += bool(value[0])
            delayed += not value[0]
        return max(0, int(row["messages"]) - taken - delayed), taken, delayed

    def next_visible_ms(self, view: View, name: str) -> int | None:
        """When the first message is or becomes visible."""
        for key, _ in view.scan(SCHEDULE, prefix=(name,), limit=1):
            return int(key[1])
        return None

    # -- messages

    def send(
        self,
        tx: Tx,
        name: str,
        body: str,
        *,
        attributes: dict[str, Any] | None = None,
        delay_s: int | None = None,
        group_id: str | None = None,
        deduplication_id: str | None = None,
        system: dict[str, str] | None = None,
    ) -> Sent:
        """Add a message. ``system`` are further system attributes (SenderId, AWSTraceHeader).

        Raises ``NotFound("queue")``, ``TooLarge("message")``, ``Invalid``.
        """
        queue = self.get(tx, name)
        given = attributes or {}
        checks.check_message(body, given, queue.number("MaximumMessageSize", self._limits.message_bytes_max))
        if delay_s is not None:
            checks.check_delay(delay_s, self._limits)
        deduplication = self._deduplication(queue, body, group_id, deduplication_id, delay_s)
        if deduplication is not None:
            earlier = self._earlier(tx, name, deduplication)
            if earlier is not None:
                return earlier
        number = self._count(tx, name, add=1, new=True)
        message: dict[str, Any] = {"id": new_id(), "body": body, "sent_ms": tx.now_ms, "system": dict(system or {})}
        if given:
            message["attributes"] = given
        if group_id is not None:
            message["system"]["MessageGroupId"] = group_id
        sequence = str(_SEQUENCE_START + number) if queue.fifo else ""
        if deduplication is not None:
            message["system"] |= {"MessageDeduplicationId": deduplication, "SequenceNumber": sequence}
        sent = Sent(str(message["id"]), body_md5(body), attributes_md5(given), sequence)
        if deduplication is not None:
            kept = {
                "until_ms": tx.now_ms + _DEDUPLICATION_MS,
                "sent": [sent.message_id, sent.body_md5, sent.attributes_md5, sequence],
            }
            tx.put(DEDUPLICATION, (name, deduplication), kept)
        delay = queue.number("DelaySeconds", 0) if delay_s is None else delay_s
        tx.put(MESSAGES, (name, number), message)
        tx.put(SCHEDULE, (name, tx.now_ms + delay * 1000, number), [0, 0])
        tx.on_commit(f"queue/{name}")
        return sent

    def receive(self, tx: Tx, name: str, count: int, visibility_s: int | None = None) -> list[Received]:
        """Take up to ``count`` visible messages, oldest first, hidden from others for ``visibility_s``.

        A message that was received too often goes to the dead-letter queue instead. Raises ``NotFound("queue")``.
        """
        queue = self.get(tx, name)
        hidden_s = (
            queue.number("VisibilityTimeout", self._limits.visibility_s) if visibility_s is None else visibility_s
        )
        taken: list[Received] = []
        for at, number, receives, first_ms in self._candidates(tx, queue, count):
            message: Any = tx.get(MESSAGES, (name, number))
            if message is None or self._is_expired(queue, message, tx.now_ms):
                self._drop(tx, name, number, at)
                continue
            if self._redriven(tx, queue, message, number, at, receives):
                continue
            nonce = secrets.token_hex(8)
            until = tx.now_ms + hidden_s * 1000
            first = first_ms or tx.now_ms
            tx.delete(SCHEDULE, (name, at, number))
            tx.put(SCHEDULE, (name, until, number), [receives + 1, first])
            tx.put(TAKEN, (name, number), [until, nonce])
            taken.append(_received(message, Receipt(name, number, nonce), receives + 1, first))
            if len(taken) == count:
                break
        return taken

    def delete(self, tx: Tx, name: str, receipt_handle: str) -> None:
        """Delete a received message; an older reception's handle deletes nothing. Raises ``Invalid("receipt_handle")``."""
        self.get(tx, name)
        receipt = Receipt.parse(receipt_handle, name)
        place: Any = tx.get(TAKEN, (name, receipt.number))
        if place is not None and place[1] == receipt.nonce:
            self._drop(tx, name, receipt.number, place[0])
            tx.on_commit(f"queue/{name}")

    def change_visibility(self, tx: Tx, name: str, receipt_handle: str, seconds: int) -> None:
        """Hide a received message for so long from now on.

        Raises ``Invalid("receipt_handle" | "visibility")``, ``NotFound("in_flight")``.
        """
        self.get(tx, name)
        if not 0 <= seconds <= self._limits.visibility_s_max:
            raise Invalid("visibility", f"Value {seconds} for parameter VisibilityTimeout is invalid.")
        receipt = Receipt.parse(receipt_handle, name)
        place: Any = tx.get(TAKEN, (name, receipt.number))
        if place is None or place[1] != receipt.nonce or place[0] <= tx.now_ms:
            raise NotFound("in_flight", f"Value {receipt_handle} for parameter ReceiptHandle is invalid. Reason: Message "
                           "does not exist or is not available for visibility timeout change.")  # fmt: skip
        value: Any = tx.get(SCHEDULE, (name, place[0], receipt.number)) or [1, tx.now_ms]
        until = tx.now_ms + seconds * 1000
        tx.delete(SCHEDULE, (name, place[0], receipt.number))
        tx.put(SCHEDULE, (name, until, receipt.number), value)
        tx.put(TAKEN, (name, receipt.number), [until, receipt.nonce])
        tx.on_commit(f"queue/{name}")

    # -- inside

    def _find(self, view: View, name: str) -> Queue | None:
        row: Any = view.get(QUEUES, (name,))
        return Queue(**row) if row is not None else None

    def _check_redrive(self, tx: Tx, attributes: dict[str, str]) -> None:
        if "RedrivePolicy" in attributes:
            arn = json.loads(attributes["RedrivePolicy"])["deadLetterTargetArn"]
            if self._find(tx, Arn.parse(arn).resource) is None:
                raise Invalid("attribute_value", f"Value {arn} for parameter RedrivePolicy is invalid. Reason: Dead letter "
                              "target does not exist.")  # fmt: skip

    def _count(self, tx: Tx, name: str, *, add: int = 0, new: bool = False, set_to: int | None = None) -> int:
        """Keep the number of messages, and give out the next message's number."""
        row: Any = tx.get(COUNTERS, (name,)) or {"messages": 0, "next": 0}
        messages = row["messages"] + add if set_to is None else set_to
        tx.put(COUNTERS, (name,), {"messages": max(0, messages), "next": row["next"] + new})
        return int(row["next"])

    def _empty(self, tx: Tx, name: str) -> None:
        for table in (MESSAGES, SCHEDULE, TAKEN, DEDUPLICATION):
            for key, _ in list(tx.scan(table, prefix=(name,))):
                tx.delete(table, key)

    def _drop(self, tx: Tx, name: str, number: int, at: int) -> None:
        tx.delete(MESSAGES, (name, number))
        tx.delete(SCHEDULE, (name, at, number))
        tx.delete(TAKEN, (name, number))
        self._count(tx, name, add=-1)

    def _deduplication(
        self, queue: Queue, body: str, group_id: str | None, given: str | None, delay_s: int | None
    ) -> str | None:
        if not queue.fifo:
            if given is not None:
                raise Invalid("fifo_id", "The request includes a parameter that is not valid for this queue type: "
                              "MessageDeduplicationId.")  # fmt: skip
            return None
        if delay_s:
            raise Invalid("delay", f"Value {delay_s} for parameter DelaySeconds is invalid. Reason: The request include "
                          "parameter that is not valid for this queue type.")  # fmt: skip
        if group_id is None:
            raise Invalid("group_missing", "The request must contain the parameter MessageGroupId.")
        checks.check_fifo_id("MessageGroupId", group_id)
        if given is not None:
            checks.check_fifo_id("MessageDeduplicationId", given)
            return given
        if queue.attributes.get("ContentBasedDeduplication") == "true":
            return hashlib.sha256(body.encode()).hexdigest()
        raise Invalid("fifo_id", "The queue should either have ContentBasedDeduplication enabled or "
                      "MessageDeduplicationId provided explicitly")  # fmt: skip

    def _earlier(self, tx: Tx, name: str, deduplication: str) -> Sent | None:
        row: Any = tx.get(DEDUPLICATION, (name, deduplication))
        for key, old in list(tx.scan(DEDUPLICATION, prefix=(name,), limit=self._limits.forget_max)):
            if isinstance(old, dict) and old["until_ms"] <= tx.now_ms:
                tx.delete(DEDUPLICATION, key)
        if row is None or row["until_ms"] <= tx.now_ms:
            return None
        return Sent(*row["sent"])

    def _candidates(self, tx: Tx, queue: Queue, count: int) -> list[tuple[int, int, int, int]]:
        """(visible since, number, receptions, first reception) of messages that may be taken now."""
        if queue.fifo:
            return self._in_order(tx, queue.name, count)
        rows = tx.scan(
            SCHEDULE, prefix=(queue.name,), end=(queue.name, tx.now_ms + 1), limit=count + self._limits.forget_max
        )
        return [(int(key[1]), int(key[2]), int(value[0]), int(value[1])) for key, value in list(rows)]

    def _in_order(self, tx: Tx, name: str, count: int) -> list[tuple[int, int, int, int]]:
        """As FIFO wants it: nothing of a group while an earlier message of it is hidden."""
        places = {
            int(key[2]): (int(key[1]), int(value[0]), int(value[1]))
            for key, value in tx.scan(SCHEDULE, prefix=(name,), limit=self._limits.fifo_scan_max)
        }
        blocked: set[str] = set()
        found: list[tuple[int, int, int, int]] = []
        for number in sorted(places):
            message: Any = tx.get(MESSAGES, (name, number))
            if message is None:
                continue
            group = message["system"].get("MessageGroupId", "")
            at, receives, first_ms = places[number]
            if group in blocked:
                continue
            if at > tx.now_ms:
                blocked.add(group)
                continue
            found.append((at, number, receives, first_ms))
            if len(found) == count:
                break
        return found

    def _is_expired(self, queue: Queue, message: dict[str, Any], now_ms: int) -> bool:
        kept_s = queue.number("MessageRetentionPeriod", self._limits.retention_s)
        return bool(message["sent_ms"] + kept_s * 1000 <= now_ms)

    def _redriven(self, tx: Tx, queue: Queue, message: dict[str, Any], number: int, at: int, receives: int) -> bool:
        """Move a message that was received too often to the dead-letter queue, with its id and time."""
        if queue.redrive is None or receives < queue.redrive[1]:
            return False
        target = self._find(tx, Arn.parse(queue.redrive[0]).resource)
        if target is None:
            return False
        self._drop(tx, queue.name, number, at)
        moved = {**message, "system": {**message["system"], "DeadLetterQueueSourceArn": self.arn(queue.name)}}
        fresh = self._count(tx, target.name, add=1, new=True)
        tx.put(MESSAGES, (target.name, fresh), moved)
        tx.put(SCHEDULE, (target.name, tx.now_ms, fresh), [0, 0])
        tx.on_commit(f"queue/{target.name}")
        return True


def _received(message: dict[str, Any], receipt: Receipt, receives: int, first_ms: int) -> Received:
    system = {
        **message["system"],
        "SentTimestamp": str(message["sent_ms"]),
        "ApproximateReceiveCount": str(receives),
        "ApproximateFirstReceiveTimestamp": str(first_ms),
    }
    attributes = message.get("attributes", {})
    return Received(
        message["id"], receipt.handle(), message["body"], body_md5(message["body"]), attributes,
        attributes_md5(attributes), system,
    )  # fmt: skip
