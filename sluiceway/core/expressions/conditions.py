"""Whether a condition holds for an item (Developer Guide, "Condition and filter expressions, operators, and
functions")."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from typing import Any

from sluiceway.core.attribute_values import TYPES, Item, Value, binary_bytes, checked, compare
from sluiceway.core.expressions.parser import Node, Parsed
from sluiceway.core.expressions.paths import Steps, find
from sluiceway.errors import Invalid


class Environment:
    """The names and values that a request gives for the placeholders of its expressions.

    Raises ``Invalid("value")`` for bad values, ``Invalid("expression")`` for placeholders that are missing or
    not used.
    """

    def __init__(
        self,
        names: Mapping[str, str] | None,
        values: Mapping[str, Mapping[str, Any]] | None,
        expressions: Iterable[Parsed | None],
    ) -> None:
        used = [expression for expression in expressions if expression is not None]
        self._names = dict(names or {})
        given = values or {}
        for expression in used:
            self._check(expression, expression.names - self._names.keys(), "name")
            self._check(expression, expression.values - given.keys(), "value")
        _check_unused("Names", self._names, (expression.names for expression in used), bool(used))
        _check_unused("Values", given, (expression.values for expression in used), bool(used))
        self._values = {name: checked(value) for name, value in given.items()}

    @staticmethod
    def _check(expression: Parsed, missing: frozenset[str], what: str) -> None:
        if missing:
            raise Invalid(
                "expression",
                f"Invalid {expression.kind}: An expression attribute {what} used in expression is not defined; "
                f"attribute {what}: {sorted(missing)[0]}",
            )

    def value(self, placeholder: str) -> Value:
        """What ``:x`` stands for."""
        return self._values[placeholder]

    def steps(self, path: Node) -> Steps:
        """A path with its names filled in."""
        return tuple(self._names[step] if isinstance(step, str) and step[0] == "#" else step for step in path[1])


def _check_unused(what: str, given: Mapping[str, Any], used: Iterable[frozenset[str]], any_used: bool) -> None:
    if not given:
        return
    if not any_used:
        raise Invalid("expression", f"ExpressionAttribute{what} can only be specified when using expressions")
    unused = given.keys() - frozenset[str]().union(*used)
    if unused:
        raise Invalid(
            "expression",
            f"Value provided in ExpressionAttribute{what} unused in expressions: keys: {{{', '.join(sorted(unused))}}}",
        )


def holds(node: Node, item: Item, env: Environment) -> bool:
    """Evaluate a condition's tree."""
    kind = node[0]
    if kind == "and":
        return holds(node[1], item, env) and holds(node[2], item, env)
    if kind == "or":
        return holds(node[1], item, env) or holds(node[2], item, env)
    if kind == "not":
        return not holds(node[1], item, env)
    if kind == "compare":
        return _compared(node[1], operand(node[2], item, env), operand(node[3], item, env))
    if kind == "between":
        value, low, high = (operand(part, item, env) for part in node[1:])
        return _compared(">=", value, low) and _compared("<=", value, high)
    if kind == "in":
        value = operand(node[1], item, env)
        return value is not None and any(value == operand(part, item, env) for part in node[2])
    return _function(node[1], node[2], item, env)


def operand(node: Node, item: Item, env: Environment) -> Value | None:
    """The value of a path, placeholder or size."""
    if node[0] == "value":
        return env.value(node[1])
    if node[0] == "path":
        return find(item, env.steps(node))
    measured = operand(node[1], item, env)
    size = None if measured is None else _size(measured)
    return None if size is None else {"N": str(size)}


def _size(value: Value) -> int | None:
    """Of text its characters' UTF-8 bytes, of binary its bytes, of sets and documents their members."""
    kind, content = next(iter(value.items()))
    if kind == "S":
        return len(content.encode("utf-8", "surrogatepass"))
    if kind == "B":
        return binary_bytes(content)
    return len(content) if kind in ("SS", "NS", "BS", "L", "M") else None


def _compared(operator: str, left: Value | None, right: Value | None) -> bool:
    if left is None or right is None:
        return operator == "<>" and left is not right
    if operator == "=":
        return left == right
    if operator == "<>":
        return left != right
    order = compare(left, right)
    if order is None:
        return False
    return {"<": order < 0, "<=": order <= 0, ">": order > 0, ">=": order >= 0}[operator]


def _function(name: str, arguments: tuple[Node, ...], item: Item, env: Environment) -> bool:
    first = operand(arguments[0], item, env)
    if name == "attribute_exists":
        return first is not None
    if name == "attribute_not_exists":
        return first is None
    second = operand(arguments[1], item, env)
    if name == "attribute_type":
        wanted = (second or {}).get("S")
        if wanted not in TYPES:
            raise Invalid("expression", f"Invalid condition: Invalid attribute type name found; type: {wanted}")
        return first is not None and wanted in first
    if first is None or second is None:
        return False
    return _begins(first, second) if name == "begins_with" else _contains(first, second)


def _begins(value: Value, prefix: Value) -> bool:
    if "S" in value and "S" in prefix:
        return bool(value["S"].startswith(prefix["S"]))
    if "B" in value and "B" in prefix:
        return base64.b64decode(value["B"]).startswith(base64.b64decode(prefix["B"]))
    return False


def _contains(value: Value, member: Value) -> bool:
    kind, content = next(iter(value.items()))
    member_kind, wanted = next(iter(member.items()))
    if kind == "L":
        return member in content
    if kind == member_kind == "S":
        return wanted in content
    if kind == member_kind == "B":
        return base64.b64decode(wanted) in base64.b64decode(content)
    return kind == f"{member_kind}S" and kind in ("SS", "NS", "BS") and wanted in content
