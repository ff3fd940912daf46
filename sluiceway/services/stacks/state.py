"""The state of stacks: what was asked for, what was made, and what happened.

Tables: ``stacks`` (name), ``deleted_stacks`` (id), ``deleted_stacks_by_time`` (milliseconds, id),
``stack_resources`` (stack id, logical id), ``stack_leftovers`` (stack id, logical id; a replaced resource until the
update is done). Events are the log ``stack/ID``. A request wakes "stacks"; ``reactions.stacks`` carries it out and goes on after a crash.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from sluiceway.config import StackSettings
from sluiceway.core.clock import new_id
from sluiceway.core.identity import Principal, Scope
from sluiceway.core.store import Tx, View
from sluiceway.errors import AlreadyExists, Conflict, Invalid, NotFound, Throttled

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,127}")
#: From these states a stack can be updated (CloudFormation User Guide, "Stack status codes").
UPDATABLE: Final = frozenset({"CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE"})

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Request:
    """What a caller asked for, ready to be carried out.

    ``text`` is the template as given, ``processed`` the translated one, ``parameters`` the given and default
    values by name, ``values`` the resolved ones with the pseudo parameters; ``hidden`` names those not to be shown.
    """

    text: str
    processed: Row
    parameters: dict[str, str]
    values: Row
    tags: dict[str, str] = field(default_factory=dict)
    capabilities: tuple[str, ...] = ()
    rollback: bool = True
    hidden: tuple[str, ...] = ()

    def to_json(self) -> Row:
        """As it is kept in the stack's row."""
        return {**asdict(self), "capabilities": list(self.capabilities), "hidden": list(self.hidden)}


