"""PORT: run a function now and wait for its answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Invocation:
    """What one run of a function gave.

    ``error`` is None, "Handled" (the handler raised; ``payload`` is its error document) or "Unhandled"
    (timeout, crash, out of memory). ``log_tail`` is the last 4 KiB of its output.
    """

    payload: bytes
    error: str | None
    version: str
    log_tail: bytes
    duration_ms: float
    request_id: str


class Invoker(Protocol):
    """The pool of function workers."""

    async def invoke(
        self,
        function: str,
        payload: bytes,
        *,
        qualifier: str | None = None,
        request_id: str | None = None,
        client_context: str | None = None,
    ) -> Invocation:
        """Run ``function`` (its plain name) with a JSON payload and return its outcome.

        Raises ``errors.NotFound("function")``, ``errors.Throttled("function")`` when its concurrency is
        used up, ``errors.Unavailable`` when the server stops. A handler's own failure is not raised.
        """
