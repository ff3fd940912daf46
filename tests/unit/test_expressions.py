"""Expressions: what they mean, and what is refused."""

from __future__ import annotations

import copy
import random
from decimal import Decimal
from typing import Any

import pytest
from helpers.expressions import change

from sluiceway.core import attribute_values as values
from sluiceway.core.expressions import (
    Environment,
    holds,
    key_condition,
    parse_condition,
    parse_projection,
    parse_update,
    project,
    updated,
)
from sluiceway.core.keys import pack
from sluiceway.errors import Invalid, TooLarge


def check(text: str, item: Any, names: Any = None, given: Any = None) -> bool:
    parsed = parse_condition(text)
    return holds(parsed.tree, values.checked_item(item), Environment(names, given, [parsed]))


ITEM: dict[str, Any] = {
    "s": {"S": "hello"},
    "n": {"N": "5"},
    "b": {"B": b"\x01\x02"},
    "t": {"BOOL": True},
    "z": {"NULL": True},
    "l": {"L": [{"N": "1"}, {"M": {"x": {"S": "deep"}}}]},
    "m": {"M": {"a": {"N": "1"}, "b.c": {"S": "dotted"}, "in": {"M": {"er": {"N": "2"}}}}},
    "ss": {"SS": ["p", "q"]},
    "ns": {"NS": ["1", "2"]},
}
NAMES = {"#m": "m", "#a": "a", "#d": "b.c", "#in": "in", "#_1": "er"}
GIVEN: dict[str, Any] = {
    ":1": {"N": "1.0"},
    ":2": {"N": "2"},
    ":5": {"N": "5"},
    ":h": {"S": "hello"},
    ":he": {"S": "he"},
    ":p": {"S": "p"},
    ":b": {"B": b"\x01"},
    ":t": {"BOOL": True},
    ":ty": {"S": "M"},
    ":set": {"SS": ["q", "p"]},
}


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("s = :h", True),
        ("s=:h", True),
        ("s <> :h", False),
        ("missing <> :h", True),
        ("missing = :h", False),
        ("missing < :h", False),
        ("NOT missing < :h", True),
        ("s < :5", False),
        ("s <> :5", True),
        ("n >= :5 and n <= :5", True),
        ("n > :5 OR n < :5", False),
        ("n BETWEEN :1 AND :5", True),
        ("n between :1 and :2", False),
        ("n BETWEEN :1 AND :5 AND s = :h", True),
        ("NOT n BETWEEN :1 AND :5 OR s = :h", True),
        ("n IN (:1, :2, :5)", True),
        ("n IN (:1)", False),
        ("s = :h OR s = :he AND n = :1", True),
        ("(s = :h OR s = :he) AND n = :1", False),
        ("NOT s = :h AND n = :1", False),
        ("NOT (s = :h AND n = :1)", True),
        ("NOT NOT s = :h", True),
        ("#m.#a = :1", True),
        ("#m.a = :1", True),
        ("m.#in.#_1 = :2", True),
        ("attribute_exists(#m.#d)", True),
        ("attribute_exists(m.b.c)", False),
        ("attribute_not_exists ( m.b )", True),
        ("l[0] = :1", True),
        ("l[1].x <> :h", True),
        ("attribute_exists(l[2])", False),
        ("attribute_exists(s.x)", False),
        ("attribute_exists(s[0])", False),
        ("attribute_type(m, :ty)", True),
        ("attribute_type(l, :ty)", False),
        ("begins_with(s, :he)", True),
        ("begins_with(b, :b)", True),
        ("begins_with(missing, :he)", False),
        ("contains(s, :he)", True),
        ("contains(ss, :p)", True),
        ("contains(ns, :1)", True),
        ("contains(ns, :5)", False),
        ("contains(l, :1)", True),
        ("contains(b, :b)", True),
        ("size(s) = :5", True),
        ("size (b) = :2", True),
        ("size(l) = :2 and size(ss) = :2", True),
        ("size(missing) = :2", False),
        (":5 = n", True),
        ("n = size(s)", True),
        ("ss = :set", True),
        ("t = :t", True),
    ],
)
def test_conditions(text: str, wanted: bool) -> None:
    parsed = parse_condition(text)
    names = {name: NAMES[name] for name in parsed.names}
    given = {name: GIVEN[name] for name in parsed.values}
    assert check(text, ITEM, names, given) is wanted


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "a",
        "a =",
        "= :v",
        "a == :v",
        "a = :v AND",
        "a = :v b = :v",
        "a = :v)",
        "(a = :v",
        "a IN :v",
        "a IN ()",
        "a IN (:v,)",
        "a BETWEEN :v",
        "a BETWEEN :v OR :v",
        "nothing(a)",
        "size(a)",
        "size(size(a)) = :v",
        "attribute_exists(:v)",
        "attribute_exists(a, b)",
        "begins_with(a)",
        "a. = :v",
        "a.[1] = :v",
        "a[x] = :v",
        "a[-1] = :v",
        "a[1 = :v",
        "a[9999999999] = :v",
        "# = :v",
        "a = :",
        "a = :v;",
        "1a = :v",
        "é = :v",
        "a = 'text'",
        "NOT",
        "AND = :v",
        "a.or = :v",
        "(" * 200 + "a = :v" + ")" * 200,
        "NOT " * 200 + "a = :v",
        " OR ".join(["a = :v"] * 400),
        "a" * 5000,
        ".".join("a" * 40) + " = :v",
        f"a IN ({', '.join([':v'] * 101)})",
    ],
)
def test_bad_conditions(text: str) -> None:
    with pytest.raises(Invalid, match="Invalid ConditionExpression") as refused:
        parse_condition(text)
    assert refused.value.kind == "expression"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "SET",
        "SET a",
        "SET a = ",
        "SET a = :v,",
        "SET a = :v SET b = :v",
        "SET a = :v + :v + :v",
        "SET a = size(b)",
        "SET a = if_not_exists(:v, :v)",
        "SET a = list_append(b)",
        "SET :v = a",
        "SET set = :v",
        "REMOVE",
        "REMOVE :v",
        "ADD a b",
        "DELETE a",
        "MAKE a = :v",
        "a = :v",
        "SET a = " + "list_append(" * 100 + "a",
    ],
)
def test_bad_updates(text: str) -> None:
    with pytest.raises(Invalid, match="Invalid UpdateExpression"):
        parse_update(text)


