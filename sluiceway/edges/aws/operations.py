"""What a service's edge offers: a table of operations, run by ``edges.aws.pipeline``.

The pipeline parses a request by the service model, authenticates it, authorises it with the operation's
action, resource and resource policy, calls the handler, and serialises what it returns. A handler is
"translate, commit, translate": it gets the model's input shape as a dict and returns the output shape's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sluiceway.core.identity import Principal, Scope
from sluiceway.edges.http import Body
from sluiceway.errors import DomainError


@dataclass(slots=True)
class Call:
    """One authenticated operation. ``params`` has the members of the model's input shape, typed as
    botocore types them (blobs are bytes, timestamps are aware datetimes, streaming members are bytes). ``body`` is the
    request's, which knows whether the client is still there."""

    service: str
    operation: str
    params: dict[str, Any]
    principal: Principal
    scope: Scope
    request_id: str
    now_ms: int
    base_url: str
    body: Body
    context: Callable[[], dict[str, list[str]]] = dict
    _conditions: dict[str, list[str]] | None = None

    @property
    def conditions(self) -> dict[str, list[str]]:
        """Policy condition keys and values; gathered when a policy is there that may ask for them."""
        if self._conditions is None:
            self._conditions = self.context()
        return self._conditions


def moment(ms: int) -> datetime:
    """A time as the codecs take it."""
    return datetime.fromtimestamp(ms / 1000, UTC)


Output = dict[str, Any] | None
OperationHandler = Callable[[Call], Awaitable[Output]]
ResourceOf = Callable[[Call], str]  # the ARN that policies are evaluated against; "*" where AWS has none
PolicyOf = Callable[[Call], Awaitable[dict[str, Any] | None]]  # the resource's own policy document


@dataclass(frozen=True, slots=True)
class Operation:
    """``action`` defaults to ``SERVICE:OperationName``. ``public`` skips authentication (signed tokens in
    the request prove the right instead, as for SNS's ConfirmSubscription). ``trust`` says that the resource's
    policy must allow, or leave it to the account's: an identity policy alone is not enough."""

    handler: OperationHandler
    resource: ResourceOf
    policy: PolicyOf | None = None
    action: str | None = None
    public: bool = False
    trust: bool = False


#: (domain error class, kind) -> the error's shape name in the service model, or its code on the wire.
ErrorTable = Mapping[tuple[type[DomainError], str], str]


@dataclass(frozen=True, slots=True)
class ServiceEdge:
    """One protocol service. ``name`` is botocore's ("sqs", "dynamodbstreams"); ``iam_prefix`` is what its
    policy actions begin with ("dynamodb"). ``unsigned`` says that requests without a signature get what resources'
    policies allow to everybody; elsewhere everybody is everybody who signs."""

    name: str
    iam_prefix: str
    operations: Mapping[str, Operation]
    errors: ErrorTable
    unsigned: bool = False
