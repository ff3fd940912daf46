"""Indices, mappings, settings and aliases (Elasticsearch reference 7.10, "Index APIs")."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from sluiceway.core.search.mapping import Fields
from sluiceway.core.search.request import like
from sluiceway.core.store import Tx
from sluiceway.edges.elasticsearch.call import Answer, Call, shards
from sluiceway.edges.elasticsearch.search import named
from sluiceway.errors import Invalid, NotFound
from sluiceway.services.documents import Index

_BODY: Final = frozenset({"settings", "mappings", "aliases"})
_DEFAULTS: Final = {"number_of_shards": "1", "number_of_replicas": "1"}
VERSION_CREATED: Final = "7100299"


async def create(call: Call) -> Answer:
    """PUT /{index}"""
    body = call.json({})
    if not isinstance(body, dict):
        raise Invalid("json", "request body must be an object")
    if unknown := body.keys() - _BODY:
        raise Invalid("json", f"unknown key [{sorted(unknown)[0][:100]}] for create index")
    indices, name = call.tools.documents.indices, call.path["index"]
    await call.tools.store.commit(indices.create, name, body.get("settings"), body.get("mappings"), body.get("aliases"))
    return Answer(200, {"acknowledged": True, "shards_acknowledged": True, "index": name})


async def delete(call: Call) -> Answer:
    """DELETE /{index}"""
    expression = call.path["index"]

    def run(tx: Tx) -> None:
        indices = call.tools.documents.indices
        for part in expression.split(","):
            if "*" not in part and part != "_all" and indices.find(tx, part) is None:
                behind = [index for index in indices.all(tx) if part in index.aliases]
                if behind:
                    raise Invalid("alias", f"The provided expression [{part}] matches an alias, specify the corresponding "
                                  "concrete indices instead.")  # fmt: skip
        for index in indices.named(tx, expression, lenient=call.flag("ignore_unavailable"),
                                   allow_none=call.flag("allow_no_indices", True)):  # fmt: skip
            indices.drop(tx, index)

    await call.tools.store.commit(run)
    return Answer(200, {"acknowledged": True})


async def exists(call: Call) -> Answer:
    """HEAD /{index}"""
    try:
        await call.tools.store.view(call.tools.documents.indices.named, call.path["index"], allow_none=False)
    except NotFound:
        return Answer(404)
    return Answer(200)


async def get(call: Call) -> Answer:
    """GET /{index}"""
    return await _each(call, lambda index: {
        "aliases": index.aliases, "mappings": index.mappings, "settings": {"index": _settings(index)}
    })  # fmt: skip


async def get_mapping(call: Call) -> Answer:
    """GET _mapping"""
    return await _each(call, lambda index: {"mappings": index.mappings})


async def get_settings(call: Call) -> Answer:
    """GET _settings"""
    return await _each(call, lambda index: {"settings": {"index": _settings(index)}})


async def get_alias(call: Call) -> Answer:
    """GET _alias"""
    wanted = call.path.get("alias")
    patterns = wanted.split(",") if wanted else ["*"]
    indices = await named(call, call.path.get("index", ""))
    body = {}
    for index in indices:
        aliases = {name: value for name, value in index.aliases.items()
                   if any(pattern == "_all" or like(pattern, name) for pattern in patterns)}  # fmt: skip
        if aliases or wanted is None:
            body[index.name] = {"aliases": aliases}
    if not body and wanted is not None and "*" not in wanted:
        raise NotFound("alias", f"alias [{wanted[:300]}] missing")
    return Answer(200, body)


async def exists_alias(call: Call) -> Answer:
    """HEAD _alias"""
    try:
        answer = await get_alias(call)
    except NotFound:
        return Answer(404)
    return Answer(200 if answer.body else 404)


async def _each(call: Call, shown: Callable[[Index], dict[str, Any]]) -> Answer:
    indices = await named(call, call.path.get("index", ""))
    return Answer(200, {index.name: shown(index) for index in indices})


def _settings(index: Index) -> dict[str, Any]:
    return {
        **_DEFAULTS,
        **index.settings,
        "creation_date": str(index.created_ms),
        "uuid": index.uid,
        "provided_name": index.name,
        "version": {"created": VERSION_CREATED},
    }


async def put_mapping(call: Call) -> Answer:
    """PUT _mapping"""
    return await _change(call, call.tools.documents.indices.put_mapping, call.json())


async def put_settings(call: Call) -> Answer:
    """PUT _settings"""
    body = call.json()
    given = body.get("settings", body) if isinstance(body, dict) else body
    return await _change(call, call.tools.documents.indices.put_settings, given)


async def put_alias(call: Call) -> Answer:
    """PUT _alias"""
    return await _change(call, call.tools.documents.indices.set_alias, call.path["alias"])


async def delete_alias(call: Call) -> Answer:
    """DELETE _alias"""

    def remove(tx: Tx, index: Index, name: str) -> None:
        call.tools.documents.indices.set_alias(tx, index, name, remove=True)

    return await _change(call, remove, call.path["alias"])


async def _change(call: Call, fn: Callable[[Tx, Index, Any], None], given: Any) -> Answer:
    def run(tx: Tx) -> None:
        for index in call.tools.documents.indices.named(tx, call.path.get("index", ""), allow_none=False):
            fn(tx, index, given)

    await call.tools.store.commit(run)
    return Answer(200, {"acknowledged": True})


async def change_aliases(call: Call) -> Answer:
    """POST _aliases"""
    body = call.json()
    actions = body.get("actions") if isinstance(body, dict) else None
    if not isinstance(actions, list) or not actions or len(actions) > 1000:
        raise Invalid("action", "Validation Failed: 1: Must specify at least one alias action;")

    def run(tx: Tx) -> None:
        for action in actions:
            _act(call, tx, action)

    await call.tools.store.commit(run)
    return Answer(200, {"acknowledged": True})


def _act(call: Call, tx: Tx, action: Any) -> None:
    indices = call.tools.documents.indices
    kind, given = next(iter(action.items())) if isinstance(action, dict) and len(action) == 1 else ("", None)
    if kind not in ("add", "remove", "remove_index") or not isinstance(given, dict):
        raise Invalid("action", "[_aliases] wants actions add, remove or remove_index")
    if unknown := given.keys() - {"index", "indices", "alias", "aliases", "must_exist", "is_write_index"}:
        raise Invalid("action", f"[{kind}] unknown field [{sorted(unknown)[0][:100]}]")
    names = given.get("indices", given.get("index"))
    aliases = given.get("aliases", given.get("alias"))
    for index in indices.named(tx, ",".join(names) if isinstance(names, list) else str(names), allow_none=False):
        if kind == "remove_index":
            indices.drop(tx, index)
            continue
        for alias in aliases if isinstance(aliases, list) else [aliases]:
            current = indices.get(tx, index.name)
            indices.set_alias(tx, current, str(alias), remove=kind == "remove")


async def refresh(call: Call) -> Answer:
    """_refresh, _flush and _forcemerge: wait until what was acknowledged is searchable."""
    indices = await named(call, call.path.get("index", ""))
    standings = await call.tools.store.view(call.tools.documents.standings, [index.name for index in indices])
    failed = 0
    for standing in standings:
        if not await call.tools.caught_up(standing.index, standing.next - 1):
            failed += 1
    return Answer(200, {"_shards": shards(len(standings), failed)})


# -- about all of them


async def stats(call: Call) -> Answer:
    """_stats, as far as documents and bytes go"""
    indices = await named(call, call.path.get("index", ""))
    each: dict[str, Any] = {}
    documents = size = 0
    for index in indices:
        count, stored = await _sizes(call, index)
        part = {"docs": {"count": count, "deleted": 0}, "store": {"size_in_bytes": stored}}
        each[index.name] = {"uuid": index.uid, "primaries": part, "total": part}
        documents, size = documents + count, size + stored
    whole = {"docs": {"count": documents, "deleted": 0}, "store": {"size_in_bytes": size}}
    return Answer(200, {"_shards": shards(len(each)), "_all": {"primaries": whole, "total": whole}, "indices": each})


async def _sizes(call: Call, index: Index) -> tuple[int, int]:
    tools = call.tools
    count = await tools.searchers.run(tools.index.count, index.uid)
    return count, await tools.searchers.run(tools.index.size_bytes, index.uid)


async def cat_indices(call: Call) -> Answer:
    """_cat/indices"""
    rows = []
    for index in await named(call, call.path.get("index", "")):
        documents, size = await _sizes(call, index)
        stored = str(size) if "bytes" in call.query else _bytes(size)
        rows.append({"health": "green", "status": "open", "index": index.name, "uuid": index.uid, "pri": "1", "rep": "0",
                     "docs.count": str(documents), "docs.deleted": "0", "store.size": stored,
                     "pri.store.size": stored})  # fmt: skip
    return _table(call, rows)


async def cat_count(call: Call) -> Answer:
    """_cat/count"""
    indices = await named(call, call.path.get("index", ""))
    total = sum([(await _sizes(call, index))[0] for index in indices])
    clock = datetime.fromtimestamp(call.now_ms // 1000, UTC).strftime("%H:%M:%S")
    return _table(call, [{"epoch": str(call.now_ms // 1000), "timestamp": clock, "count": str(total)}])


async def cat_health(call: Call) -> Answer:
    """_cat/health"""
    return _table(call, [{"cluster": "sluiceway", "status": "green", "node.total": "1", "node.data": "1"}])


async def cat_aliases(call: Call) -> Answer:
    """_cat/aliases"""
    indices = await named(call, "")
    return _table(call, [{"alias": alias, "index": index.name} for index in indices for alias in index.aliases])


def _bytes(size: int) -> str:
    for unit in ("b", "kb", "mb", "gb"):
        if size < 1024:
            return f"{size:.1f}{unit}" if unit != "b" else f"{size}b"
        size = size / 1024  # type: ignore[assignment]
    return f"{size:.1f}tb"


def _table(call: Call, rows: list[dict[str, str]]) -> Answer:
    """Columns for people, JSON for programs."""
    chosen = call.query.get("h")
    if chosen:
        rows = [{name: row[name] for name in chosen.split(",") if name in row} for row in rows]
    if call.query.get("s"):
        name, _, direction = call.query["s"].split(",")[0].partition(":")
        rows.sort(key=lambda row: row.get(name, ""), reverse=direction == "desc")
    if call.query.get("format") == "json":
        return Answer(200, rows)
    lines = [list(row.values()) for row in rows]
    if call.flag("v") and rows:
        lines.insert(0, list(rows[0]))
    widths = [max(len(line[at]) for line in lines) for at in range(len(lines[0]))] if lines else []
    text = "".join(
        " ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() + "\n" for line in lines
    )
    return Answer(200, text)


async def field_caps(call: Call) -> Answer:
    """_field_caps"""
    wanted = re.split(",", call.query.get("fields", "*"))
    found: dict[str, dict[str, Any]] = {}
    indices = await named(call, call.path.get("index", ""))
    for index in indices:
        fields: Fields = call.tools.documents.fields(index)
        for leaf in fields.leaves():
            if any(like(pattern, leaf.path) for pattern in wanted):
                part = {"type": leaf.type, "searchable": leaf.column is not None,
                        "aggregatable": leaf.column is not None and leaf.type != "text"}  # fmt: skip
                found.setdefault(leaf.path, {})[leaf.type] = part
    return Answer(200, {"indices": [index.name for index in indices], "fields": found})
