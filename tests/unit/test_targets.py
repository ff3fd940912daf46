"""Targets against real servers: a webhook, a mail server, Twilio's API; and what they must never reach."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
from collections.abc import AsyncIterator
from email import message_from_bytes
from email.policy import default as default_policy
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
from aiohttp import web
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP
from helpers.targets import (
    CONFIRMATION,
    FIRST,
    NOTIFICATION,
    SCOPE,
    TOPIC,
    Endpoint,
    Kit,
    a_kit,
    an_endpoint,
    deliver,
    message,
    reaction,
    verify,
)  # fmt: skip
from pydantic import SecretStr

from sluiceway.core.invoker import Invocation
from sluiceway.core.reaction import ASYNCHRONOUS_INVOCATION, Reaction, Target
from sluiceway.core.store import Entry, Tx
from sluiceway.errors import NotFound, Throttled
from sluiceway.reactions.target import Attempt, DeliveryFailed
from sluiceway.reactions.targets.guard import Refused, check_literal, is_public
from sluiceway.reactions.targets.invoke import InvokeTarget
from sluiceway.services.outbox import Outbox


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    async with an_endpoint() as made:
        yield made


@pytest.fixture
async def kit(tmp_path: Path) -> AsyncIterator[Kit]:
    async with a_kit(tmp_path) as made:
        yield made


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize("subject", [None, "Grüße"])
async def test_a_webhook_can_verify_what_it_gets(
    kit: Kit, endpoint: Endpoint, version: str, subject: str | None
) -> None:
    entry = message("Hallo Welt ✓", **({"subject": subject} if subject else {}))
    await deliver(kit.targets()["http"], reaction("http", f"{endpoint.url}/hook?x=1", version=version), entry)
    [(request, body)] = endpoint.got
    document = json.loads(body)
    verify(document, kit.signer.certificate_pem, NOTIFICATION)
    assert request.method == "POST" and request.path_qs == "/hook?x=1"
    assert request.headers["x-amz-sns-message-type"] == "Notification"
    assert request.headers["x-amz-sns-message-id"] == document["MessageId"] == "m-1"
    assert request.headers["x-amz-sns-topic-arn"] == TOPIC
    assert request.headers["x-amz-sns-subscription-arn"] == f"{TOPIC}:id"
    assert request.headers["content-type"] == "text/plain; charset=UTF-8"
    assert document["SigningCertURL"] == "http://here:4566/_sluiceway/sns/certificate.pem"
    assert document["Timestamp"] == "2023-11-14T22:13:20.000Z"
    assert document.get("Subject") == subject


async def test_a_raw_webhook_gets_the_bare_message(kit: Kit, endpoint: Endpoint) -> None:
    made = reaction("http", endpoint.url, raw=True, content_type="application/json")
    await deliver(kit.targets()["http"], made, message('{"a": 1}'))
    [(request, body)] = endpoint.got
    assert body == b'{"a": 1}'
    assert request.headers["x-amz-sns-rawdelivery"] == "true"
    assert request.headers["content-type"] == "application/json"


async def test_a_webhook_is_asked_to_confirm(kit: Kit, endpoint: Endpoint) -> None:
    ids = {"id": "n", "topic_arn": TOPIC, "subscription_arn": f"{TOPIC}:id", "time_ms": 0, "version": "1"}
    notice = {**ids, "type": "SubscriptionConfirmation", "protocol": "http", "endpoint": endpoint.url}
    notice["token"] = "t" * 43
    targets = kit.targets()
    await targets["notice"].deliver(reaction("notice", "x"), [Entry(0, 0, notice)], FIRST)
    await targets["http"].close()
    [(request, body)] = endpoint.got
    document = json.loads(body)
    verify(document, kit.signer.certificate_pem, CONFIRMATION)
    assert request.headers["x-amz-sns-message-type"] == document["Type"] == "SubscriptionConfirmation"
    assert f"Token={'t' * 43}" in document["SubscribeURL"]


@pytest.mark.parametrize(
    ("status", "permanent"), [(500, False), (503, False), (429, False), (404, True), (400, True), (302, False)]
)
async def test_which_answers_are_final(kit: Kit, endpoint: Endpoint, status: int, permanent: bool) -> None:
    endpoint.answer = lambda request: web.Response(
        status=status, text="because", headers={"location": "http://169.254.169.254/"} if status == 302 else {}
    )
    with pytest.raises(DeliveryFailed) as caught:
        await deliver(kit.targets()["http"], reaction("http", endpoint.url), message())
    assert caught.value.permanent is permanent
    assert f"answered {status}: because" in caught.value.reason
    assert len(endpoint.got) == 1  # no redirect was followed


async def test_a_silent_endpoint_is_given_up_in_time(kit: Kit, endpoint: Endpoint) -> None:
    async def silent(request: web.Request) -> web.Response:
        await asyncio.sleep(3)
        return web.Response()

    endpoint.answer = silent
    with pytest.raises(DeliveryFailed) as caught:
        await deliver(kit.targets(http_s=0.2)["http"], reaction("http", endpoint.url), message())
    assert "did not answer within 0.2 seconds" in caught.value.reason and not caught.value.permanent


async def test_nobody_listens(kit: Kit) -> None:
    with pytest.raises(DeliveryFailed) as caught:
        await deliver(kit.targets()["http"], reaction("http", "http://127.0.0.1:9/"), message())
    assert "could not be reached" in caught.value.reason and not caught.value.permanent


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "169.254.169.254", "2130706433", "0", "0x7f.1"])
async def test_private_addresses_are_refused(kit: Kit, endpoint: Endpoint, host: str) -> None:
    port = endpoint.url.rpartition(":")[2]
    target = kit.targets(allow_private_targets=False)["http"]
    with pytest.raises(DeliveryFailed) as caught:
        await deliver(target, reaction("http", f"http://{host}:{port}/"), message())
    assert caught.value.permanent and "may not be reached" in caught.value.reason
    assert endpoint.got == []


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True), ("2606:4700::1111", True), ("10.1.2.3", False), ("172.16.0.1", False),
        ("192.168.1.1", False), ("100.64.0.1", False), ("0.0.0.0", False), ("224.0.0.1", False),
        ("::", False), ("fe80::1%eth0", False), ("fc00::1", False), ("::ffff:127.0.0.1", False),
        ("255.255.255.255", False), ("64:ff9b::7f00:1", False),
        ("2002:7f00:1::", False), ("ff02::1", False), ("::ffff:8.8.8.8", True),
        ("192.0.0.192", False), ("168.63.129.16", False), ("::ffff:192.0.0.192", False), ("fec0::1", False),
        ("64:ff9b::a83f:8110", False), ("2001:1::1", False), ("2001:20::1", False), ("2001:200::1", True),
        ("3fff::1", False),
    ],
)  # fmt: skip
def test_which_addresses_are_public(address: str, public: bool) -> None:
    assert is_public(address) is public


def test_names_are_left_to_the_resolver() -> None:
    check_literal("example.com")
    with pytest.raises(Refused):
        check_literal("10.0.0.1")


class Mailbox:
    """A mail server's handler."""

    def __init__(self) -> None:
        self.got: list[Any] = []
        self.answer = "250 OK"
        self.rcpt = "250 OK"
        self.port = 0

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        envelope.rcpt_tos.append(address)
        return self.rcpt

    async def handle_DATA(self, server: SMTP, session: Any, envelope: Any) -> str:
        self.got.append(envelope)
        return self.answer


