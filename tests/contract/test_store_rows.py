"""The contract of a store, for every engine: keys, scans and values."""

from __future__ import annotations

import hashlib
import math
import os
import random
from typing import Any

import pytest
from helpers.store import ODD_KEYS, get, keys, put, put_all

from sluiceway.core.store import Bounds, Key, Store, Tx, View


def part_order(part: str | int | bytes) -> tuple[int, Any]:
    """The order of parts: bytes, then text in UTF-8 binary order, then integers (``core.keys``)."""
    if isinstance(part, bytes):
        return (1, part)
    return (2, part.encode()) if isinstance(part, str) else (3, part)


def key_order(key: Key) -> tuple[tuple[int, Any], ...]:
    return tuple(part_order(part) for part in key)


# -- keys and scans


async def test_rows_come_in_the_order_of_their_parts(store: Store) -> None:
    shuffled = random.Random(7).sample(ODD_KEYS, len(ODD_KEYS))
    await store.commit(put_all, "odd", shuffled)
    expected = sorted(ODD_KEYS, key=key_order)
    assert await store.view(keys, "odd") == expected
    assert await store.view(keys, "odd", reverse=True) == expected[::-1]
    for key in ODD_KEYS:
        assert await get(store, "odd", key) == list(map(repr, key))


async def test_a_prefix_holds_whole_parts_only(store: Store) -> None:
    await store.commit(put_all, "odd", ODD_KEYS)
    for prefix in ODD_KEYS:
        expected = sorted((key for key in ODD_KEYS if key[: len(prefix)] == prefix), key=key_order)
        assert await store.view(keys, "odd", prefix=prefix) == expected
        assert await store.view(keys, "odd", prefix=prefix, reverse=True) == expected[::-1]


async def test_scans_agree_with_a_sorted_dict_at_random(store: Store) -> None:
    dice = random.Random(11)
    atoms: list[Any] = ["", "a", "a\x00", "b", "\U0001f600", b"", b"\x00", b"\xff", -5, 0, 7]
    made = sorted({tuple(dice.choices(atoms, k=dice.randint(0, 4))) for _ in range(400)}, key=key_order)
    await store.commit(put_all, "random", made)

    def compare(view: View) -> None:
        for _ in range(300):
            prefix = tuple(dice.choices(atoms, k=dice.choice([0, 0, 1, 2])))
            start, end = (dice.choice([None, dice.choice(made)]) for _ in "se")
            reverse, limit = dice.random() < 0.5, dice.choice([None, 0, 1, 2, 63, 64, 65, 128, 1000])
            expected = [
                key
                for key in made
                if key[: len(prefix)] == prefix
                and (start is None or key_order(start) <= key_order(key))
                and (end is None or key_order(key) < key_order(end))
            ]
            expected = (expected[::-1] if reverse else expected)[:limit]
            found = keys(view, "random", prefix=prefix, start=start, end=end, reverse=reverse, limit=limit)
            assert found == expected, (prefix, start, end, reverse, limit)

    await store.view(compare)


async def test_a_scan_is_lazy_and_crosses_its_own_chunks(store: Store) -> None:
    await store.commit(put_all, "many", [("x", number) for number in range(1000)])

    def taste(view: View) -> list[Key]:
        scan = view.scan("many", prefix=("x",))
        return [next(scan)[0] for _ in range(3)]

    assert await store.view(taste) == [("x", 0), ("x", 1), ("x", 2)]
    assert len(await store.view(keys, "many")) == 1000
    assert await store.view(keys, "many", limit=130, reverse=True) == [("x", n) for n in range(999, 869, -1)]


async def test_a_transaction_scans_its_own_writes_and_may_change_what_it_scans(store: Store) -> None:
    await store.commit(put_all, "work", [(number,) for number in range(300)])

    def drain(tx: Tx) -> int:
        tx.put("work", (300,), "new")
        seen = 0
        for key, _ in tx.scan("work"):
            tx.delete("work", key)
            seen += 1
        return seen

    assert await store.commit(drain) == 301
    assert await store.view(keys, "work") == []


