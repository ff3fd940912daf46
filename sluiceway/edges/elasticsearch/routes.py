"""Paths and methods of the REST API -> handlers (Elasticsearch reference 7.10, "REST APIs")."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sluiceway.edges.elasticsearch import bulk, cluster, documents, indices, search
from sluiceway.edges.elasticsearch.call import Handler
from sluiceway.errors import Invalid


@dataclass(frozen=True, slots=True)
class Route:
    """``methods`` of one path pattern; ``{name}`` in it stands for one part."""

    pattern: str
    methods: Mapping[str, Handler]
    bulk: bool = False


def _get(handler: Handler) -> Mapping[str, Handler]:
    return {"GET": handler}


def _any(handler: Handler) -> Mapping[str, Handler]:
    return {"GET": handler, "POST": handler}


def _put(handler: Handler) -> Mapping[str, Handler]:
    return {"PUT": handler, "POST": handler}


_ALIAS: Final[Mapping[str, Handler]] = {
    "GET": indices.get_alias,
    "HEAD": indices.exists_alias,
    "PUT": indices.put_alias,
    "POST": indices.put_alias,
    "DELETE": indices.delete_alias,
}
_SCROLL: Final[Mapping[str, Handler]] = {
    "GET": search.scroll,
    "POST": search.scroll,
    "DELETE": search.clear_scroll,
}

#: The first that fits is taken.
ROUTES: Final[Sequence[Route]] = (
    Route("", {"GET": cluster.root, "HEAD": cluster.root}),
    Route("_bulk", _put(bulk.bulk), bulk=True),
    Route("_mget", _any(documents.multi_get)),
    Route("_msearch", _any(search.multi_search)),
    Route("_search", _any(search.search)),
    Route("_search/scroll", _SCROLL),
    Route("_search/scroll/{scroll_id}", _SCROLL),
    Route("_count", _any(search.count)),
    Route("_analyze", _any(search.analyze)),
    Route("_validate/query", _any(search.validate)),
    Route("_refresh", _any(indices.refresh)),
    Route("_flush", _any(indices.refresh)),
    Route("_forcemerge", {"POST": indices.refresh}),
    Route("_mapping", _get(indices.get_mapping)),
    Route("_settings", {"GET": indices.get_settings, "PUT": indices.put_settings}),
    Route("_stats", _get(indices.stats)),
    Route("_field_caps", _any(indices.field_caps)),
    Route("_alias", _get(indices.get_alias)),
    Route("_alias/{alias}", {"GET": indices.get_alias, "HEAD": indices.exists_alias}),
    Route("_aliases", {"GET": indices.get_alias, "POST": indices.change_aliases}),
    Route("_cat/indices", _get(indices.cat_indices)),
    Route("_cat/indices/{index}", _get(indices.cat_indices)),
    Route("_cat/count", _get(indices.cat_count)),
    Route("_cat/count/{index}", _get(indices.cat_count)),
    Route("_cat/health", _get(indices.cat_health)),
    Route("_cat/aliases", _get(indices.cat_aliases)),
    Route("_cluster/health", _get(cluster.health)),
    Route("_cluster/health/{index}", _get(cluster.health)),
    Route("_cluster/settings", _get(cluster.settings)),
    Route("_nodes", _get(cluster.nodes)),
    Route("_nodes/{node}", _get(cluster.nodes)),
    Route("_nodes/{node}/{metric}", _get(cluster.nodes)),
    Route(
        "{index}",
        {"GET": indices.get, "HEAD": indices.exists, "PUT": indices.create, "DELETE": indices.delete},
    ),
    Route("{index}/_doc", {"POST": documents.index_document}),
    Route(
        "{index}/_doc/{id}",
        {
            "GET": documents.get_document,
            "HEAD": documents.get_document,
            "PUT": documents.index_document,
            "POST": documents.index_document,
            "DELETE": documents.delete_document,
        },
    ),
    Route("{index}/{_create}/{id}", _put(documents.index_document)),
    Route("{index}/_update/{id}", {"POST": documents.update_document}),
    Route("{index}/_source/{id}", {"GET": documents.get_source, "HEAD": documents.get_source}),
    Route("{index}/_mget", _any(documents.multi_get)),
    Route("{index}/_bulk", _put(bulk.bulk), bulk=True),
    Route("{index}/_search", _any(search.search)),
    Route("{index}/_msearch", _any(search.multi_search)),
    Route("{index}/_count", _any(search.count)),
    Route("{index}/_analyze", _any(search.analyze)),
    Route("{index}/_validate/query", _any(search.validate)),
    Route("{index}/_delete_by_query", {"POST": bulk.delete_by_query}),
    Route("{index}/_refresh", _any(indices.refresh)),
    Route("{index}/_flush", _any(indices.refresh)),
    Route("{index}/_forcemerge", {"POST": indices.refresh}),
    Route("{index}/_mapping", {"GET": indices.get_mapping, "PUT": indices.put_mapping, "POST": indices.put_mapping}),
    Route("{index}/_settings", {"GET": indices.get_settings, "PUT": indices.put_settings}),
    Route("{index}/_stats", _get(indices.stats)),
    Route("{index}/_field_caps", _any(indices.field_caps)),
    Route("{index}/_alias", _get(indices.get_alias)),
    Route("{index}/_alias/{alias}", _ALIAS),
    Route("{index}/_aliases/{alias}", _ALIAS),
)


#: Parameters of any request; many of them change nothing on one node. Others are refused rather than ignored.
PARAMETERS: Final = frozenset({
    "_source", "_source_exclude", "_source_excludes", "_source_include", "_source_includes", "allow_no_indices",
    "allow_partial_search_results", "analyze_wildcard", "analyzer", "batched_reduce_size", "bytes",
    "ccs_minimize_roundtrips", "cluster_manager_timeout", "conflicts", "default_operator", "df", "error_trace",
    "expand_wildcards", "fields", "filter_path", "flat_settings", "flush", "force", "format", "from", "h", "health",
    "help", "human", "if_primary_term", "if_seq_no", "ignore_throttled", "ignore_unavailable", "include_defaults",
    "include_type_name", "include_unloaded_segments", "lenient", "level", "local", "master_timeout",
    "max_concurrent_searches", "max_concurrent_shard_requests", "max_num_segments", "must_exist", "op_type",
    "only_expunge_deletes", "pipeline", "pre_filter_shard_size", "preference", "pretty", "pri", "q", "realtime",
    "refresh", "request_cache", "require_alias", "rest_total_hits_as_int", "retry_on_conflict", "routing", "s",
    "scroll", "scroll_id", "search_type", "seq_no_primary_term", "size", "sort", "source", "source_content_type",
    "time", "timeout", "track_scores", "track_total_hits", "update_all_types", "v", "version", "version_type",
    "wait_for_active_shards", "wait_for_completion", "wait_for_events", "wait_for_no_initializing_shards",
    "wait_for_no_relocating_shards", "wait_for_nodes", "wait_for_status", "wait_if_ongoing", "write_index_only",
})  # fmt: skip


def find(method: str, parts: Sequence[str]) -> tuple[Route, Handler, dict[str, str]]:
    """The route, its handler, and what the pattern's names stand for.

    Raises ``Invalid("uri" | "method")``.
    """
    allowed: set[str] = set()
    for route in ROUTES:
        names = _matched(route.pattern, parts)
        if names is None:
            continue
        handler = route.methods.get(method)
        if handler is not None:
            return route, handler, names
        allowed |= route.methods.keys()
    uri = "/" + "/".join(parts)
    if allowed:
        raise Invalid("method", f"Incorrect HTTP method for uri [{uri[:300]}] and method [{method[:20]}], allowed: "
                      f"[{', '.join(sorted(allowed))}]", allow=", ".join(sorted(allowed)))  # fmt: skip
    raise Invalid("uri", f"no handler found for uri [{uri[:300]}] and method [{method[:20]}]: this is not offered here")


def _matched(pattern: str, parts: Sequence[str]) -> dict[str, str] | None:
    wanted = pattern.split("/") if pattern else []
    if len(wanted) != len(parts):
        return None
    names: dict[str, str] = {}
    for want, part in zip(wanted, parts, strict=True):
        if want == "{_create}":
            if part != "_create":
                return None
            names["_create"] = part
        elif want == "{index}":
            if part.startswith("_") and part != "_all":
                return None
            names["index"] = part
        elif want.startswith("{"):
            names[want[1:-1]] = part
        elif want != part:
            return None
    return names
