"""API Gateway v2's control plane (rest-json)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from functools import partial
from typing import Any, Final
from urllib.parse import quote

from sluiceway.config import ApiSettings
from sluiceway.core.store import Store, Tx
from sluiceway.edges.aws.operations import Call, ErrorTable, Operation, OperationHandler, Output, ServiceEdge, moment
from sluiceway.errors import AlreadyExists, Conflict, Invalid, NotFound, NotImplementedYet, Throttled, TooLarge
from sluiceway.services.apis import Apis
from sluiceway.services.apis.service import Kind

Row = dict[str, Any]

ERRORS: Final[ErrorTable] = {
    (NotFound, "*"): "NotFoundException",
    (Conflict, "*"): "ConflictException",
    (AlreadyExists, "*"): "ConflictException",
    (Throttled, "*"): "TooManyRequestsException",
    (NotImplementedYet, "authorization"): "BadRequestException",
    (NotImplementedYet, "integration"): "BadRequestException",
    (NotImplementedYet, "api_key"): "BadRequestException",
    (Invalid, "*"): "BadRequestException",
    (TooLarge, "*"): "BadRequestException",
}

#: Kind -> its name in operations, its path below the API, the member that names one.
_PARTS: Final[dict[Kind, tuple[str, str, str]]] = {
    "route": ("Route", "routes", "RouteId"),
    "integration": ("Integration", "integrations", "IntegrationId"),
    "authorizer": ("Authorizer", "authorizers", "AuthorizerId"),
    "stage": ("Stage", "stages", "StageName"),
    "deployment": ("Deployment", "deployments", "DeploymentId"),
    "route_response": ("RouteResponse", "routeresponses", "RouteResponseId"),
    "integration_response": ("IntegrationResponse", "integrationresponses", "IntegrationResponseId"),
}
#: Members whose keys are the caller's own.
_MAPS: Final = frozenset(
    {
        "Tags", "StageVariables", "RequestParameters", "ResponseParameters", "RequestTemplates", "ResponseTemplates",
        "RequestModels", "ResponseModels", "RouteSettings",
    }
)  # fmt: skip
_PLACE = re.compile(r"\{(\w+)\}")
#: Values of rows that are ours, not the protocol's.
_INTERNAL: Final = frozenset({"revision", "created_ms", "updated_ms", "route", "integration", "authorizer"})


def apigatewayv2_edge(store: Store, apis: Apis, limits: ApiSettings) -> ServiceEdge:
    """API Gateway v2's operations on ``apis``."""
    edge = _ApiGateway(store, apis, limits)
    table = {
        "CreateApi": _operation(edge.create, "POST", "/apis"),
        "GetApis": _operation(edge.page, "GET", "/apis"),
        "GetApi": _operation(edge.get, "GET", "/apis/{ApiId}"),
        "UpdateApi": _operation(edge.update, "PATCH", "/apis/{ApiId}"),
        "DeleteApi": _operation(edge.delete, "DELETE", "/apis/{ApiId}"),
        "ImportApi": _operation(edge.imported, "PUT", "/apis"),
        "ReimportApi": _operation(edge.reimported, "PUT", "/apis/{ApiId}"),
        "DeleteCorsConfiguration": _operation(edge.drop_cors, "DELETE", "/apis/{ApiId}/cors"),
        "TagResource": _operation(edge.tag, "POST", "/tags/{ResourceArn}"),
        "UntagResource": _operation(edge.untag, "DELETE", "/tags/{ResourceArn}"),
        "GetTags": _operation(edge.tags, "GET", "/tags/{ResourceArn}"),
    }
    for kind, (name, path, member) in _PARTS.items():
        base = "/apis/{ApiId}/" + path
        if kind.endswith("_response"):
            parent = _PARTS["route" if kind == "route_response" else "integration"]
            base = f"/apis/{{ApiId}}/{parent[1]}/{{{parent[2]}}}/{path}"
        one = f"{base}/{{{member}}}"
        add: OperationHandler = edge.deploy if kind == "deployment" else partial(edge.add_part, kind)
        table[f"Create{name}"] = _operation(add, "POST", base)
        table[f"Get{name}s"] = _operation(partial(edge.parts, kind), "GET", base)
        table[f"Get{name}"] = _operation(partial(edge.part, kind), "GET", one)
        table[f"Update{name}"] = _operation(partial(edge.change_part, kind), "PATCH", one)
        table[f"Delete{name}"] = _operation(partial(edge.remove_part, kind), "DELETE", one)
    return ServiceEdge("apigatewayv2", "apigateway", table, ERRORS)


