"""What a function answers to a batch (AWS Lambda Developer Guide, "Reporting batch item failures")."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any, Final

from sluiceway.core.invoker import Invocation

_REASON_CHARS: Final = 300


class BadAnswer(Exception):
    """An answer that counts as the failure of the whole batch."""


def failed_items(payload: bytes, known: Collection[str]) -> set[str]:
    """The identifiers of the items that failed; nothing, null and an empty list mean none.

    Raises ``BadAnswer`` if the answer has another form, or names an item that is not in the batch.
    """
    try:
        answer = json.loads(payload or b"null")
    except (ValueError, RecursionError):
        raise BadAnswer("the function's answer is not JSON") from None
    if answer is None or answer == "":
        return set()
    if not isinstance(answer, dict):
        raise BadAnswer("the function's answer is not an object with batchItemFailures")
    failures = answer.get("batchItemFailures")
    if failures is None:
        return set()
    if not isinstance(failures, list):
        raise BadAnswer("batchItemFailures is not a list")
    return {_identifier(item, known) for item in failures}


def _identifier(item: Any, known: Collection[str]) -> str:
    identifier = item.get("itemIdentifier") if isinstance(item, dict) else None
    if not isinstance(identifier, str) or identifier not in known:
        raise BadAnswer(f"batchItemFailures names {str(identifier)[:100]!r}, which is not in the batch")
    return identifier


def error_of(outcome: Invocation) -> str:
    """A failed invocation in a line."""
    try:
        document = json.loads(outcome.payload)
    except (ValueError, RecursionError):
        document = None
    words = outcome.payload.decode("utf-8", "replace")
    if isinstance(document, dict) and "errorMessage" in document:
        kind = document.get("errorType")
        words = f"{kind}: {document['errorMessage']}" if kind else str(document["errorMessage"])
    return f"{outcome.error}: {' '.join(words.split())[:_REASON_CHARS]}"
