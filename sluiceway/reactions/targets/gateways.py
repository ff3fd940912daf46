"""Who carries text messages: Twilio's REST API, or any gateway that takes a JSON POST."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from typing import Any, Final, Protocol
from urllib.parse import quote, urlencode

from sluiceway.config import DeliverySettings
from sluiceway.reactions.target import DeliveryFailed
from sluiceway.reactions.targets.web import Web
from sluiceway.services.topics.texting import Text

_TWILIO_CHARS_MAX: Final = 1600  # Twilio refuses a longer "Body" (error 21617)
_TWILIO_OPTED_OUT: Final = 21610  # "Attempt to send to unsubscribed recipient"
_PLACE = re.compile(r"\{(to|from|text|id|type)\}")
#: A wrong account or a full one can be mended by the operator: the message is worth another try.
_MENDABLE: Final = frozenset({401, 402, 403, 408, 429})


class OptedOut(DeliveryFailed):
    """The receiver has told the carrier to stop."""


class Gateway(Protocol):
    """PORT: one way to send text messages."""

    async def send(self, text: Text) -> None:
        """Raises ``DeliveryFailed``, and ``OptedOut`` where the carrier knows that the receiver wants none."""


def gateway_of(settings: DeliverySettings, web: Web) -> Gateway | None:
    """The one that is set; None for none."""
    if settings.twilio_account_sid:
        return Twilio(settings, web)
    return HttpGateway(settings, web) if settings.sms_url else None


class Twilio:
    """Twilio's Messages resource (Twilio documentation, "Messages resource", "Error codes")."""

    def __init__(self, settings: DeliverySettings, web: Web) -> None:
        self._settings = settings
        self._web = web

    async def send(self, text: Text) -> None:
        """See ``Gateway``."""
        settings = self._settings
        sender = "MessagingServiceSid" if settings.twilio_from.startswith("MG") and not text.sender else "From"
        form = urlencode(
            {"To": text.to, sender: text.sender or settings.twilio_from, "Body": text.body[:_TWILIO_CHARS_MAX]}
        )
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
        if 200 <= status < 300:
            return
        code, words = _twilio_reason(answer)
        if code == _TWILIO_OPTED_OUT:
            raise OptedOut(f"Twilio answered {status}: {words}", permanent=True)
        raise DeliveryFailed(f"Twilio answered {status}: {words}", _permanent(status))


class HttpGateway:
    """A JSON POST that the operator has written down."""

    def __init__(self, settings: DeliverySettings, web: Web) -> None:
        self._settings = settings
        self._web = web

    async def send(self, text: Text) -> None:
        """See ``Gateway``."""
        settings, headers = self._settings, {"Content-Type": "application/json"}
        if settings.sms_authorization.get_secret_value():
            headers["Authorization"] = settings.sms_authorization.get_secret_value()
        sender = text.sender or settings.sms_from
        values = {"to": text.to, "from": sender, "text": text.body, "id": text.id, "type": text.type}
        try:
            template = json.loads(settings.sms_body)
        except ValueError as error:
            raise DeliveryFailed(f"The setting delivery.sms_body is not JSON: {error}.") from None
        body = json.dumps(_filled(template, values)).encode()
        status, answer = await self._web.post(settings.sms_url, body, headers)
        if not 200 <= status < 300:
            words = " ".join(answer[:200].decode("utf-8", "replace").split())
            raise DeliveryFailed(f"The text message gateway answered {status}: {words}", _permanent(status))


def _permanent(status: int) -> bool:
    return 400 <= status < 500 and status not in _MENDABLE


def _filled(template: Any, values: Mapping[str, str]) -> Any:
    """The template with its places filled in. What is filled in is never looked at again."""
    if isinstance(template, str):
        return _PLACE.sub(lambda place: values[place[1]], template)
    if isinstance(template, dict):
        return {name: _filled(value, values) for name, value in template.items()}
    return [_filled(item, values) for item in template] if isinstance(template, list) else template


def _twilio_reason(answer: bytes) -> tuple[int, str]:
    """Twilio's error document is {"code", "message", "more_info", "status"}."""
    try:
        document = json.loads(answer)
        return int(document.get("code") or 0), f"{document.get('message', '')} (code {document.get('code')})"
    except (ValueError, TypeError, AttributeError, RecursionError):
        return 0, answer[:200].decode("utf-8", "replace")
