"""Encryption keys (KMS Developer Guide, "Symmetric encryption KMS keys").

Tables: ``kms_keys`` (id), ``kms_aliases`` (name). A key's material is sealed by the master key and never
leaves. A ciphertext names its key and is bound to the encryption context; both are authenticated.
"""

from __future__ import annotations

import json
import secrets
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Final

from sluiceway.config import SecretSettings
from sluiceway.core.clock import new_id
from sluiceway.core.identity import Scope
from sluiceway.core.policy import check_resource_policy, parse_policy
from sluiceway.core.store import Tx, View
from sluiceway.errors import AlreadyExists, Conflict, Invalid, NotFound, TooLarge
from sluiceway.services.sealing import Sealer, Unsealable

KEYS: Final = "kms_keys"
ALIASES: Final = "kms_aliases"
_MATERIAL_BYTES: Final = 32
_FORMAT: Final = 1
_ID_BYTES: Final = 16
_DAY_MS: Final = 86_400_000
_BAD_CIPHERTEXT: Final = "The ciphertext is damaged, of another key, or of another encryption context."


@dataclass(frozen=True, slots=True)
class EncryptionKey:
    """``gone_ms`` is when a scheduled deletion takes effect, or 0."""

    id: str
    arn: str
    created_ms: int
    sealed: str
    policy: str
    description: str = ""
    enabled: bool = True
    gone_ms: int = 0
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def state(self) -> str:
        """As KMS calls it."""
        if self.gone_ms:
            return "PendingDeletion"
        return "Enabled" if self.enabled else "Disabled"


@dataclass(frozen=True, slots=True)
class Alias:
    """A second name of a key ("alias/photos")."""

    name: str
    key_id: str
    created_ms: int


