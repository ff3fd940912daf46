"""Where outcomes of asynchronous invocations go: a queue, a topic or another function.

The function's own role must allow it (AWS Lambda Developer Guide, "Capturing records of Lambda asynchronous
invocations": sqs:SendMessage, sns:Publish, lambda:InvokeFunction).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from sluiceway.core.identity import Arn, Principal
from sluiceway.core.store import Tx, View
from sluiceway.errors import Invalid, NotFound
from sluiceway.reactions.targets.function import Functions
from sluiceway.reactions.targets.queue import Queues
from sluiceway.services.access import Authorize
from sluiceway.services.topics import Publication, Topics

#: The role of a function (its plain name) as a caller.
CallerOf = Callable[[View, str], Principal]


class OutcomeDestinations:
    """See ``invoke.Destinations``."""

    def __init__(
        self, queues: Queues, topics: Topics, functions: Functions, authorize: Authorize, caller_of: CallerOf
    ) -> None:
        self._queues = queues
        self._topics = topics
        self._functions = functions
        self._authorize = authorize
        self._caller_of = caller_of

    def send(self, tx: Tx, target_arn: str, function_arn: str, document: dict[str, Any]) -> None:
        """Send ``document``. Raises ``Invalid("destination")``, ``AccessDenied``, ``NotFound``."""
        try:
            arn = Arn.parse(target_arn)
        except ValueError:
            raise Invalid("destination", f"The destination {target_arn} is not an ARN.") from None
        function = Arn.parse(function_arn)
        if arn.service not in ("sqs", "sns", "lambda"):
            raise Invalid("destination", f"Outcomes can't be sent to {target_arn}.")
        if (
            replace(function, service=arn.service, resource=arn.resource) != arn
        ):  # else a name's bearer here would get it
            raise NotFound("destination", f"{target_arn} is not of this server's account and region.")
        caller = self._caller_of(tx, function.resource.removeprefix("function:"))
        conditions = {"aws:SourceArn": [function_arn]}
        if arn.service == "sqs":
            policy = self._queues.policy(tx, arn.resource)
            self._authorize(caller, "sqs:SendMessage", target_arn, conditions, policy)
            self._queues.send(tx, arn.resource, json.dumps(document, ensure_ascii=False))
        elif arn.service == "sns":
            self._authorize(caller, "sns:Publish", target_arn, conditions, self._topics.policy(tx, arn.resource))
            self._topics.publish(tx, arn.resource, Publication(json.dumps(document, ensure_ascii=False)))
        else:
            name = arn.resource.removeprefix("function:").partition(":")[0]
            policy = self._functions.policy(tx, name)
            self._authorize(caller, "lambda:InvokeFunction", target_arn, conditions, policy)
            self._functions.enqueue(tx, name, document, source=function_arn)
