"""Policies that users and roles hold: inline ones, and managed ones attached to them."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final, TypeVar

from sluiceway.core.policy import check_identity_policy, parse_policy
from sluiceway.core.store import View
from sluiceway.errors import Conflict, Invalid, NotFound
from sluiceway.services.accounts.aws_policies import AWS_POLICIES
from sluiceway.services.accounts.rows import POLICIES, Role, User

Holder = TypeVar("Holder", User, Role)

NAME = re.compile(r"[\w+=,.@-]{1,128}\Z", re.ASCII)
_PATH = re.compile(r"/(?:[\x21-\x7e]{1,510}/)?\Z")
_TEXT: Final = "The specified value for {} is invalid: letters, digits and +=,.@_- are allowed, {} at most."


def check_name(name: str, what: str, chars_max: int = 64) -> None:
    """Raises ``Invalid("name")``."""
    if not NAME.match(name) or len(name) > chars_max:
        raise Invalid("name", _TEXT.format(what, chars_max))


def check_path(path: str) -> None:
    """Raises ``Invalid("name")``."""
    if not _PATH.match(path):
        raise Invalid("name", "The specified value for path is invalid: it must begin and end with / (512 at most).")


def check_tags(tags: dict[str, str], count_max: int) -> None:
    """Raises ``Invalid("tags")``, ``Conflict("limit")``."""
    if len(tags) > count_max:
        raise Conflict("limit", f"The number of tags has reached the maximum limit ({count_max}).")
    for key, value in tags.items():
        if not 0 < len(key) <= 128 or len(value) > 256 or key.lower().startswith("aws:"):
            raise Invalid("tags", f"The tag {key[:128]!r} is not allowed.")


def checked(text: str) -> str:
    """``text``, if it is an identity policy. Raises ``Invalid("policy")``."""
    check_identity_policy(parse_policy(text))
    return text


def with_inline(holder: Holder, name: str, text: str, chars_max: int) -> Holder:
    """``holder`` with the inline policy added or replaced. Raises ``Invalid``, ``Conflict("limit")``."""
    check_name(name, "policyName", 128)
    inline = {**holder.inline, name: checked(text)}
    if sum(len("".join(document.split())) for document in inline.values()) > chars_max:
        raise Conflict("limit", f"Maximum policy size of {chars_max} bytes exceeded for {holder.name}")
    return replace(holder, inline=inline)


def inline_of(holder: User | Role, name: str) -> str:
    """The inline policy's text. Raises ``NotFound("policy")``."""
    found = holder.inline.get(name)
    if found is None:
        kind = "user" if isinstance(holder, User) else "role"
        raise NotFound("policy", f"The {kind} policy with name {name[:128]} cannot be found.")
    return found


def without_inline(holder: Holder, name: str) -> Holder:
    """``holder`` without the inline policy. Raises ``NotFound("policy")``."""
    inline_of(holder, name)
    return replace(holder, inline={key: text for key, text in holder.inline.items() if key != name})


def with_attached(view: View, holder: Holder, arn: str, count_max: int) -> Holder:
    """``holder`` with the managed policy attached. Raises ``NotFound("policy")``, ``Conflict("limit")``."""
    if arn in holder.attached:
        return holder
    if document_of(view, arn) is None:
        raise NotFound("policy", f"Policy {arn[:300]} does not exist or is not attachable.")
    if len(holder.attached) >= count_max:
        raise Conflict("limit", f"Cannot exceed quota for attached policies: {count_max}")
    return replace(holder, attached=[*holder.attached, arn])


def without_attached(holder: Holder, arn: str) -> Holder:
    """``holder`` with the managed policy detached. Raises ``NotFound("policy")``."""
    if arn not in holder.attached:
        raise NotFound("policy", f"Policy {arn[:300]} was not found.")
    return replace(holder, attached=[other for other in holder.attached if other != arn])


def document_of(view: View, arn: str) -> str | None:
    """The text of a managed policy's version in force: AWS's, or the account's own."""
    found = AWS_POLICIES.get(arn)
    if found is not None:
        return found
    row = view.get(POLICIES, (arn,))
    return None if row is None else str(row["versions"][row["default"]][0])


def documents(view: View, holder: User | Role) -> list[str]:
    """The texts of every policy that ``holder`` has."""
    attached = [document_of(view, arn) for arn in holder.attached]
    return [*holder.inline.values(), *(text for text in attached if text is not None)]