def test_placeholders_are_all_there_and_all_used() -> None:
    parsed = parse_condition("#a = :a")
    for names, given, words in (
        (None, {":a": {"S": "x"}}, "attribute name used in expression is not defined; attribute name: #a"),
        ({"#a": "a"}, None, "attribute value used in expression is not defined; attribute value: :a"),
        ({"#a": "a", "#b": "b"}, {":a": {"S": "x"}}, "unused in expressions: keys: {#b}"),
        ({"#a": "a"}, {":a": {"S": "x"}, ":b": {"S": "x"}}, "unused in expressions: keys: {:b}"),
    ):
        with pytest.raises(Invalid, match=words):
            Environment(names, given, [parsed])
    with pytest.raises(Invalid, match="only be specified when using expressions"):
        Environment({"#a": "a"}, None, [None])


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("SET n = n + :2", {"n": {"N": "7"}}),
        ("SET n = n-:2", {"n": {"N": "3"}}),
        ("SET n = :1-:2", {"n": {"N": "-1"}}),
        ("SET x = if_not_exists(x, :1) + :2", {"x": {"N": "3"}}),
        ("SET x = if_not_exists(n, :1)", {"x": {"N": "5"}}),
        ("SET #m.#d = :h", {"m": {"M": {**ITEM["m"]["M"], "b.c": {"S": "hello"}}}}),
        ("SET m.a = m.#in.er + m.a", {"m": {"M": {**ITEM["m"]["M"], "a": {"N": "3"}}}}),
        ("SET l[7] = :2, l[5] = :1", {"l": {"L": [*ITEM["l"]["L"], {"N": "1"}, {"N": "2"}]}}),
        ("SET l[0] = :2 REMOVE l[1]", {"l": {"L": [{"N": "2"}]}}),
        ("REMOVE l[0], l[1]", {"l": {"L": []}}),
        ("REMOVE l[9], missing", {}),
        ("SET s = n, n = s", {"s": {"N": "5"}, "n": {"S": "hello"}}),
        ("ADD n :2, x :2", {"n": {"N": "7"}, "x": {"N": "2"}}),
        ("ADD ss :set", {}),
        ("DELETE ss :set", {"ss": None}),
        ("DELETE missing :set", {}),
        ("set x = :1 remove s delete ss :set add n :1", {"x": {"N": "1"}, "s": None, "ss": None, "n": {"N": "6"}}),
    ],
)
def test_updates(text: str, wanted: dict[str, Any]) -> None:
    parsed = parse_update(text)
    names = {name: NAMES[name] for name in parsed.names}
    before = values.checked_item(ITEM)
    expected = {name: value for name, value in {**before, **wanted}.items() if value is not None}
    env = Environment(names, {name: GIVEN[name] for name in parsed.values}, [parsed])
    kept = copy.deepcopy(before)
    assert updated(before, parsed, env, frozenset())[0] == expected
    assert before == kept, "the item as it was must stay as it was"


