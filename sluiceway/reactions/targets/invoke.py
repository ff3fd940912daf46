"""Kind "function-invoke": carries out a function's asynchronous invocations (its log ``function/NAME``).

AWS Lambda Developer Guide, "Asynchronous invocation": an error of the function is tried again after one and
two minutes (``core.reaction.ASYNCHRONOUS_INVOCATION``); while it is throttled (or the system fails) the
event waits, up to six hours, without losing a try. ``options`` may name destinations: {"on_success": ARN,
"on_failure": ARN}.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from sluiceway.core.identity import Scope
from sluiceway.core.invoker import Invocation, Invoker
from sluiceway.core.reaction import Letter, Reaction
from sluiceway.core.store import Entry, Store, Tx
from sluiceway.errors import DomainError, NotFound, Throttled, Unavailable
from sluiceway.reactions.target import Attempt, Delivered, DeliveryFailed, OutwardTarget

log = logging.getLogger(__name__)

_THROTTLED_MS: Final = 1000  # Lambda begins at one second
_REASON_CHARS: Final = 300


class Destinations(Protocol):
    """Where the outcome of an invocation is sent; implemented by the wiring over queues, topics, functions."""

    def send(self, tx: Tx, target_arn: str, function_arn: str, document: dict[str, Any]) -> None:
        """Hand ``document`` to the target in this transaction. Raises a ``DomainError`` if it can't."""


class InvokeTarget(OutwardTarget):
    """The address is the function's name; an event is {"request_id", "payload"}."""

    eager = True  # the pool bounds its workers

    def __init__(self, invoker: Invoker, store: Store, destinations: Destinations, scope: Scope) -> None:
        self._invoker = invoker
        self._store = store
        self._destinations = destinations
        self._scope = scope

    async def deliver(self, reaction: Reaction, entries: Sequence[Entry], attempt: Attempt) -> Delivered | None:
        """Run the function once for each event. Raises ``DeliveryFailed`` if it failed."""
        for entry in entries:
            await self._invoke(reaction, entry, attempt)
        return None

    async def _invoke(self, reaction: Reaction, entry: Entry, attempt: Attempt) -> None:
        name, event = reaction.target.address, entry.value
        payload = json.dumps(event["payload"], ensure_ascii=False).encode("utf-8", "replace")
        try:
            outcome = await self._invoker.invoke(name, payload, request_id=event["request_id"])
        except NotFound as error:
            raise DeliveryFailed(error.message, permanent=True) from None
        except (Throttled, Unavailable) as error:
            failure = DeliveryFailed(error.message, retry_after_ms=_THROTTLED_MS, counted=False)
            if reaction.retry.exhausted(attempt.tries, attempt.now_ms - entry.time_ms):
                await self._tell(reaction, entry, attempt, "on_failure", "EventAgeExceeded", None)
            raise failure from None
        if outcome.error is None:
            await self._tell(reaction, entry, attempt, "on_success", "Success", outcome)
            return
        if reaction.retry.exhausted(attempt.tries + 1, attempt.now_ms - entry.time_ms):
            await self._tell(reaction, entry, attempt, "on_failure", "RetriesExhausted", outcome)
        raise DeliveryFailed(f"{outcome.error}: {_reason(outcome.payload)}")

    async def _tell(
        self,
        reaction: Reaction,
        entry: Entry,
        attempt: Attempt,
        option: str,
        condition: str,
        outcome: Invocation | None,
    ) -> None:
        """Send the outcome to a destination, if there is one. A destination that refuses is logged only: the
        function has run, and must not run again for it."""
        target_arn = reaction.target.options.get(option)
        if not target_arn:
            return
        function_arn = self._scope.arn("lambda", f"function:{reaction.target.address}")
        document = _document(function_arn, entry, attempt, condition, outcome)
        try:
            await self._store.commit(self._destinations.send, target_arn, function_arn, document)
        except DomainError as error:
            log.warning("the destination %s of %s refused an outcome: %s", target_arn, function_arn, error.message)

    def letter(self, reaction: Reaction, entry: Entry, reason: str) -> Letter:
        """As Lambda sends to a function's dead-letter queue ("Adding a dead-letter queue")."""
        attributes = {
            "RequestID": str(entry.value["request_id"]),
            "ErrorCode": "200",
            "ErrorMessage": reason[:1024] or "unknown",
        }
        return Letter(
            json.dumps(entry.value["payload"], ensure_ascii=False),
            {
                name: {"DataType": "Number" if name == "ErrorCode" else "String", "StringValue": text}
                for name, text in attributes.items()
            },
        )


def _document(
    function_arn: str, entry: Entry, attempt: Attempt, condition: str, outcome: Invocation | None
) -> dict[str, Any]:
    """The invocation record of "Adding a destination"."""
    when = datetime.fromtimestamp(attempt.now_ms / 1000, UTC)
    document: dict[str, Any] = {
        "version": "1.0",
        "timestamp": when.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "requestContext": {
            "requestId": entry.value["request_id"],
            "functionArn": f"{function_arn}:$LATEST",
            "condition": condition,
            "approximateInvokeCount": attempt.tries + (1 if outcome is not None else 0),
        },
        "requestPayload": entry.value["payload"],
    }
    if outcome is not None:
        context: dict[str, Any] = {"statusCode": 200, "executedVersion": outcome.version}
        if outcome.error is not None:
            context["functionError"] = outcome.error
        document["responseContext"] = context
        document["responsePayload"] = _json(outcome.payload)
    return document


def _json(payload: bytes) -> Any:
    try:
        return json.loads(payload)
    except (ValueError, RecursionError):
        return payload.decode("utf-8", "replace")


def _reason(payload: bytes) -> str:
    """The message of a handler's error document."""
    document = _json(payload)
    if isinstance(document, dict) and "errorMessage" in document:
        kind = document.get("errorType")
        words = f"{kind}: {document['errorMessage']}" if kind else str(document["errorMessage"])
    else:
        words = str(document)
    return " ".join(words.split())[:_REASON_CHARS]
