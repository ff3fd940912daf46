"""Pages for operators and the command line. All but health ask for a signature of the service "sluiceway"."""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import logging
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Protocol

import orjson

from sluiceway import __version__
from sluiceway.config import Settings
from sluiceway.core.clock import Clock
from sluiceway.core.identity import Scope
from sluiceway.core.store import Store, View
from sluiceway.core.wakeups import Wakeups
from sluiceway.edges.aws.pipeline import conditions_of
from sluiceway.edges.http import Handler, Request, Response
from sluiceway.edges.own.metrics import Metrics
from sluiceway.edges.own.reactions import ReactionPages
from sluiceway.edges.sigv4 import SignatureVerifier
from sluiceway.errors import AccessDenied, DomainError, Invalid, NotFound, Unauthenticated, Unavailable
from sluiceway.services.access import Authorize
from sluiceway.services.accounts import Accounts
from sluiceway.services.reactions import Reactions, bounds_of, offset_at

log = logging.getLogger(__name__)

#: What a person calls a log -> the kinds of logs it may name.
_LOG_KINDS: Final = ("bucket", "topic", "table", "stream", "function", "function-logs", "index", "mailbox", "stack")
_SERVICE: Final = "sluiceway"
_WHOLE: Final = re.compile(r"[0-9]{1,15}\Z")
_PAGE_MAX: Final = 1000
_WAIT_S_MAX: Final = 20.0


class Parts(Protocol):
    """What the pages look at."""

    @property
    def store(self) -> Store: ...
    @property
    def wakeups(self) -> Wakeups: ...
    @property
    def reactions(self) -> Reactions: ...
    @property
    def accounts(self) -> Accounts: ...
    @property
    def verifier(self) -> SignatureVerifier: ...
    @property
    def authorize(self) -> Authorize: ...
    @property
    def settings(self) -> Settings: ...
    @property
    def scope(self) -> Scope: ...
    @property
    def clock(self) -> Clock: ...


class OwnPages:
    """``handlers()`` gives the pages by name. ``reset`` is None unless the server is ephemeral."""

    def __init__(
        self,
        parts: Parts,
        metrics: Metrics,
        url: str,
        reset: Callable[[], Awaitable[None]] | None,
        in_flight: Callable[[], Mapping[str, int]],
    ) -> None:
        self._parts = parts
        self._metrics = metrics
        self._url = url
        self._reset = reset
        self._operating = ReactionPages(parts.store, parts.reactions, parts.settings.reactions, in_flight)
        self._began = time.monotonic()

    def handlers(self) -> dict[str, Handler]:
        """Path below ``/_sluiceway/`` -> handler."""
        pages = {
            "health": self._health,
            "metrics": self._page(self._metrics_page, open_to_host=True),
            "status": self._page(self._status),
            "events": self._page(self._events),
            "logs": self._page(self._logs),
            "users": self._page(self._users),
            "reaction": self._page(self._reaction),
            "reactions": self._page(self._act, method="POST"),
        }
        if self._reset is not None:
            pages["reset"] = self._page(self._reset_page, method="POST", open_to_host=True)
        return pages

    def _page(
        self, answer: Callable[[Request], Awaitable[Response]], method: str = "GET", open_to_host: bool = False
    ) -> Handler:
        async def handle(request: Request) -> Response:
            try:
                if request.method != method:
                    return _json(405, {"message": f"This page answers {method} only."})
                # A browser on this machine says whose page asks: no page of the web may reset a server here.
                if not (open_to_host and _is_loopback(request.client)) or "origin" in request.headers:
                    self._authenticate(request)
                return await answer(request)
            except DomainError as error:
                return _json(_status_of(error), {"message": error.message})

        return handle

    def _authenticate(self, request: Request) -> None:
        principal = self._parts.verifier.verify(request, _SERVICE).principal
        if principal.kind == "anonymous":
            raise Unauthenticated("missing", "Sign the request for the service 'sluiceway' (SigV4).")
        conditions = conditions_of(request, principal, self._parts.scope, self._parts.clock.now_ms())
        self._parts.authorize(principal, "sluiceway:Operate", "*", conditions, None)

    async def _health(self, request: Request) -> Response:
        problem = self._parts.store.problem()
        body = {"status": "failing" if problem else "ok", "problem": problem, "version": __version__}
        return _json(503 if problem else 200, body)

    async def _metrics_page(self, request: Request) -> Response:
        kind = "text/plain; version=0.0.4; charset=utf-8"
        return Response(200, [("content-type", kind)], self._metrics.text(await self._operating.samples()))

    async def _status(self, request: Request) -> Response:
        rows = await self._operating.rows(dict(request.query()))
        body = {
            "version": __version__,
            "url": self._url,
            "data": str(self._parts.settings.data),
            "uptime_s": round(time.monotonic() - self._began, 1),
            "problem": self._parts.store.problem(),
            **rows,
        }
        return _json(200, body)

    async def _events(self, request: Request) -> Response:
        query = dict(request.query())
        name = query.get("log", "")
        kind, _, rest = name.partition("/")
        if kind not in _LOG_KINDS or (not rest and kind != "mailbox"):
            raise Invalid(
                "log", f"There is no log {name!r}: name one as KIND/NAME, KIND one of {', '.join(_LOG_KINDS)}."
            )
        limit = min(_number(query, "limit", 100), _PAGE_MAX)
        wait_s = min(float(_number(query, "wait_s", 0)), _WAIT_S_MAX)
        woken = self._parts.wakeups.expect(name)
        try:
            found = await self._parts.store.view(_read, name, query.get("from", ""), limit)
            if not found["entries"] and wait_s:
                await asyncio.wait([woken], timeout=wait_s)
                found = await self._parts.store.view(_read, name, query.get("from", ""), limit)
        finally:
            woken.cancel()
        return _json(200, found)

    async def _users(self, request: Request) -> Response:
        """Names with canonical user ids, which IAM's API doesn't tell (S3 User Guide, "Canonical user ID")."""
        accounts = self._parts.accounts
        found = await self._parts.store.view(lambda view: {u.name: u.canonical_id for u in accounts.users.list(view)})
        return _json(200, {"users": found, "root": accounts.canonical_id})

    async def _reaction(self, request: Request) -> Response:
        return _json(200, await self._operating.show(dict(request.query())))

    async def _act(self, request: Request) -> Response:
        return _json(200, await self._operating.act(dict(request.query())))

    async def _logs(self, request: Request) -> Response:
        names = await self._parts.store.view(_log_names)
        return _json(200, {"logs": names})

    async def _reset_page(self, request: Request) -> Response:
        assert self._reset is not None
        await self._reset()
        return _json(200, {"status": "ok"})


