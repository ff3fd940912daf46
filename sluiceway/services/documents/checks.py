"""What names and settings may be (Elasticsearch reference 7.10, "Create index API", "Index modules")."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sluiceway.core.search import analysis
from sluiceway.errors import Invalid

_FORBIDDEN: Final = frozenset('\\/*?"<>| ,#:')
_ID_BYTES_MAX: Final = 512
_STATIC: Final = frozenset({"number_of_shards", "analysis", "codec", "sort", "store"})
_KNOWN: Final = frozenset({
    "analysis", "analyze", "auto_expand_replicas", "blocks", "codec", "default_pipeline", "final_pipeline",
    "gc_deletes", "hidden", "highlight", "indexing", "knn", "lifecycle", "load_fixed_bitset_filters_eagerly", "mapping", "max_inner_result_window",
    "max_docvalue_fields_search", "max_ngram_diff", "max_refresh_listeners", "max_regex_length", "max_rescore_window",
    "max_result_window", "max_script_fields", "max_shingle_diff", "max_slices_per_scroll", "max_terms_count", "merge",
    "number_of_replicas", "number_of_routing_shards", "number_of_shards", "priority", "query", "refresh_interval",
    "routing", "routing_partition_size", "search", "shard", "similarity", "soft_deletes", "sort", "store", "translog",
    "unassigned", "warmer", "write",
})  # fmt: skip


def check_name(name: str) -> None:
    """Raises ``Invalid("index_name")``."""
    why = None
    if name != name.lower():
        why = "must be lowercase"
    elif not name or name in (".", ".."):
        why = "must not be empty, '.' or '..'"
    elif name[0] in "-_+":
        why = "must not start with '_', '-', or '+'"
    elif _FORBIDDEN & set(name) or any(ord(sign) < 32 for sign in name):
        why = 'must not contain the following characters [ , ", *, \\, <, |, ,, >, /, ?, #, :]'
    elif len(name.encode()) > 255:
        why = f"index name is too long, ({len(name.encode())} > 255)"
    if why:
        raise Invalid("index_name", f"Invalid index name [{name[:300]}], {why}")


def check_id(id: str) -> None:
    """Raises ``Invalid("id")``."""
    if not id:
        raise Invalid("id", "if _id is specified it must not be empty")
    if len(id.encode("utf-8", "surrogatepass")) > _ID_BYTES_MAX or "\x00" in id:
        raise Invalid("id", f"id is too long, must be no longer than {_ID_BYTES_MAX} bytes, and without a zero byte")


def settings_of(given: Any, *, changing: bool = False) -> dict[str, Any]:
    """Settings in any of the forms they may have, as what stands below ``index``; scalars as text.

    ``changing`` an open index is allowed for dynamic ones only. Raises ``Invalid("settings")``.
    """
    if not isinstance(given, Mapping):
        raise Invalid("settings", "Expected map for settings but got something else")
    flat: dict[str, Any] = {}
    _flatten("", given, flat, 0)
    nested: dict[str, Any] = {}
    for name, value in flat.items():
        name = name.removeprefix("index.")
        parts = name.split(".")
        if parts[0] not in _KNOWN:
            raise Invalid("settings", f"unknown setting [index.{name[:200]}] please check that any required plugins are "
                          "installed, or check the breaking changes documentation for removed settings")  # fmt: skip
        if changing and parts[0] in _STATIC:
            raise Invalid("settings", f"Can't update non dynamic settings [[index.{name[:200]}]] for open indices")
        at = nested
        for part in parts[:-1]:
            at = at.setdefault(part, {})
            if not isinstance(at, dict):
                raise Invalid("settings", f"setting [index.{name[:200]}] is both a value and an object")
        at[parts[-1]] = value
    analysis.check(nested.get("analysis") or {})
    return nested


def _flatten(path: str, value: Mapping[str, Any], flat: dict[str, Any], depth: int) -> None:
    if depth > 10 or len(flat) > 1000:
        raise Invalid("settings", "The settings are too many or too deep")
    for key, item in value.items():
        name = f"{path}{key}"
        if isinstance(item, Mapping):
            _flatten(f"{name}.", item, flat, depth + 1)
        elif isinstance(item, list):
            flat[name] = [str(part) for part in item]
        elif item is not None:
            flat[name] = str(item).lower() if isinstance(item, bool) else str(item)
