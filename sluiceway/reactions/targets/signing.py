"""The RSA key that signs notifications, and its certificate, made at the first start."""

from __future__ import annotations

import base64
import os
from collections import OrderedDict
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

_KEPT = 256  # signatures kept: every subscription of a topic sends the same one
_YEARS = 10  # there is no authority to renew it; a new one is a deleted pair of files away


class RsaSigner:
    """Signs as SNS does. A signature takes about 0.3 ms, so the last ones are kept."""

    def __init__(self, key_pem: bytes, certificate_pem: bytes) -> None:
        key = serialization.load_pem_private_key(key_pem, None)
        if not isinstance(key, rsa.RSAPrivateKey):
            raise ValueError("The key that signs notifications is not an RSA key.")
        self._key = key
        self.length = -(-key.key_size // 8 // 3) * 4  # of base64
        self.certificate_pem = certificate_pem
        self._recent: OrderedDict[tuple[str, str], str] = OrderedDict()

    def sign(self, text: str, version: str) -> str:
        """Base64 of the signature (PKCS #1 v1.5): with SHA-1 for version "1", with SHA-256 for "2"."""
        known = self._recent.get((version, text))
        if known is not None:
            return known
        algorithm: hashes.HashAlgorithm = hashes.SHA256() if version == "2" else hashes.SHA1()
        signature = self._key.sign(text.encode("utf-8", "replace"), padding.PKCS1v15(), algorithm)
        made = base64.b64encode(signature).decode()
        self._recent[version, text] = made
        while len(self._recent) > _KEPT:
            self._recent.popitem(last=False)
        return made


def open_signer(folder: Path) -> RsaSigner:
    """The signer whose key is in ``folder`` (mode 0600); made if it is not there."""
    key_file, certificate_file = folder / "notification-key.pem", folder / "notification-certificate.pem"
    if not (key_file.exists() and certificate_file.exists()):
        key_pem, certificate_pem = _make()
        _write(certificate_file, certificate_pem, 0o644)
        _write(key_file, key_pem, 0o600)
    return RsaSigner(key_file.read_bytes(), certificate_file.read_bytes())


def _make() -> tuple[bytes, bytes]:
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.sluiceway.localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=365 * _YEARS))
        .sign(key, hashes.SHA256())
    )
    key_pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return key_pem, certificate.public_bytes(serialization.Encoding.PEM)


def _write(path: Path, data: bytes, mode: int) -> None:
    """Whole or not at all, whatever happens meanwhile."""
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
