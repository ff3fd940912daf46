"""Running a function for an API: may it, within the time, and what it said."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson

from sluiceway.config import ApiSettings
from sluiceway.core.identity import Scope
from sluiceway.core.invoker import Invocation, Invoker
from sluiceway.errors import Invalid, NotFound, Throttled, Unavailable
from sluiceway.services.apis.serving import function_of

log = logging.getLogger(__name__)

#: (function's name, the caller's ARN) -> whether the function's own policy lets API Gateway run it.
MayInvoke = Callable[[str, str], Awaitable[bool]]


class CallFailed(Exception):
    """The function did not answer. ``status`` is what a client of an HTTP API gets."""

    def __init__(self, status: int, message: str, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.message = message


class Caller:
    """Runs functions for stages. A run that took too long, or whose client went away, goes on to its end: the
    function's own timeout is what stops it, as with API Gateway."""

    def __init__(self, invoker: Invoker, may_invoke: MayInvoke, scope: Scope, limits: ApiSettings) -> None:
        self._invoker = invoker
        self._may_invoke = may_invoke
        self._scope = scope
        self._limits = limits
        self._left: set[asyncio.Task[Invocation]] = set()

    def arn(self, path: str) -> str:
        """The ARN of API/STAGE/METHOD/PATH."""
        return self._scope.arn("execute-api", path)

    async def call(
        self, uri: str, variables: Mapping[str, str], event: Mapping[str, Any], source_arn: str, timeout_ms: int
    ) -> bytes:
        """The function's answer. Raises ``CallFailed``."""
        payload = orjson.dumps(event)
        if len(payload) > self._limits.event_bytes_max:
            raise CallFailed(413, "Request Entity Too Large", "the event is larger than a function may get")
        try:
            function = function_of(uri, variables)
        except Invalid as error:
            raise self._failed(500, source_arn, error.message) from None
        if not await self._may_invoke(function.name, source_arn):
            reason = f"the policy of the function {function.name} does not let apigateway.amazonaws.com invoke it"
            raise self._failed(500, source_arn, reason)
        run = asyncio.create_task(self._invoker.invoke(function.name, payload, qualifier=function.qualifier))
        self._left.add(run)
        run.add_done_callback(self._done)
        done, _ = await asyncio.wait({run}, timeout=timeout_ms / 1000)
        if not done:
            raise self._failed(504, source_arn, f"{function.name} did not answer within {timeout_ms} ms")
        return self._answer(run, source_arn)

    def _answer(self, run: asyncio.Task[Invocation], source_arn: str) -> bytes:
        try:
            invocation = run.result()
        except (Throttled, Unavailable) as error:
            raise CallFailed(503, "Service Unavailable", error.message) from None
        except NotFound as error:
            raise self._failed(500, source_arn, error.message) from None
        if invocation.error is not None:
            words = invocation.payload[:500].decode("utf-8", "replace")
            raise self._failed(502, source_arn, f"the function failed ({invocation.error}): {words}")
        return invocation.payload

    def _done(self, run: asyncio.Task[Invocation]) -> None:
        self._left.discard(run)
        if not run.cancelled() and (error := run.exception()) is not None:
            log.debug("an invocation for an API failed: %s", error)

    @staticmethod
    def _failed(status: int, source_arn: str, reason: str) -> CallFailed:
        log.warning("%s: %s", source_arn, reason)
        message = "Endpoint request timed out" if status == 504 else "Internal Server Error"
        return CallFailed(status, message, reason)
