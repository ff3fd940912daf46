"""Parameter Store's protocol (AWS Systems Manager API reference)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from sluiceway.core.policy.principals import session_arn
from sluiceway.core.store import Store, Tx, View
from sluiceway.edges.aws.operations import Call, ErrorTable, Operation, Output, ServiceEdge, moment
from sluiceway.errors import AlreadyExists, Conflict, Invalid, NotFound, TooLarge
from sluiceway.services.access import authorize
from sluiceway.services.secrets import Parameters
from sluiceway.services.secrets.parameters import Parameter

_ERRORS: Final[ErrorTable] = {
    (NotFound, "version"): "ParameterVersionNotFound",
    (NotFound, "resource"): "InvalidResourceId",
    (NotFound, "*"): "ParameterNotFound",
    (AlreadyExists, "*"): "ParameterAlreadyExists",
    (Conflict, "limit"): "ParameterLimitExceeded",
    (Conflict, "tags"): "TooManyTagsError",
    (Invalid, "levels"): "HierarchyLevelLimitExceededException",
    (Invalid, "filter"): "InvalidFilterKey",
    (Invalid, "next_token"): "InvalidNextToken",
    (Invalid, "type"): "UnsupportedParameterType",
    (Invalid, "*"): "ValidationException",
    (TooLarge, "*"): "ValidationException",
}
_BY_PATH_MAX: Final = 10
_DESCRIBE_MAX: Final = 50


class _Ssm:
    def __init__(self, store: Store, parameters: Parameters) -> None:
        self._store = store
        self._parameters = parameters

    async def put(self, call: Call) -> Output:
        params = call.params
        kept = await self._store.commit(
            self._parameters.put,
            params["Name"],
            params["Value"],
            params.get("Type"),
            bool(params.get("Overwrite")),
            description=params.get("Description") or "",
            tier=params.get("Tier"),
            data_type=params.get("DataType") or "text",
            allowed_pattern=params.get("AllowedPattern") or "",
            key_id=params.get("KeyId") or "",
            tags=_tags_in(params),
            by=session_arn(call.principal),
        )
        return {"Version": kept.version, "Tier": kept.tier}

    async def get(self, call: Call) -> Output:
        name = call.params["Name"]
        found = await self._store.view(self._parameters.get, name)
        return {"Parameter": self._out(found, call, selector=name)}

    async def get_many(self, call: Call) -> Output:
        """Each name is authorised by itself: the operation's own check sees only one resource."""
        names = list(dict.fromkeys(call.params["Names"]))
        if not 1 <= len(names) <= 10:
            raise Invalid("names", "1 to 10 parameters can be asked for at once.")
        self._allow_each(call, "ssm:GetParameters", names)

        def read(view: View) -> list[tuple[str, Parameter | None]]:
            return [(name, self._find(view, name)) for name in names]

        found = await self._store.view(read)
        known = [self._out(parameter, call, selector=name) for name, parameter in found if parameter]
        return {"Parameters": known, "InvalidParameters": [name for name, parameter in found if not parameter]}

    async def by_path(self, call: Call) -> Output:
        params = call.params
        path, recursive = params["Path"], bool(params.get("Recursive"))
        rules = [_rule(rule) for rule in params.get("ParameterFilters") or []]
        found = await self._store.view(
            lambda view: list(
                self._parameters.under(view, path, recursive=recursive, after=params.get("NextToken") or "")
            )
        )
        kept = [parameter for parameter in found if all(rule(parameter) for rule in rules)]
        page, more = _page(params, kept, _BY_PATH_MAX)
        return {"Parameters": [self._out(parameter, call) for parameter in page], **more}

    async def history(self, call: Call) -> Output:
        params = call.params
        versions = await self._store.view(self._parameters.history, params["Name"])
        after = params.get("NextToken") or "0"
        if not (after.isascii() and after.isdigit()) or len(after) > 9:
            raise Invalid("next_token", "The specified token is not valid.")
        left = [item for item in versions if item.version > int(after)]
        limit = _limit(params, _DESCRIBE_MAX)
        out = [{**_metadata(item), "Value": self._value(item, call)} for item in left[:limit]]
        more = {"NextToken": str(left[limit - 1].version)} if len(left) > limit else {}
        return {"Parameters": [{k: v for k, v in row.items() if k != "ARN"} for row in out], **more}

    async def describe(self, call: Call) -> Output:
        params = call.params
        given = [*(params.get("ParameterFilters") or []), *(params.get("Filters") or [])]
        rules = [_rule(rule) for rule in given]
        after = params.get("NextToken") or ""
        found = await self._store.view(lambda view: list(self._parameters.list(view, after)))
        kept = [item for item in found if item.name != after and all(rule(item) for rule in rules)]
        page, more = _page(params, kept, _DESCRIBE_MAX)
        return {"Parameters": [_metadata(parameter) for parameter in page], **more}

    async def delete(self, call: Call) -> Output:
        await self._store.commit(self._parameters.delete, call.params["Name"])
        return {}

    async def delete_many(self, call: Call) -> Output:
        names = list(dict.fromkeys(call.params["Names"]))
        if not 1 <= len(names) <= 10:
            raise Invalid("names", "1 to 10 parameters can be deleted at once.")
        self._allow_each(call, "ssm:DeleteParameters", names)

        def write(tx: Tx) -> list[str]:
            known = [name for name in names if self._find(tx, name) is not None]
            for name in known:
                self._parameters.delete(tx, name)
            return known

        deleted = await self._store.commit(write)
        return {"DeletedParameters": deleted, "InvalidParameters": [name for name in names if name not in deleted]}

    async def add_tags(self, call: Call) -> Output:
        await self._store.commit(self._parameters.retag, _tagged(call), _tags_in(call.params))
        return {}

    async def remove_tags(self, call: Call) -> Output:
        await self._store.commit(self._parameters.retag, _tagged(call), {}, call.params["TagKeys"])
        return {}

    async def list_tags(self, call: Call) -> Output:
        found = await self._store.view(self._parameters.get, _tagged(call))
        return {"TagList": [{"Key": key, "Value": value} for key, value in found.tags.items()]}

    def _allow_each(self, call: Call, action: str, names: Iterable[str]) -> None:
        for name in names:
            authorize(call.principal, action, _arn(call, name), call.conditions)

    def _find(self, view: View, name: str) -> Parameter | None:
        try:
            return self._parameters.get(view, name)
        except NotFound:
            return None

    def _value(self, parameter: Parameter, call: Call) -> str:
        """Without WithDecryption a SecureString's value is what is kept of it: sealed."""
        return self._parameters.plain(parameter) if call.params.get("WithDecryption") else parameter.value

    def _out(self, parameter: Parameter, call: Call, selector: str = "") -> dict[str, Any]:
        out: dict[str, Any] = {
            "Name": parameter.name,
            "Type": parameter.type,
            "Value": self._value(parameter, call),
            "Version": parameter.version,
            "LastModifiedDate": moment(parameter.modified_ms),
            "ARN": parameter.arn,
            "DataType": parameter.data_type,
        }
        version = selector.removeprefix(parameter.arn).removeprefix(parameter.name)
        if version.startswith(":"):
            out["Selector"] = version
        return out


