"""Resource types of API Gateway v2: HTTP and WebSocket APIs."""

from __future__ import annotations

import json
from typing import Any

from sluiceway.reactions.stacks.provider import (
    Context,
    Made,
    Properties,
    Provider,
    Replace,
    ResourceFailed,
    changed,
    pick,
    tag_changes,
    tag_map,
)

_GONE = ("NotFoundException",)
_MARK = "aws:cloudformation:logical-id"  # finds an API that was made just before a crash


class Api(Provider):
    """AWS::ApiGatewayV2::Api, from properties or from an OpenAPI body (as SAM makes them)."""

    accepts = frozenset({
        "ApiKeySelectionExpression", "Body", "CorsConfiguration", "Description", "DisableExecuteApiEndpoint",
        "FailOnWarnings", "Name", "ProtocolType", "RouteSelectionExpression", "Tags", "Version",
    })  # fmt: skip

    async def create(self, ctx: Context, props: Properties) -> Made:
        """Its id is chosen by the service, so an earlier try is found by its tags."""
        mark = {_MARK: f"{ctx.stack_id}/{ctx.logical_id}/{ctx.generation}"}
        found = await self._earlier(ctx, mark) if ctx.again else None
        if found:
            return _api(found)
        if props.get("Body"):
            body = json.dumps(props["Body"])
            made = await ctx.call("apigatewayv2", "ImportApi", Body=body, FailOnWarnings=props.get("FailOnWarnings"))
            await ctx.claim(made["ApiId"])
            await _cross_origin(ctx, made["ApiId"], {}, props)
            await _tags(ctx, made["ApiId"], {**tag_map(props), **mark}, [])
        else:
            made = await ctx.call("apigatewayv2", "CreateApi", Tags={**tag_map(props), **mark}, **_api_params(props))
        return _api(made)

    async def update(self, ctx: Context, physical_id: str, old: Properties, new: Properties) -> Made:
        """A new body replaces all routes in one transaction."""
        if changed(old, new, "ProtocolType"):
            raise Replace
        if new.get("Body"):
            made = await ctx.call("apigatewayv2", "ReimportApi", ApiId=physical_id, Body=json.dumps(new["Body"]))
        else:
            params = _api_params(new)
            params.pop("ProtocolType", None)
            made = await ctx.call("apigatewayv2", "UpdateApi", ApiId=physical_id, **params)
        await _cross_origin(ctx, physical_id, old, new)
        await _tags(ctx, physical_id, *tag_changes(old, new))
        return _api(made)

    async def delete(self, ctx: Context, physical_id: str, props: Properties) -> None:
        """With its routes, integrations and stages."""
        await ctx.unless(_GONE, "apigatewayv2", "DeleteApi", ApiId=physical_id)

    @staticmethod
    async def _earlier(ctx: Context, mark: dict[str, str]) -> dict[str, Any] | None:
        listed = await ctx.call("apigatewayv2", "GetApis")
        for api in listed.get("Items") or []:
            if (api.get("Tags") or {}).get(_MARK) == mark[_MARK]:
                return dict(api)
        return None


async def _cross_origin(ctx: Context, api_id: str, old: Properties, new: Properties) -> None:
    cors = new.get("CorsConfiguration")
    if cors:
        await ctx.call("apigatewayv2", "UpdateApi", ApiId=api_id, CorsConfiguration=_cors(cors))
    elif old.get("CorsConfiguration"):
        await ctx.call("apigatewayv2", "DeleteCorsConfiguration", ApiId=api_id)


async def _tags(ctx: Context, api_id: str, put: dict[str, str], gone: list[str]) -> None:
    arn = f"arn:aws:apigateway:{ctx.scope.region}::/apis/{api_id}"
    if put:
        await ctx.call("apigatewayv2", "TagResource", ResourceArn=arn, Tags=put)
    if gone:
        await ctx.call("apigatewayv2", "UntagResource", ResourceArn=arn, TagKeys=gone)


def _api_params(props: Properties) -> Properties:
    params = pick(
        props, "Name", "ProtocolType", "Description", "RouteSelectionExpression", "ApiKeySelectionExpression",
        "DisableExecuteApiEndpoint", "Version",
    )  # fmt: skip
    if props.get("CorsConfiguration"):
        params["CorsConfiguration"] = _cors(props["CorsConfiguration"])
    return params