def _operation(handler: OperationHandler, method: str, path: str) -> Operation:
    """IAM for API Gateway knows HTTP methods on the paths of its own API (Service Authorization Reference,
    "Actions, resources, and condition keys for Amazon API Gateway Management V2")."""

    def resource(call: Call) -> str:
        named = {key: quote(value, safe="") for key, value in call.params.items() if isinstance(value, str)}
        filled = _PLACE.sub(lambda found: named.get(found[1], ""), path)
        return f"arn:aws:apigateway:{call.scope.region}::{filled}"

    return Operation(handler, resource, action=f"apigateway:{method}")


class _ApiGateway:
    def __init__(self, store: Store, apis: Apis, limits: ApiSettings) -> None:
        self._store = store
        self._apis = apis
        self._limits = limits

    # -- APIs

    async def create(self, call: Call) -> Output:
        """CreateApi"""
        fields = _row(call.params)
        target, route_key = fields.pop("target", None), fields.pop("route_key", None)
        return _api(call, await self._store.commit(self._apis.create, fields, target, route_key))

    async def page(self, call: Call) -> Output:
        """GetApis"""
        count = self._count(call)
        rows = await self._store.view(self._apis.page, call.params.get("NextToken") or "", count + 1)
        return _page([_api(call, row) for row in rows], count, "ApiId")

    async def get(self, call: Call) -> Output:
        """GetApi"""
        return _api(call, await self._store.view(self._apis.get, call.params["ApiId"]))

    async def update(self, call: Call) -> Output:
        """UpdateApi"""
        fields = _row(call.params)
        for unsupported in ("target", "route_key", "credentials_arn"):
            if fields.pop(unsupported, None) is not None:
                raise Invalid("quick", "The parts of an API made by quick create are changed one by one here.")
        return _api(call, await self._store.commit(self._apis.change, fields.pop("api_id"), fields))

    async def delete(self, call: Call) -> Output:
        """DeleteApi"""
        await self._store.commit(self._apis.remove, call.params["ApiId"])
        return None

    async def drop_cors(self, call: Call) -> Output:
        """DeleteCorsConfiguration"""
        await self._store.commit(self._apis.drop_cors, call.params["ApiId"])
        return None

    async def imported(self, call: Call) -> Output:
        """ImportApi"""
        strict = bool(call.params.get("FailOnWarnings"))
        plan = await asyncio.to_thread(self._apis.planned, call.params["Body"])
        return _api(call, await self._store.commit(self._apis.imported, plan, strict))

    async def reimported(self, call: Call) -> Output:
        """ReimportApi"""
        strict, api_id = bool(call.params.get("FailOnWarnings")), call.params["ApiId"]
        await self._store.view(self._apis.get, api_id)
        plan = await asyncio.to_thread(self._apis.planned, call.params["Body"])
        return _api(call, await self._store.commit(self._apis.reimported, api_id, plan, strict))

    # -- parts

    async def add_part(self, kind: Kind, call: Call) -> Output:
        """Create..."""
        fields = _row(call.params)
        api_id, parent = fields.pop("api_id"), _parent(kind, fields)
        return _shape(kind, await self._store.commit(self._apis.add, kind, api_id, fields, parent))

    async def deploy(self, call: Call) -> Output:
        """CreateDeployment"""
        params = call.params
        stage, words = params.get("StageName"), params.get("Description")
        return _shape("deployment", await self._store.commit(self._apis.deploy, params["ApiId"], words, stage))

    async def parts(self, kind: Kind, call: Call) -> Output:
        """Get...s"""
        count, after = self._count(call), call.params.get("NextToken") or ""
        parent = _parent(kind, _row(call.params))
        rows = await self._store.view(self._apis.parts, kind, call.params["ApiId"], after, count + 1, parent)
        return _page([_shape(kind, row) for row in rows], count, _PARTS[kind][2])

    async def part(self, kind: Kind, call: Call) -> Output:
        """Get..."""
        params, parent = call.params, _parent(kind, _row(call.params))
        row = await self._store.view(self._apis.part, kind, params["ApiId"], params[_PARTS[kind][2]], parent)
        return _shape(kind, row)

    async def change_part(self, kind: Kind, call: Call) -> Output:
        """Update..."""
        fields = _row(call.params)
        api_id, parent = fields.pop("api_id"), _parent(kind, fields)
        identity = fields.pop(_snake(_PARTS[kind][2]))

        def change(tx: Tx) -> Row:
            return self._apis.change_part(tx, kind, api_id, identity, fields, parent)

        return _shape(kind, await self._store.commit(change))

    async def remove_part(self, kind: Kind, call: Call) -> Output:
        """Delete..."""
        params, parent = call.params, _parent(kind, _row(call.params))
        await self._store.commit(self._apis.remove_part, kind, params["ApiId"], params[_PARTS[kind][2]], parent)
        return None

    # -- tags

    async def tag(self, call: Call) -> Output:
        """TagResource"""
        await self._store.commit(self._apis.retag, call.params["ResourceArn"], call.params.get("Tags") or {}, [])
        return {}

    async def untag(self, call: Call) -> Output:
        """UntagResource"""
        await self._store.commit(self._apis.retag, call.params["ResourceArn"], {}, call.params["TagKeys"])
        return None

    async def tags(self, call: Call) -> Output:
        """GetTags"""
        return {"Tags": await self._store.view(self._apis.tags, call.params["ResourceArn"])}

    def _count(self, call: Call) -> int:
        text = call.params.get("MaxResults")
        if text is None:
            return self._limits.page_max
        if not re.fullmatch("[0-9]{1,9}", str(text)) or int(text) < 1:
            raise Invalid("max_results", "MaxResults must be a positive number.")
        return min(int(text), self._limits.page_max)


