"""What answers an endpoint's 401: the basic scheme (RFC 7617) and the digest scheme (RFC 7616), which are those that SNS
knows (Amazon SNS Developer Guide, "Subscribing an HTTPS endpoint": a user and password in the URL).
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

_PARAMETER = re.compile(r'([A-Za-z0-9_-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')
_HASHES: Final[Mapping[str, Callable[..., Any]]] = {"MD5": hashlib.md5, "SHA-256": hashlib.sha256}


def answer_to(challenges: Sequence[str], user: str, password: str, method: str, target: str) -> str | None:
    """The header Authorization for one of ``challenges`` (values of WWW-Authenticate); None if none is understood."""
    for challenge in challenges:
        scheme, _, rest = challenge.strip().partition(" ")
        if scheme.lower() == "basic":
            return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        if scheme.lower() == "digest":
            given = {match[1].lower(): match[2] or match[3] or "" for match in _PARAMETER.finditer(rest)}
            proof = _digest(given, user, password, method, target)
            if proof is not None:
                return proof
    return None


def _digest(given: Mapping[str, str], user: str, password: str, method: str, target: str) -> str | None:
    algorithm = given.get("algorithm", "MD5").upper()
    hashed = _HASHES.get(algorithm)
    choices = [choice.strip() for choice in given.get("qop", "auth").split(",")]
    if hashed is None or "nonce" not in given or "auth" not in choices:
        return None

    def digest(*parts: str) -> str:
        return str(hashed(":".join(parts).encode()).hexdigest())

    realm, nonce, count, client = given.get("realm", ""), given["nonce"], "00000001", secrets.token_hex(8)
    secret, request = digest(user, realm, password), digest(method, target)
    qop = ("auth",) if "qop" in given else ()
    middle = (nonce, count, client, *qop) if qop else (nonce,)
    fields = {
        "username": user.replace("\\", "\\\\").replace('"', '\\"'),
        "realm": realm,
        "nonce": nonce,
        "uri": target,
        "response": digest(secret, *middle, request),
        **({"opaque": given["opaque"]} if "opaque" in given else {}),
    }
    text = ", ".join(f'{name}="{value}"' for name, value in fields.items())
    return f"Digest {text}, algorithm={algorithm}" + (f', qop=auth, nc={count}, cnonce="{client}"' if qop else "")
