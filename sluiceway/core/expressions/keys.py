"""Key conditions: which partition, and which range of its sort key (API reference, Query)."""

from __future__ import annotations

from dataclasses import dataclass

from sluiceway.core.attribute_values import Value, compare
from sluiceway.core.expressions.conditions import Environment
from sluiceway.core.expressions.parser import Node, Parsed
from sluiceway.errors import Invalid


@dataclass(frozen=True, slots=True)
class KeyCondition:
    """``operator`` is "", one of = < <= > >=, "between" or "begins_with", with its values."""

    partition: Value
    operator: str = ""
    values: tuple[Value, ...] = ()


def key_condition(parsed: Parsed, env: Environment, partition: str, sort: str | None) -> KeyCondition:
    """What ``parsed`` asks of the keys named ``partition`` and ``sort``. Raises ``Invalid("value")``."""
    found: dict[str, tuple[str, tuple[Value, ...]]] = {}
    for node in _parts(parsed.tree):
        name, operator, values = _part(node, env)
        if name in found:
            raise Invalid("value", "KeyConditionExpressions must only contain one condition per key")
        found[name] = operator, values
    first = found.pop(partition, None)
    if first is None:
        raise Invalid("value", f"Query condition missed key schema element: {partition}")
    if first[0] != "=":
        raise Invalid("value", "Query key condition not supported")
    rest = found.pop(sort, None) if sort is not None else None
    if rest is not None:
        _check_range(*rest)
    if found:
        missing = sort if sort is not None else partition
        raise Invalid("value", f"Query condition missed key schema element: {missing}")
    return KeyCondition(first[1][0], *(rest or ("", ())))


def _check_range(operator: str, values: tuple[Value, ...]) -> None:
    if operator == "begins_with" and not values[0].keys() & {"S", "B"}:
        raise Invalid(
            "value",
            "Invalid KeyConditionExpression: Incorrect operand type for operator or function; operator or function: "
            f"begins_with, operand type: {next(iter(values[0]))}",
        )
    if operator == "between" and compare(*values) == 1:
        raise Invalid(
            "value",
            "Invalid KeyConditionExpression: The BETWEEN operator requires upper bound to be greater than or equal to "
            "lower bound",
        )


def _parts(node: Node) -> list[Node]:
    return [*_parts(node[1]), *_parts(node[2])] if node[0] == "and" else [node]


def _part(node: Node, env: Environment) -> tuple[str, str, tuple[Value, ...]]:
    if node[0] == "compare" and node[1] != "<>":
        operator, path, values = node[1], node[2], (node[3],)
        if path[0] == "value" and node[3][0] == "path":
            turned = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "=": "="}
            operator, path, values = turned[operator], node[3], (path,)
    elif node[0] == "between":
        operator, path, values = "between", node[1], node[2:]
    elif node[0] == "function" and node[1] == "begins_with":
        operator, path, values = "begins_with", node[2][0], node[2][1:]
    else:
        what = {"or": "OR", "not": "NOT", "in": "IN", "compare": "<>"}.get(node[0], str(node[1]))
        raise Invalid("value", f"Invalid operator used in KeyConditionExpression: {what}")
    if path[0] != "path" or len(path[1]) != 1 or any(value[0] != "value" for value in values):
        raise Invalid("value", "Invalid condition in KeyConditionExpression: a key must be compared with a value")
    return str(env.steps(path)[0]), operator, tuple(env.value(value[1]) for value in values)
