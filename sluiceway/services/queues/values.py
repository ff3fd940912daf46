"""Queues, messages and receipts as values.

Nobody changes one once it is made. Those that every request makes are not frozen all the same, as that doubles the time
it takes.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, Final

import orjson

from sluiceway.errors import Invalid
from sluiceway.services.queues.digests import body_md5

QUEUES: Final = "queues"
_RECEIPT = re.compile(rb"([0-9a-f]{1,16})\.([0-9a-f]{1,15})\.([0-9a-f]{1,15})\.([0-9a-f]{16})\Z")


@dataclass(frozen=True)
class Queue:
    """``attributes`` are what the owner set, as text (SQS API reference, CreateQueue).

    ``id`` is the queue's for its life: one made later under the same name has another. ``shelf`` names the messages;
    a purge gives the queue an empty shelf, and the old one is cleared away in the background.
    """

    name: str
    id: int
    shelf: int
    created_ms: int
    modified_ms: int
    attributes: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    purged_ms: int = 0

    @cached_property
    def fifo(self) -> bool:
        """Whether messages have groups and an order."""
        return self.attributes.get("FifoQueue") == "true"

    @cached_property
    def per_group(self) -> bool:
        """Whether the same deduplication id in another group is another message (high throughput)."""
        return self.attributes.get("DeduplicationScope") == "messageGroup"

    def number(self, name: str, default: int) -> int:
        """A numeric attribute."""
        return int(self.attributes.get(name, default))

    @cached_property
    def redrive(self) -> tuple[str, int] | None:
        """The dead-letter queue's ARN and how often a message may be received before it goes there."""
        text = self.attributes.get("RedrivePolicy")
        if not text:
            return None
        policy = json.loads(text)
        return str(policy["deadLetterTargetArn"]), int(policy["maxReceiveCount"])

    @cached_property
    def policy(self) -> dict[str, Any] | None:
        """The queue's own policy."""
        text = self.attributes.get("Policy")
        return dict(json.loads(text)) if text else None

    def to_bytes(self) -> bytes:
        """As it is kept in the table "queues": JSON, as bytes so that what is read of it is found again by it."""
        return orjson.dumps(
            {
                "name": self.name,
                "id": self.id,
                "shelf": self.shelf,
                "created_ms": self.created_ms,
                "modified_ms": self.modified_ms,
                "attributes": self.attributes,
                "tags": self.tags,
                "purged_ms": self.purged_ms,
            }
        )


@lru_cache(maxsize=2048)  # each message asks for its queue; a queue with its policy takes some KiB
def parse_queue(row: bytes) -> Queue:
    """The queue in a row of the table "queues". Nobody may change what it holds: it is shared."""
    return Queue(**orjson.loads(row))


@dataclass(slots=True)
class Message:
    """What a sender gives. ``system`` are further system attributes (SenderId, AWSTraceHeader).

    ``room`` is where a topic's message has room for its signature, which is made when somebody receives it: it takes
    as long as everything else about the message together. ``content`` is what of it counts against the queue's limit, if
    not all: what a publisher was allowed to say must not become too large by the document that carries it.
    ``published_ms`` is when it was published, if that was not now: a FIFO queue's five minutes begin then, as its
    topic's did.
    """

    body: str
    attributes: Mapping[str, Any] = field(default_factory=dict)
    delay_s: int | None = None
    group_id: str | None = None
    deduplication_id: str | None = None
    system: Mapping[str, str] = field(default_factory=dict)
    room: int | None = None
    content: str | None = None
    published_ms: int = 0


@dataclass(slots=True)
class Sent:
    """``sequence`` is empty but for FIFO queues."""

    message_id: str
    body_md5: str
    attributes_md5: str
    sequence: str = ""


@dataclass
class Received:
    """A message on loan: delete it by its receipt handle before its visibility time is over.

    ``finish`` completes ``text`` (see ``Message.room``): when the body is read, which is after the transaction.
    """

    message_id: str
    receipt_handle: str
    text: str
    attributes: dict[str, Any]
    attributes_md5: str
    system: dict[str, str]
    finish: Callable[[str], str] | None = None

    @cached_property
    def body(self) -> str:
        """What the message says."""
        return self.text if self.finish is None else self.finish(self.text)

    @cached_property
    def body_md5(self) -> str:
        """As SDKs check it."""
        return body_md5(self.body)


@dataclass(slots=True)
class Receipt:
    """What a receipt handle says: which message of which queue, how long it was hidden first, and by which reception."""

    queue: int
    until_ms: int
    number: int
    nonce: str

    def handle(self) -> str:
        """Opaque text for the client."""
        raw = f"{self.queue:x}.{self.until_ms:x}.{self.number:x}.{self.nonce}"
        return base64.urlsafe_b64encode(raw.encode()).decode("ascii")


def new_nonce() -> str:
    """What nobody can guess who has not received the message."""
    return os.urandom(8).hex()


def new_number() -> int:
    """A name for a queue or a shelf; 62 random bits don't meet again."""
    return secrets.randbits(62)


def parse_receipt(handle: str, queue: Queue) -> Receipt:
    """Raises ``Invalid("receipt_handle")`` if it is not one of this queue's."""
    try:
        match = _RECEIPT.match(base64.b64decode(handle.encode("ascii"), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError):
        match = None
    if match is None or int(match[1], 16) != queue.id:
        raise _unknown(handle)
    return Receipt(queue.id, int(match[2], 16), int(match[3], 16), match[4].decode("ascii"))


def _unknown(handle: str) -> Invalid:
    shown = handle if len(handle) <= 1024 else handle[:1024] + "..."
    return Invalid("receipt_handle", f'The input receipt handle "{shown}" is not a valid receipt handle.')
