"""Queues themselves: made, changed, tagged, shared and removed. What is in them is ``service``'s."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from sluiceway.config import QueueSettings
from sluiceway.core.identity import Arn, Scope
from sluiceway.core.store import Tx, View
from sluiceway.errors import AlreadyExists, Conflict, Invalid, NotFound, Throttled
from sluiceway.services import counts
from sluiceway.services.accounts.named import NamedPrincipals
from sluiceway.services.queues import attributes as rules
from sluiceway.services.queues.memory import MEMORY_TABLES
from sluiceway.services.queues.shelf import counters
from sluiceway.services.queues.states import COUNTERS, DISCARDED, SHELF_TABLES
from sluiceway.services.queues.values import QUEUES, Queue, new_number, parse_queue

_PURGE_MS: Final = 60_000  # SQS API reference, PurgeQueue: once in 60 seconds
_OWN_KEY: Final = "alias/aws/sqs"  # is made by AWS when it is needed
WORK: Final = "queue_work"  # woken when the keeper has something to clear away


class Definitions:
    """``scope`` is the account and region of every queue. ``check_key`` refuses keys that can't be used: it raises
    ``NotFound("key")`` or ``Conflict("disabled" | "state")``. ``finish`` completes a topic's message (its text, and
    where the room for the signature is)."""

    def __init__(
        self,
        scope: Scope,
        limits: QueueSettings,
        check_key: Callable[[View, str], None] = lambda view, key: None,
        finish: Callable[[str, int], str] = lambda text, at: text,
    ) -> None:
        self.scope = scope
        self.limits = limits
        self._check_key = check_key
        self._finish = finish
        self._named = NamedPrincipals(scope)

    def arn(self, name: str) -> str:
        """The queue's ARN."""
        return self.scope.arn("sqs", name)

    def create(self, tx: Tx, name: str, attributes: Mapping[str, str], tags: dict[str, str]) -> Queue:
        """Make a queue; the existing one if it has these attributes.

        Raises ``Invalid("name" | "attribute_name" | "attribute_value" | "redrive" | "tags")``,
        ``AlreadyExists("queue")``, ``Throttled("queues")``.
        """
        kept = self._named_in(tx, rules.check_attributes(attributes))
        rules.check_name(name, kept.get("FifoQueue") == "true")
        rules.check_together(kept)
        rules.check_tags(tags)
        existing = self.find(tx, name)
        if existing is not None:
            now = {**rules.DEFAULTS, **existing.attributes}
            if any(now.get(key, value) != value for key, value in kept.items()):
                raise AlreadyExists(
                    "queue", "A queue already exists with the same name and a different value for an attribute."
                )
            return existing
        if not counts.one_more(tx, QUEUES, self.limits.queues_max):
            raise Throttled("queues", f"There are {self.limits.queues_max} queues already.")
        queue = Queue(name, new_number(), new_number(), tx.now_ms, tx.now_ms, kept, dict(tags))
        self._check_redrive(tx, queue)
        self._put(tx, queue)
        return queue

    def find(self, view: View, name: str) -> Queue | None:
        """The queue of this name, if there is one."""
        row = view.get(QUEUES, (name,))
        return parse_queue(row) if row is not None else None

    def get(self, view: View, name: str) -> Queue:
        """Raises ``NotFound("queue")``."""
        queue = self.find(view, name)
        if queue is None:
            raise NotFound("queue", "The specified queue does not exist.")
        return queue

    def usable(self, view: View, name: str) -> Queue:
        """The queue, if its messages can be encrypted by the key that its owner chose; see ``check_key``."""
        queue = self.get(view, name)
        key = queue.attributes.get("KmsMasterKeyId", _OWN_KEY)
        if key != _OWN_KEY:
            self._check_key(view, key)
        return queue

    def all(self, view: View, prefix: str = "", after: str = "") -> Iterator[Queue]:
        """Queues by name, those after ``after``."""
        start = max(prefix, after + "\0" if after else "")
        for _, row in view.scan(QUEUES, start=(start,)):
            queue = parse_queue(row)
            if not queue.name.startswith(prefix):
                return
            yield queue

    def policy(self, view: View, name: str) -> dict[str, Any] | None:
        """The queue's own policy."""
        queue = self.find(view, name)
        return queue.policy if queue else None

    def shown_policy(self, view: View, queue: Queue) -> str:
        """The text of its policy, with the names of users and roles; "" without one."""
        shown = queue.policy and self._named.shown(view, queue.policy)
        return queue.attributes.get("Policy", "") if shown is queue.policy else json.dumps(shown)

    def set_attributes(self, tx: Tx, name: str, attributes: Mapping[str, str], *, known: bool = False) -> None:
        """Change attributes; an empty text takes one away. ``known`` says that a policy is made of the one that is
        there, whose users may be gone. Raises as ``create`` does."""
        queue = self.get(tx, name)
        if "FifoQueue" in attributes and attributes["FifoQueue"] != queue.attributes.get("FifoQueue", "false"):
            raise Invalid("attribute_value", "Invalid value for the parameter FifoQueue. Reason: Modifying queue type is "
                          "not supported.")  # fmt: skip
        kept = rules.check_attributes(attributes)
        kept = kept if known else self._named_in(tx, kept)
        merged = {key: value for key, value in queue.attributes.items() if key not in attributes} | kept
        if "KmsMasterKeyId" in kept and "SqsManagedSseEnabled" not in kept:
            merged.pop("SqsManagedSseEnabled", None)
        elif kept.get("SqsManagedSseEnabled") == "true" and "KmsMasterKeyId" not in kept:
            merged.pop("KmsMasterKeyId", None)
        rules.check_together(merged)
        changed = replace(queue, attributes=merged, modified_ms=tx.now_ms)
        if "RedrivePolicy" in kept:
            self._check_redrive(tx, changed)
        self._put(tx, changed)
        tx.on_commit(f"queue/{name}")  # who waits for messages looks again: a delay may be over

    def tag(self, tx: Tx, name: str, add: Mapping[str, str], drop: list[str]) -> None:
        """Add tags, and remove those named. Raises ``Invalid("tags")``."""
        queue = self.get(tx, name)
        tags = {key: value for key, value in queue.tags.items() if key not in drop} | dict(add)
        rules.check_tags(tags)
        self._put(tx, replace(queue, tags=tags))

    def remove(self, tx: Tx, name: str) -> None:
        """Delete the queue and everything in it; the rows go in the background."""
        queue = self.get(tx, name)
        self._discard(tx, queue)
        for table in MEMORY_TABLES:
            tx.put(DISCARDED, (table, queue.id), 1)
        counts.delete(tx, QUEUES, (name,))

    def purge(self, tx: Tx, name: str) -> None:
        """Delete every message. Raises ``Conflict("purge")`` within a minute of the last time."""
        queue = self.get(tx, name)
        if tx.now_ms < queue.purged_ms + _PURGE_MS:
            raise Conflict("purge", f"Only one PurgeQueue operation on {name} is allowed every 60 seconds.")
        fresh = replace(queue, shelf=new_number(), purged_ms=tx.now_ms)
        tx.put(COUNTERS, (fresh.shelf,), [0, 0, 0, counters(tx, queue)[3], 0])  # sequence numbers go on
        self._discard(tx, queue)
        self._put(tx, fresh)

    def sources(self, view: View, name: str) -> list[Queue]:
        """The queues whose dead-letter queue this is."""
        self.get(view, name)
        arn = self.arn(name)
        return [queue for queue in self.all(view) if queue.redrive is not None and queue.redrive[0] == arn]

    # -- inside

    def _named_in(self, view: View, attributes: dict[str, str]) -> dict[str, str]:
        """The attributes with the policy as it is kept; see ``NamedPrincipals``."""
        if "Policy" not in attributes:
            return attributes
        document = json.loads(attributes["Policy"])
        try:
            kept = self._named.kept(view, document)
        except Invalid:
            raise Invalid("attribute_value", "Invalid value for the parameter Policy.") from None
        return attributes if kept is document else {**attributes, "Policy": json.dumps(kept)}

    def _put(self, tx: Tx, queue: Queue) -> None:
        tx.put(QUEUES, (queue.name,), queue.to_bytes())

    def _discard(self, tx: Tx, queue: Queue) -> None:
        for table in SHELF_TABLES:
            tx.put(DISCARDED, (table, queue.shelf), 1)
        tx.on_commit(WORK)
        tx.on_commit(f"queue/{queue.name}")

    def dead_letter_queue(self, view: View, queue: Queue) -> Queue | None:
        """Where messages go that were received too often."""
        if queue.redrive is None:
            return None
        arn = Arn.parse(queue.redrive[0])
        target = self.find(view, arn.resource) if str(arn) == self.arn(arn.resource) else None
        return target if target is not None and target.id != queue.id else None

    def _check_redrive(self, tx: Tx, queue: Queue) -> None:
        if queue.redrive is None:
            return
        text = queue.attributes["RedrivePolicy"]
        target = self.dead_letter_queue(tx, queue)
        if target is None:
            raise rules.redrive_error("RedrivePolicy", text, "Dead letter target does not exist.")
        if target.fifo != queue.fifo:
            why = "Dead-letter queue must be same type of queue as the source."
            raise rules.redrive_error("RedrivePolicy", text, why)
        allow = json.loads(target.attributes.get("RedriveAllowPolicy") or '{"redrivePermission": "allowAll"}')
        if allow["redrivePermission"] == "denyAll" or (
            allow["redrivePermission"] == "byQueue" and self.arn(queue.name) not in allow["sourceQueueArns"]
        ):
            why = "Queue does not have permission to use the dead-letter queue: its RedriveAllowPolicy denies it."
            raise rules.redrive_error("RedrivePolicy", text, why)
