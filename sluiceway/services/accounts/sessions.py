"""Temporary credentials.

A session token is its own record, sealed by the master key: whose session it is, its key, its secret and its
end. Nothing is stored, so credentials work at once, everywhere, and need no cleaning up; a session ends with
its time, or with its role or user.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from typing import Final

from sluiceway.config import SecuritySettings
from sluiceway.core.store import View
from sluiceway.errors import Invalid, Unauthenticated
from sluiceway.services.accounts.roles import Roles
from sluiceway.services.accounts.rows import Credentials, new_secret, new_unique_id
from sluiceway.services.accounts.users import Users
from sluiceway.services.sealing import Sealer, Unsealable

_CONTEXT: Final = "session"
_NAME = re.compile(r"[\w+=,.@-]{2,64}\Z", re.ASCII)
_TOKEN_CHARS_MAX: Final = 4096


@dataclass(frozen=True, slots=True)
class Session:
    """What a token says. ``kind`` is "role", "user" or "root"; ``id`` is the role's or user's unique id."""

    kind: str
    name: str
    id: str
    session: str
    access_key_id: str
    secret: str
    expires_ms: int


class Sessions:
    """Makes and opens session tokens."""

    def __init__(self, limits: SecuritySettings, sealer: Sealer, users: Users, roles: Roles) -> None:
        self._limits = limits
        self._sealer = sealer
        self._users = users
        self._roles = roles

    def of_role(self, view: View, role_arn: str, session_name: str, duration_s: int) -> Credentials:
        """Raises ``NotFound("role")``, ``Invalid("session_name" | "duration")``."""
        role = self._roles.by_arn(view, role_arn)
        if not _NAME.match(session_name):
            raise Invalid(
                "session_name", "The session's name must be 2 to 64 letters, digits or any of +=,.@_- characters."
            )
        return self._make("role", role.name, role.id, session_name, duration_s, view.now_ms)

    def of_user(self, view: View, user_name: str, duration_s: int) -> Credentials:
        """A session with the user's own rights. Raises ``NotFound("user")``, ``Invalid("duration")``."""
        user = self._users.get(view, user_name)
        return self._make("user", user.name, user.id, "", duration_s, view.now_ms)

    def of_root(self, view: View, duration_s: int) -> Credentials:
        """A session of the account's root. Raises ``Invalid("duration")``."""
        return self._make("root", "root", "", "", duration_s, view.now_ms)

    def opened(self, token: str) -> Session:
        """What the token says, expired or not. Raises ``Unauthenticated("token")``."""
        try:
            if len(token) > _TOKEN_CHARS_MAX:
                raise Unsealable("too long")
            return Session(**json.loads(self._sealer.open(token, _CONTEXT)))
        except Unsealable:
            raise Unauthenticated("token", "The provided token is malformed or otherwise invalid.") from None

    def _make(self, kind: str, name: str, unique_id: str, session: str, duration_s: int, now_ms: int) -> Credentials:
        if not self._limits.session_s_min <= duration_s <= self._limits.session_s_max:
            raise Invalid(
                "duration",
                f"DurationSeconds must be from {self._limits.session_s_min} to {self._limits.session_s_max}.",
            )
        made = Session(
            kind, name, unique_id, session, new_unique_id("ASIA", 16), new_secret(), now_ms + duration_s * 1000
        )
        token = self._sealer.seal(json.dumps(asdict(made)).encode(), _CONTEXT)
        return Credentials(made.access_key_id, made.secret, token, made.expires_ms)
