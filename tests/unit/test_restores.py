"""Restores of archived objects under a clock that the test moves, through crashes, overwriting and lifecycle rules."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from helpers.waiting import until

from sluiceway.config import ObjectSettings, StoreSettings
from sluiceway.core.identity import Scope
from sluiceway.core.wakeups import Wakeups
from sluiceway.engines.sqlite import SqliteStore, open_store
from sluiceway.errors import Conflict, DomainError, Unavailable
from sluiceway.services import tending
from sluiceway.services.objects import Objects
from sluiceway.services.objects.restore_runner import RestoreRunner
from sluiceway.services.objects.restores import RESTORES, TIMES, check_readable, restore_of
from sluiceway.services.objects.values import HISTORY, Actor, Attributes, Content, StoredObject

DAY_MS = 86_400_000
START = datetime(2026, 3, 1, 10, 30, tzinfo=UTC)
ACTOR = Actor("AWS:me", "me", "127.0.0.1", "R", "H")


class Nowhere:
    """No targets, and no keys."""

    def publish(self, *given: Any) -> None:
        raise AssertionError("no rule asks for it")

    def check(self, *given: Any) -> None:
        raise AssertionError("no rule asks for it")

    def arn(self, *given: Any) -> str:
        raise AssertionError("nothing asks for a key")


class Hand:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.ms = int(START.timestamp() * 1000)

    def now_ms(self) -> int:
        return self.ms


class Bench:
    """A store and the service over it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = Hand()
        self.limits = ObjectSettings(restore_s=60, lifecycle_batch=2)
        self.service = Objects(Scope("000000000000", "us-east-1"), self.limits, Nowhere(), Nowhere())
        self.store: SqliteStore

    async def open(self) -> Bench:
        self.wakeups = Wakeups()
        self.store = await open_store(self.folder / "store.db", StoreSettings(), self.clock, self.wakeups)
        return self

    async def put(self, key: str, storage_class: str = "GLACIER") -> StoredObject:
        content = Content(1, "etag", inline=b"x")
        about = Attributes(storage_class=storage_class)
        return await self.store.commit(self.service.contents.put, "bkt", key, content, about, ACTOR)

    async def ask(self, key: str, days: int | None = 3, tier: str = "Standard", version: str | None = None) -> bool:
        return await self.store.commit(self.service.restoring.ask, "bkt", key, version, days, tier, ACTOR)

    async def carry_out(self, after_ms: int = 0) -> int:
        self.clock.ms += after_ms
        return await self.store.commit(self.service.restoring.carry_out, 100, ACTOR)

    async def is_readable(self, stored: StoredObject) -> bool:
        try:
            await self.store.view(check_readable, "bkt", stored, "closed")
        except Conflict:
            return False
        return True

    async def events(self) -> list[str]:
        entries = await self.store.view(lambda view: view.read(HISTORY + "bkt", 0, 1000))
        return [entry.value["eventName"] for entry in entries]

    async def rows(self) -> int:
        return await self.store.view(lambda view: sum(1 for table in (RESTORES, TIMES) for _ in view.scan(table)))


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = await Bench(tmp_path).open()
    await made.store.commit(made.service.buckets.create, "bkt", "me")
    yield made
    await made.store.close()


async def refused(kind: str, work: Any) -> DomainError:
    with pytest.raises(DomainError) as caught:
        await work
    assert caught.value.kind == kind
    return caught.value


async def test_a_copy_comes_and_goes(bench: Bench) -> None:
    stored = await bench.put("a")
    assert not await bench.is_readable(stored)
    assert await bench.ask("a") is False
    assert not await bench.is_readable(stored) and await bench.carry_out(59_999) == 0
    assert await bench.carry_out(1) == 1 and await bench.is_readable(stored)
    # Three days after its completion, rounded up to a midnight.
    expires = datetime(2026, 3, 5, tzinfo=UTC)
    found = await bench.store.view(restore_of, "bkt", stored)
    assert found is not None and found.expires_ms == int(expires.timestamp() * 1000)
    bench.clock.ms = found.expires_ms - 1
    assert await bench.is_readable(stored) and await bench.carry_out() == 0
    bench.clock.ms += 1
    assert not await bench.is_readable(stored)  # also if nobody has carried it out yet
    assert await bench.carry_out() == 1 and await bench.rows() == 0
    names = ["ObjectCreated:Put", "ObjectRestore:Post", "ObjectRestore:Completed", "ObjectRestore:Delete"]
    assert await bench.events() == names
    assert await bench.ask("a") is False


async def test_asking_again(bench: Bench) -> None:
    stored = await bench.put("a")
    await bench.ask("a", tier="Bulk")
    await refused("restoring", bench.ask("a", tier="Bulk"))
    assert await bench.ask("a", 9, "Expedited") is False  # faster: the days stay
    await refused("restoring", bench.ask("a", 9, "Standard"))
    await bench.carry_out(60_000)
    first = await bench.store.view(restore_of, "bkt", stored)
    assert first is not None and first.days == 3
    assert await bench.ask("a", 1) is True
    second = await bench.store.view(restore_of, "bkt", stored)
    assert second is not None and second.expires_ms == int(datetime(2026, 3, 3, tzinfo=UTC).timestamp() * 1000)
    assert await bench.rows() == 2 and await bench.carry_out() == 0
    assert await bench.events() == ["ObjectCreated:Put", "ObjectRestore:Post", "ObjectRestore:Completed"]


