"""Document paths: where in an item something is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sluiceway.core.attribute_values import Item, Value

Steps = tuple[str | int, ...]


def find(item: Item, steps: Steps) -> Value | None:
    """The value at ``steps`` (names and list indexes), or None."""
    value = item.get(steps[0])  # type: ignore[arg-type]
    for step in steps[1:]:
        if value is None:
            return None
        if isinstance(step, int):
            members = value.get("L")
            value = members[step] if members is not None and step < len(members) else None
        else:
            members = value.get("M")
            value = members.get(step) if members is not None else None
    return value


def project(item: Item, paths: Iterable[Steps]) -> Item:
    """Only what is at ``paths``; elements of lists close up in their order."""
    tree: dict[Any, Any] = {}
    for steps in paths:
        node = tree
        for step in steps[:-1]:
            following = node.setdefault(step, {})
            if following is True:
                break
            node = following
        else:
            node[steps[-1]] = True
    made: Item = {}
    for name, wanted in tree.items():
        found = item.get(name)
        kept = _kept(found, wanted) if found is not None else None
        if kept is not None:
            made[name] = kept
    return made


def _kept(value: Value, wanted: Any) -> Value | None:
    if wanted is True:
        return value
    if "L" in value:
        members = value["L"]
        found = [
            _kept(members[step], wanted[step])
            for step in sorted(k for k in wanted if isinstance(k, int))
            if step < len(members)
        ]
        kept = [one for one in found if one is not None]
        return {"L": kept} if kept else None
    if "M" in value:
        inner = {name: _kept(value["M"][name], rest) for name, rest in wanted.items() if name in value["M"]}
        inner = {name: one for name, one in inner.items() if one is not None}
        return {"M": inner} if inner else None
    return None


def overlapping(one: Steps, other: Steps) -> bool:
    """Whether one of the two is the other, or leads to it."""
    shorter = min(len(one), len(other))
    return one[:shorter] == other[:shorter]
