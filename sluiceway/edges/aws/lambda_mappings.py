"""Lambda's event source mappings; ``mapping_operations`` go into the table of Lambda's edge."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from sluiceway.core.store import Store, Tx, View
from sluiceway.edges.aws.operations import Call, Operation, Output, moment
from sluiceway.errors import AccessDenied, Invalid, NotFound, NotImplementedYet
from sluiceway.services.access import authorize
from sluiceway.services.mappings import Mappings, SourceMapping, Sources

_PAGE_MAX: Final = 100
_FUNCTION: Final = "lambda:FunctionArn"

#: Settings of other sorts of sources, or of what is not here.
_UNKNOWN_HERE: Final = (
    "AmazonManagedKafkaEventSourceConfig",
    "DocumentDBEventSourceConfig",
    "KMSKeyArn",
    "ProvisionedPollerConfig",
    "Queues",
    "SelfManagedEventSource",
    "SelfManagedKafkaEventSourceConfig",
    "SourceAccessConfigurations",
    "Topics",
)

#: Raises ``AccessDenied`` unless the function's role may use the resource of this ARN: (function, ARN, view).
MayUse = Callable[[str, str, View], None]


class MappedFunctions(Protocol):
    """The function service, as far as mappings need it."""

    def exists(self, view: View, name: str) -> bool: ...

    def plain_name(self, text: str) -> str:
        """The name in any of the forms that the API takes. Raises ``NotFound``, ``Invalid``."""

    def arn(self, name: str) -> str: ...


def mapping_operations(
    store: Store,
    mappings: Mappings,
    sources: Sources,
    functions: MappedFunctions,
    may_read: MayUse,
    may_send: MayUse,
) -> dict[str, Operation]:
    """CreateEventSourceMapping and its kin. The function's role must be allowed to read the source
    (``may_read``), and to send to the queue of its OnFailure destination (``may_send``)."""
    edge = _Mappings(store, mappings, sources, functions, may_read, may_send)
    return {
        "CreateEventSourceMapping": Operation(edge.create, lambda call: "*", edge.about_function),
        "DeleteEventSourceMapping": Operation(edge.delete, edge.resource, edge.about_function),
        "GetEventSourceMapping": Operation(edge.get, edge.resource, edge.about_function),
        "ListEventSourceMappings": Operation(edge.list_mappings, lambda call: "*"),
        "UpdateEventSourceMapping": Operation(edge.update, edge.resource, edge.about_function),
    }


class _Mappings:
    def __init__(
        self,
        store: Store,
        mappings: Mappings,
        sources: Sources,
        functions: MappedFunctions,
        may_read: MayUse,
        may_send: MayUse,
    ) -> None:
        self._store = store
        self._mappings = mappings
        self._sources = sources
        self._functions = functions
        self._may_read = may_read
        self._may_send = may_send

    def resource(self, call: Call) -> str:
        """The mapping's ARN."""
        return self._mappings.arn(call.params["UUID"])

    async def about_function(self, call: Call) -> None:
        """Leaves the function's ARN for policies; mappings have none of their own."""
        mapping_id = call.params.get("UUID")
        try:
            if mapping_id is not None:
                name = (await self._store.view(self._mappings.get, mapping_id)).function
            else:
                name = self._functions.plain_name(call.params["FunctionName"])
        except (Invalid, NotFound):
            return  # the handler says so to a caller who may know
        call.conditions[_FUNCTION] = [self._functions.arn(name)]

    async def create(self, call: Call) -> Output:
        """CreateEventSourceMapping"""
        if call.params.get("EventSourceArn") is None:
            raise Invalid("source", "The EventSourceArn of a stream, a table's stream or a queue is required.")
        settings = _settings(call.params)
        return self._output(*await self._store.commit(self._create, call.params, settings))

    def _create(self, tx: Tx, params: dict[str, Any], settings: dict[str, Any]) -> tuple[SourceMapping, str]:
        function = self._function(tx, params["FunctionName"])
        try:
            source = self._sources.find(tx, params["EventSourceArn"])
            self._may_read(function, source.arn, tx)
            position = settings.get("position", "")
            places = self._sources.places(tx, source, position, settings.get("position_ms")) if position else []
        except NotFound as error:
            raise Invalid("source", error.message) from None
        except AccessDenied:
            raise Invalid("role", f"Cannot access {params['EventSourceArn']}. Please ensure that the function's "
                          "execution role is allowed to read it.") from None  # fmt: skip
        made = self._mappings.create(tx, source, function, settings, places)
        self._check_destination(tx, made)
        return made, self._mappings.result(tx, made)

    async def get(self, call: Call) -> Output:
        """GetEventSourceMapping"""
        return self._output(*await self._store.view(self._one, call.params["UUID"]))

    def _one(self, view: View, mapping_id: str) -> tuple[SourceMapping, str]:
        mapping = self._mappings.get(view, mapping_id)
        return mapping, self._mappings.result(view, mapping)

    async def list_mappings(self, call: Call) -> Output:
        """ListEventSourceMappings"""
        params = call.params
        source, function = params.get("EventSourceArn"), params.get("FunctionName")
        name = self._functions.plain_name(function) if function is not None else None
        count = params.get("MaxItems") or _PAGE_MAX
        if not 1 <= count <= 10_000:
            raise Invalid("value", "MaxItems must be from 1 to 10000.")
        page = await self._store.view(self._page, _after(params.get("Marker")), source, name, min(count, _PAGE_MAX) + 1)
        shown = page[: min(count, _PAGE_MAX)]
        output: dict[str, Any] = {"EventSourceMappings": [self._output(*one) for one in shown]}
        if len(page) > len(shown):
            output["NextMarker"] = base64.urlsafe_b64encode(shown[-1][0].id.encode()).decode()
        return output

    def _page(
        self, view: View, after: str, source: str | None, function: str | None, count: int
    ) -> list[tuple[SourceMapping, str]]:
        page: list[tuple[SourceMapping, str]] = []
        for mapping in self._mappings.all(view, after):
            if source in (None, mapping.source) and function in (None, mapping.function):
                page.append((mapping, self._mappings.result(view, mapping)))
                if len(page) == count:
                    break
        return page

    async def update(self, call: Call) -> Output:
        """UpdateEventSourceMapping"""
        settings = _settings(call.params)
        if call.params.get("FunctionName") is not None:
            arn = self._functions.arn(self._functions.plain_name(call.params["FunctionName"]))
            authorize(
                call.principal, f"lambda:{call.operation}", self.resource(call), {**call.conditions, _FUNCTION: [arn]}
            )
        return self._output(*await self._store.commit(self._update, call.params, settings))

    def _update(self, tx: Tx, params: dict[str, Any], settings: dict[str, Any]) -> tuple[SourceMapping, str]:
        before = self._mappings.get(tx, params["UUID"])
        if params.get("FunctionName") is not None:
            settings = {**settings, "function": self._function(tx, params["FunctionName"])}
        try:
            source = self._sources.find(tx, before.source)
            if settings.get("function", before.function) != before.function:
                self._may_read(settings["function"], source.arn, tx)
        except NotFound as error:
            raise Invalid("source", error.message) from None
        except AccessDenied:
            raise Invalid("role", f"Cannot access {before.source}. Please ensure that the function's execution role "
                          "is allowed to read it.") from None  # fmt: skip
        made = self._mappings.update(tx, before.id, source, settings)
        self._check_destination(tx, made)
        return made, self._mappings.result(tx, made)

    async def delete(self, call: Call) -> Output:
        """DeleteEventSourceMapping"""
        mapping = await self._store.commit(self._mappings.remove, call.params["UUID"])
        return self._output(mapping, "") | {"State": "Deleting"}

    # -- inside

    def _function(self, view: View, text: str) -> str:
        name = self._functions.plain_name(text)
        if not self._functions.exists(view, name):
            raise NotFound("function", f"Function not found: {self._functions.arn(name)}")
        return name

    def _check_destination(self, view: View, mapping: SourceMapping) -> None:
        if not mapping.on_failure:
            return
        try:
            self._may_send(mapping.function, mapping.on_failure, view)
        except AccessDenied:
            raise Invalid("role", f"The function's execution role is not allowed to send to {mapping.on_failure}.") \
                from None  # fmt: skip

    def _output(self, mapping: SourceMapping, result: str) -> dict[str, Any]:
        output: dict[str, Any] = {
            "UUID": mapping.id,
            "EventSourceMappingArn": self._mappings.arn(mapping.id),
            "EventSourceArn": mapping.source,
            "FunctionArn": self._functions.arn(mapping.function),
            "State": "Enabled" if mapping.enabled else "Disabled",
            "StateTransitionReason": "USER_INITIATED",
            "LastModified": moment(mapping.modified_ms),
            "BatchSize": mapping.batch_max,
            "MaximumBatchingWindowInSeconds": mapping.window_s,
            "FunctionResponseTypes": ["ReportBatchItemFailures"] if mapping.partial else [],
        }
        if result:
            output["LastProcessingResult"] = result
        if mapping.filters:
            output["FilterCriteria"] = {"Filters": [{"Pattern": text} for text in mapping.filters]}
        if mapping.concurrency is not None:
            output["ScalingConfig"] = {"MaximumConcurrency": mapping.concurrency}
        return output | (_stream_output(mapping) if mapping.kind != "sqs" else {})


