"""What a queue's attributes and tags may be (SQS API reference, CreateQueue and SetQueueAttributes)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from sluiceway.core.identity import Arn
from sluiceway.core.policy import check_resource_policy, parse_policy
from sluiceway.errors import Invalid

_NAME = re.compile(r"[A-Za-z0-9_-]{1,80}")
_FIFO_NAME = re.compile(r"[A-Za-z0-9_-]{1,75}\.fifo")
_NUMBER = re.compile(r"[0-9]{1,9}\Z")
_TAGS_MAX: Final = 50
_SOURCES_MAX: Final = 10  # queues of a RedriveAllowPolicy

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
SETTABLE: Final = frozenset({*_RANGES, *_FLAGS, *_CHOICES, *_TEXTS})
_UNSCOPED: Final = ("perMessageGroupId", "queue")  # FifoThroughputLimit and DeduplicationScope that don't go together
#: Of FIFO queues only, with what says the same as leaving them out.
_FIFO_ONLY: Final = {
    "ContentBasedDeduplication": "false",
    "DeduplicationScope": "queue",
    "FifoThroughputLimit": "perQueue",
}

#: Attributes that every queue has, with SQS's defaults.
DEFAULTS: Final[Mapping[str, str]] = {
    "DelaySeconds": "0",
    "MaximumMessageSize": "1048576",
    "MessageRetentionPeriod": "345600",
    "ReceiveMessageWaitTimeSeconds": "0",
    "SqsManagedSseEnabled": "true",
    "VisibilityTimeout": "30",
}


def check_name(name: str, fifo: bool) -> None:
    """Raises ``Invalid("name")``."""
    if fifo and not _FIFO_NAME.fullmatch(name):
        raise Invalid("name", "The name of a FIFO queue can only include alphanumeric characters, hyphens, or "
                      "underscores, must end with .fifo suffix and be 1 to 80 in length.")  # fmt: skip
    if not fifo and not _NAME.fullmatch(name):
        raise Invalid("name", "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length.")


def check_attributes(attributes: Mapping[str, str]) -> dict[str, str]:
    """The attributes that are set (an empty text takes one away).

    Raises ``Invalid("attribute_name" | "attribute_value" | "redrive")``.
    """
    kept = {}
    for name, value in attributes.items():
        if name not in SETTABLE or (name, value) == ("FifoQueue", "false"):  # which a standard queue has not at all
            raise unknown(name)
        if value != "":
            _check_value(name, value)
            kept[name] = value
    return kept


def unknown(name: str) -> Invalid:
    """The error for an attribute that there is not."""
    return Invalid("attribute_name", f"Unknown Attribute {name[:200]}.")


def check_together(attributes: Mapping[str, str]) -> None:
    """Whether a queue may have all of these. Raises ``Invalid("attribute_name" | "attribute_value")``."""
    if attributes.get("FifoQueue") != "true":
        for name, nothing in _FIFO_ONLY.items():
            if attributes.get(name, nothing) != nothing:
                raise unknown(name)
    elif (attributes.get("FifoThroughputLimit"), attributes.get("DeduplicationScope", "queue")) == _UNSCOPED:
        raise Invalid("attribute_value", "Invalid value for the parameter FifoThroughputLimit. Reason: it may be "
                      "perMessageGroupId only if DeduplicationScope is messageGroup.")  # fmt: skip
    if "KmsMasterKeyId" in attributes and attributes.get("SqsManagedSseEnabled") == "true":
        raise Invalid("attribute_value", "You can use one type of server-side encryption (SSE) at one time. You can "
                      "either enable KMS SSE or SQS SSE.")  # fmt: skip


def check_tags(tags: Mapping[str, str]) -> None:
    """Raises ``Invalid("tags")``."""
    if len(tags) > _TAGS_MAX:
        raise Invalid("tags", f"Too many tags added for queue. Maximum number of tags allowed: {_TAGS_MAX}.")
    for key, value in tags.items():
        if not 1 <= len(key) <= 128 or key.lower().startswith("aws:"):
            raise Invalid(
                "tags", f"Tag keys must be from 1 to 128 characters and must not begin with aws: {key[:130]!r}"
            )
        if len(value) > 256:
            raise Invalid("tags", f"The value of tag {key!r} must be at most 256 characters long.")


def _check_value(name: str, value: str) -> None:
    wrong = Invalid("attribute_value", f"Invalid value for the parameter {name}.")
    if name in _RANGES:
        low, high = _RANGES[name]
        if not _NUMBER.match(value) or not low <= int(value) <= high:
            raise wrong
    elif (name in _FLAGS and value not in ("true", "false")) or (name in _CHOICES and value not in _CHOICES[name]):
        raise wrong
    elif name == "Policy":
        try:
            check_resource_policy(parse_policy(value))
        except Invalid:
            raise wrong from None
    elif name == "RedrivePolicy":
        _check_redrive(value)
    elif name == "RedriveAllowPolicy":
        _check_redrive_allow(value)


def redrive_error(name: str, value: str, why: str) -> Invalid:
    """The error for a policy about dead letters."""
    return Invalid("redrive", f"Value {value[:1000]} for parameter {name} is invalid. Reason: {why}")


def _document(name: str, text: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise redrive_error(name, text, f"{name} is not a valid JSON map.")
    return document


def _check_redrive(text: str) -> None:
    document = _document("RedrivePolicy", text)
    for member in ("deadLetterTargetArn", "maxReceiveCount"):
        if member not in document:
            why = f"Redrive policy does not contain mandatory attribute: {member}."
            raise redrive_error("RedrivePolicy", text, why)
    if unknown_members := document.keys() - {"deadLetterTargetArn", "maxReceiveCount"}:
        raise redrive_error("RedrivePolicy", text, f"Only following attributes are supported: [deadLetterTargetArn, "
                            f"maxReceiveCount], not {min(unknown_members)[:80]}.")  # fmt: skip
    count = document["maxReceiveCount"]
    if isinstance(count, bool) or not _NUMBER.match(str(count)) or not 1 <= int(count) <= 1000:
        why = "Invalid value for maxReceiveCount: it must be from 1 to 1000."
        raise redrive_error("RedrivePolicy", text, why)
    if _queue_arn(document["deadLetterTargetArn"]) is None:
        raise redrive_error("RedrivePolicy", text, "Invalid value for deadLetterTargetArn.")


def _queue_arn(text: Any) -> Arn | None:
    try:
        arn = Arn.parse(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return arn if arn is not None and arn.service == "sqs" else None


def _check_redrive_allow(text: str) -> None:
    document = _document("RedriveAllowPolicy", text)
    permission, sources = document.get("redrivePermission"), document.get("sourceQueueArns")
    if permission not in ("allowAll", "denyAll", "byQueue") or document.keys() - {
        "redrivePermission",
        "sourceQueueArns",
    }:
        why = "Amazon SQS can't create the redrive allow policy, as it's in an unsupported format."
        raise redrive_error("RedriveAllowPolicy", text, why)
    if permission == "byQueue":
        if not isinstance(sources, list) or not 1 <= len(sources) <= _SOURCES_MAX or None in map(_queue_arn, sources):
            why = f"With byQueue, sourceQueueArns must be from 1 to {_SOURCES_MAX} ARNs of queues."
            raise redrive_error("RedriveAllowPolicy", text, why)
    elif sources is not None:
        why = "sourceQueueArns can be given with byQueue only."
        raise redrive_error("RedriveAllowPolicy", text, why)
