"""Applying an update expression (Developer Guide, "Using update expressions in DynamoDB")."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Final

from sluiceway.core.attribute_values import Item, Value, check_depth, sorted_set, total
from sluiceway.core.expressions.conditions import Environment
from sluiceway.core.expressions.parser import Node, Parsed
from sluiceway.core.expressions.paths import Steps, find, overlapping
from sluiceway.errors import Invalid

_BAD_PATH = "The document path provided in the update expression is invalid for update"


def _wrong(text: str) -> Invalid:
    return Invalid("expression", f"Invalid UpdateExpression: {text}")


def updated(item: Item, update: Parsed, env: Environment, keys: frozenset[str]) -> tuple[Item, frozenset[str]]:
    """The new item, and the top-level names that the update touched. ``keys`` must not be among them.

    Every operand is read from the item as it was. Raises ``Invalid("expression")``.
    """
    actions = [(node[0], env.steps(node[1]), node[2] if len(node) > 2 else None) for node in update.tree]
    _check_paths([steps for _, steps, _ in actions], keys)
    found = [(kind, steps, _operand(kind, steps, rest, item, env)) for kind, steps, rest in actions]
    made = dict(item)
    for name in {str(steps[0]) for _, steps, _ in actions if len(steps) > 1} & made.keys():
        made[name] = copy.deepcopy(made[name])
    # In the order of their indexes, as what is beyond a list's end is appended in it.
    for _, steps, value in sorted(found, key=lambda action: _order(action[1])):
        if value is not None:
            _put(made, steps, value)
    # From the end, so that the indexes of what is removed stay what they were.
    for steps in sorted((s for _, s, value in found if value is None), key=_order, reverse=True):
        _drop(made, steps)
    for name in {str(steps[0]) for _, steps, _ in actions} & made.keys():
        check_depth(made[name])
    return made, frozenset(str(steps[0]) for _, steps, _ in actions)


def _check_paths(paths: list[Steps], keys: frozenset[str]) -> None:
    for at, one in enumerate(paths):
        if one[0] in keys:
            raise Invalid(
                "value",
                "One or more parameter values were invalid: Cannot update attribute "
                f"{one[0]}. This attribute is part of the key",
            )
        for other in paths[at + 1 :]:
            if overlapping(one, other):
                raise _wrong(
                    "Two document paths overlap with each other; must remove or rewrite one of these paths; "
                    f"path one: {_shown(one)}, path two: {_shown(other)}"
                )


def _shown(steps: Steps) -> str:
    return "[" + ", ".join(f"[{step}]" if isinstance(step, int) else step for step in steps) + "]"


def _order(steps: Steps) -> list[tuple[int, Any]]:
    return [(1, step) if isinstance(step, int) else (0, step) for step in steps]


def _operand(kind: str, steps: Steps, rest: Node | None, item: Item, env: Environment) -> Value | None:
    if rest is None:
        return None
    if kind == "set":
        return _value(rest, item, env)
    given, old = env.value(rest[1]), find(item, steps)
    return _added(old, given) if kind == "add" else _deleted(old, given)


def _value(node: Node, item: Item, env: Environment) -> Value:
    kind = node[0]
    if kind == "value":
        return env.value(node[1])
    if kind == "path":
        found = find(item, env.steps(node))
        if found is None:
            raise Invalid("value", "The provided expression refers to an attribute that does not exist in the item")
        return found
    if kind == "if_not_exists":
        found = find(item, env.steps(node[1]))
        return found if found is not None else _value(node[2], item, env)
    if kind == "list_append":
        first, second = _value(node[1], item, env), _value(node[2], item, env)
        if "L" not in first or "L" not in second:
            raise _operand_type("list_append", first if "L" not in first else second)
        return {"L": first["L"] + second["L"]}
    left, right = _value(node[2], item, env), _value(node[3], item, env)
    if "N" not in left or "N" not in right:
        raise _operand_type(node[1], left if "N" not in left else right)
    return _sum(left, right, 1 if node[1] == "+" else -1)


def _operand_type(operator: str, value: Value) -> Invalid:
    kind = next(iter(value))
    return Invalid(
        "value",
        "An operand in the update expression has an incorrect data type"
        if operator in "+-"
        else f"Invalid UpdateExpression: Incorrect operand type for operator or function; operator or function: {operator}, "
        f"operand type: {kind}",
    )


def _sum(left: Value, right: Value, sign: int) -> Value:
    return {"N": total(left["N"], right["N"], sign)}


def _added(old: Value | None, given: Value) -> Value:
    kind = next(iter(given))
    if kind not in ("N", "SS", "NS", "BS"):
        raise _wrong(
            f"Incorrect operand type for operator or function; operator: ADD, operand type: {_TYPE_NAMES.get(kind, kind)}"
        )
    if old is None:
        return given
    if kind not in old:
        raise Invalid("value", "An operand in the update expression has an incorrect data type")
    if kind == "N":
        return _sum(old, given, 1)
    return {kind: sorted_set(kind, {*old[kind], *given[kind]})}


def _deleted(old: Value | None, given: Value) -> Value | None:
    kind = next(iter(given))
    if kind not in ("SS", "NS", "BS"):
        raise _wrong(
            f"Incorrect operand type for operator or function; operator: DELETE, operand type: {_TYPE_NAMES.get(kind, kind)}"
        )
    if old is None:
        return None
    if kind not in old:
        raise Invalid("value", "An operand in the update expression has an incorrect data type")
    left = {*old[kind]} - {*given[kind]}
    return {kind: sorted_set(kind, left)} if left else None


_TYPE_NAMES: Final[Mapping[str, str]] = {
    "S": "STRING",
    "N": "NUMBER",
    "B": "BINARY",
    "BOOL": "BOOLEAN",
    "L": "LIST",
    "M": "MAP",
}


def _put(item: Item, steps: Steps, value: Value) -> None:
    if len(steps) == 1:
        item[str(steps[0])] = value
        return
    parent, last = find(item, steps[:-1]), steps[-1]
    if parent is not None and isinstance(last, int) and "L" in parent:
        members = parent["L"]
        if last < len(members):
            members[last] = value
        else:
            members.append(value)
    elif parent is not None and isinstance(last, str) and "M" in parent:
        parent["M"][last] = value
    else:
        raise Invalid("value", _BAD_PATH)


def _drop(item: Item, steps: Steps) -> None:
    if len(steps) == 1:
        item.pop(str(steps[0]), None)
        return
    parent, last = find(item, steps[:-1]), steps[-1]
    if parent is None:
        raise Invalid("value", _BAD_PATH)
    if isinstance(last, int) and "L" in parent:
        if last < len(parent["L"]):
            del parent["L"][last]
    elif isinstance(last, str) and "M" in parent:
        parent["M"].pop(last, None)
    else:
        raise Invalid("value", _BAD_PATH)
