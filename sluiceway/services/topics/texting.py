"""Text messages' own rules: the account's settings, who wants none, and what a month may cost.

Amazon SNS Developer Guide, "Mobile text messaging (SMS)"; API reference, SetSMSAttributes. Tables: ``sms_attributes``
(one row), ``sms_opted_out`` (phone), ``sms_spent`` (month).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from sluiceway.config import DeliverySettings
from sluiceway.core.store import Tx, View
from sluiceway.errors import Invalid

ATTRIBUTES: Final = "sms_attributes"
OPTED_OUT: Final = "sms_opted_out"
SPENT: Final = "sms_spent"

_ONE: Final = ("account",)
_MICRO: Final = 1_000_000
#: A number may be opted in once in 30 days.
_OPT_IN_MS: Final = 30 * 24 * 3600 * 1000
_PHONE = re.compile(r"\+[1-9]\d{4,14}")
_SENDER = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9-]{1,11}")
_ROLE = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/\S+")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_TYPES: Final = ("Promotional", "Transactional")
#: What GSM 03.38 can't say takes two bytes a character.
_GSM = re.compile(r"[A-Za-z0-9 \r\n@£$¥èéùìòÇØøÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ!\"#¤%&'()*+,\-./:;<=>?¡ÄÖÑÜ§¿äöñüà^{}\\\[~\]|€]*")


def clean_phone(number: str) -> str:
    """An E.164 number. Raises ``Invalid("endpoint")``."""
    digits = re.sub(r"[ ().-]", "", number)
    if not digits.isascii() or not _PHONE.fullmatch(digits):
        raise Invalid("endpoint", f"Invalid parameter: PhoneNumber Reason: {number[:40]} is not valid to publish to")
    return digits


def parts_of(text: str) -> int:
    """How many messages a text is sent as: 160 characters of GSM's alphabet, else 70; of several, 153 and 67."""
    one, many = (160, 153) if _GSM.fullmatch(text) else (70, 67)
    return 1 if len(text) <= one else -(-len(text) // many)


@dataclass(frozen=True, slots=True)
class Text:
    """A text message on its way. ``max_price_usd`` is the sender's limit for it, or None."""

    to: str
    body: str
    id: str
    sender: str = ""
    type: str = ""
    max_price_usd: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Prepared:
    """``text`` with the account's defaults, and why it may not be sent ("" if it may). ``cost`` is what was set aside for
    it in ``month``. ``over`` is what it would pass the month's limit by."""

    text: Text
    refusal: str = ""
    over: Decimal = Decimal(0)
    cost: Decimal = Decimal(0)
    month: str = ""


def choices_of(attributes: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """What a publisher chose by message attributes ("Publishing to a mobile phone"), as JSON.

    Raises ``Invalid("message_attribute")``.
    """
    found = {name: attribute["Value"] for name, attribute in attributes.items()}
    chosen: dict[str, Any] = {}
    if sender := found.get("AWS.SNS.SMS.SenderID"):
        _must(
            bool(_SENDER.fullmatch(sender)), "AWS.SNS.SMS.SenderID", "1 to 11 letters and digits, one of them a letter"
        )
        chosen["sender"] = sender
    if number := found.get("AWS.MM.SMS.OriginationNumber"):
        _must(bool(_PHONE.fullmatch(number)), "AWS.MM.SMS.OriginationNumber", "a number in E.164 format")
        chosen["sender"] = number
    if kind := found.get("AWS.SNS.SMS.SMSType"):
        _must(kind in _TYPES, "AWS.SNS.SMS.SMSType", "Promotional or Transactional")
        chosen["sms_type"] = kind
    if price := found.get("AWS.SNS.SMS.MaxPrice"):
        _must(_price(price) is not None, "AWS.SNS.SMS.MaxPrice", "an amount in USD")
        chosen["max_price"] = price
    return chosen


def _must(holds: bool, name: str, rule: str) -> None:
    if not holds:
        raise Invalid("message_attribute", f"Invalid parameter: {name} Reason: must be {rule}")


def _price(text: str) -> Decimal | None:
    try:
        price = Decimal(text)
    except InvalidOperation:
        return None
    return price if price.is_finite() and 0 <= price <= _MICRO else None


class Texting:
    """``settings`` has the price of a message and what a month may cost unless the account says otherwise."""

    def __init__(self, settings: DeliverySettings) -> None:
        self._settings = settings

    # -- the account's settings

    def attributes(self, view: View) -> dict[str, str]:
        """What is set, and the limit that always is."""
        return {"MonthlySpendLimit": str(self._settings.sms_spend_usd), **(view.get(ATTRIBUTES, _ONE) or {})}

    def set_attributes(self, tx: Tx, given: Mapping[str, str]) -> None:
        """Raises ``Invalid("attribute")``."""
        for name, value in given.items():
            check = _CHECKS.get(name)
            if check is None:
                raise Invalid("attribute", f"Invalid parameter: {name[:64]} is not a valid attribute")
            if value and not check(value):
                raise Invalid("attribute", f"Invalid parameter: {name}: {value[:64]} is not valid")
        merged = {**(tx.get(ATTRIBUTES, _ONE) or {}), **given}
        tx.put(ATTRIBUTES, _ONE, {name: value for name, value in merged.items() if value})

    # -- who wants none

    def opted_out(self, view: View, phone: str) -> bool:
        """Whether the number gets no messages."""
        row = view.get(OPTED_OUT, (phone,))
        return row is not None and row["out"]

    def list_opted_out(self, view: View, after: str, limit: int) -> list[str]:
        """Numbers that get no messages, after ``after``."""
        found: list[str] = []
        for key, row in view.scan(OPTED_OUT, start=(after + "\0",) if after else None):
            if row["out"]:
                found.append(str(key[0]))
            if len(found) == limit:
                break
        return found

    def opt_out(self, tx: Tx, phone: str) -> None:
        """The number's owner wants no more messages."""
        row = tx.get(OPTED_OUT, (phone,)) or {}
        tx.put(OPTED_OUT, (phone,), {**row, "out": True})

    def opt_in(self, tx: Tx, phone: str) -> None:
        """Send to the number again. Raises ``Invalid("opt_in")`` for the second time in 30 days."""
        row = tx.get(OPTED_OUT, (phone,))
        if row is None or not row["out"]:
            return
        if tx.now_ms - row.get("in_ms", 0) < _OPT_IN_MS:
            raise Invalid(
                "opt_in", "Invalid parameter: phoneNumber Reason: a number can be opted in once every 30 days only"
            )
        tx.put(OPTED_OUT, (phone,), {"out": False, "in_ms": tx.now_ms})

    # -- what it costs

    def cost(self, text: Text) -> Decimal:
        """What sending ``text`` costs, in USD."""
        return Decimal(str(self._settings.sms_price_usd)) * parts_of(text.body)

    def prepare(self, tx: Tx, text: Text, paid: bool) -> Prepared:
        """Get ``text`` ready to be sent, and set aside what it costs if it is ``paid`` for: so the month's limit holds
        however many are sent at the same time. ``give_back`` if it was not sent."""
        attributes = self.attributes(tx)
        cost = self.cost(text)
        text = Text(
            text.to,
            text.body,
            text.id,
            text.sender or attributes.get("DefaultSenderID", ""),
            text.type or attributes.get("DefaultSMSType", "Promotional"),
            text.max_price_usd,
        )
        limit = Decimal(attributes["MonthlySpendLimit"])
        if self.opted_out(tx, text.to):
            return Prepared(text, "Phone number is opted out")
        if text.max_price_usd is not None and cost > text.max_price_usd:
            why = f"The message would cost {cost} USD, more than its maximum price of {text.max_price_usd} USD"
            return Prepared(text, why)
        over = self.spent(tx) + cost - limit
        if over > 0:
            return Prepared(text, f"The monthly spend limit of {limit} USD is reached", over)
        if not paid:
            return Prepared(text)
        month = _month(tx.now_ms)
        self._spend(tx, month, cost)
        return Prepared(text, cost=cost, month=month)

    def spent(self, view: View) -> Decimal:
        """What this month has cost, in USD."""
        return Decimal(int((view.get(SPENT, (_month(view.now_ms),)) or {"micro_usd": 0})["micro_usd"])) / _MICRO

    def give_back(self, tx: Tx, prepared: Prepared) -> None:
        """The message was not sent."""
        self._spend(tx, prepared.month, -prepared.cost)

    def _spend(self, tx: Tx, month: str, cost: Decimal) -> None:
        before = int((tx.get(SPENT, (month,)) or {"micro_usd": 0})["micro_usd"])
        tx.put(SPENT, (month,), {"micro_usd": max(0, before + int(cost * _MICRO))})


def _month(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m")


def _is_at_most(text: str, most: int) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10 and int(text) <= most


_CHECKS: Final[Mapping[str, Callable[[str], bool]]] = {
    "DefaultSMSType": lambda value: value in _TYPES,
    "DefaultSenderID": lambda value: bool(_SENDER.fullmatch(value)),
    "DeliveryStatusIAMRole": lambda value: bool(_ROLE.fullmatch(value)),
    "DeliveryStatusSuccessSamplingRate": lambda value: _is_at_most(value, 100),
    "MonthlySpendLimit": lambda value: _is_at_most(value, _MICRO),
    "UsageReportS3Bucket": lambda value: bool(_BUCKET.fullmatch(value)),
}
