"""The decision about a request: one pure function.

An explicit deny anywhere wins. In one account, an allow in either the identity policies or the resource's
policy is enough; without any, the answer is the implicit deny. Two exceptions are AWS's own: a resource
policy that names the account leaves the decision to the identity policies, and a role's trust policy must
allow whatever the identity policies say. A statement that can't be understood allows nothing, and denies
if it is a deny.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from sluiceway.core.identity import Principal
from sluiceway.core.policy.conditions import conditions_hold
from sluiceway.core.policy.matching import VARIABLES_SINCE, Context, expand, like, like_action, listed
from sluiceway.core.policy.principals import Match, names

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Question:
    """May ``principal`` perform ``action`` ("s3:GetObject") on ``resource`` (an ARN, or "*")?"""

    principal: Principal
    action: str
    resource: str
    context: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Decision:
    """``by`` is the kind of policy that decided: "" for the implicit deny."""

    allowed: bool
    by: Literal["identity", "resource", "root", ""] = ""


def evaluate(
    question: Question, identity: Sequence[Document], resource: Document | None = None, *, trust: bool = False
) -> Decision:
    """Decide. ``trust`` says that ``resource`` is a role's trust policy, without whose word nothing goes."""
    context = {key.lower(): values for key, values in question.context.items()}
    denied, allowed = _identity(question, identity, context)
    if denied:
        return Decision(False, "identity")
    named = _resource(question, resource, context) if resource is not None else Match.NO
    if named is None:
        return Decision(False, "resource")
    if question.principal.kind == "root":
        return Decision(True, "root") if named or not trust else Decision(False)
    if named is Match.YES:
        return Decision(True, "resource")
    if allowed and (named is Match.ACCOUNT or not trust):
        return Decision(True, "identity")
    return Decision(False)


def _identity(question: Question, documents: Sequence[Document], context: Context) -> tuple[bool, bool]:
    """(explicitly denied, allowed)"""
    allowed = False
    for document in documents:
        for statement in statements_of(document):
            effect = statement.get("Effect")
            if effect == "Allow" and allowed:
                continue
            if _applies(statement, document, question, context):
                if effect != "Allow":
                    return True, False
                allowed = True
    return False, allowed


def _resource(question: Question, document: Document, context: Context) -> Match | None:
    """None for an explicit deny, else how the policy's allows name the caller."""
    best = Match.NO
    for statement in statements_of(document):
        allow = statement.get("Effect") == "Allow"
        match = _named(statement, question.principal, allow)
        if match is Match.NO or (allow and match <= best):
            continue
        if _applies(statement, document, question, context):
            if not allow:
                return None
            best = match
    return best


def _named(statement: Mapping[str, Any], principal: Principal, allow: bool) -> Match:
    if "NotPrincipal" not in statement:
        return names(statement.get("Principal"), principal)
    # The account's own name in NotPrincipal exempts its callers from a deny; it does not hand them an allow.
    excluded = names(statement["NotPrincipal"], principal)
    return Match.YES if excluded is Match.NO else Match.NO


def statements_of(document: Document) -> list[Mapping[str, Any]]:
    """A document's statements; a single one may stand without a list. What is no statement says nothing."""
    found = document.get("Statement", [])
    return [one for one in (found if isinstance(found, list) else [found]) if isinstance(one, Mapping)]


def _applies(statement: Mapping[str, Any], document: Document, question: Question, context: Context) -> bool:
    """Whether action, resource and conditions fit. What can't be understood fits a deny only."""
    variables = document.get("Version") == VARIABLES_SINCE
    try:
        return (
            _fits_action(statement, question.action)
            and _fits_resource(statement, question.resource, context if variables else None)
            and conditions_hold(statement.get("Condition") or {}, context, variables)
        )
    except (ValueError, AttributeError, TypeError):
        return statement.get("Effect") != "Allow"


def _fits_action(statement: Mapping[str, Any], action: str) -> bool:
    if "NotAction" in statement:
        return not any(like_action(pattern, action) for pattern in listed(statement["NotAction"]))
    return any(like_action(pattern, action) for pattern in listed(statement.get("Action", [])))


def _fits_resource(statement: Mapping[str, Any], resource: str, context: Context | None) -> bool:
    """A trust policy has no resource: it stands on the only one it speaks of."""
    if "NotResource" in statement:
        patterns = [expand(pattern, context) for pattern in listed(statement["NotResource"])]
        # An unknown variable in an exception of an allow must not make it larger, nor a deny smaller.
        if None in patterns:
            return statement.get("Effect") != "Allow"
        return not any(like(pattern, resource) for pattern in patterns if pattern is not None)
    if "Resource" not in statement:
        return "Principal" in statement or "NotPrincipal" in statement
    for pattern in listed(statement["Resource"]):
        expanded = expand(pattern, context)
        if expanded is not None and like(expanded, resource):
            return True
    return False