def _metadata(parameter: Parameter) -> dict[str, Any]:
    out: dict[str, Any] = {
        "Name": parameter.name,
        "ARN": parameter.arn,
        "Type": parameter.type,
        "LastModifiedDate": moment(parameter.modified_ms),
        "LastModifiedUser": parameter.modified_by,
        "Version": parameter.version,
        "Tier": parameter.tier,
        "Policies": [],
        "DataType": parameter.data_type,
    }
    if parameter.description:
        out["Description"] = parameter.description
    if parameter.key_id:
        out["KeyId"] = parameter.key_id
    return out


def _rule(rule: dict[str, Any]) -> Callable[[Parameter], bool]:
    """One filter: ``Key``, ``Option`` and ``Values``. Raises ``Invalid("filter")``."""
    key, option, values = rule.get("Key", ""), rule.get("Option") or "Equals", rule.get("Values") or []
    if key == "Path":
        return lambda parameter: any(_below(parameter.name, value, option == "Recursive") for value in values)
    tests: dict[str, Callable[[str, str], bool]] = {
        "Equals": str.__eq__,
        "BeginsWith": str.startswith,
        "Contains": str.__contains__,
    }
    test = tests.get(option)
    if test is None:
        raise Invalid("filter", f"There is no filter option {str(option)[:50]!r} for {str(key)[:50]!r}.")
    if key.startswith("tag:"):
        name = key.removeprefix("tag:")
        return lambda parameter: any(test(parameter.tags.get(name, ""), value) for value in values)
    members: dict[str, Callable[[Parameter], str]] = {
        "Name": lambda parameter: parameter.name,
        "Type": lambda parameter: parameter.type,
        "KeyId": lambda parameter: parameter.key_id,
        "Tier": lambda parameter: parameter.tier,
        "DataType": lambda parameter: parameter.data_type,
    }
    member = members.get(key)
    if member is None:
        raise Invalid("filter", f"There is no filter {str(key)[:50]!r} here.")
    return lambda parameter: any(test(member(parameter), value) for value in values)


