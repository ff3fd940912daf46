"""What owners may set on topics and subscriptions, checked in SNS's words (API Reference, SetTopicAttributes,
Subscribe)."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import Any, Final

from sluiceway.config import TopicSettings
from sluiceway.core.filters import parse_policy
from sluiceway.core.identity import Arn
from sluiceway.core.policy.check import check_resource_policy
from sluiceway.core.policy.check import parse_policy as parse_policy_document
from sluiceway.errors import Invalid, NotImplementedYet, TooLarge
from sluiceway.services.topics import policies
from sluiceway.services.topics.values import Topic

_FEEDBACK = re.compile(r"(HTTP|Firehose|Lambda|Application|SQS)(Success|Failure)FeedbackRoleArn")
_SAMPLE = re.compile(r"(HTTP|Firehose|Lambda|Application|SQS)SuccessFeedbackSampleRate")
_TOPIC: Final[Mapping[str, frozenset[str] | None]] = {
    "ContentBasedDeduplication": frozenset({"true", "false"}),
    "DeliveryPolicy": None,
    "DisplayName": None,
    "FifoThroughputScope": frozenset({"Topic", "MessageGroup"}),
    "FifoTopic": frozenset({"true", "false"}),
    "KmsMasterKeyId": None,
    "MaximumMessageSize": None,
    "Policy": None,
    "SignatureVersion": frozenset({"1", "2"}),
    "TracingConfig": frozenset({"PassThrough", "Active"}),
}
#: What says the same as leaving an attribute out (API reference, CreateTopic, Subscribe).
TOPIC_DEFAULTS: Final[Mapping[str, str]] = {
    "ContentBasedDeduplication": "false",
    "DisplayName": "",
    "FifoThroughputScope": "Topic",
    "MaximumMessageSize": "262144",
    "SignatureVersion": "1",
    "TracingConfig": "PassThrough",
}
_SUBSCRIPTION_DEFAULTS: Final = {"FilterPolicyScope": "MessageAttributes", "RawMessageDelivery": "false"}
_DOCUMENTS: Final = frozenset({"DeliveryPolicy", "FilterPolicy", "RedrivePolicy"})
_ROLE = re.compile(r"arn:aws[a-z-]*:iam::[0-9]{12}:role/\S{1,512}")
_MESSAGE_BYTES: Final = (1024, 1024 * 1024)
_LARGE_BYTES: Final = 256 * 1024
_LARGE_SUBSCRIPTIONS_MAX: Final = 100
_FIFO_ONLY: Final = frozenset({"ContentBasedDeduplication", "FifoThroughputScope"})
#: Protocols whose endpoints can get the bare message.
RAW_PROTOCOLS: Final = frozenset({"sqs", "http", "https"})


def check_topic(name: str, value: str, fifo: bool, limits: TopicSettings) -> None:
    """Raises ``Invalid("attribute")``, ``NotImplementedYet("attribute")``."""
    if name == "ArchivePolicy":
        raise NotImplementedYet("attribute", "Archiving of topics' messages by policy is not here yet.")
    if name not in _TOPIC and not _FEEDBACK.fullmatch(name) and not _SAMPLE.fullmatch(name):
        raise Invalid("attribute", "Invalid parameter: AttributeName")
    allowed = _TOPIC.get(name)
    if (allowed is not None and value not in allowed) or (name in _FIFO_ONLY and not fifo):
        raise Invalid("attribute", f"Invalid parameter: {name}")
    if name == "DisplayName" and (len(value) > limits.subject_chars_max or any(ord(char) < 32 for char in value)):
        raise Invalid("attribute", "Invalid parameter: DisplayName")
    if name == "MaximumMessageSize" and not _is_between(value, *_MESSAGE_BYTES):
        raise Invalid("attribute", "Invalid parameter: MaximumMessageSize")
    if name.endswith("FeedbackSampleRate") and value and not _is_between(value, 0, 100):
        raise Invalid("attribute", f"Invalid parameter: {name}")
    if name.endswith("FeedbackRoleArn") and value and not _ROLE.fullmatch(value):
        raise Invalid("attribute", f"Invalid parameter: {name}")
    if name == "DeliveryPolicy":
        policies.check_topic(value)


def _is_between(value: str, low: int, high: int) -> bool:
    return value.isascii() and value.isdigit() and len(value) < 9 and low <= int(value) <= high


def check_large(topic: Topic, protocols: Collection[str], subscriptions: int) -> None:
    """Messages above 256 KiB are for queues and functions, and for 100 of them at most (API reference, CreateTopic,
    MaximumMessageSize). Raises ``Invalid("attribute")``."""
    if topic.message_bytes_max <= _LARGE_BYTES:
        return
    if subscriptions > _LARGE_SUBSCRIPTIONS_MAX or not set(protocols) <= {"sqs", "lambda"}:
        raise Invalid(
            "attribute",
            "Invalid parameter: MaximumMessageSize Reason: a topic above 256 KiB has at most 100 subscriptions, "
            "of queues and functions",
        )


def parse_access_policy(text: str, limits: TopicSettings) -> dict[str, Any] | None:
    """A topic's access policy; None for an empty text. Raises ``Invalid("policy")``."""
    if not text:
        return None
    if len(text.encode()) > limits.policy_bytes_max:
        raise Invalid("policy", "Invalid parameter: Policy Reason: the policy is too large")
    try:
        policy = parse_policy_document(text)
        check_resource_policy(policy)
    except Invalid:
        raise Invalid("policy", "Invalid parameter: Policy Error: null") from None
    statements = policy["Statement"] if isinstance(policy["Statement"], list) else [policy["Statement"]]
    for statement in statements:
        named = statement.get("Action", statement.get("NotAction", ()))
        for action in [named] if isinstance(named, str) else named:
            if action != "*" and not action.lower().startswith("sns:"):
                raise Invalid("policy", "Invalid parameter: Policy statement action out of service scope!")
    return policy


