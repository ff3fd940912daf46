"""Resource types that run code: functions, what may call them, what feeds them, and their roles."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

from sluiceway.reactions.stacks.provider import (
    Context,
    Look,
    Made,
    Properties,
    Provider,
    Replace,
    ResourceFailed,
    changed,
    pick,
    tag_map,
)

_GONE = ("ResourceNotFoundException",)
_CONFIGURATION = (
    "Role", "Handler", "Description", "Timeout", "MemorySize", "Environment", "Runtime", "DeadLetterConfig",
    "TracingConfig", "EphemeralStorage", "LoggingConfig",
)  # fmt: skip


class Function(Provider):
    """AWS::Lambda::Function"""

    accepts = frozenset({
        *_CONFIGURATION, "Architectures", "Code", "FunctionName", "PackageType", "ReservedConcurrentExecutions", "Tags",
    })  # fmt: skip
    named_by = "FunctionName"
    look = Look("lambda", "GetFunctionConfiguration", "FunctionName")

    async def create(self, ctx: Context, props: Properties) -> Made:
        """From a zip in a bucket, or from text in the template."""
        name = props.get("FunctionName") or ctx.name(64)
        params = pick(props, *_CONFIGURATION, "PackageType", "Architectures") | {"Code": _code(props)}
        exists = ("ResourceConflictException",) if ctx.again else ()
        made = await ctx.unless(exists, "lambda", "CreateFunction", FunctionName=name, Tags=tag_map(props), **params)
        await ctx.claim(name)
        if not made:
            made = await ctx.call("lambda", "GetFunctionConfiguration", FunctionName=name)
        await self._concurrency(ctx, name, {}, props)
        return Made(name, {"Arn": made["FunctionArn"]})

    async def update(self, ctx: Context, physical_id: str, old: Properties, new: Properties) -> Made:
        """Code first, then its configuration."""
        if changed(old, new, "FunctionName", "PackageType"):
            raise Replace
        if tag_map(old) != tag_map(new):
            raise ResourceFailed("The tags of a function can't be changed here yet.")
        if changed(old, new, "Code"):
            await ctx.call("lambda", "UpdateFunctionCode", FunctionName=physical_id, **_code(new))
        empty: Properties = {
            "Description": "",
            "Timeout": 3,
            "MemorySize": 128,
            "Environment": {"Variables": {}},
            "DeadLetterConfig": {"TargetArn": ""},
        }
        params = {
            **{name: value for name, value in empty.items() if name in old},
            **pick(new, *_CONFIGURATION),
        }
        made = await ctx.call("lambda", "UpdateFunctionConfiguration", FunctionName=physical_id, **params)
        await self._concurrency(ctx, physical_id, old, new)
        return Made(physical_id, {"Arn": made["FunctionArn"]})

    async def delete(self, ctx: Context, physical_id: str, props: Properties) -> None:
        """With its permissions; its logs stay."""
        await ctx.unless(_GONE, "lambda", "DeleteFunction", FunctionName=physical_id)

    @staticmethod
    async def _concurrency(ctx: Context, name: str, old: Properties, new: Properties) -> None:
        wanted = new.get("ReservedConcurrentExecutions")
        if wanted is not None:
            await ctx.call("lambda", "PutFunctionConcurrency", FunctionName=name, ReservedConcurrentExecutions=wanted)
        elif old.get("ReservedConcurrentExecutions") is not None:
            await ctx.call("lambda", "DeleteFunctionConcurrency", FunctionName=name)


def _code(props: Properties) -> dict[str, Any]:
    code = props.get("Code") or {}
    if "ZipFile" not in code:
        return pick(code, "S3Bucket", "S3Key", "S3ObjectVersion")
    node = str(props.get("Runtime", "")).startswith("nodejs")
    module = str(props.get("Handler", "index.handler")).split(".")[0]
    if module != "index":
        raise ResourceFailed("Code in the template is the file index: the handler must be index.NAME.")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(zipfile.ZipInfo("index.js" if node else "index.py"), code["ZipFile"])
    return {"ZipFile": buffer.getvalue()}


class Permission(Provider):
    """AWS::Lambda::Permission"""

    accepts = frozenset(
        {"Action", "EventSourceToken", "FunctionName", "Principal", "PrincipalOrgID", "SourceAccount", "SourceArn"}
    )

    async def create(self, ctx: Context, props: Properties) -> Made:
        """One statement of the function's policy."""
        statement = ctx.name(100)
        params = pick(props, "Action", "Principal", "SourceArn", "SourceAccount", "PrincipalOrgID", "EventSourceToken")
        exists = ("ResourceConflictException",) if ctx.again else ()
        function = props["FunctionName"]
        await ctx.unless(exists, "lambda", "AddPermission", FunctionName=function, StatementId=statement, **params)
        return Made(statement, {"Id": statement})

    async def delete(self, ctx: Context, physical_id: str, props: Properties) -> None:
        """The function stays."""
        await ctx.unless(
            _GONE, "lambda", "RemovePermission", FunctionName=props["FunctionName"], StatementId=physical_id
        )


