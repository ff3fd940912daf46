"""What is remembered of clients' words is bounded in size, not in count alone."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sluiceway.config import StoreSettings
from sluiceway.core import filters
from sluiceway.core.clock import SystemClock
from sluiceway.core.identity import Scope
from sluiceway.core.store import Tx
from sluiceway.core.wakeups import Wakeups
from sluiceway.edges.aws import sqs
from sluiceway.engines.sqlite import open_store
from sluiceway.errors import Invalid
from sluiceway.services.objects.lifecycle.rules import MINIMUMS, SETTING, rules_of
from sluiceway.services.objects.rows import BUCKETS, SETTINGS, Bucket


def call(url: str) -> Any:
    return SimpleNamespace(params={"QueueUrl": url}, scope=Scope("000000000000", "us-east-1"))


def test_a_queue_address_of_any_length_is_not_kept() -> None:
    good = "http://127.0.0.1:4566/000000000000/letters"
    assert sqs.queue_name(call(good)) == "letters"
    before = sqs._name_in.cache_info().currsize
    with pytest.raises(Invalid) as caught:
        sqs.queue_name(call(f"{good}?{'x' * 1_000_000}"))
    assert caught.value.kind == "address" and len(caught.value.message) < 1000
    assert sqs._name_in.cache_info().currsize == before


def test_a_large_filter_policy_is_compiled_but_not_kept() -> None:
    before = filters._matcher.cache_info().currsize
    matches = filters.matcher({"attributes": {"kind": ["x" * 200_000, "small"]}})
    assert matches is not None and filters._matcher.cache_info().currsize == before


def rule(number: int) -> dict[str, Any]:
    return {"ID": f"r{number}", "Status": "Enabled", "Filter": {"Prefix": f"{number}/"}, "Expiration": {"Days": 3}}


@pytest.mark.parametrize("count", [1, 1000])
async def test_lifecycle_rules_are_made_once(tmp_path: Path, count: int) -> None:
    tables = frozenset({BUCKETS, SETTINGS})
    store = await open_store(tmp_path / "store.db", StoreSettings(), SystemClock(), Wakeups(), tables)
    made = [rule(number) for number in range(count)]

    def put(tx: Tx, some: list[dict[str, Any]]) -> None:
        tx.put(BUCKETS, ("bkt",), Bucket("bkt", 0, "me", "us-east-1", (SETTING,)).to_json())
        tx.put(SETTINGS, ("bkt", SETTING), {"rules": some, "minimum": MINIMUMS[0]})

    try:
        await store.commit(put, made)
        first = await store.view(rules_of, "bkt")
        assert len(first.rules) == count and await store.view(rules_of, "bkt") is first
        await store.commit(put, [*made[1:], {**made[0], "Status": "Disabled"}])
        assert len((await store.view(rules_of, "bkt")).rules) == count - 1
    finally:
        await store.close()
