"""Secrets at rest: AES-256-GCM under the master key, bound to what they belong to.

A sealed text is base64 of a version byte (which key), a random nonce of 12 bytes, and the ciphertext with its
tag. ``context`` is authenticated with it, so that a sealed value moved to another row does not open there.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16


class Unsealable(ValueError):
    """The text was not sealed here, not for this context, or by a key that is gone."""


class Sealer:
    """``older`` holds the keys of earlier versions, which open but don't seal."""

    def __init__(self, master_key: bytes, version: int = 1, older: Mapping[int, bytes] | None = None) -> None:
        self._version = version
        self._keys = {number: AESGCM(key) for number, key in {**(older or {}), version: master_key}.items()}

    def seal(self, plain: bytes, context: str) -> str:
        """``plain``, readable only with the master key and the same ``context``."""
        return base64.b64encode(self.seal_bytes(plain, context)).decode("ascii")

    def open(self, text: str, context: str) -> bytes:
        """What was sealed. Raises ``Unsealable``."""
        try:
            raw = base64.b64decode(text, validate=True)
        except ValueError:
            raise Unsealable("not a sealed text") from None
        return self.open_bytes(raw, context)

    def seal_bytes(self, plain: bytes, context: str) -> bytes:
        """As ``seal``, without base64."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = self._keys[self._version].encrypt(nonce, plain, context.encode())
        return bytes([self._version]) + nonce + sealed

    def open_bytes(self, raw: bytes, context: str) -> bytes:
        """As ``open``, of what ``seal_bytes`` gave. Raises ``Unsealable``."""
        key = self._keys.get(raw[0]) if len(raw) > _NONCE_BYTES + _TAG_BYTES else None
        if key is None:
            raise Unsealable("not a sealed text, or its key is gone")
        try:
            return key.decrypt(raw[1 : 1 + _NONCE_BYTES], raw[1 + _NONCE_BYTES :], context.encode())
        except InvalidTag:
            raise Unsealable("sealed by another key, for another context, or damaged") from None