_MAPPING = (
    "BatchSize", "MaximumBatchingWindowInSeconds", "Enabled", "FilterCriteria", "DestinationConfig",
    "MaximumRecordAgeInSeconds", "BisectBatchOnFunctionError", "MaximumRetryAttempts", "FunctionResponseTypes",
    "ScalingConfig", "ParallelizationFactor", "TumblingWindowInSeconds",
)  # fmt: skip


class EventSourceMapping(Provider):
    """AWS::Lambda::EventSourceMapping"""

    accepts = frozenset({*_MAPPING, "EventSourceArn", "FunctionName", "StartingPosition", "StartingPositionTimestamp"})

    async def create(self, ctx: Context, props: Properties) -> Made:
        """One mapping for a pair of source and function."""
        source, function = props["EventSourceArn"], props["FunctionName"]
        if ctx.again:
            listed = await ctx.call("lambda", "ListEventSourceMappings", EventSourceArn=source, FunctionName=function)
            for mapping in listed.get("EventSourceMappings") or []:
                return Made(mapping["UUID"], {"Id": mapping["UUID"]})
        made = await ctx.call(
            "lambda", "CreateEventSourceMapping", EventSourceArn=source, FunctionName=function,
            **pick(props, *_MAPPING, "StartingPosition", "StartingPositionTimestamp"),
        )  # fmt: skip
        return Made(made["UUID"], {"Id": made["UUID"]})

    async def update(self, ctx: Context, physical_id: str, old: Properties, new: Properties) -> Made:
        """The position in the source stays."""
        if changed(old, new, "EventSourceArn", "StartingPosition", "StartingPositionTimestamp"):
            raise Replace
        await ctx.call(
            "lambda",
            "UpdateEventSourceMapping",
            UUID=physical_id,
            FunctionName=new["FunctionName"],
            **pick(new, *_MAPPING),
        )
        return Made(physical_id, {"Id": physical_id})

    async def delete(self, ctx: Context, physical_id: str, props: Properties) -> None:
        """The source and the function stay."""
        await ctx.unless(_GONE, "lambda", "DeleteEventSourceMapping", UUID=physical_id)


class Role(Provider):
    """AWS::IAM::Role"""

    accepts = frozenset(
        {
            "AssumeRolePolicyDocument",
            "Description",
            "ManagedPolicyArns",
            "MaxSessionDuration",
            "Path",
            "Policies",
            "RoleName",
            "Tags",
        }
    )
    named_by = "RoleName"
    look = Look("iam", "GetRole", "RoleName")

    async def create(self, ctx: Context, props: Properties) -> Made:
        """With its policies."""
        name = props.get("RoleName") or ctx.name(64)
        trust = json.dumps(props["AssumeRolePolicyDocument"])
        exists = ("EntityAlreadyExists",) if ctx.again else ()
        params = pick(props, "Path", "Description", "MaxSessionDuration", "Tags")
        await ctx.unless(exists, "iam", "CreateRole", RoleName=name, AssumeRolePolicyDocument=trust, **params)
        await ctx.claim(name)
        await _role_policies(ctx, name, {}, props)
        return await _role(ctx, name)

    async def update(self, ctx: Context, physical_id: str, old: Properties, new: Properties) -> Made:
        """Trust and policies change in place."""
        if changed(old, new, "RoleName", "Path"):
            raise Replace
        if changed(old, new, "AssumeRolePolicyDocument"):
            trust = json.dumps(new["AssumeRolePolicyDocument"])
            await ctx.call("iam", "UpdateAssumeRolePolicy", RoleName=physical_id, PolicyDocument=trust)
        if changed(old, new, "Description", "MaxSessionDuration"):
            settings = {"Description": new.get("Description") or "", **pick(new, "MaxSessionDuration")}
            await ctx.call("iam", "UpdateRole", RoleName=physical_id, **settings)
        await _role_policies(ctx, physical_id, old, new)
        return await _role(ctx, physical_id)

    async def delete(self, ctx: Context, physical_id: str, props: Properties) -> None:
        """Its policies first, as IAM wants it."""
        gone = ("NoSuchEntity",)
        for policy in props.get("Policies") or []:
            await ctx.unless(gone, "iam", "DeleteRolePolicy", RoleName=physical_id, PolicyName=policy["PolicyName"])
        for arn in props.get("ManagedPolicyArns") or []:
            await ctx.unless(gone, "iam", "DetachRolePolicy", RoleName=physical_id, PolicyArn=arn)
        await ctx.unless(gone, "iam", "DeleteRole", RoleName=physical_id)