@pytest.mark.parametrize(
    ("storage_class", "days", "tier", "kind"),
    [
        ("STANDARD", 1, "Standard", "archived"),
        ("STANDARD", None, "Standard", "archived"),
        ("GLACIER_IR", 1, "Standard", "archived"),
        ("INTELLIGENT_TIERING", 1, "Standard", "argument"),
        ("INTELLIGENT_TIERING", None, "Standard", "active"),
        ("GLACIER", None, "Standard", "malformed"),
        ("GLACIER", 0, "Standard", "argument"),
        ("GLACIER", -1, "Standard", "argument"),
        ("GLACIER", 2**31, "Standard", "argument"),
        ("GLACIER", 1, "standard", "malformed"),
        ("DEEP_ARCHIVE", 1, "Expedited", "argument"),
    ],
)
async def test_what_is_refused(bench: Bench, storage_class: str, days: int | None, tier: str, kind: str) -> None:
    await bench.put("a", storage_class)
    await refused(kind, bench.ask("a", days, tier))
    assert await bench.rows() == 0 and await bench.events() == ["ObjectCreated:Put"]


async def test_what_is_not_there(bench: Bench) -> None:
    await refused("key", bench.ask("nothing"))
    await bench.store.commit(bench.service.buckets.put_versioning, "bkt", "Enabled")
    await bench.put("a")
    await bench.store.commit(bench.service.removals.delete, "bkt", "a", ACTOR)
    await refused("key", bench.ask("a"))


@pytest.mark.parametrize("how", ["overwritten", "deleted", "expired"])
@pytest.mark.parametrize("when", ["ongoing", "restored"])
async def test_a_restore_goes_with_its_object(bench: Bench, how: str, when: str) -> None:
    stored = await bench.put("a")
    await bench.ask("a")
    if when == "restored":
        await bench.carry_out(60_000)
    if how == "overwritten":
        await bench.put("a")
    elif how == "deleted":
        await bench.store.commit(bench.service.removals.delete, "bkt", "a", ACTOR)
    else:
        await bench.store.commit(bench.service.removals.expire, "bkt", "a", stored.sequence, ACTOR)
    assert await bench.rows() == 0
    assert await bench.carry_out(10 * DAY_MS) == 0
    names = await bench.events()
    assert names.count("ObjectRestore:Completed") == (when == "restored") and "ObjectRestore:Delete" not in names


async def test_a_version_is_restored_where_it_lies(bench: Bench) -> None:
    await bench.store.commit(bench.service.buckets.put_versioning, "bkt", "Enabled")
    old = await bench.put("a")
    await bench.ask("a")
    new = await bench.put("a")  # the old one is not current any more when its restore is completed
    await bench.carry_out(60_000)
    assert await bench.is_readable(old) and not await bench.is_readable(new)
    await bench.ask("a", version=new.version_id)
    await bench.carry_out(60_000)
    assert await bench.is_readable(new)
    await bench.store.commit(bench.service.removals.delete, "bkt", "a", ACTOR, version=old.version_id)
    assert await bench.rows() == 2
    entries = await bench.store.view(lambda view: view.read(HISTORY + "bkt", 0, 100))
    done = [one.value for one in entries if one.value["eventName"] == "ObjectRestore:Completed"]
    assert [one["s3"]["object"]["versionId"] for one in done] == [old.version, new.version]


async def test_a_bucket_that_is_made_again_has_no_restores(bench: Bench) -> None:
    await bench.put("a")
    await bench.ask("a")
    await bench.store.commit(bench.service.removals.delete, "bkt", "a", ACTOR)
    await bench.store.commit(bench.service.buckets.delete, "bkt")
    assert await bench.rows() == 0


async def test_the_runner_goes_on_after_a_crash(bench: Bench) -> None:
    kept = [await bench.put(f"k{number}") for number in range(5)]
    for stored in kept:
        await bench.ask(f"k{kept.index(stored)}")
    await bench.store.close()
    bench.clock.ms += 3_600_000
    await bench.open()
    runner = RestoreRunner(bench.store, bench.service.restoring, bench.wakeups, bench.clock, bench.limits)
    task = asyncio.create_task(runner.run())
    try:
        async with asyncio.timeout(10):
            while not all([await bench.is_readable(stored) for stored in kept]):
                await asyncio.sleep(0.01)
            # Who asks while it waits is heard.
            more = await bench.put("more")
            bench.limits.restore_s = 0.0
            await bench.ask("more")
            while not await bench.is_readable(more):
                await asyncio.sleep(0.01)
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    assert (await bench.events()).count("ObjectRestore:Completed") == 6


async def test_a_pass_that_fails_is_told_and_made_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stored = await bench.put("a")
    await bench.ask("a")
    bench.clock.ms += 3_600_000
    failures = [ValueError("a row that can't be read"), Unavailable("disk", "the disk is full")]

    class Failing:
        """The store, which refuses at first."""

        async def view(self, fn: Any, *args: Any) -> Any:
            return await bench.store.view(fn, *args)

        async def commit(self, fn: Any, *args: Any) -> Any:
            if failures:
                raise failures.pop(0)
            return await bench.store.commit(fn, *args)

    monkeypatch.setattr(tending, "AGAIN_S", 0.01)
    failing: Any = Failing()
    task = asyncio.create_task(
        RestoreRunner(failing, bench.service.restoring, bench.wakeups, bench.clock, bench.limits).run()
    )
    try:
        await until(lambda: bench.is_readable(stored))
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    told = [record.getMessage() for record in caplog.records]
    assert told == ["restores are not carried out for now", "restores are not carried out for now: the disk is full"]
