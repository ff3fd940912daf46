"""Kind "notice": what endpoints are told about their subscriptions, and text messages without a topic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sluiceway.core.reaction import Reaction
from sluiceway.core.store import Entry
from sluiceway.reactions.target import Attempt, Delivered, OutwardTarget
from sluiceway.reactions.targets.http import post_document
from sluiceway.reactions.targets.mail import Mail, Mailer
from sluiceway.reactions.targets.phone import Texter, text_of
from sluiceway.reactions.targets.web import Web
from sluiceway.services.topics.envelopes import Envelopes, to_text


class NoticeTarget(OutwardTarget):
    """Each event names its own protocol and endpoint (see ``Topics``)."""

    def __init__(self, envelopes: Envelopes, web: Web, mailer: Mailer, texter: Texter) -> None:
        self._envelopes = envelopes
        self._web = web
        self._mailer = mailer
        self._texter = texter

    async def deliver(self, reaction: Reaction, entries: Sequence[Entry], attempt: Attempt) -> Delivered | None:
        """Send each notice. Raises ``DeliveryFailed``."""
        for entry in entries:
            notice = entry.value
            if notice["protocol"] == "sms":
                await self._texter.send(text_of(notice["endpoint"], notice["text"], notice["id"], notice))
            elif notice["protocol"] in ("http", "https"):
                text = to_text(self._envelopes.confirmation(notice))
                known = () if notice["type"] == "SubscriptionConfirmation" else ("subscription_arn",)
                ids = {name: notice[name] for name in ("id", "topic_arn", *known)}
                await post_document(self._web, notice["endpoint"], text, notice["type"], ids, {})
            else:
                await self._mail(notice)
        return None

    async def _mail(self, notice: dict[str, Any]) -> None:
        topic = notice["topic_arn"].rpartition(":")[2]
        if notice["protocol"] == "email-json":
            body = to_text(self._envelopes.confirmation(notice))
        else:
            body = (
                f"You have chosen to subscribe to the topic {notice['topic_arn']}.\n\n"
                "To confirm, open this page and press its button:\n"
                f"{self._envelopes.confirm_page(notice['token'])}\n\n"
                "If you did not ask for this, do nothing.\n"
            )
        await self._mailer.send(Mail(notice["endpoint"], f"Confirm your subscription to {topic}", body, notice["id"]))
