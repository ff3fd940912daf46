"""Expressions with their placeholders."""

from __future__ import annotations

from typing import Any

from sluiceway.core import attribute_values as values
from sluiceway.core.expressions import (
    Environment,
    parse_update,
    updated,
)


def change(text: str, item: Any, given: Any = None, names: Any = None, keys: frozenset[str] = frozenset()) -> Any:
    parsed = parse_update(text)
    return updated(values.checked_item(item), parsed, Environment(names, given, [parsed]), keys)[0]
