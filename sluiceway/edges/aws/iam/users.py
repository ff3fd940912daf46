"""Users in IAM's protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sluiceway.edges.aws.iam.desk import (
    Desk,
    everything,
    no_boundary,
    owned,
    tags_in,
    tags_out,
    under,
    user_named,
    when,
)
from sluiceway.edges.aws.operations import Call, Operation, Output
from sluiceway.services.accounts import User


def user_out(user: User, *, tags: bool = True) -> dict[str, Any]:
    """The model's User."""
    out: dict[str, Any] = {
        "Path": user.path,
        "UserName": user.name,
        "UserId": user.id,
        "Arn": user.arn,
        "CreateDate": when(user.created_ms),
    }
    if tags and user.tags:
        out["Tags"] = tags_out(user.tags)
    return out


class _Users:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._users = desk.accounts.users

    async def create(self, call: Call) -> Output:
        no_boundary(call)
        params = call.params
        path = params.get("Path") or "/"
        user = await self._desk.change(self._users.create, params["UserName"], path, tags_in(params))
        return {"User": user_out(user)}

    async def get(self, call: Call) -> Output:
        if not call.params.get("UserName") and call.principal.kind == "root":
            account = call.scope.account
            root = {"Path": "/", "UserName": "root", "UserId": account, "Arn": call.principal.arn}
            return {"User": {**root, "CreateDate": when(0)}}
        return {"User": user_out(await self._desk.look(self._users.get, user_named(call)))}

    async def list(self, call: Call) -> Output:
        users = await self._desk.look(lambda view: list(self._users.list(view)))
        chosen = under(users, call.params.get("PathPrefix"), lambda user: user.path)
        page, more = self._desk.page(call, chosen, lambda user: user.name)
        return {"Users": [user_out(user, tags=False) for user in page], **more}

    async def delete(self, call: Call) -> Output:
        await self._desk.change(self._users.delete, call.params["UserName"])
        return {}

    async def groups(self, call: Call) -> Output:
        await self._desk.look(self._users.get, call.params["UserName"])
        return {"Groups": [], "IsTruncated": False}


def user_operations(desk: Desk) -> Mapping[str, Operation]:
    """Operations on users, but for their keys and policies."""
    users = _Users(desk)
    resource, located = owned("user", "UserName"), desk.locate("user", "UserName")
    return {
        "CreateUser": Operation(users.create, resource),
        "GetUser": Operation(users.get, resource, located),
        "ListUsers": Operation(users.list, everything),
        "DeleteUser": Operation(users.delete, resource, located),
        "ListGroupsForUser": Operation(users.groups, resource, located),
    }
