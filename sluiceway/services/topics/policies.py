"""Delivery policies: how often SNS tries each protocol, and what an owner may set for HTTP(S).

Figures from Amazon SNS Developer Guide, "Message delivery retries".
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from sluiceway.core.reaction import Backoff, RetryPolicy
from sluiceway.errors import Invalid

_SECOND: Final = 1000
#: Endpoints inside the server: 100,015 tries over 23 days.
MANAGED: Final = RetryPolicy(
    tries_max=100_016, delay_min_ms=_SECOND, delay_max_ms=20 * _SECOND, immediate=3, at_min=2, at_max=100_000
)
#: Mail and text messages: 50 tries over 6 hours.
CUSTOMER: Final = RetryPolicy(
    tries_max=51, delay_min_ms=10 * _SECOND, delay_max_ms=600 * _SECOND, immediate=0, at_min=2, at_max=38
)
#: What an HTTP(S) endpoint gets unless its owner sets something else: 3 retries, 20 seconds apart.
HEALTHY_DEFAULT: Final[Mapping[str, Any]] = {
    "minDelayTarget": 20,
    "maxDelayTarget": 20,
    "numRetries": 3,
    "numMaxDelayRetries": 0,
    "numNoDelayRetries": 0,
    "numMinDelayRetries": 0,
    "backoffFunction": "linear",
}
REQUEST_DEFAULT: Final[Mapping[str, Any]] = {"headerContentType": "text/plain; charset=UTF-8"}
_BACKOFFS: Final[Mapping[str, Backoff]] = {
    "linear": "linear",
    "arithmetic": "arithmetic",
    "geometric": "geometric",
    "exponential": "exponential",
}
_CONTENT_TYPES: Final = frozenset(
    {
        "text/plain",
        "application/json",
        "application/atom+xml",
        "application/octet-stream",
        "application/x-www-form-urlencoded",
        "application/xml",
        "text/css",
        "text/csv",
        "text/html",
        "text/xml",
    }
)
_TOTAL_S_MAX: Final = 3600
#: The parts of a subscription's policy; a topic has each as a default. The "sickly" one does nothing on AWS either.
_PARTS: Final = ("healthyRetryPolicy", "sicklyRetryPolicy", "throttlePolicy", "requestPolicy")
_HEADER = re.compile(r"[\x20-\x7e]{1,256}")


def parse(text: str) -> dict[str, Any]:
    """A policy's JSON object; {} for empty text. Raises ``Invalid("attribute")``."""
    try:
        document = json.loads(text or "{}")
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise Invalid("attribute", "Invalid parameter: DeliveryPolicy: failed to parse JSON.")
    return document


def check_topic(text: str) -> None:
    """Raises ``Invalid("attribute")`` unless ``text`` is a topic's DeliveryPolicy."""
    document = parse(text)
    _only(document, {"http"})
    http = document.get("http", {})
    if not isinstance(http, dict):
        raise _invalid("http must be an object")
    _only(http, {f"default{name[0].upper()}{name[1:]}" for name in _PARTS} | {"disableSubscriptionOverrides"})
    if not isinstance(http.get("disableSubscriptionOverrides", False), bool):
        raise _invalid("http.disableSubscriptionOverrides must be true or false")
    _check({name: http.get(f"default{name[0].upper()}{name[1:]}") for name in _PARTS})


def check_subscription(text: str) -> None:
    """Raises ``Invalid("attribute")`` unless ``text`` is a subscription's DeliveryPolicy."""
    document = parse(text)
    _only(document, {*_PARTS, "guaranteed"})
    _check(document)


def _only(document: Mapping[str, Any], known: set[str]) -> None:
    for name in document:
        if name not in known:
            raise _invalid(f"Unexpected JSON member: {name[:64]}")


def _invalid(reason: str) -> Invalid:
    return Invalid("attribute", f"Invalid parameter: DeliveryPolicy: {reason}")


def _check(parts: Mapping[str, Any]) -> None:
    if parts.get("healthyRetryPolicy") is not None:
        _check_healthy(parts["healthyRetryPolicy"])
    throttle, request = parts.get("throttlePolicy"), parts.get("requestPolicy")
    if throttle is not None:
        rate = throttle.get("maxReceivesPerSecond") if isinstance(throttle, dict) else 0
        if rate is not None and (isinstance(rate, bool) or not isinstance(rate, int) or rate < 1):
            raise _invalid("throttlePolicy.maxReceivesPerSecond must be an integer of at least 1")
    if request is not None:
        kind = request.get("headerContentType", "text/plain") if isinstance(request, dict) else ""
        if not _HEADER.fullmatch(str(kind)) or str(kind).split(";")[0].strip().lower() not in _CONTENT_TYPES:
            raise _invalid("requestPolicy.headerContentType")


