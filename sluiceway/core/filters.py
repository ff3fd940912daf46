"""Event filters, compiled once to a predicate.

A reaction's filter is one of

* ``{"attributes": POLICY}``: an SNS filter policy on a message's attributes (``FilterPolicyScope``
  MessageAttributes), where the event is a topic's message with "attributes" {name: {"Type", "Value"}};
* ``{"body": POLICY}``: an SNS filter policy on the JSON in the event's "message" (MessageBody);
* ``{"patterns": [PATTERN, ...]}``: Lambda's event filter patterns on the event itself; one must match;
* ``{"stream": [PATTERN, ...]}``: the same on a data stream's record {"key", "data" (base64)}, which a pattern
  knows as {"partitionKey", "data"}.

The grammar of all three is that of event patterns (Amazon SNS Developer Guide, "Subscription filter
policies"; AWS Lambda Developer Guide, "Event filtering"). A policy is compiled to nested closures over
plain JSON values: a field is a list of the values found there (an array matches if one element does), or
None where the field is absent.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from ipaddress import ip_address, ip_network
from typing import Any, Final

from sluiceway.errors import Invalid

Matches = Callable[[Any], bool]
_Values = Sequence[Any] | None
_Condition = Callable[[_Values], bool]
_Test = Callable[[Any], bool]  # on one value

#: SNS's limits ("Filter policy constraints").
KEYS_MAX: Final = 5
COMBINATIONS_MAX: Final = 150
_NUMBER_MAX: Final = 10**9

_COMPARE: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "=": lambda value, bound: value == bound,
    "<": lambda value, bound: value < bound,
    "<=": lambda value, bound: value <= bound,
    ">": lambda value, bound: value > bound,
    ">=": lambda value, bound: value >= bound,
}


def matcher(rule: Mapping[str, Any] | None) -> Matches | None:
    """The predicate of a reaction's filter; None for None (everything matches).

    Raises ``Invalid("filter")``.
    """
    if rule is None:
        return None
    if "attributes" in rule:
        return partial(_on_attributes, _compile(rule["attributes"]))
    if "body" in rule:
        return partial(_on_body, _compile(rule["body"]))
    if "patterns" in rule:
        return patterns_matcher(rule["patterns"])
    if "stream" in rule:
        return partial(_on_record, patterns_matcher(rule["stream"]))
    raise Invalid("filter", f"A filter of an unknown form: {', '.join(rule) or 'empty'}")


def patterns_matcher(patterns: Sequence[Any]) -> Matches:
    """Whether a record matches one of Lambda's patterns (JSON objects). Raises ``Invalid("filter")``."""
    compiled = [_compile(pattern) for pattern in patterns]
    return lambda record: any(matches(record) for matches in compiled)


def parse_policy(text: str, scope: str) -> dict[str, Any]:
    """An SNS filter policy from its JSON, checked as SNS checks it.

    ``scope`` is "MessageAttributes" or "MessageBody". Raises ``Invalid("filter")`` in SNS's words.
    """
    try:
        policy = json.loads(text)
    except (ValueError, RecursionError):
        raise _invalid("failed to parse JSON.") from None
    if not isinstance(policy, dict):
        raise _invalid("Filter policy must be a JSON object.")
    if scope == "MessageAttributes" and _nested(policy):
        raise _invalid("Filter policy scope MessageAttributes does not support nested filter policy")
    _compile(policy)
    if _keys(policy) > KEYS_MAX:
        raise _invalid(f"Filter policy can not have more than {KEYS_MAX} keys")
    if _combinations(policy, 1, scope == "MessageBody") > COMBINATIONS_MAX:
        raise _invalid("Filter policy is too complex")
    return policy


def content(text: str) -> Any:
    """What a pattern sees of a message's body or a record's data: a JSON object, or else the plain text."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return found if isinstance(found, dict) else text


# -- what is looked at


def _on_record(matches: Matches, event: Mapping[str, Any]) -> bool:
    view: dict[str, Any] = {"partitionKey": event["key"]}
    try:
        view["data"] = content(base64.b64decode(event["data"]).decode())
    except ValueError:
        view["data"] = _Opaque()
    return matches(view)


def _on_attributes(matches: Matches, event: Mapping[str, Any]) -> bool:
    attributes = event.get("attributes") or {}
    return matches({name: _attribute_value(attribute) for name, attribute in attributes.items()})


def _attribute_value(attribute: Mapping[str, str]) -> Any:
    """The attribute as JSON: SNS compares String, String.Array and Number, and ignores Binary's content."""
    kind, value = attribute["Type"], attribute["Value"]
    if kind == "String.Array" or kind.startswith("Number"):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return _Opaque() if kind.startswith("Binary") else value