@pytest.fixture
def smtp() -> Any:
    mailbox = Mailbox()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        mailbox.port = free.getsockname()[1]
    controller = Controller(mailbox, hostname="127.0.0.1", port=mailbox.port)
    controller.start()
    yield mailbox
    controller.stop()


def mail_settings(smtp: Any) -> dict[str, Any]:
    return {"smtp_host": "127.0.0.1", "smtp_port": smtp.port, "smtp_tls": "none", "mail_from": "news@example.org"}


async def test_mail_arrives_at_a_real_server(kit: Kit, smtp: Any) -> None:
    target = kit.targets(**mail_settings(smtp))["email"]
    made = reaction("email", "a@example.com", display_name="The News")
    await deliver(target, made, message("Schöne Grüße\n.\nEnde", subject="Über uns"))
    [envelope] = smtp.got
    mail = message_from_bytes(envelope.content, policy=default_policy)
    assert (envelope.mail_from, envelope.rcpt_tos) == ("news@example.org", ["a@example.com"])
    assert (mail["subject"], mail["from"], mail["message-id"]) == (
        "Über uns",
        "The News <news@example.org>",
        "<m-1.id@example.org>",
    )
    text = mail.get_content().replace("\r\n", "\n")
    assert text.startswith("Schöne Grüße\n.\nEnde\n")
    assert "http://here:4566/_sluiceway/sns/unsubscribe?subscription=" in text


