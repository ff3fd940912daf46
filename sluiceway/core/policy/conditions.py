"""Condition operators (IAM User Guide, "IAM JSON policy elements: Condition operators").

An operator is a table entry: how two texts compare, and whether it is the negation of that. Around it are
the modifiers ``IfExists``, ``ForAllValues`` and ``ForAnyValue``.
"""

from __future__ import annotations

import base64
import ipaddress
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sluiceway.core.policy.matching import Context, expand, like, like_arn, listed, plain

Compare = Callable[[str, str], bool]  # (policy's value, request's value)


def _number(compare: Callable[[float, float], bool]) -> Compare:
    def compared(policy: str, found: str) -> bool:
        return compare(float(found), float(policy))

    return compared


def _date(compare: Callable[[float, float], bool]) -> Compare:
    def compared(policy: str, found: str) -> bool:
        return compare(_epoch_s(found), _epoch_s(policy))

    return compared


def _epoch_s(text: str) -> float:
    """Seconds of an ISO 8601 date or of seconds since 1970. Raises ``ValueError``."""
    try:
        return float(text)
    except ValueError:
        parsed = datetime.fromisoformat(text)
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()


def _in_network(policy: str, found: str) -> bool:
    return ipaddress.ip_address(found) in ipaddress.ip_network(policy, strict=False)


def _equal(policy: str, found: str) -> bool:
    return plain(policy) == found


def _equal_any_case(policy: str, found: str) -> bool:
    return plain(policy).casefold() == found.casefold()


def _equal_bytes(policy: str, found: str) -> bool:
    return base64.b64decode(policy, validate=True) == base64.b64decode(found, validate=True)


#: Operator -> (comparison, negated).
OPERATORS: Final[Mapping[str, tuple[Compare, bool]]] = {
    "StringEquals": (_equal, False),
    "StringNotEquals": (_equal, True),
    "StringEqualsIgnoreCase": (_equal_any_case, False),
    "StringNotEqualsIgnoreCase": (_equal_any_case, True),
    "StringLike": (like, False),
    "StringNotLike": (like, True),
    "NumericEquals": (_number(operator.eq), False),
    "NumericNotEquals": (_number(operator.eq), True),
    "NumericLessThan": (_number(operator.lt), False),
    "NumericLessThanEquals": (_number(operator.le), False),
    "NumericGreaterThan": (_number(operator.gt), False),
    "NumericGreaterThanEquals": (_number(operator.ge), False),
    "DateEquals": (_date(operator.eq), False),
    "DateNotEquals": (_date(operator.eq), True),
    "DateLessThan": (_date(operator.lt), False),
    "DateLessThanEquals": (_date(operator.le), False),
    "DateGreaterThan": (_date(operator.gt), False),
    "DateGreaterThanEquals": (_date(operator.ge), False),
    "Bool": (_equal_any_case, False),
    "BinaryEquals": (_equal_bytes, False),
    "IpAddress": (_in_network, False),
    "NotIpAddress": (_in_network, True),
    "ArnEquals": (like_arn, False),
    "ArnLike": (like_arn, False),
    "ArnNotEquals": (like_arn, True),
    "ArnNotLike": (like_arn, True),
}


@dataclass(frozen=True, slots=True)
class Operator:
    """An operator's name taken apart. ``quantifier`` is "", "ForAllValues" or "ForAnyValue"."""

    name: str
    quantifier: str
    if_exists: bool

    @classmethod
    def parse(cls, text: str) -> Operator:
        """Raises ``ValueError`` if there is no such operator."""
        quantifier, colon, name = text.rpartition(":")
        if colon and quantifier not in ("ForAllValues", "ForAnyValue"):
            raise ValueError(f"unknown condition operator {text[:100]}")
        base = name.removesuffix("IfExists")
        if base == "Null" and base == name:
            return cls(base, quantifier, False)
        if base not in OPERATORS:
            raise ValueError(f"unknown condition operator {text[:100]}")
        return cls(base, quantifier, base != name)


def conditions_hold(block: Mapping[str, Mapping[str, Any]], context: Context, variables: bool) -> bool:
    """Whether every operator and key of a Condition element holds.

    ``context`` has its keys in lower case. Raises ``ValueError`` for what is not a Condition element.
    """
    for text, keys in block.items():
        parsed = Operator.parse(text)
        for key, wanted in keys.items():
            if not _holds(parsed, key.lower(), listed(wanted), context, variables):
                return False
    return True


def _holds(parsed: Operator, key: str, wanted: list[str], context: Context, variables: bool) -> bool:
    found = context.get(key)
    if parsed.name == "Null":
        return any((value.lower() == "true") == (not found) for value in wanted)
    compare, negated = OPERATORS[parsed.name]
    if not found:
        if parsed.if_exists or parsed.quantifier == "ForAllValues":
            return True
        return negated and not parsed.quantifier
    patterns = [expand(value, context if variables else None) for value in wanted]

    def matches(value: str) -> bool:
        return any(pattern is not None and _compared(compare, pattern, value) for pattern in patterns) != negated

    if parsed.quantifier == "ForAnyValue" or (not parsed.quantifier and not negated):
        return any(matches(value) for value in found)
    return all(matches(value) for value in found)


def _compared(compare: Compare, pattern: str, value: str) -> bool:
    """A value that is not of the operator's type equals nothing."""
    try:
        return compare(pattern, value)
    except ValueError:
        return False
