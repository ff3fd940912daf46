"""Kind "sms": a text message, through Twilio's REST API or into the outbox."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from urllib.parse import quote, urlencode

from sluiceway.config import DeliverySettings
from sluiceway.core.clock import Clock
from sluiceway.core.reaction import Reaction
from sluiceway.core.store import Entry, Store
from sluiceway.reactions.target import Attempt, Delivered, DeliveryFailed, OutwardTarget
from sluiceway.reactions.targets.notification import NotificationTarget
from sluiceway.reactions.targets.web import Web
from sluiceway.services.outbox import Note, Outbox
from sluiceway.services.topics.envelopes import Envelopes, text_for

_CHARS_MAX = 1600  # Twilio refuses a longer "Body" (error 21617)


class Texter:
    """Sends text messages; without an account in the settings they go to the outbox."""

    def __init__(self, settings: DeliverySettings, store: Store, outbox: Outbox, clock: Clock, web: Web) -> None:
        self._settings = settings
        self._store = store
        self._outbox = outbox
        self._clock = clock
        self._web = web

    async def send(self, to: str, text: str) -> None:
        """Send ``text`` to the E.164 number ``to``. Raises ``DeliveryFailed``."""
        settings, text = self._settings, text[:_CHARS_MAX]
        if not settings.twilio_account_sid:
            await self._store.commit(self._outbox.put, Note("sms", to, "", text, self._clock.now_ms()))
            return
        sender = "MessagingServiceSid" if settings.twilio_from.startswith("MG") else "From"
        form = urlencode({"To": to, sender: settings.twilio_from, "Body": text})
        secret = f"{settings.twilio_account_sid}:{settings.twilio_auth_token.get_secret_value()}"
        account = quote(settings.twilio_account_sid, safe="")
        status, answer = await self._web.post(
            f"{settings.twilio_url.rstrip('/')}/2010-04-01/Accounts/{account}/Messages.json",
            form.encode(),
            {
                "Content-Type": "application/x-www-form-urlencoded",
                "Authorization": "Basic " + base64.b64encode(secret.encode()).decode(),
            },
        )
        if not 200 <= status < 300:
            # A refused message stays refused; a wrong account (401, 403) can be mended by the operator.
            permanent = 400 <= status < 500 and status not in (401, 403, 429)
            raise DeliveryFailed(f"Twilio answered {status}: {_reason(answer)}", permanent)

    async def close(self) -> None:
        """Close the connections."""
        await self._web.close()


def _reason(answer: bytes) -> str:
    """Twilio's error document is {"code", "message", "more_info", "status"}."""
    try:
        document = json.loads(answer)
        return f"{document.get('message', '')} (code {document.get('code')})"
    except (ValueError, AttributeError, RecursionError):
        return answer[:200].decode("utf-8", "replace")


class SmsTarget(NotificationTarget, OutwardTarget):
    """The address is a phone number."""

    def __init__(self, envelopes: Envelopes, texter: Texter) -> None:
        super().__init__(envelopes)
        self._texter = texter

    async def deliver(self, reaction: Reaction, entries: Sequence[Entry], attempt: Attempt) -> Delivered | None:
        """Send each message. Raises ``DeliveryFailed``."""
        for entry in entries:
            text = text_for(entry.value, "sms")
            name = reaction.target.options.get("display_name", "")
            await self._texter.send(reaction.target.address, f"{name}> {text}" if name else text)
        return None

    async def close(self) -> None:
        """Close the connections."""
        await self._texter.close()
