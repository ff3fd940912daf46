"""Text messages: Twilio's API and a gateway of one's own at the other end, opt-outs, and what a month may cost."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
from aiohttp import web
from helpers.targets import FIRST, Endpoint, Kit, a_kit, an_endpoint, deliver, message, reaction
from helpers.waiting import until
from pydantic import SecretStr

from sluiceway.config import DeliverySettings
from sluiceway.core.store import Tx
from sluiceway.errors import Invalid
from sluiceway.reactions.target import DeliveryFailed
from sluiceway.services.outbox import Outbox
from sluiceway.services.topics.texting import Texting, choices_of, clean_phone, parts_of

PHONE = "+14155550101"
ERRORS: dict[str, tuple[int, int, str]] = {
    "+15005550001": (400, 21211, "The 'To' number is not a valid phone number."),
    "+15005550004": (400, 21610, "Attempt to send to unsubscribed recipient"),
    "+15005550009": (400, 21614, "'To' number is not a valid mobile number"),
    "+15005550429": (429, 20429, "Too Many Requests"),
    "+15005550500": (500, 20500, "Internal Server Error"),
}


class TwilioServer:
    """Twilio's Messages resource, as far as its documentation says what it answers."""

    def __init__(self) -> None:
        self.sent: list[dict[str, str]] = []

    def answer(self, request: web.Request, body: bytes) -> web.Response:
        form = dict(parse_qsl(body.decode()))
        given = base64.b64decode(request.headers.get("Authorization", "").removeprefix("Basic ")).decode()
        if request.path != "/2010-04-01/Accounts/AC123/Messages.json" or request.method != "POST":
            return self._error(404, 20404, "The requested resource was not found")
        if given != "AC123:secret":
            return self._error(401, 20003, "Authenticate")
        if not form.get("Body"):
            return self._error(400, 21602, "Message body is required.")
        if form.get("To", "") in ERRORS:
            return self._error(*ERRORS[form["To"]])
        self.sent.append(form)
        return web.json_response({"sid": f"SM{len(self.sent)}", "status": "queued", "to": form["To"]}, status=201)

    def _error(self, status: int, code: int, words: str) -> web.Response:
        return web.json_response({"code": code, "message": words, "more_info": "", "status": status}, status=status)


@pytest.fixture
async def kit(tmp_path: Path) -> AsyncIterator[Kit]:
    async with a_kit(tmp_path) as made:
        yield made


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    async with an_endpoint() as made:
        yield made


@pytest.fixture
def twilio(endpoint: Endpoint) -> TwilioServer:
    server = TwilioServer()
    endpoint.answer = lambda request: server.answer(request, endpoint.got[-1][1])
    return server


def settings(endpoint: Endpoint, **more: Any) -> dict[str, Any]:
    return {"twilio_account_sid": "AC123", "twilio_auth_token": SecretStr("secret"), "twilio_from": "+14155550000",
            "twilio_url": endpoint.url, "allow_private_targets": False, **more}  # fmt: skip


async def send(kit: Kit, to: str = PHONE, text: str = "hi", attributes: Any = None, **given: Any) -> None:
    more = {"attributes": attributes} if attributes else {}
    await deliver(kit.targets(**given)["sms"], reaction("sms", to), message(text, **more))


async def fails(kit: Kit, to: str = PHONE, text: str = "hi", attributes: Any = None, **given: Any) -> DeliveryFailed:
    with pytest.raises(DeliveryFailed) as caught:
        await send(kit, to, text, attributes, **given)
    return caught.value


@pytest.mark.parametrize(
    ("to", "permanent"),
    [("+15005550001", True), ("+15005550009", True), ("+15005550429", False), ("+15005550500", False)],
)
async def test_twilios_refusals(kit: Kit, endpoint: Endpoint, twilio: TwilioServer, to: str, permanent: bool) -> None:
    failure = await fails(kit, to, **settings(endpoint))
    assert failure.permanent is permanent and f"(code {ERRORS[to][1]})" in failure.reason
    assert await kit.store.view(Texting(DeliverySettings()).spent) == 0  # nothing was sent


async def test_a_wrong_account_is_for_the_operator_to_mend(kit: Kit, endpoint: Endpoint, twilio: TwilioServer) -> None:
    failure = await fails(kit, **settings(endpoint, twilio_auth_token=SecretStr("wrong")))
    assert not failure.permanent and "(code 20003)" in failure.reason and "wrong" not in failure.reason


