"""What the targets of topics share: the message that a dead-letter queue gets."""

from __future__ import annotations

from typing import Any

from sluiceway.core.reaction import Letter, Reaction
from sluiceway.core.store import Entry
from sluiceway.reactions.target import BaseTarget
from sluiceway.services.topics.envelopes import Envelopes, text_for, to_text


class NotificationTarget(BaseTarget):
    """Delivers a topic's messages; ``envelopes`` signs them."""

    def __init__(self, envelopes: Envelopes) -> None:
        self.envelopes = envelopes

    def cost(self, reaction: Reaction) -> int:
        """A signature takes about as long as ten plain writes (0.3 ms)."""
        return 1 if reaction.target.options.get("raw") else 10

    def content(self, value: dict[str, Any], options: dict[str, Any]) -> str:
        """The bare message for raw delivery, otherwise SNS's JSON document."""
        if options.get("raw"):
            return text_for(value, options["protocol"])
        return to_text(self.envelopes.notification(value, options))

    def letter(self, reaction: Reaction, entry: Entry, reason: str) -> Letter:
        """As SNS sends to a subscription's dead-letter queue (Developer Guide, "Dead-letter queues")."""
        attributes = {"RequestID": entry.value["id"], "ErrorCode": "DeliveryFailed", "ErrorMessage": reason[:1024]}
        return Letter(
            self.content(entry.value, reaction.target.options),
            {name: {"DataType": "String", "StringValue": text or "unknown"} for name, text in attributes.items()},
            entry.value.get("group") or "",
            text_for(entry.value, reaction.target.options["protocol"]),
        )
