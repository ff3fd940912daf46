"""Filter policies and patterns: the grammar as a table, and SNS's words for what it refuses."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from ipaddress import ip_address, ip_network
from typing import Any, Final

import pytest

from sluiceway.core.filters import matcher, parse_policy, patterns_matcher
from sluiceway.errors import Invalid


def attribute(value: Any) -> dict[str, str]:
    if isinstance(value, list):
        return {"Type": "String.Array", "Value": json.dumps(value)}
    if isinstance(value, int | float):
        return {"Type": "Number", "Value": str(value)}
    return {"Type": "String", "Value": value}


ON_ATTRIBUTES = [
    ({"store": ["a"]}, {"store": "a"}, True),
    ({"store": ["a"]}, {"store": "A"}, False),
    ({"store": ["a", "b"]}, {"store": "b"}, True),
    ({"store": ["a"]}, {}, False),
    ({"store": ["a"], "price": [1]}, {"store": "a"}, False),
    ({"store": ["a"]}, {"store": ["x", "a"]}, True),
    ({"price": [100]}, {"price": 100.0}, True),
    ({"price": ["100"]}, {"price": 100}, False),
    ({"price": [{"numeric": ["=", 301.5]}]}, {"price": 301.50000001}, True),
    ({"price": [{"numeric": [">", 0, "<=", 150]}]}, {"price": 150}, True),
    ({"price": [{"numeric": [">", 0, "<=", 150]}]}, {"price": 0}, False),
    ({"price": [{"numeric": ["<", 10]}]}, {"price": "5"}, False),
    ({"price": [{"numeric": ["<", 10]}]}, {"price": [50, 5]}, True),
    ({"kind": [{"anything-but": ["rugby", "tennis"]}]}, {"kind": "golf"}, True),
    ({"kind": [{"anything-but": ["rugby", "tennis"]}]}, {"kind": "rugby"}, False),
    ({"kind": [{"anything-but": ["rugby", "tennis"]}]}, {"kind": ["rugby", "golf"]}, True),
    ({"kind": [{"anything-but": ["rugby", "tennis"]}]}, {"kind": ["rugby"]}, False),
    ({"kind": [{"anything-but": "rugby"}]}, {}, False),
    ({"kind": [{"anything-but": [100]}]}, {"kind": 101}, True),
    ({"kind": [{"anything-but": {"prefix": "order-"}}]}, {"kind": "order-1"}, False),
    ({"kind": [{"anything-but": {"prefix": "order-"}}]}, {"kind": "data-1"}, True),
    ({"kind": [{"anything-but": {"suffix": ["ball", "is"]}}]}, {"kind": "tennis"}, False),
    ({"kind": [{"prefix": "bas"}]}, {"kind": "baseball"}, True),
    ({"kind": [{"suffix": "ball"}]}, {"kind": "rugby"}, False),
    ({"kind": [{"prefix": {"equals-ignore-case": "BAS"}}]}, {"kind": "baseball"}, True),
    ({"kind": [{"equals-ignore-case": "tennis"}]}, {"kind": "TENNIS"}, True),
    ({"kind": [{"wildcard": "a*c*e"}]}, {"kind": "abcde"}, True),
    ({"kind": [{"wildcard": "a*c*e"}]}, {"kind": "abde"}, False),
    ({"kind": [{"wildcard": "ab*ba"}]}, {"kind": "aba"}, False),
    ({"kind": [{"exists": True}]}, {"kind": "x"}, True),
    ({"kind": [{"exists": False}]}, {"kind": "x"}, False),
    ({"kind": [{"exists": False}]}, {"other": "x"}, True),
    ({"kind": [{"exists": False}]}, {}, False),  # a message without attributes matches nothing
    ({"kind": [{"exists": True}]}, {"kind": [""]}, False),  # "a non-null and non-empty value"
    ({"kind": [{"exists": True}]}, {"kind": [None]}, False),
    ({"kind": [{"exists": True}]}, {"kind": []}, False),
    ({"kind": [{"exists": False}]}, {"kind": []}, True),
    ({"kind": [{"anything-but": ["a"]}, {"exists": False}]}, {"other": "x"}, True),
    ({"kind": [{"anything-but": {"wildcard": "a*z"}}]}, {"kind": "abcz"}, False),
    ({"kind": [{"anything-but": {"wildcard": "a*z"}}]}, {"kind": "abc"}, True),
    ({"kind": [{"anything-but": {"equals-ignore-case": ["A", "B"]}}]}, {"kind": "b"}, False),
    ({"kind": [{"wildcard": "a\\*b*"}]}, {"kind": "a*bc"}, True),  # a star of its own
    ({"kind": [{"wildcard": "a\\*b*"}]}, {"kind": "axbc"}, False),
    ({"kind": [{"wildcard": "a\\\\*"}]}, {"kind": "a\\x"}, True),
    ({"kind": [{"wildcard": "plain"}]}, {"kind": "plain"}, True),
    ({"kind": [{"wildcard": "*"}]}, {"kind": "anything"}, True),
    ({"ip": [{"cidr": "10.0.0.0/24"}]}, {"ip": "10.0.0.77"}, True),
    ({"ip": [{"cidr": "10.0.0.0/24"}]}, {"ip": "10.0.1.0"}, False),
    ({"ip": [{"cidr": "2001:db8::/32"}]}, {"ip": "2001:db8::1"}, True),
    ({"ip": [{"cidr": "10.0.0.0/24"}]}, {"ip": "not an address"}, False),
    ({"flag": [True]}, {"flag": [True]}, True),
    ({"flag": [True]}, {"flag": "true"}, False),
    ({"flag": [None]}, {"flag": [None]}, True),
    ({"s": ["x"], "$or": [{"m": ["CPU"]}, {"n": ["EC2"]}]}, {"s": "x", "n": "EC2"}, True),
    ({"s": ["x"], "$or": [{"m": ["CPU"]}, {"n": ["EC2"]}]}, {"s": "x", "n": "ES"}, False),
    ({"$or": ["a", "b"]}, {"$or": "b"}, True),
]


@pytest.mark.parametrize(("policy", "given", "expected"), ON_ATTRIBUTES)
def test_policies_on_attributes(policy: dict[str, Any], given: dict[str, Any], expected: bool) -> None:
    parse_policy(json.dumps(policy), "MessageAttributes")
    matches = matcher({"attributes": policy})
    assert matches is not None
    event = {"message": "m", "attributes": {name: attribute(value) for name, value in given.items()}}
    assert matches(event) is expected


def test_a_binary_attribute_exists_and_equals_nothing() -> None:
    event = {"attributes": {"kind": {"Type": "Binary", "Value": "YQ=="}}}
    exists, equal = (
        matcher({"attributes": {"kind": [{"exists": True}]}}),
        matcher({"attributes": {"kind": ["YQ=="]}}),
    )
    assert exists is not None and exists(event)
    assert equal is not None and not equal(event)


ON_BODY = [
    ({"a": {"b": ["x"]}}, {"a": {"b": "x"}}, True),
    ({"a": {"b": ["x"]}}, {"a": "x"}, False),
    ({"a": {"b": [{"exists": False}]}}, {"a": {"c": 1}}, True),
    ({"a": {"b": [{"exists": False}]}}, {}, True),
    ({"a": [{"exists": True}]}, {"a": {"b": 1}}, False),  # leaves only
    ({"a": [None]}, {"a": None}, True),
    ({"a": [1]}, {"a": True}, False),
    ({"Records": {"s3": {"key": [{"suffix": ".jpg"}]}}}, {"Records": [{"s3": {"key": "a.jpg"}}]}, True),
    ({"R": {"a": [1], "b": [2]}}, {"R": [{"a": 1, "b": 0}, {"a": 0, "b": 2}]}, False),  # one element, whole
    ({"R": {"a": [1], "b": [2]}}, {"R": [{"a": 1, "b": 0}, {"a": 1, "b": 2}]}, True),
    ({"a": {"$or": [{"b": [1]}, {"c": [2]}]}}, {"a": {"c": 2}}, True),
]


@pytest.mark.parametrize(("policy", "body", "expected"), ON_BODY)
def test_policies_on_the_body(policy: dict[str, Any], body: Any, expected: bool) -> None:
    parse_policy(json.dumps(policy), "MessageBody")
    matches = matcher({"body": policy})
    assert matches is not None
    assert matches({"message": json.dumps(body)}) is expected


@pytest.mark.parametrize("message", ["not json", "[1]", '"x"', "[" * 5000])
def test_a_body_that_is_no_object_never_matches(message: str) -> None:
    matches = matcher({"body": {"a": [{"exists": False}]}})
    assert matches is not None
    assert matches({"message": message}) is False


def test_one_of_lambdas_patterns_is_enough() -> None:
    matches = patterns_matcher([{"eventName": ["INSERT"]}, {"dynamodb": {"Keys": {"id": {"S": [{"prefix": "a"}]}}}}])
    assert matches({"eventName": "INSERT"})
    assert matches({"eventName": "REMOVE", "dynamodb": {"Keys": {"id": {"S": "abc"}}}})
    assert not matches({"eventName": "REMOVE", "dynamodb": {"Keys": {"id": {"S": "bc"}}}})


def test_no_filter_is_no_predicate() -> None:
    assert matcher(None) is None


REFUSED = [
    ("{", "MessageBody", "failed to parse JSON"),
    ("[]", "MessageBody", "must be a JSON object"),
    ('{"a": "x"}', "MessageBody", '"a" must be an object or an array'),
    ('{"a": []}', "MessageBody", "Empty arrays are not allowed"),
    ('{"a": {}}', "MessageBody", "Empty objects are not allowed"),
    ('{"a": [["x"]]}', "MessageBody", "Match value must be String, number, true, false, or null"),
    ('{"a": [{"sufix": "x"}]}', "MessageBody", "Unrecognized match type sufix"),
    ('{"a": [{"prefix": 1}]}', "MessageBody", "prefix match pattern must be a string"),
    ('{"a": [{"exists": "yes"}]}', "MessageBody", "exists match pattern must be either true or false."),
    ('{"a": [{"numeric": 5}]}', "MessageBody", "Value of numeric must be an array."),
    ('{"a": [{"numeric": ["<", "5"]}]}', "MessageBody", "Value of < must be numeric"),
    ('{"a": [{"numeric": ["~", 5]}]}', "MessageBody", "Unrecognized numeric range operator: ~"),
    ('{"a": [{"numeric": [">", 5, "<", 5]}]}', "MessageBody", "Bottom must be less than top"),
    ('{"a": [{"numeric": ["<", 5, ">", 1]}]}', "MessageBody", "Bad numeric range operator"),
    ('{"a": [{"numeric": ["=", 2000000000]}]}', "MessageBody", "between -1.0E9 and 1.0E9"),
    ('{"a": [{"anything-but": []}]}', "MessageBody", "Value of anything-but must be"),
    ('{"a": [{"anything-but": ["x", 1]}]}', "MessageBody", "Value of anything-but must be"),
    ('{"a": [{"anything-but": [true]}]}', "MessageBody", "Value of anything-but must be"),
    ('{"a": [{"anything-but": {"prefix": []}}]}', "MessageBody", "Empty arrays are not allowed"),
    ('{"a": [{"anything-but": {"numeric": ["=", 1]}}]}', "MessageBody", "Unrecognized match type numeric"),
    ('{"a": [{"wildcard": "a\\\\b"}]}', "MessageBody", "Invalid escape character at pos 1"),
    ('{"a": [{"wildcard": "a\\\\"}]}', "MessageBody", "Invalid escape character at pos 1"),
    (json.dumps({"a": [{"wildcard": "*x" * 101}]}), "MessageBody", "Rule is too complex"),
    ('{"a":' * 300 + "[1]" + "}" * 300, "MessageBody", "too complex"),
    ('{"a":' * 5000 + "[1]" + "}" * 5000, "MessageBody", "Filter"),
    ('{"$or":[' * 450 + '{"a":[1]}' + ',{"b":[1]}]}' * 450, "MessageAttributes", "too complex"),
    ('{"$or":[' * 450 + '{"a":[1]}' + ',{"b":[1]}]}' * 450, "MessageBody", "too complex"),
    ('{"a": [{"numeric": ["=", NaN]}]}', "MessageBody", "between -1.0E9 and 1.0E9"),
    ('{"a": [{"numeric": [">", 1, "<", 5, "<", 9]}]}', "MessageBody", "Too many elements"),
    ('{"a": [{"numeric": []}]}', "MessageBody", "Numeric expression"),
    ('{"a": [{}]}', "MessageBody", "Only one key allowed"),
    ('{"a": [{"cidr": "10.0.0.0/99"}]}', "MessageBody", "Malformed CIDR"),
    ('{"a": [{"cidr": "10.0.0.1"}]}', "MessageBody", "Malformed CIDR"),
    ('{"a": [{"wildcard": "a**"}]}', "MessageBody", "Consecutive wildcard"),
    ('{"a": [{"prefix": "a", "suffix": "b"}]}', "MessageBody", "Only one key allowed"),
    ('{"a": {"b": ["x"]}}', "MessageAttributes", "does not support nested filter policy"),
    ('{"a":[1],"b":[1],"c":[1],"d":[1],"e":[1],"f":[1]}', "MessageBody", "can not have more than 5 keys"),
    (json.dumps({name: list(range(13)) for name in "ab"}), "MessageAttributes", "too complex"),
    (json.dumps({"a": {"b": {"c": list(range(60))}}}), "MessageBody", "too complex"),
]


@pytest.mark.parametrize(("text", "scope", "words"), REFUSED)
def test_what_sns_refuses(text: str, scope: str, words: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse_policy(text, scope)
    assert caught.value.kind == "filter"
    assert words in caught.value.message and caught.value.message.startswith("FilterPolicy: ")


def test_a_message_nested_without_end_is_looked_at_without_recursion() -> None:
    matches = matcher({"body": {"a": [1]}})
    assert matches is not None
    assert matches({"message": '{"a": ' + "[" * 900 + "1" + "]" * 900 + "}"}) is True


@pytest.mark.parametrize(("given", "bound"), [("+5", 5), (".5", 0.5), ("05", 5), ("1e2", 100)])
def test_numbers_are_compared_as_numbers_however_they_are_written(given: str, bound: float) -> None:
    matches = matcher({"attributes": {"n": [{"numeric": ["=", bound]}]}})
    assert matches is not None
    assert matches({"attributes": {"n": {"Type": "Number.custom", "Value": given}}})


# -- every operator, beside an evaluator that is written to be read and not to be fast

WORDS: Final = ["", "a", "ab", "abc", "B", "b", "a*", "10.0.0.1", "10.0.0.200"]
LEAVES: Final = [None, True, False, 0, 1, 1.5, -3, 100, *WORDS]
NAMES: Final = ["p", "q", "r"]


def text_holds(kind: str, operand: Any, value: Any) -> bool:
    if not isinstance(value, str):
        return False
    if kind in ("prefix", "suffix") and isinstance(operand, dict):
        return text_holds(kind, operand["equals-ignore-case"].lower(), value.lower())
    if kind == "wildcard":
        return re.fullmatch(".*".join(map(re.escape, operand.split("*"))), value, re.DOTALL) is not None
    if kind == "equals-ignore-case":
        return value.lower() == operand.lower()
    return value.startswith(operand) if kind == "prefix" else value.endswith(operand)


def same(operand: Any, value: Any) -> bool:
    if isinstance(operand, bool) or operand is None or isinstance(operand, str):
        return type(operand) is type(value) and operand == value
    return type(value) in (int, float) and value == operand


def holds(condition: Any, value: Any) -> bool:
    if not isinstance(condition, dict):
        return same(condition, value)
    [(kind, operand)] = condition.items()
    if kind == "anything-but":
        if isinstance(operand, dict):
            [(inner, texts)] = operand.items()
            return not any(text_holds(inner, text, value) for text in (texts if isinstance(texts, list) else [texts]))
        return not any(same(one, value) for one in (operand if isinstance(operand, list) else [operand]))
    if kind == "numeric":
        signs = {"=": "==", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
        pairs = zip(operand[::2], operand[1::2], strict=True)
        return type(value) in (int, float) and all(eval(f"{value} {signs[sign]} {bound}") for sign, bound in pairs)
    if kind == "cidr":
        try:
            return isinstance(value, str) and ip_address(value) in ip_network(operand, strict=False)
        except ValueError:
            return False
    return text_holds(kind, operand, value)


def spread(value: Any) -> list[Any]:
    return [leaf for item in value for leaf in spread(item)] if isinstance(value, list) else [value]


def slowly(policy: dict[str, Any], record: Any) -> bool:
    """What the developer guide says, line by line."""
    record = record if isinstance(record, dict) else {}
    for name, wanted in policy.items():
        if name == "$or":
            if not any(slowly(option, record) for option in wanted):
                return False
        elif isinstance(wanted, dict):
            inner = [item for item in spread(record.get(name)) if isinstance(item, dict)] or [{}]
            if not any(slowly(wanted, item) for item in inner):
                return False
        else:
            found = [] if isinstance(record.get(name), dict) or name not in record else spread(record[name])
            if not any(
                (condition == {"exists": False} and not found)
                or (condition == {"exists": True} and any(value not in (None, "") for value in found))
                or (
                    not (isinstance(condition, dict) and "exists" in condition)
                    and any(holds(condition, v) for v in found)
                )
                for condition in wanted
            ):
                return False
    return True


def random_condition(chance: random.Random) -> Any:
    word, number = chance.choice(WORDS), chance.choice([0, 1, 1.5, -3, 100])
    made: list[Callable[[], Any]] = [
        lambda: chance.choice(LEAVES),
        lambda: {"prefix": chance.choice([word, {"equals-ignore-case": word}])},
        lambda: {"suffix": chance.choice([word, {"equals-ignore-case": word}])},
        lambda: {"equals-ignore-case": word},
        lambda: {"wildcard": chance.choice(["*", "a*", "*b", "a*c", "*b*", "abc", "10.*.1"])},
        lambda: {"cidr": chance.choice(["10.0.0.0/24", "10.0.0.128/25"])},
        lambda: {"exists": chance.choice([True, False])},
        lambda: {"numeric": chance.choice([["=", number], ["<", number], [">=", number], [">", -5, "<=", 1]])},
        lambda: {"anything-but": chance.choice([word, number, [word, "abc"], [number, 1]])},
        lambda: {"anything-but": {chance.choice(["prefix", "suffix", "equals-ignore-case"]): [word, "b"]}},
        lambda: {"anything-but": {"wildcard": chance.choice(["a*", "*b"])}},
    ]
    return chance.choice(made)()


def random_policy(chance: random.Random, depth: int) -> dict[str, Any]:
    policy: dict[str, Any] = {}
    for name in chance.sample(NAMES, chance.randint(1, 2)):
        deeper = depth > 0 and chance.random() < 0.35
        policy[name] = random_policy(chance, depth - 1) if deeper else [
            random_condition(chance) for _ in range(chance.randint(1, 3))
        ]  # fmt: skip
    if chance.random() < 0.25:
        policy["$or"] = [random_policy(chance, 0) for _ in range(2)]
    return policy


def random_record(chance: random.Random, depth: int) -> dict[str, Any]:
    def value() -> Any:
        if depth > 0 and chance.random() < 0.4:
            one = random_record(chance, depth - 1)
            return one if chance.random() < 0.6 else [one, chance.choice(LEAVES), random_record(chance, depth - 1)]
        if chance.random() < 0.3:
            return [chance.choice([*LEAVES, ["abc", 1]]) for _ in range(chance.randint(0, 3))]
        return chance.choice(LEAVES)

    return {name: value() for name in chance.sample(NAMES, chance.randint(0, 3))}


@pytest.mark.parametrize("seed", range(20))
def test_random_policies_match_as_a_plain_reading_of_the_guide_does(seed: int) -> None:
    chance, matched = random.Random(seed), 0
    for _ in range(300):
        policy, record = random_policy(chance, 2), random_record(chance, 2)
        matches = matcher({"body": policy})
        assert matches is not None
        expected = slowly(policy, record)
        assert matches({"message": json.dumps(record)}) is expected, (policy, record)
        matched += expected
    assert 5 < matched < 295