def check_subscription(
    protocol: str, attributes: Mapping[str, str], limits: TopicSettings, prefix: str
) -> dict[str, str]:
    """The attributes to keep of a subscription; empty ones are left out.

    ``prefix`` begins the messages ("Invalid parameter: Attributes Reason: "). Raises
    ``Invalid("attribute" | "filter")``, ``NotImplementedYet("attribute")``, ``TooLarge("filter")``.
    """
    kept = {name: value for name, value in attributes.items() if value not in ("", "{}", "null")}
    for name, value in kept.items():
        _check_one(name, value, protocol, prefix)
    if "FilterPolicy" in kept:
        _check_filter(kept["FilterPolicy"], kept.get("FilterPolicyScope", "MessageAttributes"), limits, prefix)
    return kept


def meaning(attributes: Mapping[str, str]) -> dict[str, Any]:
    """What a subscription's attributes say, however they are written."""
    said = {**_SUBSCRIPTION_DEFAULTS, **attributes}
    return {name: json.loads(value) if name in _DOCUMENTS else value for name, value in said.items()}


def _check_one(name: str, value: str, protocol: str, prefix: str) -> None:
    if name == "ReplayPolicy":
        raise NotImplementedYet("attribute", "Replay by policy is not here yet.")
    if name == "RawMessageDelivery":
        _check_raw(value, protocol, prefix)
    elif name == "FilterPolicyScope":
        if value not in ("MessageAttributes", "MessageBody"):
            raise Invalid("attribute", f"{prefix}FilterPolicyScope: Invalid value [{value}]. Please use either "
                          "MessageBody or MessageAttributes")  # fmt: skip
    elif name == "RedrivePolicy":
        dead_letter_of(value, prefix)
    elif name == "DeliveryPolicy":
        if protocol not in ("http", "https"):
            raise Invalid("attribute", f"{prefix}Delivery policy is for HTTP and HTTPS endpoints")
        policies.check_subscription(value)
    elif name not in ("FilterPolicy", "SubscriptionRoleArn"):
        raise Invalid("attribute", "Invalid parameter: AttributeName")


def _check_raw(value: str, protocol: str, prefix: str) -> None:
    if value not in ("true", "false"):
        raise Invalid("attribute", f"{prefix}RawMessageDelivery: Invalid value [{value}]. Must be true or false.")
    if value == "true" and protocol not in RAW_PROTOCOLS:
        raise Invalid("attribute", f"{prefix}Delivery protocol [{protocol}] does not support raw message delivery.")


def _check_filter(text: str, scope: str, limits: TopicSettings, prefix: str) -> None:
    if len(text.encode()) > limits.filter_bytes_max:
        raise TooLarge("filter", f"{prefix}FilterPolicy: Filter policy is too large")
    try:
        parse_policy(text, scope)
    except Invalid as error:
        raise Invalid("filter", prefix + error.message) from None


def dead_letter_of(text: str, prefix: str = "Invalid parameter: ") -> str | None:
    """The ARN of the dead-letter queue in a RedrivePolicy. Raises ``Invalid("attribute")``."""
    if not text:
        return None
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise Invalid("attribute", f"{prefix}RedrivePolicy: failed to parse JSON.")
    target = document.get("deadLetterTargetArn")
    try:
        arn = Arn.parse(target if isinstance(target, str) else "")
    except ValueError:
        arn = None
    if arn is None or arn.service != "sqs":
        raise Invalid("attribute", f"{prefix}RedrivePolicy: deadLetterTargetArn is an invalid arn")
    return str(arn)
