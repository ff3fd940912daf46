"""CloudWatch Logs, for reading what functions print (Amazon CloudWatch Logs API reference)."""

from __future__ import annotations

import base64
import json
from typing import Any, Final

from sluiceway.core.store import Store, View
from sluiceway.edges.aws.operations import Call, ErrorTable, Operation, Output, ServiceEdge
from sluiceway.errors import Invalid, NotFound
from sluiceway.services.function_logs import GROUP, FunctionLogs, events_of
from sluiceway.services.functions import Functions

ERRORS: Final[ErrorTable] = {
    (NotFound, "*"): "ResourceNotFoundException",
    (Invalid, "*"): "InvalidParameterException",
}
_PAGE_MAX: Final = 10_000
_READ: Final = 200
_LOOK_MAX: Final = 5000  # entries looked at for one page, so that a filter that finds nothing ends


def logs_edge(store: Store, functions: Functions, logs: FunctionLogs) -> ServiceEdge:
    """The service's operations."""
    edge = _Logs(store, functions, logs)
    table = {
        "FilterLogEvents": Operation(edge.filter_events, edge.resource),
        "GetLogEvents": Operation(edge.get_events, edge.stream),
        "DescribeLogStreams": Operation(edge.streams, edge.resource),
        "DescribeLogGroups": Operation(edge.groups, lambda call: call.scope.arn("logs", "log-group:*")),
        "DeleteLogGroup": Operation(edge.delete_group, edge.resource),
    }
    return ServiceEdge("logs", "logs", table, ERRORS)


class _Logs:
    def __init__(self, store: Store, functions: Functions, logs: FunctionLogs) -> None:
        self._store = store
        self._functions = functions
        self._logs = logs

    def resource(self, call: Call) -> str:
        """The group's ARN."""
        return call.scope.arn("logs", f"log-group:{_group(call)}:*")

    def stream(self, call: Call) -> str:
        """The stream's ARN."""
        return call.scope.arn("logs", f"log-group:{_group(call)}:log-stream:{call.params['logStreamName']}")

    async def filter_events(self, call: Call) -> Output:
        """FilterLogEvents; the pattern is plain words, or text in quotes."""
        return await self._store.view(self._filtered, call.params, _function(call))

    def _filtered(self, view: View, params: dict[str, Any], function: str) -> dict[str, Any]:
        wanted = _words(params.get("filterPattern") or "")
        streams, prefix = params.get("logStreamNames"), params.get("logStreamNamePrefix") or ""
        limit = _limit(params, _PAGE_MAX)
        begin, end = params.get("startTime"), params.get("endTime")
        offset, number = _place(params.get("nextToken")) or (self._start(view, function, begin), 0)
        found: list[dict[str, Any]] = []
        looked = 0
        while looked < _LOOK_MAX:
            entries = self._logs.read(view, function, offset, _READ)
            if not entries:
                return {"events": found, "searchedLogStreams": []}
            for entry in entries:
                looked += 1
                for at, event in enumerate(events_of(entry)):
                    if entry.offset == offset and at < number:
                        continue
                    if len(found) >= limit:
                        return {"events": found, "nextToken": _token(entry.offset, at)}
                    inside = (begin is None or event["at"] >= begin) and (end is None or event["at"] <= end)
                    named = (not streams or event["stream"] in streams) and event["stream"].startswith(prefix)
                    if inside and named and all(word in event["text"] for word in wanted):
                        found.append(_shown(event))
                number, offset = 0, entry.offset + 1
        return {"events": found, "nextToken": _token(offset, 0)}

    def _start(self, view: View, function: str, time_ms: int | None) -> int:
        return self._logs.start(view, function, time_ms)

    async def get_events(self, call: Call) -> Output:
        """GetLogEvents"""
        params = dict(call.params)
        token = params.get("nextToken") or ""
        params |= {"logStreamNames": [params["logStreamName"]], "nextToken": token.removeprefix("f/") or None}
        found = await self._store.view(self._filtered, params, _function(call))
        events = [
            {"timestamp": e["timestamp"], "message": e["message"], "ingestionTime": e["ingestionTime"]}
            for e in found["events"]
        ]
        following = "f/" + found["nextToken"] if found.get("nextToken") else token or "f/end"
        return {"events": events, "nextForwardToken": following, "nextBackwardToken": "b/0"}

    async def streams(self, call: Call) -> Output:
        """DescribeLogStreams"""
        return await self._store.view(
            self._streams, _function(call), call.params.get("logStreamNamePrefix") or "", call
        )

    def _streams(self, view: View, function: str, prefix: str, call: Call) -> dict[str, Any]:
        spans: dict[str, list[int]] = {}
        offset = self._start(view, function, None)
        for entry in self._logs.read(view, function, offset, _LOOK_MAX):
            name, at = entry.value["stream"], entry.value["at"]
            spans.setdefault(name, [at, at])[1] = at
        arn = call.scope.arn("logs", f"log-group:{_group(call)}:log-stream:")
        names = [name for name in spans if name.startswith(prefix)]
        if call.params.get("orderBy") == "LastEventTime":
            names.sort(key=lambda name: spans[name][1])
        else:
            names.sort()
        if call.params.get("descending"):
            names.reverse()
        shown = [
            {
                "logStreamName": name,
                "creationTime": spans[name][0],
                "firstEventTimestamp": spans[name][0],
                "lastEventTimestamp": spans[name][1],
                "arn": arn + name,
            }
            for name in names[: _limit(call.params, 50)]
        ]
        return {"logStreams": shown}

    async def groups(self, call: Call) -> Output:
        """DescribeLogGroups"""
        prefix = call.params.get("logGroupNamePrefix") or ""
        found = await self._store.view(self._functions.page, "", self._functions.limits.functions_max)
        groups = [
            {
                "logGroupName": GROUP + function.name,
                "creationTime": function.created_ms,
                "arn": call.scope.arn("logs", f"log-group:{GROUP}{function.name}:*"),
            }
            for function in found
            if (GROUP + function.name).startswith(prefix)
        ]
        return {"logGroups": groups}

    async def delete_group(self, call: Call) -> Output:
        """DeleteLogGroup: the lines that are kept now."""
        await self._store.commit(self._logs.remove, _function(call))
        return None