class _Opaque:
    """A value that is there and equals nothing."""


def _on_body(matches: Matches, event: Mapping[str, Any]) -> bool:
    try:
        body = json.loads(event.get("message") or "")
    except (ValueError, RecursionError):
        return False
    return isinstance(body, dict) and matches(body)


# -- objects


def _compile(policy: Any) -> Matches:
    if not isinstance(policy, dict):
        raise _invalid("Filter policy must be a JSON object.")
    parts = [_field(name, value) for name, value in policy.items()]
    return lambda record: all(part(record) for part in parts)


def _field(name: str, value: Any) -> Matches:
    if name == "$or" and _is_or(value):
        options = [_compile(option) for option in value]
        return lambda record: any(option(record) for option in options)
    if isinstance(value, dict):
        if not value:
            raise _invalid("Empty objects are not allowed")
        return partial(_nested_matches, name, _compile(value))
    if not isinstance(value, list):
        raise _invalid(f'"{name}" must be an object or an array')
    if not value:
        raise _invalid("Empty arrays are not allowed")
    conditions = [_condition(item) for item in value]
    return partial(_leaf_matches, name, conditions)


def _is_or(value: Any) -> bool:
    """Otherwise "$or" is an ordinary field name, as documented."""
    return isinstance(value, list) and len(value) >= 2 and all(isinstance(item, dict) and item for item in value)


def _nested_matches(name: str, inner: Matches, record: Any) -> bool:
    value = record.get(name) if isinstance(record, dict) else None
    if isinstance(value, list):
        objects = [item for item in _flat(value) if isinstance(item, dict)]
        return any(inner(item) for item in objects) if objects else inner({})
    return inner(value if isinstance(value, dict) else {})


def _leaf_matches(name: str, conditions: Sequence[_Condition], record: Any) -> bool:
    values: _Values = None
    if isinstance(record, dict) and name in record and not isinstance(record[name], dict):
        found = record[name]
        values = _flat(found) if isinstance(found, list) else (found,)
    return any(condition(values) for condition in conditions)


def _flat(items: Sequence[Any]) -> list[Any]:
    flat: list[Any] = []
    for item in items:
        flat.extend(_flat(item) if isinstance(item, list) else [item])
    return flat


# -- conditions


def _condition(item: Any) -> _Condition:
    if isinstance(item, dict):
        if len(item) != 1:
            raise _invalid("Only one key allowed in match expression")
        kind, operand = next(iter(item.items()))
        if kind == "exists":
            return _exists(operand)
        return partial(_some, _operator(kind, operand))
    if isinstance(item, list):
        raise _invalid("Match value must be String, number, true, false, or null")
    return partial(_some, _equals(item))


def _some(test: _Test, values: _Values) -> bool:
    return values is not None and any(test(value) for value in values)


def _exists(operand: Any) -> _Condition:
    if operand is True:
        return lambda values: values is not None
    if operand is False:
        return lambda values: values is None
    raise _invalid("exists match pattern must be either true or false.")


def _operator(kind: str, operand: Any) -> _Test:
    if kind == "anything-but":
        return _anything_but(operand)
    if kind == "numeric":
        return _numeric(operand)
    if kind == "cidr":
        return _cidr(operand)
    return _text_operator(kind, operand)


def _text_operator(kind: str, operand: Any) -> _Test:
    if kind not in ("prefix", "suffix", "equals-ignore-case", "wildcard"):
        raise _invalid(f"Unrecognized match type {kind}")
    if isinstance(operand, dict) and kind in ("prefix", "suffix"):
        return _ignoring_case(kind, operand)
    if not isinstance(operand, str):
        raise _invalid(f"{kind} match pattern must be a string")
    if kind == "prefix":
        return lambda value: isinstance(value, str) and value.startswith(operand)
    if kind == "suffix":
        return lambda value: isinstance(value, str) and value.endswith(operand)
    if kind == "wildcard":
        return _wildcard(operand)
    folded = operand.casefold()
    return lambda value: isinstance(value, str) and value.casefold() == folded


def _ignoring_case(kind: str, operand: Mapping[str, Any]) -> _Test:
    """``{"prefix": {"equals-ignore-case": "text"}}``, and the same for a suffix."""
    folded = operand.get("equals-ignore-case")
    if len(operand) != 1 or not isinstance(folded, str):
        raise _invalid(f"{kind} match pattern must be a string")
    test = _text_operator(kind, folded.casefold())
    return lambda value: isinstance(value, str) and test(value.casefold())


