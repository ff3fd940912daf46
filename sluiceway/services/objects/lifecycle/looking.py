"""Looking for what lifecycle rules have something to do with: a bounded piece of a bucket at a time, on a snapshot.

What is found is looked at again in the transaction that acts on it, as it may have changed by then.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from sluiceway.core.store import Key, Part, View
from sluiceway.services.objects.lifecycle.evaluation import (
    Subject,
    abortion,
    expiration,
    is_marker_over,
    is_old_over,
    midnight,
    old_transition,
    transition,
)
from sluiceway.services.objects.lifecycle.positions import Phase, Position, position_of
from sluiceway.services.objects.lifecycle.rules import SETTING, Rules, rules_of
from sluiceway.services.objects.rows import BUCKETS, OBJECTS, UPLOADS, VERSIONS, bucket_of
from sluiceway.services.objects.values import Kept, StoredObject, kept_of
from sluiceway.services.objects.versions import current_at

Kind = Literal["object", "version", "marker", "upload"]
_TABLES: Final = {"objects": OBJECTS, "versions": VERSIONS, "uploads": UPLOADS}


@dataclass(frozen=True, slots=True)
class Candidate:
    """Something that is due. ``part`` tells it from others under its key: a sequence, or an upload's id."""

    kind: Kind
    key: str
    part: Part = ""


@dataclass(frozen=True, slots=True)
class Work:
    """What a look found. ``seen`` is the position that was kept then, ``next`` the one to keep after the work."""

    bucket: str
    seen: Position | None
    next: Position
    due: list[Candidate] = field(default_factory=list)


def buckets_with_rules(view: View) -> list[str]:
    """The buckets that have lifecycle rules."""
    return [str(key[0]) for key, row in view.scan(BUCKETS) if SETTING in row["settings"]]


def look(view: View, bucket: str, before: Work | None, rows_max: int, weight_max: int) -> Work | None:
    """Look at up to ``rows_max`` rows, from where ``before`` ended or where the run stands.

    It ends early when the work would be more than ``weight_max`` (an object weighs as much as it has parts). None:
    the bucket has no rules, or its run of today is over.
    """
    row = view.get(BUCKETS, (bucket,))
    if row is None or SETTING not in row["settings"]:
        return None
    seen = position_of(view, bucket)
    position = before.next if before is not None and before.seen == seen else seen
    today = midnight(view.now_ms)
    # Another day, not a later one: the clock may have been wrong, and set back.
    if position is None or (position.phase == "done" and position.day_ms != today):
        position = Position(today)
    if position.phase == "done":
        return Work(bucket, seen, position) if position != seen else None
    return _Look(view, bucket, rules_of(view, bucket), weight_max).run(seen, position, rows_max)


