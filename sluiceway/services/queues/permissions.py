"""AddPermission and RemovePermission: statements of a queue's policy by label (SQS API reference)."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from sluiceway.core.store import Tx
from sluiceway.errors import Invalid, TooLarge
from sluiceway.services.queues.definitions import Definitions

_LABEL = re.compile(r"[A-Za-z0-9_-]{1,80}\Z")
_ACCOUNT = re.compile(r"\d{12}\Z", re.ASCII)
_STATEMENTS_MAX: Final = 20
_ACTIONS_MAX: Final = 7
#: What others can be allowed in this way.
_ACTIONS: Final = frozenset(
    {
        "*",
        "ChangeMessageVisibility",
        "DeleteMessage",
        "GetQueueAttributes",
        "GetQueueUrl",
        "ListDeadLetterSourceQueues",
        "PurgeQueue",
        "ReceiveMessage",
        "SendMessage",
    }
)


def add(tx: Tx, queues: Definitions, name: str, label: str, accounts: list[str], actions: list[str]) -> None:
    """Raises ``Invalid("permission")``, ``TooLarge("permissions")``, ``NotFound("queue")``."""
    queue = queues.get(tx, name)
    if not _LABEL.match(label):
        raise _wrong("Label", label, "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in "
                     "length.")  # fmt: skip
    if not accounts or not actions:
        missing = "AWSAccountIds" if not accounts else "Actions"
        raise Invalid("message_missing", f"The request must contain the parameter {missing}.")
    for account in accounts:
        if not _ACCOUNT.match(account):
            raise _wrong("PrincipalId", account, "Unable to verify.")
    for action in actions:
        if action not in _ACTIONS:
            raise _wrong("ActionName", f"SQS:{action}", "Only the queue owner is allowed to invoke this action.")
    policy = _policy(queue.policy, queues.arn(name))
    statements = policy["Statement"]
    if any(statement.get("Sid") == label for statement in statements):
        raise _wrong("Label", label, "Already exists.")
    if len(actions) > _ACTIONS_MAX or len(statements) >= _STATEMENTS_MAX:
        raise TooLarge("permissions", f"{len(actions)} actions were found, maximum allowed is {_ACTIONS_MAX}."
                       if len(actions) > _ACTIONS_MAX else "The policy has too many statements.")  # fmt: skip
    principals = [f"arn:aws:iam::{account}:root" for account in accounts]
    statements.append(
        {
            "Sid": label,
            "Effect": "Allow",
            "Principal": {"AWS": principals[0] if len(principals) == 1 else principals},
            "Action": [f"SQS:{action}" for action in actions] if len(actions) > 1 else f"SQS:{actions[0]}",
            "Resource": queues.arn(name),
        }
    )
    queues.set_attributes(tx, name, {"Policy": json.dumps(policy)}, known=True)


def remove(tx: Tx, queues: Definitions, name: str, label: str) -> None:
    """Raises ``Invalid("permission")`` if there is no such label, ``NotFound("queue")``."""
    policy = _policy(queues.get(tx, name).policy, queues.arn(name))
    left = [statement for statement in policy["Statement"] if statement.get("Sid") != label]
    if len(left) == len(policy["Statement"]):
        raise _wrong("Label", label, "can't find label on existing policy.")
    text = json.dumps({**policy, "Statement": left}) if left else ""
    queues.set_attributes(tx, name, {"Policy": text}, known=True)


def _policy(known: dict[str, Any] | None, arn: str) -> dict[str, Any]:
    policy = dict(known or {"Version": "2008-10-17", "Id": f"{arn}/SQSDefaultPolicy"})
    statements = policy.get("Statement", [])
    policy["Statement"] = [statements] if isinstance(statements, dict) else list(statements)
    return policy


def _wrong(what: str, value: str, why: str) -> Invalid:
    return Invalid("permission", f"Value {value[:200]} for parameter {what} is invalid. Reason: {why}")
