"""Whether a document is a policy (IAM User Guide, "Grammar of the IAM JSON policy language")."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Mapping
from typing import Any, Final

from sluiceway.core.policy.conditions import Operator
from sluiceway.errors import Invalid

_TOP: Final = frozenset({"Version", "Id", "Statement"})
_VERSIONS: Final = frozenset({"2012-10-17", "2008-10-17"})
_MEMBERS: Final = frozenset(
    {
        "Sid",
        "Effect",
        "Principal",
        "NotPrincipal",
        "Action",
        "NotAction",
        "Resource",
        "NotResource",
        "Condition",
    }
)
_PRINCIPALS: Final = frozenset({"AWS", "Service", "Federated", "CanonicalUser"})
_ACTION = re.compile(r"(?:\*|[A-Za-z0-9-]+:[A-Za-z0-9*?]+)\Z")
_SID = re.compile(r"[A-Za-z0-9]*\Z")


def parse_policy(text: str) -> dict[str, Any]:
    """The JSON object in ``text``. Raises ``Invalid("policy")``."""
    try:
        document = json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        raise _malformed("Syntax errors in policy.") from None
    if not isinstance(document, dict):
        raise _malformed("Syntax errors in policy.")
    return document


def check_identity_policy(document: Mapping[str, Any]) -> None:
    """A policy of a user or role, or a managed one. Raises ``Invalid("policy")``."""
    for statement in _statements(document):
        if "Principal" in statement or "NotPrincipal" in statement:
            raise _malformed("Policy document should not specify a principal.")
        _one_of(statement, "Resource", "NotResource")
        _resources(statement)
        if not _SID.match(str(statement.get("Sid", ""))):
            raise _malformed("Statement IDs (SID) in a single policy must be alpha numeric.")


def check_resource_policy(document: Mapping[str, Any]) -> None:
    """A policy that stands on a resource. Raises ``Invalid("policy")``."""
    for statement in _statements(document):
        _one_of(statement, "Principal", "NotPrincipal")
        _principals(statement)
        _one_of(statement, "Resource", "NotResource")


def check_trust_policy(document: Mapping[str, Any]) -> None:
    """Who may assume a role. Raises ``Invalid("policy")``."""
    for statement in _statements(document):
        _one_of(statement, "Principal", "NotPrincipal")
        _principals(statement)
        if "Resource" in statement or "NotResource" in statement:
            raise _malformed("Has prohibited field Resource")
        actions = _texts(statement.get("Action", statement.get("NotAction")), "Action")
        if not all(action.lower().startswith("sts:") for action in actions):
            raise _malformed("AssumeRole policy may only specify STS AssumeRole actions.")


def _statements(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    unknown = set(document) - _TOP
    if unknown:
        raise _malformed(f"Unknown field {min(unknown)[:100]}")
    if document.get("Version", "2008-10-17") not in _VERSIONS:
        raise _malformed("The policy must contain a valid version string")
    found = document.get("Statement")
    statements: list[Any] = found if isinstance(found, list) else [found]
    if not statements or not all(isinstance(statement, dict) for statement in statements):
        raise _malformed("Missing required field Statement")
    sids = [statement["Sid"] for statement in statements if statement.get("Sid")]
    if len({str(sid) for sid in sids}) != len(sids):
        raise _malformed("Statement IDs (SID) in a single policy must be unique.")
    for statement in statements:
        _statement(statement)
    return statements


def _statement(statement: Mapping[str, Any]) -> None:
    unknown = set(statement) - _MEMBERS
    if unknown:
        raise _malformed(f"Unknown field {min(unknown)[:100]}")
    if statement.get("Effect") not in ("Allow", "Deny"):
        raise _malformed(f"Invalid effect: {str(statement.get('Effect'))[:100]}")
    if not isinstance(statement.get("Sid", ""), str):
        raise _malformed("Statement IDs (SID) must be strings.")
    name = _one_of(statement, "Action", "NotAction")
    for action in _texts(statement[name], name):
        if not _ACTION.match(action):
            raise _malformed(
                f"Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc. ({action[:100]})"
            )
    _conditions(statement.get("Condition", {}))


def _one_of(statement: Mapping[str, Any], name: str, other: str) -> str:
    if name in statement and other in statement:
        raise _malformed(f"Statement has both {name} and {other}.")
    if name not in statement and other not in statement:
        raise _malformed(f"Missing required field {name}")
    return name if name in statement else other


def _texts(value: Any, name: str) -> list[str]:
    items = value if isinstance(value, list) else [value]
    if not items or not all(isinstance(item, str) and item for item in items):
        raise _malformed(f"{name} must be a text or a list of texts.")
    return items


def _resources(statement: Mapping[str, Any]) -> None:
    name = "Resource" if "Resource" in statement else "NotResource"
    for resource in _texts(statement[name], name):
        if resource != "*" and (not resource.startswith("arn:") or resource.count(":") < 5):
            raise _malformed(f'Resource {resource[:200]} must be in ARN format or "*".')


def _principals(statement: Mapping[str, Any]) -> None:
    name = "Principal" if "Principal" in statement else "NotPrincipal"
    element = statement[name]
    if element == "*":
        return
    if not isinstance(element, dict) or not element or set(element) - _PRINCIPALS:
        raise _malformed("Invalid principal in policy")
    for values in element.values():
        for value in _texts(values, name):
            if value != "*" and ("*" in value or "?" in value):
                raise _malformed(f"Invalid principal in policy: {value[:200]}")


def _conditions(block: Any) -> None:
    if not isinstance(block, dict) or not all(isinstance(keys, dict) for keys in block.values()):
        raise _malformed("Syntax errors in policy.")
    for text, keys in block.items():
        try:
            operator = Operator.parse(text)
        except ValueError:
            raise _malformed(f"Invalid Condition type : {text[:100]}.") from None
        for key, values in keys.items():
            _condition_values(operator, key, values if isinstance(values, list) else [values])


def _condition_values(operator: Operator, key: str, values: list[Any]) -> None:
    if not key or not all(isinstance(value, str | int | float | bool) for value in values):
        raise _malformed(f"Invalid values of the condition key {key[:100]}.")
    for value in values:
        text = str(value)
        if "${" in text:
            continue
        try:
            if operator.name.startswith("Numeric"):
                float(text)
            elif operator.name in ("IpAddress", "NotIpAddress"):
                ipaddress.ip_network(text, strict=False)
        except ValueError:
            raise _malformed(f"Invalid value {text[:100]} for {operator.name}.") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """JSON lets a name stand twice; in a policy that hides a statement's half."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found


def _malformed(message: str) -> Invalid:
    return Invalid("policy", message)
