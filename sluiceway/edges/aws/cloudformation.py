"""CloudFormation's protocol: stacks from templates."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Collection, Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from sluiceway.config import StackSettings
from sluiceway.core.identity import Principal
from sluiceway.core.store import Store
from sluiceway.edges.aws.inprocess import ApiError
from sluiceway.edges.aws.operations import Call, ErrorTable, Operation, Output, ServiceEdge
from sluiceway.errors import AlreadyExists, Conflict, Invalid, NotFound, NotImplementedYet, Throttled, TooLarge
from sluiceway.services.stacks import intrinsics, sam, templates
from sluiceway.services.stacks.state import Request, Row, Stacks

#: CloudFormation answers nearly everything with ValidationError (each operation's "Errors").
ERRORS: Final[ErrorTable] = {
    (AlreadyExists, "stack"): "AlreadyExistsException",
    (Throttled, "stack"): "LimitExceededException",
    (NotFound, "*"): "ValidationError",
    (Invalid, "*"): "ValidationError",
    (Conflict, "*"): "ValidationError",
    (TooLarge, "*"): "ValidationError",
}

_BUCKET_HOST = re.compile(r"(.+)\.s3[.-].+")
Types = Mapping[str, Collection[str]]
CallOperation = Callable[[str, str, dict[str, Any], Principal], Awaitable[dict[str, Any]]]


class _Handlers:
    def __init__(self, store: Store, stacks: Stacks, types: Types, call: CallOperation, limits: StackSettings) -> None:
        self._store = store
        self._stacks = stacks
        self._types = types
        self._call = call
        self._limits = limits

    async def create(self, call: Call) -> Output:
        name = call.params["StackName"]
        stack_id = self._stacks.new_id_for(name)
        request = await self._request(call, stack_id, None)
        await self._store.commit(self._stacks.begin_create, name, stack_id, request, call.principal)
        return {"StackId": stack_id}

    async def update(self, call: Call) -> Output:
        row = await self._store.view(self._stacks.get, call.params["StackName"])
        request = await self._request(call, row["id"], row)
        await self._store.commit(self._stacks.begin_update, row["name"], request, call.principal)
        return {"StackId": row["id"]}

    async def delete(self, call: Call) -> Output:
        if call.params.get("RetainResources"):
            raise NotImplementedYet("option", "DeleteStack with RetainResources is not available here yet.")
        await self._store.commit(self._stacks.begin_delete, call.params["StackName"], call.principal)
        return None

    async def describe(self, call: Call) -> Output:
        name = call.params.get("StackName")
        if name:
            return {"Stacks": [_stack(await self._store.view(self._stacks.get, name))]}
        return {"Stacks": [_stack(row) for row in await self._store.view(self._stacks.all)]}

    async def summaries(self, call: Call) -> Output:
        wanted = call.params.get("StackStatusFilter")
        rows = await self._store.view(self._stacks.all)
        return {"StackSummaries": [_summary(row) for row in rows if not wanted or row["status"] in wanted]}

    async def events(self, call: Call) -> Output:
        row = await self._store.view(self._stacks.get, call.params["StackName"])
        events = await self._store.view(self._stacks.events, row["id"], self._limits.events_max)
        return {"StackEvents": [_event(event) for event in events]}

    async def resources(self, call: Call) -> Output:
        row, found = await self._resources(call)
        wanted = call.params.get("LogicalResourceId")
        return {"StackResources": [_resource(row, item) for item in found if not wanted or item["logical"] == wanted]}

    async def resource(self, call: Call) -> Output:
        row, found = await self._resources(call)
        logical = call.params["LogicalResourceId"]
        for item in found:
            if item["logical"] == logical:
                detail = _resource(row, item)
                detail["LastUpdatedTimestamp"] = detail.pop("Timestamp")
                return {"StackResourceDetail": detail}
        raise NotFound("resource", f"Resource {logical} does not exist for stack {row['name']}")

    async def list_resources(self, call: Call) -> Output:
        row, found = await self._resources(call)
        summaries = []
        for item in found:
            detail = _resource(row, item)
            detail["LastUpdatedTimestamp"] = detail.pop("Timestamp")
            summaries.append(detail)
        return {"StackResourceSummaries": summaries}

    async def template(self, call: Call) -> Output:
        row = await self._store.view(self._stacks.get, _stack_name(call))
        if call.params.get("TemplateStage") == "Processed":
            return {"TemplateBody": json.dumps(row["request"]["processed"])}
        return {"TemplateBody": row["request"]["text"]}

    async def validate(self, call: Call) -> Output:
        template = await asyncio.to_thread(templates.parse, await self._text(call, None))
        declared = template.get("Parameters") or {}
        hidden = templates.hidden_parameters(template)
        parameters = [
            {
                "ParameterKey": name,
                "DefaultValue": intrinsics.text_of(spec["Default"]) if "Default" in spec else None,
                "Description": spec.get("Description"),
                "NoEcho": name in hidden,
            }
            for name, spec in declared.items()
        ]
        return {"Parameters": parameters, "Description": template.get("Description")}

    async def _resources(self, call: Call) -> tuple[Row, list[Row]]:
        row = await self._store.view(self._stacks.get, _stack_name(call))
        found = await self._store.view(self._stacks.resources, row["id"])
        return row, sorted(found.values(), key=lambda item: str(item["logical"]))

    async def _text(self, call: Call, row: Row | None) -> str:
        if call.params.get("UsePreviousTemplate") and row is not None:
            return str(row["request"]["text"])
        if call.params.get("TemplateURL"):
            return await self._fetched(call)
        text = call.params.get("TemplateBody")
        if not text:
            raise Invalid("template", "Either Template URL or Template Body must be specified.")
        return self._bounded(str(text), self._limits.body_bytes_max, "templateBody")

    def _bounded(self, text: str, limit: int, where: str) -> str:
        if len(text.encode()) > limit:
            raise TooLarge(
                "template",
                f"1 validation error detected: Value at '{where}' failed to satisfy constraint: Member must have length "
                f"less than or equal to {limit}",
            )
        return text

    async def _fetched(self, call: Call) -> str:
        """A template in a bucket of this server: ``https://HOST/BUCKET/KEY`` or ``https://BUCKET.s3.HOST/KEY``."""
        url = urlsplit(call.params["TemplateURL"])
        own = _BUCKET_HOST.match(url.hostname or "")
        path = unquote(url.path.removeprefix("/"))
        bucket, _, key = (own[1], "", path) if own else path.partition("/")
        if not bucket or not key:
            raise Invalid("template", "TemplateURL must be a supported URL: http://HOST/BUCKET/KEY.")
        try:
            output = await self._call("s3", "GetObject", {"Bucket": bucket, "Key": key}, call.principal)
        except ApiError as error:
            raise Invalid("template", f"S3 error: {error.message}") from None
        except UnicodeDecodeError:
            raise Invalid("template", "Template format error: the template is not text in UTF-8.") from None
        return self._bounded(str(output["Body"]), self._limits.template_bytes_max, "templateURL")

    async def _request(self, call: Call, stack_id: str, row: Row | None) -> Request:
        """Everything that can be wrong with a template is told before anything is made."""
        text = await self._text(call, row)
        template = await asyncio.to_thread(templates.parse, text)
        self._check_size(template)
        before = row["request"]["parameters"] if row else {}
        given = _given(call.params.get("Parameters") or [], before)
        name = row["name"] if row else call.params["StackName"]
        stored = {key: await self._stored(key, call) for key in templates.stored_names(template, given)}
        pseudo = templates.pseudo_parameters(call.scope, name, stack_id)
        values = templates.parameter_values(template, given, pseudo, stored)
        processed = template
        if templates.is_sam(template):
            processed = await asyncio.to_thread(sam.translate, template, values, call.scope.region)
            self._check_size(processed)
        plan = templates.plan(processed, values, self._types)
        templates.check_properties(plan, self._types)
        return Request(
            text=text,
            processed=processed,
            parameters=templates.given_or_default(template, given),
            values=values,
            tags={tag["Key"]: tag["Value"] for tag in call.params.get("Tags") or []},
            capabilities=tuple(call.params.get("Capabilities") or ()),
            rollback=not call.params.get("DisableRollback") and call.params.get("OnFailure") != "DO_NOTHING",
            hidden=tuple(templates.hidden_parameters(template)),
        )

    def _check_size(self, template: Mapping[str, Any]) -> None:
        if len(template["Resources"]) > self._limits.resources_max:
            raise TooLarge("template", f"The template has more than {self._limits.resources_max} resources.")

    async def _stored(self, name: str, call: Call) -> str:
        try:
            output = await self._call("ssm", "GetParameter", {"Name": name}, call.principal)
        except ApiError as error:
            raise Invalid(
                "parameter", f"Unable to fetch parameter [{name}] from parameter store: {error.message}"
            ) from None
        return str(output["Parameter"]["Value"])


