"""Mappings: which fields an index has, of which types, and in which columns their values stand.

(Elasticsearch reference 7.10, "Mapping".) What stands here is the form in which mappings are given, kept and shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sluiceway.core.search import analysis, dates
from sluiceway.core.search.index import Kind
from sluiceway.errors import Invalid, NotImplementedYet

#: Type -> the kind of its column.
KINDS: Final[Mapping[str, Kind]] = {
    "boolean": "i",
    "byte": "i",
    "date": "i",
    "double": "f",
    "float": "f",
    "half_float": "f",
    "integer": "i",
    "keyword": "k",
    "long": "i",
    "short": "i",
    "text": "t",
}
INTEGERS: Final[Mapping[str, int]] = {"byte": 7, "short": 15, "integer": 31, "long": 63}
FLOATS: Final = frozenset({"double", "float", "half_float"})

#: Parameters that are kept and shown, but change nothing here.
_PASSIVE: Final = frozenset({
    "boost", "coerce", "doc_values", "eager_global_ordinals", "fielddata", "index_options", "meta", "norms",
    "position_increment_gap", "similarity", "split_queries_on_whitespace", "store", "term_vector", "index_phrases",
    "index_prefixes",
})  # fmt: skip
_PARAMETERS: Final[Mapping[str, frozenset[str]]] = {
    "t": frozenset({"analyzer", "search_analyzer", "search_quote_analyzer", "fields", "index"}),
    "k": frozenset({"fields", "ignore_above", "index", "normalizer", "null_value"}),
    "i": frozenset({"fields", "format", "ignore_malformed", "index", "null_value"}),
    "f": frozenset({"fields", "ignore_malformed", "index", "null_value"}),
}
_OBJECT: Final = frozenset({"properties", "dynamic", "enabled", "type"})
_ROOT: Final = _OBJECT - {"type", "enabled"} | {"_meta", "date_detection", "numeric_detection", "_source", "_routing"}
_CHANGEABLE: Final = frozenset({"fields", "ignore_above", "ignore_malformed", "search_analyzer"}) | _PASSIVE
_DYNAMIC: Final = frozenset({"true", "false", "strict"})


@dataclass(frozen=True, slots=True)
class Leaf:
    """A field that holds values. ``column`` is None if it isn't indexed. ``multi`` are the same values' other fields."""

    path: str
    type: str
    column: str | None
    given: Mapping[str, Any]
    recipe: str = ""
    search_recipe: str = ""
    multi: tuple[Leaf, ...] = ()

    @property
    def formats(self) -> str:
        """Of a date."""
        return str(self.given.get("format", dates.DEFAULT))


@dataclass(slots=True)
class Branch:
    """An object field, or the whole document (its path is "")."""

    path: str
    given: dict[str, Any]
    dynamic: str
    children: dict[str, Branch | Leaf] = field(default_factory=dict)

    @property
    def enabled(self) -> bool:
        """Whether anything below is looked at."""
        return str(self.given.get("enabled", True)).lower() != "false"


class Fields:
    """An index's mapping. ``kept`` is what ``to_row`` made (empty for none), ``settings`` the analysis settings.

    It grows by ``merge`` and ``define``; ``changed`` says that it has to be kept again.
    """

    def __init__(self, kept: Mapping[str, Any], settings: Mapping[str, Any], fields_max: int, depth_max: int) -> None:
        self._settings = settings
        self._fields_max = fields_max
        self._depth_max = depth_max
        self.columns: dict[str, str] = dict(kept.get("columns") or {})
        self._next: dict[str, int] = dict(kept.get("next") or {})
        self.changed = False
        self.shown: dict[str, Any] = _copied(kept.get("mappings") or {})
        self.root = self._branch("", self.shown, "true", 0)

    def to_row(self) -> dict[str, Any]:
        """For ``kept``."""
        return {"mappings": self.shown, "columns": self.columns, "next": self._next}

    def counts(self) -> dict[Kind, int]:
        """How many columns of each kind are needed."""
        kinds: tuple[Kind, ...] = ("t", "k", "i", "f")
        return {kind: self._next.get(kind, 0) for kind in kinds}

    def find(self, path: str) -> Leaf | None:
        """The field at ``path``; a multi-field's path ends in its name."""
        at: Branch | Leaf = self.root
        for name in path.split("."):
            if isinstance(at, Branch):
                child = at.children.get(name)
            else:
                child = next((leaf for leaf in at.multi if leaf.path == f"{at.path}.{name}"), None)
            if child is None:
                return None
            at = child
        return at if isinstance(at, Leaf) else None

    def branch(self, path: str) -> Branch | None:
        """The object field at ``path``."""
        at: Branch | Leaf | None = self.root
        for name in path.split("."):
            at = at.children.get(name) if isinstance(at, Branch) else None
        return at if isinstance(at, Branch) else None

    def leaves(self, branch: Branch | None = None) -> Iterator[Leaf]:
        """Every field with values, multi-fields after theirs."""
        for child in (branch or self.root).children.values():
            if isinstance(child, Branch):
                yield from self.leaves(child)
            else:
                yield child
                yield from child.multi

    def merge(self, given: Any) -> None:
        """Add what ``given`` (a mapping, as in PUT _mapping) has. Raises ``Invalid("mapping" | "merge")``."""
        if not isinstance(given, Mapping):
            raise Invalid("mapping", "Expected map for property [mappings] but got something else")
        _check_root(given)
        merged = _merged(self.shown, given, "", self._depth_max)
        if merged == self.shown:
            return
        self.root = self._branch("", merged, "true", 0)
        self.shown = merged
        self.changed = True

    def define(self, branch: Branch, name: str, given: dict[str, Any]) -> Branch | Leaf:
        """Add a field that a document brought."""
        path = f"{branch.path}.{name}" if branch.path else name
        branch.given.setdefault("properties", {})[name] = given
        child = self._child(path, given, branch.dynamic, path.count(".") + 1)
        branch.children[name] = child
        self.changed = True
        return child

    def _branch(self, path: str, given: dict[str, Any], dynamic: str, depth: int) -> Branch:
        if depth > self._depth_max:
            raise Invalid("mapping", f"Limit of mapping depth [{self._depth_max}] has been exceeded")
        own = str(given.get("dynamic", dynamic)).lower()
        if own not in _DYNAMIC:
            raise Invalid("mapping", f"Could not convert [dynamic] to one of true, false, strict: [{own[:100]}]")
        branch = Branch(path, given, own)
        for name, child in (given.get("properties") or {}).items():
            branch.children[name] = self._child(f"{path}.{name}" if path else name, child, own, depth + 1)
        return branch

    def _child(self, path: str, given: dict[str, Any], dynamic: str, depth: int) -> Branch | Leaf:
        if "properties" in given or given.get("type", "object") == "object":
            return self._branch(path, given, dynamic, depth)
        return self._leaf(path, given)

    def _leaf(self, path: str, given: Mapping[str, Any]) -> Leaf:
        kind = str(given["type"])
        indexed = str(given.get("index", True)).lower() != "false"
        column = self._column(path, KINDS[kind]) if indexed else None
        multi = tuple(self._leaf(f"{path}.{name}", sub) for name, sub in (given.get("fields") or {}).items())
        own = searching = ""
        if kind == "text":
            own = analysis.recipe(str(given.get("analyzer", "default")), self._settings)
            searching = analysis.recipe(
                str(given.get("search_analyzer", given.get("analyzer", "default"))), self._settings
            )
        elif kind == "keyword" and given.get("normalizer"):
            own = searching = analysis.normalizer(str(given["normalizer"]), self._settings)
        return Leaf(path, kind, column, given, own, searching, multi)

    def _column(self, path: str, kind: Kind) -> str:
        column = self.columns.get(path)
        if column is None:
            if len(self.columns) >= self._fields_max:
                raise Invalid("fields", f"Limit of total fields [{self._fields_max}] has been exceeded")
            number = self._next.get(kind, 0)
            self._next[kind] = number + 1
            column = self.columns[path] = f"{kind}{number}"
        return column


