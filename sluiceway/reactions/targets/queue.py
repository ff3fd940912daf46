"""Kind "queue": a copy of the message in a queue, in the transaction that advances the cursor."""

from __future__ import annotations

from typing import Any, Final, Protocol

from sluiceway.core.identity import Principal, Scope
from sluiceway.core.reaction import Reaction
from sluiceway.core.store import Entry, Tx, View
from sluiceway.errors import Invalid
from sluiceway.reactions.target import InStoreTarget
from sluiceway.reactions.targets.notification import NotificationTarget
from sluiceway.services.access import Authorize
from sluiceway.services.topics.envelopes import Envelopes, text_for

_ALLOWED_MAX: Final = 20_000  # answers kept: subscriptions of queues, a few hundred bytes each
_RAW_ATTRIBUTES_MAX: Final = 10  # SQS takes no more; SNS counts such a message as a client-side error


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
        room: int | None = None,
        content: str | None = None,
        published_ms: int = 0,
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
        self._allowed: dict[tuple[str, str], dict[str, Any] | None] = {}

    def deliver(self, tx: Tx, reaction: Reaction, entry: Entry) -> None:
        """Send the message. Raises ``NotFound("queue")``, ``AccessDenied``, and what the queue refuses.

        The queue's limit counts the message, not the document around it: what was published must arrive.
        """
        name, options, value = reaction.target.address, reaction.target.options, entry.value
        self._check(tx, name, options["topic_arn"])
        raw = bool(options.get("raw"))
        attributes = _attributes(value) if raw else None
        content = text_for(value, "sqs")
        text, room = (content, None) if raw else self.envelopes.unsigned(value, options)
        self._queues.send(
            tx,
            name,
            text,
            attributes=attributes,
            room=room,
            content=None if raw else content,
            group_id=_group(name, options["topic_arn"], value),
            deduplication_id=value.get("deduplication") if name.endswith(".fifo") else None,
            published_ms=value["time_ms"],
        )

    def cost(self, reaction: Reaction) -> int:
        """Nothing is signed here."""
        return 1

    def _check(self, tx: Tx, name: str, topic_arn: str) -> None:
        """Whether the topic may send. The answer depends on the policy alone (no condition here can change from one
        message to the next), so that the same document is asked once."""
        policy = self._queues.policy(tx, name)
        if policy is not None and self._allowed.get((topic_arn, name)) is policy:
            return
        self._queues.get(tx, name)
        conditions = source(self._scope, topic_arn)
        self._authorize(self._principal, "sqs:SendMessage", self._queues.arn(name), conditions, policy)
        if len(self._allowed) >= _ALLOWED_MAX:
            self._allowed.clear()
        self._allowed[topic_arn, name] = policy


def _group(queue: str, topic_arn: str, value: dict[str, Any]) -> str | None:
    """A FIFO topic's groups stay groups in a FIFO queue; a standard topic's make a standard queue a fair one (SNS API
    reference, Publish, MessageGroupId)."""
    return value.get("group") if queue.endswith(".fifo") == topic_arn.endswith(".fifo") else None


def _attributes(value: dict[str, Any]) -> dict[str, Any]:
    """A raw message's attributes as SQS's; those that are for SNS itself (AWS.SNS.SMS.*) stay there."""
    given = {name: one for name, one in (value.get("attributes") or {}).items() if not name.startswith("AWS.")}
    if len(given) > _RAW_ATTRIBUTES_MAX:
        raise Invalid("message_attribute", "A raw message with more than 10 attributes can't be delivered to a queue.")
    made: dict[str, Any] = {}
    for name, attribute in given.items():
        if attribute["Type"].startswith("Binary"):
            made[name] = {"DataType": attribute["Type"], "BinaryValue": attribute["Value"]}
        else:
            made[name] = {"DataType": attribute["Type"], "StringValue": attribute["Value"]}
    return made
