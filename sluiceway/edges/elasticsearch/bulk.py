"""Many changes in one request (Elasticsearch reference 7.10, "Bulk API")."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sluiceway.core.search.index import Search, SortKey
from sluiceway.core.search.query import parse
from sluiceway.edges.elasticsearch.call import Answer, Call
from sluiceway.edges.elasticsearch.documents import outcome
from sluiceway.edges.elasticsearch.errors import described
from sluiceway.edges.elasticsearch.indices import refresh
from sluiceway.edges.elasticsearch.search import searchable
from sluiceway.errors import DomainError, Invalid, TooLarge, Unavailable
from sluiceway.services.documents import Index, Write, Written
from sluiceway.services.documents.service import PRIMARY_TERM, parsed

_SMALL_BYTES: Final = 256 * 1024
_DELETED_AT_A_TIME: Final = 500
_OPERATIONS: Final = frozenset({"index", "create", "update", "delete"})
_META: Final = frozenset({
    "_index", "_id", "_type", "routing", "_routing", "if_seq_no", "if_primary_term", "require_alias",
    "retry_on_conflict", "_source", "dynamic_templates", "list_executed_pipelines",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Item:
    """One line pair: the change, or why it can't be tried."""

    operation: str
    index: str
    id: str | None
    write: Write | None
    error: DomainError | None = None


async def bulk(call: Call) -> Answer:
    """_bulk"""
    began = time.perf_counter()
    wait = call.refresh()
    items = await asyncio.to_thread(_items, call) if len(call.body) > _SMALL_BYTES else _items(call)
    outcomes: list[Written | DomainError] = []
    for start in range(0, len(items), call.tools.limits.bulk_commit):
        part = items[start : start + call.tools.limits.bulk_commit]
        try:
            outcomes += await _changed(call, part)
        except Unavailable as error:
            if not outcomes:
                raise
            outcomes += [error] * len(part)
    latest: dict[tuple[str, str], int] = {}
    answers = []
    for item, result in zip(items, outcomes, strict=True):
        answers.append({item.operation: _answer(item, result)})
        if isinstance(result, Written) and result.result not in ("noop", "not_found"):
            latest[result.index, result.uid] = result.sequence
    if wait:
        for (name, uid), sequence in latest.items():
            await call.tools.caught_up(Index(name, uid, 0), sequence)
    errors = any(not isinstance(result, Written) for result in outcomes)
    return Answer(200, {"took": int((time.perf_counter() - began) * 1000), "errors": errors, "items": answers})


async def delete_by_query(call: Call) -> Answer:
    """_delete_by_query: what is searchable now and is as it was then"""
    began = time.perf_counter()
    body = call.json()
    if not isinstance(body, dict) or "query" not in body or body.keys() - {"query", "conflicts"}:
        raise Invalid(
            "action", "Validation Failed: 1: query is missing, or there is more than [query] and [conflicts];"
        )
    proceed = call.query.get("conflicts", body.get("conflicts", "abort")) == "proceed"
    deleted = conflicts = 0
    for index in await searchable(call, call.path["index"]):
        plan = parse(call.tools.asking(index, call.now_ms), body["query"])
        key = SortKey("sequence", False)
        after: list[Any] | None = None
        while not conflicts or proceed:
            wanted = Search(plan, _DELETED_AT_A_TIME, [key], after)
            hits = (await call.tools.searchers.run(call.tools.index.search, index.uid, wanted)).hits
            if not hits:
                break
            after = [hits[-1].sequence]
            writes = [Write("delete", index.name, hit.id, sequence=hit.sequence, term=PRIMARY_TERM) for hit in hits]
            done = await call.tools.store.commit(call.tools.documents.write_all, writes)
            deleted += sum(isinstance(result, Written) for result in done)
            conflicts += sum(not isinstance(result, Written) for result in done)
    if call.refresh():
        await refresh(call)
    answer = {"took": int((time.perf_counter() - began) * 1000), "timed_out": False, "total": deleted + conflicts,
              "deleted": deleted, "version_conflicts": conflicts, "noops": 0, "failures": []}  # fmt: skip
    return Answer(409 if conflicts and not proceed else 200, answer)