def _stream_output(mapping: SourceMapping) -> dict[str, Any]:
    destination = {"OnFailure": {"Destination": mapping.on_failure}} if mapping.on_failure else {}
    output: dict[str, Any] = {
        "StartingPosition": mapping.position,
        "BisectBatchOnFunctionError": mapping.bisect,
        "MaximumRetryAttempts": mapping.retries_max,
        "MaximumRecordAgeInSeconds": mapping.age_s_max,
        "ParallelizationFactor": mapping.parallel,
        "TumblingWindowInSeconds": 0,
        "DestinationConfig": destination,
    }
    if mapping.position_ms is not None:
        output["StartingPositionTimestamp"] = moment(mapping.position_ms)
    return output


#: Parameters that are settings as they are.
_PLAIN: Final[Mapping[str, str]] = {
    "BatchSize": "batch_max",
    "BisectBatchOnFunctionError": "bisect",
    "Enabled": "enabled",
    "MaximumBatchingWindowInSeconds": "window_s",
    "MaximumRecordAgeInSeconds": "age_s_max",
    "MaximumRetryAttempts": "retries_max",
    "ParallelizationFactor": "parallel",
    "StartingPosition": "position",
}


def _settings(params: dict[str, Any]) -> dict[str, Any]:
    """The request's settings as fields of a mapping. Raises ``Invalid``, ``NotImplementedYet``."""
    for name in _UNKNOWN_HERE:
        if params.get(name):
            raise NotImplementedYet("mapping", f"{name} is not supported here yet.")
    if params.get("TumblingWindowInSeconds"):
        raise NotImplementedYet("mapping", "TumblingWindowInSeconds is not supported here yet.")
    settings = {field: params[name] for name, field in _PLAIN.items() if params.get(name) is not None}
    if params.get("StartingPositionTimestamp") is not None:
        settings["position_ms"] = int(params["StartingPositionTimestamp"].timestamp() * 1000)
    if params.get("FilterCriteria") is not None:
        filters = params["FilterCriteria"].get("Filters") or []
        settings["filters"] = [one["Pattern"] for one in filters if one.get("Pattern") is not None]
    if params.get("FunctionResponseTypes") is not None:
        settings["partial"] = "ReportBatchItemFailures" in params["FunctionResponseTypes"]
    if params.get("ScalingConfig") is not None:
        settings["concurrency"] = params["ScalingConfig"].get("MaximumConcurrency")
    if params.get("DestinationConfig") is not None:
        settings["on_failure"] = (params["DestinationConfig"].get("OnFailure") or {}).get("Destination") or ""
    return settings


def _after(marker: str | None) -> str:
    try:
        return base64.urlsafe_b64decode(marker or "").decode()
    except (binascii.Error, ValueError):
        raise Invalid("value", "The Marker is not valid.") from None
