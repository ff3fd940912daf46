"""A bucket's notification rules: which changes are told to whom.

Rules of S3 User Guide, "Event notification types and destinations" and "Configuring event notifications
using object key name filtering": events may end in a wildcard, a rule has at most one prefix and one
suffix, and two rules for a common event must not be able to match the same key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

from sluiceway.core.identity import Arn
from sluiceway.core.store import Tx
from sluiceway.errors import Invalid

TargetKind = Literal["topic", "queue", "function"]
_SERVICES: Final[Mapping[TargetKind, str]] = {"topic": "sns", "queue": "sqs", "function": "lambda"}

_CREATED = ("Put", "Post", "Copy", "CompleteMultipartUpload")
#: Every event type that S3 documents; what never happens here is accepted, as on AWS.
EVENTS: Final = frozenset(
    {
        "s3:ObjectCreated:*",
        *(f"s3:ObjectCreated:{how}" for how in _CREATED),
        "s3:ObjectRemoved:*",
        "s3:ObjectRemoved:Delete",
        "s3:ObjectRemoved:DeleteMarkerCreated",
        "s3:ObjectRestore:*",
        "s3:ObjectRestore:Post",
        "s3:ObjectRestore:Completed",
        "s3:ObjectRestore:Delete",
        "s3:ReducedRedundancyLostObject",
        "s3:Replication:*",
        "s3:Replication:OperationFailedReplication",
        "s3:Replication:OperationMissedThreshold",
        "s3:Replication:OperationReplicatedAfterThreshold",
        "s3:Replication:OperationNotTracked",
        "s3:LifecycleExpiration:*",
        "s3:LifecycleExpiration:Delete",
        "s3:LifecycleExpiration:DeleteMarkerCreated",
        "s3:LifecycleTransition",
        "s3:IntelligentTiering",
        "s3:ObjectTagging:*",
        "s3:ObjectTagging:Put",
        "s3:ObjectTagging:Delete",
        "s3:ObjectAcl:Put",
    }
)


class NotificationPort(Protocol):
    """Where a bucket's events go. Implemented by the wiring over topics, queues and functions."""

    def publish(self, tx: Tx, target_arn: str, bucket_arn: str, account: str, body: dict[str, Any]) -> None:
        """Hand ``body`` to the target in this transaction.

        A target that is gone or refuses is noted by the implementation; it must not raise, as the object's
        change stands on its own.
        """

    def check(self, tx: Tx, target_arn: str, bucket_arn: str) -> None:
        """Raises ``NotFound`` or ``AccessDenied`` if the bucket could not send to the target."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. ``events`` are as given ("s3:ObjectCreated:*")."""

    id: str
    kind: TargetKind
    target: str
    events: tuple[str, ...]
    prefix: str = ""
    suffix: str = ""

    def to_json(self) -> dict[str, Any]:
        """As it is kept in the bucket's settings."""
        return {
            "id": self.id,
            "kind": self.kind,
            "target": self.target,
            "events": list(self.events),
            "prefix": self.prefix,
            "suffix": self.suffix,
        }

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> Rule:
        """The rule that ``to_json`` wrote."""
        return cls(row["id"], row["kind"], row["target"], tuple(row["events"]), row["prefix"], row["suffix"])


def matches(row: dict[str, Any], event: str, key: str) -> bool:
    """Whether the rule kept as ``row`` tells of ``event`` ("ObjectCreated:Put", without "s3:") on ``key``."""
    if not (key.startswith(row["prefix"]) and key.endswith(row["suffix"])):
        return False
    return any(_covers(pattern[3:], event) for pattern in row["events"])


def check_rules(rules: Sequence[Rule], count_max: int, region: str) -> None:
    """Raises ``Invalid("argument")`` in S3's words for what its API refuses; ``region`` is the bucket's."""
    if len(rules) > count_max:
        raise Invalid("argument", f"The notification configuration has more than {count_max} rules.")
    if len({rule.id for rule in rules}) != len(rules):
        raise Invalid("argument", "Same ID used for multiple configurations. IDs must be unique")
    for rule in rules:
        _check_rule(rule)
        _check_arn(rule, region)
    for at, rule in enumerate(rules):
        for other in rules[at + 1 :]:
            _check_apart(rule, other)


def _check_rule(rule: Rule) -> None:
    if not rule.events:
        raise Invalid("argument", "A notification configuration needs at least one event.")
    for event in rule.events:
        if event not in EVENTS:
            message = "A specified event is not supported for notifications."
            raise Invalid("argument", message, ArgumentName="Event", ArgumentValue=event[:200])
    for at, event in enumerate(rule.events):
        if any(_share(event, other) for other in rule.events[at + 1 :]):
            raise Invalid(
                "argument",
                "Configurations overlap. Configurations on the same bucket cannot share a common event type.",
            )
    if len(rule.prefix.encode()) > 1024 or len(rule.suffix.encode()) > 1024:
        raise Invalid("argument", "Size of filter rule value cannot exceed 1024 bytes in UTF-8 representation")


def _check_arn(rule: Rule, region: str) -> None:
    """That it names what the configuration says it does, of this region."""
    try:
        arn = Arn.parse(rule.target)
    except ValueError:
        raise _bad_arn("The ARN is not well formed", rule.target) from None
    if arn.service != _SERVICES[rule.kind] or (rule.kind == "function" and not arn.resource.startswith("function:")):
        raise _bad_arn("The ARN could not be parsed", rule.target)
    if arn.region != region:
        message = "The notification destination service region is not valid for the bucket location constraint"
        raise _bad_arn(message, rule.target)
    if arn.resource.endswith(".fifo"):
        # S3 User Guide, "Supported event destinations".
        raise _bad_arn(f"FIFO {arn.service.upper()} {rule.kind}s are not supported.", rule.target)


def _bad_arn(message: str, target: str) -> Invalid:
    return Invalid("argument", message, ArgumentName="Arn", ArgumentValue=target[:200])


def _check_apart(one: Rule, other: Rule) -> None:
    if not any(_share(a, b) for a in one.events for b in other.events):
        return
    prefixes = one.prefix.startswith(other.prefix) or other.prefix.startswith(one.prefix)
    suffixes = one.suffix.endswith(other.suffix) or other.suffix.endswith(one.suffix)
    if not (prefixes and suffixes):
        return
    if any((one.prefix, one.suffix, other.prefix, other.suffix)):
        raise Invalid(
            "argument",
            "Configuration is ambiguously defined. Cannot have overlapping suffixes in two rules if the "
            "prefixes are overlapping for the same event type.",
        )
    raise Invalid(
        "argument",
        "Configurations overlap. Configurations on the same bucket cannot share a common event type.",
    )


def _share(one: str, other: str) -> bool:
    return _covers(one, other) or _covers(other, one)


def _covers(pattern: str, event: str) -> bool:
    return pattern == event or (pattern.endswith("*") and event.startswith(pattern[:-1]))