def _cors(declared: Properties) -> Properties:
    return pick(
        declared,
        "AllowCredentials",
        "AllowHeaders",
        "AllowMethods",
        "AllowOrigins",
        "ExposeHeaders",
        "MaxAge",
    )


def _api(made: Properties) -> Made:
    return Made(made["ApiId"], {"ApiEndpoint": made["ApiEndpoint"], "ApiId": made["ApiId"]})


class Part(Provider):
    """What belongs to an API and has three operations of one form: Create, Update, Delete.

    SAM gives stages tags that say only that they are SAM's; they are left out.
    """

    def __init__(self, kind: str, id_name: str, names: tuple[str, ...], fixed: tuple[str, ...] = ()) -> None:
        self._kind = kind
        self._id_name = id_name
        self._names = names
        self._fixed = ("ApiId", *fixed)
        self.accepts = frozenset({"ApiId", "Tags", *names})  # type: ignore[misc]

    async def create(self, ctx: Context, props: Properties) -> Made:
        """An earlier try is found by its name where the service refuses a second one."""
        params = self._params(props)
        exists = ("ConflictException",) if ctx.again else ()
        made = await ctx.unless(exists, "apigatewayv2", f"Create{self._kind}", ApiId=props["ApiId"], **params)
        if not made:
            return await self._found(ctx, props)
        return Made(made[self._id_name], {self._id_name: made[self._id_name]})

    async def update(self, ctx: Context, physical_id: str, old: Properties, new: Properties) -> Made:
        """In place, but for what names it."""
        if changed(old, new, *self._fixed):
            raise Replace
        params = {**self._params(new), "ApiId": new["ApiId"], self._id_name: physical_id}
        await ctx.call("apigatewayv2", f"Update{self._kind}", **params)
        return Made(physical_id, {self._id_name: physical_id})

    async def delete(self, ctx: Context, physical_id: str, props: Properties) -> None:
        """Gone with its API, too."""
        params = {"ApiId": props["ApiId"], self._id_name: physical_id}
        await ctx.unless(_GONE, "apigatewayv2", f"Delete{self._kind}", **params)

    def _params(self, props: Properties) -> Properties:
        return pick(props, *self._names)

    async def _found(self, ctx: Context, props: Properties) -> Made:
        if self._id_name == "StageName":
            return Made(props["StageName"], {"StageName": props["StageName"]})
        listed = await ctx.call("apigatewayv2", f"Get{self._kind}s", ApiId=props["ApiId"])
        for item in listed.get("Items") or []:
            if all(item.get(name) == props.get(name) for name in ("RouteKey", "Name") if props.get(name)):
                return Made(item[self._id_name], {self._id_name: item[self._id_name]})
        raise ResourceFailed(f"The {self._kind.lower()} is refused as if it were there, but it is not.")


def parts() -> dict[str, Provider]:
    """Resource type -> provider, for all parts of an API."""
    return {
        "AWS::ApiGatewayV2::Stage": Part(
            "Stage", "StageName", ("StageName", "AutoDeploy", "DeploymentId", "StageVariables", "Description", "DefaultRouteSettings"),
            ("StageName",),
        ),
        "AWS::ApiGatewayV2::Route": Part(
            "Route", "RouteId", ("RouteKey", "Target", "AuthorizationType", "AuthorizerId", "AuthorizationScopes",
            "OperationName", "RouteResponseSelectionExpression"), ("RouteKey",),
        ),
        "AWS::ApiGatewayV2::Integration": Part(
            "Integration", "IntegrationId", ("IntegrationType", "IntegrationUri", "IntegrationMethod",
            "PayloadFormatVersion", "TimeoutInMillis", "Description"),
        ),
        "AWS::ApiGatewayV2::Authorizer": Part(
            "Authorizer", "AuthorizerId", ("Name", "AuthorizerType", "IdentitySource", "JwtConfiguration",
            "AuthorizerUri", "AuthorizerPayloadFormatVersion"),
        ),
        "AWS::ApiGatewayV2::Deployment": Part("Deployment", "DeploymentId", ("Description", "StageName")),
    }  # fmt: skip