def _wildcard(operand: str) -> _Test:
    """ "*" stands for any characters; in linear time, piece by piece, so that no pattern can stall us."""
    if "**" in operand:
        raise _invalid("Consecutive wildcard characters are not allowed")
    pieces = operand.split("*")

    def test(value: Any) -> bool:
        if not isinstance(value, str) or len(pieces) == 1:
            return bool(value == operand)
        first, last = pieces[0], pieces[-1]
        if len(value) < len(first) + len(last) or not (value.startswith(first) and value.endswith(last)):
            return False
        at, end = len(first), len(value) - len(last)
        for piece in pieces[1:-1]:
            at = value.find(piece, at, end)
            if at < 0:
                return False
            at += len(piece)
        return True

    return test


def _anything_but(operand: Any) -> _Test:
    """Lists of values, or one nested text operator with one text or several."""
    if isinstance(operand, dict):
        if len(operand) != 1:
            raise _invalid("Only one key allowed in match expression")
        kind, inner = next(iter(operand.items()))
        tests = [_text_operator(kind, item) for item in (inner if isinstance(inner, list) else [inner])]
    else:
        items = operand if isinstance(operand, list) else [operand]
        if not items or not all(isinstance(item, str | int | float) for item in items):
            raise _invalid("Value of anything-but must be an array or single string/number value.")
        tests = [_equals(item) for item in items]
    return lambda value: not any(test(value) for test in tests)


def _equals(expected: Any) -> _Test:
    """JSON equality: 1 equals 1.0, but neither true nor "1"."""
    if expected is None or isinstance(expected, bool):
        return lambda value: value is expected
    if isinstance(expected, int | float):
        number = _number(expected)
        return lambda value: _is_number(value) and round(value, 5) == number
    return lambda value: isinstance(value, str) and value == expected


def _numeric(operand: Any) -> _Test:
    if not isinstance(operand, list):
        raise _invalid("Value of numeric must be an array.")
    if len(operand) not in (2, 4):
        raise _invalid("Too many elements in numeric expression" if len(operand) > 4 else
                       "Numeric expression needs an operator and a number")  # fmt: skip
    tests: list[tuple[Callable[[float, float], bool], float]] = []
    for sign, bound in zip(operand[::2], operand[1::2], strict=True):
        if not isinstance(sign, str) or sign not in _COMPARE:
            raise _invalid(f"Unrecognized numeric range operator: {sign}")
        if not _is_number(bound):
            raise _invalid(f"Value of {sign} must be numeric")
        tests.append((_COMPARE[sign], _number(bound)))
    if len(operand) == 4:
        _check_range(operand)
    return lambda value: _is_number(value) and all(compare(round(value, 5), bound) for compare, bound in tests)


def _check_range(operand: Sequence[Any]) -> None:
    if operand[0] not in (">", ">=") or operand[2] not in ("<", "<="):
        raise _invalid("Bad numeric range operator: a range is > or >= followed by < or <=")
    if operand[1] >= operand[3]:
        raise _invalid("Bottom must be less than top")


def _number(value: float) -> float:
    if not -_NUMBER_MAX <= value <= _NUMBER_MAX:
        raise _invalid("Numeric values must be between -1.0E9 and 1.0E9, inclusive")
    return round(value, 5)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _cidr(operand: Any) -> _Test:
    if not isinstance(operand, str) or operand.count("/") != 1:
        raise _invalid("Malformed CIDR, one '/' required")
    try:
        network = ip_network(operand, strict=False)
    except ValueError:
        raise _invalid(f"Malformed CIDR: {operand}") from None

    def test(value: Any) -> bool:
        try:
            return isinstance(value, str) and ip_address(value) in network
        except ValueError:
            return False

    return test


# -- SNS's limits


def _nested(policy: Mapping[str, Any]) -> bool:
    for name, value in policy.items():
        if isinstance(value, dict):
            return True
        if name == "$or" and _is_or(value) and any(_nested(option) for option in value):
            return True
    return False


def _keys(policy: Mapping[str, Any]) -> int:
    """Leaf fields; of alternatives the one with the most counts."""
    count = 0
    for name, value in policy.items():
        if name == "$or" and _is_or(value):
            count += max(_keys(option) for option in value)
        else:
            count += _keys(value) if isinstance(value, dict) else 1
    return count


def _combinations(policy: Mapping[str, Any], depth: int, weighted: bool) -> int:
    """The product of the fields' values; for a body each field weighs its depth; alternatives add up."""
    total = 1
    for name, value in policy.items():
        if name == "$or" and _is_or(value):
            total *= sum(_combinations(option, depth, weighted) for option in value)
        elif isinstance(value, dict):
            total *= _combinations(value, depth + 1, weighted)
        else:
            total *= len(value) * (depth if weighted else 1)
    return total


def _invalid(reason: str) -> Invalid:
    return Invalid("filter", f"FilterPolicy: {reason}")
