"""Kind "function": an asynchronous invocation, recorded in the transaction that advances the cursor."""

from __future__ import annotations

from typing import Any, Protocol

from sluiceway.core.identity import Scope
from sluiceway.core.reaction import Reaction
from sluiceway.core.store import Entry, Tx, View
from sluiceway.reactions.target import InStoreTarget
from sluiceway.reactions.targets.notification import NotificationTarget
from sluiceway.reactions.targets.queue import sns_principal, source
from sluiceway.services.access import Authorize
from sluiceway.services.topics.envelopes import Envelopes, text_for


class Functions(Protocol):
    """The function service, as far as this target needs it."""

    def enqueue(
        self,
        tx: Tx,
        name: str,
        payload: Any,
        *,
        request_id: str | None = None,
        source: str = "",
        content: str | None = None,
    ) -> str: ...

    def policy(self, view: View, name: str, /) -> dict[str, Any] | None: ...


class FunctionTarget(NotificationTarget, InStoreTarget):
    """The address is a function's name. Its policy must allow sns.amazonaws.com to invoke it, as on AWS."""

    def __init__(self, envelopes: Envelopes, functions: Functions, authorize: Authorize, scope: Scope) -> None:
        super().__init__(envelopes)
        self._functions = functions
        self._authorize = authorize
        self._scope = scope
        self._principal = sns_principal(scope)

    def deliver(self, tx: Tx, reaction: Reaction, entry: Entry) -> None:
        """Append the invocation. Raises ``NotFound("function")``, ``AccessDenied``."""
        name, options = reaction.target.address, reaction.target.options
        policy = self._functions.policy(tx, name)
        resource = self._scope.arn("lambda", f"function:{name}")
        conditions = source(self._scope, options["topic_arn"])
        self._authorize(self._principal, "lambda:InvokeFunction", resource, conditions, policy)
        event = self.envelopes.function_event(entry.value, options)
        content = text_for(entry.value, "lambda")  # what was published must arrive, whatever is around it
        self._functions.enqueue(tx, name, event, source=options["topic_arn"], content=content)