def _given(listed: list[dict[str, Any]], before: Mapping[str, str]) -> dict[str, str]:
    given = {}
    for item in listed:
        name = str(item.get("ParameterKey", ""))
        if item.get("UsePreviousValue"):
            if name not in before:
                raise Invalid("parameter", f"Invalid input for parameter key {name}. There is no previous value.")
            given[name] = before[name]
        else:
            given[name] = str(item.get("ParameterValue", ""))
    return given


def _time(ms: int | None) -> datetime | None:
    return None if ms is None else datetime.fromtimestamp(ms / 1000, UTC)


def _summary(row: Row) -> dict[str, Any]:
    return _present(
        {
            "StackId": row["id"],
            "StackName": row["name"],
            "CreationTime": _time(row["created_ms"]),
            "LastUpdatedTime": _time(row["updated_ms"]),
            "DeletionTime": _time(row.get("deleted_ms")),
            "StackStatus": row["status"],
            "StackStatusReason": row["reason"] or None,
        }
    )


def _stack(row: Row) -> dict[str, Any]:
    request = row["request"]
    outputs = [
        _present({"OutputKey": item["key"], "OutputValue": item["value"], "Description": item["description"]})
        for item in row["outputs"]
    ]
    return {
        **_summary(row),
        "DisableRollback": not request["rollback"],
        "Capabilities": request["capabilities"],
        "Parameters": [
            {"ParameterKey": name, "ParameterValue": "****" if name in request.get("hidden", ()) else value}
            for name, value in request["parameters"].items()
        ],
        "Outputs": outputs,
        "Tags": [{"Key": name, "Value": value} for name, value in request["tags"].items()],
        "NotificationARNs": [],
    }


