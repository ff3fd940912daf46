"""A bucket's lifecycle rules, read from the document that they were put as.

The document is kept as the S3 API names its members (dates in milliseconds since 1970), so that it is given back as
it came; these classes are what deciding needs of it. (S3 User Guide, "Lifecycle configuration elements".)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sluiceway.core.store import Key, View
from sluiceway.services.objects.rows import SETTINGS, bucket_of

SETTING: Final = "lifecycle"
#: Sizes below which nothing is moved, unless a rule speaks of sizes itself (S3 User Guide, "Transitioning objects").
MINIMUMS: Final = ("all_storage_classes_128K", "varies_by_storage_class")
#: From warm to cold. Objects are moved forward only.
CLASSES: Final = ("STANDARD_IA", "INTELLIGENT_TIERING", "ONEZONE_IA", "GLACIER_IR", "GLACIER", "DEEP_ARCHIVE")


@dataclass(frozen=True, slots=True)
class Filter:
    """Which objects a rule is about: all that is said must hold."""

    prefix: str = ""
    tags: tuple[tuple[str, str], ...] = ()
    larger_than: int | None = None
    smaller_than: int | None = None

    @property
    def is_sized(self) -> bool:
        """Whether it speaks of sizes."""
        return self.larger_than is not None or self.smaller_than is not None

    def covers(self, key: str, size: int, tags: Mapping[str, str]) -> bool:
        """Whether an object is one of them."""
        return (
            key.startswith(self.prefix)
            and (self.larger_than is None or size > self.larger_than)
            and (self.smaller_than is None or size < self.smaller_than)
            and all(tags.get(name) == value for name, value in self.tags)
        )


@dataclass(frozen=True, slots=True)
class When:
    """Days after an object's creation, or a date."""

    days: int | None = None
    date_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Old:
    """Days after a version stopped being the current one, and how many newer such versions stay."""

    days: int
    newer: int = 0


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. ``moves`` and ``old_moves`` name storage classes; ``markers`` is ExpiredObjectDeleteMarker."""

    id: str
    enabled: bool
    filter: Filter
    expiration: When | None = None
    markers: bool = False
    moves: tuple[tuple[When, str], ...] = ()
    old_expiration: Old | None = None
    old_moves: tuple[tuple[Old, str], ...] = ()
    abort_days: int | None = None

    def speaks_of(self, what: str) -> bool:
        """Whether it has actions on "objects" (current ones), "versions" (others, and markers) or "uploads"."""
        if what == "objects":
            return self.expiration is not None or bool(self.moves)
        if what == "versions":
            aged = self.expiration is not None and self.expiration.days is not None
            return aged or self.markers or self.old_expiration is not None or bool(self.old_moves)
        return self.abort_days is not None

    @property
    def newer_max(self) -> int:
        """The most newer noncurrent versions that its actions ask for."""
        olds = (self.old_expiration, *(old for old, _ in self.old_moves))
        return max((old.newer for old in olds if old is not None), default=0)

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> Rule:
        """The rule that a checked document has."""
        expiration = row.get("Expiration") or {}
        old = row.get("NoncurrentVersionExpiration")
        timed = "Days" in expiration or "Date" in expiration
        return cls(
            id=row["ID"],
            enabled=row["Status"] == "Enabled",
            filter=_filter(row),
            expiration=_when(expiration) if timed else None,
            markers=bool(expiration.get("ExpiredObjectDeleteMarker")),
            moves=tuple((_when(move), move["StorageClass"]) for move in row.get("Transitions") or ()),
            old_expiration=_old(old) if old else None,
            old_moves=tuple(
                (_old(move), move["StorageClass"]) for move in row.get("NoncurrentVersionTransitions") or ()
            ),
            abort_days=(row.get("AbortIncompleteMultipartUpload") or {}).get("DaysAfterInitiation"),
        )


@dataclass(frozen=True, slots=True)
class Rules:
    """A bucket's enabled rules, in their order. ``minimum`` is one of ``MINIMUMS``."""

    rules: tuple[Rule, ...] = ()
    minimum: str = MINIMUMS[0]

    @property
    def newer_max(self) -> int:
        """How many newer noncurrent versions of a version need to be counted."""
        return max((rule.newer_max for rule in self.rules), default=0)


def rules_of(view: View, bucket_name: str) -> Rules:
    """The bucket's rules that are enabled; none if it has none. Raises ``NotFound("bucket")``."""
    bucket = bucket_of(view, bucket_name)
    if SETTING not in bucket.settings:
        return NONE
    # Each answer about an object of such a bucket asks for them, and there may be a thousand.
    return view.get_as(SETTINGS, (bucket_name, SETTING), _rules) or NONE


NONE: Final = Rules()


def _rules(_key: Key, kept: dict[str, Any]) -> Rules:
    rules = (Rule.from_json(row) for row in kept["rules"])
    return Rules(tuple(rule for rule in rules if rule.enabled), kept["minimum"])


def _filter(row: dict[str, Any]) -> Filter:
    if "Prefix" in row:
        return Filter(row["Prefix"])
    given = row.get("Filter") or {}
    given = given.get("And") or given
    tags = [*(given.get("Tags") or ()), *([given["Tag"]] if given.get("Tag") else ())]
    return Filter(
        given.get("Prefix") or "",
        tuple((tag["Key"], tag["Value"]) for tag in tags),
        given.get("ObjectSizeGreaterThan"),
        given.get("ObjectSizeLessThan"),
    )


def _when(row: dict[str, Any]) -> When:
    return When(row.get("Days"), row.get("Date"))


def _old(row: dict[str, Any]) -> Old:
    return Old(row["NoncurrentDays"], row.get("NewerNoncurrentVersions") or 0)
