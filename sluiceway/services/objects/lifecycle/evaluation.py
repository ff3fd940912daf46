"""What lifecycle rules say about one object at one moment. Pure: rules, object and time in, decision out.

S3 adds a rule's days to the object's time and rounds up to the next midnight UTC; where several rules cover an
object, the earliest expiration and the coldest storage class win. (S3 User Guide, "Lifecycle rules: Based on an
object's age", "How S3 handles conflicts in lifecycle configurations".)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from sluiceway.services.objects.lifecycle.rules import CLASSES, Filter, Old, Rule, Rules, When
from sluiceway.services.objects.values import StoredObject

DAY_MS: Final = 86_400_000
#: Objects below it stay where they are, as most classes bill them as if they had this size.
SMALL_BYTES: Final = 128 * 1024
#: The last midnight that a date can say; a rule of a million days is due then.
_LATEST_MS: Final = 253_402_214_400_000
_ARCHIVES: Final = ("GLACIER", "DEEP_ARCHIVE")
_WARM: Final = ("STANDARD", "REDUCED_REDUNDANCY")
#: Where rules disagree the cheapest wins, which is Intelligent-Tiering but for the archives.
_PREFERRED: Final = ("DEEP_ARCHIVE", "GLACIER", "INTELLIGENT_TIERING", "GLACIER_IR", "ONEZONE_IA", "STANDARD_IA")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Subject:
    """An object, or a version of it, as rules see it."""

    key: str
    created_ms: int
    size: int = 0
    tags: Mapping[str, str] = field(default_factory=dict)
    storage_class: str = "STANDARD"

    @classmethod
    def of(cls, key: str, stored: StoredObject) -> Subject:
        """The object under ``key``."""
        about = stored.attributes
        return cls(key, stored.modified_ms, stored.size, about.tags, about.storage_class)


def midnight(time_ms: int) -> int:
    """The midnight UTC that a day began with."""
    return time_ms - time_ms % DAY_MS


def due_after(start_ms: int, days: int) -> int:
    """``days`` after ``start_ms``, rounded up to a midnight UTC."""
    return min(-(-(start_ms + days * DAY_MS) // DAY_MS) * DAY_MS, _LATEST_MS)


def expiration(rules: Iterable[Rule], subject: Subject) -> tuple[int, str] | None:
    """When the current version expires, and by which rule; the first listed of equals."""
    found = [
        (_due(rule.expiration, subject.created_ms), rule.id)
        for rule in rules
        if rule.expiration is not None and _covers(rule.filter, subject)
    ]
    return min(found, key=lambda due: due[0], default=None)


def transition(rules: Rules, subject: Subject, now_ms: int) -> str | None:
    """The storage class that the current version is to have now, if it is to have another."""

    def is_due(when: When) -> bool:
        return _due(when, subject.created_ms) <= now_ms

    return _chosen((_due_class(rules.minimum, rule.moves, rule, subject, is_due) for rule in rules.rules), subject)


def is_marker_over(rules: Iterable[Rule], subject: Subject, now_ms: int) -> bool:
    """Whether a delete marker that hides nothing any more goes: where rules ask for that, or by its age."""
    for rule in rules:
        if not _covers(rule.filter, subject):
            continue
        days = rule.expiration.days if rule.expiration else None
        if rule.markers or (days is not None and due_after(subject.created_ms, days) <= now_ms):
            return True
    return False


def is_old_over(rules: Iterable[Rule], subject: Subject, since_ms: int, newer: int, now_ms: int) -> bool:
    """Whether a version goes that stopped being current at ``since_ms`` and has ``newer`` noncurrent newer ones."""
    return any(
        rule.old_expiration is not None
        and newer >= rule.old_expiration.newer
        and due_after(since_ms, rule.old_expiration.days) <= now_ms
        and _covers(rule.filter, subject)
        for rule in rules
    )


def old_transition(rules: Rules, subject: Subject, since_ms: int, newer: int, now_ms: int) -> str | None:
    """The storage class that such a version is to have now, if it is to have another."""

    def is_due(old: Old) -> bool:
        return newer >= old.newer and due_after(since_ms, old.days) <= now_ms

    return _chosen((_due_class(rules.minimum, rule.old_moves, rule, subject, is_due) for rule in rules.rules), subject)


def abortion(rules: Iterable[Rule], key: str, initiated_ms: int) -> tuple[int, str] | None:
    """When an unfinished upload is given up, and by which rule."""
    found = [
        (due_after(initiated_ms, rule.abort_days), rule.id)
        for rule in rules
        if rule.abort_days is not None and key.startswith(rule.filter.prefix)
    ]
    return min(found, key=lambda due: due[0], default=None)


def _covers(filter_: Filter, subject: Subject) -> bool:
    return filter_.covers(subject.key, subject.size, subject.tags)


def _due(when: When, created_ms: int) -> int:
    return when.date_ms if when.date_ms is not None else due_after(created_ms, when.days or 0)


def _due_class(
    minimum: str, moves: Sequence[tuple[T, str]], rule: Rule, subject: Subject, is_due: Callable[[T], bool]
) -> str | None:
    """Where one rule wants the object now: the last of its moves that are due, which is the coldest."""
    if not moves or not _covers(rule.filter, subject):
        return None
    due = [name for when, name in moves if is_due(when) and _is_worth(minimum, rule.filter, subject.size, name)]
    return max(due, key=CLASSES.index, default=None)


def _is_worth(minimum: str, filter_: Filter, size: int, name: str) -> bool:
    if filter_.is_sized or size >= SMALL_BYTES:
        return True
    return minimum == "varies_by_storage_class" and name in _ARCHIVES


def _chosen(wanted: Iterable[str | None], subject: Subject) -> str | None:
    """What several rules come to: the class that S3 likes best of those that can be reached; None to stay."""
    here = subject.storage_class
    names = {name for name in wanted if name is not None}
    for name in sorted(names, key=_PREFERRED.index):
        if name == here:
            return None
        if _is_ahead(here, name):
            return name
    return None


def _is_ahead(here: str, name: str) -> bool:
    """Objects go from warm to cold (S3 User Guide, "Transitioning objects using Amazon S3 Lifecycle")."""
    if here in _WARM:
        return True
    if here not in CLASSES or (here, name) == ("ONEZONE_IA", "GLACIER_IR"):
        return False
    return CLASSES.index(name) > CLASSES.index(here)