async def _changed(call: Call, items: Sequence[_Item]) -> list[Written | DomainError]:
    """One transaction."""
    writes = [item.write for item in items if item.write is not None]
    done = iter(await call.tools.store.commit(call.tools.documents.write_all, writes) if writes else [])
    return [next(done) if item.error is None else item.error for item in items]


def _answer(item: _Item, result: Written | DomainError) -> dict[str, Any]:
    if isinstance(result, Written):
        status = {"created": 201, "not_found": 404}.get(result.result, 200)
        return {**outcome(result), "status": status}
    about, status = described(result)
    return {"_index": item.index, "_id": item.id, "status": status, "error": about}


def _items(call: Call) -> list[_Item]:
    """Raises ``Invalid("json" | "bulk" | "action")`` for what makes the whole body unreadable."""
    if not call.body.strip():
        raise Invalid("json", "request body is required")
    if not call.body.endswith(b"\n"):
        raise Invalid("bulk", "The bulk request must be terminated by a newline [\\n]")
    lines = call.body.split(b"\n")
    lines.pop()
    items: list[_Item] = []
    at = 0
    while at < len(lines):
        line = lines[at]
        at += 1
        if not line.strip():
            continue
        operation, meta = _head(line, at)
        text = b""
        if operation != "delete":
            if at >= len(lines):
                raise Invalid("bulk", f"Malformed action/metadata line [{at}], expected a source line after it")
            text = lines[at]
            at += 1
        items.append(_item(call, operation, meta, text.strip()))
    if not items:
        raise Invalid("action", "Validation Failed: 1: no requests added;")
    return items


def _head(line: bytes, number: int) -> tuple[str, dict[str, Any]]:
    head = parsed(line)
    if not isinstance(head, dict) or len(head) != 1:
        raise Invalid("bulk", f"Malformed action/metadata line [{number}], expected one action")
    operation, meta = next(iter(head.items()))
    if operation not in _OPERATIONS:
        raise Invalid("bulk", f"Malformed action/metadata line [{number}], expected field [create], [delete], [index] or "
                      f"[update] but found [{operation[:100]}]")  # fmt: skip
    if not isinstance(meta, dict):
        raise Invalid("bulk", f"Malformed action/metadata line [{number}], expected START_OBJECT")
    if unknown := meta.keys() - _META:
        raise Invalid(
            "bulk", f"Action/metadata line [{number}] contains an unknown parameter [{sorted(unknown)[0][:100]}]"
        )
    return operation, meta


def _item(call: Call, operation: Any, meta: dict[str, Any], text: bytes) -> _Item:
    index, id = meta.get("_index", call.path.get("index")), meta.get("_id")
    if not isinstance(index, str):
        raise Invalid("action", "Validation Failed: 1: index is missing;")
    id = id if id is None else str(id)
    if id is None and operation in ("update", "delete"):
        raise Invalid("action", "Validation Failed: 1: id is missing;")
    expected = [meta.get("if_seq_no"), meta.get("if_primary_term")]
    try:
        if not all(isinstance(number, int | None) for number in expected):
            raise Invalid("bulk", "if_seq_no and if_primary_term are numbers")
        if len(text) > call.tools.limits.body_bytes_max:
            raise TooLarge("document", f"The document is over the limit of {call.tools.limits.body_bytes_max} bytes.")
        body = parsed(text, "document") if operation != "delete" else None
        alias = bool(meta.get("require_alias", call.flag("require_alias")))
        write = Write(operation, index, id, text.decode(), body, expected[0], expected[1], require_alias=alias)
    except DomainError as error:
        return _Item(operation, index, id, None, error)
    return _Item(operation, index, id, write)
