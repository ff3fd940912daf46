"""Users and their access keys."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from secrets import token_hex

from sluiceway.config import SecuritySettings
from sluiceway.core.identity import Scope
from sluiceway.core.store import Tx, View
from sluiceway.errors import AlreadyExists, Conflict, NotFound
from sluiceway.services import counts
from sluiceway.services.accounts import holders
from sluiceway.services.accounts.rows import (
    KEYS,
    USER_KEYS,
    USERS,
    AccessKey,
    User,
    get_as,
    new_secret,
    new_unique_id,
    remove,
    save,
    tags_of,
)
from sluiceway.services.sealing import Sealer


class Users:
    """Names are unique whatever their path."""

    def __init__(self, scope: Scope, limits: SecuritySettings, sealer: Sealer) -> None:
        self._scope = scope
        self._limits = limits
        self._sealer = sealer

    def create(self, tx: Tx, name: str, path: str = "/", tags: dict[str, str] | None = None) -> User:
        """Raises ``Invalid("name")``, ``AlreadyExists("user")``, ``Conflict("limit")``."""
        holders.check_name(name, "userName")
        holders.check_path(path)
        holders.check_tags(tags or {}, self._limits.tags_max)
        if tx.get(USERS, (name,)) is not None:
            raise AlreadyExists("user", f"User with name {name} already exists.")
        if not counts.one_more(tx, USERS, self._limits.users_max):
            raise Conflict("limit", f"Cannot exceed quota for UsersPerAccount: {self._limits.users_max}")
        arn = f"arn:aws:iam::{self._scope.account}:user{path}{name}"
        user = User(name, new_unique_id("AIDA"), arn, path, token_hex(32), tx.now_ms, tags=tags_of(tags))
        save(tx, USERS, (name,), user)
        return user

    def get(self, view: View, name: str) -> User:
        """Raises ``NotFound("user")``."""
        user = get_as(view, USERS, (name,), User)
        if user is None:
            raise NotFound("user", f"The user with name {name[:128]} cannot be found.")
        return user

    def list(self, view: View) -> Iterator[User]:
        """All users by name."""
        for _, row in view.scan(USERS):
            yield User(**row)

    def delete(self, tx: Tx, name: str) -> None:
        """Raises ``NotFound("user")``, ``Conflict("user")`` while it has keys or policies."""
        user = self.get(tx, name)
        if any(True for _ in self.keys(tx, name)):
            raise Conflict("user", "Cannot delete entity, must delete access keys first.")
        if user.attached or user.inline:
            raise Conflict("user", "Cannot delete entity, must detach all policies and delete inline ones first.")
        remove(tx, USERS, (name,))

    def put_policy(self, tx: Tx, name: str, policy_name: str, text: str) -> None:
        """Add or replace an inline policy."""
        user = self.get(tx, name)
        save(tx, USERS, (name,), holders.with_inline(user, policy_name, text, self._limits.user_policy_bytes_max))

    def delete_policy(self, tx: Tx, name: str, policy_name: str) -> None:
        """Raises ``NotFound("policy")``."""
        save(tx, USERS, (name,), holders.without_inline(self.get(tx, name), policy_name))

    def attach(self, tx: Tx, name: str, arn: str) -> None:
        """Attach a managed policy."""
        user = self.get(tx, name)
        save(tx, USERS, (name,), holders.with_attached(tx, user, arn, self._limits.attached_max))

    def detach(self, tx: Tx, name: str, arn: str) -> None:
        """Raises ``NotFound("policy")``."""
        save(tx, USERS, (name,), holders.without_attached(self.get(tx, name), arn))

    def retag(self, tx: Tx, name: str, add: dict[str, str], drop: Collection[str] = ()) -> None:
        """Set some tags and remove others. Raises ``NotFound("user")``, ``Invalid("tags")``, ``Conflict("limit")``."""
        user = self.get(tx, name)
        tags = {**{key: value for key, value in user.tags.items() if key not in drop}, **add}
        holders.check_tags(tags, self._limits.tags_max)
        save(tx, USERS, (name,), replace(user, tags=tags))

    def create_key(self, tx: Tx, name: str) -> tuple[AccessKey, str]:
        """A new key and its secret, which is never shown again.

        Raises ``NotFound("user")``, ``Conflict("limit")``.
        """
        self.get(tx, name)
        if sum(1 for _ in self.keys(tx, name)) >= self._limits.user_keys_max:
            raise Conflict("limit", f"Cannot exceed quota for AccessKeysPerUser: {self._limits.user_keys_max}")
        key_id, secret = new_unique_id("AKIA", 16), new_secret()
        key = AccessKey(key_id, name, self._sealer.seal(secret.encode(), key_context(key_id)), True, tx.now_ms)
        tx.put(USER_KEYS, (name, key_id), {})
        save(tx, KEYS, (key_id,), key)
        return key, secret

    def keys(self, view: View, name: str) -> Iterator[AccessKey]:
        """The user's keys by id."""
        for key, _ in view.scan(USER_KEYS, prefix=(name,)):
            found = get_as(view, KEYS, (key[1],), AccessKey)
            if found is not None:
                yield found

    def get_key(self, view: View, key_id: str, name: str | None = None) -> AccessKey:
        """Raises ``NotFound("key")``, also if it is not that user's."""
        key = get_as(view, KEYS, (key_id,), AccessKey)
        if key is None or name not in (None, key.user):
            raise NotFound("key", f"The Access Key with id {key_id[:128]} cannot be found.")
        return key

    def set_key_active(self, tx: Tx, key_id: str, active: bool, name: str | None = None) -> None:
        """Enable or disable a key. Raises ``NotFound("key")``."""
        save(tx, KEYS, (key_id,), replace(self.get_key(tx, key_id, name), active=active))

    def delete_key(self, tx: Tx, key_id: str, name: str | None = None) -> None:
        """Raises ``NotFound("key")``."""
        key = self.get_key(tx, key_id, name)
        tx.delete(USER_KEYS, (key.user, key_id))
        remove(tx, KEYS, (key_id,))


def key_context(key_id: str) -> str:
    """What a key's secret is sealed for."""
    return f"access-key/{key_id}"
