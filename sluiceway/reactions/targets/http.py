"""Kind "http": a webhook, called as SNS calls HTTP(S) endpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from sluiceway.core.reaction import Reaction
from sluiceway.core.store import Entry
from sluiceway.reactions.target import Attempt, Delivered, OutwardTarget
from sluiceway.reactions.targets.notification import NotificationTarget
from sluiceway.reactions.targets.pace import Pace
from sluiceway.reactions.targets.web import Web, check_status
from sluiceway.services.topics.envelopes import Envelopes

AGENT: Final = "Amazon Simple Notification Service Agent"


async def post_document(
    web: Web, url: str, text: str, kind: str, ids: Mapping[str, str], extra: Mapping[str, str]
) -> None:
    """POST one of SNS's documents with its headers. ``ids`` has "id", "topic_arn" and maybe
    "subscription_arn" (a request to confirm has none yet). Raises ``DeliveryFailed``."""
    headers = {
        "User-Agent": AGENT,
        "Content-Type": "text/plain; charset=UTF-8",
        "x-amz-sns-message-type": kind,
        "x-amz-sns-message-id": ids["id"],
        "x-amz-sns-topic-arn": ids["topic_arn"],
        **({"x-amz-sns-subscription-arn": ids["subscription_arn"]} if "subscription_arn" in ids else {}),
        **extra,
    }
    status, answer = await web.post(url, text.encode("utf-8", "replace"), headers)
    check_status(urlsplit(url).hostname or "", status, answer)


class HttpTarget(NotificationTarget, OutwardTarget):
    """The address is the URL."""

    def __init__(self, envelopes: Envelopes, web: Web) -> None:
        super().__init__(envelopes)
        self._web = web
        self._pace = Pace()

    async def deliver(self, reaction: Reaction, entries: Sequence[Entry], attempt: Attempt) -> Delivered | None:
        """POST each message. Raises ``DeliveryFailed``."""
        options: dict[str, Any] = reaction.target.options
        for entry in entries:
            extra = {"Content-Type": options.get("content_type", "text/plain; charset=UTF-8")}
            if options.get("raw"):
                extra["x-amz-sns-rawdelivery"] = "true"
            ids = {
                "id": entry.value["id"],
                "topic_arn": options["topic_arn"],
                "subscription_arn": options["subscription_arn"],
            }
            if options.get("per_second"):
                await self._pace.wait(options["subscription_arn"], options["per_second"])
            text = self.content(entry.value, options)
            await post_document(self._web, reaction.target.address, text, "Notification", ids, extra)
        return None

    async def close(self) -> None:
        """Close the connections."""
        await self._web.close()
