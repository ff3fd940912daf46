"""What a resource type of CloudFormation is here: three calls on the services' own operations."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from sluiceway.core.identity import Principal, Scope

Properties = dict[str, Any]


class CallFailed(Protocol):
    """The shape of ``edges.aws.inprocess.ApiError``, which this layer can't import."""

    code: str
    message: str


class Caller(Protocol):
    """``edges.aws.inprocess.InProcessClient``."""

    async def call(
        self, service: str, operation: str, params: dict[str, Any], principal: Principal
    ) -> dict[str, Any]: ...


class Replace(Exception):
    """An update that needs a new resource in place of the old one."""


class ResourceFailed(Exception):
    """The resource can't be made, changed or deleted; its text is the status reason."""


@dataclass(frozen=True, slots=True)
class Made:
    """What ``Ref`` gives (``physical_id``) and what ``Fn::GetAtt`` gives."""

    physical_id: str
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Context:
    """One resource of one stack. ``again`` says that an earlier try may have made it already.

    ``claim(physical_id)`` records that it was made, so that it is removed if what follows fails.
    """

    call: Callable[..., Awaitable[dict[str, Any]]]
    scope: Scope
    own_url: str
    stack_id: str
    stack_name: str
    logical_id: str
    generation: int
    again: bool
    claim: Callable[[str], Awaitable[None]]

    def name(self, length_max: int, *, lower: bool = False) -> str:
        """A name for a resource that the template doesn't name; the same one at every try."""
        digest = hashlib.sha256(f"{self.stack_id}/{self.logical_id}/{self.generation}".encode()).hexdigest()[:12]
        room = length_max - len(digest) - 2
        stack = self.stack_name[: max(1, room // 2)]
        logical = self.logical_id[: room - len(stack)]
        text = f"{stack}-{logical}-{digest}"
        return text.lower() if lower else text

    async def unless(self, codes: tuple[str, ...], service: str, operation: str, **params: Any) -> dict[str, Any]:
        """``call``, with {} instead of an error whose code is one of ``codes``."""
        try:
            return await self.call(service, operation, **params)
        except Exception as error:
            if getattr(error, "code", None) in codes:
                return {}
            raise


@dataclass(frozen=True, slots=True)
class Look:
    """How a provider sees whether something has a name already: the operation, and its parameter for the name."""

    service: str
    operation: str
    parameter: str
    name: Callable[[Context, str], str] = lambda _, name: name


class Provider(ABC):
    """One resource type. ``create`` must do no harm when it is tried again after a crash.

    ``accepts`` are the properties that it acts on; a template with another one is refused. ``named_by`` is the
    property that names the resource, if a template may choose its name.
    """

    accepts: ClassVar[frozenset[str]] = frozenset()
    named_by: ClassVar[str] = ""
    look: ClassVar[Look | None] = None

    async def is_taken(self, ctx: Context, props: Properties) -> bool:
        """Whether the name that the template chose is another's: a stack never takes over what it did not make."""
        name = props.get(self.named_by)
        if not name or not isinstance(name, str) or self.look is None:
            return False
        try:
            await ctx.call(self.look.service, self.look.operation, **{self.look.parameter: self.look.name(ctx, name)})
        except Exception as error:
            if hasattr(error, "code"):
                return False  # there is none, or the caller may not look: creating it says which
            raise
        return True

    @abstractmethod
    async def create(self, ctx: Context, props: Properties) -> Made:
        """Make it; the API's own errors go through."""

    async def update(self, ctx: Context, physical_id: str, old: Properties, new: Properties) -> Made:
        """Change it in place; ``Replace`` (the default) if that can't be."""
        raise Replace

    @abstractmethod
    async def delete(self, ctx: Context, physical_id: str, props: Properties) -> None:
        """Remove it; fine if it is gone."""


def pick(props: Properties, *names: str, **renamed: str) -> Properties:
    """The named properties that are there; ``renamed`` is parameter=property."""
    chosen = {name: props[name] for name in names if props.get(name) is not None}
    return chosen | {name: props[source] for name, source in renamed.items() if props.get(source) is not None}


def changed(old: Properties, new: Properties, *names: str) -> bool:
    """Whether one of the named properties differs."""
    return any(old.get(name) != new.get(name) for name in names)


def tag_changes(old: Properties, new: Properties) -> tuple[dict[str, str], list[str]]:
    """Tags to set, and the names of those to remove."""
    before, after = tag_map(old), tag_map(new)
    return {key: value for key, value in after.items() if before.get(key) != value}, sorted(
        before.keys() - after.keys()
    )


def tag_list(tags: dict[str, str]) -> list[dict[str, str]]:
    """Tags as most APIs want them."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def tag_map(props: Properties) -> dict[str, str]:
    """CloudFormation's list of tags as a map."""
    tags = props.get("Tags") or []
    if isinstance(tags, dict):
        return {str(key): str(value) for key, value in tags.items()}
    return {str(tag["Key"]): str(tag["Value"]) for tag in tags}
