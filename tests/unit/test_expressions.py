"""Expressions and attribute values: the grammar by examples, the meaning against a second, simpler evaluator."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

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


def change(text: str, item: Any, given: Any = None, names: Any = None, keys: frozenset[str] = frozenset()) -> Any:
    parsed = parse_update(text)
    return updated(values.checked_item(item), parsed, Environment(names, given, [parsed]), keys)[0]


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


# -- against a second evaluator, on plain Python values: None is missing


Test = Callable[[dict[str, Any]], bool]
_PLAIN: list[Any] = [0, 1, 2, -3, "", "a", "ab", "b", True, False, [1, "a"], [], frozenset({"a", "b"})]


def _wire(plain: Any) -> dict[str, Any]:
    if isinstance(plain, bool):
        return {"BOOL": plain}
    if isinstance(plain, int):
        return {"N": str(plain)}
    if isinstance(plain, str):
        return {"S": plain}
    if isinstance(plain, frozenset):
        return {"SS": sorted(plain)}
    if isinstance(plain, dict):
        return {"M": {name: _wire(one) for name, one in plain.items()}}
    return {"L": [_wire(one) for one in plain]}


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return type(one) is type(other) and bool(one == other)


def _orders(operator: str, one: Any, other: Any) -> bool:
    if type(one) is not type(other) or type(one) not in (int, str):
        return False
    return {"<": one < other, "<=": one <= other, ">": one > other, ">=": one >= other}[operator]


class _Maker:
    """Random conditions: their text, and what they mean."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.given: dict[str, Any] = {}

    def value(self) -> tuple[str, Any]:
        plain = self.chance.choice(_PLAIN)
        name = f":v{len(self.given)}"
        self.given[name] = plain
        return name, plain

    def path(self) -> tuple[str, Callable[[dict[str, Any]], Any]]:
        name = self.chance.choice("abcd")
        kind = self.chance.random()
        if kind < 0.7:
            return name, lambda item: item.get(name)
        if kind < 0.85:
            at = self.chance.randrange(3)

            def element(item: dict[str, Any]) -> Any:
                found = item.get(name)
                return found[at] if isinstance(found, list) and at < len(found) else None

            return f"{name}[{at}]", element

        def member(item: dict[str, Any]) -> Any:
            found = item.get(name)
            return found.get("x") if isinstance(found, dict) else None

        return f"{name}.x", member

    def test(self) -> tuple[str, Test]:
        (path, find), (text, plain) = self.path(), self.value()
        kind = self.chance.randrange(7)
        if kind == 0:
            return f"{path} = {text}", lambda item: find(item) is not None and _same(find(item), plain)
        if kind == 1:
            return f"{path}<>{text}", lambda item: find(item) is None or not _same(find(item), plain)
        if kind == 2:
            operator = self.chance.choice(["<", "<=", ">", ">="])
            return f"{path} {operator} {text}", lambda item: _orders(operator, find(item), plain)
        if kind == 3:
            other, high = self.value()
            return (
                f"{path} BETWEEN {text} AND {other}",
                lambda item: _orders(">=", find(item), plain) and _orders("<=", find(item), high),
            )
        if kind == 4:
            others = [self.value() for _ in range(self.chance.randrange(3))]
            plains = [plain, *(one for _, one in others)]
            names = ", ".join([text, *(name for name, _ in others)])
            return f"{path} IN ({names})", lambda item: any(_same(find(item), one) for one in plains)
        if kind == 5:
            del self.given[text]
            return f"attribute_exists({path})", lambda item: find(item) is not None

        def contains(item: dict[str, Any]) -> bool:
            found = find(item)
            if isinstance(found, list):
                return any(_same(one, plain) for one in found)
            return isinstance(found, str | frozenset) and isinstance(plain, str) and plain in found

        return f"contains({path}, {text})", contains

    def condition(self, depth: int) -> tuple[str, Test]:
        kind = self.chance.random()
        if depth == 0 or kind < 0.25:
            return self.test()
        (one, first), (other, second) = self.condition(depth - 1), self.condition(depth - 1)
        if kind < 0.5:
            return f"({one}) AND ({other})", lambda item: first(item) and second(item)
        if kind < 0.75:
            return f"({one} or {other})", lambda item: first(item) or second(item)
        return f"NOT (({one}) OR ({other}))", lambda item: not (first(item) or second(item))


