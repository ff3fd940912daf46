"""Somebody else's webhook, mail server and Twilio, and what the subscribed function calls, in the test's process: they
live on while the server dies. All but the last refuse now and then, so that some deliveries wait for their next try
across a kill.
"""

from __future__ import annotations

import email
import email.policy
import json
import re
import threading
import urllib.parse
from collections import Counter, defaultdict
from typing import Any

from aiosmtpd.controller import Controller
from helpers.ports import lasting_port
from shared.endpoint import Endpoint, Moods

KINDS = ("http", "mail", "sms", "function")
_TOKEN = re.compile(r"token=([\w%.-]+)")


class Outside:
    """``got`` has for each endpoint ("http", "mail", "sms", and what the function tells) and name the ids under which
    it came."""

    def __init__(self, seed: int) -> None:
        self.got: dict[str, dict[str, Counter[str]]] = {kind: defaultdict(Counter) for kind in KINDS}
        self.tokens: list[str] = []
        self.moods = Moods(seed)
        self._lock = threading.Lock()
        self._endpoint = Endpoint(self._post)
        self.url = self._endpoint.url
        self.mail_port = lasting_port()
        self._mail = Controller(self, hostname="127.0.0.1", port=self.mail_port)
        self._mail.start()

    def environment(self) -> dict[str, str]:
        """The settings of a server that sends here."""
        settings = {
            "ALLOW_PRIVATE_TARGETS": "true",
            "SMTP_HOST": "127.0.0.1",
            "SMTP_PORT": str(self.mail_port),
            "SMTP_TLS": "none",
            "TWILIO_URL": self.url,
            "TWILIO_ACCOUNT_SID": "AC1",
            "TWILIO_AUTH_TOKEN": "secret",
            "TWILIO_FROM": "+15550100",
            "SMS_PRICE_USD": "0",
        }
        workers = {"SLUICEWAY_FUNCTIONS__WORKERS_MAX": "2"}  # on two cores, more only start more slowly
        return workers | {f"SLUICEWAY_DELIVERY__{name}": value for name, value in settings.items()}

    def close(self) -> None:
        self._endpoint.close()
        self._mail.stop()

    def _takes(self, kind: str, text: str, sent_as: str) -> bool:
        with self._lock:
            if kind != "function" and self.moods.refuse():  # an invocation's next try is a minute away
                return False
            self.got[kind][_name(text)][sent_as] += 1
            return True

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        """aiosmtpd calls it for each mail."""
        mail: Any = email.message_from_bytes(envelope.content, policy=email.policy.default)
        text = str(mail.get_content())
        if found := _TOKEN.search(text):
            self.tokens.append(urllib.parse.unquote(found[1]))
            return "250 OK"
        if self._takes("mail", text.splitlines()[0], str(mail["Message-ID"])):
            return "250 OK"
        return "451 try again"

    def _post(self, path: str, body: bytes) -> int:
        """The status to answer."""
        if "/Messages.json" in path:
            form = dict(urllib.parse.parse_qsl(body.decode()))
            return 201 if self._takes("sms", form["Body"], "sms") else 503
        post = json.loads(body)
        if path == "/function":
            return 200 if self._takes("function", post["Message"], post["MessageId"]) else 503
        if post["Type"] == "SubscriptionConfirmation":
            self.tokens.append(post["Token"])
            return 200
        return 200 if self._takes("http", post["Message"], post["MessageId"]) else 503


def _name(text: str) -> str:
    """Of a publication, or of the object that a bucket tells of."""
    message = json.loads(text)
    if "Records" in message:
        return str(message["Records"][0]["s3"]["object"]["key"])
    return str(message.get("id", "test event"))
