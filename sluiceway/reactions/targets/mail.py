"""Kind "email": a mail to the address, through the operator's mail server or into the outbox."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import formatdate
from typing import Any, Final

from sluiceway.config import DeliverySettings
from sluiceway.core.clock import Clock
from sluiceway.core.reaction import Reaction
from sluiceway.core.store import Entry, Store
from sluiceway.core.trust import trust
from sluiceway.reactions.target import Attempt, Delivered, DeliveryFailed, OutwardTarget
from sluiceway.reactions.targets.notification import NotificationTarget
from sluiceway.services.outbox import Note, Outbox
from sluiceway.services.topics.envelopes import Envelopes, text_for, to_text

_REASON: Final = 300  # characters of a server's words that are kept
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


@dataclass(frozen=True, slots=True)
class Mail:
    """``id`` stays the same when it is sent again."""

    to: str
    subject: str
    body: str
    id: str
    sender_name: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


class Mailer:
    """Sends mail; without a mail server in the settings it goes to the outbox."""

    def __init__(self, settings: DeliverySettings, store: Store, outbox: Outbox, clock: Clock) -> None:
        self._settings = settings
        self._store = store
        self._outbox = outbox
        self._clock = clock

    async def send(self, mail: Mail) -> None:
        """Send one mail. Raises ``DeliveryFailed``."""
        settings, to = self._settings, mail.to
        if not settings.smtp_host:
            note = Note("email", to, mail.subject, mail.body, self._clock.now_ms())
            await self._store.commit(self._outbox.put, note)
            return
        import aiosmtplib  # here: most servers have no mail server, and a start should not wait for it

        try:
            await aiosmtplib.send(
                self._message(mail),
                hostname=settings.smtp_host,
                port=settings.smtp_port,
                username=settings.smtp_user or None,
                password=settings.smtp_password.get_secret_value() if settings.smtp_user else None,
                use_tls=settings.smtp_tls == "tls",
                start_tls=settings.smtp_tls == "starttls",
                tls_context=trust(settings.certificates) if settings.smtp_tls != "none" else None,
                timeout=settings.smtp_s,
            )
        except aiosmtplib.SMTPRecipientsRefused as error:
            refused = error.recipients[0]
            permanent = refused.code >= 500
            reason = f"The mail server refused {to}: {refused.code} {_line(refused.message)[:_REASON]}"
            raise DeliveryFailed(reason, permanent) from None
        except aiosmtplib.SMTPResponseException as error:
            # 5xx is final for the mail itself; for the server's greeting or log-in, somebody can mend it. What is
            # no answer of SMTP's has the code -1.
            permanent = error.code >= 500 and isinstance(error, aiosmtplib.SMTPDataError)
            answer = f"answered {error.code} " if error.code > 0 else "talks nonsense: "
            raise DeliveryFailed(f"The mail server {answer}{_line(error.message)[:_REASON]}", permanent) from None
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            words = _line(str(error))[:_REASON]
            raise DeliveryFailed(f"The mail could not be sent: {type(error).__name__}: {words}") from None

    def _message(self, mail: Mail) -> EmailMessage:
        sender = self._settings.mail_from
        message = EmailMessage()
        message["From"] = Address(_line(mail.sender_name), addr_spec=sender)
        message["To"] = mail.to
        message["Subject"] = _line(mail.subject)
        message["Date"] = formatdate(self._clock.now_ms() / 1000)
        message["Message-ID"] = f"<{mail.id}@{sender.rpartition('@')[2]}>"
        message["Auto-Submitted"] = "auto-generated"
        for name, value in mail.headers.items():
            message[name] = value
        message.set_content(mail.body.encode("utf-8", "replace").decode())
        return message


def _line(text: str) -> str:
    """``text`` without what would begin another header."""
    return " ".join(_CONTROL.sub(" ", text).split())


class EmailTarget(NotificationTarget, OutwardTarget):
    """The address is a mail address; the protocol "email-json" sends SNS's JSON document."""

    def __init__(self, envelopes: Envelopes, mailer: Mailer) -> None:
        super().__init__(envelopes)
        self._mailer = mailer

    async def deliver(self, reaction: Reaction, entries: Sequence[Entry], attempt: Attempt) -> Delivered | None:
        """Send each message. Raises ``DeliveryFailed``."""
        options, to = reaction.target.options, reaction.target.address
        for entry in entries:
            value = entry.value
            subject = value.get("subject") or f"Message from {options['topic_arn'].rpartition(':')[2]}"
            if options["protocol"] == "email-json":
                body = to_text(self.envelopes.notification(value, options))
            else:
                link = self.envelopes.unsubscribe_page(options["subscription_arn"])
                body = f"{text_for(value, 'email')}\n\n--\nTo stop these mails, open this page:\n{link}\n"
            mail_id = f"{value['id']}.{options['subscription_arn'].rpartition(':')[2]}"
            name = options.get("display_name", "")
            await self._mailer.send(Mail(to, subject, body, mail_id, name, self._list_headers(options)))
        return None

    def _list_headers(self, options: dict[str, Any]) -> dict[str, str]:
        """What mail programs offer to unsubscribe by (RFC 2369, RFC 8058: one press, without opening a page)."""
        topic, account, region = (options["topic_arn"].split(":")[part] for part in (5, 4, 3))
        link = self.envelopes.unsubscribe_page(options["subscription_arn"])
        return {
            "List-Id": f"<{topic}.{account}.{region}.sns.sluiceway>",
            "List-Unsubscribe": f"<{link}>",
            "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
        }
