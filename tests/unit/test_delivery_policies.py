"""How often and how soon each protocol is tried again, and what an owner may say about it."""

from __future__ import annotations

import itertools
import json

import pytest

from sluiceway.errors import Invalid
from sluiceway.services.topics import policies


@pytest.mark.parametrize("value", ['"false"', "0", "null", "[]"])
def test_whether_subscriptions_may_override_is_true_or_false(value: str) -> None:
    with pytest.raises(Invalid, match="disableSubscriptionOverrides"):
        policies.check_topic(f'{{"http": {{"disableSubscriptionOverrides": {value}}}}}')
    policies.check_topic('{"http": {"disableSubscriptionOverrides": true}}')


def test_delivery_policies() -> None:
    own = json.dumps({"healthyRetryPolicy": {"numRetries": 5, "minDelayTarget": 1, "maxDelayTarget": 4}})
    retry = policies.retry_of("https", "", own)
    assert (retry.tries_max, retry.delay_ms(1, 0.0), retry.delay_ms(5, 0.0)) == (6, 1000, 4000)
    default = policies.retry_of("http", "", "")
    assert [default.delay_ms(tries, 0.0) for tries in (1, 2, 3)] == [20_000] * 3 and default.tries_max == 4
    topic = json.dumps({"http": {"defaultHealthyRetryPolicy": {"numRetries": 7}, "disableSubscriptionOverrides": True}})
    assert policies.retry_of("http", topic, own).tries_max == 8
    managed = policies.retry_of("sqs", "", own)
    assert managed.tries_max == 100_016
    assert [managed.delay_ms(tries, 0.0) for tries in (1, 3, 4, 5, 6, 7, 16)] == [0, 0, 1000, 1000, 1000, 2000, 20_000]
    for bad in ('{"healthyRetryPolicy": {"numRetries": 101}}',
                '{"healthyRetryPolicy": {"minDelayTarget": 30}}',
                '{"healthyRetryPolicy": {"backoffFunction": "none"}}',
                '{"healthyRetryPolicy": {"numRetries": 100, "maxDelayTarget": 3600}}',
                '{"requestPolicy": {"headerContentType": "image/png"}}', "[", "[]"):  # fmt: skip
        with pytest.raises(Invalid):
            policies.check_subscription(bad)


PHASES = {"numRetries": 50, "numNoDelayRetries": 3, "numMinDelayRetries": 2, "numMaxDelayRetries": 35,
          "minDelayTarget": 1, "maxDelayTarget": 60}  # fmt: skip


@pytest.mark.parametrize("function", ["linear", "arithmetic", "geometric", "exponential"])
def test_every_phase_of_the_guides_own_delivery_policy(function: str) -> None:
    """ "3 times immediately, 2 times 1 second apart, 10 times with backoff from 1 to 60 seconds, 35 times 60 seconds
    apart"."""
    own = json.dumps({"healthyRetryPolicy": {**PHASES, "backoffFunction": function}})
    policies.check_subscription(own)
    retry = policies.retry_of("https", "", own)
    delays = [retry.delay_ms(tries, 0.0) for tries in range(1, retry.tries_max)]
    assert len(delays) == 50 and not retry.exhausted(50, 0) and retry.exhausted(51, 0)
    assert delays[:5] == [0, 0, 0, 1000, 1000] and delays[15:] == [60_000] * 35
    backoff = delays[5:15]
    assert backoff[0] == 1000 and backoff[-1] == 60_000 and backoff == sorted(backoff)
    steps = [later - earlier for earlier, later in itertools.pairwise(backoff)]
    if function == "linear":
        assert max(steps) - min(steps) <= 1
    elif function == "arithmetic":
        growth = [later - earlier for earlier, later in itertools.pairwise(steps)]
        assert max(growth) - min(growth) <= 4 and min(growth) > 0  # of rounding
    elif function == "geometric":
        ratios = [later / earlier for earlier, later in itertools.pairwise(backoff)]
        assert max(ratios) - min(ratios) < 0.01
    else:
        assert [round(one / 1000) for one in backoff[:6]] == [1, 2, 4, 8, 16, 32]
