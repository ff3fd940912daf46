"""Documents as values in columns, growing the mapping where it is dynamic.

(Elasticsearch reference 7.10, "Dynamic mapping", "Field datatypes".)
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from sluiceway.core.search import analysis, dates
from sluiceway.core.search.index import Scalar, Text
from sluiceway.core.search.mapping import FLOATS, INTEGERS, Branch, Fields, Leaf
from sluiceway.errors import Invalid

KEYWORD_BYTES_MAX: Final = 32_766  # Lucene's longest term
_DYNAMIC_TEXT: Final = ("text", "keyword", 256)


@dataclass(slots=True)
class Flat:
    """A document's values by column, and the fields that it has values in."""

    columns: dict[str, list[Scalar | Text]] = field(default_factory=dict)
    paths: set[str] = field(default_factory=set)


def flatten(fields: Fields, source: Any, id: str, depth_max: int) -> Flat:
    """The values of ``source``. What it has that ``fields`` doesn't know is added there.

    Raises ``Invalid("document" | "strict")``.
    """
    if not isinstance(source, dict):
        raise Invalid("document", "failed to parse: a document is a JSON object")
    flat = Flat()
    _object(_Walk(fields, flat, id, depth_max), fields.root, source, 0)
    return flat


@dataclass(frozen=True, slots=True)
class _Walk:
    fields: Fields
    flat: Flat
    id: str
    depth_max: int


def _object(walk: _Walk, branch: Branch, source: dict[str, Any], depth: int) -> None:
    if depth > walk.depth_max:
        raise Invalid("document", f"The depth of the document has exceeded the allowed limit of [{walk.depth_max}]")
    if not branch.enabled:
        return
    for key, value in source.items():
        name, inner = key, value
        if "." in key:
            name, _, rest = key.partition(".")
            inner = {rest: value}
        if not name.strip():
            raise Invalid("document", f"field name cannot be an empty string or only whitespace: [{key[:100]}]")
        _member(walk, branch, name, inner, depth)


def _member(walk: _Walk, branch: Branch, name: str, value: Any, depth: int) -> None:
    child = branch.children.get(name)
    if child is None:
        given = _guess(value)
        if given is None or branch.dynamic == "false":
            return
        if branch.dynamic == "strict":
            raise Invalid("strict", f"mapping set to strict, dynamic introduction of [{name}] within "
                          f"[{branch.path or '_doc'}] is not allowed")  # fmt: skip
        child = walk.fields.define(branch, name, given)
    values = list(_scalars(value)) if isinstance(value, list) else [value]
    for item in values:
        if isinstance(child, Leaf):
            _leaf(walk, child, item)
        elif isinstance(item, dict):
            _object(walk, child, item, depth + 1)
        elif item is not None and child.enabled:
            raise Invalid("document", f"object mapping for [{child.path}] tried to parse field [{name}] as object, but "
                          "found a concrete value")  # fmt: skip


def _scalars(values: list[Any]) -> Iterator[Any]:
    """What stands in lists in lists, in order."""
    waiting = [iter(values)]
    while waiting:
        for item in waiting[-1]:
            if isinstance(item, list):
                waiting.append(iter(item))
                break
            yield item
        else:
            waiting.pop()


def _guess(value: Any) -> dict[str, Any] | None:
    """The definition of a new field with this value; None if the value says nothing."""
    if isinstance(value, list):
        return next((given for item in _scalars(value) if (given := _guess(item)) is not None), None)
    if isinstance(value, bool):
        return {"type": "boolean"}
    if isinstance(value, int):
        return {"type": "long"}
    if isinstance(value, float):
        return {"type": "float"}
    if isinstance(value, dict):
        return {"properties": {}}
    if value is None:
        return None
    if dates.looks_like_date(value):
        return {"type": "date"}
    text, keyword, above = _DYNAMIC_TEXT
    return {"type": text, "fields": {keyword: {"type": keyword, "ignore_above": above}}}


def _leaf(walk: _Walk, leaf: Leaf, value: Any) -> None:
    if value is None:
        value = leaf.given.get("null_value")
        if value is None:
            return
    if isinstance(value, dict):
        raise _refused(walk, leaf, "an object")
    for target in (leaf, *leaf.multi):
        if target.column is None:
            continue
        try:
            made = _value(target, value)
        except (ValueError, OverflowError):
            if str(target.given.get("ignore_malformed", False)).lower() == "true":
                continue
            raise _refused(walk, target, str(value)[:100]) from None
        if made is None:
            continue
        walk.flat.columns.setdefault(target.column, []).append(made)
        _mark(walk.flat.paths, target.path)


def _mark(paths: set[str], path: str) -> None:
    while path and path not in paths:
        paths.add(path)
        path = path.rpartition(".")[0]


def _value(leaf: Leaf, value: Any) -> Scalar | Text | None:
    if leaf.type == "text":
        return Text(text_of(value), leaf.recipe)
    if leaf.type != "keyword":
        return number_of(leaf, value)
    text = text_of(value)
    if 0 < int(leaf.given.get("ignore_above", 0)) < len(text):
        return None
    if len(text.encode("utf-8", "surrogatepass")) > KEYWORD_BYTES_MAX:
        raise Invalid("document", f"Document contains at least one immense term in field=\"{leaf.path}\" (whose UTF8 "
                      f"encoding is longer than the max length {KEYWORD_BYTES_MAX})")  # fmt: skip
    return analysis.normalized(leaf.recipe, text)


def _refused(walk: _Walk, leaf: Leaf, shown: str) -> Invalid:
    return Invalid("document", f"failed to parse field [{leaf.path}] of type [{leaf.type}] in document with id "
                   f"'{walk.id}'. Preview of field's value: '{shown}'")  # fmt: skip


def text_of(value: Any) -> str:
    """A scalar as text and keyword fields index it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else str(value)


def number_of(leaf: Leaf, value: Any) -> int | float | None:
    """A value of a numeric, date or boolean field. Raises ``ValueError``, ``OverflowError``."""
    if leaf.type == "boolean":
        if value in ("", "false") or value is False:
            return 0
        if value == "true" or value is True:
            return 1
        raise ValueError("not a boolean")
    if leaf.type == "date":
        return dates.parse(value, leaf.formats)
    if isinstance(value, bool):
        raise ValueError("a boolean is no number")
    if leaf.type in FLOATS:
        number = float(value)
        if not math.isfinite(number):
            raise ValueError("not finite")
        return number
    whole = _whole(value)
    if not -(1 << INTEGERS[leaf.type]) <= whole < 1 << INTEGERS[leaf.type]:
        raise ValueError(f"out of range for {leaf.type}")
    return whole


def _whole(value: Any) -> int:
    if isinstance(value, str):
        if len(value) > 100:
            raise ValueError("too long")
        try:
            return int(value)
        except ValueError:
            value = float(value)
    return int(value)
