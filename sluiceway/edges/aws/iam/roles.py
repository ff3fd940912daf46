"""Roles in IAM's protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sluiceway.edges.aws.iam.desk import Desk, document, everything, no_boundary, owned, tags_in, tags_out, under, when
from sluiceway.edges.aws.operations import Call, Operation, Output
from sluiceway.services.accounts import Role


def role_out(role: Role, *, tags: bool = True) -> dict[str, Any]:
    """The model's Role."""
    out: dict[str, Any] = {
        "Path": role.path,
        "RoleName": role.name,
        "RoleId": role.id,
        "Arn": role.arn,
        "CreateDate": when(role.created_ms),
        "AssumeRolePolicyDocument": document(role.trust),
        "MaxSessionDuration": role.session_s_max,
    }
    if role.description:
        out["Description"] = role.description
    if tags and role.tags:
        out["Tags"] = tags_out(role.tags)
    return out


class _Roles:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._roles = desk.accounts.roles

    async def create(self, call: Call) -> Output:
        no_boundary(call)
        params = call.params
        role = await self._desk.change(
            self._roles.create,
            params["RoleName"],
            params["AssumeRolePolicyDocument"],
            params.get("Path") or "/",
            params.get("Description") or "",
            params.get("MaxSessionDuration") or 3600,
            tags_in(params),
        )
        return {"Role": role_out(role)}

    async def get(self, call: Call) -> Output:
        return {"Role": role_out(await self._desk.look(self._roles.get, call.params["RoleName"]))}

    async def list(self, call: Call) -> Output:
        roles = await self._desk.look(lambda view: list(self._roles.list(view)))
        chosen = under(roles, call.params.get("PathPrefix"), lambda role: role.path)
        page, more = self._desk.page(call, chosen, lambda role: role.name)
        return {"Roles": [role_out(role, tags=False) for role in page], **more}

    async def delete(self, call: Call) -> Output:
        await self._desk.change(self._roles.delete, call.params["RoleName"])
        return {}

    async def update(self, call: Call) -> Output:
        params = call.params
        await self._desk.change(
            self._roles.update, params["RoleName"], params.get("Description"), params.get("MaxSessionDuration")
        )
        return {}

    async def update_description(self, call: Call) -> Output:
        params = call.params
        role = await self._desk.change(self._roles.update, params["RoleName"], params["Description"])
        return {"Role": role_out(role)}

    async def update_trust(self, call: Call) -> Output:
        await self._desk.change(self._roles.set_trust, call.params["RoleName"], call.params["PolicyDocument"])
        return {}

    async def instance_profiles(self, call: Call) -> Output:
        await self._desk.look(self._roles.get, call.params["RoleName"])
        return {"InstanceProfiles": [], "IsTruncated": False}


def role_operations(desk: Desk) -> Mapping[str, Operation]:
    """Operations on roles, but for their policies."""
    roles = _Roles(desk)
    resource, located = owned("role", "RoleName"), desk.locate("role", "RoleName")
    return {
        "CreateRole": Operation(roles.create, resource),
        "GetRole": Operation(roles.get, resource, located),
        "ListRoles": Operation(roles.list, everything),
        "DeleteRole": Operation(roles.delete, resource, located),
        "UpdateRole": Operation(roles.update, resource, located),
        "UpdateRoleDescription": Operation(roles.update_description, resource, located),
        "UpdateAssumeRolePolicy": Operation(roles.update_trust, resource, located),
        "ListInstanceProfilesForRole": Operation(roles.instance_profiles, resource, located),
    }
