"""Managed policies in IAM's protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sluiceway.core.store import View
from sluiceway.edges.aws.iam.desk import Desk, arn_in, document, everything, owned, under, when
from sluiceway.edges.aws.operations import Call, Operation, Output
from sluiceway.services.accounts import ManagedPolicy
from sluiceway.services.accounts.rows import ROLES, USERS


def _policy_out(policy: ManagedPolicy, attachments: int = 0) -> dict[str, Any]:
    out: dict[str, Any] = {
        "PolicyName": policy.name,
        "PolicyId": policy.id,
        "Arn": policy.arn,
        "Path": policy.path,
        "DefaultVersionId": policy.default,
        "AttachmentCount": attachments,
        "PermissionsBoundaryUsageCount": 0,
        "IsAttachable": True,
        "CreateDate": when(policy.created_ms),
        "UpdateDate": when(policy.updated_ms),
    }
    if policy.description:
        out["Description"] = policy.description
    return out


class _Policies:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._policies = desk.accounts.policies

    async def create(self, call: Call) -> Output:
        params = call.params
        policy = await self._desk.change(
            self._policies.create,
            params["PolicyName"],
            params["PolicyDocument"],
            params.get("Path") or "/",
            params.get("Description") or "",
        )
        return {"Policy": _policy_out(policy)}

    async def get(self, call: Call) -> Output:
        def read(view: View) -> Output:
            arn = call.params["PolicyArn"]
            policy = self._policies.get(view, arn)
            return {"Policy": _policy_out(policy, self._policies.attachments(view, arn))}

        return await self._desk.look(read)

    async def list(self, call: Call) -> Output:
        params = call.params
        wanted = params.get("Scope") or "All"
        found = await self._desk.look(
            lambda view: list(self._policies.list(view, aws=wanted != "Local", local=wanted != "AWS"))
        )
        counts = await self._desk.look(_attachments)
        chosen = sorted(under(found, params.get("PathPrefix"), lambda policy: policy.path), key=lambda p: p.arn)
        kept = [policy for policy in chosen if not params.get("OnlyAttached") or counts.get(policy.arn)]
        page, more = self._desk.page(call, kept, lambda policy: policy.arn)
        return {"Policies": [_policy_out(policy, counts.get(policy.arn, 0)) for policy in page], **more}

    async def delete(self, call: Call) -> Output:
        await self._desk.change(self._policies.delete, call.params["PolicyArn"])
        return {}

    async def create_version(self, call: Call) -> Output:
        params = call.params
        default = bool(params.get("SetAsDefault"))
        arn = params["PolicyArn"]
        version = await self._desk.change(self._policies.add_version, arn, params["PolicyDocument"], default=default)
        out = {"VersionId": version, "IsDefaultVersion": default, "CreateDate": when(call.now_ms)}
        return {"PolicyVersion": out}

    async def get_version(self, call: Call) -> Output:
        version = call.params["VersionId"]
        policy, text, created_ms = await self._desk.look(self._policies.version, call.params["PolicyArn"], version)
        out = {"Document": document(text), "VersionId": version, "IsDefaultVersion": version == policy.default}
        return {"PolicyVersion": {**out, "CreateDate": when(created_ms)}}

    async def list_versions(self, call: Call) -> Output:
        policy = await self._desk.look(self._policies.get, call.params["PolicyArn"])
        versions = [
            {"VersionId": name, "IsDefaultVersion": name == policy.default, "CreateDate": when(created_ms)}
            for name, (_, created_ms) in policy.versions.items()
        ]
        return {"Versions": versions, "IsTruncated": False}

    async def delete_version(self, call: Call) -> Output:
        params = call.params
        await self._desk.change(self._policies.delete_version, params["PolicyArn"], params["VersionId"])
        return {}

    async def set_default(self, call: Call) -> Output:
        params = call.params
        await self._desk.change(self._policies.set_default, params["PolicyArn"], params["VersionId"])
        return {}


def _attachments(view: View) -> dict[str, int]:
    counts: dict[str, int] = {}
    for table in (USERS, ROLES):
        for _, row in view.scan(table):
            for arn in row["attached"]:
                counts[arn] = counts.get(arn, 0) + 1
    return counts


def policy_operations(desk: Desk) -> Mapping[str, Operation]:
    """Operations on managed policies."""
    policies = _Policies(desk)
    resource = arn_in("PolicyArn")
    return {
        "CreatePolicy": Operation(policies.create, owned("policy", "PolicyName")),
        "GetPolicy": Operation(policies.get, resource),
        "ListPolicies": Operation(policies.list, everything),
        "DeletePolicy": Operation(policies.delete, resource),
        "CreatePolicyVersion": Operation(policies.create_version, resource),
        "GetPolicyVersion": Operation(policies.get_version, resource),
        "ListPolicyVersions": Operation(policies.list_versions, resource),
        "DeletePolicyVersion": Operation(policies.delete_version, resource),
        "SetDefaultPolicyVersion": Operation(policies.set_default, resource),
    }
