"""The tags that a request brings, as policies know them (IAM User Guide, "aws:RequestTag/tag-key", "aws:TagKeys").

Every service has its own form: a map, or a list of keys with values; and what is to be removed is a list of keys.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

_MEMBERS: Final = ("Tags", "tags", "TagList")


def tags_of(params: Mapping[str, Any]) -> dict[str, list[str]]:
    """The condition keys of the tags in ``params``; none where it has none."""
    pairs = [pair for member in _MEMBERS if member in params for pair in _pairs(params[member])]
    names = [name for name, _ in pairs] + [str(name) for name in params.get("TagKeys") or ()]
    if not names:
        return {}
    return {"aws:TagKeys": names} | {f"aws:RequestTag/{name}": [value] for name, value in pairs}


def _pairs(given: Any) -> Iterator[tuple[str, str]]:
    if isinstance(given, Mapping):
        for name, value in given.items():
            yield str(name), str(value)
    elif isinstance(given, list):
        for tag in given:
            if isinstance(tag, Mapping):
                name = tag.get("Key", tag.get("TagKey", ""))
                yield str(name), str(tag.get("Value", tag.get("TagValue", "")))
