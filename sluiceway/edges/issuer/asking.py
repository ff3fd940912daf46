"""Authorization requests: what a client asks for, checked (RFC 6749, 4.1.1; RFC 7636; OpenID Connect Core, 3.1.2)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode, urlsplit

from sluiceway.edges.issuer.tokens import CLIENT
from sluiceway.errors import Invalid

SCOPES: Final = ("openid", "profile", "email")
_CHALLENGE = re.compile(r"^[A-Za-z0-9_-]{43}$")
_LOCAL: Final = ("localhost", "127.0.0.1")


@dataclass(frozen=True, slots=True)
class Asked:
    """A checked request."""

    redirect_uri: str
    state: str
    scope: str
    nonce: str
    challenge: str
    prompt: str
    max_age: int | None
    email: str

    @property
    def origin(self) -> str:
        """Of the redirect URI."""
        return origin_of(self.redirect_uri)


class Wrong(Exception):
    """A request that is answered at its redirect URI, with an error."""

    def __init__(self, redirect_uri: str, state: str, error: str, words: str) -> None:
        super().__init__(words)
        self.location = with_query(redirect_uri, {"error": error, "error_description": words, "state": state})


def read(params: dict[str, str], allowed: Sequence[str]) -> Asked:
    """``allowed`` are the origins that people may be sent to, besides this machine's own.

    Raises ``Invalid`` if the client or its redirect URI is not known (the person is told, nobody is redirected),
    ``Wrong`` for everything else.
    """
    if params.get("client_id") != CLIENT:
        raise Invalid("client", f"This issuer knows one client, {CLIENT!r}.")
    redirect_uri, state = params.get("redirect_uri", ""), params.get("state", "")
    check_redirect(redirect_uri, allowed)
    if params.get("response_type") != "code":
        raise Wrong(redirect_uri, state, "unsupported_response_type", "The response_type must be code.")
    if params.get("code_challenge_method") != "S256" or not _CHALLENGE.match(params.get("code_challenge", "")):
        raise Wrong(redirect_uri, state, "invalid_request", "PKCE with code_challenge_method S256 is required.")
    if "request" in params or "request_uri" in params:
        raise Wrong(redirect_uri, state, "request_not_supported", "Request objects are not supported.")
    age = params.get("max_age")
    if age is not None and (not (age.isascii() and age.isdigit()) or len(age) > 9):
        raise Wrong(redirect_uri, state, "invalid_request", "max_age must be a number of seconds.")
    scopes = [scope for scope in params.get("scope", "").split() if scope in SCOPES]
    return Asked(
        redirect_uri=redirect_uri,
        state=state,
        scope=" ".join(dict.fromkeys(scopes)),
        nonce=params.get("nonce", "")[:512],
        challenge=params["code_challenge"],
        prompt=params.get("prompt", ""),
        max_age=int(age) if age is not None else None,
        email=params.get("login_hint", "")[:254],
    )


def check_redirect(uri: str, allowed: Sequence[str]) -> None:
    """The server's own origin, those that the operator named, and this machine at any port (RFC 8252, 7.3).

    Raises ``Invalid("redirect_uri")``.
    """
    try:
        parts = urlsplit(uri)
        local = parts.scheme == "http" and parts.hostname in _LOCAL and parts.port != 0
    except ValueError:
        raise Invalid("redirect_uri", "The redirect_uri is not a URL.") from None
    odd = (
        "@" in parts.netloc or "\\" in uri or parts.fragment or not uri.isascii() or not uri.isprintable() or " " in uri
    )
    if odd or len(uri) > 2000 or not (local or origin_of(uri) in allowed):
        raise Invalid("redirect_uri", "The redirect_uri must be on this server, on localhost, or on an origin that the "
                      "operator allowed (SLUICEWAY_APIS__REDIRECT_ORIGINS).")  # fmt: skip


def origin_of(uri: str) -> str:
    """Scheme, host and port, as browsers write them."""
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.netloc}".lower()


def with_query(uri: str, params: dict[str, str]) -> str:
    """``uri`` with further query parameters; empty ones are left out."""
    query = urlencode({key: value for key, value in params.items() if value})
    return f"{uri}{'&' if '?' in uri else '?'}{query}"
