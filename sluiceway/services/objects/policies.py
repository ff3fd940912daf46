"""Whether a document is a bucket policy (S3 User Guide, "Bucket policies"), in the words of S3's own refusals.

Stricter than other policies: actions are known ones of Amazon S3, resources lie in the bucket, and what cannot fit
together is refused, as it would silently allow or deny nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sluiceway.core.policy import check_resource_policy
from sluiceway.core.policy.matching import like, listed
from sluiceway.errors import Invalid
from sluiceway.services.objects.actions import ACTIONS, BUCKET_ACTIONS, OBJECT_ACTIONS, applies, is_key, matched


def check_policy(text: str, bucket_arn: str) -> dict[str, Any]:
    """The document. Raises ``Invalid("policy")``."""
    if not text.startswith("{"):
        raise Invalid("policy", "Policies must be valid JSON and the first byte must be '{'")
    try:
        document = json.loads(text, object_pairs_hook=_unique)
        text.encode()
    except (ValueError, RecursionError):
        raise Invalid("policy", "This policy contains invalid Json") from None
    check_resource_policy(document)
    found: dict[str, Any] = document
    statements = found["Statement"]
    for statement in statements if isinstance(statements, list) else [statements]:
        _check(statement, bucket_arn)
    return found


def _check(statement: Mapping[str, Any], bucket_arn: str) -> None:
    actions = _actions(statement)
    levels = _levels(statement, bucket_arn)
    if "NotAction" not in statement and "NotResource" not in statement:
        for known in actions:
            if not any(_stands_on(action, levels) for action in known):
                raise Invalid("policy", "Action does not apply to any resource(s) in statement")
    every = frozenset().union(*actions) if "NotAction" not in statement else ACTIONS
    for keys in (statement.get("Condition") or {}).values():
        for key in keys:
            if not is_key(key):
                raise Invalid("policy", "Policy has an invalid condition key", Detail=key[:200])
            if not any(applies(key, action) for action in every):
                raise Invalid("policy", "Conditions do not apply to combination of actions and resources in statement")


def _actions(statement: Mapping[str, Any]) -> list[frozenset[str]]:
    """What each of the statement's action patterns means; none may mean nothing."""
    found = [matched(pattern) for pattern in listed(statement.get("Action", statement.get("NotAction")))]
    if not all(found):
        raise Invalid("policy", "Policy has invalid action")
    return found


def _levels(statement: Mapping[str, Any], bucket_arn: str) -> set[str]:
    """Whether the resources are the bucket, objects in it, or both."""
    values = statement.get("Resource", statement.get("NotResource"))
    resources = values if isinstance(values, list) else [values]
    if not resources or not all(isinstance(resource, str) for resource in resources):
        raise Invalid("policy", "Policy has invalid resource")
    levels: set[str] = set()
    for resource in resources:
        head, slash, _ = resource.partition("/")
        if not like(head, bucket_arn) and head != "*":
            raise Invalid("policy", "Policy has invalid resource", Detail=resource[:200])
        if head == bucket_arn:
            levels.add("object" if slash else "bucket")
        else:
            levels |= {"object"} if slash else {"bucket", "object"}
    return levels


def _stands_on(action: str, levels: set[str]) -> bool:
    return ("bucket" in levels and action in BUCKET_ACTIONS) or ("object" in levels and action in OBJECT_ACTIONS)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """JSON lets a name stand twice; in a policy that hides a statement's half."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found