async def _role(ctx: Context, name: str) -> Made:
    role = (await ctx.call("iam", "GetRole", RoleName=name))["Role"]
    return Made(name, {"Arn": role["Arn"], "RoleId": role["RoleId"]})


async def _role_policies(ctx: Context, name: str, old: Properties, new: Properties) -> None:
    before = {policy["PolicyName"]: policy["PolicyDocument"] for policy in old.get("Policies") or []}
    after = {policy["PolicyName"]: policy["PolicyDocument"] for policy in new.get("Policies") or []}
    for policy, document in after.items():
        if before.get(policy) != document:
            await ctx.call(
                "iam", "PutRolePolicy", RoleName=name, PolicyName=policy, PolicyDocument=json.dumps(document)
            )
    for policy in before.keys() - after.keys():
        await ctx.unless(("NoSuchEntity",), "iam", "DeleteRolePolicy", RoleName=name, PolicyName=policy)
    attached, wanted = set(old.get("ManagedPolicyArns") or []), set(new.get("ManagedPolicyArns") or [])
    for arn in sorted(wanted - attached):
        await ctx.call("iam", "AttachRolePolicy", RoleName=name, PolicyArn=arn)
    for arn in sorted(attached - wanted):
        await ctx.unless(("NoSuchEntity",), "iam", "DetachRolePolicy", RoleName=name, PolicyArn=arn)


class InlinePolicy(Provider):
    """AWS::IAM::Policy"""

    accepts = frozenset({"PolicyDocument", "PolicyName", "Roles"})

    async def create(self, ctx: Context, props: Properties) -> Made:
        """The same inline policy for every role named."""
        await ctx.claim(ctx.name(128))
        await self._put(ctx, props)
        return Made(ctx.name(128))

    @staticmethod
    async def _put(ctx: Context, props: Properties) -> None:
        document = json.dumps(props["PolicyDocument"])
        for role in props.get("Roles") or []:
            await ctx.call(
                "iam", "PutRolePolicy", RoleName=role, PolicyName=props["PolicyName"], PolicyDocument=document
            )

    async def delete(self, ctx: Context, physical_id: str, props: Properties) -> None:
        """The roles stay."""
        for role in props.get("Roles") or []:
            await ctx.unless(
                ("NoSuchEntity",), "iam", "DeleteRolePolicy", RoleName=role, PolicyName=props["PolicyName"]
            )

    async def update(self, ctx: Context, physical_id: str, old: Properties, new: Properties) -> Made:
        """Roles that are no longer named lose it."""
        if changed(old, new, "PolicyName"):
            raise Replace
        lost = [role for role in old.get("Roles") or [] if role not in (new.get("Roles") or [])]
        await self.delete(ctx, physical_id, {**old, "Roles": lost})
        await self._put(ctx, new)
        return Made(physical_id)


class LogGroup(Provider):
    """AWS::Logs::LogGroup"""

    accepts = frozenset({"LogGroupName", "RetentionInDays"})

    async def create(self, ctx: Context, props: Properties) -> Made:
        """Nothing to do: a function's log group comes with its first line, and keeps its lines as all do."""
        name = props.get("LogGroupName") or ctx.name(200)
        return Made(name, {"Arn": ctx.scope.arn("logs", f"log-group:{name}:*")})

    async def update(self, ctx: Context, physical_id: str, old: Properties, new: Properties) -> Made:
        """Another name is another group."""
        if changed(old, new, "LogGroupName"):
            raise Replace
        return Made(physical_id, {"Arn": ctx.scope.arn("logs", f"log-group:{physical_id}:*")})

    async def delete(self, ctx: Context, physical_id: str, props: Properties) -> None:
        """With its lines."""
        await ctx.unless(_GONE, "logs", "DeleteLogGroup", logGroupName=physical_id)


class WaitHandle(Provider):
    """AWS::CloudFormation::WaitConditionHandle: nothing; templates use it to have at least one resource."""

    async def create(self, ctx: Context, props: Properties) -> Made:
        """Its address is never called."""
        return Made(f"{ctx.own_url}/{ctx.name(64)}")

    async def delete(self, ctx: Context, physical_id: str, props: Properties) -> None:
        """Nothing was made."""