def test_random_conditions_mean_the_same_to_both() -> None:
    chance = random.Random(20)
    outcomes = {True: 0, False: 0}
    for _ in range(1500):
        maker = _Maker(chance)
        text, meaning = maker.condition(chance.randrange(4))
        parsed = parse_condition(text)
        env = Environment(None, {n: _wire(v) for n, v in maker.given.items() if n in parsed.values}, [parsed])
        for _ in range(4):
            item = {
                name: chance.choice([*_PLAIN, {"x": chance.choice(_PLAIN)}]) for name in "abcd"[: chance.randrange(5)]
            }
            wanted = meaning(item)
            found = holds(parsed.tree, values.checked_item({n: _wire(v) for n, v in item.items()}), env)
            assert found is wanted, (text, maker.given, item)
            outcomes[found] += 1
    assert min(outcomes.values()) > 1000


def test_random_updates_mean_the_same_to_both() -> None:
    chance = random.Random(21)
    for _ in range(1500):
        item: dict[str, Any] = {
            "n": chance.randrange(9),
            "l": [chance.randrange(9) for _ in range(chance.randrange(5))],
            "m": {name: chance.randrange(9) for name in "xyz"[: chance.randrange(4)]},
            "s": frozenset(chance.sample("pqr", chance.randrange(1, 4))),
        }
        wanted, actions, given = copy.deepcopy(item), {"SET": [], "REMOVE": [], "ADD": [], "DELETE": []}, {}
        if chance.random() < 0.5:
            kind = chance.choice(["n + :n", ":n - n", "if_not_exists(q, :n)", "if_not_exists(n, :n)"])
            given[":n"] = step = chance.randrange(9)
            old = item["n"]
            wanted["n"] = {"n + :n": old + step, ":n - n": step - old, "if_not_exists(q, :n)": step}.get(kind, old)
            actions["SET"].append(f"n = {kind}")
        else:
            given[":n"] = step = chance.randrange(9)
            wanted["new"] = step
            actions["ADD"].append("new :n")
        places = chance.sample(range(8), chance.randrange(4))
        drop = [at for at in places if chance.random() < 0.4]
        for at in sorted(set(places) - set(drop)):
            given[f":l{at}"] = 100 + at
            if at < len(wanted["l"]):
                wanted["l"][at] = 100 + at
            else:
                wanted["l"].append(100 + at)
        wanted["l"] = [one for at, one in enumerate(wanted["l"]) if at not in drop or at >= len(item["l"])]
        if any(at >= len(item["l"]) for at in drop):
            continue  # what is removed behind the old end depends on what was appended
        actions["SET"] += [f"l[{at}] = :l{at}" for at in places if at not in drop]
        actions["REMOVE"] += [f"l[{at}]" for at in drop]
        for name in chance.sample("xyz", chance.randrange(3)):
            if chance.random() < 0.5:
                wanted["m"].pop(name, None)
                actions["REMOVE"].append(f"m.{name}")
            else:
                wanted["m"][name] = given[f":m{name}"] = chance.randrange(9)
                actions["SET"].append(f"m.{name} = :m{name}")
        given[":s"] = frozenset(chance.sample("pqrt", chance.randrange(1, 4)))
        section = chance.choice(["ADD", "DELETE"])
        wanted["s"] = item["s"] | given[":s"] if section == "ADD" else item["s"] - given[":s"]
        actions[section].append("s :s")
        text = " ".join(f"{word} {', '.join(parts)}" for word, parts in actions.items() if parts)
        found = change(text, {n: _wire(v) for n, v in item.items()}, {n: _wire(v) for n, v in given.items()})
        assert found == values.checked_item({n: _wire(v) for n, v in wanted.items() if v != frozenset()}), (text, item)


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
