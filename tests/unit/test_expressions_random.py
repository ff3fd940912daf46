"""Random expressions mean the same to a second, plain evaluator."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any

from helpers.expressions import change

from sluiceway.core import attribute_values as values
from sluiceway.core.expressions import (
    Environment,
    holds,
    parse_condition,
)

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
