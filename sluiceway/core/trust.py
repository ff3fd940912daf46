"""Whose certificates connections to elsewhere accept: the same on every Python."""

from __future__ import annotations

import ssl
from pathlib import Path


def trust(authorities: Path | None = None) -> ssl.SSLContext:
    """The system's authorities, and those in the PEM file ``authorities``. Raises ``OSError`` if it can't be read.

    Python 3.13 began to refuse certificates without RFC 5280's newest extensions, as many a company's own authority
    issues them (curl, OpenSSL and browsers take them), and to take one that is itself in the file for vouched for,
    whoever signed it (``ssl.create_default_context``). Who upgrades Python shall find the same endpoints trusted.
    """
    context = ssl.create_default_context()
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if authorities is not None:
        context.load_verify_locations(authorities)
    return context
