"""Queues, messages and receipts as values."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass, field, fields
from typing import Any, Final

from sluiceway.errors import Invalid

#: Tables: ``queues`` (name); ``queue_counters`` (name); ``queue_messages`` (queue, number);
#: ``queue_schedule`` (queue, time visible, number); ``queue_taken`` (queue, number) for what was received;
#: ``queue_deduplication`` (queue, id).
QUEUES: Final = "queues"
COUNTERS: Final = "queue_counters"
MESSAGES: Final = "queue_messages"
SCHEDULE: Final = "queue_schedule"
TAKEN: Final = "queue_taken"
DEDUPLICATION: Final = "queue_deduplication"


@dataclass(frozen=True, slots=True)
class Queue:
    """``attributes`` are what the owner set, as text (SQS API reference, CreateQueue)."""

    name: str
    created_ms: int
    modified_ms: int
    attributes: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def fifo(self) -> bool:
        """Whether messages have groups and an order."""
        return self.attributes.get("FifoQueue") == "true"

    def number(self, name: str, default: int) -> int:
        """A numeric attribute."""
        return int(self.attributes.get(name, default))

    @property
    def redrive(self) -> tuple[str, int] | None:
        """The dead-letter queue's ARN and how often a message may be received before it goes there."""
        text = self.attributes.get("RedrivePolicy")
        if not text:
            return None
        policy = json.loads(text)
        return str(policy["deadLetterTargetArn"]), int(policy["maxReceiveCount"])

    @property
    def policy(self) -> dict[str, Any] | None:
        """The queue's own policy."""
        text = self.attributes.get("Policy")
        return dict(json.loads(text)) if text else None

    def to_json(self) -> dict[str, Any]:
        """As it is kept in the table "queues"."""
        return {item.name: getattr(self, item.name) for item in fields(self)}


@dataclass(frozen=True, slots=True)
class Sent:
    """``sequence`` is empty but for FIFO queues."""

    message_id: str
    body_md5: str
    attributes_md5: str
    sequence: str = ""


@dataclass(frozen=True, slots=True)
class Received:
    """A message on loan: delete it by its receipt handle before its visibility time is over."""

    message_id: str
    receipt_handle: str
    body: str
    body_md5: str
    attributes: dict[str, Any]
    attributes_md5: str
    system: dict[str, str]


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a receipt handle says: which message, and which of its receptions."""

    queue: str
    number: int
    nonce: str

    def handle(self) -> str:
        """Opaque text for the client."""
        raw = json.dumps([self.queue, self.number, self.nonce], separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(raw).decode("ascii")

    @classmethod
    def parse(cls, handle: str, queue: str) -> Receipt:
        """Raises ``Invalid("receipt_handle")`` if it is not one of this queue's."""
        try:
            name, number, nonce = json.loads(base64.urlsafe_b64decode(handle.encode("ascii")))
        except (binascii.Error, ValueError, TypeError, RecursionError):
            raise _unknown() from None
        if name != queue or not isinstance(number, int) or not isinstance(nonce, str):
            raise _unknown()
        return cls(queue, number, nonce)


def _unknown() -> Invalid:
    return Invalid("receipt_handle", "The input receipt handle is invalid.")


def body_md5(body: str) -> str:
    """MD5 of the body, in hex."""
    return hashlib.md5(body.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()


def attributes_md5(attributes: dict[str, Any]) -> str:
    """MD5 of message attributes (SQS Developer Guide, "Calculating the MD5 message digest for attributes")."""
    if not attributes:
        return ""
    digest = hashlib.md5(usedforsecurity=False)
    for name in sorted(attributes):
        value = attributes[name]
        kind = value["DataType"]
        _feed(digest, name.encode())
        _feed(digest, kind.encode())
        if kind.startswith("Binary"):
            digest.update(b"\x02")
            _feed(digest, base64.b64decode(value["BinaryValue"]))
        else:
            digest.update(b"\x01")
            _feed(digest, value["StringValue"].encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _feed(digest: Any, data: bytes) -> None:
    digest.update(len(data).to_bytes(4, "big"))
    digest.update(data)
