"""One change of one stack: what is made, updated and removed, in which order, and what follows a failure."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

from botocore.exceptions import ParamValidationError

from sluiceway.errors import DomainError, Unavailable
from sluiceway.reactions.stacks.provider import Made, Replace, ResourceFailed
from sluiceway.reactions.stacks.runner import StackRunner
from sluiceway.services.stacks import intrinsics, templates
from sluiceway.services.stacks.state import Row

log = logging.getLogger(__name__)

#: A resource is as its row says; in another state something is or was under way.
_SETTLED: Final = frozenset({"CREATE_COMPLETE", "UPDATE_COMPLETE", "DELETE_FAILED"})


class _Failed(Exception):
    """A resource failed; the text is the stack's status reason."""


class Work:
    """One change of one stack, from where it stands to its end."""

    def __init__(self, runner: StackRunner, stack: Row) -> None:
        self._runner = runner
        self._stack = stack
        self._store = runner.store
        self._stacks = runner.stacks
        self._rows: dict[str, Row] = {}

    async def run(self) -> None:
        """Do what the stack's status says."""
        self._rows = await self._store.view(self._stacks.resources, self._stack["id"])
        steps: dict[str, Callable[[], Awaitable[None]]] = {
            "CREATE_IN_PROGRESS": self._create,
            "ROLLBACK_IN_PROGRESS": partial(self._remove_all, "ROLLBACK_COMPLETE", "ROLLBACK_FAILED"),
            "UPDATE_IN_PROGRESS": self._update,
            "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS": partial(self._clean_up, "UPDATE_COMPLETE"),
            "UPDATE_ROLLBACK_IN_PROGRESS": self._roll_back_update,
            "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS": partial(self._clean_up, "UPDATE_ROLLBACK_COMPLETE"),
            "DELETE_IN_PROGRESS": partial(self._remove_all, "DELETE_COMPLETE", "DELETE_FAILED"),
        }
        while step := steps.get(self._stack["status"]):
            await step()

    async def _status(self, status: str, reason: str = "") -> None:
        await self._store.commit(self._stacks.set_status, self._stack, status, reason)

    async def _create(self) -> None:
        try:
            outputs = await self._apply(self._stack["request"])
        except _Failed as error:
            rollback = self._stack["request"]["rollback"]
            await self._status("ROLLBACK_IN_PROGRESS" if rollback else "CREATE_FAILED", str(error))
            return
        await self._store.commit(self._stacks.finish, self._stack, "CREATE_COMPLETE", outputs)

    async def _update(self) -> None:
        try:
            outputs = await self._apply(self._stack["request"])
        except _Failed as error:
            rollback = self._stack["request"]["rollback"]
            await self._status("UPDATE_ROLLBACK_IN_PROGRESS" if rollback else "UPDATE_FAILED", str(error))
            return
        self._stack["outputs"] = outputs
        await self._status("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS")

    async def _roll_back_update(self) -> None:
        try:
            await self._restore_replaced()
            self._stack["outputs"] = await self._apply(self._stack["previous"])
        except (_Failed, ResourceFailed) as error:
            await self._status("UPDATE_ROLLBACK_FAILED", str(error))
            return
        self._stack["request"] = self._stack["previous"]
        await self._status("UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS")

    async def _restore_replaced(self) -> None:
        """Resources that were replaced go back into their places; what replaced them goes."""
        for logical, old in (await self._store.view(self._stacks.leftovers, self._stack["id"])).items():
            if logical in self._rows and not _same(self._rows[logical], old):
                await self._delete(self._rows[logical])
            await self._store.commit(self._stacks.restore, self._stack, old)
            self._rows[logical] = old

    async def _clean_up(self, status: str) -> None:
        """Remove what the template no longer names, and what was replaced."""
        failed = await self._remove_leftovers()
        kept = set(self._plan(self._stack["request"]).order)
        for row in self._newest_first():
            if row["logical"] not in kept:
                failed = await self._try_delete(row) or failed
        await self._store.commit(self._stacks.finish, self._stack, status, self._stack["outputs"])
        if failed:
            log.warning("stack %s: left behind in the clean-up: %s", self._stack["name"], failed)

    async def _remove_leftovers(self) -> str:
        """Why one could not be removed; they are tried once, and their events tell."""
        failed = ""
        for logical, old in (await self._store.view(self._stacks.leftovers, self._stack["id"])).items():
            if logical not in self._rows or not _same(self._rows[logical], old):
                failed = await self._try_delete(old, leftover=True) or failed
            await self._store.commit(self._stacks.drop_leftover, self._stack["id"], logical)
        return failed

    async def _remove_all(self, done: str, failed: str) -> None:
        await self._remove_leftovers()
        reasons = [reason for row in self._newest_first() if (reason := await self._try_delete(row))]
        if reasons:
            await self._status(failed, f"The following resource(s) failed to delete: {'; '.join(reasons)}"[:1000])
        elif done == "ROLLBACK_COMPLETE":
            await self._status(done, self._stack.get("reason", ""))
        else:
            await self._status(done)

    def _newest_first(self) -> list[Row]:
        return sorted(self._rows.values(), key=lambda row: row["order"], reverse=True)

    def _plan(self, request: Row) -> templates.Plan:
        return templates.plan(request["processed"], request["values"], self._runner.providers)

    async def _apply(self, request: Row) -> list[Row]:
        """Make every resource what ``request`` says; the outputs. Raises ``_Failed``."""
        plan = self._plan(request)
        scope = intrinsics.Scope(plan.parameters, plan.conditions, plan.template.get("Mappings") or {})
        for at, logical in enumerate(plan.order):
            declared = plan.resource(logical)
            try:
                props = intrinsics.resolve(declared.get("Properties") or {}, scope)
                row = await self._make(at, logical, declared, props)
            except (DomainError, ResourceFailed) as error:
                reason = getattr(error, "message", str(error))
                raise _Failed(f"The following resource(s) failed: [{logical}]. {reason}"[:1000]) from None
            scope.physical_ids[logical] = row["physical_id"]
            scope.attributes[logical] = row["attributes"]
        return _outputs(plan, scope)

    async def _make(self, at: int, logical: str, declared: Row, props: Row) -> Row:
        row, kind = self._rows.get(logical), declared["Type"]
        if row is None or row["status"] in ("CREATE_IN_PROGRESS", "CREATE_FAILED"):
            fresh = _row(at, logical, kind, props, row)
            _keep_policies(fresh, declared)
            if row is None:
                await self._refuse_taken(fresh)
            return await self._create_one(fresh, again=row is not None)
        if row["type"] != kind:
            raise ResourceFailed(f"Update of resource type is not permitted: {row['type']} to {kind}.")
        if row["order"] != at or _keep_policies(row, declared):
            row["order"] = at
            await self._store.commit(self._stacks.keep_order, self._stack, row)
        if row["properties"] == props and row["status"] in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
            return row
        return await self._update_one(row, props)

    async def _refuse_taken(self, row: Row, hint: str = "") -> None:
        """Before the first trace of a resource: a name that the template chose must be free."""
        provider = self._runner.providers[row["type"]]
        ctx = self._runner.context(self._stack, row, again=False)
        if await self._runner.bounded(provider.is_taken(ctx, row["properties"])):
            reason = f"{row['properties'][provider.named_by]} already exists.{hint}"
            failed = {**row, "status": "CREATE_FAILED", "reason": reason}
            await self._store.commit(self._stacks.note_leftover, self._stack, failed, "CREATE_FAILED", reason)
            raise ResourceFailed(reason)

    async def _create_one(self, row: Row, again: bool) -> Row:
        self._rows[row["logical"]] = row
        await self._store.commit(self._stacks.put_resource, self._stack, row)
        provider = self._runner.providers[row["type"]]
        ctx = self._runner.context(self._stack, row, again)
        made = await self._attempt(row, provider.create(ctx, row["properties"]), "CREATE_FAILED")
        return await self._complete(row, made, "CREATE_COMPLETE")

    async def _update_one(self, row: Row, props: Row) -> Row:
        """``tried`` is what an update that did not end was to make of the resource: going back starts from there."""
        if row["status"] in _SETTLED:
            row["tried"] = props
        tried = row.get("tried", props)
        before = row["properties"] if tried == props else tried
        row |= {"status": "UPDATE_IN_PROGRESS", "reason": ""}
        await self._store.commit(self._stacks.put_resource, self._stack, row)
        provider = self._runner.providers[row["type"]]
        ctx = self._runner.context(self._stack, row, again=True)
        try:
            made = await self._attempt(row, provider.update(ctx, row["physical_id"], before, props), "UPDATE_FAILED")
        except Replace:
            return await self._replace(row, props)
        row["properties"] = props
        row.pop("tried", None)
        return await self._complete(row, made, "UPDATE_COMPLETE")

    async def _replace(self, row: Row, props: Row) -> Row:
        old = {**row, "status": "UPDATE_COMPLETE"}
        old.pop("tried", None)
        new = _row(row["order"], row["logical"], row["type"], props, None, row["generation"] + 1)
        new |= {name: row[name] for name in _POLICIES if name in row}
        try:
            await self._refuse_taken(new, " What has a name of its own can't be replaced: rename it.")
        except ResourceFailed:
            row |= old
            row.pop("tried", None)
            await self._store.commit(self._stacks.keep_order, self._stack, row)
            raise
        await self._store.commit(self._stacks.set_aside, self._stack, old, new)
        return await self._create_one(new, again=False)

    async def _attempt(self, row: Row, work: Any, failed: str) -> Made:
        try:
            made: Made = await self._runner.bounded(work)
            return made
        except (Replace, asyncio.CancelledError, Unavailable):
            raise
        except Exception as error:  # noqa: BLE001 (recorded as the resource's reason, and logged there)
            reason = self._reason(row, error)
            row |= {"status": failed, "reason": reason}
            await self._store.commit(self._stacks.put_resource, self._stack, row)
            raise ResourceFailed(reason) from None

    def _reason(self, row: Row, error: Exception) -> str:
        """What a person is told; the server's own failures go to the log."""
        if isinstance(error, TimeoutError):
            return "The resource did not become ready in the time allowed."
        if isinstance(error, KeyError) and error.args:
            return f"Properties validation failed: the property {error.args[0]} is missing or malformed."
        if isinstance(error, ResourceFailed | DomainError) or hasattr(error, "code"):
            return str(error)[:1000]
        if isinstance(error, TypeError | ValueError | AttributeError | ParamValidationError):
            return f"Properties validation failed: a property does not have the form that it needs ({error})."[:1000]
        log.error("stack %s, %s: %r", self._stack["name"], row["logical"], error, exc_info=error)
        return "The server failed to handle the resource; its log says why."

    async def _complete(self, row: Row, made: Made, status: str) -> Row:
        row |= {"physical_id": made.physical_id, "attributes": made.attributes, "status": status, "reason": ""}
        await self._store.commit(self._stacks.put_resource, self._stack, row)
        return row

    async def _try_delete(self, row: Row, leftover: bool = False) -> str:
        try:
            await self._delete(row, leftover)
        except ResourceFailed as error:
            return f"[{row['logical']}] {error}"
        return ""

    async def _delete(self, row: Row, leftover: bool = False) -> None:
        if row.get("physical_id"):
            if self._is_retained(row, leftover):
                row["retained"] = True
            else:
                await self._remove(row, leftover)
        if leftover:
            status = "DELETE_SKIPPED" if row.get("retained") else "DELETE_COMPLETE"
            await self._store.commit(self._stacks.note_leftover, self._stack, row, status)
            return
        self._rows.pop(row["logical"], None)
        await self._store.commit(self._stacks.forget_resource, self._stack, row)

    def _is_retained(self, row: Row, leftover: bool) -> bool:
        """Template Reference, "DeletionPolicy attribute" and "UpdateReplacePolicy attribute"."""
        if row["status"] in ("CREATE_IN_PROGRESS", "CREATE_FAILED"):
            return False
        policy = row.get("replace_policy" if leftover else "deletion_policy")
        return policy == "Retain" or (
            policy == "RetainExceptOnCreate" and self._stack["status"] != "ROLLBACK_IN_PROGRESS"
        )

    async def _remove(self, row: Row, leftover: bool) -> None:
        note = self._stacks.note_leftover
        row["reason"] = ""
        if leftover:
            await self._store.commit(note, self._stack, row, "DELETE_IN_PROGRESS")
        else:
            row["status"] = "DELETE_IN_PROGRESS"
            await self._store.commit(self._stacks.put_resource, self._stack, row)
        provider = self._runner.providers[row["type"]]
        ctx = self._runner.context(self._stack, row, again=True)
        try:
            await self._runner.bounded(provider.delete(ctx, row["physical_id"], row["properties"]))
        except (asyncio.CancelledError, Unavailable):
            raise
        except Exception as error:  # noqa: BLE001 (recorded as the resource's reason, and logged there)
            reason = self._reason(row, error)
            if leftover:
                await self._store.commit(note, self._stack, row, "DELETE_FAILED", reason)
            else:
                row |= {"status": "DELETE_FAILED", "reason": reason}
                await self._store.commit(self._stacks.put_resource, self._stack, row)
            raise ResourceFailed(reason) from None


