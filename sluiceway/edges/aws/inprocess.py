"""The server as its own client: an API operation without a socket and without a signature.

Stacks make their resources through the services' own operations, with the rights of whoever asked for the
stack. The request takes the same way as one from outside, except that its principal is known already.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Final
from urllib.parse import urlencode

from sluiceway.core.clock import new_id
from sluiceway.core.identity import Principal
from sluiceway.edges.http import Body, Given, Handler, Headers, Request, Response
from sluiceway.edges.sigv4 import UNSIGNED, SignatureVerifier, Verified

#: ``Request.scratch`` name under which a request's known principal stands; nothing from outside gets there.
OWN_PRINCIPAL: Final = "own_principal"
_ANSWER_BYTES_MAX: Final = 16 * 1024 * 1024  # a template is the largest that is asked for


class ApiError(Exception):
    """An operation answered with an error. ``code`` is the wire's ("ResourceNotFoundException")."""

    def __init__(self, code: str, message: str, status: int) -> None:
        super().__init__(f"{message} ({code})")
        self.code = code
        self.message = message
        self.status = status


class InProcessClient:
    """``edges`` maps a service's name to its handler; ``own_url`` gives the server's base URL."""

    def __init__(self, edges: Mapping[str, Handler], own_url: Callable[[], str]) -> None:
        self._edges = edges
        self._own_url = own_url

    async def call(self, service: str, operation: str, params: dict[str, Any], principal: Principal) -> dict[str, Any]:
        """The operation's output shape as a dict.

        ``params`` may hold numbers and booleans as text, as templates do. Raises ``ApiError``.
        """
        from sluiceway.edges.aws import wire  # here: see there

        model = wire.operation_of(service, operation)
        response = await self._edges[service](self._request(wire.serialized(model, params), principal))
        headers = {name.lower(): value for name, value in response.headers}
        output = wire.parsed(model, response.status, headers, await _content(response))
        if response.status >= 300:
            error = output.get("Error", {})
            raise ApiError(str(error.get("Code", "Unknown")), str(error.get("Message", "")), response.status)
        return output

    def _request(self, made: dict[str, Any], principal: Principal) -> Request:
        query = made["query_string"]
        text = query if isinstance(query, str) else urlencode(query, doseq=True)
        path, _, own_query = made["url_path"].partition("?")
        body = _body_bytes(made["body"])
        scheme, _, host = self._own_url().partition("://")
        headers = [(name.lower(), str(value)) for name, value in made["headers"].items()]
        headers += [("host", host), ("content-length", str(len(body))), ("user-agent", "cloudformation")]
        return Request(
            method=made["method"],
            raw_path=path.encode("ascii"),
            raw_query="&".join(part for part in (own_query, text) if part).encode("ascii"),
            headers=Headers(headers),
            body=Body(Given(body), 1.0),
            scheme=scheme,
            client="127.0.0.1",
            request_id=new_id(),
            scratch={OWN_PRINCIPAL: principal},
        )


def _body_bytes(body: Any) -> bytes:
    if isinstance(body, dict):
        return urlencode(body, doseq=True).encode()
    return body.encode() if isinstance(body, str) else bytes(body or b"")


async def _content(response: Response) -> bytes:
    body = response.body
    return body if isinstance(body, bytes) else await _whole(body)


async def _whole(chunks: AsyncIterator[bytes]) -> bytes:
    parts, size = [], 0
    async for chunk in chunks:
        size += len(chunk)
        if size > _ANSWER_BYTES_MAX:
            raise ApiError("EntityTooLarge", f"The answer is over {_ANSWER_BYTES_MAX} bytes.", 413)
        parts.append(chunk)
    return b"".join(parts)


class KnownPrincipals(SignatureVerifier):
    """Lets the server's own requests pass with their principal; every other one is verified."""

    def verify(self, request: Request, service_hint: str | None = None, body_sha256_hex: str | None = None) -> Verified:
        """As ``SignatureVerifier.verify``."""
        principal = request.scratch.get(OWN_PRINCIPAL)
        if principal is None:
            return super().verify(request, service_hint, body_sha256_hex)
        return Verified(principal, UNSIGNED)
