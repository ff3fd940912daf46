"""The people who have an account at the embedded issuer, their sign-ins, and the issuer's own key.

Passwords are kept as scrypt hashes (RFC 7914) with N=2^15, r=8, p=1 (OWASP Password Storage Cheat Sheet asks for
at least N=2^15 with p=3 or N=2^17; this is what a small machine does in a tenth of a second) and 16 bytes of salt.
Codes and sessions are kept by the hash of their secret, so that a copy of the store lets nobody in.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from dataclasses import asdict, dataclass
from typing import Any, Final

from sluiceway.config import ApiSettings
from sluiceway.core.clock import new_id
from sluiceway.core.store import Tx, View
from sluiceway.errors import AlreadyExists, Invalid, NotFound, Throttled
from sluiceway.services import counts

_PEOPLE: Final = "people"
_BY_EMAIL: Final = "people_by_email"
_CODES: Final = "issuer_codes"
_SESSIONS: Final = "issuer_sessions"
_KEYS: Final = "issuer_keys"
_EXPIRED_MAX: Final = 50
_N, _R, _P = 2**15, 8, 1
_EMAIL = re.compile(r"^[^@\s<>\"']{1,64}@[A-Za-z0-9.-]{1,190}$")


@dataclass(frozen=True, slots=True)
class Person:
    """One account. ``id`` never changes and is the ``sub`` of tokens."""

    id: str
    email: str
    name: str
    password: str
    created_ms: int


@dataclass(frozen=True, slots=True)
class Grant:
    """What an authorization code stands for (RFC 6749, 4.1; RFC 7636)."""

    person_id: str
    client_id: str
    redirect_uri: str
    challenge: str
    scope: str
    nonce: str
    signed_in_ms: int


def hash_password(password: str) -> str:
    """Slow on purpose: call it on a thread."""
    salt = secrets.token_bytes(16)
    return f"scrypt${_N}${_R}${_P}${_text(salt)}${_text(_derive(password, salt, _N, _R, _P))}"


def check_password(password: str, kept: str | None) -> bool:
    """Whether ``password`` is the one that was hashed; as slow for an account that is not there (``None``)."""
    _, n, r, p, salt, expected = (kept or _NOBODY).split("$")
    found = _derive(password, base64.b64decode(salt), int(n), int(r), int(p))
    return hmac.compare_digest(found, base64.b64decode(expected)) and kept is not None


def _derive(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=n, r=r, p=p, maxmem=128 * n * r + 2**20, dklen=32)


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")


_NOBODY: Final = f"scrypt${_N}${_R}${_P}${_text(bytes(16))}${_text(bytes(32))}"


class People:
    """Transaction functions over accounts, codes and sessions."""

    def __init__(self, limits: ApiSettings) -> None:
        self._limits = limits

    # -- accounts

    def check(self, email: str, name: str, password: str) -> None:
        """Raises ``Invalid("email" | "name" | "password")`` for what can't be an account."""
        if not _EMAIL.match(email):
            raise Invalid("email", "Enter an e-mail address.")
        if len(name) > 100 or any(not char.isprintable() for char in name):
            raise Invalid("name", "A name has up to 100 printable characters.")
        if not self._limits.password_chars_min <= len(password) <= 256:
            raise Invalid("password", f"A password has {self._limits.password_chars_min} to 256 characters.")

    def create(self, tx: Tx, email: str, name: str, password_hash: str) -> Person:
        """A new account. Raises ``AlreadyExists("person")``, ``Throttled("people")``."""
        key = email.casefold()
        if tx.get(_BY_EMAIL, (key,)) is not None:
            raise AlreadyExists("person", "There is an account with this address already.")
        if not counts.one_more(tx, _PEOPLE, self._limits.people_max):
            raise Throttled("people", "There are too many accounts.")
        person = Person(new_id(), email, name or email.partition("@")[0], password_hash, tx.now_ms)
        tx.put(_PEOPLE, (person.id,), asdict(person))
        tx.put(_BY_EMAIL, (key,), {"id": person.id})
        return person

    def get(self, view: View, person_id: str) -> Person:
        """Raises ``NotFound("person")``."""
        row: dict[str, Any] | None = view.get(_PEOPLE, (person_id,))
        if row is None:
            raise NotFound("person", "There is no such account.")
        return Person(**row)

    def any(self, view: View) -> bool:
        """Whether anybody has an account."""
        return any(True for _ in view.scan(_PEOPLE, limit=1))

    def by_email(self, view: View, email: str) -> Person | None:
        """The account of an address, whatever its case."""
        row: dict[str, Any] | None = view.get(_BY_EMAIL, (email.casefold(),))
        return None if row is None else self.get(view, row["id"])

    def set_password(self, tx: Tx, person_id: str, password_hash: str) -> None:
        """Change the password and end all sessions. Raises ``NotFound("person")``."""
        person = self.get(tx, person_id)
        tx.put(_PEOPLE, (person.id,), {**asdict(person), "password": password_hash})
        self._end_sessions(tx, person_id)

    def remove(self, tx: Tx, person_id: str) -> None:
        """Delete the account. Raises ``NotFound("person")``."""
        person = self.get(tx, person_id)
        tx.delete(_BY_EMAIL, (person.email.casefold(),))
        counts.delete(tx, _PEOPLE, (person.id,))
        self._end_sessions(tx, person_id)

    # -- codes

    def grant(self, tx: Tx, grant: Grant) -> str:
        """A code for what was granted, good once and for a short time."""
        code = secrets.token_urlsafe(32)
        self._forget_expired(tx, _CODES)
        tx.put(_CODES, (_digest(code),), {**asdict(grant), "until_ms": tx.now_ms + self._limits.code_s * 1000})
        return code

    def redeem(self, tx: Tx, code: str) -> Grant | None:
        """What the code stands for; None if it is unknown, used, or too old. It is used up by this."""
        row: dict[str, Any] | None = tx.get(_CODES, (_digest(code),))
        if row is None:
            return None
        tx.delete(_CODES, (_digest(code),))
        until_ms = row.pop("until_ms")
        return Grant(**row) if until_ms > tx.now_ms else None

    # -- sessions

    def sign_in(self, tx: Tx, person_id: str) -> str:
        """A session's secret, for a cookie."""
        secret = secrets.token_urlsafe(32)
        self._forget_expired(tx, _SESSIONS)
        until_ms = tx.now_ms + self._limits.session_s * 1000
        row = {"person_id": person_id, "signed_in_ms": tx.now_ms, "until_ms": until_ms}
        tx.put(_SESSIONS, (_digest(secret),), row)
        return secret

    def signed_in(self, view: View, secret: str) -> tuple[Person, int] | None:
        """Whose session it is and since when; None if it has ended."""
        row: dict[str, Any] | None = view.get(_SESSIONS, (_digest(secret),))
        if row is None or row["until_ms"] <= view.now_ms or view.get(_PEOPLE, (row["person_id"],)) is None:
            return None
        return self.get(view, row["person_id"]), int(row["signed_in_ms"])

    def sign_out(self, tx: Tx, secret: str) -> None:
        """End a session."""
        tx.delete(_SESSIONS, (_digest(secret),))

    # -- the issuer's key

    def key(self, view: View) -> dict[str, Any] | None:
        """The signing key, sealed: ``{"id", "sealed"}``."""
        row: dict[str, Any] | None = view.get(_KEYS, ("current",))
        return row

    def keep_key(self, tx: Tx, key_id: str, sealed: str) -> dict[str, Any]:
        """The key that is kept from now on: this one, or the one that another process was faster with."""
        row = self.key(tx)
        if row is None:
            row = {"id": key_id, "sealed": sealed}
            tx.put(_KEYS, ("current",), row)
        return row

    # -- inside

    def _end_sessions(self, tx: Tx, person_id: str) -> None:
        for key in [key for key, row in tx.scan(_SESSIONS) if row["person_id"] == person_id]:
            tx.delete(_SESSIONS, key)

    @staticmethod
    def _forget_expired(tx: Tx, table: str) -> None:
        """A few of those that are over, so that the table stays about as large as what is in use."""
        start = (secrets.token_hex(32),)
        rows = tx.scan(table, start=start, limit=_EXPIRED_MAX)
        for key in [key for key, row in rows if row["until_ms"] <= tx.now_ms]:
            tx.delete(table, key)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