_POLICIES: Final = {"deletion_policy": "DeletionPolicy", "replace_policy": "UpdateReplacePolicy"}


def _keep_policies(row: Row, declared: Row) -> bool:
    """Write into ``row`` what is to become of the resource at its end; whether that is news."""
    wanted = {name: declared[source] for name, source in _POLICIES.items() if declared.get(source)}
    if wanted == {name: row[name] for name in _POLICIES if name in row}:
        return False
    for name in _POLICIES:
        row.pop(name, None)
    row |= wanted
    return True


def _same(one: Row, other: Row) -> bool:
    """Whether two rows stand for one thing, as when an API gives what is there already."""
    return bool(one["physical_id"]) and one["physical_id"] == other["physical_id"]


def _row(at: int, logical: str, kind: str, props: Row, before: Row | None, generation: int = 0) -> Row:
    return {
        "logical": logical, "type": kind, "physical_id": before["physical_id"] if before else None,
        "status": "CREATE_IN_PROGRESS", "reason": "", "properties": props, "attributes": {},
        "generation": before["generation"] if before else generation, "order": at,
    }  # fmt: skip


def _outputs(plan: templates.Plan, scope: intrinsics.Scope) -> list[Row]:
    outputs = []
    for key, declared in (plan.template.get("Outputs") or {}).items():
        if not plan.conditions.get(declared.get("Condition", ""), True):
            continue
        try:
            value = intrinsics.text_of(intrinsics.resolve(declared.get("Value"), scope))
        except DomainError as error:
            raise _Failed(f"Output {key}: {error.message}") from None
        outputs.append({"key": key, "value": value, "description": declared.get("Description")})
    return outputs