def _check_healthy(healthy: Any) -> None:
    if not isinstance(healthy, dict) or not set(healthy) <= set(HEALTHY_DEFAULT):
        raise Invalid("attribute", "Invalid parameter: DeliveryPolicy: healthyRetryPolicy")
    for name, value in healthy.items():
        if name == "backoffFunction":
            if value not in _BACKOFFS:
                raise Invalid("attribute", "Invalid parameter: DeliveryPolicy: healthyRetryPolicy.backoffFunction")
        elif isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise Invalid("attribute", f"Invalid parameter: DeliveryPolicy: healthyRetryPolicy.{name}")
    full = {**HEALTHY_DEFAULT, **healthy}
    if not 1 <= full["minDelayTarget"] <= full["maxDelayTarget"] <= _TOTAL_S_MAX:
        raise Invalid(
            "attribute",
            "Invalid parameter: DeliveryPolicy: healthyRetryPolicy.minDelayTarget must be less than or equal "
            "to maxDelayTarget, and both from 1 to 3600",
        )
    phases = full["numMaxDelayRetries"] + full["numNoDelayRetries"] + full["numMinDelayRetries"]
    if full["numRetries"] > 100 or phases > full["numRetries"]:
        raise Invalid(
            "attribute",
            "Invalid parameter: DeliveryPolicy: healthyRetryPolicy.numRetries must be at most 100 and at "
            "least the sum of the retries of its phases",
        )
    retry = _retry(full)
    if sum(retry.delay_ms(step, 0.0) for step in range(1, retry.tries_max)) > _TOTAL_S_MAX * _SECOND:
        raise Invalid("attribute", "Invalid parameter: DeliveryPolicy: total retry time is over 3600 seconds")


def _retry(healthy: Mapping[str, Any]) -> RetryPolicy:
    return RetryPolicy(
        tries_max=1 + healthy["numRetries"],
        delay_min_ms=healthy["minDelayTarget"] * _SECOND,
        delay_max_ms=healthy["maxDelayTarget"] * _SECOND,
        immediate=healthy["numNoDelayRetries"],
        at_min=healthy["numMinDelayRetries"],
        at_max=healthy["numMaxDelayRetries"],
        backoff=_BACKOFFS[healthy["backoffFunction"]],
    )


def effective_topic(text: str) -> dict[str, Any]:
    """The topic's ``EffectiveDeliveryPolicy``."""
    http = parse(text).get("http", {})
    throttle = http.get("defaultThrottlePolicy")
    return {
        "http": {
            "defaultHealthyRetryPolicy": {**HEALTHY_DEFAULT, **(http.get("defaultHealthyRetryPolicy") or {})},
            "disableSubscriptionOverrides": bool(http.get("disableSubscriptionOverrides", False)),
            **({"defaultThrottlePolicy": throttle} if throttle else {}),
            "defaultRequestPolicy": {**REQUEST_DEFAULT, **(http.get("defaultRequestPolicy") or {})},
        }
    }


def effective(topic_text: str, subscription_text: str) -> dict[str, Any]:
    """An HTTP(S) subscription's ``EffectiveDeliveryPolicy``: its own over its topic's over the default."""
    defaults = effective_topic(topic_text)["http"]
    own = {} if defaults["disableSubscriptionOverrides"] else parse(subscription_text)
    return {
        "healthyRetryPolicy": {**defaults["defaultHealthyRetryPolicy"], **(own.get("healthyRetryPolicy") or {})},
        "sicklyRetryPolicy": None,
        "throttlePolicy": own.get("throttlePolicy") or defaults.get("defaultThrottlePolicy"),
        "requestPolicy": {**defaults["defaultRequestPolicy"], **(own.get("requestPolicy") or {})},
        "guaranteed": False,
    }


def retry_of(protocol: str, topic_text: str, subscription_text: str) -> RetryPolicy:
    """How deliveries over ``protocol`` are tried again."""
    if protocol in ("sqs", "lambda"):
        return MANAGED
    if protocol in ("http", "https"):
        return _retry(effective(topic_text, subscription_text)["healthyRetryPolicy"])
    return CUSTOMER