@pytest.mark.parametrize(
    "text, words",
    [
        ("SET k = :1", "This attribute is part of the key"),
        ("REMOVE k", "This attribute is part of the key"),
        ("SET m = :1, m.a = :1", "overlap"),
        ("SET l[0] = :1 REMOVE l[0]", "overlap"),
        ("SET x.y = :1", "document path provided in the update expression is invalid"),
        ("SET s.y = :1", "document path provided in the update expression is invalid"),
        ("SET s[0] = :1", "document path provided in the update expression is invalid"),
        ("SET m[0] = :1", "document path provided in the update expression is invalid"),
        ("REMOVE x.y", "document path provided in the update expression is invalid"),
        ("SET x = missing", "does not exist in the item"),
        ("SET x = missing + :1", "does not exist in the item"),
        ("SET x = s + :1", "incorrect data type"),
        ("SET x = list_append(l, :1)", "list_append"),
        ("ADD s :1", "incorrect data type"),
        ("ADD x :h", "operator: ADD, operand type: STRING"),
        ("DELETE n :1", "operator: DELETE, operand type: NUMBER"),
        ("DELETE ns :set", "incorrect data type"),
        ("SET x = :big + :1", "38 significant digits"),
    ],
)
def test_updates_that_do_not_fit(text: str, words: str) -> None:
    parsed = parse_update(text)
    given = {**GIVEN, ":big": {"N": "1E+60"}}
    env = Environment(None, {name: given[name] for name in parsed.values}, [parsed])
    with pytest.raises(Invalid, match=words):
        updated(values.checked_item(ITEM | {"k": {"S": "key"}}), parsed, env, frozenset({"k"}))


def test_a_document_put_into_itself_stops_at_32_levels() -> None:
    item: Any = {"a": {"M": {}}}
    with pytest.raises(Invalid, match="Nesting Levels"):
        for _ in range(40):
            item = change("SET a.b = a", item)
    values.check_depth(item["a"])


def test_projections_keep_the_shape() -> None:
    def shown(text: str, names: Any = None) -> Any:
        parsed = parse_projection(text)
        env = Environment(names, None, [parsed])
        return project(values.checked_item(ITEM), [env.steps(path) for path in parsed.tree])

    assert shown("s, missing") == {"s": {"S": "hello"}}
    assert shown("#m.#d, m.a", {"#m": "m", "#d": "b.c"}) == {"m": {"M": {"b.c": {"S": "dotted"}, "a": {"N": "1"}}}}
    assert shown("l[1].x, l[7]") == {"l": {"L": [{"M": {"x": {"S": "deep"}}}]}}
    assert shown("l[1], l[0]") == {"l": ITEM["l"]}
    assert shown("s.x, m.nothing, l[3]") == {}


@pytest.mark.parametrize(
    "text, words",
    [
        ("s = :s", "missed key schema element: p"),
        ("p > :s", "Query key condition not supported"),
        ("p = :s OR s = :s", "Invalid operator used in KeyConditionExpression: OR"),
        ("p = :s AND NOT s = :s", "Invalid operator used in KeyConditionExpression: NOT"),
        ("p = :s AND s <> :s", "Invalid operator used in KeyConditionExpression: <>"),
        ("p = :s AND contains(s, :s)", "Invalid operator used in KeyConditionExpression: contains"),
        ("p = :s AND x = :s", "missed key schema element: s"),
        ("p = :s AND s > :s AND s < :s", "only contain one condition per key"),
        ("p = :s AND begins_with(s, :n)", "begins_with, operand type: N"),
        ("p = :s AND s BETWEEN :s AND :low", "upper bound"),
        ("p = s", "must be compared with a value"),
    ],
)
def test_bad_key_conditions(text: str, words: str) -> None:
    parsed = parse_condition(text, "KeyConditionExpression")
    given = {":s": {"S": "x"}, ":n": {"N": "1"}, ":low": {"S": "a"}}
    env = Environment(None, {name: given[name] for name in parsed.values}, [parsed])
    with pytest.raises(Invalid, match=words):
        key_condition(parsed, env, "p", "s")


