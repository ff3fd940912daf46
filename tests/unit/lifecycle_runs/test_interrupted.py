"""Lifecycle runs on the real store: when they begin, and what comes between."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from helpers.lifecycle_runs import ACTOR, Bench, bench, due, rule
from helpers.waiting import until

from sluiceway.engines.sqlite import SqliteStore
from sluiceway.errors import Unavailable
from sluiceway.services.objects.garbage import BLOBS, GARBAGE
from sluiceway.services.objects.lifecycle.positions import position_of
from sluiceway.services.objects.rows import PARTS, UPLOADS
from sluiceway.services.objects.values import (
    Attributes,
    Content,
    Piece,
)


async def test_nothing_happens_before_midnight(tmp_path: Path) -> None:
    made = await bench(tmp_path)
    await made.put("a")
    await made.rules(rule(Expiration={"Days": 1}))
    midnight = due(made.clock.ms, 1)
    for ms in (made.clock.ms, midnight - 1):
        made.clock.ms = ms
        assert await made.runner().pass_over()
        assert await made.keys() == ["a"]
    made.clock.ms = midnight
    await made.runner().pass_over()
    assert await made.keys() == []
    await made.store.close()


async def test_what_was_overwritten_since_the_look_stays(tmp_path: Path) -> None:
    made = await bench(tmp_path)
    for key in ("a", "b", "tagged"):
        await made.put(key, **({"k": "v"} if key == "tagged" else {}))
    await made.rules(
        rule(Filter={"Prefix": "a"}, Expiration={"Days": 1}),
        rule(Filter={"Prefix": "b"}, Expiration={"Days": 1}),
        rule(Filter={"Tag": {"Key": "k", "Value": "v"}}, Expiration={"Days": 1}),
    )
    made.clock.ms = due(made.clock.ms, 1)

    class Meddling:
        """A store whose user changes objects between the look and the deletion."""

        done = False

        async def view(self, fn: Any, *args: Any) -> Any:
            return await made.store.view(fn, *args)

        async def commit(self, fn: Any, *args: Any) -> Any:
            if not self.done:
                self.done = True
                await made.put("a")
                await made.store.commit(made.service.contents.put_tags, "bkt", "tagged", [], ACTOR)
            return await made.store.commit(fn, *args)

    assert await made.runner(Meddling()).pass_over()
    assert await made.keys() == ["a", "tagged"]
    await made.store.close()


async def test_a_new_configuration_stops_the_run_under_way(tmp_path: Path) -> None:
    made = await bench(tmp_path, rows_max=2, batch=2)
    for n in range(9):
        await made.put(f"{n}")
    await made.rules(rule(Expiration={"Days": 1}))
    made.clock.ms = due(made.clock.ms, 1)

    class Changing:
        """A store on which the rules change after the first piece of the run."""

        count = 0

        async def view(self, fn: Any, *args: Any) -> Any:
            return await made.store.view(fn, *args)

        async def commit(self, fn: Any, *args: Any) -> Any:
            self.count += 1
            if self.count == 2:
                await made.rules(rule(Filter={"Prefix": "8"}, Expiration={"Days": 1}))
            return await made.store.commit(fn, *args)

    assert await made.runner(Changing()).pass_over()
    assert await made.keys() == ["2", "3", "4", "5", "6", "7"]
    await made.store.commit(made.service.lifecycle.delete, "bkt")
    assert await made.runner().pass_over()
    assert await made.store.view(position_of, "bkt") is None
    await made.store.close()


class Failing:
    """A store that dies at its ``left``-th use; what it had committed stays."""

    def __init__(self, store: SqliteStore, left: int) -> None:
        self.store = store
        self.left = left
        self.views = 0

    def _use(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise asyncio.CancelledError

    async def view(self, fn: Any, *args: Any) -> Any:
        self._use()
        self.views += 1
        return await self.store.view(fn, *args)

    async def commit(self, fn: Any, *args: Any) -> Any:
        self._use()
        return await self.store.commit(fn, *args)


async def test_a_run_goes_on_where_it_was_cut_off(tmp_path: Path) -> None:
    """Killed after each number of steps: every object goes exactly once, and no run begins anew."""
    made = await bench(tmp_path, rows_max=4, batch=3)
    await made.create("two")
    await made.rules(rule(Expiration={"Days": 1}), rule(AbortIncompleteMultipartUpload={"DaysAfterInitiation": 1}))
    await made.rules(rule(Filter={"Prefix": "none"}, Expiration={"Days": 1}), bucket="two")
    views = set()
    for steps in range(0, 40, 3):
        await made.reopen()
        told = len(await made.events())
        for n in range(15):
            await made.put(f"{n:02d}")
            await made.put(f"{n:02d}", bucket="two")
        for n in range(3):
            await made.store.commit(made.service.multipart.begin, "bkt", f"{n}", Attributes(), ACTOR)
        made.clock.ms = due(made.clock.ms, 1)
        first = Failing(made.store, steps)
        try:
            await made.runner(first).pass_over()
        except asyncio.CancelledError:
            await made.reopen()
        position = await made.store.view(position_of, "bkt")
        second = Failing(made.store, 1000)
        await made.runner(second).pass_over()
        assert await made.keys() == [] and len(await made.keys("two")) == 15
        assert await made.store.view(lambda view: list(view.scan(UPLOADS))) == []
        events = await made.events(start=told)
        removed = [key for name, key, _ in events if name == "LifecycleExpiration:Delete"]
        assert removed == [f"{n:02d}" for n in range(15)]
        if steps > 6:
            assert position is not None and (position.phase != "objects" or position.after)
        views.add(first.views + second.views)
    # Again are only the looks that found nothing to do, of which some are kept together: here one bucket's six.
    assert max(views) - min(views) <= 8, views
    await made.store.close()


async def test_only_what_rules_speak_of_is_looked_at(tmp_path: Path) -> None:
    made = await bench(tmp_path, rows_max=10, batch=100)
    for n in range(300):
        await made.put(f"far/{n}")
    for key in ("a", "b/1", "b/2", "c", "logs/1", "logs/old/1", "z"):
        await made.put(key)
    await made.store.commit(made.service.buckets.put_versioning, "bkt", "Enabled")
    prefixes = ("logs/", "b/", "logs/old/", "y")
    await made.rules(*[rule(Filter={"Prefix": prefix}, Expiration={"Date": 0}) for prefix in prefixes])
    counting = Failing(made.store, 1000)
    assert await made.runner(counting).pass_over()
    assert [key for key in await made.keys() if not key.startswith("far/")] == ["a", "c", "z"]
    assert counting.views <= 8
    await made.rules(rule(AbortIncompleteMultipartUpload={"DaysAfterInitiation": 1}))
    counting = Failing(made.store, 1000)
    assert await made.runner(counting).pass_over()
    assert counting.views <= 6
    await made.store.close()


async def test_one_bad_bucket_does_not_stop_the_others(tmp_path: Path) -> None:
    made = await (await bench(tmp_path)).create("aaa", "zzz")
    for name in ("aaa", "bkt", "zzz"):
        await made.put("a", bucket=name)
        await made.rules(rule(Expiration={"Days": 1}), bucket=name)
    made.clock.ms = due(made.clock.ms, 1)

    class Bad:
        """A store on which one bucket's work fails, and another's waits."""

        async def view(self, fn: Any, *args: Any) -> Any:
            return await made.store.view(fn, *args)

        async def commit(self, fn: Any, *args: Any) -> Any:
            if args[0].bucket == "aaa":
                raise ValueError("a row that can't be read")
            if args[0].bucket == "bkt":
                raise Unavailable("disk", "the disk is full")
            return await made.store.commit(fn, *args)

    assert not await made.runner(Bad()).pass_over()
    assert [await made.keys(name) for name in ("aaa", "bkt", "zzz")] == [["a"], ["a"], []]
    assert await made.runner().pass_over()
    assert [await made.keys(name) for name in ("aaa", "bkt", "zzz")] == [[], [], []]
    await made.store.close()


async def keys_are(made: Bench, expected: list[str]) -> bool:
    return await made.keys() == expected


async def test_the_task_wakes_at_midnight_and_for_new_rules(tmp_path: Path) -> None:
    made = await bench(tmp_path)
    await made.put("old/a")
    await made.put("a")
    task = asyncio.create_task(made.runner().run())
    await asyncio.sleep(0.05)
    await made.rules(rule(Filter={"Prefix": "old"}, Expiration={"Date": 0}), rule(Expiration={"Days": 1}))
    await until(lambda: keys_are(made, ["a"]))
    task.cancel()
    made.clock.ms = due(made.clock.ms, 1) - 200
    task = asyncio.create_task(made.runner().run())
    await asyncio.sleep(0.05)
    assert await made.keys() == ["a"]
    made.clock.ms += 200
    await until(lambda: keys_are(made, []))
    task.cancel()
    await made.store.close()


async def test_an_upload_s_parts_go_with_it(tmp_path: Path) -> None:
    made = await bench(tmp_path)
    upload = await made.store.commit(made.service.multipart.begin, "bkt", "up/a", Attributes(), ACTOR)
    content = Content(5, "e" * 32, pieces=(Piece("blob", 0, 5),))
    await made.store.commit(made.service.multipart.put_part, "bkt", "up/a", upload.id, 1, content)
    await made.store.commit(made.service.multipart.begin, "bkt", "other", Attributes(), ACTOR)
    await made.rules(rule(Filter={"Prefix": "up/"}, AbortIncompleteMultipartUpload={"DaysAfterInitiation": 2}))
    made.clock.ms = due(made.clock.ms, 2) - 1
    await made.runner().pass_over()
    assert len(await made.store.view(lambda view: list(view.scan(UPLOADS)))) == 2
    made.clock.ms += 1
    await made.runner().pass_over()
    left = await made.store.view(lambda view: [key[1] for key, _ in view.scan(UPLOADS)])
    assert left == ["other"]
    for table, count in ((PARTS, 0), (BLOBS, 0), (GARBAGE, 1)):
        assert await made.store.view(lambda view, table=table: sum(1 for _ in view.scan(table))) == count
    await made.store.close()
