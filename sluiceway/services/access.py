"""May this caller do this? The one question that every edge asks before it acts."""

from __future__ import annotations

from typing import Any, Final, Protocol

from sluiceway.core.identity import Principal
from sluiceway.core.policy import Decision, Question, evaluate
from sluiceway.core.policy.principals import session_arn
from sluiceway.errors import AccessDenied

#: The account's root is never locked out of these by a bucket's own policy (S3 API reference, PutBucketPolicy).
_NEVER_LOCKED_OUT: Final = frozenset({"s3:GetBucketPolicy", "s3:PutBucketPolicy", "s3:DeleteBucketPolicy"})


class Authorize(Protocol):
    """``authorize``, as it is handed to whom asks it."""

    def __call__(
        self,
        principal: Principal,
        action: str,
        resource: str,
        conditions: dict[str, list[str]],
        resource_policy: dict[str, Any] | None = None,
        *,
        trust: bool = False,
    ) -> None: ...


def authorize(
    principal: Principal,
    action: str,
    resource: str,
    conditions: dict[str, list[str]],
    resource_policy: dict[str, Any] | None = None,
    *,
    trust: bool = False,
) -> None:
    """Return if policies allow ``action`` on ``resource``; ``trust`` where nothing goes without the word of the
    resource's policy: a role's trust policy, a key's policy.

    Raises ``AccessDenied("access")`` in AWS's words.
    """
    if principal.kind == "root" and (resource_policy is None or action in _NEVER_LOCKED_OUT) and not trust:
        return
    question = Question(principal, action, resource, conditions)
    decision = evaluate(question, principal.policies, resource_policy, trust=trust)
    if not decision.allowed:
        raise AccessDenied("access", refusal(question, decision), explicit=bool(decision.by))


def refusal(question: Question, decision: Decision) -> str:
    """Why not (IAM User Guide, "Troubleshoot access denied error messages")."""
    caller = session_arn(question.principal)
    if question.principal.kind == "anonymous":
        caller = "anonymous"
    elif question.principal.kind == "service":
        caller = question.principal.name
    if decision.by:
        kind = "an identity-based" if decision.by == "identity" else "a resource-based"
        why = f"with an explicit deny in {kind} policy"
    else:
        kind = "resource-based" if question.principal.kind in ("anonymous", "service") else "identity-based"
        why = f"because no {kind} policy allows the {question.action} action"
    return f"User: {caller} is not authorized to perform: {question.action} on resource: {question.resource} {why}"
