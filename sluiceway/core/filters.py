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
from functools import lru_cache, partial
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
#: Stars of all patterns of a policy. Matching takes linear time here; AWS refuses costlier policies than this.
WILDCARDS_MAX: Final = 100
_NUMBER_MAX: Final = 10**9
_DEPTH_MAX: Final = 100  # of a pattern: far above what five keys need, far below Python's own limit

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
    text = json.dumps(rule)
    return _matcher(text) if len(text) <= _SHARED_CHARS_MAX else _matcher.__wrapped__(text)


#: Policies are small; a large one (256 KiB at most) is compiled for each subscription, not kept in memory by a thousand.
_SHARED_CHARS_MAX: Final = 8192


@lru_cache(maxsize=1024)
def _matcher(text: str) -> Matches:
    """A thousand subscriptions with one policy share what it was compiled to."""
    rule = json.loads(text)
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
    _compile(policy)  # first: whatever looks at the policy afterwards knows that it is not deep
    if scope == "MessageAttributes" and _nested(policy):
        raise _invalid("Filter policy scope MessageAttributes does not support nested filter policy")
    if _keys(policy) > KEYS_MAX:
        raise _invalid(f"Filter policy can not have more than {KEYS_MAX} keys")
    if text.count("*") > WILDCARDS_MAX and _stars(policy) > WILDCARDS_MAX:
        raise _invalid("Rule is too complex - try using fewer wildcard characters or fewer repeating character "
                       "sequences after a wildcard character")  # fmt: skip
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
    """A message without any attribute matches no policy, not even one that asks for absence (Amazon SNS
    Developer Guide, "Key matching")."""
    attributes = event.get("attributes")
    if not attributes:
        return False
    return matches({name: _attribute_value(attribute) for name, attribute in attributes.items()})


def _attribute_value(attribute: Mapping[str, str]) -> Any:
    """The attribute as JSON: SNS compares String, String.Array and Number, and ignores Binary's content."""
    kind, value = attribute["Type"], attribute["Value"]
    if kind.startswith("Binary"):
        return _Opaque()
    if kind != "String.Array" and not kind.startswith("Number"):
        return value
    try:
        return float(value) if kind.startswith("Number") else json.loads(value)
    except (ValueError, RecursionError):
        return value


class _Opaque:
    """A value that is there and equals nothing."""


def _on_body(matches: Matches, event: Mapping[str, Any]) -> bool:
    body = _body_of(event.get("message") or "")
    return body is not None and matches(body)


@lru_cache(maxsize=16)
def _body_of(message: str) -> dict[str, Any] | None:
    """The JSON object in a message, parsed once for all the subscriptions that look at it one after the other."""
    try:
        body = json.loads(message)
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


# -- objects


def _compile(policy: Any, depth: int = 1) -> Matches:
    if not isinstance(policy, dict):
        raise _invalid("Filter policy must be a JSON object.")
    if depth > _DEPTH_MAX:
        raise _invalid("Filter policy is too complex")
    parts = [_field(name, value, depth) for name, value in policy.items()]
    if len(parts) == 1:
        return parts[0]
    return lambda record: all(part(record) for part in parts)


def _field(name: str, value: Any, depth: int) -> Matches:
    if name == "$or" and _is_or(value):
        options = [_compile(option, depth + 1) for option in value]
        return lambda record: any(option(record) for option in options)
    if isinstance(value, dict):
        if not value:
            raise _invalid("Empty objects are not allowed")
        return partial(_nested_matches, name, _compile(value, depth + 1))
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
        values = (_flat(found) or None) if isinstance(found, list) else (found,)
    return any(condition(values) for condition in conditions)


def _flat(items: Sequence[Any]) -> list[Any]:
    """Elements of arrays in arrays, in order; without recursion, as whoever publishes chooses the depth."""
    flat: list[Any] = []
    waiting = list(reversed(items))
    while waiting:
        item = waiting.pop()
        if isinstance(item, list):
            waiting.extend(reversed(item))
        else:
            flat.append(item)
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
    if operand is True:  # "the key must have a non-null and non-empty value"
        return lambda values: values is not None and any(value is not None and value != "" for value in values)
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
    pieces = _pieces(operand)
    first, last, middle = pieces[0], pieces[-1], pieces[1:-1]
    if len(pieces) == 1:
        return lambda value: isinstance(value, str) and value == first

    def test(value: Any) -> bool:
        if not isinstance(value, str):
            return False
        if len(value) < len(first) + len(last) or not (value.startswith(first) and value.endswith(last)):
            return False
        at, end = len(first), len(value) - len(last)
        for piece in middle:
            at = value.find(piece, at, end)
            if at < 0:
                return False
            at += len(piece)
        return True

    return test


def _pieces(operand: str) -> list[str]:
    """What stands between the stars; a backslash makes a star or a backslash an ordinary character."""
    pieces, escaped, star = [""], False, False
    for at, char in enumerate(operand):
        if escaped:
            if char not in "*\\":
                raise _invalid(f"Invalid escape character at pos {at - 1}")
            pieces[-1] += char
        elif char == "*":
            if star:
                raise _invalid(f"Consecutive wildcard characters at pos {at}")
            pieces.append("")
        elif char != "\\":
            pieces[-1] += char
        star = char == "*" and not escaped
        escaped = char == "\\" and not escaped
    if escaped:
        raise _invalid(f"Invalid escape character at pos {len(operand) - 1}")
    return pieces


def _anything_but(operand: Any) -> _Test:
    """Lists of values, or one nested text operator with one text or several."""
    if isinstance(operand, dict):
        if len(operand) != 1:
            raise _invalid("Only one key allowed in match expression")
        kind, inner = next(iter(operand.items()))
        if inner == []:
            raise _invalid("Empty arrays are not allowed")
        tests = [_text_operator(kind, item) for item in (inner if isinstance(inner, list) else [inner])]
    else:
        items = operand if isinstance(operand, list) else [operand]
        if not items or not (all(isinstance(item, str) for item in items) or all(map(_is_number, items))):
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


def _stars(value: Any) -> int:
    if isinstance(value, dict):
        inner = sum(_stars(item) for item in value.values())
        patterns = value.get("wildcard", ())
        return inner + str(patterns).count("*")
    return sum(_stars(item) for item in value) if isinstance(value, list) else 0


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
