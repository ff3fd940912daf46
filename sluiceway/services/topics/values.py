"""Topics, subscriptions and messages as values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property, lru_cache
from typing import Any, Final

import orjson

from sluiceway.core.identity import Arn, Scope
from sluiceway.errors import Invalid, NotFound

#: Tables: ``topics`` (name); ``subscriptions`` (topic, id); ``subscription_endpoints`` (topic, protocol,
#: endpoint); ``subscription_tokens`` (token); ``topic_deduplication`` (memory, "id" or "time", ...), where memory is the
#: topic's own; ``topic_remains`` (memory) of deleted topics that is still being removed.
TOPICS: Final = "topics"
SUBSCRIPTIONS: Final = "subscriptions"
ENDPOINTS: Final = "subscription_endpoints"
TOKENS: Final = "subscription_tokens"
DEDUPLICATION: Final = "topic_deduplication"
REMAINS: Final = "topic_remains"

#: The logs of what is told to endpoints about their subscriptions, by protocol, each with one reaction of the same
#: name: webhooks that hang must not delay mail.
NOTICES: Final[Mapping[str, str]] = {
    "http": "topic-notices",
    "https": "topic-notices",
    "email": "topic-notices/mail",
    "email-json": "topic-notices/mail",
    "sms": "topic-notices/phone",
}

_NAME = re.compile(r"[A-Za-z0-9_-]{1,256}")
_FIFO_NAME = re.compile(r"[A-Za-z0-9_-]{1,251}\.fifo")


def log_of(topic: str) -> str:
    """The name of a topic's log."""
    return f"topic/{topic}"


def check_name(name: str, fifo: bool) -> None:
    """Raises ``Invalid("name")``: 1 to 256 letters, digits, "_" and "-"; a FIFO topic's ends in ".fifo"."""
    if fifo and not _FIFO_NAME.fullmatch(name):
        raise Invalid(
            "name",
            "Invalid parameter: Fifo Topic names must end with .fifo and must be made up of only uppercase and "
            "lowercase ASCII letters, numbers, underscores, and hyphens, and must be between 1 and 256 "
            "characters long.",
        )
    if not fifo and not _NAME.fullmatch(name):
        raise Invalid("name", "Invalid parameter: Topic Name")


@dataclass(frozen=True)
class Topic:
    """``attributes`` are what the owner set, as text; ``policy`` is None for the default one. ``memory`` names what a
    FIFO topic remembers: a topic made later under the same name has another."""

    name: str
    created_ms: int
    attributes: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    policy: dict[str, Any] | None = None
    subscriptions: int = 0
    deleted: int = 0  # subscriptions that were confirmed and are deleted
    memory: str = ""

    @cached_property
    def fifo(self) -> bool:
        """Whether messages have groups and an order."""
        return self.attributes.get("FifoTopic") == "true"

    @cached_property
    def per_group(self) -> bool:
        """Whether the same deduplication id in another group is another message (high throughput)."""
        return self.fifo and self.attributes.get("FifoThroughputScope") == "MessageGroup"

    @cached_property
    def memory_key(self) -> str:
        """The first part of its keys in "topic_deduplication"; of topics of 0.1 it is the name."""
        return self.memory or self.name

    @cached_property
    def log(self) -> str:
        """The name of the log that holds its messages."""
        return log_of(self.name)

    @cached_property
    def message_bytes_max(self) -> int:
        """The owner's own limit on messages; 0 for the usual one."""
        return int(self.attributes.get("MaximumMessageSize", 0))

    def to_row(self) -> bytes:
        """As it is kept in the table "topics": JSON, as bytes so that what was made of it is found again by it."""
        return orjson.dumps(asdict(self))


def topic_of(row: bytes | dict[str, Any]) -> Topic:
    """The topic in a row of the table "topics"; older releases wrote rows that are objects."""
    return _parsed(row) if isinstance(row, bytes) else Topic(**row)


@lru_cache(maxsize=2048)  # each message asks for its topic; a topic with its policy takes some KiB
def _parsed(row: bytes) -> Topic:
    """Nobody may change what it holds: it is shared."""
    return Topic(**orjson.loads(row))


@dataclass(frozen=True, slots=True)
class Subscription:
    """``token`` confirms it while it is pending. ``attributes`` are as text, as SNS's API has them."""

    id: str
    topic: str
    protocol: str
    endpoint: str
    created_ms: int
    confirmed: bool
    token: str = ""
    token_until_ms: int = 0
    attributes: dict[str, str] = field(default_factory=dict)
    authenticated: bool = False  # confirmed by a signed request
    unsubscribe_signed: bool = False  # only signed requests may end it
    principal: str = ""  # the ARN of who subscribed it

    @property
    def reaction_id(self) -> str:
        """The id of the reaction that delivers to it."""
        return f"topic/{self.topic}/{self.id}"

    def to_json(self) -> dict[str, Any]:
        """As it is kept in the table "subscriptions"."""
        return {item.name: getattr(self, item.name) for item in fields(self)}


@dataclass(frozen=True, slots=True)
class Publication:
    """A message to publish. ``attributes`` are {name: {"Type", "Value"}}, binary values as base64.

    With ``structure`` "json", ``message`` is a JSON object of protocol -> text with a "default".
    """

    message: str
    subject: str | None = None
    attributes: dict[str, dict[str, str]] = field(default_factory=dict)
    structure: str = ""
    group_id: str = ""
    deduplication_id: str = ""


@dataclass(frozen=True, slots=True)
class Published:
    """``sequence`` is empty but for FIFO topics."""

    message_id: str
    sequence: str = ""


def topic_name(arn: str, parameter: str = "TopicArn") -> str:
    """The name in a topic's ARN; ``parameter`` is what the caller calls it. Raises ``Invalid("arn")``."""
    try:
        parsed = Arn.parse(arn)
    except ValueError:
        parts = len(arn.split(":"))
        reason = f" Reason: An ARN must have at least 6 elements, not {parts}" if parts < 6 else ""
        raise Invalid("arn", f"Invalid parameter: {parameter}{reason}") from None
    if parsed.service != "sns" or ":" in parsed.resource:
        raise Invalid("arn", f"Invalid parameter: {parameter}")
    return parsed.resource


def subscription_key(arn: str, scope: Scope) -> tuple[str, str]:
    """(topic, id) of a subscription's ARN. Raises ``Invalid("subscription_arn")``, and
    ``NotFound("subscription")`` for one of another account or region, and for the words that stand for a pending one."""
    if arn in ("PendingConfirmation", "pending confirmation"):
        raise NotFound("subscription", "Subscription does not exist")
    parts = arn.split(":")
    if len(parts) != 7 or parts[:3] != ["arn", "aws", "sns"] or not parts[5] or not parts[6]:
        reason = f" Reason: An ARN must have at least 6 elements, not {len(parts)}" if len(parts) < 6 else ""
        raise Invalid("subscription_arn", "Invalid parameter: SubscriptionArn" + reason)
    if (parts[3], parts[4]) != (scope.region, scope.account):
        raise NotFound("subscription", "Subscription does not exist")
    return parts[5], parts[6]
