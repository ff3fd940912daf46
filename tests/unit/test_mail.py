"""Mail by real SMTP servers: encrypted, with a log-in, and servers that are down, hang, refuse or talk nonsense."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default as default_policy
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from helpers.targets import TOPIC, Kit, a_kit, a_socket, certified, deliver, message, reaction
from pydantic import SecretStr

from sluiceway.core.store import Entry
from sluiceway.reactions.target import Attempt, DeliveryFailed


@pytest.fixture
async def kit(tmp_path: Path) -> AsyncIterator[Kit]:
    async with a_kit(tmp_path) as made:
        yield made


@dataclass
class Mailbox:
    """A mail server's handler: who logged in, over what, and the mail."""

    got: list[Any] = field(default_factory=list)
    encrypted: list[bool] = field(default_factory=list)
    users: list[Any] = field(default_factory=list)
    port: int = 0

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.got.append(envelope)
        self.encrypted.append(session.ssl is not None)
        self.users.append(session.auth_data)
        return "250 OK"

    def mail(self) -> EmailMessage:
        [envelope] = self.got
        return message_from_bytes(envelope.content, policy=default_policy)  # type: ignore[return-value]


def check_login(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
    good = isinstance(data, LoginPassword) and (data.login, data.password) == (b"news", b"secret")
    return AuthResult(success=good, handled=good, auth_data=b"news" if good else None)


@contextmanager
def a_mail_server(**options: Any) -> Iterator[Mailbox]:
    mailbox = Mailbox()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        mailbox.port = free.getsockname()[1]
    controller = Controller(mailbox, hostname="127.0.0.1", port=mailbox.port, **options)
    controller.start()
    try:
        yield mailbox
    finally:
        controller.stop()


def settings(port: int, **more: Any) -> dict[str, Any]:
    return {"smtp_host": "127.0.0.1", "smtp_port": port, "smtp_tls": "none", "smtp_s": 5.0,
            "mail_from": "news@example.org", **more}  # fmt: skip


async def send(kit: Kit, entry: Entry | None = None, **given: Any) -> None:
    await deliver(kit.targets(**given)["email"], reaction("email", "a@example.com"), entry or message())


async def fails(kit: Kit, **given: Any) -> DeliveryFailed:
    with pytest.raises(DeliveryFailed) as caught:
        await send(kit, **given)
    return caught.value


LOGIN: dict[str, Any] = {"smtp_user": "news", "smtp_password": SecretStr("secret")}


async def test_starttls_and_a_log_in(kit: Kit, tmp_path: Path) -> None:
    own = certified(tmp_path)
    options = {"tls_context": own.server, "require_starttls": True, "authenticator": check_login, "auth_required": True}
    with a_mail_server(**options) as mailbox:
        await send(kit, **settings(mailbox.port, smtp_tls="starttls", certificates=own.file, **LOGIN))
        assert (mailbox.encrypted, mailbox.users) == ([True], [b"news"])
        wrong = {**LOGIN, "smtp_password": SecretStr("wrong")}
        failure = await fails(kit, **settings(mailbox.port, smtp_tls="starttls", certificates=own.file, **wrong))
        assert "535" in failure.reason and not failure.permanent and "wrong" not in failure.reason
        failure = await fails(kit, **settings(mailbox.port, smtp_tls="starttls", certificates=own.file))
        assert "530" in failure.reason and not failure.permanent  # mended by the operator, not by the receiver
        assert len(mailbox.got) == 1


async def test_a_certificate_that_nobody_vouches_for_gets_neither_mail_nor_password(kit: Kit, tmp_path: Path) -> None:
    own = certified(tmp_path)
    options = {"tls_context": own.server, "authenticator": check_login}
    with a_mail_server(**options) as mailbox:
        failure = await fails(kit, **settings(mailbox.port, smtp_tls="starttls", **LOGIN))
        assert "certificate" in failure.reason.lower() and not failure.permanent and mailbox.got == []


async def test_a_server_without_starttls_gets_no_plain_mail(kit: Kit) -> None:
    with a_mail_server() as mailbox:
        failure = await fails(kit, **settings(mailbox.port, smtp_tls="starttls"))
        assert "STARTTLS" in failure.reason.upper() and not failure.permanent and mailbox.got == []


async def test_tls_from_the_first_byte(kit: Kit, tmp_path: Path) -> None:
    own = certified(tmp_path)
    with a_mail_server(ssl_context=own.server) as mailbox:
        # aiosmtpd takes the context for every connection of its listener
        await send(kit, **settings(mailbox.port, smtp_tls="tls", certificates=own.file))
        assert len(mailbox.got) == 1


async def test_what_mail_programs_look_for(kit: Kit) -> None:
    with a_mail_server() as mailbox:
        await send(kit, message("text", subject="A subject"), **settings(mailbox.port))
        mail = mailbox.mail()
    link = f"http://here:4566/_sluiceway/sns/unsubscribe?subscription={TOPIC.replace(':', '%3A')}%3Aid"
    assert mail["List-Unsubscribe"].replace(" ", "") == f"<{link}>"
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert mail["List-Id"] == "<news.000000000000.us-east-1.sns.sluiceway>"
    assert mail["Auto-Submitted"] == "auto-generated" and mail["To"] == "a@example.com"


@pytest.mark.parametrize("name", ['A "quoted" name', "Zürich\r\nBcc: x@example.com", "a" * 100, "<x@y>"])
async def test_a_display_name_stays_one_name(kit: Kit, name: str) -> None:
    with a_mail_server() as mailbox:
        target = kit.targets(**settings(mailbox.port))["email"]
        await deliver(target, reaction("email", "a@example.com", display_name=name), message())
        mail = mailbox.mail()
    assert mail["Bcc"] is None and mail["From"].addresses[0].addr_spec == "news@example.org"
    assert mailbox.got[0].rcpt_tos == ["a@example.com"]


async def test_a_request_to_confirm_has_a_link_and_no_list(kit: Kit) -> None:
    notice = {"id": "n", "type": "SubscriptionConfirmation", "protocol": "email", "endpoint": "a@example.com",
              "topic_arn": TOPIC, "subscription_arn": f"{TOPIC}:id", "token": "t" * 43, "time_ms": 0}  # fmt: skip
    with a_mail_server() as mailbox:
        target = kit.targets(**settings(mailbox.port))["notice"]
        await target.deliver(reaction("notice", "x"), [Entry(0, 0, notice)], Attempt(0, 0))
        mail = mailbox.mail()
    assert f"http://here:4566/_sluiceway/sns/confirm?token={'t' * 43}" in mail.get_content()
    assert mail["List-Unsubscribe"] is None and mail["Subject"] == "Confirm your subscription to news"


async def test_a_server_that_is_down(kit: Kit) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        failure = await fails(kit, **settings(closed.getsockname()[1]))
    assert "could not be sent" in failure.reason and not failure.permanent


@pytest.mark.parametrize(
    ("greeting", "words"),
    [
        (b"", "could not be sent"),
        (b"\x00\xff garbage\r\n", "talks nonsense"),
        (b"554 go away\r\n", "554"),
        (b"421 busy\r\n", "421"),
        (b"220 " + b"x" * 100_000 + b"\r\n", "talks nonsense"),
        (b"220 hello\r\n", "could not be sent"),  # and hangs up
    ],
)
async def test_a_server_that_greets_badly_is_tried_again(kit: Kit, greeting: bytes, words: str) -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)
        await writer.drain()

    async with a_socket(greet) as port:
        failure = await fails(kit, **settings(port, smtp_s=5.0))
        assert words in failure.reason and not failure.permanent and len(failure.reason) < 1000


async def test_a_server_that_hangs_is_given_up_in_time(kit: Kit) -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 hello\r\n")
        await asyncio.sleep(20)

    async with a_socket(hang) as port:
        began = asyncio.get_running_loop().time()
        failure = await fails(kit, **settings(port, smtp_s=0.3))
        assert not failure.permanent and asyncio.get_running_loop().time() - began < 15