async def test_who_told_the_carrier_to_stop_is_opted_out(kit: Kit, endpoint: Endpoint, twilio: TwilioServer) -> None:
    texting, to = Texting(DeliverySettings()), "+15005550004"
    assert (await fails(kit, to, **settings(endpoint))).permanent
    assert await kit.store.view(texting.opted_out, to)
    asked = len(endpoint.got)
    failure = await fails(kit, to, **settings(endpoint))
    assert failure.permanent and failure.reason == "Phone number is opted out." and len(endpoint.got) == asked
    await kit.store.commit(texting.opt_in, to)
    assert not await kit.store.view(texting.opted_out, to)
    await kit.store.commit(texting.opt_in, to)  # nothing to do
    await kit.store.commit(texting.opt_out, to)
    with pytest.raises(Invalid, match="30 days"):
        await kit.store.commit(texting.opt_in, to)


async def test_the_month_has_a_limit(kit: Kit, endpoint: Endpoint, twilio: TwilioServer) -> None:
    given, texting = settings(endpoint, sms_price_usd=0.3), Texting(DeliverySettings(sms_price_usd=0.3))
    for _ in range(3):
        await send(kit, **given)
    failure = await fails(kit, **given)
    assert failure.permanent and failure.reason == "The monthly spend limit of 1 USD is reached."
    assert await kit.store.view(texting.spent) == Decimal("0.9") and len(twilio.sent) == 3
    await kit.store.commit(texting.set_attributes, {"MonthlySpendLimit": "2"})
    await send(kit, **given)
    await kit.store.commit(texting.set_attributes, {"MonthlySpendLimit": "0"})
    assert (await fails(kit, **given)).permanent and len(twilio.sent) == 4


async def test_the_limit_holds_however_many_are_sent_at_once(kit: Kit, endpoint: Endpoint) -> None:
    """Ten at the same time, of which three fit, and whose gateway answers when all have come."""
    given, texting = settings(endpoint, sms_price_usd=0.3), Texting(DeliverySettings(sms_price_usd=0.3))
    answers = asyncio.Event()

    async def answer(request: web.Request) -> web.Response:
        await answers.wait()
        return web.json_response({"sid": "SM1"}, status=201)

    endpoint.answer = answer
    target = kit.targets(**given)["sms"]
    given_to = reaction("sms", PHONE), [message("hi")], FIRST
    tries = [asyncio.create_task(target.deliver(*given_to)) for _ in range(10)]  # type: ignore[var-annotated]
    await until(lambda: len(endpoint.got) >= 3 and sum(task.done() for task in tries) >= 7)
    assert await kit.store.view(texting.spent) == Decimal("0.9") and len(endpoint.got) == 3
    answers.set()
    results = await asyncio.gather(*tries, return_exceptions=True)
    refused = [result for result in results if isinstance(result, DeliveryFailed)]
    assert len(refused) == 7 and len(endpoint.got) == 3
    assert not any(one.permanent for one in refused)  # those under way might have failed, and made room
    assert await kit.store.view(texting.spent) == Decimal("0.9")
    with pytest.raises(DeliveryFailed) as caught:
        await target.deliver(*given_to)
    assert caught.value.permanent
    await target.close()


async def test_what_was_not_sent_is_given_back_to_its_month(kit: Kit, endpoint: Endpoint, twilio: TwilioServer) -> None:
    given, texting = settings(endpoint, sms_price_usd=0.6), Texting(DeliverySettings(sms_price_usd=0.6))
    for to in ERRORS:
        await fails(kit, to, **given)
        assert await kit.store.view(texting.spent) == 0
    endpoint.answer = lambda request: web.Response(status=200, text="gibberish" * 1000)
    await send(kit, **given)
    assert await kit.store.view(texting.spent) == Decimal("0.6")
    assert (await fails(kit, **given)).permanent


async def test_last_months_spending_does_not_count(kit: Kit) -> None:
    def long_ago(tx: Tx) -> None:
        tx.put("sms_spent", ("2020-01",), {"micro_usd": 10**9})

    await kit.store.commit(long_ago)
    assert await kit.store.view(Texting(DeliverySettings()).spent) == 0


def chosen(**given: str) -> dict[str, dict[str, str]]:
    names = {"sender": "AWS.SNS.SMS.SenderID", "kind": "AWS.SNS.SMS.SMSType", "price": "AWS.SNS.SMS.MaxPrice",
             "number": "AWS.MM.SMS.OriginationNumber"}  # fmt: skip
    return {names[name]: {"Type": "String", "Value": value} for name, value in given.items()}


