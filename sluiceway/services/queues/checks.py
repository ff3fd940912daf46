"""What messages may be (SQS API reference, SendMessage; SQS Developer Guide, "Message quotas")."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any, Final

from sluiceway.config import QueueSettings
from sluiceway.errors import Invalid, TooLarge
from sluiceway.services.queues.values import Message

_FIFO_ID = re.compile(r"[A-Za-z0-9!-/:-@\[-`{-~]{1,128}")
_ATTRIBUTE_NAME = re.compile(r"(?!\.)(?!.*\.\.)[A-Za-z0-9_.-]{1,256}(?<!\.)")
_CHARACTERS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_ASCII: Final = bytes((0x9, 0xA, 0xD, *range(0x20, 0x80)))
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?\Z", re.ASCII)
_MESSAGE_ATTRIBUTES_MAX: Final = 10
_TYPE_MAX: Final = 256
_UTF8_BYTES_MAX: Final = 4  # of a character


def check_message(message: Message, size_max: int) -> None:
    """Raises ``Invalid("message_missing" | "message_characters" | "message_attribute")``, ``TooLarge("message")``."""
    body = message.body
    if not body:
        raise Invalid("message_missing", "The request must contain the parameter MessageBody.")
    if has_bad_characters(body):
        raise Invalid("message_characters", "Invalid characters found. Valid unicode characters are #x9 | #xA | #xD | "
                      "#x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF")  # fmt: skip
    if message.attributes:
        check_message_attributes(message.attributes)
    elif len(body) * _UTF8_BYTES_MAX <= size_max:
        return
    size = message_size(body, message.attributes) if message.content is None else _bytes(message.content)
    if size > size_max:
        raise TooLarge(
            "message", f"One or more parameters are invalid. Reason: Message must be shorter than {size_max} bytes."
        )


def check_message_attributes(attributes: Mapping[str, Any]) -> None:
    """Raises ``Invalid("message_attribute")``."""
    if len(attributes) > _MESSAGE_ATTRIBUTES_MAX:
        raise Invalid("message_attribute", f"Number of message attributes [{len(attributes)}] exceeds the allowed "
                      f"maximum [{_MESSAGE_ATTRIBUTES_MAX}].")  # fmt: skip
    for name, value in attributes.items():
        _check_message_attribute(name, value)


def _check_message_attribute(name: str, value: Mapping[str, Any]) -> None:
    if not _ATTRIBUTE_NAME.fullmatch(name) or name.lower().startswith(("aws.", "amazon.")):
        raise Invalid("message_attribute", f"The message attribute name {name[:300]!r} is not valid.")
    kind, _, label = str(value.get("DataType", "")).partition(".")
    wrong = kind not in ("String", "Number", "Binary") or len(value["DataType"]) > _TYPE_MAX
    if wrong or (label and has_bad_characters(label)):
        raise Invalid(
            "message_attribute",
            f"The message attribute '{name}' has an invalid message attribute type, the set of supported type "
            "prefixes is Binary, Number, and String.",
        )
    text = value.get("BinaryValue" if kind == "Binary" else "StringValue")
    if not text:
        raise Invalid(
            "message_attribute", f"The message attribute '{name}' must contain a non-empty value of type {kind}."
        )
    if ("BinaryValue" in value) == ("StringValue" in value):
        raise Invalid("message_attribute", f"The message attribute '{name}' must contain one value of its type only.")
    if kind == "Number" and not _NUMBER.match(text):
        raise Invalid("message_attribute", f"Can't cast the value of message attribute '{name}' to a number.")
    if kind == "String" and has_bad_characters(text):
        raise Invalid("message_attribute", f"The message attribute '{name}' holds characters that are not valid.")


def has_bad_characters(text: str) -> bool:
    """Whether a message can't hold the text, as XML can't."""
    if text.isascii():  # ten times as fast, and most messages are
        return bool(text.encode("ascii").translate(None, _ASCII))
    return _CHARACTERS.search(text) is not None


def message_size(body: str, attributes: Mapping[str, Any]) -> int:
    """Bytes that count against the limit: the body, and attributes' names, types and values."""
    size = _bytes(body)
    for name, value in attributes.items():
        size += _bytes(name) + _bytes(str(value.get("DataType", "")))
        size += len(base64.b64decode(value["BinaryValue"])) if "BinaryValue" in value else 0
        size += _bytes(str(value.get("StringValue", "")))
    return size


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def check_delay(seconds: int, limits: QueueSettings) -> None:
    """Raises ``Invalid("delay")``."""
    if not 0 <= seconds <= limits.delay_s_max:
        raise Invalid(
            "delay",
            f"Value {seconds} for parameter DelaySeconds is invalid. Reason: DelaySeconds must be >= 0 and <= 900.",
        )


def check_visibility(seconds: int, limits: QueueSettings) -> None:
    """Raises ``Invalid("visibility")``."""
    if not 0 <= seconds <= limits.visibility_s_max:
        raise Invalid("visibility", f"Value {seconds} for parameter VisibilityTimeout is invalid. Reason: Must be between "
                      f"0 and {limits.visibility_s_max}, if provided.")  # fmt: skip


def check_fifo_id(what: str, value: str) -> None:
    """A group, deduplication or attempt id. Raises ``Invalid("fifo_id")``."""
    if not _FIFO_ID.fullmatch(value):
        raise Invalid(
            "fifo_id",
            f"Value {value[:200]} for parameter {what} is invalid. Reason: {what} can only include alphanumeric and "
            "punctuation characters. 1 to 128 in length.",
        )
