"""What IAM's handlers share: the store, pages, and the forms of times and documents."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Concatenate, Final, Literal, ParamSpec, TypeVar
from urllib.parse import quote

from sluiceway.core.store import Store, Tx, View
from sluiceway.edges.aws.operations import Call, PolicyOf
from sluiceway.errors import Invalid, NotFound, NotImplementedYet, Unauthenticated
from sluiceway.services.accounts import Accounts, KeyRing
from sluiceway.services.accounts.rows import ROLES, USERS

_LOCATED: Final = "sluiceway:ResourceArn"

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Desk:
    """The store and the accounts behind IAM's operations."""

    store: Store
    accounts: Accounts
    keyring: KeyRing | None

    async def change(self, fn: Callable[Concatenate[Tx, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Commit, and bring the keys in memory up to date before the answer."""
        result = await self.store.commit(fn, *args, **kwargs)
        if self.keyring is not None:
            await self.keyring.refresh(self.store)
        return result

    async def look(self, fn: Callable[Concatenate[View, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Read."""
        return await self.store.view(fn, *args, **kwargs)

    def locate(self, kind: Literal["user", "role"], member: str) -> PolicyOf:
        """For ``Operation.policy``: users and roles have no policy of their own, but a path in their ARN, which
        only the store knows. It is left in the call's conditions for ``owned``."""

        async def policy(call: Call) -> dict[str, Any] | None:
            if call.principal.kind == "anonymous":
                raise Unauthenticated("missing", "Request is missing Authentication Token")
            name = str(call.params.get(member) or call.principal.name)
            row = await self.store.view(lambda view: view.get(USERS if kind == "user" else ROLES, (name,)))
            if row is not None:
                call.conditions[_LOCATED] = [row["arn"]]
            if call.params.get("PolicyArn"):
                call.conditions["iam:PolicyARN"] = [call.params["PolicyArn"]]
            return None

        return policy

    def page(self, call: Call, items: Iterable[T], name_of: Callable[[T], str]) -> tuple[list[T], dict[str, Any]]:
        """One page of ``items`` (in the order of their names) and the members that say where it ends."""
        limit = int(call.params.get("MaxItems", 100))
        if not 1 <= limit <= self.accounts.limits.page_max:
            raise Invalid("max_items", f"MaxItems must be between 1 and {self.accounts.limits.page_max}.")
        marker = str(call.params.get("Marker") or "")
        taken: list[T] = []
        for item in items:
            if marker and name_of(item) <= marker:
                continue
            if len(taken) == limit:
                return taken, {"IsTruncated": True, "Marker": name_of(taken[-1])}
            taken.append(item)
        return taken, {"IsTruncated": False}


def no_boundary(call: Call) -> None:
    """Raises ``NotImplementedYet`` for a boundary: a holder without the limits that were asked for could do more."""
    if call.params.get("PermissionsBoundary"):
        raise NotImplementedYet("parameter", "There are no permissions boundaries here yet.")


def when(ms: int) -> datetime:
    """A time in the model's type; IAM's have whole seconds."""
    return datetime.fromtimestamp(ms // 1000, UTC)


def document(text: str) -> str:
    """A policy as IAM's answers carry it: percent-encoded (RFC 3986)."""
    return quote(text, safe="")


def tags_in(params: dict[str, Any]) -> dict[str, str]:
    """Tags of a request. Raises ``Invalid("tags")`` for a key that stands twice."""
    tags = params.get("Tags") or []
    found = {str(tag["Key"]): str(tag["Value"]) for tag in tags}
    if len(found) != len(tags):
        raise Invalid("tags", "Duplicate tag keys found. Please note that Tag keys are case insensitive.")
    return found


def tags_out(tags: dict[str, str]) -> list[dict[str, str]]:
    """Tags of an answer."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def user_named(call: Call) -> str:
    """The user that the request names, or the caller itself. Raises ``NotFound("user")`` for root and roles."""
    name = call.params.get("UserName")
    if name:
        return str(name)
    if call.principal.kind != "user":
        raise NotFound("user", "Name a user: the caller is not one.")
    return call.principal.name


def owned(kind: str, member: str) -> Callable[[Call], str]:
    """The ARN that policies are asked about: ``kind`` ("user", "role", "policy") and the name in ``member``.

    Its path is what ``Desk.locate`` found, or what the request says.
    """

    def resource(call: Call) -> str:
        located = call.conditions.get(_LOCATED)
        if located:
            return located[0]
        name = call.params.get(member) or call.principal.name
        path = call.params.get("Path") or "/"
        return f"arn:aws:iam::{call.scope.account}:{kind}{path}{name}"

    return resource


def arn_in(member: str) -> Callable[[Call], str]:
    """The ARN that the request carries."""

    def resource(call: Call) -> str:
        return str(call.params.get(member) or "*")

    return resource


def everything(call: Call) -> str:
    """For operations without a resource of their own."""
    return "*"


def under(items: Sequence[T] | Iterable[T], prefix: str | None, path_of: Callable[[T], str]) -> Iterable[T]:
    """Those whose path begins with the request's PathPrefix."""
    return (item for item in items if path_of(item).startswith(prefix or "/"))
