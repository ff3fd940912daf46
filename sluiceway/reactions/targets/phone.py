"""Kind "sms": a text message, through the operator's gateway or into the outbox."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from sluiceway.core.clock import Clock
from sluiceway.core.reaction import Reaction
from sluiceway.core.store import Entry, Store, Tx
from sluiceway.errors import Invalid
from sluiceway.reactions.target import Attempt, Delivered, DeliveryFailed, OutwardTarget
from sluiceway.reactions.targets.gateways import Gateway, OptedOut
from sluiceway.reactions.targets.notification import NotificationTarget
from sluiceway.reactions.targets.web import Web
from sluiceway.services.outbox import Note, Outbox
from sluiceway.services.topics.envelopes import Envelopes, text_for
from sluiceway.services.topics.texting import Prepared, Text, Texting, choices_of


def text_of(to: str, body: str, message_id: str, choices: Mapping[str, Any]) -> Text:
    """``choices`` are those of ``choices_of``."""
    price = choices.get("max_price")
    sender, kind = str(choices.get("sender", "")), str(choices.get("sms_type", ""))
    return Text(to, body, message_id, sender, kind, Decimal(price) if price else None)


class Texter:
    """Sends text messages; without a gateway they go to the outbox, and cost nothing.

    What a message costs is set aside before it is sent, and given back when the gateway did not take it. What a crash
    or a stop interrupts stays counted: nobody knows whether it was sent.
    """

    def __init__(self, store: Store, texting: Texting, outbox: Outbox, gateway: Gateway | None, clock: Clock) -> None:
        self._store = store
        self._texting = texting
        self._outbox = outbox
        self._gateway = gateway
        self._clock = clock
        self._under_way = Decimal(0)  # USD set aside for what is being sent

    async def send(self, text: Text) -> None:
        """Send ``text``. Raises ``DeliveryFailed``."""
        prepared = await self._store.commit(self._texting.prepare, text, self._gateway is not None)
        if prepared.refusal:
            may_fit = 0 < prepared.over <= self._under_way  # if those under way fail
            raise DeliveryFailed(f"{prepared.refusal}.", permanent=not may_fit)
        text = prepared.text
        if self._gateway is None:
            await self._store.commit(self._outbox.put, Note("sms", text.to, "", text.body, self._clock.now_ms()))
            return
        self._under_way += prepared.cost
        try:
            await self._gateway.send(text)
        except DeliveryFailed as failure:
            await self._store.commit(self._not_sent, prepared, isinstance(failure, OptedOut))
            raise
        finally:
            self._under_way -= prepared.cost

    def _not_sent(self, tx: Tx, prepared: Prepared, opted_out: bool) -> None:
        self._texting.give_back(tx, prepared)
        if opted_out:
            self._texting.opt_out(tx, prepared.text.to)


class SmsTarget(NotificationTarget, OutwardTarget):
    """The address is a phone number. ``web`` is the gateway's."""

    def __init__(self, envelopes: Envelopes, texter: Texter, web: Web) -> None:
        super().__init__(envelopes)
        self._texter = texter
        self._web = web

    async def deliver(self, reaction: Reaction, entries: Sequence[Entry], attempt: Attempt) -> Delivered | None:
        """Send each message. Raises ``DeliveryFailed``."""
        name = reaction.target.options.get("display_name", "")
        for entry in entries:
            body = text_for(entry.value, "sms")
            try:
                choices = choices_of(entry.value.get("attributes") or {})
            except Invalid as error:
                raise DeliveryFailed(error.message, permanent=True) from None
            body = f"{name}> {body}" if name else body
            await self._texter.send(text_of(reaction.target.address, body, entry.value["id"], choices))
        return None

    async def close(self) -> None:
        """Close the connections."""
        await self._web.close()
