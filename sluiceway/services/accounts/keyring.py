"""Keys in memory: what the signature verifier asks at every request, without touching the store."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sluiceway.core.clock import Clock
from sluiceway.core.identity import Principal
from sluiceway.core.store import Store, View
from sluiceway.core.wakeups import Wakeups
from sluiceway.errors import Unauthenticated, Unavailable
from sluiceway.services.accounts.holders import documents
from sluiceway.services.accounts.rows import KEYS, WAKE, AccessKey, Role, User
from sluiceway.services.accounts.service import Accounts
from sluiceway.services.accounts.sessions import Session
from sluiceway.services.accounts.users import key_context

log = logging.getLogger(__name__)

_RETRY_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that callers are made of. ``owners`` are by ("user" | "role", unique id)."""

    keys: Mapping[str, AccessKey] = field(default_factory=dict)
    users: Mapping[str, Principal] = field(default_factory=dict)
    owners: Mapping[tuple[str, str], Principal] = field(default_factory=dict)


class KeyRing:
    """Finds secrets and callers. ``refresh`` it at start and after changes (``watch`` does)."""

    def __init__(self, accounts: Accounts, clock: Clock, root_access_key_id: str, root_secret_access_key: str) -> None:
        self._accounts = accounts
        self._clock = clock
        self._root_secret = root_secret_access_key
        account = accounts.scope.account
        self.root = Principal(
            kind="root",
            account=account,
            name="root",
            arn=f"arn:aws:iam::{account}:root",
            canonical_id=accounts.canonical_id,
            access_key_id=root_access_key_id,
        )
        self._snapshot = Snapshot()
        self._asked = self._installed = 0  # numbers of refreshes
        self._found: dict[str, tuple[str, Principal]] = {}  # long-lived keys that were asked for
        self._sessions: OrderedDict[str, tuple[Session, Principal]] = OrderedDict()

    def find(self, access_key_id: str, session_token: str | None = None) -> tuple[str, Principal]:
        """The key's secret and its owner.

        Raises ``Unauthenticated("unknown_key" | "token" | "token_expired")``.
        """
        if session_token is not None:
            return self._of_session(access_key_id, session_token)
        if access_key_id == self.root.access_key_id:
            return self._root_secret, self.root
        found = self._found.get(access_key_id)
        return found if found is not None else self._of_key(access_key_id)

    def role_in(self, view: View, role_arn: str, session: str = "") -> Principal:
        """A role as a caller with its rights as ``view`` has them. Raises ``NotFound("role")``."""
        role = self._accounts.roles.by_arn(view, role_arn)
        owner = self._principal("role", role, _parsed(view, role), self._accounts.canonical_id)
        return _caller(owner, "", session)

    async def refresh(self, store: Store) -> None:
        """Read all users, keys and roles again."""
        self._asked += 1
        number = self._asked
        snapshot = await store.view(self._read)
        if number < self._installed:
            return  # one that began later has brought newer rows already
        self._installed = number
        self._snapshot = snapshot
        self._found.clear()
        self._sessions.clear()

    async def watch(self, store: Store, wakeups: Wakeups) -> None:
        """Refresh at every change, until cancelled."""
        while True:
            changed = wakeups.expect(WAKE)
            try:
                await self.refresh(store)
            except Unavailable as error:
                log.warning("keys could not be read again, trying once more: %s", error.message)
                await asyncio.wait([changed], timeout=_RETRY_S)
                changed.cancel()
            else:
                await changed

    def _read(self, view: View) -> Snapshot:
        keys = {str(key[0]): AccessKey(**row) for key, row in view.scan(KEYS)}
        users: dict[str, Principal] = {}
        owners: dict[tuple[str, str], Principal] = {}
        for user in self._accounts.users.list(view):
            principal = self._principal("user", user, _parsed(view, user), user.canonical_id)
            users[user.name] = owners["user", user.id] = principal
        for role in self._accounts.roles.list(view):
            canonical_id = self._accounts.canonical_id
            owners["role", role.id] = self._principal("role", role, _parsed(view, role), canonical_id)
        return Snapshot(keys, users, owners)

    def _principal(
        self, kind: Any, owner: User | Role, policies: tuple[dict[str, Any], ...], canonical_id: str
    ) -> Principal:
        return Principal(
            kind=kind,
            account=self._accounts.scope.account,
            name=owner.name,
            arn=owner.arn,
            canonical_id=canonical_id,
            policies=policies,
            tags=owner.tags,
            id=owner.id,
        )

    def _of_key(self, access_key_id: str) -> tuple[str, Principal]:
        key = self._snapshot.keys.get(access_key_id)
        owner = self._snapshot.users.get(key.user) if key else None
        if key is None or owner is None or not key.active:
            raise _unknown(access_key_id)
        secret = self._accounts.sealer.open(key.sealed, key_context(key.id)).decode()
        self._found[access_key_id] = found = secret, _caller(owner, access_key_id, "")
        return found

    def _of_session(self, access_key_id: str, token: str) -> tuple[str, Principal]:
        known = self._sessions.get(token)
        if known is None:
            known = self._opened(token)
        session, principal = known
        if session.access_key_id != access_key_id:
            raise Unauthenticated("token", "The provided token is malformed or otherwise invalid.")
        if session.expires_ms <= self._clock.now_ms():
            raise Unauthenticated("token_expired", "The provided token has expired.")
        return session.secret, principal

    def _opened(self, token: str) -> tuple[Session, Principal]:
        session = self._accounts.sessions.opened(token)
        owner = self.root if session.kind == "root" else self._snapshot.owners.get((session.kind, session.id))
        if owner is None:
            raise _unknown(session.access_key_id)
        known = session, _caller(owner, session.access_key_id, session.session)
        self._sessions[token] = known
        if len(self._sessions) > self._accounts.limits.sessions_cached_max:
            self._sessions.popitem(last=False)
        return known


def _caller(owner: Principal, access_key_id: str, session: str) -> Principal:
    return Principal(
        kind=owner.kind,
        account=owner.account,
        name=owner.name,
        arn=owner.arn,
        canonical_id=owner.canonical_id,
        access_key_id=access_key_id,
        policies=owner.policies,
        session=session,
        tags=owner.tags,
        id=owner.id,
    )


def _parsed(view: View, holder: User | Role) -> tuple[dict[str, Any], ...]:
    return tuple(json.loads(text) for text in documents(view, holder))


def _unknown(access_key_id: str) -> Unauthenticated:
    message = "The AWS Access Key Id you provided does not exist in our records."
    return Unauthenticated("unknown_key", message, AWSAccessKeyId=access_key_id[:128])
