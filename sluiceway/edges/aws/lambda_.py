"""Lambda's API (AWS Lambda API reference, version 2015-03-31), as far as functions go.

Event source mappings have the same API; their operations come from ``lambda_mappings``.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson

from sluiceway.core.blobs import Blobs
from sluiceway.core.invoker import Invoker
from sluiceway.core.store import Store, View
from sluiceway.edges.aws.lambda_code import Archives
from sluiceway.edges.aws.operations import Call, ErrorTable, Operation, Output, ServiceEdge, moment
from sluiceway.errors import (
    AlreadyExists,
    Conflict,
    Invalid,
    NotFound,
    PreconditionFailed,
    Throttled,
    TooLarge,
    Unavailable,
)
from sluiceway.services.access import authorize
from sluiceway.services.functions import Code, Function, Functions, Settings
from sluiceway.services.functions.checks import plain_name

ERRORS: Final[ErrorTable] = {
    (NotFound, "*"): "ResourceNotFoundException",
    (AlreadyExists, "*"): "ResourceConflictException",
    (Conflict, "*"): "ResourceConflictException",
    (Invalid, "content"): "InvalidRequestContentException",
    (Invalid, "*"): "InvalidParameterValueException",
    (TooLarge, "payload"): "RequestTooLargeException",
    (TooLarge, "policy"): "PolicyLengthExceededException",
    (TooLarge, "*"): "InvalidParameterValueException",
    (PreconditionFailed, "*"): "PreconditionFailedException",
    (Throttled, "*"): "TooManyRequestsException",
    (Unavailable, "runtime"): "InvalidRuntimeException",
}

#: API parameter -> field of ``Settings``.
_FIELDS: Final[Mapping[str, str]] = {
    "Runtime": "runtime",
    "Handler": "handler",
    "Role": "role",
    "Timeout": "timeout_s",
    "MemorySize": "memory_mb",
    "Description": "description",
}
#: (view, role ARN): raises unless functions may run with the role.
CheckRole = Callable[[View, str], None]


def lambda_edge(
    store: Store,
    blobs: Blobs,
    functions: Functions,
    invoker: Invoker,
    archives: Archives,
    check_role: CheckRole,
    more: Mapping[str, Operation],
) -> ServiceEdge:
    """The service's operations, and ``more`` (those of event source mappings)."""
    edge = _Lambda(store, blobs, functions, invoker, archives, check_role)
    plain = {
        "CreateFunction": edge.create,
        "DeleteFunction": edge.delete,
        "GetFunction": edge.get,
        "GetFunctionConfiguration": edge.get_configuration,
        "UpdateFunctionCode": edge.update_code,
        "UpdateFunctionConfiguration": edge.update_configuration,
        "AddPermission": edge.add_permission,
        "RemovePermission": edge.remove_permission,
        "GetPolicy": edge.get_policy,
        "PutFunctionConcurrency": edge.put_concurrency,
        "GetFunctionConcurrency": edge.get_concurrency,
        "DeleteFunctionConcurrency": edge.delete_concurrency,
        "PutFunctionEventInvokeConfig": edge.put_event_config,
        "UpdateFunctionEventInvokeConfig": edge.update_event_config,
        "GetFunctionEventInvokeConfig": edge.get_event_config,
        "DeleteFunctionEventInvokeConfig": edge.delete_event_config,
        "ListVersionsByFunction": edge.list_versions,
    }
    table = {name: Operation(handler, edge.resource, policy=edge.policy) for name, handler in plain.items()}
    table["Invoke"] = Operation(edge.invoke, edge.resource, policy=edge.policy, action="lambda:InvokeFunction")
    for name, handler in (("ListTags", edge.list_tags), ("TagResource", edge.tag), ("UntagResource", edge.untag)):
        table[name] = Operation(handler, edge.tagged)
    table["ListFunctions"] = Operation(edge.list_functions, lambda call: "*")
    table["GetAccountSettings"] = Operation(edge.account_settings, lambda call: "*")
    return ServiceEdge("lambda", "lambda", table | dict(more), ERRORS)


