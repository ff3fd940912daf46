"""JWT authorizers: tokens of any OpenID Connect issuer.

Developer Guide, "Control access to HTTP APIs with JWT authorizers in API Gateway": the signature by the
issuer's keys; ``iss``, ``aud`` or ``client_id``, ``exp``, ``nbf``, ``iat``; ``scope`` or ``scp``.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import orjson

from sluiceway.config import ApiSettings
from sluiceway.core.trust import trust
from sluiceway.services.apis import Authorizer

if TYPE_CHECKING:
    import aiohttp

log = logging.getLogger(__name__)

Jwks = dict[str, Any]
#: The key set of an issuer that is this server itself, or None.
LocalKeys = Callable[[str], Awaitable[Jwks | None]]

_ALGORITHMS: Final[Mapping[str, tuple[str, ...]]] = {
    "RSA": ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    "P-256": ("ES256",),
    "P-384": ("ES384",),
    "P-521": ("ES512",),
    "Ed25519": ("EdDSA",),
}
_KEYS_MAX: Final = 100


class Refused(Exception):
    """The request may not go on. ``challenge`` is the WWW-Authenticate header, if there is one."""

    def __init__(self, status: int, reason: str, challenge: str = "") -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.challenge = challenge


@dataclass(slots=True)
class _Known:
    """An issuer's keys, as they were at ``fetched``; ``tried`` is the last time they were asked for."""

    keys: list[dict[str, Any]] = field(default_factory=list)
    fetched: float = float("-inf")
    tried: float = float("-inf")
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class IssuerKeys:
    """Keys of issuers, fetched when first needed and when a token names one that is not known."""

    def __init__(self, limits: ApiSettings, local: LocalKeys | None = None) -> None:
        self._limits = limits
        self._local = local
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._session: aiohttp.ClientSession | None = None

    async def find(self, issuer: str, kid: str | None) -> dict[str, Any] | None:
        """The issuer's key named ``kid``; its only key if the token names none. None if there is no such key."""
        known = self._known.setdefault(issuer, _Known())
        self._known.move_to_end(issuer)
        if len(self._known) > self._limits.issuers_max:
            self._known.popitem(last=False)
        if time.monotonic() - known.fetched > self._limits.keys_s or _pick(known.keys, kid) is None:
            await self._refresh(issuer, known, kid)
        return _pick(known.keys, kid)

    async def both_local(self, first: str, second: str) -> bool:
        """Whether both are this server's own issuer, which goes by several names (localhost, 127.0.0.1)."""
        if self._local is None:
            return False
        return await self._local(first) is not None and await self._local(second) is not None

    async def _refresh(self, issuer: str, known: _Known, kid: str | None) -> None:
        async with known.lock:
            now = time.monotonic()
            if now - known.tried < self._limits.keys_retry_s and known.tried > float("-inf"):
                return
            known.tried = now
            import aiohttp  # here and below: it takes a fifth of a second, which a start must not wait for

            try:
                async with asyncio.timeout(self._limits.keys_fetch_s):
                    known.keys = await self._fetch(issuer)
                known.fetched = now
            except (aiohttp.ClientError, OSError, ValueError, TimeoutError) as error:
                # Keys that are known go on being good: an issuer that is down must not lock everybody out.
                log.warning("the keys of the issuer %s could not be fetched: %s", issuer, error or type(error).__name__)

    async def _fetch(self, issuer: str) -> list[dict[str, Any]]:
        found = await self._local(issuer) if self._local is not None else None
        if found is None:
            metadata = await self._get(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
            if str(metadata.get("issuer", "")).rstrip("/") != issuer.rstrip("/"):
                raise ValueError("its metadata names another issuer")
            uri = metadata.get("jwks_uri")
            if not isinstance(uri, str) or urlsplit(uri).scheme not in ("http", "https"):
                raise ValueError("its metadata has no jwks_uri")
            found = await self._get(uri)
        keys = found.get("keys")
        if not isinstance(keys, list):
            raise ValueError("its key set has no keys")
        return [key for key in keys[:_KEYS_MAX] if isinstance(key, dict) and key.get("use") != "enc"]

    async def _get(self, url: str) -> dict[str, Any]:
        import aiohttp

        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=trust()), trust_env=False, cookie_jar=aiohttp.DummyCookieJar()
            )
        async with self._session.get(url, allow_redirects=False) as response:
            if response.status != 200:
                raise ValueError(f"{url} answered {response.status}")
            parts: list[bytes] = []
            async for chunk in response.content.iter_chunked(16 * 1024):
                parts.append(chunk)
                if sum(map(len, parts)) > self._limits.keys_bytes_max:
                    raise ValueError(f"{url} answered more than {self._limits.keys_bytes_max} bytes")
        body = orjson.loads(b"".join(parts))
        if not isinstance(body, dict):
            raise ValueError(f"{url} did not answer with an object")
        return body

    async def close(self) -> None:
        """Let go of connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None


class JwtAuthorizer:
    """Judges tokens."""

    def __init__(self, keys: IssuerKeys, limits: ApiSettings) -> None:
        self._keys = keys
        self._limits = limits

    async def judge(self, authorizer: Authorizer, scopes: tuple[str, ...], text: str | None) -> dict[str, Any]:
        """The event's ``{"claims": ..., "scopes": ...}``. Raises ``Refused`` (401, or 403 for missing scopes)."""
        if not text:
            raise Refused(401, "there is no token", "Bearer")
        kind, _, rest = text.partition(" ")
        token = rest.strip() if kind.lower() == "bearer" else text
        if len(token) > self._limits.token_bytes_max:
            raise _invalid("the token is too long")
        claims = await self._claims(authorizer, token)
        _check_audience(authorizer, claims)
        granted = _scopes(claims)
        if scopes and not set(scopes) & set(granted):
            challenge = f'Bearer scope="{" ".join(scopes)}" error="insufficient_scope"'
            raise Refused(403, "the token has none of the route's scopes", challenge)
        return {"claims": {name: _text(value) for name, value in claims.items()}, "scopes": granted if scopes else None}

    async def _claims(self, authorizer: Authorizer, token: str) -> dict[str, Any]:
        import jwt  # here: with cryptography it takes a tenth of a second

        try:
            header = jwt.get_unverified_header(token)
        except jwt.InvalidTokenError as error:
            raise _invalid(str(error)) from None
        algorithm, kid = str(header.get("alg")), header.get("kid")
        key = await self._keys.find(authorizer.issuer, kid if isinstance(kid, str) else None)
        if key is None:
            raise _invalid("the issuer has no key of this name")
        kind = str(key.get("kty"))
        allowed = _ALGORITHMS.get(kind if kind == "RSA" else str(key.get("crv")), ())
        if algorithm not in allowed or key.get("alg", algorithm) != algorithm:
            raise _invalid(f"the algorithm {algorithm[:20]} does not fit the issuer's key")
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                jwt.PyJWK(key, algorithm),
                algorithms=[algorithm],
                options={"verify_aud": False, "require": ["exp", "iss"]},
            )
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            raise _invalid(str(error)) from None
        issuer = claims["iss"]
        if issuer != authorizer.issuer and not await self._keys.both_local(str(issuer), authorizer.issuer):
            raise _invalid("the token is from another issuer")
        return claims