# -- values


def test_number_keys_sort_as_numbers() -> None:
    chance = random.Random(22)
    numbers = [Decimal(0), Decimal("9.9E+125"), Decimal("-9.9E+125"), Decimal("1E-130"), Decimal("-1E-130")]
    for _ in range(2000):
        digits = chance.randrange(1, 39)
        text = f"{chance.choice('+-')}{chance.randrange(10**digits)}E{chance.randrange(-90, 80)}"
        numbers.append(values.number(text))
    for one in chance.sample(numbers, 300):
        near = one + one.copy_abs().scaleb(-20)
        numbers += [values.number(str(near)), -one]
    keys = [(pack((values.number_key(one),)), one) for one in numbers]
    assert [one for _, one in sorted(keys)] == sorted(numbers)
    for key, one in keys:
        assert all((key == other_key) == (one == other) for other_key, other in chance.sample(keys, 5))


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("1.50", "1.5"), ("-0", "0"), ("007", "7"), ("1E3", "1000"), (".5", "0.5"), ("+1e-2", "0.01"), ("0E+300", "0"),
        ("1" * 38, "1" * 38), ("1" + "0" * 60, "1" + "0" * 60), ("9.99E125", "999" + "0" * 123),
    ],
)  # fmt: skip
def test_numbers_have_one_form(text: str, wanted: str) -> None:
    assert values.checked({"N": text}) == {"N": wanted}


@pytest.mark.parametrize(
    "text, words",
    [
        ("", "cannot be converted"), ("x", "cannot be converted"), (" 1", "cannot be converted"),
        ("1_0", "cannot be converted"), ("١", "cannot be converted"), ("NaN", "cannot be converted"),
        ("Infinity", "cannot be converted"), ("0x1", "cannot be converted"), ("1" * 39, "38 significant digits"),
        ("1" * 100_000, "cannot be converted"), ("1E126", "overflow"), ("-1E126", "overflow"), ("1E-131", "underflow"),
        ("1E-999999999", "underflow"),
    ],
)  # fmt: skip
def test_what_is_no_number(text: str, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        values.checked({"N": text})


def test_sums_are_exact() -> None:
    assert values.total("0.1", "0.2", 1) == "0.3"
    assert values.total("9" * 38, "1", 1) == "1" + "0" * 38
    assert values.total("1", "1", -1) == "0"
    with pytest.raises(Invalid, match="38 significant digits"):
        values.total("1E+100", "1", 1)
    with pytest.raises(Invalid, match="overflow"):
        values.total("9E+125", "9E+125", 1)


@pytest.mark.parametrize(
    "value, words",
    [
        ({}, "must contain exactly one"),
        ({"S": "x", "N": "1"}, "more than one datatypes"),
        ({"NULL": False}, "Null attribute value types must have the value of true"),
        ({"SS": []}, "An string set  may not be empty"),
        ({"NS": ["1", "1.0"]}, "contains duplicates"),
        ({"BS": [b"x", b"x"]}, "contains duplicates"),
    ],
)
def test_bad_values(value: Any, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        values.checked(value)


def test_sizes_are_counted_as_documented() -> None:
    def size(value: Any) -> int:
        return values.size_of(values.checked(value))

    assert size({"S": "größe"}) == 7
    assert size({"B": b"123"}) == 3
    assert size({"BOOL": True}) == size({"NULL": True}) == 1
    assert size({"N": "1"}) == 2 and size({"N": "-12345"}) == 5
    assert size({"L": []}) == size({"M": {}}) == 3
    assert size({"L": [{"S": "ab"}]}) == 6
    assert size({"M": {"key": {"S": "ab"}}}) == 9
    assert size({"SS": ["ab", "c"]}) == 3
    room = values.ITEM_BYTES_MAX - len("id") - 1 - len("data")
    values.checked_item({"id": {"S": "x"}, "data": {"S": "x" * room}})
    with pytest.raises(TooLarge, match="Item size has exceeded"):
        values.checked_item({"id": {"S": "x"}, "data": {"S": "x" * (room + 1)}})


def test_values_come_back_as_they_went() -> None:
    item = {"b": {"B": b"\x00\xff"}, "l": {"L": [{"BS": [b"a", b"b"]}]}, "m": {"M": {"x": {"B": b""}}}}
    assert values.outward_item(values.checked_item(item)) == item
