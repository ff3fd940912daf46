"""Policies and tags of users and roles: the same operations for both, under two names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

from sluiceway.core.store import View
from sluiceway.edges.aws.iam.desk import Desk, document, owned, tags_in, tags_out
from sluiceway.edges.aws.operations import Call, Operation, Output
from sluiceway.services.accounts import Role, User
from sluiceway.services.accounts.holders import inline_of
from sluiceway.services.accounts.roles import Roles
from sluiceway.services.accounts.users import Users


class _Holders:
    def __init__(self, desk: Desk, kind: Literal["User", "Role"], service: Users | Roles) -> None:
        self._desk = desk
        self._member = f"{kind}Name"
        self._service = service

    def _name(self, call: Call) -> str:
        return str(call.params[self._member])

    async def _holder(self, call: Call) -> User | Role:
        get: Callable[[View, str], User | Role] = self._service.get
        return await self._desk.look(get, self._name(call))

    async def put(self, call: Call) -> Output:
        params = call.params
        text = params["PolicyDocument"]
        await self._desk.change(self._service.put_policy, self._name(call), params["PolicyName"], text)
        return {}

    async def get(self, call: Call) -> Output:
        holder = await self._holder(call)
        name = call.params["PolicyName"]
        text = document(inline_of(holder, name))
        return {self._member: holder.name, "PolicyName": name, "PolicyDocument": text}

    async def list(self, call: Call) -> Output:
        holder = await self._holder(call)
        page, more = self._desk.page(call, sorted(holder.inline), str)
        return {"PolicyNames": page, **more}

    async def delete(self, call: Call) -> Output:
        await self._desk.change(self._service.delete_policy, self._name(call), call.params["PolicyName"])
        return {}

    async def attach(self, call: Call) -> Output:
        await self._desk.change(self._service.attach, self._name(call), call.params["PolicyArn"])
        return {}

    async def detach(self, call: Call) -> Output:
        await self._desk.change(self._service.detach, self._name(call), call.params["PolicyArn"])
        return {}

    async def attached(self, call: Call) -> Output:
        holder = await self._holder(call)
        page, more = self._desk.page(call, sorted(holder.attached), str)
        policies = [{"PolicyName": arn.rpartition("/")[2], "PolicyArn": arn} for arn in page]
        return {"AttachedPolicies": policies, **more}

    async def tag(self, call: Call) -> Output:
        await self._desk.change(self._service.retag, self._name(call), tags_in(call.params))
        return {}

    async def untag(self, call: Call) -> Output:
        await self._desk.change(self._service.retag, self._name(call), {}, frozenset(call.params["TagKeys"]))
        return {}

    async def tags(self, call: Call) -> Output:
        holder = await self._holder(call)
        return {"Tags": tags_out(holder.tags), "IsTruncated": False}


def holder_operations(desk: Desk, kind: Literal["User", "Role"], service: Users | Roles) -> Mapping[str, Operation]:
    """Operations on the inline and attached policies and the tags of users or roles."""
    holders = _Holders(desk, kind, service)
    member = f"{kind}Name"
    resource, located = owned(kind.lower(), member), desk.locate("user" if kind == "User" else "role", member)
    handlers = {
        f"Put{kind}Policy": holders.put,
        f"Get{kind}Policy": holders.get,
        f"List{kind}Policies": holders.list,
        f"Delete{kind}Policy": holders.delete,
        f"Attach{kind}Policy": holders.attach,
        f"Detach{kind}Policy": holders.detach,
        f"ListAttached{kind}Policies": holders.attached,
        f"Tag{kind}": holders.tag,
        f"Untag{kind}": holders.untag,
        f"List{kind}Tags": holders.tags,
    }
    return {name: Operation(handler, resource, located) for name, handler in handlers.items()}