def _parent(kind: Kind, fields: Row) -> str:
    name = {"route_response": "route_id", "integration_response": "integration_id"}.get(kind)
    return str(fields.pop(name)) if name else ""


def _page(items: list[Row], count: int, member: str) -> Row:
    output: Row = {"Items": items[:count]}
    if len(items) > count:
        output["NextToken"] = items[count - 1][member]
    return output


def _api(call: Call, row: Row) -> Row:
    api_id = row["api_id"]
    if row["protocol_type"] == "HTTP":
        endpoint = f"{call.base_url}/_api/{api_id}"
    else:
        endpoint = f"{'ws' + call.base_url.removeprefix('http')}/_ws/{api_id}"
    row = {"disable_execute_api_endpoint": False, **row}
    return {**_members(row), "ApiEndpoint": endpoint, "CreatedDate": moment(row["created_ms"])}


def _shape(kind: Kind, row: Row) -> Row:
    shape = _members(row)
    if "created_ms" in row:
        shape["CreatedDate"] = moment(row["created_ms"])
    if "updated_ms" in row:
        shape["LastUpdatedDate"] = moment(row["updated_ms"])
    if kind == "deployment":
        shape |= {"DeploymentStatus": "DEPLOYED", "AutoDeployed": False}
    return shape


def _row(params: Row) -> Row:
    """Members in lower case; what was not given is left out."""
    return {_snake(key): _inner(key, value, _snake) for key, value in params.items() if value is not None}


def _members(row: Row) -> Row:
    return {_pascal(key): _inner(_pascal(key), value, _pascal) for key, value in row.items() if key not in _INTERNAL}


def _inner(member: str, value: Any, rename: Callable[[str], str]) -> Any:
    if isinstance(value, dict) and member not in _MAPS:
        return {rename(key): _inner(key, inner, rename) for key, inner in value.items()}
    return value


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _pascal(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("_"))
