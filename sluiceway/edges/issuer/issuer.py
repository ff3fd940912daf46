"""The embedded OpenID Connect issuer: authorization code flow with PKCE for one public client.

OpenID Connect Core 1.0 and Discovery 1.0, RP-Initiated Logout 1.0, RFC 6749, RFC 7636, RFC 9207.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import logging
import re
import secrets
from collections.abc import Awaitable, Callable
from http.cookies import CookieError, SimpleCookie
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import orjson

from sluiceway.config import ApiSettings
from sluiceway.core.clock import Clock, SystemClock
from sluiceway.core.store import Store, View
from sluiceway.edges.http import Request, Response, parse_query
from sluiceway.edges.issuer import asking
from sluiceway.edges.issuer.asking import Asked, Wrong, with_query
from sluiceway.edges.issuer.guard import Attempts, Hashing
from sluiceway.edges.issuer.page import Form, message_page, sign_in_page, sign_out_page
from sluiceway.edges.issuer.tokens import CLIENT, SigningKey, Tokens, claims_of, load_key
from sluiceway.errors import AlreadyExists, DomainError, Invalid, NotFound, Throttled, TooLarge, Unauthenticated
from sluiceway.services.people import Grant, People, Person
from sluiceway.services.sealing import Sealer

log = logging.getLogger(__name__)

PATH: Final = "/_sluiceway/issuer"
_FORM_BYTES_MAX: Final = 16 * 1024
_SESSION: Final = "sluiceway_session"
_CSRF: Final = "sluiceway_csrf"
_SECRET = re.compile(r"^[A-Za-z0-9_-]{32}$")
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")


class Issuer:
    """``handle`` answers below ``/_sluiceway/issuer/``; ``jwks_of`` gives
    the keys to this server's own authorizers. ``base_url`` is where clients reach the server."""

    def __init__(
        self,
        store: Store,
        people: People,
        sealer: Sealer,
        base_url: Callable[[], str],
        limits: ApiSettings,
        clock: Clock | None = None,
    ) -> None:
        self._store = store
        self._people = people
        self._sealer = sealer
        self._base_url = base_url
        self._limits = limits
        self._clock = clock or SystemClock()
        self._attempts = Attempts(limits)
        self._hashing = Hashing(limits)
        self._key: SigningKey | None = None

    async def start(self) -> None:
        """Load the key, or make it at the first start. The first who needs it does it."""
        if self._key is None:
            self._key = await load_key(self._store, self._people, self._sealer)

    async def jwks_of(self, issuer: str) -> dict[str, Any] | None:
        """The key set if ``issuer`` is this one, under any of this machine's own names."""
        origin = issuer.rstrip("/").removesuffix(PATH)
        if not issuer.rstrip("/").endswith(PATH) or not self._same_place(origin):
            return None
        await self.start()
        return self._jwks()

    async def handle(self, request: Request) -> Response:
        """Answer one request."""
        pages: dict[str, tuple[tuple[str, ...], Callable[[Request], Awaitable[Response]]]] = {
            "/.well-known/openid-configuration": (("GET",), self._metadata),
            "/jwks.json": (("GET",), self._keys),
            "/authorize": (("GET", "POST"), self._authorize),
            "/token": (("POST",), self._token),
            "/userinfo": (("GET", "POST"), self._userinfo),
            "/end-session": (("GET", "POST"), self._end_session),
        }
        name = request.raw_path.decode("latin-1").removeprefix(PATH)
        methods, answer = pages.get(name, ((), self._metadata))
        if not methods:
            return message_page("Not found", "There is no such page.", 404)
        if request.method == "OPTIONS":
            return Response(204, [*_OPEN, ("access-control-allow-headers", "authorization, content-type"),
                                  ("access-control-max-age", "600")])  # fmt: skip
        if request.method not in methods and not (request.method == "HEAD" and "GET" in methods):
            return Response(405, [("allow", ", ".join(methods))])
        try:
            await self.start()
            return await answer(request)
        except Throttled as error:
            return message_page("Too many attempts", error.message, 429)
        except DomainError as error:
            return message_page("This did not work", error.message, 400)

    # -- what clients read

    async def _metadata(self, request: Request) -> Response:
        issuer = self._issuer(request)
        return _json(
            200,
            {
                "issuer": issuer,
                "authorization_endpoint": f"{issuer}/authorize",
                "token_endpoint": f"{issuer}/token",
                "userinfo_endpoint": f"{issuer}/userinfo",
                "end_session_endpoint": f"{issuer}/end-session",
                "jwks_uri": f"{issuer}/jwks.json",
                "scopes_supported": list(asking.SCOPES),
                "response_types_supported": ["code"],
                "response_modes_supported": ["query"],
                "grant_types_supported": ["authorization_code"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["RS256"],
                "token_endpoint_auth_methods_supported": ["none"],
                "code_challenge_methods_supported": ["S256"],
                "prompt_values_supported": ["none", "login", "create"],
                "claims_supported": ["sub", "email", "email_verified", "name", "preferred_username", "auth_time"],
                "authorization_response_iss_parameter_supported": True,
            },
        )

    async def _keys(self, request: Request) -> Response:
        return _json(200, self._jwks())

    def _jwks(self) -> dict[str, Any]:
        return {"keys": [self._ready().jwk]}

    # -- signing in

    async def _authorize(self, request: Request) -> Response:
        query = _params(request.raw_query)
        try:
            asked = asking.read(query, self._origins(request))
        except Wrong as wrong:
            return _redirect(wrong.location)
        if request.method == "POST":
            return await self._entered(request, asked, query)
        session = await self._session(request)
        if session is not None and not self._must_ask(asked, session[1]):
            return await self._granted(request, asked, *session)
        if asked.prompt == "none":
            refused = Wrong(asked.redirect_uri, asked.state, "login_required", "The person is not signed in.")
            return _redirect(refused.location)
        return await self._form(request, asked, query, "", 200, {})

    def _must_ask(self, asked: Asked, signed_in_ms: int) -> bool:
        if asked.prompt in ("login", "create", "select_account"):
            return True
        return asked.max_age is not None and self._clock.now_ms() - signed_in_ms > asked.max_age * 1000

    async def _entered(self, request: Request, asked: Asked, query: dict[str, str]) -> Response:
        form = await self._posted(request)
        creating = await self._creating(request, query)
        email, password, name = form.get("email", "").strip(), form.get("password", ""), form.get("name", "").strip()
        try:
            self._attempts.check(email.casefold(), request.client)
            if creating:
                person = await self._create(request, email, name, password)
            else:
                person = await self._check(request, email, password)
        except (Invalid, AlreadyExists, Unauthenticated) as error:
            return await self._form(request, asked, query, error.message, 400, {"email": email, "name": name})
        except Throttled as error:
            return await self._form(request, asked, query, error.message, 429, {"email": email, "name": name})
        secret = await self._store.commit(self._people.sign_in, person.id)
        response = await self._granted(request, asked, person, self._clock.now_ms())
        response.headers.append(_cookie(request, _SESSION, secret, self._limits.session_s))
        return response

    async def _create(self, request: Request, email: str, name: str, password: str) -> Person:
        if not self._may_sign_up(request):
            raise Invalid("sign_up", "Only an operator can create accounts here.")
        self._people.check(email, name, password)
        self._attempts.add("", request.client)
        hashed = await self._hashing.hash(password)
        return await self._store.commit(self._people.create, email, name, hashed)

    async def _check(self, request: Request, email: str, password: str) -> Person:
        person = await self._store.view(self._people.by_email, email)
        # Counted before the slow check: many at once must not all be under the limit.
        self._attempts.add(email.casefold(), request.client)
        good = len(password) <= 256 and await self._hashing.check(password, person.password if person else None)
        if person is None or not good:
            raise Unauthenticated("password", "The address or the password is wrong.")
        self._attempts.forget(email.casefold(), request.client)
        return person

    async def _granted(self, request: Request, asked: Asked, person: Person, signed_in_ms: int) -> Response:
        grant = Grant(
            person.id, CLIENT, asked.redirect_uri, asked.challenge, asked.scope, asked.nonce, signed_in_ms
        )  # fmt: skip
        code = await self._store.commit(self._people.grant, grant)
        params = {"code": code, "state": asked.state, "iss": self._issuer(request)}
        return _redirect(with_query(asked.redirect_uri, params))

    async def _form(
        self, request: Request, asked: Asked, query: dict[str, str], problem: str, status: int, entered: dict[str, str]
    ) -> Response:
        creating = await self._creating(request, query)
        csrf = _csrf(request)
        others = {key: value for key, value in query.items() if key != "prompt"}
        other = {**others, "prompt": "login" if creating else "create"}
        form = Form(
            action=f"{PATH}/authorize?{urlencode({**others, 'prompt': 'create' if creating else 'login'})}",
            csrf=csrf,
            destination=urlsplit(asked.redirect_uri).netloc,
            other_url=f"{PATH}/authorize?{urlencode(other)}" if self._may_sign_up(request) else None,
            creating=creating,
            minimum=self._limits.password_chars_min,
            email=entered.get("email", asked.email),
            name=entered.get("name", ""),
            problem=problem,
        )
        response = sign_in_page(form, status, asked.origin)
        response.headers.append(_cookie(request, _CSRF, csrf, self._limits.session_s))
        return response

    async def _creating(self, request: Request, query: dict[str, str]) -> bool:
        """Asked for, or because nobody has an account yet."""
        if not self._may_sign_up(request) or query.get("prompt") == "login":
            return False
        return query.get("prompt") == "create" or not await self._store.view(self._people.any)

    def _may_sign_up(self, request: Request) -> bool:
        if self._limits.sign_up != "loopback":
            return self._limits.sign_up == "on"
        try:
            return ipaddress.ip_address(request.client).is_loopback
        except ValueError:
            return False

    # -- tokens

    async def _token(self, request: Request) -> Response:
        try:
            form = _params(await request.body.read(_FORM_BYTES_MAX))
        except (Invalid, TooLarge) as error:
            return _refused("invalid_request", error.message)
        if form.get("grant_type") != "authorization_code":
            return _refused("unsupported_grant_type", "The grant_type must be authorization_code.")
        if form.get("client_id") != CLIENT:
            return _refused("invalid_client", f"The client_id must be {CLIENT}.", 401)
        grant = await self._store.commit(self._people.redeem, form.get("code", ""))
        if grant is None:
            return _refused("invalid_grant", "The code is unknown, used, or too old.")
        if grant.redirect_uri != form.get("redirect_uri") or grant.client_id != form.get("client_id"):
            return _refused("invalid_grant", "The redirect_uri is not the one that the code was made for.")
        if not _proves(form.get("code_verifier", ""), grant.challenge):
            return _refused("invalid_grant", "The code_verifier does not fit the code_challenge.")
        try:
            person = await self._store.view(self._people.get, grant.person_id)
        except NotFound:
            return _refused("invalid_grant", "The account is gone.")
        return _json(200, self._tokens().issue(self._issuer(request), person, grant, self._clock.now_ms()))

    async def _userinfo(self, request: Request) -> Response:
        kind, _, token = request.headers.get("authorization").partition(" ")
        claims = self._tokens().access(token.strip()) if kind.lower() == "bearer" else None

        def find(view: View, person_id: str) -> Person | None:
            try:
                return self._people.get(view, person_id)
            except NotFound:
                return None

        person = await self._store.view(find, claims["sub"]) if claims is not None else None
        if claims is None or person is None:
            response = _json(401, {"error": "invalid_token"})
            response.headers.append(("www-authenticate", 'Bearer error="invalid_token"'))
            return response
        return _json(200, {"sub": person.id, **claims_of(person, str(claims.get("scope", "")).split())})

    # -- signing out

    async def _end_session(self, request: Request) -> Response:
        query = _params(request.raw_query)
        secret = _cookies(request).get(_SESSION, "")
        target, origin = query.get("post_logout_redirect_uri", ""), ""
        if target:
            asking.check_redirect(target, self._origins(request))
            origin = asking.origin_of(target)
        if request.method == "POST":
            await self._posted(request)
        elif secret and not await self._hinted(query.get("id_token_hint", ""), secret):
            csrf = _csrf(request)
            response = sign_out_page(f"{PATH}/end-session?{urlencode(query)}", csrf, origin)
            response.headers.append(_cookie(request, _CSRF, csrf, self._limits.session_s))
            return response
        if secret:
            await self._store.commit(self._people.sign_out, secret)
        done = message_page("Signed out", "You can close this page.", 200)
        response = _redirect(with_query(target, {"state": query.get("state", "")})) if target else done
        response.headers.append(_cookie(request, _SESSION, "", 0))
        return response

    async def _hinted(self, hint: str, secret: str) -> bool:
        """Whether the client proves, by an identity token of the person who is signed in, that it knows them."""
        claims = self._tokens().hint(hint) if hint else None
        session = await self._store.view(self._people.signed_in, secret)
        return session is None or (claims is not None and claims["sub"] == session[0].id)

    # -- inside

    async def _posted(self, request: Request) -> dict[str, str]:
        """The form, if it comes from our own page. Raises ``Invalid("csrf")``."""
        form = _params(await request.body.read(_FORM_BYTES_MAX))
        origin = request.headers.get("origin")
        kept = _cookies(request).get(_CSRF, "")
        ours = not origin or origin == request.base_url or self._same_place(origin)
        if not ours or not kept or not hmac.compare_digest(kept.encode(), form.get("csrf", "").encode()):
            raise Invalid("csrf", "This form is too old or comes from another page. Go back and try again, with "
                          "cookies allowed.")  # fmt: skip
        return form

    async def _session(self, request: Request) -> tuple[Person, int] | None:
        secret = _cookies(request).get(_SESSION)
        return await self._store.view(self._people.signed_in, secret) if secret else None

    def _issuer(self, request: Request) -> str:
        """The issuer's name: one, but where this machine goes by several names, the one that the client uses."""
        origin = request.base_url if self._same_place(request.base_url) else self._base_url().rstrip("/")
        return origin + PATH

    def _same_place(self, origin: str) -> bool:
        own = urlsplit(self._base_url())
        try:
            given = urlsplit(origin)
            same = (given.scheme, given.port) == (own.scheme, own.port)
        except ValueError:
            return False
        if not same or given.path.strip("/") or given.query or "@" in given.netloc:
            return False
        return given.hostname == own.hostname or (given.hostname in _LOOPBACK and own.hostname in _LOOPBACK)

    def _origins(self, request: Request) -> list[str]:
        """The server's own origin as the client names it, only if that name is really ours."""
        own = self._issuer(request).removesuffix(PATH)
        return [own.lower(), *(origin.rstrip("/").lower() for origin in self._limits.redirect_origins)]

    def _ready(self) -> SigningKey:
        if self._key is None:
            raise Invalid("starting", "The issuer is not ready yet.")
        return self._key

    def _tokens(self) -> Tokens:
        return Tokens(self._ready(), self._limits)


_OPEN: Final = (("access-control-allow-origin", "*"), ("cache-control", "no-store"))


def _json(status: int, body: dict[str, Any]) -> Response:
    """Open to pages of any origin: nothing here depends on cookies."""
    return Response(status, [("content-type", "application/json"), *_OPEN], orjson.dumps(body))


def _refused(error: str, words: str, status: int = 400) -> Response:
    return _json(status, {"error": error, "error_description": words})


def _redirect(location: str) -> Response:
    return Response(303, [("location", location), ("cache-control", "no-store"), ("referrer-policy", "no-referrer")])


def _params(raw: bytes) -> dict[str, str]:
    """Raises ``Invalid`` for a parameter that is there twice (RFC 6749, 3.1)."""
    pairs = parse_query(raw)
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Invalid("parameter", "A parameter is there twice.")
    return found


def _cookies(request: Request) -> dict[str, str]:
    jar: SimpleCookie = SimpleCookie()
    try:
        jar.load(request.headers.get("cookie"))
    except CookieError:
        return {}
    return {name: morsel.value for name, morsel in jar.items()}


def _csrf(request: Request) -> str:
    """The browser's own value, if we gave it one: several open forms stay good."""
    kept = _cookies(request).get(_CSRF, "")
    return kept if _SECRET.match(kept) else secrets.token_urlsafe(24)


def _cookie(request: Request, name: str, value: str, seconds: int) -> tuple[str, str]:
    secure = "; Secure" if request.scheme == "https" else ""
    return "set-cookie", f"{name}={value}; Path={PATH}; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}"


def _proves(verifier: str, challenge: str) -> bool:
    if not 43 <= len(verifier) <= 128 or not verifier.isascii():
        return False
    digest = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=")
    return hmac.compare_digest(digest, challenge.encode())
