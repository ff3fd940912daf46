"""Who signs notifications: opened, and made at the first start, when something is signed, as most servers never do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sluiceway.reactions.targets.signing import RsaSigner


class LaterSigner:
    """``folder`` holds the key. See ``reactions.targets.signing``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._signer: RsaSigner | None = None

    def sign(self, text: str, version: str) -> str:
        """As ``RsaSigner.sign``."""
        return self._opened().sign(text, version)

    @property
    def length(self) -> int:
        """As ``RsaSigner.length``."""
        return self._opened().length

    def certificate_pem(self) -> bytes:
        """What signatures are checked with."""
        return self._opened().certificate_pem

    def _opened(self) -> RsaSigner:
        if self._signer is None:
            from sluiceway.reactions.targets.signing import open_signer

            self._signer = open_signer(self._folder)
        return self._signer