async def test_what_was_never_written_is_empty(store: Store) -> None:
    assert await get(store, "nothing", ("a",)) is None
    assert await store.view(keys, "nothing") == []
    assert await store.view(lambda view: view.read("none/x", 0, 10)) == []
    assert await store.view(lambda view: view.bounds("none/x")) == Bounds(0, 0)
    await store.commit(lambda tx: tx.delete("nothing", ("a",)))
    await store.commit(lambda tx: tx.trim("none/x", 5))
    assert await store.view(lambda view: view.bounds("none/x")) == Bounds(0, 0)
    assert await store.commit(lambda tx: tx.append("none/x", 1)) == 0


@pytest.mark.parametrize("name", ["", "Objects", "log_bucket", "sqlite_master", "schema_probe", "a-b", 'a"b', "x" * 64])
async def test_a_bad_table_name_is_a_plain_error(store: Store, name: str) -> None:
    with pytest.raises(ValueError):
        await put(store, name, ("a",), 1)
    with pytest.raises(ValueError):
        await get(store, name, ("a",))
    assert store.problem() is None


# -- values


VALUES: list[Any] = [
    {},
    [],
    "",
    "text",
    'nul \x00, quote ", back \\, line \u2028, astral \U0001f600',
    0,
    -1,
    2**63 - 1,
    -(2**63),
    0.0,
    1.5,
    -1e-308,
    1.7976931348623157e308,
    0.1 + 0.2,
    True,
    False,
    "123",
    "null",
    b"",
    b"\x00\xff" * 10,
    b'{"looks": "like JSON"}',
    [None, True, [1, [2, [3]]], {"a": None}],
    {"": {"\x00": [], "\U0010ffff": -0.5}, "order": 1, "b": 2, "a": 3},
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value)[:24])
async def test_a_value_comes_back_as_it_was(bench: Any, value: Any) -> None:
    store = await bench.open()

    def write(tx: Tx) -> Any:
        tx.put("values", ("v",), value)
        tx.append("values/v", value)
        return tx.get("values", ("v",))

    found = [await store.commit(write), await get(store, "values", ("v",))]
    store = await bench.reopen()
    found += [await get(store, "values", ("v",)), (await store.view(lambda v: v.read("values/v", 0, 1)))[0].value]
    for copy in found:
        assert copy == value
        assert type(copy) is type(value)
        if isinstance(value, float):
            assert math.copysign(1, copy) == math.copysign(1, value)
        if isinstance(value, dict):
            assert list(copy) == list(value)


@pytest.mark.parametrize(
    "value",
    [object(), {1, 2}, 2**70, {"a": "\ud800"}, {"a": object()}],
    ids=str.split("object set big surrogate nested"),
)
async def test_what_is_not_json_is_refused_and_nothing_is_kept(store: Store, value: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        await put(store, "values", ("v",), value)
    assert await get(store, "values", ("v",)) is None
    assert store.problem() is None


async def test_big_values(bench: Any) -> None:
    store = await bench.open()
    blob, text = os.urandom(20 * 1024 * 1024), "äöü" * (4 * 1024 * 1024)

    def write(tx: Tx) -> None:
        tx.put("big", ("bytes",), blob)
        tx.put("big", ("text",), {"text": text})
        tx.append("big/log", blob)

    await store.commit(write)
    store = await bench.reopen()
    assert hashlib.sha256(await get(store, "big", ("bytes",))).digest() == hashlib.sha256(blob).digest()
    assert (await get(store, "big", ("text",)))["text"] == text
    assert (await store.view(lambda view: view.read("big/log", 0, 1)))[0].value == blob


async def test_overwriting_and_deleting(store: Store) -> None:
    await put(store, "t", ("k",), {"a": 1})
    await put(store, "t", ("k",), b"raw")
    assert await get(store, "t", ("k",)) == b"raw"
    await put(store, "t", ("k",), "text")
    assert await get(store, "t", ("k",)) == "text"
    await store.commit(lambda tx: tx.delete("t", ("k",)))
    assert await get(store, "t", ("k",)) is None
