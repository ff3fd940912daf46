"""Random passwords (Secrets Manager API reference, GetRandomPassword)."""

from __future__ import annotations

import secrets
import string

from sluiceway.errors import Invalid

_LENGTH_MAX = 4096


def random_password(
    length: int = 32,
    *,
    exclude: str = "",
    lowercase: bool = True,
    uppercase: bool = True,
    numbers: bool = True,
    punctuation: bool = True,
    space: bool = False,
    each: bool = True,
) -> str:
    """``each`` asks for one character at least of every allowed kind. Raises ``Invalid("password")``."""
    kinds = [
        (string.ascii_lowercase, lowercase),
        (string.ascii_uppercase, uppercase),
        (string.digits, numbers),
        (string.punctuation, punctuation),
        (" ", space),
    ]
    groups = ["".join(char for char in chars if char not in exclude) for chars, wanted in kinds if wanted]
    groups = [group for group in groups if group]
    if not groups:
        raise Invalid("password", "No characters are left to make a password from.")
    if not 1 <= length <= _LENGTH_MAX or (each and length < len(groups)):
        raise Invalid("password", f"The password's length must be from {len(groups) if each else 1} to {_LENGTH_MAX}.")
    chars = [secrets.choice(group) for group in groups] if each else []
    alphabet = "".join(groups)
    chars += [secrets.choice(alphabet) for _ in range(length - len(chars))]
    secrets.SystemRandom().shuffle(chars)
    return "".join(chars)