class _Look:
    """One look. ``left`` is the weight that the work may still have."""

    def __init__(self, view: View, bucket: str, rules: Rules, weight_max: int) -> None:
        self._view = view
        self._bucket = bucket
        self._rules = rules
        self._left = weight_max
        self._weight_max = weight_max
        self._due: list[Candidate] = []
        self._newer: tuple[str, int, int] | None = None  # key, newer noncurrent versions, when the last was put

    def run(self, seen: Position | None, position: Position, rows_max: int) -> Work:
        """Look at rows until there is enough to do, or the phase ends."""
        prefixes = prefixes_of(self._rules, position.phase)
        if position.phase == "versions" and not bucket_of(self._view, self._bucket).versioning:
            prefixes = []
        count = 0
        for key, row in self._rows(position, prefixes, rows_max):
            count += 1
            self._examine(position.phase, key, row)
            position = replace(position, after=tuple(key[1:]))
            if self._left <= 0:
                return Work(self._bucket, seen, position, self._due)
        return Work(self._bucket, seen, position if count == rows_max else position.next_phase(), self._due)

    def _rows(self, position: Position, prefixes: list[str], limit: int) -> Iterator[tuple[Key, Any]]:
        """Up to ``limit`` rows whose key has one of the prefixes; what lies between these is passed by seeking."""
        start: Key | None = (self._bucket, prefixes[0]) if prefixes else None
        if position.after and prefixes:
            *head, last = position.after
            start = (self._bucket, *head, last + 1 if isinstance(last, int) else f"{last!s}\x00")
        while start is not None and limit > 0:
            rows = self._view.scan(_TABLES[position.phase], prefix=(self._bucket,), start=start, limit=limit)
            start = None
            for key, row in rows:
                name = str(key[1])
                at = bisect_right(prefixes, name)
                if not at or not name.startswith(prefixes[at - 1]):
                    start = (self._bucket, prefixes[at]) if at < len(prefixes) else None
                    break
                limit -= 1
                yield key, row

    def _examine(self, phase: str, key: Key, row: Any) -> None:
        name, now_ms = str(key[1]), self._view.now_ms
        if phase == "objects":
            stored = StoredObject.from_json(row)
            subject = Subject.of(name, stored)
            due = expiration(self._rules.rules, subject)
            if (due is not None and due[0] <= now_ms) or transition(self._rules, subject, now_ms):
                self._found(Candidate("object", name, stored.sequence), len(stored.part_sizes))
        elif phase == "versions":
            self._examine_version(name, kept_of(row))
        else:
            due = abortion(self._rules.rules, name, row["initiated_ms"])
            if due is not None and due[0] <= now_ms:
                # Nobody has counted its parts, of which there may be thousands: it is a work of its own.
                self._found(Candidate("upload", name, key[2]), self._weight_max)

    def _examine_version(self, key: str, kept: Kept) -> None:
        since_ms, newer = self._standing(key, kept)
        self._newer = (key, newer + (since_ms is not None), kept.modified_ms)
        parts = len(kept.part_sizes) if isinstance(kept, StoredObject) else 1
        subject = subject_of(key, kept)
        if since_ms is None:
            if is_marker_over(self._rules.rules, subject, self._view.now_ms) and self._is_alone(key):
                self._found(Candidate("marker", key, kept.sequence), 1)
        elif is_old_due(self._rules, subject, since_ms, newer, self._view.now_ms):
            self._found(Candidate("version", key, kept.sequence), parts)

    def _is_alone(self, key: str) -> bool:
        return sum(1 for _ in self._view.scan(VERSIONS, prefix=(self._bucket, key), limit=2)) == 1

    def _standing(self, key: str, kept: Kept) -> tuple[int | None, int]:
        """As ``standing``; carried along from version to version, so that each look counts a key's only once."""
        if self._newer is not None and self._newer[0] == key:
            return _retired_ms(kept) or self._newer[2], self._newer[1]
        return standing(self._view, self._bucket, key, kept, self._rules.newer_max)

    def _found(self, candidate: Candidate, weight: int) -> None:
        self._due.append(candidate)
        self._left -= max(1, weight)


def prefixes_of(rules: Rules, phase: Phase) -> list[str]:
    """Where in a bucket the rules have something to say in a phase: prefixes in order, none within another."""
    found: list[str] = []
    for prefix in sorted(rule.filter.prefix for rule in rules.rules if rule.speaks_of(phase)):
        if not found or not prefix.startswith(found[-1]):
            found.append(prefix)
    return found


def subject_of(key: str, kept: Kept) -> Subject:
    """A version as rules see it; a delete marker has no bytes and no tags."""
    if isinstance(kept, StoredObject):
        return Subject.of(key, kept)
    return Subject(key, kept.modified_ms, storage_class="")


def is_old_due(rules: Rules, subject: Subject, since_ms: int, newer: int, now_ms: int) -> bool:
    """Whether something is to be done with a version that is not current."""
    return is_old_over(rules.rules, subject, since_ms, newer, now_ms) or (
        bool(subject.storage_class) and old_transition(rules, subject, since_ms, newer, now_ms) is not None
    )


def standing(view: View, bucket: str, key: str, kept: Kept, most: int) -> tuple[int | None, int]:
    """Since when a version in ``object_versions`` is not current (None: it is the newest, a delete marker), and how
    many newer ones of its kind there are, counted up to ``most``."""
    current = current_at(view, bucket, key)
    newest_ms = current.modified_ms if current is not None else None
    end = (bucket, key, -kept.sequence)
    for _, row in view.scan(VERSIONS, prefix=(bucket, key), end=end, reverse=True, limit=1):
        newest_ms = kept_of(row).modified_ms
    if newest_ms is None:
        return None, 0
    newer = sum(1 for _ in view.scan(VERSIONS, prefix=(bucket, key), end=end, limit=most + 1))
    # Where the newest is a delete marker it stands among them, without being noncurrent.
    return _retired_ms(kept) or newest_ms, newer - (current is None)


def _retired_ms(kept: Kept) -> int:
    """A delete marker's row does not say; then it is when what follows it was put."""
    return kept.retired_ms if isinstance(kept, StoredObject) else 0