def _limit(params: dict[str, Any], limit_max: int) -> int:
    limit = params.get("limit", limit_max)
    if not 1 <= limit <= limit_max:
        raise Invalid("limit", f"limit must be between 1 and {limit_max}.")
    return int(limit)


def _group(call: Call) -> str:
    name = call.params.get("logGroupName")
    if not name:
        name = str(call.params.get("logGroupIdentifier") or "").partition("log-group:")[2]
    return str(name)


def _function(call: Call) -> str:
    group = _group(call)
    if not group.startswith(GROUP) or len(group) == len(GROUP):
        raise NotFound("group", "The specified log group does not exist.")
    return group.removeprefix(GROUP)


def _words(pattern: str) -> list[str]:
    if pattern.startswith("{") or pattern.startswith("["):
        raise Invalid("pattern", "Patterns on JSON and columns are not supported here: filter by words.")
    parts = pattern.split('"')
    quoted = [part for number, part in enumerate(parts) if number % 2 and part]
    return quoted + [word for number, part in enumerate(parts) if not number % 2 for word in part.split()]


def _token(offset: int, number: int) -> str:
    return base64.urlsafe_b64encode(json.dumps([offset, number]).encode()).decode()


def _place(token: str | None) -> tuple[int, int] | None:
    if not token or token == "end":
        return None
    try:
        offset, number = json.loads(base64.urlsafe_b64decode(token))
        if not 0 <= int(offset) < 2**62 or not 0 <= int(number) < 2**62:
            raise ValueError
        return int(offset), int(number)
    except (ValueError, TypeError, OverflowError, RecursionError):
        raise Invalid("token", "The specified nextToken is invalid.") from None


def _shown(event: dict[str, Any]) -> dict[str, Any]:
    return {
        "logStreamName": event["stream"],
        "timestamp": event["at"],
        "message": event["text"] + "\n",
        "ingestionTime": event["at"],
        "eventId": event["id"],
    }
