"""The account's own managed policies, with their versions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from sluiceway.config import SecuritySettings
from sluiceway.core.identity import Scope
from sluiceway.core.store import Tx, View
from sluiceway.errors import AlreadyExists, Conflict, NotFound
from sluiceway.services import counts
from sluiceway.services.accounts import holders
from sluiceway.services.accounts.aws_policies import AWS_POLICIES
from sluiceway.services.accounts.rows import (
    POLICIES,
    ROLES,
    USERS,
    ManagedPolicy,
    get_as,
    new_unique_id,
    remove,
    save,
)

_VERSIONS_MAX: Final = 5  # IAM's own quota


class ManagedPolicies:
    """Policies that can be attached to several users and roles."""

    def __init__(self, scope: Scope, limits: SecuritySettings) -> None:
        self._scope = scope
        self._limits = limits

    def create(self, tx: Tx, name: str, text: str, path: str = "/", description: str = "") -> ManagedPolicy:
        """Raises ``Invalid("name" | "policy")``, ``AlreadyExists("policy")``, ``Conflict("limit")``."""
        holders.check_name(name, "policyName", 128)
        holders.check_path(path)
        arn = f"arn:aws:iam::{self._scope.account}:policy{path}{name}"
        if tx.get(POLICIES, (arn,)) is not None:
            raise AlreadyExists("policy", f"A policy called {name} already exists. Duplicate names are not allowed.")
        if not counts.one_more(tx, POLICIES, self._limits.policies_max):
            raise Conflict("limit", f"Cannot exceed quota for PoliciesPerAccount: {self._limits.policies_max}")
        versions = {"v1": (self._checked(text), tx.now_ms)}
        policy_id = new_unique_id("ANPA")
        policy = ManagedPolicy(name, policy_id, arn, path, description, tx.now_ms, tx.now_ms, versions)
        save(tx, POLICIES, (arn,), policy)
        return policy

    def get(self, view: View, arn: str) -> ManagedPolicy:
        """The account's own or AWS's. Raises ``NotFound("policy")``."""
        if arn in AWS_POLICIES:
            path, _, name = arn.removeprefix("arn:aws:iam::aws:policy").rpartition("/")
            versions = {"v1": (AWS_POLICIES[arn], 0)}
            return ManagedPolicy(name, f"ANPA{name.upper()[:17]}", arn, f"{path}/", "", 0, 0, versions)
        policy = get_as(view, POLICIES, (arn,), ManagedPolicy)
        if policy is None:
            raise NotFound("policy", f"Policy {arn[:300]} was not found.")
        return policy

    def list(self, view: View, *, aws: bool = True, local: bool = True) -> Iterator[ManagedPolicy]:
        """AWS's and the account's own."""
        if aws:
            for arn in AWS_POLICIES:
                yield self.get(view, arn)
        if local:
            for _, row in view.scan(POLICIES):
                yield ManagedPolicy(**row)

    def delete(self, tx: Tx, arn: str) -> None:
        """Raises ``NotFound("policy")``, ``Conflict("policy")`` while it is attached or has other versions."""
        policy = self._own(tx, arn)
        if self.attachments(tx, arn):
            raise Conflict("policy", "Cannot delete a policy attached to entities.")
        if len(policy.versions) > 1:
            raise Conflict("policy", "This policy has more than one version. Delete the others first.")
        remove(tx, POLICIES, (arn,))

    def attachments(self, view: View, arn: str) -> int:
        """How many users and roles have it."""
        return sum(arn in row["attached"] for table in (USERS, ROLES) for _, row in view.scan(table))

    def add_version(self, tx: Tx, arn: str, text: str, *, default: bool) -> str:
        """A new version's id. Raises ``NotFound("policy")``, ``Invalid("policy")``, ``Conflict("limit")``."""
        policy = self._own(tx, arn)
        if len(policy.versions) >= _VERSIONS_MAX:
            raise Conflict("limit", f"A managed policy can have up to {_VERSIONS_MAX} versions.")
        version = f"v{policy.newest + 1}"
        policy = replace(
            policy,
            versions={**policy.versions, version: (self._checked(text), tx.now_ms)},
            newest=policy.newest + 1,
            default=version if default else policy.default,
            updated_ms=tx.now_ms,
        )
        save(tx, POLICIES, (arn,), policy)
        return version

    def set_default(self, tx: Tx, arn: str, version: str) -> None:
        """Raises ``NotFound("policy")``."""
        policy = self._own(tx, arn)
        self._check_version(policy, version)
        save(tx, POLICIES, (arn,), replace(policy, default=version, updated_ms=tx.now_ms))

    def delete_version(self, tx: Tx, arn: str, version: str) -> None:
        """Raises ``NotFound("policy")``, ``Conflict("policy")`` for the version in force."""
        policy = self._own(tx, arn)
        self._check_version(policy, version)
        if version == policy.default:
            raise Conflict("policy", "Cannot delete the default version of a policy.")
        left = {key: value for key, value in policy.versions.items() if key != version}
        save(tx, POLICIES, (arn,), replace(policy, versions=left))

    def version(self, view: View, arn: str, version: str) -> tuple[ManagedPolicy, str, int]:
        """(policy, document, created_ms). Raises ``NotFound("policy")``."""
        policy = self.get(view, arn)
        self._check_version(policy, version)
        text, created_ms = policy.versions[version]
        return policy, text, created_ms

    def _own(self, view: View, arn: str) -> ManagedPolicy:
        policy = get_as(view, POLICIES, (arn,), ManagedPolicy)
        if policy is None:
            raise NotFound("policy", f"Policy {arn[:300]} was not found, or is not this account's own.")
        return policy

    def _check_version(self, policy: ManagedPolicy, version: str) -> None:
        if version not in policy.versions:
            raise NotFound("policy", f"Policy {policy.arn} version {version[:20]} does not exist.")

    def _checked(self, text: str) -> str:
        if len("".join(text.split())) > self._limits.policy_bytes_max:
            raise Conflict("limit", f"Cannot exceed quota for PolicySize: {self._limits.policy_bytes_max}")
        return holders.checked(text)