def identity_of(source: str, headers: Callable[[str], str], query: Mapping[str, str]) -> str | None:
    """What an identity source names in a request."""
    place, _, name = source.removeprefix("$").removeprefix("route.").partition(".")[2].partition(".")
    if place == "header":
        return headers(name.lower()) or None
    if place == "querystring":
        return query.get(name) or None
    return None


def _pick(keys: list[dict[str, Any]], kid: str | None) -> dict[str, Any] | None:
    if kid is None:
        return keys[0] if len(keys) == 1 else None
    return next((key for key in keys if key.get("kid") == kid), None)


def _invalid(reason: str) -> Refused:
    described = "".join(char for char in reason if char.isprintable() and char.isascii() and char not in '"\\')[:200]
    return Refused(401, reason, f'Bearer error="invalid_token" error_description="{described}"')


def _check_audience(authorizer: Authorizer, claims: Mapping[str, Any]) -> None:
    """``client_id`` counts only where the token has no ``aud``."""
    audience = claims.get("aud", claims.get("client_id"))
    named = audience if isinstance(audience, list) else [audience]
    if not any(isinstance(name, str) and name in authorizer.audiences for name in named):
        raise _invalid("the token is for another audience")


def _scopes(claims: Mapping[str, Any]) -> list[str]:
    value = claims.get("scope", claims.get("scp"))
    if isinstance(value, str):
        return value.split()
    return [scope for scope in value if isinstance(scope, str)] if isinstance(value, list) else []


def _text(value: Any) -> str:
    """Claims reach functions as texts; lists as ``[a b]``."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return f"[{' '.join(_text(item) for item in value)}]"
    return json.dumps(value, ensure_ascii=False)
