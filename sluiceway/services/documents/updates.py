"""Partial updates (Elasticsearch reference 7.10, "Update API")."""

from __future__ import annotations

from typing import Any, Final

import orjson

from sluiceway.errors import Invalid, NotFound, NotImplementedYet
from sluiceway.services.documents.values import Document

_KNOWN: Final = frozenset({"doc", "doc_as_upsert", "upsert", "detect_noop", "_source"})


def updated(old: Document | None, body: Any, id: str, index: str) -> tuple[str, Any] | None:
    """The document's new text and value; None if nothing changes.

    Raises ``NotFound("document")``, ``Invalid("update")``, ``NotImplementedYet("script")``.
    """
    if not isinstance(body, dict):
        raise Invalid("update", "failed to parse update request: it is not an object")
    if "script" in body or "scripted_upsert" in body:
        raise NotImplementedYet("script", "Scripts are not offered here: send [doc], with [upsert] or [doc_as_upsert].")
    if unknown := body.keys() - _KNOWN:
        raise Invalid("update", f"[UpdateRequest] unknown field [{sorted(unknown)[0][:100]}]")
    doc, upsert = body.get("doc"), body.get("upsert")
    if doc is None and upsert is None:
        raise Invalid("update", "Validation Failed: 1: script or doc is missing;")
    if not isinstance(doc, dict | None) or not isinstance(upsert, dict | None):
        raise Invalid("update", "[doc] and [upsert] must be objects")
    if old is None:
        value = doc if body.get("doc_as_upsert") is True else upsert
        if value is None:
            raise NotFound("document", f"[{id}]: document missing", index=index)
        return orjson.dumps(value).decode(), value
    if doc is None:
        raise Invalid("update", "Validation Failed: 1: script or doc is missing;")
    before = orjson.loads(old.source)
    after = merged(before, doc)
    text = orjson.dumps(after)
    if text == orjson.dumps(before) and body.get("detect_noop", True) is not False:
        return None
    return text.decode(), after


def merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Objects are merged, everything else is replaced."""
    result = dict(old)
    for key, value in new.items():
        before = result.get(key)
        result[key] = merged(before, value) if isinstance(before, dict) and isinstance(value, dict) else value
    return result