class Keys:
    """The operations. A key is named by its id, its ARN, an alias, or an alias's ARN."""

    def __init__(self, scope: Scope, limits: SecretSettings, sealer: Sealer) -> None:
        self._scope = scope
        self._limits = limits
        self._sealer = sealer

    def create(
        self, tx: Tx, description: str = "", policy: str | None = None, tags: dict[str, str] | None = None
    ) -> EncryptionKey:
        """A symmetric key. Raises ``Invalid("policy" | "tags")``, ``Conflict("limit")``."""
        if sum(1 for _ in tx.scan(KEYS, limit=self._limits.keys_max)) >= self._limits.keys_max:
            raise Conflict("limit", f"The account has its {self._limits.keys_max} keys already.")
        self._check_tags(tags or {})
        key_id = new_id()
        text = self._default_policy() if policy is None else self._checked_policy(policy)
        sealed = self._sealer.seal(secrets.token_bytes(_MATERIAL_BYTES), f"kms/{key_id}")
        arn = self._scope.arn("kms", f"key/{key_id}")
        key = EncryptionKey(key_id, arn, tx.now_ms, sealed, text, description, tags=dict(tags or {}))
        self._save(tx, key)
        return key

    def managed(self, tx: Tx, alias: str) -> EncryptionKey:
        """The key that a service of AWS keeps for the account ("alias/aws/s3"), made when it is first asked for."""
        if tx.get(ALIASES, (alias,)) is None:
            service = alias.rpartition("/")[2]
            made = self.create(
                tx, f"Default key that protects my {service.upper()} objects when no other key is defined"
            )
            tx.put(ALIASES, (alias,), {"key_id": made.id, "created_ms": tx.now_ms})
        return self.get(tx, alias)

    def get(self, view: View, name: str) -> EncryptionKey:
        """Raises ``NotFound("key")``."""
        key_id = name
        for prefix in (self._scope.arn("kms", "key/"), self._scope.arn("kms", "")):
            key_id = key_id.removeprefix(prefix)
        if key_id.startswith("alias/"):
            alias = view.get(ALIASES, (key_id,))
            if alias is None:
                raise NotFound("key", f"Alias {self._scope.arn('kms', key_id[:256])} is not found.")
            key_id = alias["key_id"]
        row = view.get(KEYS, (key_id,))
        if row is None or 0 < row["gone_ms"] <= view.now_ms:
            raise NotFound("key", f"Key '{self._scope.arn('kms', f'key/{key_id[:256]}')}' does not exist")
        return EncryptionKey(**row)

    def list(self, view: View) -> Iterator[EncryptionKey]:
        """All keys by id."""
        for _, row in view.scan(KEYS):
            if not 0 < row["gone_ms"] <= view.now_ms:
                yield EncryptionKey(**row)

    def encrypt(self, view: View, name: str, plain: bytes, context: Mapping[str, str]) -> tuple[EncryptionKey, bytes]:
        """(the key, the ciphertext). Raises ``NotFound("key")``, ``Conflict("disabled" | "state")``,
        ``TooLarge("plaintext")``."""
        if not plain:
            raise Invalid("value", "Plaintext must have at least one byte.")
        if len(plain) > self._limits.plaintext_bytes_max:
            raise TooLarge("plaintext", f"Plaintext has at most {self._limits.plaintext_bytes_max} bytes.")
        key = self._usable(self.get(view, name))
        sealed = self._material(key).seal_bytes(plain, _context(key, context))
        return key, bytes([_FORMAT]) + uuid.UUID(key.id).bytes + sealed

    def decrypt(
        self, view: View, ciphertext: bytes, context: Mapping[str, str], name: str | None = None
    ) -> tuple[EncryptionKey, bytes]:
        """(the key, the plaintext). ``name`` is the key that is expected, if any.

        Raises ``Invalid("ciphertext" | "wrong_key")``, ``NotFound("key")``, ``Conflict("disabled" | "state")``.
        """
        key = self._usable(self.key_of(view, ciphertext))
        if name is not None and self.get(view, name).id != key.id:
            raise Invalid(
                "wrong_key", "The key ID in the request does not identify a CMK that can perform this operation."
            )
        try:
            return key, self._material(key).open_bytes(ciphertext[1 + _ID_BYTES :], _context(key, context))
        except Unsealable:
            raise Invalid("ciphertext", _BAD_CIPHERTEXT) from None

    def key_of(self, view: View, ciphertext: bytes) -> EncryptionKey:
        """The key that made the ciphertext. Raises ``Invalid("ciphertext")``."""
        if len(ciphertext) <= 1 + _ID_BYTES or ciphertext[0] != _FORMAT:
            raise Invalid("ciphertext", _BAD_CIPHERTEXT)
        try:
            return self.get(view, str(uuid.UUID(bytes=ciphertext[1 : 1 + _ID_BYTES])))
        except NotFound:
            raise Invalid("ciphertext", _BAD_CIPHERTEXT) from None

    def check_usable(self, view: View, name: str) -> None:
        """Raises ``NotFound("key")``, ``Conflict("disabled" | "state")``."""
        self._usable(self.get(view, name))

    def set_enabled(self, tx: Tx, name: str, enabled: bool) -> None:
        """Raises ``NotFound("key")``, ``Conflict("state")``."""
        key = self.get(tx, name)
        if key.gone_ms:
            raise Conflict("state", f"{key.arn} is pending deletion.")
        self._save(tx, replace(key, enabled=enabled))

    def schedule_deletion(self, tx: Tx, name: str, days: int = 30) -> EncryptionKey:
        """Raises ``NotFound("key")``, ``Conflict("state")``, ``Invalid("window")``."""
        key = self.get(tx, name)
        if key.gone_ms:
            raise Conflict("state", f"{key.arn} is pending deletion.")
        if not 7 <= days <= 30:
            raise Invalid("window", "PendingWindowInDays must be from 7 to 30.")
        key = replace(key, enabled=False, gone_ms=tx.now_ms + days * _DAY_MS)
        self._save(tx, key)
        return key

    def cancel_deletion(self, tx: Tx, name: str) -> EncryptionKey:
        """The key stays disabled. Raises ``NotFound("key")``, ``Conflict("state")``."""
        key = self.get(tx, name)
        if not key.gone_ms:
            raise Conflict("state", f"{key.arn} is not pending deletion.")
        key = replace(key, gone_ms=0)
        self._save(tx, key)
        return key

    def set_policy(self, tx: Tx, name: str, text: str) -> None:
        """Raises ``NotFound("key")``, ``Invalid("policy")``."""
        self._save(tx, replace(self.get(tx, name), policy=self._checked_policy(text)))

    def retag(self, tx: Tx, name: str, add: Mapping[str, str], drop: Sequence[str] = ()) -> None:
        """Set some tags and remove others. Raises ``Invalid("tags")``."""
        key = self.get(tx, name)
        tags = {**{name: value for name, value in key.tags.items() if name not in drop}, **add}
        self._check_tags(tags)
        self._save(tx, replace(key, tags=tags))

    def create_alias(self, tx: Tx, alias: str, name: str) -> None:
        """Raises ``Invalid("alias")``, ``AlreadyExists("alias")``, ``NotFound("key")``."""
        if not alias.startswith("alias/") or not 7 <= len(alias) <= 256 or alias.startswith("alias/aws/"):
            raise Invalid("alias", "An alias begins with alias/, not with alias/aws/, and has at most 256 characters.")
        if tx.get(ALIASES, (alias,)) is not None:
            raise AlreadyExists("alias", f"An alias with the name {self._scope.arn('kms', alias)} already exists")
        key = self.get(tx, name)
        tx.put(ALIASES, (alias,), {"key_id": key.id, "created_ms": tx.now_ms})

    def point_alias(self, tx: Tx, alias: str, name: str) -> None:
        """Let an alias name another key. Raises ``NotFound("key")``."""
        self._alias(tx, alias)
        tx.put(ALIASES, (alias,), {"key_id": self.get(tx, name).id, "created_ms": tx.now_ms})

    def delete_alias(self, tx: Tx, alias: str) -> None:
        """Raises ``NotFound("key")``."""
        self._alias(tx, alias)
        tx.delete(ALIASES, (alias,))

    def aliases(self, view: View) -> Iterator[Alias]:
        """All aliases by name."""
        for key, row in view.scan(ALIASES):
            yield Alias(str(key[0]), row["key_id"], row["created_ms"])

    def _alias(self, view: View, alias: str) -> None:
        if view.get(ALIASES, (alias,)) is None:
            raise NotFound("key", f"Alias {self._scope.arn('kms', alias[:256])} is not found.")

    def _usable(self, key: EncryptionKey) -> EncryptionKey:
        if key.gone_ms:
            raise Conflict("state", f"{key.arn} is pending deletion.")
        if not key.enabled:
            raise Conflict("disabled", f"{key.arn} is disabled.")
        return key

    def _material(self, key: EncryptionKey) -> Sealer:
        return Sealer(self._sealer.open(key.sealed, f"kms/{key.id}"))

    def _save(self, tx: Tx, key: EncryptionKey) -> None:
        tx.put(KEYS, (key.id,), asdict(key))

    def _default_policy(self) -> str:
        """The account's own policies decide."""
        statement = {
            "Sid": "Enable IAM User Permissions",
            "Effect": "Allow",
            "Principal": {"AWS": f"arn:aws:iam::{self._scope.account}:root"},
            "Action": "kms:*",
            "Resource": "*",
        }
        return json.dumps({"Version": "2012-10-17", "Id": "key-default-1", "Statement": [statement]})

    def _checked_policy(self, text: str) -> str:
        if len(text.encode()) > self._limits.key_policy_bytes_max:
            raise Invalid("policy", "The key policy is too long.")
        check_resource_policy(parse_policy(text))
        return text

    def _check_tags(self, tags: Mapping[str, str]) -> None:
        if len(tags) > self._limits.tags_max:
            raise Conflict("limit", f"A key has at most {self._limits.tags_max} tags.")
        for key, value in tags.items():
            if not 0 < len(key) <= 128 or len(value) > 256 or key.startswith("aws:"):
                raise Invalid("tags", f"The tag {key[:128]!r} is not allowed.")


def _context(key: EncryptionKey, context: Mapping[str, str]) -> str:
    return json.dumps([key.id, sorted(context.items())])