class _Lambda:
    def __init__(
        self,
        store: Store,
        blobs: Blobs,
        functions: Functions,
        invoker: Invoker,
        archives: Archives,
        check_role: CheckRole,
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._functions = functions
        self._invoker = invoker
        self._archives = archives
        self._check_role = check_role

    def resource(self, call: Call) -> str:
        """The function's ARN, whatever form its name has."""
        return self._functions.arn(plain_name(call.scope, call.params["FunctionName"]))

    async def policy(self, call: Call) -> dict[str, Any] | None:
        """The function's own policy; none for a function that does not exist."""
        found = await self._store.view(self._functions.find, self._name(call))
        return {"Version": "2012-10-17", "Statement": found.statements} if found and found.statements else None

    def tagged(self, call: Call) -> str:
        """The ARN of the function that is tagged, whatever form its name has."""
        return self._functions.arn(plain_name(call.scope, call.params["Resource"]))

    def _name(self, call: Call) -> str:
        return plain_name(call.scope, call.params["FunctionName"])

    # -- functions

    async def create(self, call: Call) -> Output:
        """CreateFunction"""
        params = call.params
        if params.get("PackageType", "Zip") != "Zip":
            raise Invalid("value", "Container images are not supported here: PackageType must be Zip.")
        for name in ("Runtime", "Handler"):
            if not params.get(name):
                raise Invalid("value", f"{name} is mandatory for functions created with deployment packages.")
        changes = _changes(params)
        settings = Settings(**changes)
        await self._pass_role(call, settings.role)
        code = await self._archives.take(call, params["Code"])
        tags = params.get("Tags") or {}

        made = await self._keep(code, self._functions.create, self._name(call), code, settings, tags)
        return _configuration(made)

    async def _pass_role(self, call: Call, role_arn: str) -> None:
        """Whoever gives a function a role needs leave for that, or they had the rights of every role (IAM User Guide,
        "Grant a user permissions to pass a role to an AWS service")."""
        about = {"iam:PassedToService": ["lambda.amazonaws.com"], "iam:AssociatedResourceArn": [self.resource(call)]}
        authorize(call.principal, "iam:PassRole", role_arn, {**call.conditions, **about})
        await self._store.view(self._check_role, role_arn)

    async def _keep(self, code: Code, fn: Callable[..., Function], *args: Any) -> Function:
        """Commit what refers to a new blob; without the commit the blob is nobody's."""
        try:
            return await self._store.commit(fn, *args)
        except BaseException:
            await self._blobs.delete(code.blob)
            raise

    async def get(self, call: Call) -> Output:
        """GetFunction"""
        found = await self._store.view(self._functions.get, self._name(call))
        output: dict[str, Any] = {"Configuration": _configuration(found), "Code": {"RepositoryType": "S3"}}
        if found.tags:
            output["Tags"] = found.tags
        if found.concurrency is not None:
            output["Concurrency"] = {"ReservedConcurrentExecutions": found.concurrency}
        return output

    async def get_configuration(self, call: Call) -> Output:
        """GetFunctionConfiguration"""
        return _configuration(await self._store.view(self._functions.get, self._name(call)))

    async def list_functions(self, call: Call) -> Output:
        """ListFunctions"""
        limit = call.params.get("MaxItems", self._functions.limits.page_max)
        if limit < 1:
            raise Invalid("value", "MaxItems must be at least 1.")
        limit = min(limit, self._functions.limits.page_max)
        after = _after(call.params.get("Marker"))
        found = await self._store.view(self._functions.page, after, limit + 1)
        output: dict[str, Any] = {"Functions": [_configuration(function) for function in found[:limit]]}
        if len(found) > limit:
            output["NextMarker"] = base64.urlsafe_b64encode(found[limit - 1].name.encode()).decode()
        return output

    async def list_versions(self, call: Call) -> Output:
        """ListVersionsByFunction: only what is being worked on has a version here yet."""
        return {"Versions": [await self.get_configuration(call)]}

    async def update_code(self, call: Call) -> Output:
        """UpdateFunctionCode"""
        name = self._name(call)
        found = await self._store.view(self._functions.get, name)
        _check_revision(call, found)
        code = await self._archives.take(call, call.params)
        if call.params.get("DryRun"):
            await self._blobs.delete(code.blob)
            return _configuration(found)
        return _configuration(await self._keep(code, self._functions.update_code, name, code))

    async def update_configuration(self, call: Call) -> Output:
        """UpdateFunctionConfiguration"""
        name = self._name(call)
        changes = _changes(call.params)
        if "role" in changes:
            await self._pass_role(call, changes["role"])
        _check_revision(call, await self._store.view(self._functions.get, name))
        return _configuration(await self._store.commit(self._functions.update_settings, name, changes))

    async def delete(self, call: Call) -> Output:
        """DeleteFunction"""
        await self._store.commit(self._functions.remove, self._name(call))
        return None

    async def account_settings(self, call: Call) -> Output:
        """GetAccountSettings"""
        workers = self._functions.limits.workers_max
        limit = {
            "TotalCodeSize": 80530636800,
            "CodeSizeUnzipped": self._functions.limits.archive_bytes_max,
            "CodeSizeZipped": 52428800,
            "ConcurrentExecutions": workers,
            "UnreservedConcurrentExecutions": workers,
        }
        return {"AccountLimit": limit, "AccountUsage": {}}

    # -- invocations

    async def invoke(self, call: Call) -> Output:
        """Invoke"""
        params = call.params
        name, payload = self._name(call), params.get("Payload") or b""
        kind = params.get("InvocationType") or "RequestResponse"
        if params.get("Qualifier") not in (None, "$LATEST"):
            raise NotFound("function", f"Function not found: {self._functions.arn(name)}:{params['Qualifier']}")
        if len(payload) > self._functions.limits.payload_bytes_max:
            raise TooLarge("payload", f"Request must be smaller than {self._functions.limits.payload_bytes_max} bytes "
                           "for the InvokeFunction operation")  # fmt: skip
        event = _event(payload)
        if kind == "DryRun":
            await self._store.view(self._functions.get, name)
            return {"StatusCode": 204}
        if kind == "Event":
            await self._store.commit(self._functions.enqueue, name, event, request_id=call.request_id)
            return {"StatusCode": 202, "Payload": b""}
        outcome = await self._invoker.invoke(
            name, payload or b"{}", request_id=call.request_id, client_context=params.get("ClientContext")
        )
        output: dict[str, Any] = {"StatusCode": 200, "Payload": outcome.payload, "ExecutedVersion": outcome.version}
        if outcome.error:
            output["FunctionError"] = outcome.error
        if params.get("LogType") == "Tail":
            output["LogResult"] = base64.b64encode(outcome.log_tail).decode()
        return output

    # -- permission and limits

    async def add_permission(self, call: Call) -> Output:
        """AddPermission"""
        statement = await self._store.commit(self._functions.add_permission, self._name(call), call.params)
        return {"Statement": orjson.dumps(statement).decode()}

    async def remove_permission(self, call: Call) -> Output:
        """RemovePermission"""
        await self._store.commit(self._functions.remove_permission, self._name(call), call.params["StatementId"])
        return None

    async def get_policy(self, call: Call) -> Output:
        """GetPolicy"""
        found = await self._store.view(self._functions.get, self._name(call))
        if not found.statements:
            raise NotFound("policy", "The resource you requested does not exist.")
        document = {"Version": "2012-10-17", "Id": "default", "Statement": found.statements}
        return {"Policy": orjson.dumps(document).decode(), "RevisionId": found.revision}

    async def put_concurrency(self, call: Call) -> Output:
        """PutFunctionConcurrency"""
        limit = call.params["ReservedConcurrentExecutions"]
        await self._store.commit(self._functions.set_concurrency, self._name(call), limit)
        return {"ReservedConcurrentExecutions": limit}

    async def get_concurrency(self, call: Call) -> Output:
        """GetFunctionConcurrency"""
        found = await self._store.view(self._functions.get, self._name(call))
        return {} if found.concurrency is None else {"ReservedConcurrentExecutions": found.concurrency}

    async def delete_concurrency(self, call: Call) -> Output:
        """DeleteFunctionConcurrency"""
        await self._store.commit(self._functions.set_concurrency, self._name(call), None)
        return None

    async def put_event_config(self, call: Call) -> Output:
        """PutFunctionEventInvokeConfig"""
        clear: dict[str, Any] = {"on_success": "", "on_failure": "", "tries_max": None, "age_s_max": None}
        changes = clear | _event_changes(call.params)
        return _event_config(await self._store.commit(self._functions.set_asynchronous, self._name(call), changes))

    async def update_event_config(self, call: Call) -> Output:
        """UpdateFunctionEventInvokeConfig"""
        changes = _event_changes(call.params)
        return _event_config(await self._store.commit(self._functions.set_asynchronous, self._name(call), changes))

    async def get_event_config(self, call: Call) -> Output:
        """GetFunctionEventInvokeConfig"""
        return _event_config(await self._store.view(self._functions.get, self._name(call)))

    async def delete_event_config(self, call: Call) -> Output:
        """DeleteFunctionEventInvokeConfig"""
        clear = {"on_success": "", "on_failure": "", "tries_max": None, "age_s_max": None}
        await self._store.commit(self._functions.set_asynchronous, self._name(call), clear)
        return None

    # -- tags

    async def list_tags(self, call: Call) -> Output:
        """ListTags"""
        name = plain_name(call.scope, call.params["Resource"])
        return {"Tags": (await self._store.view(self._functions.get, name)).tags}

    async def tag(self, call: Call) -> Output:
        """TagResource"""
        name = plain_name(call.scope, call.params["Resource"])
        await self._store.commit(self._functions.retag, name, call.params["Tags"])
        return None

    async def untag(self, call: Call) -> Output:
        """UntagResource"""
        name = plain_name(call.scope, call.params["Resource"])
        await self._store.commit(self._functions.retag, name, {}, call.params["TagKeys"])
        return None


def _event(payload: bytes) -> Any:
    try:
        return orjson.loads(payload or b"{}")
    except (ValueError, RecursionError) as error:
        raise Invalid("content", f"Could not parse request body into json: {error}") from None


def _changes(params: dict[str, Any]) -> dict[str, Any]:
    changes = {field: params[name] for name, field in _FIELDS.items() if params.get(name) is not None}
    if params.get("Environment") is not None:
        changes["environment"] = params["Environment"].get("Variables") or {}
    if params.get("DeadLetterConfig") is not None:
        changes["dead_letter"] = params["DeadLetterConfig"].get("TargetArn") or ""
    if params.get("TracingConfig") is not None:
        changes["tracing"] = params["TracingConfig"].get("Mode") or "PassThrough"
    for name in ("VpcConfig", "FileSystemConfigs", "Layers"):
        if _wants(params.get(name)):
            raise Invalid("value", f"{name} is not supported here: leave it out.")
    return changes


def _wants(value: Any) -> bool:
    if isinstance(value, dict):
        return any(_wants(item) for item in value.values())
    return bool(value)


def _check_revision(call: Call, found: Function) -> None:
    wanted = call.params.get("RevisionId")
    if wanted and wanted != found.revision:
        raise PreconditionFailed(
            "revision",
            "The RevisionId provided does not match the latest RevisionId. Call the GetFunction/GetAlias API to "
            "retrieve the latest RevisionId",
        )


def _after(marker: str | None) -> str:
    try:
        return base64.urlsafe_b64decode(marker or "").decode()
    except ValueError:
        raise Invalid("value", "Marker is not valid.") from None


def _configuration(function: Function) -> dict[str, Any]:
    settings = function.settings
    modified = moment(function.modified_ms)
    output: dict[str, Any] = {
        "FunctionName": function.name,
        "FunctionArn": function.arn,
        "Runtime": settings.runtime,
        "Role": settings.role,
        "Handler": settings.handler,
        "CodeSize": function.code.size,
        "Description": settings.description,
        "Timeout": settings.timeout_s,
        "MemorySize": settings.memory_mb,
        "LastModified": modified.strftime("%Y-%m-%dT%H:%M:%S.") + f"{function.modified_ms % 1000:03d}+0000",
        "CodeSha256": function.code.sha256,
        "Version": "$LATEST",
        "TracingConfig": {"Mode": settings.tracing},
        "RevisionId": function.revision,
        "State": "Active",
        "LastUpdateStatus": "Successful",
        "PackageType": "Zip",
        "Architectures": ["x86_64"],
        "EphemeralStorage": {"Size": 512},
        "LoggingConfig": {"LogFormat": "Text", "LogGroup": f"/aws/lambda/{function.name}"},
    }
    if settings.environment:
        output["Environment"] = {"Variables": settings.environment}
    if settings.dead_letter:
        output["DeadLetterConfig"] = {"TargetArn": settings.dead_letter}
    return output


def _event_changes(params: dict[str, Any]) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    tries, age = params.get("MaximumRetryAttempts"), params.get("MaximumEventAgeInSeconds")
    if tries is not None:
        if not 0 <= tries <= 2:
            raise Invalid("value", "MaximumRetryAttempts must be from 0 to 2.")
        changes["tries_max"] = tries
    if age is not None:
        if not 60 <= age <= 21_600:
            raise Invalid("value", "MaximumEventAgeInSeconds must be from 60 to 21600.")
        changes["age_s_max"] = age
    destinations = params.get("DestinationConfig")
    if destinations is not None:
        changes["on_success"] = (destinations.get("OnSuccess") or {}).get("Destination") or ""
        changes["on_failure"] = (destinations.get("OnFailure") or {}).get("Destination") or ""
    return changes


def _event_config(function: Function) -> dict[str, Any]:
    asked = (function.on_success, function.on_failure, function.tries_max, function.age_s_max)
    if asked == ("", "", None, None):
        raise NotFound("event_config", f"The function {function.arn} doesn't have an EventInvokeConfig")
    output: dict[str, Any] = {
        "LastModified": moment(function.modified_ms),
        "FunctionArn": f"{function.arn}:$LATEST",
        "DestinationConfig": {
            name: {"Destination": arn}
            for name, arn in (("OnSuccess", function.on_success), ("OnFailure", function.on_failure))
            if arn
        },
    }
    if function.tries_max is not None:
        output["MaximumRetryAttempts"] = function.tries_max
    if function.age_s_max is not None:
        output["MaximumEventAgeInSeconds"] = function.age_s_max
    return output
