"""The account: users, roles, managed policies and sessions behind one name."""

from __future__ import annotations

import hashlib
from typing import Final

from sluiceway.config import SecuritySettings
from sluiceway.core.identity import Scope
from sluiceway.core.store import Tx, View
from sluiceway.errors import Unavailable
from sluiceway.services.accounts.managed import ManagedPolicies
from sluiceway.services.accounts.roles import Roles
from sluiceway.services.accounts.rows import Credentials, Role
from sluiceway.services.accounts.sessions import Sessions
from sluiceway.services.accounts.users import Users
from sluiceway.services.sealing import Sealer, Unsealable

_MARK: Final = ("master_key",)
_MARK_CONTEXT: Final = "master-key-check"


class Accounts:
    """``users``, ``roles``, ``policies`` and ``sessions`` hold the operations."""

    def __init__(self, scope: Scope, limits: SecuritySettings, sealer: Sealer) -> None:
        self.scope = scope
        self.limits = limits
        self.sealer = sealer
        self.users = Users(scope, limits, sealer)
        self.roles = Roles(scope, limits)
        self.policies = ManagedPolicies(scope, limits)
        self.sessions = Sessions(limits, sealer, self.users, self.roles)

    @property
    def canonical_id(self) -> str:
        """The account's canonical user id, which root and roles act under."""
        return hashlib.sha256(f"canonical/{self.scope.account}".encode()).hexdigest()

    def check_master_key(self, tx: Tx) -> None:
        """To be run at every start: is this the master key that sealed what the store holds?

        Raises ``Unavailable("master_key")``.
        """
        mark = tx.get("seals", _MARK)
        if mark is None:
            tx.put("seals", _MARK, {"sealed": self.sealer.seal(b"sluiceway", _MARK_CONTEXT)})
            return
        try:
            self.sealer.open(mark["sealed"], _MARK_CONTEXT)
        except Unsealable:
            raise Unavailable(
                "master_key",
                "The master key in the data folder is not the one that sealed its secrets: restore the right one.",
            ) from None

    def get_role(self, view: View, name: str) -> Role:
        """Raises ``NotFound("role")``."""
        return self.roles.get(view, name)

    def assume_role(self, tx: View, role_arn: str, session_name: str, duration_s: int) -> Credentials:
        """Temporary credentials with the role's rights; who may ask for them is the caller's to decide.

        Raises ``NotFound("role")``, ``Invalid("session_name" | "duration")``.
        """
        return self.sessions.of_role(tx, role_arn, session_name, duration_s)