class Stacks:
    """Rows of stacks; synchronous functions of a transaction."""

    def __init__(self, scope: Scope, limits: StackSettings) -> None:
        self._scope = scope
        self._limits = limits

    def new_id_for(self, name: str) -> str:
        """The ARN of a stack to be made. Raises ``Invalid("stack_name")``."""
        if not _NAME.fullmatch(name):
            raise Invalid(
                "stack_name",
                f"1 validation error detected: Value '{name[:200]}' at 'stackName' failed to satisfy constraint: "
                "Member must satisfy regular expression pattern: [a-zA-Z][-a-zA-Z0-9]*",
            )
        return self._scope.arn("cloudformation", f"stack/{name}/{new_id()}")

    def get(self, view: View, name: str) -> Row:
        """A stack by name or id. Raises ``NotFound("stack")``."""
        by_id = name.startswith("arn:")
        row: Any = view.get("stacks", (name.split("/")[1] if by_id and name.count("/") == 2 else name,))
        if by_id and (row is None or row["id"] != name):
            row = view.get("deleted_stacks", (name,))
        if row is None:
            raise NotFound("stack", f"Stack with id {name} does not exist")
        return dict(row)

    def all(self, view: View) -> list[Row]:
        """Every stack that is there, by name."""
        return [dict(row) for _, row in view.scan("stacks", limit=self._limits.stacks_max)]

    def begin_create(self, tx: Tx, name: str, stack_id: str, request: Request, principal: Principal) -> str:
        """Accept a new stack; its id. Raises ``AlreadyExists("stack")``, ``Throttled("stack")``."""
        if tx.get("stacks", (name,)) is not None:
            raise AlreadyExists("stack", f"Stack [{name}] already exists")
        if sum(1 for _ in tx.scan("stacks", limit=self._limits.stacks_max)) >= self._limits.stacks_max:
            raise Throttled("stack", f"There are {self._limits.stacks_max} stacks already.")
        row = {
            "id": stack_id,
            "name": name,
            "created_ms": tx.now_ms,
            "updated_ms": None,
            "outputs": [],
            "request": request.to_json(),
            "previous": None,
            "principal": asdict(principal),
        }
        self.set_status(tx, row, "CREATE_IN_PROGRESS", "User Initiated")
        return stack_id

    def begin_update(self, tx: Tx, name: str, request: Request, principal: Principal) -> str:
        """Accept a change; the stack's id. Raises ``Conflict("stack")``, ``Invalid("no_updates")``."""
        row = self.get(tx, name)
        if row["status"] not in UPDATABLE:
            raise Conflict("stack", f"Stack:{row['id']} is in {row['status']} state and can not be updated.")
        asked = request.to_json()
        if all(asked[part] == row["request"][part] for part in ("processed", "values", "tags")):
            raise Invalid("no_updates", "No updates are to be performed.")
        row |= {"previous": row["request"], "request": asked, "principal": asdict(principal)}
        row["updated_ms"] = tx.now_ms
        self.set_status(tx, row, "UPDATE_IN_PROGRESS", "User Initiated")
        return str(row["id"])

    def begin_delete(self, tx: Tx, name: str, principal: Principal) -> None:
        """Accept the end of a stack; nothing happens if there is none."""
        try:
            row = self.get(tx, name)
        except NotFound:
            return
        if row["status"] in ("DELETE_COMPLETE", "DELETE_IN_PROGRESS"):
            return
        if row["status"].endswith("_IN_PROGRESS"):
            raise Conflict("stack", f"Stack:{row['id']} is in {row['status']} state and can not be deleted now.")
        row["principal"] = asdict(principal)
        self.set_status(tx, row, "DELETE_IN_PROGRESS", "User Initiated")

    def set_status(self, tx: Tx, row: Row, status: str, reason: str = "") -> None:
        """Record where the stack is, with its event."""
        row |= {"status": status, "reason": reason}
        if status == "DELETE_COMPLETE":
            row["deleted_ms"] = tx.now_ms
            tx.delete("stacks", (row["name"],))
            tx.put("deleted_stacks", (row["id"],), row)
            tx.put("deleted_stacks_by_time", (tx.now_ms, row["id"]), {})
            self._forget_deleted(tx)
        else:
            tx.put("stacks", (row["name"],), row)
        self._event(tx, row, row["name"], "AWS::CloudFormation::Stack", row["id"], status, reason)
        log = f"stack/{row['id']}"
        tx.trim(log, max(0, tx.bounds(log).next - self._limits.events_kept))
        tx.on_commit("stacks")

    def _forget_deleted(self, tx: Tx) -> None:
        """Two at a time, as one is added: they become fewer."""
        end = (tx.now_ms - self._limits.deleted_kept_s * 1000,)
        for key, _ in list(tx.scan("deleted_stacks_by_time", end=end, limit=2)):
            tx.delete("deleted_stacks_by_time", key)
            tx.delete("deleted_stacks", (key[1],))
            log = f"stack/{key[1]!s}"
            tx.trim(log, tx.bounds(log).next)

    def finish(self, tx: Tx, row: Row, status: str, outputs: list[Row]) -> None:
        """The stack stands as its template says."""
        row |= {"outputs": outputs, "previous": None}
        self.set_status(tx, row, status)

    def resources(self, view: View, stack_id: str) -> dict[str, Row]:
        """What was made, by logical id."""
        return {str(key[1]): dict(row) for key, row in view.scan("stack_resources", prefix=(stack_id,))}

    def put_resource(self, tx: Tx, stack: Row, resource: Row) -> None:
        """Record a resource's state, with its event. ``resource`` has logical, type, physical_id, status,
        reason, properties, attributes, generation and order."""
        resource["updated_ms"] = tx.now_ms
        tx.put("stack_resources", (stack["id"], resource["logical"]), resource)
        self._resource_event(tx, stack, resource)

    def keep_order(self, tx: Tx, stack: Row, resource: Row) -> None:
        """Where an unchanged resource stands in the template now, and what is to become of it, without an event."""
        tx.put("stack_resources", (stack["id"], resource["logical"]), resource)

    def restore(self, tx: Tx, stack: Row, old: Row) -> None:
        """``old`` is back in its place."""
        self.put_resource(tx, stack, old)
        self.drop_leftover(tx, stack["id"], old["logical"])

    def note_leftover(self, tx: Tx, stack: Row, old: Row, status: str, reason: str = "") -> None:
        """What happens to a replaced resource, for a person."""
        self._resource_event(tx, stack, {**old, "status": status, "reason": reason})

    def forget_resource(self, tx: Tx, stack: Row, resource: Row) -> None:
        """The resource is gone."""
        tx.delete("stack_resources", (stack["id"], resource["logical"]))
        status = "DELETE_SKIPPED" if resource.get("retained") else "DELETE_COMPLETE"
        self._resource_event(tx, stack, {**resource, "status": status, "reason": ""})

    def set_aside(self, tx: Tx, stack: Row, old: Row, new: Row) -> None:
        """``new`` replaces ``old``, which stays until the update is done."""
        tx.put("stack_leftovers", (stack["id"], old["logical"]), old)
        self.put_resource(tx, stack, new)

    def leftovers(self, view: View, stack_id: str) -> dict[str, Row]:
        """Replaced resources that are still there, by logical id."""
        return {str(key[1]): dict(row) for key, row in view.scan("stack_leftovers", prefix=(stack_id,))}

    def drop_leftover(self, tx: Tx, stack_id: str, logical: str) -> None:
        """The replaced resource is gone, or back in its place."""
        tx.delete("stack_leftovers", (stack_id, logical))

    def events(self, view: View, stack_id: str, limit: int) -> list[Row]:
        """The newest events first."""
        log = f"stack/{stack_id}"
        bounds = view.bounds(log)
        entries = view.read(log, max(bounds.first, bounds.next - limit), limit)
        return [{**entry.value, "at_ms": entry.time_ms} for entry in reversed(entries) if isinstance(entry.value, dict)]

    def _resource_event(self, tx: Tx, stack: Row, resource: Row) -> None:
        self._event(
            tx, stack, resource["logical"], resource["type"], resource.get("physical_id") or "",
            resource["status"], resource.get("reason", ""),
        )  # fmt: skip

    def _event(self, tx: Tx, stack: Row, logical: str, kind: str, physical: str, status: str, reason: str) -> None:
        event = {
            "id": new_id(), "stack_id": stack["id"], "stack_name": stack["name"], "logical": logical, "type": kind,
            "physical_id": physical, "status": status, "reason": reason,
        }  # fmt: skip
        tx.append(f"stack/{stack['id']}", event)
