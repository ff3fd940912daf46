"""Kind "email": a mail to the address, through the operator's mail server or into the outbox."""

from __future__ import annotations

from collections.abc import Sequence
from email.message import EmailMessage
from email.utils import formatdate

from sluiceway.config import DeliverySettings
from sluiceway.core.clock import Clock
from sluiceway.core.reaction import Reaction
from sluiceway.core.store import Entry, Store
from sluiceway.reactions.target import Attempt, Delivered, DeliveryFailed, OutwardTarget
from sluiceway.reactions.targets.notification import NotificationTarget
from sluiceway.services.outbox import Note, Outbox
from sluiceway.services.topics.envelopes import Envelopes, text_for, to_text


class Mailer:
    """Sends mail; without a mail server in the settings it goes to the outbox."""

    def __init__(self, settings: DeliverySettings, store: Store, outbox: Outbox, clock: Clock) -> None:
        self._settings = settings
        self._store = store
        self._outbox = outbox
        self._clock = clock

    async def send(self, to: str, subject: str, body: str, message_id: str, sender_name: str = "") -> None:
        """Send one mail. ``message_id`` stays the same when it is sent again. Raises ``DeliveryFailed``."""
        if not self._settings.smtp_host:
            await self._store.commit(self._outbox.put, Note("email", to, subject, body, self._clock.now_ms()))
            return
        import aiosmtplib  # here: most servers have no mail server, and a start should not wait for it

        message = self._message(to, subject, body, message_id, sender_name)
        settings = self._settings
        try:
            await aiosmtplib.send(
                message,
                hostname=settings.smtp_host,
                port=settings.smtp_port,
                username=settings.smtp_user or None,
                password=settings.smtp_password.get_secret_value() if settings.smtp_user else None,
                use_tls=settings.smtp_tls == "tls",
                start_tls=settings.smtp_tls == "starttls",
                timeout=settings.smtp_s,
            )
        except aiosmtplib.SMTPRecipientsRefused as error:
            refused = error.recipients[0]
            permanent = refused.code >= 500
            raise DeliveryFailed(f"The mail server refused {to}: {refused.code} {refused.message}", permanent) from None
        except aiosmtplib.SMTPResponseException as error:
            # 5xx is final for the mail itself; for the server's greeting or log-in, somebody can mend it.
            permanent = error.code >= 500 and isinstance(error, aiosmtplib.SMTPDataError)
            raise DeliveryFailed(f"The mail server answered {error.code} {error.message}", permanent) from None
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            raise DeliveryFailed(f"The mail could not be sent: {type(error).__name__}: {error}") from None

    def _message(self, to: str, subject: str, body: str, message_id: str, sender_name: str) -> EmailMessage:
        sender = self._settings.mail_from
        message = EmailMessage()
        name = sender_name.replace('"', "").replace("\\", "")
        message["From"] = f'"{name}" <{sender}>' if name else sender
        message["To"] = to
        message["Subject"] = subject
        message["Date"] = formatdate(self._clock.now_ms() / 1000)
        message["Message-ID"] = f"<{message_id}@{sender.rpartition('@')[2]}>"
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(body.encode("utf-8", "replace").decode())
        return message


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
            message_id = f"{value['id']}.{options['subscription_arn'].rpartition(':')[2]}"
            await self._mailer.send(to, subject, body, message_id, options.get("display_name", ""))
        return None
