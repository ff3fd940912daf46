"""Filter policies and patterns: the grammar as a table, and SNS's words for what it refuses."""

from __future__ import annotations

import json
from typing import Any

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
    ({"kind": [{"exists": False}]}, {}, True),
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