async def test_json_mail_can_be_verified(kit: Kit, smtp: Any) -> None:
    target = kit.targets(**mail_settings(smtp))["email"]
    await deliver(target, reaction("email", "a@example.com", protocol="email-json"), message())
    content = message_from_bytes(smtp.got[0].content, policy=default_policy).get_content()
    verify(json.loads(content), kit.signer.certificate_pem, NOTIFICATION)


@pytest.mark.parametrize(
    ("rcpt", "answer", "permanent"),
    [
        ("550 no such user", "250 OK", True),
        ("450 busy", "250 OK", False),
        ("250 OK", "554 spam", True),
        ("250 OK", "451 later", False),
    ],
)
async def test_what_a_mail_server_refuses(kit: Kit, smtp: Any, rcpt: str, answer: str, permanent: bool) -> None:
    smtp.rcpt, smtp.answer = rcpt, answer
    with pytest.raises(DeliveryFailed) as caught:
        await deliver(kit.targets(**mail_settings(smtp))["email"], reaction("email", "a@example.com"), message())
    assert caught.value.permanent is permanent


def twilio(endpoint: Endpoint, **more: Any) -> dict[str, Any]:
    return {"twilio_account_sid": "AC123", "twilio_auth_token": SecretStr("secret"), "twilio_from": "+14155550000",
            "twilio_url": endpoint.url, "allow_private_targets": False, **more}  # fmt: skip


@pytest.mark.parametrize(("sender", "name"), [("+14155550000", "From"), ("MG0123", "MessagingServiceSid")])
async def test_twilio_is_called_as_its_api_says(kit: Kit, endpoint: Endpoint, sender: str, name: str) -> None:
    endpoint.answer = lambda request: web.json_response({"sid": "SM1"}, status=201)
    target = kit.targets(**twilio(endpoint, twilio_from=sender))["sms"]
    await deliver(target, reaction("sms", "+14155550101"), message("Grüße & mehr"))
    [(request, body)] = endpoint.got
    assert request.path == "/2010-04-01/Accounts/AC123/Messages.json"
    assert request.headers["authorization"] == "Basic " + base64.b64encode(b"AC123:secret").decode()
    form = dict(parse_qsl(body.decode()))
    assert form == {"To": "+14155550101", name: sender, "Body": "Grüße & mehr"}


async def test_twilio_refuses_a_number(kit: Kit, endpoint: Endpoint) -> None:
    error = {"code": 21211, "message": "Invalid 'To' Phone Number", "status": 400}
    endpoint.answer = lambda request: web.json_response(error, status=400)
    with pytest.raises(DeliveryFailed) as caught:
        await deliver(kit.targets(**twilio(endpoint))["sms"], reaction("sms", "+14155550101"), message())
    assert caught.value.permanent and "Invalid 'To' Phone Number (code 21211)" in caught.value.reason
    assert "secret" not in caught.value.reason


async def test_without_settings_mail_and_messages_go_to_the_outbox(kit: Kit) -> None:
    targets = kit.targets()
    await deliver(targets["email"], reaction("email", "a@example.com"), message(subject="S"))
    await deliver(targets["sms"], reaction("sms", "+14155550101"), message())
    notes = await kit.store.view(Outbox(10).list)
    assert [(note.kind, note.to, note.subject) for note in notes] == [
        ("email", "a@example.com", "S"),
        ("sms", "+14155550101", ""),
    ]


