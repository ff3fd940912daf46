"""Which endpoints a topic may deliver to, and the reaction of a subscription."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from sluiceway.core.identity import Arn, Scope
from sluiceway.core.reaction import Reaction, Target
from sluiceway.errors import Invalid, NotImplementedYet
from sluiceway.services.topics import policies
from sluiceway.services.topics.attributes import dead_letter_of
from sluiceway.services.topics.texting import clean_phone
from sluiceway.services.topics.values import Subscription, Topic, log_of

#: Protocol -> kind of target.
KINDS: Final[Mapping[str, str]] = {
    "sqs": "queue",
    "lambda": "function",
    "http": "http",
    "https": "http",
    "email": "email",
    "email-json": "email",
    "sms": "sms",
}
#: Endpoints that somebody else may own, and that must agree first.
CONFIRMED_BY_ENDPOINT: Final = frozenset({"http", "https", "email", "email-json"})
_MAIL = re.compile(r"[^@\s\x00-\x1f\x7f-\x9f<>,;:\"()\[\]\\]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")


def check_endpoint(topic: Topic, protocol: str, endpoint: str, scope: Scope) -> str:
    """The endpoint to keep. Raises ``Invalid("endpoint" | "protocol")``, ``NotImplementedYet("protocol")``."""
    if protocol in ("application", "firehose"):
        raise NotImplementedYet("protocol", f"Subscriptions by the protocol {protocol} are not here yet.")
    if protocol not in KINDS:
        raise Invalid(
            "protocol", f"Invalid parameter: Amazon SNS does not support this protocol string: {protocol[:64]}"
        )
    if topic.fifo and protocol != "sqs":
        raise Invalid(
            "protocol",
            "Invalid parameter: Invalid protocol type: " + protocol + ". FIFO topics deliver to Amazon SQS queues",
        )
    if protocol in ("http", "https"):
        _check_url(protocol, endpoint)
    elif protocol in ("email", "email-json"):
        if not _MAIL.fullmatch(endpoint):
            raise Invalid("endpoint", "Invalid parameter: Email address")
    elif protocol == "sms":
        return clean_phone(endpoint)
    else:
        _check_arn(topic, protocol, endpoint, scope)
    return endpoint


def check_letters(topic: Topic, endpoint: str, attributes: Mapping[str, str], scope: Scope, prefix: str) -> None:
    """The dead-letter queue is of this account and region, and keeps an order that there is (Developer Guide, "Amazon
    SNS dead-letter queues"). Raises ``Invalid("attribute")``."""
    target = dead_letter_of(attributes.get("RedrivePolicy", ""), prefix)
    if target is None:
        return
    arn = Arn.parse(target)
    if (arn.account, arn.region) != (scope.account, scope.region):
        raise Invalid("attribute", f"{prefix}RedrivePolicy: deadLetterTargetArn is an invalid arn")
    if topic.fifo and endpoint.endswith(".fifo") and not arn.resource.endswith(".fifo"):
        raise Invalid(
            "attribute",
            f"{prefix}RedrivePolicy: must use a FIFO queue as DLQ for a FIFO Subscription to a FIFO Topic.",
        )


def _check_url(protocol: str, endpoint: str) -> None:
    try:
        url = urlsplit(endpoint)
        valid = url.scheme == protocol and bool(url.hostname) and (url.port is None or url.port > 0)
    except ValueError:
        valid = False
    if not valid or len(endpoint) > 2048 or any(char.isspace() or ord(char) < 33 for char in endpoint):
        raise Invalid("endpoint", "Invalid parameter: Endpoint must match the specified protocol")


def _check_arn(topic: Topic, protocol: str, endpoint: str, scope: Scope) -> None:
    name = "SQS" if protocol == "sqs" else "Lambda"
    try:
        arn = Arn.parse(endpoint)
    except ValueError:
        raise Invalid("endpoint", f"Invalid parameter: {name} endpoint ARN") from None
    if arn.service != protocol or (arn.account, arn.region) != (scope.account, scope.region):
        raise Invalid("endpoint", f"Invalid parameter: {name} endpoint ARN")
    if protocol == "lambda" and not arn.resource.startswith("function:"):
        raise Invalid("endpoint", "Invalid parameter: Lambda endpoint ARN")
    if protocol == "sqs" and arn.resource.endswith(".fifo") and not topic.fifo:
        raise Invalid(
            "endpoint",
            "Invalid parameter: Invalid parameter: Endpoint Reason: FIFO SQS Queues can not be subscribed to "
            "standard SNS topics",
        )


def shown_endpoint(endpoint: str) -> str:
    """As lists show it: a password in a URL is nobody's business."""
    url = urlsplit(endpoint)
    if url.scheme not in ("http", "https") or url.password is None:
        return endpoint
    credentials, _, place = url.netloc.rpartition("@")
    return urlunsplit(url._replace(netloc=f"{credentials.partition(':')[0]}:****@{place}"))


def address_of(protocol: str, endpoint: str) -> str:
    """What the target's code understands: the name in an ARN, or the endpoint itself."""
    if protocol == "sqs":
        return Arn.parse(endpoint).resource
    if protocol == "lambda":
        return Arn.parse(endpoint).resource.removeprefix("function:").partition(":")[0]
    return endpoint


def filter_of(attributes: Mapping[str, str]) -> dict[str, Any] | None:
    """The reaction's filter for a subscription's attributes."""
    if "FilterPolicy" not in attributes:
        return None
    policy = json.loads(attributes["FilterPolicy"])
    return {"body" if attributes.get("FilterPolicyScope") == "MessageBody" else "attributes": policy}


def reaction_of(topic: Topic, subscription: Subscription, scope: Scope) -> Reaction:
    """What delivers the topic's messages to the subscription."""
    attributes, topic_arn = subscription.attributes, scope.arn("sns", topic.name)
    own_policy = attributes.get("DeliveryPolicy", "")
    topic_policy = topic.attributes.get("DeliveryPolicy", "")
    options: dict[str, Any] = {
        "protocol": subscription.protocol,
        "topic_arn": topic_arn,
        "subscription_arn": f"{topic_arn}:{subscription.id}",
        "version": topic.attributes.get("SignatureVersion", "1"),
        "raw": attributes.get("RawMessageDelivery") == "true",
    }
    if subscription.protocol in ("http", "https"):
        effective = policies.effective(topic_policy, own_policy)
        options["content_type"] = effective["requestPolicy"]["headerContentType"]
        if rate := (effective["throttlePolicy"] or {}).get("maxReceivesPerSecond"):
            options["per_second"] = rate
    if subscription.protocol == "lambda":
        options["arn"] = subscription.endpoint
    if topic.attributes.get("DisplayName"):
        options["display_name"] = topic.attributes["DisplayName"]
    return Reaction(
        id=subscription.reaction_id,
        log=log_of(topic.name),
        target=Target(KINDS[subscription.protocol], address_of(subscription.protocol, subscription.endpoint), options),
        filter=filter_of(attributes),
        retry=policies.retry_of(subscription.protocol, topic_policy, own_policy),
        dead_letter=dead_letter_of(attributes.get("RedrivePolicy", "")),
        ordered=topic.fifo,
    )
