"""What queues and messages may be (SQS API reference; SQS Developer Guide, "Message quotas")."""

from __future__ import annotations

import base64
import json
import re
from typing import Any, Final

from sluiceway.config import QueueSettings
from sluiceway.core.identity import Arn
from sluiceway.errors import Invalid, TooLarge

_NAME = re.compile(r"[A-Za-z0-9_-]{1,80}")
_FIFO_NAME = re.compile(r"[A-Za-z0-9_-]{1,75}\.fifo")
_FIFO_ID = re.compile(r"[A-Za-z0-9!-/:-@\[-`{-~]{1,128}")
_ATTRIBUTE_NAME = re.compile(r"(?!\.)(?!.*\.\.)[A-Za-z0-9_.-]{1,256}(?<!\.)")
_BODY = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_NUMBER = re.compile(r"[0-9]{1,9}\Z")
_MESSAGE_ATTRIBUTES_MAX: Final = 10

#: Attribute -> its least and greatest value.
_RANGES: Final = {
    "DelaySeconds": (0, 900),
    "KmsDataKeyReusePeriodSeconds": (60, 86_400),
    "MaximumMessageSize": (1024, 1_048_576),
    "MessageRetentionPeriod": (60, 1_209_600),
    "ReceiveMessageWaitTimeSeconds": (0, 20),
    "VisibilityTimeout": (0, 43_200),
}
_FLAGS: Final = frozenset({"ContentBasedDeduplication", "FifoQueue", "SqsManagedSseEnabled"})
_CHOICES: Final = {
    "DeduplicationScope": ("messageGroup", "queue"),
    "FifoThroughputLimit": ("perQueue", "perMessageGroupId"),
}
_TEXTS: Final = frozenset({"Policy", "RedrivePolicy", "RedriveAllowPolicy", "KmsMasterKeyId"})


def check_name(name: str, fifo: bool) -> None:
    """Raises ``Invalid("name")``."""
    if fifo and not _FIFO_NAME.fullmatch(name):
        raise Invalid("name", "The name of a FIFO queue can only include alphanumeric characters, hyphens, or "
                      "underscores, must end with .fifo suffix and be 1 to 80 in length.")  # fmt: skip
    if not fifo and not _NAME.fullmatch(name):
        raise Invalid("name", "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length.")


def check_attributes(attributes: dict[str, str]) -> dict[str, str]:
    """The attributes that are set (an empty text takes one away). Raises ``Invalid("attribute...")``."""
    kept = {}
    for name, value in attributes.items():
        known = name in _RANGES or name in _FLAGS or name in _CHOICES or name in _TEXTS
        if not known:
            raise Invalid("attribute_name", f"Unknown Attribute {name}.")
        if value != "":
            _check_value(name, value)
            kept[name] = value
    return kept


def _check_value(name: str, value: str) -> None:
    wrong = Invalid("attribute_value", f"Invalid value for the parameter {name}.")
    if name in _RANGES:
        low, high = _RANGES[name]
        if not _NUMBER.match(value) or not low <= int(value) <= high:
            raise wrong
    elif (name in _FLAGS and value not in ("true", "false")) or (name in _CHOICES and value not in _CHOICES[name]):
        raise wrong
    elif name in ("Policy", "RedrivePolicy", "RedriveAllowPolicy"):
        _check_document(name, value, wrong)


def _check_document(name: str, value: str, wrong: Invalid) -> None:
    try:
        document = json.loads(value)
        if not isinstance(document, dict):
            raise ValueError
        if name == "RedrivePolicy":
            Arn.parse(document["deadLetterTargetArn"])
            if not 1 <= int(document["maxReceiveCount"]) <= 1000:
                raise ValueError
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        raise wrong from None


def check_message(body: str, attributes: dict[str, Any], size_max: int) -> None:
    """Raises ``Invalid("message" | "message_attribute")``, ``TooLarge("message")``."""
    if not body:
        raise Invalid("message_missing", "The request must contain the parameter MessageBody.")
    if _BODY.search(body):
        raise Invalid("message_characters", "The message contains characters outside the allowed set.")
    if message_size(body, attributes) > size_max:
        raise TooLarge(
            "message", f"One or more parameters are invalid. Reason: Message must be shorter than {size_max} bytes."
        )
    if len(attributes) > _MESSAGE_ATTRIBUTES_MAX:
        raise Invalid(
            "message_attribute", f"Number of message attributes [{len(attributes)}] exceeds the allowed maximum [10]."
        )
    for name, value in attributes.items():
        _check_message_attribute(name, value)


def _check_message_attribute(name: str, value: dict[str, Any]) -> None:
    if not _ATTRIBUTE_NAME.fullmatch(name) or name.lower().startswith(("aws.", "amazon.")):
        raise Invalid("message_attribute", f"The message attribute name {name!r} is not valid.")
    kind = str(value.get("DataType", "")).partition(".")[0]
    if kind not in ("String", "Number", "Binary"):
        raise Invalid(
            "message_attribute",
            f"The message attribute '{name}' has an invalid message attribute type, the set of supported type "
            "prefixes is Binary, Number, and String.",
        )
    if not value.get("BinaryValue" if kind == "Binary" else "StringValue"):
        raise Invalid(
            "message_attribute", f"The message attribute '{name}' must contain a non-empty value of type {kind}."
        )
    if kind == "Number":
        try:
            float(value["StringValue"])
        except ValueError:
            raise Invalid(
                "message_attribute", f"Can't cast the value of message attribute '{name}' to a number."
            ) from None


def message_size(body: str, attributes: dict[str, Any]) -> int:
    """Bytes that count against the limit: the body, and attributes' names, types and values."""
    size = len(body.encode("utf-8", "surrogatepass"))
    for name, value in attributes.items():
        size += len(name.encode()) + len(str(value.get("DataType", "")).encode())
        size += len(base64.b64decode(value["BinaryValue"])) if "BinaryValue" in value else 0
        size += len(str(value.get("StringValue", "")).encode("utf-8", "surrogatepass"))
    return size


def check_delay(seconds: int, limits: QueueSettings) -> None:
    """Raises ``Invalid("delay")``."""
    if not 0 <= seconds <= limits.delay_s_max:
        raise Invalid(
            "delay",
            f"Value {seconds} for parameter DelaySeconds is invalid. Reason: DelaySeconds must be >= 0 and <= 900.",
        )


def check_fifo_id(what: str, value: str) -> None:
    """A group or deduplication id. Raises ``Invalid("fifo_id")``."""
    if not _FIFO_ID.fullmatch(value):
        raise Invalid(
            "fifo_id",
            f"Value {value[:200]} for parameter {what} is invalid. Reason: {what} can only include alphanumeric and "
            "punctuation characters. 1 to 128 in length.",
        )