def _below(name: str, path: str, recursive: bool) -> bool:
    prefix = path if path.endswith("/") else f"{path}/"
    return name.startswith(prefix) and (recursive or "/" not in name[len(prefix) :])


def _limit(params: dict[str, Any], limit_max: int) -> int:
    limit = params.get("MaxResults", limit_max)
    if not 1 <= limit <= limit_max:
        raise Invalid("max_results", f"MaxResults must be between 1 and {limit_max}.")
    return int(limit)


def _page(params: dict[str, Any], items: list[Parameter], limit_max: int) -> tuple[list[Parameter], dict[str, Any]]:
    limit = _limit(params, limit_max)
    more = {"NextToken": items[limit - 1].name} if len(items) > limit else {}
    return items[:limit], more


def _tagged(call: Call) -> str:
    if call.params["ResourceType"] != "Parameter":
        raise Invalid("resource", "Only resources of the type Parameter are here.")
    return str(call.params["ResourceId"])


def _tags_in(params: dict[str, Any]) -> dict[str, str]:
    return {str(tag["Key"]): str(tag["Value"]) for tag in params.get("Tags") or []}


def _arn(call: Call, name: str) -> str:
    prefix = call.scope.arn("ssm", "parameter")
    path = name.removeprefix(prefix).partition(":")[0].removeprefix("/")
    return f"{prefix}/{path}"


def _parameter(member: str) -> Callable[[Call], str]:
    def resource(call: Call) -> str:
        return _arn(call, str(call.params.get(member) or ""))

    return resource


def _first_name(call: Call) -> str:
    """Of several names the first; the handler asks for every one."""
    names = call.params.get("Names") or [""]
    return _arn(call, str(names[0]))


def _everything(call: Call) -> str:
    return call.scope.arn("ssm", "*")


def ssm_edge(store: Store, parameters: Parameters) -> ServiceEdge:
    """The edge."""
    ssm = _Ssm(store, parameters)
    by_name, by_id = _parameter("Name"), _parameter("ResourceId")
    operations = {
        "PutParameter": Operation(ssm.put, by_name),
        "GetParameter": Operation(ssm.get, by_name),
        "GetParameters": Operation(ssm.get_many, _first_name),
        "GetParametersByPath": Operation(ssm.by_path, _parameter("Path")),
        "GetParameterHistory": Operation(ssm.history, by_name),
        "DescribeParameters": Operation(ssm.describe, _everything),
        "DeleteParameter": Operation(ssm.delete, by_name),
        "DeleteParameters": Operation(ssm.delete_many, _first_name),
        "AddTagsToResource": Operation(ssm.add_tags, by_id),
        "RemoveTagsFromResource": Operation(ssm.remove_tags, by_id),
        "ListTagsForResource": Operation(ssm.list_tags, by_id),
    }
    return ServiceEdge("ssm", "ssm", operations, _ERRORS)
