"""What is remembered of clients' words is bounded in size, not in count alone."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from sluiceway.core import filters
from sluiceway.core.identity import Scope
from sluiceway.edges.aws import sqs
from sluiceway.errors import Invalid
from sluiceway.services.objects.lifecycle import rules
from sluiceway.services.objects.rows import Bucket


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


class Rows:
    """A view of one bucket with lifecycle rules."""

    def __init__(self, setting: Any) -> None:
        self._bucket = Bucket("bkt", 0, "me", "us-east-1", (rules.SETTING,)).to_json()
        self._setting = setting

    def get(self, table: str, key: Any) -> Any:
        return self._bucket if table == "buckets" else self._setting


def rule(number: int) -> dict[str, Any]:
    return {"ID": f"r{number}", "Status": "Enabled", "Filter": {"Prefix": f"{number}/"}, "Expiration": {"Days": 3}}


def found(setting: Any) -> rules.Rules:
    return rules.rules_of(Rows(setting), "bkt")  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [1, 1000])
def test_lifecycle_rules_are_made_once(count: int) -> None:
    many = [rule(number) for number in range(count)]
    kept = rules.document_row(many, rules.MINIMUMS[0])
    # Equal bytes, not the same object, as a store gives them.
    assert found(kept) is found(bytes(bytearray(kept))) and len(found(kept).rules) == count
    changed = rules.document_row([*many[1:], {**many[0], "Status": "Disabled"}], rules.MINIMUMS[0])
    assert len(found(changed).rules) == count - 1


def test_very_large_lifecycle_rules_are_made_but_not_kept() -> None:
    large = [{**rule(number), "Filter": {"Prefix": "x" * 1000}} for number in range(1000)]
    before = rules._small.cache_info().currsize + rules._large.cache_info().currsize
    assert len(found(rules.document_row(large, rules.MINIMUMS[0])).rules) == 1000
    assert rules._small.cache_info().currsize + rules._large.cache_info().currsize == before


def test_lifecycle_rules_of_older_rows_are_read() -> None:
    kept = {"rules": [rule(1)], "minimum": rules.MINIMUMS[1]}
    assert found(kept) == found(rules.document_row([rule(1)], rules.MINIMUMS[1]))
    assert rules.document_of(kept) == kept
