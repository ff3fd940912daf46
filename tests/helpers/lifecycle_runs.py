"""A bucket on the real store with a clock of the test's own, and what runs its lifecycle."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus

from sluiceway.config import ObjectSettings, StoreSettings
from sluiceway.core.identity import Scope
from sluiceway.core.store import Tx
from sluiceway.core.wakeups import Wakeups
from sluiceway.engines.sqlite import open_store
from sluiceway.services.objects import Objects
from sluiceway.services.objects.lifecycle.checks import checked
from sluiceway.services.objects.lifecycle.runner import LifecycleRunner
from sluiceway.services.objects.rows import OBJECTS
from sluiceway.services.objects.values import (
    HISTORY,
    Actor,
    Attributes,
    Content,
)

ACTOR = Actor("AWS:me", "me", "127.0.0.1", "request", "host")
START = datetime(2026, 2, 26, 7, tzinfo=UTC)


class Nowhere:
    """Takes no notifications, and knows no keys."""

    def publish(self, tx: Tx, target_arn: str, bucket_arn: str, account: str, body: dict[str, Any]) -> None:
        raise AssertionError("no rule asks for it")

    def check(self, tx: Tx, target_arn: str, bucket_arn: str) -> None:
        raise AssertionError("no rule asks for it")

    def arn(self, tx: Tx, name: str) -> str:
        raise AssertionError("nothing asks for a key")


class Hand:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.ms = int(START.timestamp() * 1000)

    def now_ms(self) -> int:
        return self.ms


class Bench:
    """A store, the service over it, and a runner with small pieces. ``reopen`` is a crash."""

    def __init__(self, folder: Path, rows_max: int = 3, batch: int = 2) -> None:
        self.folder = folder
        self.clock = Hand()
        self.limits = ObjectSettings(lifecycle_rows_max=rows_max, lifecycle_batch=batch)
        self.service = Objects(Scope("000000000000", "us-east-1"), self.limits, Nowhere(), Nowhere())

    async def open(self) -> Bench:
        self.wakeups = Wakeups()
        self.store = await open_store(self.folder / "store.db", StoreSettings(), self.clock, self.wakeups)
        return self

    async def create(self, *buckets: str) -> Bench:
        for name in buckets:
            await self.store.commit(self.service.buckets.create, name, "me")
        return self

    async def reopen(self) -> None:
        await self.store.close()
        await self.open()

    def runner(self, store: Any = None) -> LifecycleRunner:
        return LifecycleRunner(store or self.store, self.service.lifecycle, self.wakeups, self.clock, self.limits)

    async def rules(
        self, *rows: dict[str, Any], bucket: str = "bkt", minimum: str = "all_storage_classes_128K"
    ) -> None:
        await self.store.commit(self.service.lifecycle.put, bucket, checked(rows, 1000), minimum)

    async def put(self, key: str, size: int = 1, bucket: str = "bkt", **tags: str) -> None:
        content = Content(size, "etag", inline=b"x")
        await self.store.commit(self.service.contents.put, bucket, key, content, Attributes(tags=tags), ACTOR)

    async def keys(self, bucket: str = "bkt") -> list[str]:
        return await self.store.view(lambda view: [str(key[1]) for key, _ in view.scan(OBJECTS, prefix=(bucket,))])

    async def events(self, bucket: str = "bkt", start: int = 0) -> list[tuple[str, str, str | None]]:
        entries = await self.store.view(lambda view: view.read(HISTORY + bucket, start, 100_000))
        return [
            (
                one.value["eventName"],
                unquote_plus(one.value["s3"]["object"]["key"]),
                one.value["s3"]["object"].get("versionId"),
            )
            for one in entries
        ]


async def bench(tmp_path: Path, **limits: int) -> Bench:
    return await (await Bench(tmp_path, **limits).open()).create("bkt")


def rule(**members: Any) -> dict[str, Any]:
    return {"Status": "Enabled", "Filter": {}, **members}


def due(start_ms: int, days: int) -> int:
    moment = datetime.fromtimestamp(start_ms / 1000, UTC) + timedelta(days=days)
    day = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    return int((day if day == moment else day + timedelta(days=1)).timestamp() * 1000)
