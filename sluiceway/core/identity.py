"""Who calls, and the names of things (ARNs)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

PrincipalKind = Literal["root", "user", "role", "service", "anonymous"]


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller. ``policies`` are parsed identity policy documents (JSON objects).

    ``root`` is allowed everything unless a resource policy denies it. ``anonymous`` has no policies.
    A ``role`` caller (a function) is limited by its role's policies; ``session`` is its session name.
    A ``service`` principal ("s3.amazonaws.com") acts for the server itself. ``id`` is the unique id of a user or role,
    by which policies of resources keep whom they name.
    """

    kind: PrincipalKind
    account: str
    name: str
    arn: str
    canonical_id: str = ""
    access_key_id: str = ""
    policies: tuple[dict[str, Any], ...] = ()
    session: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    id: str = ""


ANONYMOUS = Principal(kind="anonymous", account="anonymous", name="anonymous", arn="*")


@dataclass(frozen=True, slots=True)
class Scope:
    """The account and region that this server is; part of every ARN it makes."""

    account: str
    region: str

    def arn(self, service: str, resource: str) -> str:
        """``arn:aws:SERVICE:REGION:ACCOUNT:RESOURCE``"""
        return f"arn:aws:{service}:{self.region}:{self.account}:{resource}"


@dataclass(frozen=True, slots=True)
class Arn:
    """A parsed Amazon Resource Name (AWS General Reference, "Amazon Resource Names")."""

    partition: str
    service: str
    region: str
    account: str
    resource: str

    @classmethod
    def parse(cls, text: str) -> Arn:
        """Raises ``ValueError`` if ``text`` is not an ARN."""
        parts = text.split(":", 5)
        if len(parts) != 6 or parts[0] != "arn" or not parts[2] or not parts[5]:
            raise ValueError(f"not an ARN: {text[:200]}")
        return cls(*parts[1:])

    def __str__(self) -> str:
        return f"arn:{self.partition}:{self.service}:{self.region}:{self.account}:{self.resource}"
