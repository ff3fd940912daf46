"""Kind "queue": a copy of the message in a queue, in the transaction that advances the cursor."""

from __future__ import annotations

from typing import Any, Protocol

from sluiceway.core.identity import Principal, Scope
from sluiceway.core.reaction import Reaction
from sluiceway.core.store import Entry, Tx, View
from sluiceway.errors import Invalid
from sluiceway.reactions.target import InStoreTarget
from sluiceway.reactions.targets.notification import NotificationTarget
from sluiceway.services.topics.envelopes import Envelopes

_RAW_ATTRIBUTES_MAX = 10  # SQS takes no more; SNS counts such a message as a client-side error


class Authorize(Protocol):
    """``services.access.authorize``."""

    def __call__(
        self,
        principal: Principal,
        action: str,
        resource: str,
        conditions: dict[str, list[str]],
        resource_policy: dict[str, Any] | None = None,
    ) -> None: ...


class Queues(Protocol):
    """The queue service, as far as this target needs it."""

    def arn(self, name: str, /) -> str: ...

    def get(self, view: View, name: str, /) -> object: ...

    def policy(self, view: View, name: str, /) -> dict[str, Any] | None: ...

    def send(
        self,
        tx: Tx,
        name: str,
        body: str,
        *,
        attributes: dict[str, Any] | None = None,
        group_id: str | None = None,
        deduplication_id: str | None = None,
    ) -> object: ...


def sns_principal(scope: Scope) -> Principal:
    """Who delivers."""
    return Principal(kind="service", account=scope.account, name="sns.amazonaws.com", arn="sns.amazonaws.com")


def source(scope: Scope, topic_arn: str) -> dict[str, list[str]]:
    """The condition keys of a delivery by a topic."""
    return {"aws:SourceArn": [topic_arn], "aws:SourceAccount": [scope.account]}


class QueueTarget(NotificationTarget, InStoreTarget):
    """The address is a queue's name. The queue's policy must allow sns.amazonaws.com to send, as on AWS."""

    def __init__(self, envelopes: Envelopes, queues: Queues, authorize: Authorize, scope: Scope) -> None:
        super().__init__(envelopes)
        self._queues = queues
        self._authorize = authorize
        self._scope = scope
        self._principal = sns_principal(scope)

    def deliver(self, tx: Tx, reaction: Reaction, entry: Entry) -> None:
        """Send the message. Raises ``NotFound("queue")``, ``AccessDenied``, and what the queue refuses."""
        name, options, value = reaction.target.address, reaction.target.options, entry.value
        self._queues.get(tx, name)
        policy = self._queues.policy(tx, name)
        conditions = source(self._scope, options["topic_arn"])
        self._authorize(self._principal, "sqs:SendMessage", self._queues.arn(name), conditions, policy)
        attributes = _attributes(value) if options.get("raw") else None
        fifo = name.endswith(".fifo")
        self._queues.send(
            tx,
            name,
            self.content(value, options),
            attributes=attributes,
            group_id=value.get("group") if fifo else None,
            deduplication_id=value.get("deduplication") if fifo else None,
        )


def _attributes(value: dict[str, Any]) -> dict[str, Any]:
    """A raw message's attributes as SQS's."""
    given = value.get("attributes") or {}
    if len(given) > _RAW_ATTRIBUTES_MAX:
        raise Invalid("message_attribute", "A raw message with more than 10 attributes can't be delivered to a queue.")
    made: dict[str, Any] = {}
    for name, attribute in given.items():
        if attribute["Type"].startswith("Binary"):
            made[name] = {"DataType": attribute["Type"], "BinaryValue": attribute["Value"]}
        else:
            made[name] = {"DataType": attribute["Type"], "StringValue": attribute["Value"]}
    return made
