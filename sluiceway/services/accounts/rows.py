"""Rows of users, keys, roles and policies, and the ids that AWS gives such things."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Final, TypeVar

from sluiceway.core.store import Key, Tx, View
from sluiceway.services import counts

USERS: Final = "users"  # (name)
KEYS: Final = "access_keys"  # (access key id)
USER_KEYS: Final = "access_keys_by_user"  # (user name, access key id)
ROLES: Final = "roles"  # (name)
POLICIES: Final = "managed_policies"  # (arn)
WAKE: Final = "accounts"

_ALPHABET: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class User:
    """``inline`` maps policy names to documents as they were sent; ``attached`` lists managed policies' ARNs."""

    name: str
    id: str
    arn: str
    path: str
    canonical_id: str
    created_ms: int
    inline: dict[str, str] = field(default_factory=dict)
    attached: list[str] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Role:
    """``trust`` is the trust policy as it was sent; ``session_s_max`` bounds sessions asked of STS."""

    name: str
    id: str
    arn: str
    path: str
    trust: str
    created_ms: int
    description: str = ""
    session_s_max: int = 3600
    inline: dict[str, str] = field(default_factory=dict)
    attached: list[str] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AccessKey:
    """``sealed`` is the secret, sealed for the key's id."""

    id: str
    user: str
    sealed: str
    active: bool
    created_ms: int


@dataclass(frozen=True, slots=True)
class ManagedPolicy:
    """``versions`` maps version ids ("v1") to (document as sent, created_ms)."""

    name: str
    id: str
    arn: str
    path: str
    description: str
    created_ms: int
    updated_ms: int
    versions: dict[str, tuple[str, int]]
    default: str = "v1"
    newest: int = 1

    @property
    def document(self) -> str:
        """The text of the version in force."""
        return self.versions[self.default][0]


@dataclass(frozen=True, slots=True)
class Credentials:
    """Temporary credentials."""

    access_key_id: str
    secret_access_key: str
    session_token: str
    expires_ms: int


def new_unique_id(prefix: str, size: int = 17) -> str:
    """An id as IAM makes them ("AROA" and letters and digits)."""
    return prefix + "".join(secrets.choice(_ALPHABET) for _ in range(size))


def new_secret() -> str:
    """40 characters, as many as AWS's secret access keys have."""
    return secrets.token_urlsafe(30)


def get_as(view: View, table: str, key: Key, kind: type[T]) -> T | None:
    """The row as ``kind``, or None."""
    row = view.get(table, key)
    return None if row is None else kind(**row)


def save(tx: Tx, table: str, key: Key, row: User | Role | AccessKey | ManagedPolicy) -> None:
    """Write the row and tell who keeps keys in memory."""
    tx.put(table, key, asdict(row))
    tx.on_commit(WAKE)


def remove(tx: Tx, table: str, key: Key) -> None:
    """Delete the row and tell who keeps keys in memory."""
    counts.delete(tx, table, key)
    tx.on_commit(WAKE)


def tags_of(tags: Mapping[str, str] | None) -> dict[str, str]:
    """A copy, so that rows share nothing with a request."""
    return dict(tags or {})
