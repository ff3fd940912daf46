"""Documents: one at a time, several by id (Elasticsearch reference 7.10, "Document APIs")."""

from __future__ import annotations

from typing import Any, Final

import orjson

from sluiceway.core.search.request import Sources, filtered, sources_of
from sluiceway.core.store import View
from sluiceway.edges.elasticsearch.call import Answer, Call, fragment, shards
from sluiceway.edges.elasticsearch.errors import described
from sluiceway.errors import DomainError, Invalid, NotFound, NotImplementedYet
from sluiceway.services.documents import Document, Index, Write, Written
from sluiceway.services.documents.service import PRIMARY_TERM

_MGET_MAX: Final = 2_000


async def index_document(call: Call) -> Answer:
    """PUT or POST _doc, PUT _create"""
    operation: Any = call.query.get("op_type", "index")
    if operation not in ("index", "create"):
        raise Invalid("parameter", f"opType must be 'create' or 'index', found: [{str(operation)[:100]}]")
    if "_create" in call.path:
        operation = "create"
    _check_versioning(call)
    source = call.json()
    write = Write(operation, call.path["index"], call.path.get("id"), call.body.decode(), source, *_expected(call),
                  require_alias=call.flag("require_alias"))  # fmt: skip
    return await _written(call, write)


async def update_document(call: Call) -> Answer:
    """POST _update"""
    body = call.json()
    write = Write("update", call.path["index"], call.path["id"], "", body, *_expected(call),
                  require_alias=call.flag("require_alias"))  # fmt: skip
    shown = call.query.get("_source", body.get("_source") if isinstance(body, dict) else None)
    answer = await _written(call, write, None if shown is None else sources_of(shown))
    return answer


async def delete_document(call: Call) -> Answer:
    """DELETE _doc"""
    _check_versioning(call)
    answer = await _written(call, Write("delete", call.path["index"], call.path["id"], "", None, *_expected(call)))
    if answer.body["result"] == "not_found":
        answer.status = 404
    return answer


async def _written(call: Call, write: Write, shown: Sources | None = None) -> Answer:
    tools, wait = call.tools, call.refresh()
    written = await tools.store.commit(tools.documents.write, write)
    body = outcome(written)
    if shown is not None and shown.shown:
        body["get"] = {"_seq_no": written.sequence, "_primary_term": PRIMARY_TERM, "found": True,
                       "_source": _part(written.source, shown)}  # fmt: skip
    if wait and written.result not in ("noop", "not_found"):
        done = await tools.caught_up(Index(written.index, written.uid, 0), written.sequence)
        body["forced_refresh"] = done
    headers = []
    if written.result == "created":
        headers.append(("location", f"/{written.index}/_doc/{orjson.dumps(written.id).decode()[1:-1]}"))
    return Answer(201 if written.result == "created" else 200, body, headers if written.id.isascii() else [])


def outcome(written: Written) -> dict[str, Any]:
    """What became of a change."""
    return {
        "_index": written.index,
        "_id": written.id,
        "_version": written.version,
        "result": written.result,
        "_shards": shards(0 if written.result == "noop" else 1),
        "_seq_no": written.sequence,
        "_primary_term": PRIMARY_TERM,
    }


def _expected(call: Call) -> tuple[int | None, int | None]:
    return call.number("if_seq_no"), call.number("if_primary_term")


def _check_versioning(call: Call) -> None:
    if call.query.get("version_type", "internal") != "internal" or "version" in call.query:
        raise NotImplementedYet("version", "external and internal versioning by [version] are not offered here: use "
                                "[if_seq_no] and [if_primary_term]")  # fmt: skip
    if call.query.get("pipeline"):
        raise NotImplementedYet("pipeline", "ingest pipelines are not offered here")


async def get_document(call: Call) -> Answer:
    """GET or HEAD _doc"""
    index, document = await call.tools.store.view(call.tools.documents.get, call.path["index"], call.path["id"])
    body = found(index, call.path["id"], document, sources(call))
    return Answer(200 if document else 404, body)


async def get_source(call: Call) -> Answer:
    """GET or HEAD _source"""
    index, document = await call.tools.store.view(call.tools.documents.get, call.path["index"], call.path["id"])
    if document is None:
        raise NotFound("source", f"Document not found [{index.name}]/[{call.path['id'][:512]}]")
    return Answer(200, _part(document.source, sources(call)))


def sources(call: Call, name: str = "_source") -> Sources:
    """``_source``, ``_source_includes`` and ``_source_excludes`` of the query string."""
    given = sources_of(call.query.get(name))
    includes = call.query.get(f"{name}_includes", call.query.get(f"{name}_include"))
    excludes = call.query.get(f"{name}_excludes", call.query.get(f"{name}_exclude"))
    if includes is None and excludes is None:
        return given
    return Sources(
        given.shown, includes.split(",") if includes else given.includes, excludes.split(",") if excludes else ()
    )


def _part(source: str, shown: Sources) -> Any:
    if not shown.includes and not shown.excludes:
        return fragment(source)
    return filtered(orjson.loads(source), shown)


def found(index: Index, id: str, document: Document | None, shown: Sources) -> dict[str, Any]:
    """A document as it is shown by its id."""
    if document is None:
        return {"_index": index.name, "_id": id, "found": False}
    body: dict[str, Any] = {
        "_index": index.name,
        "_id": id,
        "_version": document.version,
        "_seq_no": document.sequence,
        "_primary_term": PRIMARY_TERM,
        "found": True,
    }
    if shown.shown:
        body["_source"] = _part(document.source, shown)
    return body


async def multi_get(call: Call) -> Answer:
    """_mget"""
    body = call.json()
    if not isinstance(body, dict) or body.keys() - {"docs", "ids"}:
        raise Invalid("parameter", "[_mget] wants an object with [docs] or [ids]")
    wanted: list[tuple[str, str, Any]] = []
    parts = [{"_id": id} for id in body.get("ids") or []] + list(body.get("docs") or [])
    if not parts:
        raise Invalid("action", "Validation Failed: 1: no documents to get;")
    if len(parts) > _MGET_MAX:
        raise Invalid("parameter", f"[_mget] of more than {_MGET_MAX} documents")
    for part in parts:
        if not isinstance(part, dict) or not isinstance(part.get("_id"), str | int):
            raise Invalid("action", "Validation Failed: 1: id is missing;")
        name = part.get("_index", call.path.get("index"))
        if not isinstance(name, str):
            raise Invalid("action", "Validation Failed: 1: index is missing;")
        wanted.append((name, str(part["_id"]), part.get("_source")))
    default = sources(call)

    def look(view: View) -> list[Any]:
        return [_one(view, call, *part, default) for part in wanted]

    return Answer(200, {"docs": await call.tools.store.view(look)})


def _one(view: View, call: Call, name: str, id: str, shown: Any, default: Sources) -> dict[str, Any]:
    try:
        index, document = call.tools.documents.get(view, name, id)
        return found(index, id, document, default if shown is None else sources_of(shown))
    except DomainError as error:
        about, _ = described(error)
        return {"_index": name, "_id": id, "error": {"root_cause": [about], **about}}
