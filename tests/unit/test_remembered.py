"""What is remembered of clients' words is bounded in size, not in count alone."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from sluiceway.core import filters
from sluiceway.core.identity import Scope
from sluiceway.edges.aws import sqs
from sluiceway.errors import Invalid


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
