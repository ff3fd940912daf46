"""Who may send a subscription's dead letters: the queue's policy must allow sns.amazonaws.com, as on AWS
(Amazon SNS Developer Guide, "Configuring a dead-letter queue for a subscription")."""

from __future__ import annotations

from typing import Any, Protocol

from sluiceway.core.identity import Arn, Principal, Scope
from sluiceway.core.reaction import Reaction
from sluiceway.core.store import View
from sluiceway.services.access import authorize


class QueuePolicies(Protocol):
    """The queue service, as far as the guard needs it."""

    def arn(self, name: str, /) -> str: ...

    def get(self, view: View, name: str, /) -> object: ...

    def policy(self, view: View, name: str, /) -> dict[str, Any] | None: ...


class LetterGuard:
    """Checks reactions of topics; others' dead letters are their own service's business."""

    def __init__(self, queues: QueuePolicies, scope: Scope) -> None:
        self._queues = queues
        self._scope = scope

    def __call__(self, view: View, reaction: Reaction, place: Arn) -> None:
        """Raises ``AccessDenied`` if the topic may not send to the queue, and ``NotFound("queue")``."""
        topic_arn = reaction.target.options.get("topic_arn")
        if topic_arn is None:
            return
        sns = Principal("service", self._scope.account, "sns.amazonaws.com", "sns.amazonaws.com")
        conditions = {"aws:SourceArn": [topic_arn], "aws:SourceAccount": [self._scope.account]}
        self._queues.get(view, place.resource)
        policy = self._queues.policy(view, place.resource)
        authorize(sns, "sqs:SendMessage", self._queues.arn(place.resource), conditions, policy)
