"""What a mapping's settings may be (AWS Lambda API reference, CreateEventSourceMapping)."""

from __future__ import annotations

import json
from typing import Final

from sluiceway.config import MappingSettings
from sluiceway.core.filters import patterns_matcher
from sluiceway.core.identity import Arn, Scope
from sluiceway.errors import Invalid
from sluiceway.services.mappings.values import Source, SourceMapping

_POSITIONS: Final = ("TRIM_HORIZON", "LATEST", "AT_TIMESTAMP")
_RETRIES_MAX: Final = 10_000
_AGE_S_MIN: Final = 60
_AGE_S_MAX: Final = 604_800
_PARALLEL_MAX: Final = 10
_UNWINDOWED_BATCH: Final = 10


def check(mapping: SourceMapping, source: Source, scope: Scope, limits: MappingSettings) -> None:
    """Raises ``Invalid("value" | "filter")``."""
    batch_max = limits.fifo_batch_max if source.fifo else limits.batch_max
    _within("BatchSize", mapping.batch_max, 1, batch_max)
    _within("MaximumBatchingWindowInSeconds", mapping.window_s, 0, limits.window_s_max)
    if source.kind == "sqs":
        _check_queue(mapping, source, limits)
    else:
        _check_stream(mapping, scope)
    _check_filters(mapping.filters, limits)


def _check_queue(mapping: SourceMapping, source: Source, limits: MappingSettings) -> None:
    if source.fifo and mapping.window_s:
        raise Invalid("value", "Batching window is not supported for FIFO queues.")
    if mapping.batch_max > _UNWINDOWED_BATCH and not mapping.window_s:
        raise Invalid("value", "Maximum batch window in seconds must be greater than 0 if maximum batch size is "
                      "greater than 10.")  # fmt: skip
    if mapping.concurrency is not None:
        _within("MaximumConcurrency", mapping.concurrency, 2, limits.concurrency_max)
    streams_only = {
        "StartingPosition": mapping.position,
        "BisectBatchOnFunctionError": mapping.bisect,
        "MaximumRetryAttempts": mapping.retries_max != -1,
        "MaximumRecordAgeInSeconds": mapping.age_s_max != -1,
        "ParallelizationFactor": mapping.parallel != 1,
        "DestinationConfig": mapping.on_failure,
    }
    for name, given in streams_only.items():
        if given:
            raise Invalid("value", f"{name} is not supported for an SQS event source.")


def _check_stream(mapping: SourceMapping, scope: Scope) -> None:
    if mapping.position not in _POSITIONS:
        raise Invalid("value", "StartingPosition must be TRIM_HORIZON, LATEST or AT_TIMESTAMP for a stream.")
    at_time = mapping.position == "AT_TIMESTAMP"
    if at_time and mapping.kind == "dynamodb":
        raise Invalid("value", "Unsupported starting position for the stream of a table: AT_TIMESTAMP.")
    if at_time != (mapping.position_ms is not None):
        raise Invalid("value", "StartingPositionTimestamp goes with the StartingPosition AT_TIMESTAMP.")
    if mapping.concurrency is not None:
        raise Invalid("value", "ScalingConfig is for SQS event sources only.")
    if mapping.retries_max != -1:
        _within("MaximumRetryAttempts", mapping.retries_max, 0, _RETRIES_MAX)
    if mapping.age_s_max != -1:
        _within("MaximumRecordAgeInSeconds", mapping.age_s_max, _AGE_S_MIN, _AGE_S_MAX)
    _within("ParallelizationFactor", mapping.parallel, 1, _PARALLEL_MAX)
    if mapping.on_failure and not _is_standard_queue(mapping.on_failure, scope):
        raise Invalid("value", f"The destination {mapping.on_failure[:200]} is not the ARN of a standard queue of this "
                      "account; other destinations are not supported here.")  # fmt: skip


def _check_filters(filters: list[str], limits: MappingSettings) -> None:
    if len(filters) > limits.filters_max:
        raise Invalid("filter", f"A mapping has at most {limits.filters_max} filters.")
    for text in filters:
        if len(text) > limits.pattern_chars_max:
            raise Invalid("filter", f"A filter pattern has at most {limits.pattern_chars_max} characters.")
        try:
            pattern = json.loads(text)
        except (ValueError, RecursionError):
            raise Invalid("filter", "Invalid filter pattern definition: it is not JSON.") from None
        patterns_matcher([pattern])


def _is_standard_queue(arn: str, scope: Scope) -> bool:
    """AWS Lambda Developer Guide, "Lambda parameters for Amazon DynamoDB event source mappings"."""
    try:
        parsed = Arn.parse(arn)
    except ValueError:
        return False
    return parsed.service == "sqs" and scope.arn("sqs", parsed.resource) == arn and not arn.endswith(".fifo")


def _within(name: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise Invalid("value", f"{name} must be from {least} to {most}, not {value}.")
