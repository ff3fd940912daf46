"""The issuer's key and the tokens it signs (RS256: API Gateway's own authorizers take RSA only)."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from sluiceway.config import ApiSettings
from sluiceway.core.clock import new_id
from sluiceway.core.store import Store
from sluiceway.services.people import Grant, People, Person
from sluiceway.services.sealing import Sealer

CLIENT: Final = "sluiceway"
_CONTEXT: Final = "issuer-key"
_BITS: Final = 2048  # RFC 7518, 3.3: at least 2048
_ACCESS: Final = "at+jwt"  # RFC 9068


@dataclass(frozen=True, slots=True)
class SigningKey:
    """``jwk`` is the public half as RFC 7517 writes it."""

    id: str
    private: rsa.RSAPrivateKey
    jwk: dict[str, Any]


async def load_key(store: Store, people: People, sealer: Sealer) -> SigningKey:
    """The key that is kept, made now if there is none. Raises ``sealing.Unsealable`` if the master key changed."""
    row = await store.view(people.key)
    if row is None:
        private = await asyncio.to_thread(rsa.generate_private_key, public_exponent=65537, key_size=_BITS)
        pem = private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        name = hashlib.sha256(pem).hexdigest()[:16]
        row = await store.commit(people.keep_key, name, sealer.seal(pem, _CONTEXT))
    loaded = serialization.load_pem_private_key(sealer.open(row["sealed"], _CONTEXT), None)
    if not isinstance(loaded, rsa.RSAPrivateKey):
        raise TypeError("the issuer's key is not an RSA key")
    public: dict[str, Any] = jwt.algorithms.RSAAlgorithm.to_jwk(loaded.public_key(), as_dict=True)
    jwk = {"kty": "RSA", "n": public["n"], "e": public["e"], "kid": row["id"], "use": "sig", "alg": "RS256"}
    return SigningKey(row["id"], loaded, jwk)


class Tokens:
    """Signs and checks."""

    def __init__(self, key: SigningKey, limits: ApiSettings) -> None:
        self._key = key
        self._limits = limits

    def issue(self, issuer: str, person: Person, grant: Grant, now_ms: int) -> dict[str, Any]:
        """The token endpoint's answer (RFC 6749, 5.1; OpenID Connect Core, 3.1.3.3)."""
        scopes = grant.scope.split()
        common = {
            "iss": issuer,
            "sub": person.id,
            "aud": grant.client_id,
            "iat": now_ms // 1000,
            "exp": now_ms // 1000 + self._limits.token_s,
            "auth_time": grant.signed_in_ms // 1000,
        }
        access = {**common, "client_id": grant.client_id, "scope": grant.scope, "jti": new_id(), "token_use": "access"}
        answer: dict[str, Any] = {
            "access_token": self._sign(access, _ACCESS),
            "token_type": "Bearer",
            "expires_in": self._limits.token_s,
            "scope": grant.scope,
        }
        if "openid" in scopes:
            identity = {**common, **claims_of(person, scopes), "token_use": "id"}
            if grant.nonce:
                identity["nonce"] = grant.nonce
            answer["id_token"] = self._sign(identity, "JWT")
        return answer

    def access(self, token: str) -> dict[str, Any] | None:
        """The claims of a good access token."""
        claims = self._check(token, expired_too=False)
        return claims if claims is not None and claims.get("token_use") == "access" else None

    def hint(self, token: str) -> dict[str, Any] | None:
        """The claims of an identity token that was good once."""
        claims = self._check(token, expired_too=True)
        return claims if claims is not None and claims.get("token_use") == "id" else None

    def _sign(self, claims: dict[str, Any], kind: str) -> str:
        return jwt.encode(claims, self._key.private, algorithm="RS256", headers={"kid": self._key.id, "typ": kind})

    def _check(self, token: str, expired_too: bool) -> dict[str, Any] | None:
        """Whatever name of this machine the token was made under: the key is this issuer's alone."""
        if len(token) > self._limits.token_bytes_max:
            return None
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                self._key.private.public_key(),
                algorithms=["RS256"],
                audience=CLIENT,
                options={"verify_exp": not expired_too},
            )
        except jwt.InvalidTokenError:
            return None
        return claims


def claims_of(person: Person, scopes: list[str]) -> dict[str, Any]:
    """What the scopes let a client know (OpenID Connect Core, 5.4)."""
    claims: dict[str, Any] = {}
    if "email" in scopes:
        claims |= {"email": person.email, "email_verified": False}
    if "profile" in scopes:
        claims |= {"name": person.name, "preferred_username": person.email}
    return claims