async def test_a_message_may_name_its_sender_and_its_price(kit: Kit, endpoint: Endpoint, twilio: TwilioServer) -> None:
    await send(kit, attributes=chosen(sender="Sluiceway", price="0.50"), **settings(endpoint))
    await send(kit, attributes=chosen(number="+14155559999"), **settings(endpoint, twilio_from="MG1"))
    assert [form["From"] for form in twilio.sent] == ["Sluiceway", "+14155559999"]
    failure = await fails(kit, attributes=chosen(price="0.001"), **settings(endpoint))
    assert failure.permanent and "more than its maximum price of 0.001 USD" in failure.reason


@pytest.mark.parametrize(
    "wrong", [{"sender": "12345"}, {"sender": "twelve-chars"}, {"kind": "Urgent"}, {"price": "free"}, {"price": "NaN"},
              {"number": "911"}])  # fmt: skip
def test_choices_that_are_none(wrong: dict[str, str]) -> None:
    with pytest.raises(Invalid):
        choices_of(chosen(**wrong))


async def test_a_gateway_of_ones_own(kit: Kit, endpoint: Endpoint) -> None:
    given = {
        "sms_url": f"{endpoint.url}/send",
        "sms_authorization": SecretStr("Bearer key"),
        "sms_from": "Sluice",
        "sms_body": '{"message": {"to": ["{to}"], "body": "{from}: {text}", "ref": "{id}", "kind": "{type}"}, "n": 1}',
    }
    text = 'a "quoted" {to} text\nand \\ more ✓'
    await send(kit, text=text, **given)
    [(request, body)] = endpoint.got
    assert request.path == "/send" and request.headers["Authorization"] == "Bearer key"
    assert json.loads(body) == {
        "message": {"to": [PHONE], "body": f"Sluice: {text}", "ref": "m-1", "kind": "Promotional"}, "n": 1,
    }  # fmt: skip
    for status, permanent in ((400, True), (422, True), (401, False), (402, False), (429, False), (503, False)):
        endpoint.answer = lambda request, status=status: web.Response(status=status, text="no")  # type: ignore[misc]
        failure = await fails(kit, **given)
        assert failure.permanent is permanent and f"answered {status}: no" in failure.reason


async def test_a_gateway_that_is_set_wrongly_is_for_the_operator_to_mend(kit: Kit, endpoint: Endpoint) -> None:
    failure = await fails(kit, sms_url=endpoint.url, sms_body='{"to": {to}}')
    assert not failure.permanent and "delivery.sms_body is not JSON" in failure.reason and endpoint.got == []


async def test_without_a_gateway_the_outbox_has_them_and_they_cost_nothing(kit: Kit) -> None:
    await send(kit, text="kept")
    assert [note.body for note in await kit.store.view(Outbox(9).list)] == ["kept"]
    assert await kit.store.view(Texting(DeliverySettings()).spent) == 0


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", 1),
        ("x" * 160, 1),
        ("x" * 161, 2),
        ("x" * 306, 2),
        ("x" * 307, 3),
        ("ж" * 70, 1),
        ("ж" * 71, 2),
        ("é€" * 80, 1),
    ],
)
def test_how_many_messages_a_text_is(text: str, parts: int) -> None:
    assert parts_of(text) == parts


@pytest.mark.parametrize("number", ["+14155550101", "+1 (415) 555-0101", "+49 30 1234567", "+441234567890"])
def test_numbers(number: str) -> None:
    assert clean_phone(number).startswith("+")


@pytest.mark.parametrize(
    "number", ["", "911", "+", "+0123456", "4155550101", "+1415555010x", "+" + "1" * 16, "+١٢٣٤٥٦٧"]
)
def test_what_is_no_number(number: str) -> None:
    with pytest.raises(Invalid):
        clean_phone(number)


@pytest.mark.parametrize(
    "wrong",
    [{"MonthlySpendLimit": "-1"}, {"MonthlySpendLimit": "1.5"}, {"DefaultSMSType": "Urgent"}, {"DefaultSenderID": "1"},
     {"DeliveryStatusSuccessSamplingRate": "101"}, {"DeliveryStatusIAMRole": "x"}, {"Nonsense": "1"},
     {"UsageReportS3Bucket": "NO"}, {"MonthlySpendLimit": "000000000999999999"},
     {"DeliveryStatusSuccessSamplingRate": "000000000101"}],
)  # fmt: skip
async def test_settings_of_the_account_that_are_refused(kit: Kit, wrong: dict[str, str]) -> None:
    with pytest.raises(Invalid):
        await kit.store.commit(Texting(DeliverySettings()).set_attributes, wrong)
    assert await kit.store.view(Texting(DeliverySettings()).attributes) == {"MonthlySpendLimit": "1"}
