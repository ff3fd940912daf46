"""Blocking public access (Amazon S3 User Guide, "Blocking public access to your Amazon S3 storage").

There are no access control lists here, so two of the four settings have nothing to block; the other two refuse
policies that allow everybody, and take such a policy to mean the account only.
"""

from __future__ import annotations

from typing import Any, Final

SETTING: Final = "public_access"
MEMBERS: Final = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")


def statements(policy: dict[str, Any]) -> list[dict[str, Any]]:
    """The policy's statements, one or many."""
    found = policy.get("Statement") or []
    return [found] if isinstance(found, dict) else list(found)


def is_public(statement: dict[str, Any]) -> bool:
    """Whether a statement allows everybody, whatever the circumstances."""
    if statement.get("Effect") != "Allow" or statement.get("Condition"):
        return False
    principal = statement.get("Principal")
    if isinstance(principal, dict):
        named = principal.get("AWS")
        return "*" in (named if isinstance(named, list) else [named])
    return principal == "*" or "NotPrincipal" in statement


def restricted(policy: dict[str, Any], account: str) -> dict[str, Any]:
    """``policy`` with "everybody" read as "this account"."""
    own = {"AWS": f"arn:aws:iam::{account}:root"}
    kept = []
    for statement in statements(policy):
        if is_public(statement):
            statement = {name: value for name, value in statement.items() if name != "NotPrincipal"} | {
                "Principal": own
            }
        kept.append(statement)
    return policy | {"Statement": kept}