class Pool:
    """Stands for the function workers."""

    def __init__(self, outcome: Any) -> None:
        self.outcome = outcome
        self.calls: list[tuple[str, bytes, str | None]] = []

    async def invoke(self, function: str, payload: bytes, *, request_id: str | None = None, **_: Any) -> Invocation:
        self.calls.append((function, payload, request_id))
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


class Places:
    """Destinations that write a log."""

    def send(self, tx: Tx, target_arn: str, function_arn: str, document: dict[str, Any]) -> None:
        tx.append("destination", {"to": target_arn, **document})


def outcome(payload: bytes = b'"done"', error: str | None = None) -> Invocation:
    return Invocation(payload, error, "$LATEST", b"", 1.0, "req")


async def invoke(
    kit: Kit, result: Any, tries: int = 0, age_ms: int = 0
) -> tuple[Pool, DeliveryFailed | None, list[Any]]:
    pool = Pool(result)
    target = InvokeTarget(pool, kit.store, Places(), SCOPE)
    options = {"on_success": "arn:good", "on_failure": "arn:bad"}
    made = Reaction(
        "function/work", "function/work", Target("function-invoke", "work", options), retry=ASYNCHRONOUS_INVOCATION
    )
    entry = Entry(0, FIRST.now_ms - age_ms, {"request_id": "req", "payload": {"a": 1}})
    failure = None
    try:
        await target.deliver(made, [entry], Attempt(tries, FIRST.now_ms))
    except DeliveryFailed as error:
        failure = error
    told = await kit.store.view(lambda view: [entry.value for entry in view.read("destination", 0, 9)])
    return pool, failure, told


async def test_an_invocation_that_succeeds_is_told(kit: Kit) -> None:
    pool, failure, told = await invoke(kit, outcome())
    assert failure is None and pool.calls == [("work", b'{"a": 1}', "req")]
    [document] = told
    assert document["to"] == "arn:good" and document["requestContext"]["condition"] == "Success"
    assert document["responsePayload"] == "done" and document["requestContext"]["approximateInvokeCount"] == 1


async def test_an_error_is_tried_twice_more_and_then_told(kit: Kit) -> None:
    error = outcome(b'{"errorType": "ValueError", "errorMessage": "bad"}', "Unhandled")
    _, failure, told = await invoke(kit, error, tries=1)
    assert failure is not None and failure.reason == "Unhandled: ValueError: bad"
    assert failure.counted and not failure.permanent and told == []
    _, failure, told = await invoke(kit, error, tries=2)
    assert told[0]["to"] == "arn:bad" and told[0]["requestContext"]["condition"] == "RetriesExhausted"
    assert told[0]["responseContext"]["functionError"] == "Unhandled"
    assert [ASYNCHRONOUS_INVOCATION.delay_ms(tries, 0.5) for tries in (1, 2)] == [60_000, 120_000]


async def test_throttling_costs_no_try_and_age_ends_it(kit: Kit) -> None:
    _, failure, told = await invoke(kit, Throttled("function", "Rate exceeded"), tries=2)
    assert failure is not None and not failure.counted and failure.retry_after_ms == 1000 and told == []
    _, failure, told = await invoke(kit, Throttled("function", "Rate exceeded"), age_ms=6 * 3600 * 1000)
    assert told[0]["requestContext"]["condition"] == "EventAgeExceeded"


async def test_a_function_that_is_gone_is_given_up(kit: Kit) -> None:
    _, failure, _ = await invoke(kit, NotFound("function", "Function not found"))
    assert failure is not None and failure.permanent


async def test_a_functions_dead_letter_is_its_event(kit: Kit) -> None:
    target = InvokeTarget(Pool(outcome()), kit.store, Places(), SCOPE)
    made = Reaction("function/work", "function/work", Target("function-invoke", "work"))
    letter = target.letter(made, Entry(0, 0, {"request_id": "req", "payload": {"a": 1}}), "Unhandled: bad")
    assert json.loads(letter.body) == {"a": 1}
    assert letter.attributes["RequestID"]["StringValue"] == "req"
    assert letter.attributes["ErrorMessage"]["StringValue"] == "Unhandled: bad"
