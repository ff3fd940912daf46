"""Operations that take data in are refused with their service's throttling error while there is no room for more."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from sluiceway.core.identity import Arn
from sluiceway.edges.aws.operations import Call, Operation, Output, ServiceEdge
from sluiceway.services.pressure import Pressure

_Grows = Callable[[Mapping[str, Any]], bool]


def _always(params: Mapping[str, Any]) -> bool:
    return True


def _puts(params: Mapping[str, Any]) -> bool:
    items = params.get("RequestItems")
    lists = items.values() if isinstance(items, dict) else ()
    return any("PutRequest" in request for requests in lists for request in requests)


def _adds(params: Mapping[str, Any]) -> bool:
    return any("Put" in action or "Update" in action for action in params.get("TransactItems") or ())


def _lasts(params: Mapping[str, Any]) -> bool:
    return bool(params.get("InvocationType") == "Event")


#: Everything else reads, deletes, or changes little.
_GROWING: Final[Mapping[tuple[str, str], _Grows]] = {
    ("sns", "Publish"): _always,
    ("sns", "PublishBatch"): _always,
    ("sqs", "SendMessage"): _always,
    ("sqs", "SendMessageBatch"): _always,
    ("kinesis", "PutRecord"): _always,
    ("kinesis", "PutRecords"): _always,
    ("dynamodb", "PutItem"): _always,
    ("dynamodb", "UpdateItem"): _always,
    ("dynamodb", "BatchWriteItem"): _puts,
    ("dynamodb", "TransactWriteItems"): _adds,
    ("lambda", "Invoke"): _lasts,
}


def admitting(edge: ServiceEdge, pressure: Pressure) -> ServiceEdge:
    """``edge``, whose growing operations ask ``pressure`` first."""
    made = dict(edge.operations)
    for name, operation in edge.operations.items():
        grows = _GROWING.get((edge.name, name))
        if grows is not None:
            made[name] = _guarded(operation, grows, pressure)
    return replace(edge, operations=made)


def _guarded(operation: Operation, grows: _Grows, pressure: Pressure) -> Operation:
    async def handle(call: Call) -> Output:
        if pressure.disk_is_low and grows(call.params):
            pressure.check_disk()
        if pressure.full_logs and call.service == "sns":
            pressure.check_log(_log_of(call.params))
        return await operation.handler(call)

    return replace(operation, handler=handle)


def _log_of(params: Mapping[str, Any]) -> str:
    arn = params.get("TopicArn") or params.get("TargetArn") or ""
    try:
        return f"topic/{Arn.parse(arn).resource}"
    except ValueError:
        return ""  # the handler says what is wrong with it
