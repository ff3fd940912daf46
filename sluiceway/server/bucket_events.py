"""Where buckets' events go: topics, queues and functions, each by leave of its own policy.

Amazon S3 User Guide, "Granting permissions to publish event notification messages to a destination".
"""

from __future__ import annotations

import json
import logging
from typing import Any, Final

from sluiceway.core.identity import Arn, Principal, Scope
from sluiceway.core.store import Tx
from sluiceway.errors import DomainError, Invalid, NotFound, Throttled, Unavailable
from sluiceway.services.access import authorize
from sluiceway.services.functions import Functions
from sluiceway.services.pressure import Pressure
from sluiceway.services.queues import Queues
from sluiceway.services.topics import Publication, Topics
from sluiceway.services.topics.values import log_of

log = logging.getLogger(__name__)

_S3: Final = "s3.amazonaws.com"
_SUBJECT: Final = "Amazon S3 Notification"


class BucketEvents:
    """See ``services.objects.NotificationPort``."""

    def __init__(self, scope: Scope, topics: Topics, queues: Queues, functions: Functions, pressure: Pressure) -> None:
        self._topics = topics
        self._queues = queues
        self._functions = functions
        self._pressure = pressure
        self._scope = scope
        self._principal = Principal(kind="service", account=scope.account, name=_S3, arn=_S3)

    def publish(self, tx: Tx, target_arn: str, bucket_arn: str, account: str, body: dict[str, Any]) -> None:
        """Hand the event to the target. A refusal is counted in the table "refused_notifications".

        Raises ``Throttled`` if the topic takes no more now: then there is no upload either. Deletions go on.
        """
        try:
            arn = self._allowed(tx, target_arn, bucket_arn)
            if arn.service == "sns":
                if _adds(body):
                    self._pressure.check_log(log_of(arn.resource))
                self._topics.publish(tx, arn.resource, Publication(json.dumps(body, ensure_ascii=False), _SUBJECT))
            elif arn.service == "sqs":
                self._queues.send(tx, arn.resource, json.dumps(body, ensure_ascii=False))
            else:
                self._functions.enqueue(tx, _function(arn), body, source=bucket_arn)
        except (Throttled, Unavailable):  # for a moment only: the client comes again, and no event is lost
            raise
        except DomainError as error:
            log.warning("an event of %s did not reach %s: %s", bucket_arn, target_arn, error.message)
            key = (bucket_arn, target_arn)
            before = (tx.get("refused_notifications", key) or {}).get("count", 0)
            row = {"count": before + 1, "reason": error.message, "last_ms": tx.now_ms}
            tx.put("refused_notifications", key, row)

    def check(self, tx: Tx, target_arn: str, bucket_arn: str) -> None:
        """Raises ``NotFound``, ``AccessDenied`` or ``Invalid("target")``."""
        self._allowed(tx, target_arn, bucket_arn)

    def _allowed(self, tx: Tx, target_arn: str, bucket_arn: str) -> Arn:
        arn = Arn.parse(target_arn)
        if target_arn != self._scope.arn(arn.service, arn.resource):
            raise NotFound("target", f"{target_arn} is not of this server's account and region.")
        policy: dict[str, Any] | None
        if arn.service == "sns":
            action, policy = "sns:Publish", self._topics.policy(tx, arn.resource)
        elif arn.service == "sqs":
            action, policy = "sqs:SendMessage", self._queues.policy(tx, arn.resource)
        elif arn.service == "lambda":
            action, policy = "lambda:InvokeFunction", self._functions.policy(tx, _function(arn))
        else:
            raise Invalid("target", f"Notifications can't be sent to {target_arn}.")
        conditions = {"aws:SourceArn": [bucket_arn], "aws:SourceAccount": [self._scope.account]}
        authorize(self._principal, action, target_arn, conditions, policy)
        return arn


def _adds(body: dict[str, Any]) -> bool:
    return any(str(record["eventName"]).startswith("ObjectCreated") for record in body.get("Records", ()))


def _function(arn: Arn) -> str:
    return arn.resource.removeprefix("function:").partition(":")[0]
