"""The way in for search: body, caller, permission, route, handler, answer."""

from __future__ import annotations

import logging
import zlib
from typing import Any, Final
from urllib.parse import unquote

import orjson

from sluiceway.config import SearchSettings
from sluiceway.core.clock import Clock
from sluiceway.core.identity import Scope
from sluiceway.core.search.index import SearchIndexes
from sluiceway.core.search.request import Sources, filtered
from sluiceway.core.store import Store, View
from sluiceway.core.wakeups import Wakeups
from sluiceway.edges.elasticsearch import errors
from sluiceway.edges.elasticsearch.auth import CHALLENGE, Gate
from sluiceway.edges.elasticsearch.call import Answer, Call, Searchers, Tools
from sluiceway.edges.elasticsearch.routes import PARAMETERS, find
from sluiceway.edges.http import ClientGone, Request, Response
from sluiceway.edges.sigv4 import Keys, SignatureVerifier
from sluiceway.errors import DomainError, Invalid, TooLarge, Unauthenticated
from sluiceway.services.access import Authorize
from sluiceway.services.documents import Documents
from sluiceway.services.documents.domains import Domains

log = logging.getLogger(__name__)

PREFIX: Final = b"/_es"
_PARTS_MAX: Final = 8
_VENDOR: Final = "application/vnd.elasticsearch+json"


class SearchEdge:
    """``index`` reads what the feeder writes; ``keys`` is the key ring behind ``verifier``. ``close`` it at the end."""

    def __init__(
        self,
        store: Store,
        documents: Documents,
        index: SearchIndexes,
        verifier: SignatureVerifier,
        authorize: Authorize,
        scope: Scope,
        limits: SearchSettings,
        *,
        domains: Domains,
        keys: Keys,
        wakeups: Wakeups,
        clock: Clock,
    ) -> None:
        self._store = store
        self._domains = domains
        self._limits = limits
        self._clock = clock
        self._gate = Gate(verifier, keys, authorize, scope)
        self._searchers = Searchers(limits.threads, limits.searches_waiting_max)
        self._tools = Tools(store, documents, index, wakeups, self._searchers, limits)

    async def handle(self, request: Request) -> Response:
        """Answer ``request`` in Elasticsearch's protocol, whatever happens."""
        query: dict[str, str] = {}
        try:
            answer, query = await self._answer(request)
        except ClientGone:
            raise
        except DomainError as error:
            answer = _failed(error)
        except Exception:
            log.exception("search request %s failed", request.request_id)
            about = {"type": "internal_server_error", "reason": "Something failed in the server; its log says what."}
            answer = Answer(500, {"error": {"root_cause": [about], **about}, "status": 500})
        return _response(request, answer, query)

    def close(self) -> None:
        """Start no more searches."""
        self._searchers.close()

    async def _answer(self, request: Request) -> tuple[Answer, dict[str, str]]:
        path = request.raw_path
        if path == PREFIX or path.startswith(PREFIX + b"/"):
            path = path[len(PREFIX) :]
        parts = _parts(path)
        is_bulk = bool(parts) and parts[-1] == "_bulk"
        body = await request.body.read(self._limits.bulk_bytes_max if is_bulk else self._limits.body_bytes_max)
        principal = self._gate.caller(request, body)
        domains = await self._store.view(self._policies)
        now_ms = self._clock.now_ms()
        self._gate.admit(principal, request, "/".join(parts), domains, now_ms)
        body = _plain(request, body, self._limits.bulk_bytes_max)
        query = {name: value for name, value in request.query() if not name.startswith("X-Amz-")}
        if unknown := query.keys() - PARAMETERS:
            raise Invalid("parameter", f"request [/{'/'.join(parts)[:300]}] contains unrecognized parameter: "
                          f"[{sorted(unknown)[0][:100]}]")  # fmt: skip
        if not body and "source" in query:
            body = query["source"].encode()
        _, handler, names = find(request.method, parts)
        call = Call(request.method, names, query, body, now_ms, self._tools)
        return await handler(call), query

    def _policies(self, view: View) -> list[tuple[str, dict[str, Any] | None]]:
        return [(domain.name, domain.policy_document) for domain in self._domains.all(view)]


def _parts(path: bytes) -> list[str]:
    """Decoded parts of the path; a slash in a name comes encoded."""
    try:
        parts = [unquote(part, errors="strict") for part in path.decode("ascii").split("/") if part]
    except UnicodeDecodeError:
        raise Invalid("uri", "The request's path is not valid UTF-8.") from None
    if len(parts) > _PARTS_MAX:
        raise Invalid("uri", "no handler found for uri: its path has too many parts")
    return parts


def _plain(request: Request, body: bytes, limit_bytes: int) -> bytes:
    """A body as it was before its content coding. Raises ``TooLarge("request")``, ``Invalid("encoding")``."""
    coding = request.headers.get("content-encoding").lower()
    if coding in ("", "identity"):
        return body
    if coding != "gzip":
        raise Invalid("encoding", f"The content coding [{coding[:50]}] is not offered here: there is gzip.")
    unpacker = zlib.decompressobj(wbits=31)
    try:
        plain = unpacker.decompress(body, limit_bytes)
    except zlib.error:
        raise Invalid("encoding", "The body is not in the gzip format.") from None
    if unpacker.unconsumed_tail:
        raise TooLarge("request", f"The request's body is over the limit of {limit_bytes} bytes.")
    if not unpacker.eof:
        raise Invalid("encoding", "The body in the gzip format ends too early.")
    return plain


def _failed(error: DomainError) -> Answer:
    body, status = errors.document(error)
    headers = []
    if isinstance(error, Unauthenticated):
        headers.append(CHALLENGE)
    if error.kind == "method":
        status, headers = 405, [("allow", str(error.detail.get("allow", "")))]
        body = {"error": error.message, "status": 405}
    if status == 503:
        log.warning("search: %s", error.message)
    return Answer(status, body, headers)


def _response(request: Request, answer: Answer, query: dict[str, str]) -> Response:
    headers = [("x-elastic-product", "Elasticsearch"), ("x-amzn-requestid", request.request_id), *answer.headers]
    if answer.body is None:
        return Response(answer.status, [*headers, ("content-type", "application/json; charset=UTF-8")], b"")
    if isinstance(answer.body, str):
        return Response(answer.status, [*headers, ("content-type", "text/plain; charset=UTF-8")], answer.body.encode())
    body = answer.body
    if query.get("filter_path"):
        body = _filtered(orjson.loads(orjson.dumps(body)), query["filter_path"])
    pretty = query.get("pretty", "false") != "false"
    encoded = orjson.dumps(body, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE if pretty else None)
    kind = "application/json; charset=UTF-8"
    if _VENDOR in request.headers.get("accept"):
        kind = f"{_VENDOR};compatible-with=8"
    return Response(answer.status, [*headers, ("content-type", kind)], encoded)


def _filtered(body: Any, paths: str) -> Any:
    """``filter_path``, with "-" in front of what is left out."""
    names = paths.split(",")[:100]
    includes = [name for name in names if not name.startswith("-")]
    excludes = [name[1:] for name in names if name.startswith("-")]
    return filtered(body, Sources(True, includes, excludes))
