"""Certificates of this server for AWS's host names, for functions that hard-wire them.

A certificate authority lives as long as the process, vouches for nothing but this server, and is trusted by
its own workers only.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path

import certifi
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_VALID = datetime.timedelta(days=397)


@dataclass(frozen=True, slots=True)
class Certificates:
    """Files in PEM. ``bundle`` holds the public authorities and ours."""

    certificate: Path
    key: Path
    authority: Path
    bundle: Path


def make_certificates(folder: Path, region: str, trusted: Path | None) -> Certificates:
    """New ones in ``folder``, which is the server's own. ``trusted`` is the one that its own port shows, if any."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    made = Certificates(folder / "server.pem", folder / "server.key", folder / "ca.pem", folder / "bundle.pem")
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = _authority(authority_key)
    certificate = _certificate(key, authority, authority_key, _names(region))
    authority_pem = authority.public_bytes(serialization.Encoding.PEM)
    also = b"\n" + trusted.read_bytes() if trusted is not None else b""
    made.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + authority_pem)
    made.key.touch(mode=0o600)
    made.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    made.authority.write_bytes(authority_pem + also)
    made.bundle.write_bytes(Path(certifi.where()).read_bytes() + b"\n" + authority_pem + also)
    return made


def _names(region: str) -> list[str]:
    hosts = [
        "",
        "s3.",
        f"s3.{region}.",
        f"{region}.",
        f"execute-api.{region}.",
        f"{region}.es.",
        f"lambda-url.{region}.",
    ]
    return ["localhost", *(f"*.{host}amazonaws.com" for host in hosts)]


def _builder(subject: str, public_key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + _VALID)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def _authority(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    name = "Sluiceway functions on this host"
    builder = _builder(name, key.public_key()).add_extension(x509.BasicConstraints(True, 0), critical=True)
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    return builder.add_extension(usage, critical=True).issuer_name(issuer).sign(key, hashes.SHA256())


def _certificate(
    key: ec.EllipticCurvePrivateKey, authority: x509.Certificate, authority_key: ec.EllipticCurvePrivateKey,
    names: list[str],
) -> x509.Certificate:  # fmt: skip
    alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    return (
        _builder("sluiceway", key.public_key())
        .issuer_name(authority.subject)
        .add_extension(x509.BasicConstraints(False, None), critical=True)
        .add_extension(alternatives, critical=False)
        .add_extension(identifier, critical=False)
        .sign(authority_key, hashes.SHA256())
    )
