"""Secrets with versions and staging labels (Secrets Manager User Guide, "What's in a secret?").

Tables: ``secrets`` (name), ``secret_versions`` (name, version id). A label points to one version at most;
AWSCURRENT is what is read by default, AWSPREVIOUS what was current before. A deleted secret stays until its
recovery window has passed.
"""

from __future__ import annotations

import re
import secrets
import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

from sluiceway.config import SecretSettings
from sluiceway.core.clock import new_id
from sluiceway.core.identity import Scope
from sluiceway.core.policy import check_resource_policy, parse_policy
from sluiceway.core.store import Tx, View
from sluiceway.errors import AlreadyExists, Conflict, Invalid, NotFound, TooLarge
from sluiceway.services import counts
from sluiceway.services.sealing import Sealer

SECRETS: Final = "secrets"
VERSIONS: Final = "secret_versions"
CURRENT: Final = "AWSCURRENT"
PREVIOUS: Final = "AWSPREVIOUS"

_NAME = re.compile(r"[A-Za-z0-9/_+=.@-]{1,512}\Z")
_SUFFIX = re.compile(r"-[A-Za-z0-9]{6}\Z")
_DAY_MS: Final = 86_400_000
_LABELS_MAX: Final = 20
_MISSING: Final = "Secrets Manager can't find the specified secret."


@dataclass(frozen=True, slots=True)
class Secret:
    """``deleted_ms`` is when a deletion was asked for, ``gone_ms`` when it takes effect; 0 for neither."""

    name: str
    arn: str
    created_ms: int
    changed_ms: int
    description: str = ""
    kms_key_id: str = ""
    deleted_ms: int = 0
    gone_ms: int = 0
    policy: str = ""
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Version:
    """``kind`` is "string" or "binary"; ``sealed`` the value, sealed for this secret and version."""

    id: str
    created_ms: int
    kind: str
    sealed: str
    stages: list[str]


@dataclass(frozen=True, slots=True)
class SecretValue:
    """What a secret holds: text or bytes."""

    secret: Secret
    version: Version
    value: str | bytes