def _copied(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value


def _check_root(given: Mapping[str, Any]) -> None:
    for name in given:
        if name in ("dynamic_templates", "runtime", "_size"):
            if given[name]:
                raise NotImplementedYet("mapping", f"[{name}] in a mapping is not offered here")
        elif name not in _ROOT:
            raise Invalid(
                "mapping", f"Root mapping definition has unsupported parameters:  [{name} : {given[name]}]"[:300]
            )
    source = given.get("_source") or {}
    if not isinstance(source, Mapping):
        raise Invalid("mapping", "[_source] must be an object")
    if str(source.get("enabled", True)).lower() == "false":
        raise NotImplementedYet("mapping", "[_source] can't be disabled here")


def _merged(old: Mapping[str, Any], new: Mapping[str, Any], path: str, depth: int) -> dict[str, Any]:
    """Two objects' definitions as one."""
    if depth < 0:
        raise Invalid("mapping", "Limit of mapping depth has been exceeded")
    merged = dict(old) | {
        key: _copied(value) for key, value in new.items() if key not in ("properties", "dynamic_templates", "runtime")
    }
    properties = new.get("properties")
    if properties is None:
        return merged
    if not isinstance(properties, Mapping):
        raise Invalid("mapping", f"Expected map for property [properties] on field [{path or '_doc'}]")
    known = dict(old.get("properties") or {})
    for dotted, given in properties.items():
        name, given = _undotted(dotted, given)
        child = f"{path}.{name}" if path else name
        if not isinstance(given, Mapping):
            raise Invalid("mapping", f"Expected map for property [{child}]")
        known[name] = _field(known.get(name), given, child, depth - 1)
    return merged | {"properties": known}


def _undotted(name: str, given: Any) -> tuple[str, Any]:
    """``a.b`` is ``b`` inside of ``a``."""
    parts = str(name).split(".")
    if not all(part.strip() for part in parts) or len(name) > 1000:
        raise Invalid("mapping", f"field name cannot be an empty string or only whitespace: [{name[:100]}]")
    for part in reversed(parts[1:]):
        given = {"properties": {part: given}}
    return parts[0], given


def _field(old: Mapping[str, Any] | None, given: Mapping[str, Any], path: str, depth: int) -> dict[str, Any]:
    kind = str(given.get("type", "object"))
    if kind == "object" or ("type" not in given and "properties" in given):
        if old is not None and old.get("type", "object") != "object":
            raise Invalid("merge", f"can't merge a non object mapping [{path}] with an object mapping")
        if unknown := given.keys() - _OBJECT:
            raise Invalid("mapping", f"unknown parameter [{sorted(unknown)[0]}] on mapper [{path}] of type [object]")
        return _merged(old or {}, given, path, depth)
    if kind not in KINDS:
        raise Invalid("mapping", f"No handler for type [{kind[:100]}] declared on field [{path}]: this server has "
                      f"{', '.join(sorted(KINDS))} and object")  # fmt: skip
    if old is not None:
        return _changed(old, given, path, kind)
    _check_leaf(given, path, kind)
    return dict(_copied(given))


def _changed(old: Mapping[str, Any], given: Mapping[str, Any], path: str, kind: str) -> dict[str, Any]:
    before = old.get("type", "object")
    if before != kind:
        raise Invalid("merge", f"mapper [{path}] cannot be changed from type [{before}] to [{kind}]")
    _check_leaf(given, path, kind)
    for name in (old.keys() | given.keys()) - _CHANGEABLE:
        if name in given and old.get(name) != given[name]:
            raise Invalid(
                "merge", f"Mapper for [{path}] conflicts with existing mapper: Cannot update parameter [{name}]"
            )
    fields = dict(old.get("fields") or {})
    for name, sub in (given.get("fields") or {}).items():
        fields[name] = _field(fields.get(name), sub, f"{path}.{name}", 0)
    return {**old, **_copied(given)} | ({"fields": fields} if fields else {})


def _check_leaf(given: Mapping[str, Any], path: str, kind: str) -> None:
    known = _PARAMETERS[KINDS[kind]]
    for name in given:
        if name == "type" or name in _PASSIVE or (name in known and (name != "format" or kind == "date")):
            continue
        raise Invalid("mapping", f"unknown parameter [{name}] on mapper [{path}] of type [{kind}]")
    if "format" in given:
        dates.check_format(str(given["format"]))
    above = given.get("ignore_above", 0)
    if not isinstance(above, int) or above < 0:
        raise Invalid("mapping", f"[ignore_above] must be a positive number, not [{above}]")
    if isinstance(given.get("null_value"), Mapping | list):
        raise Invalid("mapping", f"[null_value] of [{path}] must be a single value")
    fields = given.get("fields") or {}
    if not isinstance(fields, Mapping):
        raise Invalid("mapping", f"expected map for property [fields] on field [{path}]")
    for name, sub in fields.items():
        if (
            not isinstance(sub, Mapping)
            or "type" not in sub
            or "fields" in sub
            or "." in name
            or sub["type"] == "object"
        ):
            raise Invalid("mapping", f"[fields] of [{path}]: [{name}] must have a type, and no fields of its own")
        _field(None, sub, f"{path}.{name}", 0)