def _is_loopback(client: str) -> bool:
    try:
        return ipaddress.ip_address(client).is_loopback
    except ValueError:
        return False


def _number(query: dict[str, str], name: str, default: int) -> int:
    text = query.get(name, str(default))
    if not _WHOLE.match(text):
        raise Invalid("number", f"{name} must be a whole number.")
    return int(text)


def _read(view: View, name: str, begin: str, limit: int) -> dict[str, Any]:
    """Entries from an offset, or (``@`` and milliseconds) from a time."""
    bounds = bounds_of(view, name)
    if begin.startswith("@"):
        if not _WHOLE.match(begin[1:] or "0"):
            raise Invalid("number", "from must be an offset, @ and milliseconds since 1970, or end.")
        offset = offset_at(view, name, int(begin[1:] or 0))
    elif begin == "end":
        offset = bounds.next
    else:
        offset = int(begin) if _WHOLE.match(begin) else bounds.first
    entries = view.read(name, max(offset, bounds.first), limit)
    following = entries[-1].offset + 1 if entries else max(offset, bounds.first)
    return {
        "entries": [{"offset": item.offset, "time_ms": item.time_ms, "value": _plain(item.value)} for item in entries],
        "first": bounds.first,
        "next": following,
        "end": bounds.next,
    }


def _plain(value: Any) -> Any:
    return {"base64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value


def _log_names(view: View) -> list[str]:
    return sorted({str(row["log"]) for _, row in view.scan("reactions") if isinstance(row, dict)})


def _status_of(error: DomainError) -> int:
    table: tuple[tuple[type[DomainError], int], ...] = (
        (Unauthenticated, 403),
        (AccessDenied, 403),
        (NotFound, 404),
        (Unavailable, 503),
    )
    return next((status for kind, status in table if isinstance(error, kind)), 400)


def _json(status: int, body: Any) -> Response:
    return Response(status, [("content-type", "application/json")], orjson.dumps(body) + b"\n")
