"""Principal and NotPrincipal (IAM User Guide, "AWS JSON policy elements: Principal")."""

from __future__ import annotations

import re
from enum import IntEnum
from typing import Any

from sluiceway.core.identity import Principal
from sluiceway.core.policy.matching import listed

_ACCOUNT = re.compile(r"(?:arn:aws:iam::)?(\d{12})(?::root)?\Z")


class Match(IntEnum):
    """How a Principal element names the caller."""

    NO = 0
    ACCOUNT = 1  # the account that the caller belongs to: its own policies decide further
    YES = 2


def session_arn(principal: Principal) -> str:
    """The ARN that a caller is shown under: a role's caller has its session's."""
    if principal.kind == "role":
        return f"arn:aws:sts::{principal.account}:assumed-role/{principal.name}/{principal.session or principal.name}"
    return principal.arn


def names(element: Any, principal: Principal) -> Match:
    """How a Principal element names ``principal``."""
    if element == "*":
        return Match.YES
    if not isinstance(element, dict):
        return Match.NO
    best = Match.NO
    for kind, values in element.items():
        for value in listed(values):
            best = max(best, _names_one(kind, value, principal))
    return best


def _names_one(kind: str, value: str, principal: Principal) -> Match:
    if kind == "AWS":
        return _names_aws(value, principal)
    if kind == "Service":
        return Match.YES if principal.kind == "service" and value in (principal.name, "*") else Match.NO
    if kind == "CanonicalUser":
        return Match.YES if value and value == principal.canonical_id else Match.NO
    return Match.NO


def _names_aws(value: str, principal: Principal) -> Match:
    if value == "*":
        return Match.YES
    if principal.kind in ("anonymous", "service"):
        return Match.NO
    account = _ACCOUNT.match(value)
    if account is not None:
        if account[1] != principal.account:
            return Match.NO
        return Match.YES if principal.kind == "root" else Match.ACCOUNT
    return Match.YES if value and value in (principal.id, principal.arn, session_arn(principal)) else Match.NO
