"""The two files that the first start makes: the root key, and the master key that seals secrets at rest.

Both are readable by their owner only, appear whole or not at all, and are never overwritten.
"""

from __future__ import annotations

import json
import os
import secrets
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT_KEY_FILE: Final = "root-key.json"
MASTER_KEY_FILE: Final = "master-key"
_MASTER_KEY_BYTES: Final = 32  # AES-256
_ID_ALPHABET: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_FILE_BYTES_MAX: Final = 4096


class KeyFileError(Exception):
    """A key file can't be used as it is; the message tells the operator what to do."""


@dataclass(frozen=True, slots=True)
class RootKey:
    """The account's root credentials."""

    access_key_id: str
    secret_access_key: str


def root_key(folder: Path) -> RootKey:
    """The root key in ``folder``, made now if there is none. Raises ``KeyFileError``."""
    path = folder / ROOT_KEY_FILE
    if not path.exists():
        access_key_id = "AKIA" + "".join(secrets.choice(_ID_ALPHABET) for _ in range(16))
        made = {"access_key_id": access_key_id, "secret_access_key": secrets.token_urlsafe(30)}
        _create(path, json.dumps(made, indent=2).encode() + b"\n")
    return read_root_key(folder)


def read_root_key(folder: Path) -> RootKey:
    """The root key that a server made in ``folder``. Raises ``KeyFileError``, also if there is none."""
    path = folder / ROOT_KEY_FILE
    try:
        parsed = json.loads(_read(path))
        found = RootKey(parsed["access_key_id"], parsed["secret_access_key"])
    except (ValueError, KeyError, TypeError):
        raise KeyFileError(
            f"{path} is not a root key: restore it from a backup, or delete it to get a new one."
        ) from None
    if not (isinstance(found.access_key_id, str) and isinstance(found.secret_access_key, str)):
        raise KeyFileError(f"{path} is not a root key: both of its values must be texts.")
    return found


def master_key(folder: Path) -> bytes:
    """The 32 bytes that seal secrets at rest, made now if there are none. Raises ``KeyFileError``."""
    path = folder / MASTER_KEY_FILE
    if not path.exists():
        _create(path, secrets.token_hex(_MASTER_KEY_BYTES).encode() + b"\n")
    try:
        key = bytes.fromhex(_read(path).decode("ascii").strip())
    except ValueError:
        key = b""
    if len(key) != _MASTER_KEY_BYTES:
        raise KeyFileError(
            f"{path} is not a master key ({2 * _MASTER_KEY_BYTES} hexadecimal digits): restore it from a backup; "
            "what it sealed can't be read without it."
        )
    return key


def _create(path: Path, content: bytes) -> None:
    """Write and link: another process that starts at the same time finds a whole file, and one of them wins."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        temporary.unlink()
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _read(path: Path) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError as error:
        raise KeyFileError(f"{path} can't be read: {error.strerror}.") from error
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise KeyFileError(f"{path} is not a regular file.")
        if status.st_mode & 0o077:
            mode = stat.S_IMODE(status.st_mode)
            raise KeyFileError(f"{path} is open to others (mode {mode:04o}): run `chmod 600 {path}`.")
        return file.read(_FILE_BYTES_MAX)
