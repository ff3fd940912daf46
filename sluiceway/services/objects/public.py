"""What is public (S3 User Guide, "Blocking public access to your Amazon S3 storage", "The meaning of public").

A policy is public unless each of its allows names fixed callers, or holds only under a condition that fixes where
a request comes from: a value without wildcard and without policy variable.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any, Final

from sluiceway.core.policy.matching import listed

SETTING: Final = "public_access"
MEMBERS: Final = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")

#: Keys that make a statement non-public where they are held to a fixed value.
_FIXING: Final = frozenset(
    {
        "aws:principalarn",
        "aws:principalaccount",
        "aws:principalorgid",
        "aws:principalorgpaths",
        "aws:sourcearn",
        "aws:sourcevpc",
        "aws:sourcevpce",
        "aws:sourcevpcarn",
        "aws:sourceowner",
        "aws:sourceaccount",
        "aws:sourceorgid",
        "aws:sourceorgpaths",
        "aws:userid",
        "aws:username",
        "aws:calledvia",
        "aws:viaawsservice",
        "s3:dataaccesspointaccount",
        "s3:dataaccesspointarn",
        "s3:x-amz-server-side-encryption-aws-kms-key-id",
    }
)
#: Operators that hold only for the values that they list. Negations and "IfExists" let others in.
_EQUALS: Final = frozenset({"StringEquals", "StringEqualsIgnoreCase", "StringLike", "ArnEquals", "ArnLike"})
#: The broadest ranges that are not public (but see ``_PRIVATE``, of which any range is none of the public's).
_BITS_MIN: Final[Mapping[int, int]] = {4: 8, 6: 32}
_PRIVATE: Final = tuple(ipaddress.IPv4Network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"))


def statements(policy: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The policy's statements, one or many."""
    found = policy.get("Statement") or []
    return [found] if isinstance(found, dict) else list(found)


def is_public_policy(policy: Mapping[str, Any]) -> bool:
    """One public statement makes the policy public."""
    return any(is_public(statement) for statement in statements(policy))


def is_public(statement: Mapping[str, Any]) -> bool:
    """Whether a statement lets in callers that it does not name."""
    if statement.get("Effect") != "Allow":
        return False
    return _names_anybody(statement) and not _is_fixed(statement.get("Condition") or {})


def _names_anybody(statement: Mapping[str, Any]) -> bool:
    if "NotPrincipal" in statement:
        return True
    principal = statement.get("Principal")
    if not isinstance(principal, dict):
        return principal == "*"
    return any("*" in value for values in principal.values() for value in listed(values))


def _is_fixed(conditions: Mapping[str, Mapping[str, Any]]) -> bool:
    """All of a statement's conditions must hold, so one that fixes the caller is enough."""
    for operator, keys in conditions.items():
        name = operator.removeprefix("ForAnyValue:")
        for key, values in keys.items():
            if _fixes(name, key.lower(), listed(values)):
                return True
    return False


def _fixes(operator: str, key: str, values: list[str]) -> bool:
    if key == "aws:sourceip":
        return operator == "IpAddress" and all(_is_narrow(value) for value in values)
    if key == "aws:principalisawsservice" or key == "aws:viaawsservice":
        return operator == "Bool" and [value.lower() for value in values] == ["true"]
    if operator not in _EQUALS or key not in _FIXING:
        return False
    if key == "s3:dataaccesspointarn":
        return all(_is_account_fixed(value) for value in values)
    if key == "aws:userid" and any(value.endswith(":*") for value in values):
        return False
    return all(_is_literal(operator, value) for value in values)


def _is_literal(operator: str, value: str) -> bool:
    wild = operator not in ("StringEquals", "StringEqualsIgnoreCase") and ("*" in value or "?" in value)
    return "${" not in value and not wild


def _is_account_fixed(arn: str) -> bool:
    """An access point may have any name as long as its account is fixed."""
    parts = arn.split(":", 5)
    return len(parts) == 6 and parts[4].isdigit() and "${" not in arn


def _is_narrow(value: str) -> bool:
    try:
        network = ipaddress.ip_network(value, strict=False)
    except ValueError:
        return False
    if isinstance(network, ipaddress.IPv4Network) and any(network.subnet_of(private) for private in _PRIVATE):
        return True
    return network.prefixlen >= _BITS_MIN[network.version]
