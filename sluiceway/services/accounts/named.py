"""Whom the policies of buckets, queues and topics name: looked up when a policy is put.

A user or role is kept by its unique id, so that somebody who is made later under the same name is not meant; the policy
is shown with the name while there is one, and with the id after that, which no new policy may name. (IAM User Guide,
"AWS JSON policy elements: Principal": "IAM user principals", "IAM role principals".)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from sluiceway.core.identity import Scope
from sluiceway.core.policy.evaluate import statements_of
from sluiceway.core.policy.matching import listed
from sluiceway.core.store import View
from sluiceway.errors import Invalid
from sluiceway.services.accounts.rows import ROLES, USERS, Role, User, get_as

_ACCOUNT = re.compile(r"(?:arn:aws:iam::)?[0-9]{12}(?::root)?\Z")
_ARN = re.compile(r"arn:aws:(iam|sts)::([0-9]{12}|cloudfront):([a-z-]+)/(.+)\Z", re.DOTALL)
_CANONICAL = re.compile(r"[0-9a-f]{64}\Z")
_TABLES: Final[Mapping[str, str]] = {"AIDA": USERS, "AROA": ROLES}  # by the beginning of an id
_KINDS: Final = frozenset({"user", "role"})
_SESSIONS: Final = frozenset({"assumed-role", "federated-user"})
_ELEMENTS: Final = ("Principal", "NotPrincipal")


class NamedPrincipals:
    """What other accounts are and have can't be looked up: they are kept as they were written."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def kept(self, view: View, document: dict[str, Any]) -> dict[str, Any]:
        """The policy as it is kept: the same object where it names no user or role of this account.

        Raises ``Invalid("principal")`` for who is nobody.
        """

        def known(kind: str, value: str) -> str:
            if kind == "AWS":
                return self._known(view, value)
            if kind == "CanonicalUser" and not _CANONICAL.match(value):
                raise _nobody(kind, value)
            return value

        return _mapped(document, known)

    def shown(self, view: View, document: dict[str, Any]) -> dict[str, Any]:
        """The policy with names in place of the ids of who is still there."""
        return _mapped(document, lambda kind, value: self._name(view, value) if kind == "AWS" else value)

    def _known(self, view: View, value: str) -> str:
        if value == "*" or _ACCOUNT.match(value) or (value[:4] in _TABLES and self._name(view, value) != value):
            return value
        arn = _ARN.match(value)
        if arn is None:
            raise _nobody("AWS", value)
        service, account, kind, path = arn.groups()
        if service == "sts":
            if kind not in _SESSIONS or (kind == "assumed-role" and not self._is_session(view, account, path)):
                raise _nobody("AWS", value)
            return value
        if kind not in _KINDS:
            raise _nobody("AWS", value)  # groups are no principals
        if account != self._scope.account:
            return value
        found = _find(view, kind, path.rpartition("/")[2])
        if found is None or found.arn != value:
            raise _nobody("AWS", value)
        return found.id

    def _is_session(self, view: View, account: str, path: str) -> bool:
        role, _, session = path.partition("/")
        return bool(session) and (account != self._scope.account or _find(view, "role", role) is not None)

    def _name(self, view: View, value: str) -> str:
        """The ARN of an id. Few policies have ids and few servers have many users, so there is no index for it."""
        table = _TABLES.get(value[:4])
        if table is not None:
            for _, row in view.scan(table):
                if row["id"] == value:
                    return str(row["arn"])
        return value


def _find(view: View, kind: str, name: str) -> User | Role | None:
    return get_as(view, USERS, (name,), User) if kind == "user" else get_as(view, ROLES, (name,), Role)


def _mapped(document: dict[str, Any], change: Callable[[str, str], str]) -> dict[str, Any]:
    """The document with each principal changed; the same object if none is."""
    statements = [_statement(dict(statement), change) for statement in statements_of(document)]
    if statements == statements_of(document):
        return document
    return {**document, "Statement": statements}


def _statement(statement: dict[str, Any], change: Callable[[str, str], str]) -> dict[str, Any]:
    for name in _ELEMENTS:
        element = statement.get(name)
        if isinstance(element, Mapping):
            statement[name] = {kind: _values(kind, values, change) for kind, values in element.items()}
    return statement


def _values(kind: str, values: Any, change: Callable[[str, str], str]) -> Any:
    changed = [change(kind, value) for value in listed(values)]
    return changed if isinstance(values, list) else changed[0]


def _nobody(kind: str, value: str) -> Invalid:
    return Invalid("principal", "Invalid principal in policy", Detail=f'"{kind}" : "{value[:200]}"')
