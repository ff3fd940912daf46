"""What the contract tests of stores share."""

from __future__ import annotations

from typing import Any

from sluiceway.core.store import Key, Store, Tx, View

ODD_KEYS: list[Key] = [
    (),
    (-(2**63),),
    (-1,),
    (0,),
    (1,),
    (255,),
    (256,),
    (2**63 - 1,),
    (b"",),
    (b"\x00",),
    (b"\x00\x00",),
    (b"\x00\xff",),
    (b"\x01",),
    (b"\xff",),
    (b"\xff\x00",),
    (b"\xff\xff",),
    ("",),
    ("\x00",),
    ("\x00\x00",),
    ("\x00\x01",),
    ("a",),
    ("a", ""),
    ("a", "", ""),
    ("a", "z"),
    ("a", 0),
    ("a", -1),
    ("a", b"\xff"),
    ("a\x00",),
    ("a\x00", "b"),
    ("a\x00b",),
    ("a\x01",),
    ("aa",),
    ("b",),
    ("\x7f",),
    ("\u00ff",),
    ("\u07ff",),
    ("\ud7ff",),
    ("\ue000",),
    ("\uffff",),
    ("\U00010000",),
    ("\U0001f600", "\U0010ffff"),
    ("\U0010ffff",),
]


def keys(view: View, table: str, **options: Any) -> list[Key]:
    return [key for key, _ in view.scan(table, **options)]


def put_all(tx: Tx, table: str, all_keys: list[Key]) -> None:
    for key in all_keys:
        tx.put(table, key, list(map(repr, key)))


async def put(store: Store, table: str, key: Key, value: Any) -> None:
    await store.commit(lambda tx: tx.put(table, key, value))


async def get(store: Store, table: str, key: Key) -> Any:
    return await store.view(lambda view: view.get(table, key))