def _event(event: Row) -> dict[str, Any]:
    return _present(
        {
            "StackId": event["stack_id"],
            "EventId": event["id"],
            "StackName": event["stack_name"],
            "LogicalResourceId": event["logical"],
            "PhysicalResourceId": event["physical_id"],
            "ResourceType": event["type"],
            "Timestamp": _time(event["at_ms"]),
            "ResourceStatus": event["status"],
            "ResourceStatusReason": event["reason"] or None,
        }
    )


def _resource(row: Row, item: Row) -> dict[str, Any]:
    return _present(
        {
            "StackName": row["name"],
            "StackId": row["id"],
            "LogicalResourceId": item["logical"],
            "PhysicalResourceId": item["physical_id"],
            "ResourceType": item["type"],
            "Timestamp": _time(item["updated_ms"]),
            "ResourceStatus": item["status"],
            "ResourceStatusReason": item["reason"] or None,
        }
    )


def _stack_name(call: Call) -> str:
    name = call.params.get("StackName")
    if not name:
        raise Invalid("stack_name", "StackName is required.")
    return str(name)


def _present(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _resource_arn(call: Call) -> str:
    name = call.params.get("StackName") or ""
    if name.startswith("arn:"):
        return str(name)
    return call.scope.arn("cloudformation", f"stack/{name}/*") if name else "*"


def cloudformation_edge(
    store: Store, stacks: Stacks, types: Types, call: CallOperation, limits: StackSettings
) -> ServiceEdge:
    """``types`` maps the resource types that can be made to their properties; ``call`` runs an operation of another service."""
    handlers = _Handlers(store, stacks, types, call, limits)
    table = {
        "CreateStack": handlers.create,
        "DeleteStack": handlers.delete,
        "DescribeStackEvents": handlers.events,
        "DescribeStackResource": handlers.resource,
        "DescribeStackResources": handlers.resources,
        "DescribeStacks": handlers.describe,
        "GetTemplate": handlers.template,
        "ListStackResources": handlers.list_resources,
        "ListStacks": handlers.summaries,
        "UpdateStack": handlers.update,
        "ValidateTemplate": handlers.validate,
    }
    operations = {name: Operation(handler, _resource_arn) for name, handler in table.items()}
    return ServiceEdge("cloudformation", "cloudformation", operations, ERRORS)
