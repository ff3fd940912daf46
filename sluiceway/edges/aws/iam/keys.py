"""Access keys in IAM's protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sluiceway.edges.aws.iam.desk import Desk, owned, user_named, when
from sluiceway.edges.aws.operations import Call, Operation, Output
from sluiceway.services.accounts import AccessKey


def _key_out(key: AccessKey) -> dict[str, Any]:
    return {
        "UserName": key.user,
        "AccessKeyId": key.id,
        "Status": "Active" if key.active else "Inactive",
        "CreateDate": when(key.created_ms),
    }


class _Keys:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._users = desk.accounts.users

    async def create(self, call: Call) -> Output:
        key, secret = await self._desk.change(self._users.create_key, user_named(call))
        return {"AccessKey": {**_key_out(key), "SecretAccessKey": secret}}

    async def list(self, call: Call) -> Output:
        name = user_named(call)
        await self._desk.look(self._users.get, name)
        keys = await self._desk.look(lambda view: list(self._users.keys(view, name)))
        page, more = self._desk.page(call, keys, lambda key: key.id)
        return {"AccessKeyMetadata": [_key_out(key) for key in page], **more}

    async def update(self, call: Call) -> Output:
        active = call.params["Status"] == "Active"
        await self._desk.change(self._users.set_key_active, call.params["AccessKeyId"], active, user_named(call))
        return {}

    async def delete(self, call: Call) -> Output:
        await self._desk.change(self._users.delete_key, call.params["AccessKeyId"], user_named(call))
        return {}


def key_operations(desk: Desk) -> Mapping[str, Operation]:
    """Operations on access keys."""
    keys = _Keys(desk)
    resource, located = owned("user", "UserName"), desk.locate("user", "UserName")
    return {
        "CreateAccessKey": Operation(keys.create, resource, located),
        "ListAccessKeys": Operation(keys.list, resource, located),
        "UpdateAccessKey": Operation(keys.update, resource, located),
        "DeleteAccessKey": Operation(keys.delete, resource, located),
    }
