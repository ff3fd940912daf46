"""Lifecycle runs on the real store and a clock of the test's own, against a model."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from helpers.lifecycle_runs import ACTOR, Bench, bench, due, rule

from sluiceway.core.store import View
from sluiceway.errors import Invalid
from sluiceway.services.objects.lifecycle.checks import checked
from sluiceway.services.objects.rows import BODIES, OBJECTS, VERSIONS
from sluiceway.services.objects.values import (
    Marker,
    kept_of,
)
from sluiceway.services.objects.versions import versions_of

COLD = ["STANDARD_IA", "INTELLIGENT_TIERING", "ONEZONE_IA", "GLACIER_IR", "GLACIER", "DEEP_ARCHIVE"]
HOUR_MS = 3_600_000


#: The table of the S3 User Guide's "Supported transitions".
AHEAD = {
    "STANDARD": COLD,
    "STANDARD_IA": COLD[1:],
    "INTELLIGENT_TIERING": COLD[2:],
    "ONEZONE_IA": COLD[4:],
    "GLACIER_IR": COLD[4:],
    "GLACIER": COLD[5:],
    "DEEP_ARCHIVE": [],
}


@dataclass
class Version:
    """A version in the model; ``id`` is "null" or unique, ``marker`` a delete marker."""

    id: str
    created_ms: int
    size: int = 0
    tags: dict[str, str] = field(default_factory=dict)
    storage_class: str = ""
    marker: bool = False
    retired_ms: int = 0

    def shown(self) -> tuple[Any, ...]:
        return (self.created_ms, self.size, self.storage_class, self.marker)


Keys = dict[str, list[Version]]


class Model:
    """What S3's guide says that a run does with a bucket's versions, newest first by key."""

    def __init__(self, rules: list[dict[str, Any]], minimum: str, status: str, now_ms: int) -> None:
        self.rules = [row for row in rules if row["Status"] == "Enabled"]
        self.minimum = minimum
        self.status = status
        self.now = now_ms
        self.events: Counter[tuple[str, str, bool]] = Counter()

    def covers(self, row: dict[str, Any], key: str, version: Version) -> bool:
        given = row["Filter"].get("And") or row["Filter"]
        tags = given.get("Tags") or ([given["Tag"]] if "Tag" in given else [])
        return (
            key.startswith(given.get("Prefix", ""))
            and version.size > given.get("ObjectSizeGreaterThan", -1)
            and version.size < given.get("ObjectSizeLessThan", 10**15)
            and all(version.tags.get(tag["Key"]) == tag["Value"] for tag in tags)
        )

    def colder(self, key: str, version: Version, member: str, is_due: Callable[[dict[str, Any]], bool]) -> str | None:
        wanted = []
        for row in self.rules:
            given = row["Filter"].get("And") or row["Filter"]
            sized = "ObjectSizeGreaterThan" in given or "ObjectSizeLessThan" in given
            ready = []
            for move in row.get(member, []) if self.covers(row, key, version) else []:
                archive = self.minimum.startswith("varies") and move["StorageClass"] in ("GLACIER", "DEEP_ARCHIVE")
                if is_due(move) and (sized or archive or version.size >= 128 * 1024):
                    ready.append(COLD.index(move["StorageClass"]))
            wanted += [COLD[max(ready)]] if ready else []
        for name in ("DEEP_ARCHIVE", "GLACIER", "INTELLIGENT_TIERING", "GLACIER_IR", "ONEZONE_IA", "STANDARD_IA"):
            if name in wanted and name == version.storage_class:
                return None
            if name in wanted and name in AHEAD[version.storage_class]:
                return name
        return None

    def run(self, keys: Keys) -> Keys:
        keys = {key: list(versions) for key, versions in keys.items()}
        for key in keys:
            if not keys[key][0].marker:
                self.current(keys, key)
        if self.status:
            for key in keys:
                self.old(keys, key)
        return {key: versions for key, versions in keys.items() if versions}

    def current(self, keys: Keys, key: str) -> None:
        newest = keys[key][0]

        def is_due(action: dict[str, Any]) -> bool:
            at = action["Date"] if "Date" in action else due(newest.created_ms, action["Days"])
            return at <= self.now

        over = any(
            {"Days", "Date"} & set(row.get("Expiration", {}))
            and self.covers(row, key, newest)
            and is_due(row["Expiration"])
            for row in self.rules
        )
        wanted = self.colder(key, newest, "Transitions", is_due)
        if wanted and not (over and not self.status):
            newest = replace(newest, storage_class=wanted)
            keys[key][0] = newest
            self.events["LifecycleTransition", key, False] += 1
        if not over:
            return
        if not self.status:
            keys[key] = []
            self.events["LifecycleExpiration:Delete", key, False] += 1
            return
        if self.status == "Suspended":
            keys[key] = [version for version in keys[key] if version.id != "null"]
        if keys[key] and keys[key][0] is newest:
            keys[key][0] = replace(newest, retired_ms=self.now)
        marker = Version("null" if self.status == "Suspended" else "new", self.now, marker=True)
        keys[key].insert(0, marker)
        self.events["LifecycleExpiration:DeleteMarkerCreated", key, True] += 1

    def old(self, keys: Keys, key: str) -> None:
        versions = keys[key]
        if not versions:
            return
        if len(versions) == 1 and versions[0].marker:
            marker = versions[0]
            for row in self.rules:
                expiration = row.get("Expiration", {})
                aged = "Days" in expiration and due(marker.created_ms, expiration["Days"]) <= self.now
                if self.covers(row, key, marker) and (expiration.get("ExpiredObjectDeleteMarker") or aged):
                    keys[key] = []
                    self.events["LifecycleExpiration:Delete", key, True] += 1
                    return
        kept = [versions[0]]
        for version in versions[1:]:
            newer = len(kept) - 1
            since = version.retired_ms or kept[-1].created_ms

            def is_due(action: dict[str, Any], newer: int = newer, since: int = since) -> bool:
                enough = newer >= action.get("NewerNoncurrentVersions", 0)
                return enough and due(since, action["NoncurrentDays"]) <= self.now

            if any(
                "NoncurrentVersionExpiration" in row
                and self.covers(row, key, version)
                and is_due(row["NoncurrentVersionExpiration"])
                for row in self.rules
            ):
                self.events["LifecycleExpiration:Delete", key, True] += 1
                continue
            wanted = None if version.marker else self.colder(key, version, "NoncurrentVersionTransitions", is_due)
            if wanted:
                version = replace(version, storage_class=wanted)
                self.events["LifecycleTransition", key, False] += 1
            kept.append(version)
        keys[key] = kept


class Play:
    """Random changes of a bucket, random rules, and runs that are compared with the model."""

    KEYS = ("a", "a/1", "a/2", "b", "b/ü")

    def __init__(self, bench: Bench, seed: int) -> None:
        self.bench = bench
        self.random = random.Random(seed)
        self.retired: dict[tuple[str, str, int], int] = {}
        self.status = ""
        self.rows: list[dict[str, Any]] = []
        self.minimum = ""

    async def snapshot(self) -> Keys:
        """The bucket as it is; since when versions are old is the test's own knowledge."""

        def look(view: View) -> Keys:
            found: Keys = {}
            names = {str(key[1]) for table in (OBJECTS, VERSIONS) for key, _ in view.scan(table, prefix=("bkt",))}
            for name in sorted(names):
                for kept in versions_of(view, "bkt", name):
                    retired = self.retired.get((name, kept.version_id, kept.sequence), 0)
                    if isinstance(kept, Marker):
                        version = Version(kept.version_id, kept.modified_ms, marker=True)
                    else:
                        about = kept.attributes
                        version = Version(
                            kept.version_id, kept.modified_ms, kept.size, dict(about.tags), about.storage_class
                        )
                        version.retired_ms = retired
                    found.setdefault(name, []).append(version)
            return found

        return await self.bench.store.view(look)

    async def newest(self) -> dict[str, tuple[str, str, int]]:
        def look(view: View) -> dict[str, tuple[str, str, int]]:
            rows = view.scan(OBJECTS, prefix=("bkt",))
            return {str(key[1]): (str(key[1]), kept_of(row).version_id, row["sequence"]) for key, row in rows}

        return await self.bench.store.view(look)

    async def change(self) -> None:
        bench, key = self.bench, self.random.choice(self.KEYS)
        before = await self.newest()
        kind = self.random.random()
        if kind < 0.55:
            tags = {"k": "v"} if self.random.random() < 0.4 else {}
            await bench.put(key, self.random.choice((1, 10, 131_072, 500_000)), **tags)
        elif kind < 0.75:
            await bench.store.commit(bench.service.removals.delete, "bkt", key, ACTOR)
        elif kind < 0.85:
            versions = (await self.snapshot()).get(key)
            if versions:
                version = self.random.choice(versions).id
                await bench.store.commit(bench.service.removals.delete, "bkt", key, ACTOR, version=version)
        elif kind < 0.92:
            self.status = self.random.choice(("Enabled", "Enabled", "Suspended"))
            await bench.store.commit(bench.service.buckets.put_versioning, "bkt", self.status)
        else:
            await self.configure()
        await self.note(before)

    async def note(self, before: dict[str, tuple[str, str, int]]) -> None:
        after = await self.newest()
        for key, one in before.items():
            if after.get(key) != one:
                self.retired.setdefault(one, self.bench.clock.ms)
        for one in after.values():
            self.retired.pop(one, None)

    async def configure(self) -> None:
        self.minimum = self.random.choice(("all_storage_classes_128K", "varies_by_storage_class"))
        rows: list[dict[str, Any]] = []
        while not rows:
            rows = [self.a_rule() for _ in range(self.random.randint(1, 4))]
            try:
                rows = checked(rows, 1000)
            except Invalid:
                rows = []
        self.rows = rows
        await self.bench.store.commit(self.bench.service.lifecycle.put, "bkt", rows, self.minimum)

    def a_rule(self) -> dict[str, Any]:
        pick = self.random
        filters: list[dict[str, Any]] = [
            {},
            {"Prefix": "a"},
            {"Prefix": "b/"},
            {"Tag": {"Key": "k", "Value": "v"}},
            {"ObjectSizeGreaterThan": 9},
            {"ObjectSizeLessThan": 11},
            {"And": {"Prefix": "a", "Tags": [{"Key": "k", "Value": "v"}]}},
        ]
        row = rule(Status=pick.choice(("Enabled", "Enabled", "Enabled", "Disabled")), Filter=pick.choice(filters))
        date = due(self.bench.clock.ms, pick.randint(-3, 3))
        actions: list[tuple[str, Any]] = [
            ("Expiration", {"Days": pick.randint(1, 6)}),
            ("Expiration", {"Date": date}),
            ("Expiration", {"ExpiredObjectDeleteMarker": True}),
            ("Transitions", [{"Days": pick.randint(0, 3), "StorageClass": pick.choice(COLD[3:])}]),
            ("Transitions", [{"Date": date, "StorageClass": pick.choice(COLD)}]),
            (
                "Transitions",
                [{"Days": n, "StorageClass": name} for n, name in enumerate(("INTELLIGENT_TIERING", *COLD[3:]))],
            ),
            ("NoncurrentVersionExpiration", {"NoncurrentDays": pick.randint(1, 4)}),
            ("NoncurrentVersionExpiration", {"NoncurrentDays": 1, "NewerNoncurrentVersions": pick.randint(1, 3)}),
            ("NoncurrentVersionTransitions", [{"NoncurrentDays": pick.randint(0, 2), "StorageClass": "GLACIER"}]),
        ]
        return row | dict(pick.sample(actions, pick.randint(1, 3)))

    async def run(self) -> None:
        """One run, which must do what the model does, and tell the same."""
        model = Model(self.rows, self.minimum, self.status, self.bench.clock.ms)
        expected = model.run(await self.snapshot())
        before, told = await self.newest(), len(await self.bench.events())
        assert await self.bench.runner().pass_over()
        await self.note(before)
        found = await self.snapshot()
        assert {key: [one.shown() for one in versions] for key, versions in found.items()} == {
            key: [one.shown() for one in versions] for key, versions in expected.items()
        }
        events = await self.bench.events(start=told)
        happened = Counter(
            (name, key, version is not None and name != "LifecycleTransition") for name, key, version in events
        )
        assert happened == model.events


@pytest.mark.parametrize("seed", range(6))
async def test_runs_do_what_a_model_does(tmp_path: Path, seed: int) -> None:
    made = await bench(tmp_path)
    play = Play(made, seed)
    await play.configure()
    for _ in range(30):
        for _ in range(play.random.randint(1, 6)):
            await play.change()
            made.clock.ms += play.random.randint(0, 9 * HOUR_MS)
        # A run begins at a midnight, as the task wakes then; sometimes the server was down for days.
        made.clock.ms = due(made.clock.ms, play.random.choice((0, 0, 1, 4)))
        await play.run()
    rows = await made.store.view(_left)
    assert rows["bodies"] == rows["objects"]
    await made.store.close()


def _left(view: View) -> dict[str, int]:
    kept = [row for table in (OBJECTS, VERSIONS) for _, row in view.scan(table)]
    return {
        "bodies": sum(1 for _ in view.scan(BODIES)),
        "objects": sum(1 for row in kept if not row.get("marker")),
    }
