"""Roles: whom they trust and what they may do."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace

from sluiceway.config import SecuritySettings
from sluiceway.core.identity import Scope
from sluiceway.core.policy import check_trust_policy, parse_policy
from sluiceway.core.store import Tx, View
from sluiceway.errors import AlreadyExists, Conflict, Invalid, NotFound
from sluiceway.services.accounts import holders
from sluiceway.services.accounts.rows import ROLES, Role, get_as, new_unique_id, remove, save, tags_of


class Roles:
    """Names are unique whatever their path."""

    def __init__(self, scope: Scope, limits: SecuritySettings) -> None:
        self._scope = scope
        self._limits = limits

    def create(
        self,
        tx: Tx,
        name: str,
        trust: str,
        path: str = "/",
        description: str = "",
        session_s_max: int = 3600,
        tags: dict[str, str] | None = None,
    ) -> Role:
        """Raises ``Invalid("name" | "policy" | "duration")``, ``AlreadyExists("role")``, ``Conflict("limit")``."""
        holders.check_name(name, "roleName")
        holders.check_path(path)
        holders.check_tags(tags or {}, self._limits.tags_max)
        self._check(trust, session_s_max)
        if tx.get(ROLES, (name,)) is not None:
            raise AlreadyExists("role", f"Role with name {name} already exists.")
        if sum(1 for _ in tx.scan(ROLES, limit=self._limits.roles_max)) >= self._limits.roles_max:
            raise Conflict("limit", f"Cannot exceed quota for RolesPerAccount: {self._limits.roles_max}")
        arn = f"arn:aws:iam::{self._scope.account}:role{path}{name}"
        role_id = new_unique_id("AROA")
        role = Role(name, role_id, arn, path, trust, tx.now_ms, description, session_s_max, tags=tags_of(tags))
        save(tx, ROLES, (name,), role)
        return role

    def get(self, view: View, name: str) -> Role:
        """Raises ``NotFound("role")``."""
        role = get_as(view, ROLES, (name,), Role)
        if role is None:
            raise NotFound("role", f"The role with name {name[:128]} cannot be found.")
        return role

    def by_arn(self, view: View, arn: str) -> Role:
        """Raises ``NotFound("role")``."""
        role = get_as(view, ROLES, (arn.rpartition("/")[2],), Role)
        if role is None or role.arn != arn:
            raise NotFound("role", f"The role {arn[:300]} cannot be found.")
        return role

    def list(self, view: View) -> Iterator[Role]:
        """All roles by name."""
        for _, row in view.scan(ROLES):
            yield Role(**row)

    def delete(self, tx: Tx, name: str) -> None:
        """Raises ``NotFound("role")``, ``Conflict("role")`` while it has policies."""
        role = self.get(tx, name)
        if role.attached:
            raise Conflict("role", "Cannot delete entity, must detach all policies first.")
        if role.inline:
            raise Conflict("role", "Cannot delete entity, must delete policies first.")
        remove(tx, ROLES, (name,))

    def update(self, tx: Tx, name: str, description: str | None = None, session_s_max: int | None = None) -> Role:
        """Change what is given. Raises ``NotFound("role")``, ``Invalid("duration")``."""
        role = self.get(tx, name)
        role = replace(
            role,
            description=role.description if description is None else description,
            session_s_max=session_s_max or role.session_s_max,
        )
        self._check(role.trust, role.session_s_max)
        save(tx, ROLES, (name,), role)
        return role

    def set_trust(self, tx: Tx, name: str, trust: str) -> None:
        """Replace the trust policy. Raises ``NotFound("role")``, ``Invalid("policy")``."""
        role = self.get(tx, name)
        self._check(trust, role.session_s_max)
        save(tx, ROLES, (name,), replace(role, trust=trust))

    def put_policy(self, tx: Tx, name: str, policy_name: str, text: str) -> None:
        """Add or replace an inline policy."""
        role = self.get(tx, name)
        save(tx, ROLES, (name,), holders.with_inline(role, policy_name, text, self._limits.role_policy_bytes_max))

    def delete_policy(self, tx: Tx, name: str, policy_name: str) -> None:
        """Raises ``NotFound("policy")``."""
        save(tx, ROLES, (name,), holders.without_inline(self.get(tx, name), policy_name))

    def attach(self, tx: Tx, name: str, arn: str) -> None:
        """Attach a managed policy."""
        role = self.get(tx, name)
        save(tx, ROLES, (name,), holders.with_attached(tx, role, arn, self._limits.attached_max))

    def detach(self, tx: Tx, name: str, arn: str) -> None:
        """Raises ``NotFound("policy")``."""
        save(tx, ROLES, (name,), holders.without_attached(self.get(tx, name), arn))

    def retag(self, tx: Tx, name: str, add: dict[str, str], drop: Collection[str] = ()) -> None:
        """Set some tags and remove others. Raises ``NotFound("role")``, ``Invalid("tags")``, ``Conflict("limit")``."""
        role = self.get(tx, name)
        tags = {**{key: value for key, value in role.tags.items() if key not in drop}, **add}
        holders.check_tags(tags, self._limits.tags_max)
        save(tx, ROLES, (name,), replace(role, tags=tags))

    def _check(self, trust: str, session_s_max: int) -> None:
        if len("".join(trust.split())) > self._limits.trust_bytes_max:
            raise Conflict("limit", f"Cannot exceed quota for ACLSizePerRole: {self._limits.trust_bytes_max}")
        check_trust_policy(parse_policy(trust))
        if not 3600 <= session_s_max <= self._limits.session_s_max:
            raise Invalid("duration", f"MaxSessionDuration must be from 3600 to {self._limits.session_s_max} seconds.")
