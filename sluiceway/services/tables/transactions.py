"""Transactions over items: all of it, or none (Developer Guide, "Managing complex workflows with DynamoDB
transactions")."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any, Final

from sluiceway.core.store import Key, Tx
from sluiceway.errors import Conflict, DomainError, Invalid, PreconditionFailed, TooLarge

TOKENS: Final = "transaction_tokens"
TOKENS_BY_TIME: Final = "transaction_tokens_by_time"
_TOKEN_MS: Final = 10 * 60 * 1000
_FORGET: Final = 8

Action = Callable[[Tx], Any]


def run(tx: Tx, actions: Sequence[Action]) -> None:
    """Do all ``actions``; when some can't be done, raise ``PreconditionFailed("transaction")`` with each one's
    reason. The caller's transaction undoes what was done."""
    reasons: list[dict[str, Any]] = []
    for action in actions:
        try:
            action(tx)
            reasons.append({"Code": "None"})
        except DomainError as error:
            reasons.append(_reason(error))
    if any(reason["Code"] != "None" for reason in reasons):
        codes = ", ".join(reason["Code"] for reason in reasons)
        text = f"Transaction cancelled, please refer cancellation reasons for specific reasons [{codes}]"
        raise PreconditionFailed("transaction", text, CancellationReasons=reasons)


def check_apart(places: Sequence[Key]) -> None:
    """Raises ``Invalid("value")`` if two actions are about the same item."""
    if len(set(places)) != len(places):
        raise Invalid("value", "Transaction request cannot include multiple operations on one item")


def _reason(error: DomainError) -> dict[str, Any]:
    if isinstance(error, PreconditionFailed):
        return {"Code": "ConditionalCheckFailed", "Message": error.message, **error.detail}
    if isinstance(error, Invalid | TooLarge):
        return {"Code": "ValidationError", "Message": error.message}
    raise error


def seen(tx: Tx, token: str, request: Any) -> bool:
    """Whether the same request was done under this token within ten minutes; it is from now on.

    Raises ``Conflict("token")`` if another request was.
    """
    digest = hashlib.sha256(json.dumps(request, sort_keys=True, default=str).encode()).hexdigest()
    row = tx.get(TOKENS, (token,))
    if row is not None and tx.now_ms - row["at_ms"] < _TOKEN_MS:
        if row["digest"] != digest:
            raise Conflict(
                "token",
                "Request rejected because it was already processed with the same ClientRequestToken but other parameters.",
            )
        return True
    for key, old in list(tx.scan(TOKENS_BY_TIME, limit=_FORGET)):
        if tx.now_ms - int(key[0]) < _TOKEN_MS:
            break
        tx.delete(TOKENS_BY_TIME, key)
        if (tx.get(TOKENS, (key[1],)) or {}).get("at_ms") == old["at_ms"]:
            tx.delete(TOKENS, (key[1],))
    tx.put(TOKENS, (token,), {"digest": digest, "at_ms": tx.now_ms})
    tx.put(TOKENS_BY_TIME, (tx.now_ms, token), {"at_ms": tx.now_ms})
    return False