class Secrets:
    """The operations. A secret is named by its name, its ARN, or its ARN without the random end."""

    def __init__(self, scope: Scope, limits: SecretSettings, sealer: Sealer) -> None:
        self._scope = scope
        self._limits = limits
        self._sealer = sealer

    def create(
        self,
        tx: Tx,
        name: str,
        value: str | bytes | None = None,
        *,
        token: str | None = None,
        description: str = "",
        kms_key_id: str = "",
        tags: dict[str, str] | None = None,
    ) -> tuple[Secret, str | None]:
        """(the secret, its version's id if it has a value).

        Raises ``Invalid("name" | "tags" | "token")``, ``AlreadyExists("secret")`` (but for a repeated request with
        the same token and value), ``Conflict("deleted")``, ``Conflict("limit")``, ``TooLarge("secret")``.
        """
        if not _NAME.match(name):
            raise Invalid(
                "name",
                "Invalid name. Must be a valid name containing alphanumeric characters, or any of "
                "the following: -/_+=.@!",
            )
        self._check_tags(tags or {})
        known = self._row(tx, name)
        if known is not None:
            return self._created_again(tx, known, value, token)
        self._purge(tx, name)  # one whose recovery window has passed
        if not counts.one_more(tx, SECRETS, self._limits.secrets_max):
            raise Conflict("limit", f"You've exceeded the limit of {self._limits.secrets_max} secrets.")
        end = "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(6))
        arn = self._scope.arn("secretsmanager", f"secret:{name}-{end}")
        secret = Secret(name, arn, tx.now_ms, tx.now_ms, description, kms_key_id, tags=dict(tags or {}))
        self._save(tx, secret)
        if value is None:
            return secret, None
        return secret, self._add(tx, secret, value, token, [CURRENT])

    def put(
        self, tx: Tx, name: str, value: str | bytes, *, token: str | None = None, stages: Sequence[str] = (CURRENT,)
    ) -> tuple[Secret, Version]:
        """Add a version. Raises ``NotFound("secret")``, ``Conflict("deleted")``, ``AlreadyExists("version")``."""
        secret = self.get_live(tx, name)
        if not stages or len(stages) > _LABELS_MAX or not all(0 < len(stage) <= 256 for stage in stages):
            raise Invalid("stages", f"A version has 1 to {_LABELS_MAX} staging labels of 1 to 256 characters.")
        first = next(iter(tx.scan(VERSIONS, prefix=(secret.name,), limit=1)), None) is None
        wanted = list(dict.fromkeys([*stages, CURRENT] if first else stages))
        version_id = self._add(tx, secret, value, token, wanted)
        return self.get(tx, secret.name), self._version(tx, secret, version_id)

    def update(
        self,
        tx: Tx,
        name: str,
        value: str | bytes | None = None,
        *,
        token: str | None = None,
        description: str | None = None,
        kms_key_id: str | None = None,
    ) -> tuple[Secret, str | None]:
        """Change what is given; (the secret, the new version's id if there is one)."""
        secret = self.get_live(tx, name)
        secret = replace(
            secret,
            description=secret.description if description is None else description,
            kms_key_id=secret.kms_key_id if kms_key_id is None else kms_key_id,
            changed_ms=tx.now_ms,
        )
        self._save(tx, secret)
        version_id = None if value is None else self._add(tx, secret, value, token, [CURRENT])
        return secret, version_id

    def value(self, view: View, name: str, version_id: str | None = None, stage: str | None = None) -> SecretValue:
        """What the version holds, AWSCURRENT by default.

        Raises ``NotFound("secret")``, ``Conflict("deleted")``.
        """
        secret = self.get_live(view, name)
        version = self._chosen(view, secret, version_id, stage)
        plain = self._sealer.open(version.sealed, _context(secret, version.id))
        return SecretValue(secret, version, plain if version.kind == "binary" else plain.decode())

    def get(self, view: View, name: str) -> Secret:
        """The secret, marked for deletion or not. Raises ``NotFound("secret")``."""
        secret = self._row(view, self._name_of(view, name))
        if secret is None or (name.startswith("arn:") and not _names(name, secret.arn)):
            raise NotFound("secret", _MISSING)
        return secret

    def get_live(self, view: View, name: str) -> Secret:
        """The secret. Raises ``NotFound("secret")``, ``Conflict("deleted")``."""
        secret = self.get(view, name)
        if secret.gone_ms:
            raise Conflict(
                "deleted", "You can't perform this operation on the secret because it was marked for deletion."
            )
        return secret

    def list(self, view: View) -> Iterator[Secret]:
        """All secrets by name, also those marked for deletion."""
        for _, row in view.scan(SECRETS):
            secret = Secret(**row)
            if not 0 < secret.gone_ms <= view.now_ms:
                yield secret

    def versions(self, view: View, secret: Secret) -> Iterator[Version]:
        """The secret's versions, oldest first."""
        rows = [Version(**row) for _, row in view.scan(VERSIONS, prefix=(secret.name,))]
        yield from sorted(rows, key=lambda version: version.created_ms)

    def delete(self, tx: Tx, name: str, recovery_days: int | None = None, *, force: bool = False) -> Secret:
        """Mark for deletion, or delete at once.

        Raises ``NotFound("secret")``, ``Conflict("deleted")``, ``Invalid("window")``.
        """
        if force and recovery_days is not None:
            raise Invalid("window", "You can't use ForceDeleteWithoutRecovery with RecoveryWindowInDays.")
        days = 30 if recovery_days is None else recovery_days
        if not 7 <= days <= 30:
            raise Invalid("window", "RecoveryWindowInDays value must be between 7 and 30 days (inclusive).")
        secret = self.get(tx, name) if force else self.get_live(tx, name)
        if force:
            self._purge(tx, secret.name)
            return replace(secret, deleted_ms=tx.now_ms, gone_ms=tx.now_ms)
        secret = replace(secret, deleted_ms=tx.now_ms, gone_ms=tx.now_ms + days * _DAY_MS)
        self._save(tx, secret)
        return secret

    def restore(self, tx: Tx, name: str) -> Secret:
        """Take a deletion back. Raises ``NotFound("secret")``."""
        secret = replace(self.get(tx, name), deleted_ms=0, gone_ms=0)
        self._save(tx, secret)
        return secret

    def move_stage(self, tx: Tx, name: str, stage: str, to: str | None, away_from: str | None) -> Secret:
        """Put a staging label on version ``to``, taking it off ``away_from``.

        Raises ``Invalid("stages")`` unless ``away_from`` is the version that has the label.
        """
        secret = self.get_live(tx, name)
        holder = next((version for version in self.versions(tx, secret) if stage in version.stages), None)
        if away_from is not None and (holder is None or holder.id != away_from):
            raise Invalid("stages", f"The staging label {stage} is not attached to version {away_from[:64]}.")
        if holder is not None and away_from is None and to not in (None, holder.id):
            raise Invalid("stages", f"The staging label {stage} is attached to {holder.id}: name it to remove it from.")
        if to is None:
            if stage == CURRENT:
                raise Invalid("stages", "You can't remove AWSCURRENT, only move it to another version.")
            if holder is not None:
                self._save_version(tx, secret, replace(holder, stages=[s for s in holder.stages if s != stage]))
            return secret
        self._version(tx, secret, to)
        self._label(tx, secret, to, [stage])
        return secret

    def set_policy(self, tx: Tx, name: str, text: str) -> Secret:
        """Set the resource policy; "" removes it. Raises ``Invalid("policy")``, ``TooLarge("policy")``."""
        if len(text) > self._limits.policy_bytes_max:
            raise TooLarge("policy", "The resource policy is too long.")
        if text:
            check_resource_policy(parse_policy(text))
        secret = replace(self.get_live(tx, name), policy=text)
        self._save(tx, secret)
        return secret

    def retag(self, tx: Tx, name: str, add: Mapping[str, str], drop: Sequence[str] = ()) -> None:
        """Set some tags and remove others. Raises ``Invalid("tags")``."""
        secret = self.get_live(tx, name)
        tags = {**{key: value for key, value in secret.tags.items() if key not in drop}, **add}
        self._check_tags(tags)
        self._save(tx, replace(secret, tags=tags))

    def _created_again(
        self, tx: Tx, secret: Secret, value: str | bytes | None, token: str | None
    ) -> tuple[Secret, str | None]:
        if secret.gone_ms:
            raise Conflict(
                "deleted",
                "You can't create this secret because a secret with this name is already scheduled for deletion.",
            )
        row = tx.get(VERSIONS, (secret.name, token)) if token else None
        if row is not None and value is not None and self._opened(secret, Version(**row)) == value:
            return secret, token
        raise AlreadyExists("secret", f"The operation failed because the secret {secret.name} already exists.")

    def _add(self, tx: Tx, secret: Secret, value: str | bytes, token: str | None, stages: Sequence[str]) -> str:
        plain = value.encode() if isinstance(value, str) else value
        if not plain:
            raise Invalid("value", "You must provide either SecretString or SecretBinary.")
        if len(plain) > self._limits.secret_bytes_max:
            raise TooLarge("secret", f"A secret's value has at most {self._limits.secret_bytes_max} bytes.")
        version_id = token or new_id()
        if not 32 <= len(version_id) <= 64:
            raise Invalid("token", "ClientRequestToken must have 32 to 64 characters.")
        row = tx.get(VERSIONS, (secret.name, version_id))
        if row is not None:
            if self._opened(secret, Version(**row)) != value:
                raise AlreadyExists(
                    "version", "You can't modify a secret version: its ClientRequestToken was used for another value."
                )
            return version_id
        kind = "string" if isinstance(value, str) else "binary"
        sealed = self._sealer.seal(plain, _context(secret, version_id))
        self._save_version(tx, secret, Version(version_id, tx.now_ms, kind, sealed, []))
        self._label(tx, secret, version_id, stages)
        self._save(tx, replace(secret, changed_ms=tx.now_ms))
        self._forget_old(tx, secret)
        return version_id

    def _label(self, tx: Tx, secret: Secret, version_id: str, stages: Sequence[str]) -> None:
        """Move labels to a version; what was current becomes previous."""
        taken = set(stages)
        for version in list(self.versions(tx, secret)):
            has = [stage for stage in version.stages if stage not in taken]
            if CURRENT in taken and version.id != version_id:
                has = [stage for stage in has if stage != PREVIOUS]
                if CURRENT in version.stages:
                    has.append(PREVIOUS)
            if version.id == version_id:
                has = [*(stage for stage in has if not (stage == PREVIOUS and CURRENT in taken)), *stages]
            if has != version.stages:
                self._save_version(tx, secret, replace(version, stages=has))

    def _forget_old(self, tx: Tx, secret: Secret) -> None:
        """Versions without a label are AWS's to remove, too; here when there are too many."""
        versions = list(self.versions(tx, secret))
        surplus = len(versions) - self._limits.versions_max
        for version in [version for version in versions if not version.stages][: max(surplus, 0)]:
            tx.delete(VERSIONS, (secret.name, version.id))

    def _chosen(self, view: View, secret: Secret, version_id: str | None, stage: str | None) -> Version:
        if version_id is not None:
            version = self._version(view, secret, version_id)
            if stage is not None and stage not in version.stages:
                raise Invalid("stages", "You provided a VersionStage that is not associated to the provided VersionId.")
            return version
        wanted = stage or CURRENT
        for version in self.versions(view, secret):
            if wanted in version.stages:
                return version
        raise NotFound(
            "secret", f"Secrets Manager can't find the specified secret value for staging label: {wanted[:256]}"
        )

    def _version(self, view: View, secret: Secret, version_id: str) -> Version:
        row = view.get(VERSIONS, (secret.name, version_id))
        if row is None:
            raise NotFound(
                "secret", f"Secrets Manager can't find the specified secret value for VersionId: {version_id[:64]}"
            )
        return Version(**row)

    def _opened(self, secret: Secret, version: Version) -> str | bytes:
        plain = self._sealer.open(version.sealed, _context(secret, version.id))
        return plain if version.kind == "binary" else plain.decode()

    def _row(self, view: View, name: str) -> Secret | None:
        row = view.get(SECRETS, (name,))
        if row is None or 0 < row["gone_ms"] <= view.now_ms:
            return None
        return Secret(**row)

    def _name_of(self, view: View, given: str) -> str:
        """A name, or the name in an ARN: with its random end, or without."""
        if not given.startswith("arn:"):
            return given
        name = given.split(":secret:", 1)[-1]
        without_end = _SUFFIX.sub("", name)
        return name if view.get(SECRETS, (name,)) is not None else without_end

    def _purge(self, tx: Tx, name: str) -> None:
        for key, _ in list(tx.scan(VERSIONS, prefix=(name,))):
            tx.delete(VERSIONS, key)
        counts.delete(tx, SECRETS, (name,))

    def _save(self, tx: Tx, secret: Secret) -> None:
        tx.put(SECRETS, (secret.name,), asdict(secret))

    def _save_version(self, tx: Tx, secret: Secret, version: Version) -> None:
        row: dict[str, Any] = asdict(version)
        tx.put(VERSIONS, (secret.name, version.id), row)

    def _check_tags(self, tags: Mapping[str, str]) -> None:
        if len(tags) > self._limits.tags_max:
            raise Conflict("limit", f"A secret has at most {self._limits.tags_max} tags.")
        for key, value in tags.items():
            if not 0 < len(key) <= 128 or len(value) > 256 or key.startswith("aws:"):
                raise Invalid("tags", f"The tag {key[:128]!r} is not allowed.")


def _names(given: str, arn: str) -> bool:
    return given == arn or given == arn[:-7]


def _context(secret: Secret, version_id: str) -> str:
    return f"secret/{secret.arn}/{version_id}"
