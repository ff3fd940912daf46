"""Whether a function's role may read a mapping's source, and send to its OnFailure queue.

AWS Lambda Developer Guide, "Execution role permissions" of each source.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from sluiceway.core.identity import Arn, Principal
from sluiceway.core.store import View
from sluiceway.errors import AccessDenied, NotFound
from sluiceway.services.access import authorize

_READING: Final[Mapping[str, tuple[str, ...]]] = {
    "kinesis": ("kinesis:DescribeStream", "kinesis:GetRecords", "kinesis:GetShardIterator"),
    "dynamodb": ("dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator"),
    "sqs": ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"),
}

#: The role of the function of this name, as a caller. Raises ``NotFound``.
CallerOf = Callable[[View, str], Principal]
#: The policy of the queue of this name, if it has one.
QueuePolicy = Callable[[View, str], dict[str, Any] | None]


class RoleRights:
    """``caller_of`` gives the role of a function as a principal."""

    def __init__(self, caller_of: CallerOf, queue_policy: QueuePolicy) -> None:
        self._caller_of = caller_of
        self._queue_policy = queue_policy

    def may_read(self, function: str, source_arn: str, view: View) -> None:
        """Raises ``AccessDenied`` unless the function's role may read the source."""
        self._check(function, source_arn, _READING[Arn.parse(source_arn).service], view)

    def may_send(self, function: str, queue_arn: str, view: View) -> None:
        """Raises ``AccessDenied`` unless the function's role may send to the queue."""
        self._check(function, queue_arn, ("sqs:SendMessage",), view)

    def _check(self, function: str, arn: str, actions: tuple[str, ...], view: View) -> None:
        try:
            caller = self._caller_of(view, function)
        except NotFound as error:
            raise AccessDenied("access", error.message) from None
        parsed = Arn.parse(arn)
        policy = self._queue_policy(view, parsed.resource) if parsed.service == "sqs" else None
        for action in actions:
            authorize(caller, action, arn, {}, policy)
