"""Versions of objects against a model of them, on the real store; and what version ids may be."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus

import pytest

from sluiceway.config import ObjectSettings, StoreSettings
from sluiceway.core.clock import SystemClock
from sluiceway.core.identity import Scope
from sluiceway.core.store import Tx, View
from sluiceway.core.wakeups import Wakeups
from sluiceway.engines.sqlite import SqliteStore, open_store
from sluiceway.errors import Conflict, Invalid, NotFound, PreconditionFailed
from sluiceway.services.objects import Objects
from sluiceway.services.objects.garbage import BLOBS, GARBAGE
from sluiceway.services.objects.listing import Listing, list_objects
from sluiceway.services.objects.removals import Wanted
from sluiceway.services.objects.rows import BODIES, NULLS, VERSIONS
from sluiceway.services.objects.values import (
    HISTORY,
    Actor,
    Attributes,
    Conditions,
    Content,
    Marker,
    Piece,
    Source,
    StoredObject,
)
from sluiceway.services.objects.version_listing import VersionListing, list_versions
from sluiceway.services.objects.versions import is_version, new_version, sequence_in, versions_of

ACTOR = Actor("AWS:me", "me", "127.0.0.1", "request", "host")
KEYS = ["a", "a/1", "a/2", "a/ü", "b/\U0001f600", "b/\uffff", "z"]


class Nowhere:
    """Takes no notifications."""

    def publish(self, tx: Tx, target_arn: str, bucket_arn: str, account: str, body: dict[str, Any]) -> None:
        raise AssertionError("no rule asks for it")

    def check(self, tx: Tx, target_arn: str, bucket_arn: str) -> None:
        raise AssertionError("no rule asks for it")

    def arn(self, tx: Tx, name: str) -> str:
        raise AssertionError("nothing asks for a key")


def objects() -> Objects:
    return Objects(Scope("000000000000", "us-east-1"), ObjectSettings(), Nowhere(), Nowhere())


async def opened(tmp_path: Path, service: Objects) -> SqliteStore:
    store = await open_store(tmp_path / "store.db", StoreSettings(), SystemClock(), Wakeups())
    await store.commit(service.buckets.create, "bkt", "me")
    return store


@dataclass
class Kept:
    """A version in the model; ``content`` is None for a delete marker."""

    id: str
    content: Content | None
    tags: dict[str, str] = field(default_factory=dict)


@dataclass
class Model:
    """What S3's guide says of a bucket: each key's versions, the newest first, and the events so far."""

    status: str = ""
    keys: dict[str, list[Kept]] = field(default_factory=dict)
    events: list[tuple[str, str, str | None]] = field(default_factory=list)

    def note(self, event: str, key: str, version: str) -> None:
        self.events.append((event, key, version if self.status else None))

    def new(self, key: str, kept: Kept) -> None:
        old = self.keys.get(key, [])
        if self.status != "Enabled":
            assert kept.id == "null"
            old = [other for other in old if other.id != "null"]
        else:
            assert kept.id not in {other.id for other in old} | {"null"}
        self.keys[key] = [kept, *old]

    def current(self, key: str) -> Kept | None:
        versions = self.keys.get(key)
        return versions[0] if versions and versions[0].content else None

    def find(self, key: str, version: str) -> Kept | None:
        return next((kept for kept in self.keys.get(key, []) if kept.id == version), None)

    def drop(self, key: str, version: str) -> None:
        self.keys[key] = [kept for kept in self.keys[key] if kept.id != version]
        if not self.keys[key]:
            del self.keys[key]

    def all(self) -> Iterator[tuple[str, Kept, bool]]:
        for key in sorted(self.keys):
            for at, kept in enumerate(self.keys[key]):
                yield key, kept, at == 0


class Run:
    """Random changes of the service and the model at once."""

    def __init__(self, store: SqliteStore, service: Objects, seed: int) -> None:
        self.store = store
        self.service = service
        self.model = Model()
        self.random = random.Random(seed)
        self.made = 0

    def content(self) -> Content:
        self.made += 1
        kind = self.random.randrange(3)
        if kind == 0:
            data = f"bytes {self.made}".encode()
            return Content(len(data), f"etag{self.made}", inline=data)
        pieces = tuple(Piece(f"blob{self.made}-{at}", 0, 10) for at in range(kind))
        return Content(10 * kind, f"etag{self.made}", pieces=pieces)

    def key(self) -> str:
        return self.random.choice(KEYS)

    def version(self, key: str) -> str:
        """One that is there, most of the time."""
        known = [kept.id for kept in self.model.keys.get(key, [])]
        return self.random.choice([*known, *known, "null", new_version(self.random.randrange(100))])

    async def step(self) -> None:
        actions = [self.put] * 6 + [self.delete] * 4 + [self.delete_version] * 6 + [self.copy] * 2 + [self.tag] * 2
        await self.random.choice([*actions, self.delete_many, self.lifecycle, self.switch])()

    async def switch(self) -> None:
        status = self.random.choice(["Enabled", "Enabled", "Suspended"])
        await self.store.commit(self.service.buckets.put_versioning, "bkt", status)
        self.model.status = status

    async def put(self) -> None:
        key, content = self.key(), self.content()
        current = self.model.current(key)
        conditions = self.random.choice([Conditions(), Conditions(if_none_match="*"), Conditions(if_match="*")])
        arguments = ("bkt", key, content, Attributes(), ACTOR, conditions)
        if (conditions.if_none_match and current) or (conditions.if_match and not current):
            with pytest.raises(PreconditionFailed if current else NotFound):
                await self.store.commit(self.service.contents.put, *arguments)
            return
        stored = await self.store.commit(self.service.contents.put, *arguments)
        self.model.new(key, Kept(stored.version_id, content))
        self.model.note("ObjectCreated:Put", key, stored.version_id)

    async def copy(self) -> None:
        key, target = self.key(), self.key()
        version = self.version(key) if self.random.random() < 0.5 else None
        source = Source("bkt", key, version)
        kept = self.model.find(key, version) if version else self.model.current(key)
        if kept is None or kept.content is None:
            with pytest.raises(Invalid if kept else NotFound):
                await self.store.view(self.service.contents.find_source, source, Conditions())
            with pytest.raises(Conflict):
                await self.store.commit(self.service.contents.copy, source, ("bkt", target), 0, None, ACTOR)
            return
        found = await self.store.view(self.service.contents.find_source, source, Conditions())
        stored = await self.store.commit(
            self.service.contents.copy, source, ("bkt", target), found.stored.sequence, None, ACTOR
        )
        self.model.new(target, Kept(stored.version_id, kept.content, kept.tags))
        self.model.note("ObjectCreated:Copy", target, stored.version_id)

    def deleted(self, key: str, version: str | None, cause: str = "ObjectRemoved") -> None:
        if version is not None:
            self.model.note(f"{cause}:DeleteMarkerCreated", key, version)
            self.model.new(key, Kept(version, None))
        elif self.model.keys.pop(key, None):
            self.model.note(f"{cause}:Delete", key, "null")

    async def delete(self) -> None:
        key = self.key()
        removed = await self.store.commit(self.service.removals.delete, "bkt", key, ACTOR)
        assert removed.marker == bool(self.model.status)
        self.deleted(key, removed.version)

    async def delete_version(self) -> None:
        key = self.key()
        version = self.version(key)
        kept = self.model.find(key, version)
        removed = await self.store.commit(self.service.removals.delete, "bkt", key, ACTOR, version=version)
        assert (removed.version, removed.marker) == (version, kept is not None and kept.content is None)
        if kept:
            self.model.drop(key, version)
            self.model.note("ObjectRemoved:Delete", key, version)

    async def delete_many(self) -> None:
        wanted = [Wanted(key, etag="wrong" if key == "z" else None) for key in self.random.sample(KEYS, 4)]
        outcomes = await self.store.commit(self.service.removals.delete_many, "bkt", wanted, ACTOR)
        for one, outcome in zip(wanted, outcomes, strict=True):
            if one.etag:
                hidden = bool(self.model.keys.get(one.key))
                assert isinstance(outcome, PreconditionFailed if hidden else NotFound), outcome
            else:
                assert not isinstance(outcome, Exception)
                self.deleted(one.key, outcome.version)

    async def lifecycle(self) -> None:
        """What a runner of rules does to one key: expire its newest, its second, and a marker left alone."""
        key, removals = self.key(), self.service.removals
        known = self.model.keys.get(key, [])
        current = self.model.current(key)
        found = [kept async for kept in _versions(self.store, key)]
        assert [kept.version_id for kept in found] == [kept.id for kept in known]
        if len(known) > 1:
            assert await self.store.commit(removals.expire_version, "bkt", key, known[1].id, ACTOR)
            self.model.note("LifecycleExpiration:Delete", key, known[1].id)
            self.model.drop(key, known[1].id)
        elif known and not current:
            assert await self.store.commit(removals.expire_marker, "bkt", key, ACTOR)
            self.model.note("LifecycleExpiration:Delete", key, known[0].id)
            self.model.drop(key, known[0].id)
        elif current:
            sequence = found[0].sequence
            assert not await self.store.commit(removals.expire_marker, "bkt", key, ACTOR)
            assert not await self.store.commit(removals.expire_version, "bkt", key, current.id, ACTOR)
            assert not await self.store.commit(removals.expire, "bkt", key, sequence + 1, ACTOR)
            assert await self.store.commit(removals.expire, "bkt", key, sequence, ACTOR)
            after_it = [kept async for kept in _versions(self.store, key)]
            self.deleted(key, after_it[0].version_id if after_it else None, "LifecycleExpiration")

    async def tag(self) -> None:
        key = self.key()
        version = self.version(key) if self.random.random() < 0.5 else None
        kept = self.model.find(key, version) if version else self.model.current(key)
        tags = {"n": str(self.random.random())} if self.random.random() < 0.7 else None
        call = (self.service.contents.put_tags, "bkt", key, list(tags.items()) if tags else None, ACTOR, version)
        if kept is None or kept.content is None:
            with pytest.raises(NotFound) as caught:
                await self.store.commit(*call)
            assert caught.value.kind == ("marker" if kept else "version" if version else "key")
            return
        await self.store.commit(*call)
        kept.tags = tags or {}
        self.model.note("ObjectTagging:Put" if tags else "ObjectTagging:Delete", key, kept.id)

    async def check(self) -> None:
        await self.store.view(self._check)

    def _check(self, view: View) -> None:
        current = [(key, kept) for key, kept, _ in self.model.all() if self.model.current(key) is kept]
        page = list_objects(view, Listing("bkt"))
        assert [(key, stored.version_id) for key, stored in page.entries] == [(key, kept.id) for key, kept in current]
        for key, kept, _ in self.model.all():
            self._check_version(view, key, kept)
        for key in KEYS:
            if self.model.current(key) is None:
                self._check_hidden(view, key)
        self._check_listing(view)
        self._check_bytes(view)
        told = [
            (
                entry.value["eventName"],
                unquote_plus(entry.value["s3"]["object"]["key"]),
                entry.value["s3"]["object"].get("versionId"),
            )
            for entry in view.read(HISTORY + "bkt", 0, 10_000)
        ]
        assert told == self.model.events

    def _check_version(self, view: View, key: str, kept: Kept) -> None:
        contents = self.service.contents
        if kept.content is None:
            with pytest.raises(NotFound) as caught:
                contents.head(view, "bkt", key, version=kept.id)
            assert caught.value.kind == "marker"
            return
        found = contents.find(view, "bkt", key, version=kept.id)
        assert (found.inline, found.pieces) == (kept.content.inline, kept.content.pieces)
        assert (found.stored.etag, found.stored.attributes.tags) == (kept.content.etag, kept.tags)
        if self.model.current(key) is kept:
            assert contents.find(view, "bkt", key) == found

    def _check_hidden(self, view: View, key: str) -> None:
        with pytest.raises(NotFound) as caught:
            self.service.contents.head(view, "bkt", key)
        newest = self.model.keys.get(key)
        marker = caught.value.detail["marker"]
        assert (marker.version_id if isinstance(marker, Marker) else None) == (newest[0].id if newest else None)

    def _check_listing(self, view: View) -> None:
        """All pages together, of random size, are the model's versions in order."""
        prefix, delimiter = self.random.choice(["", "", "a", "a/", "b/", "c"]), self.random.choice(["", "", "/"])
        wanted: list[tuple[str, str, bool] | str] = []
        for key, kept, latest in self.model.all():
            if not key.startswith(prefix):
                continue
            at = key.find(delimiter, len(prefix)) if delimiter else -1
            if at < 0:
                wanted.append((key, kept.id, latest))
            elif key[: at + 1] not in wanted:
                wanted.append(key[: at + 1])
        found: list[tuple[str, str, bool] | str] = []
        marker, more = ("", ""), True
        while more:
            limit = self.random.choice([1, 1, 2, 3, 100])
            page = list_versions(view, VersionListing("bkt", prefix, delimiter, *marker, limit))
            assert len(page.versions) + len(page.prefixes) <= limit
            shown: list[tuple[str, str, bool] | str] = [
                (version.key, version.kept.version_id, version.latest) for version in page.versions
            ]
            found.extend(sorted([*shown, *page.prefixes], key=lambda one: one if isinstance(one, str) else one[0]))
            marker, more = page.last, page.more
        assert found == wanted

    def _check_bytes(self, view: View) -> None:
        """Every blob has as many references as versions name it; bodies and null pointers are those in use."""
        kept = [one for _, one, _ in self.model.all() if one.content]
        blobs = Counter(piece.blob for one in kept if one.content for piece in one.content.pieces)
        assert {str(key[0]): count for key, count in view.scan(BLOBS)} == blobs
        assert not {str(key[0]) for key, _ in view.scan(GARBAGE)} & set(blobs)
        bodies = sum(1 for one in kept if one.content and len(one.content.pieces) != 1)
        assert sum(1 for _ in view.scan(BODIES)) == bodies
        hidden = {
            key
            for key, one, _ in self.model.all()
            if one.id == "null" and self.model.current(key) is not one
        }  # fmt: skip
        assert {str(key[1]) for key, _ in view.scan(NULLS)} == hidden
        old = sum(1 for key, one, _ in self.model.all() if self.model.current(key) is not one)
        assert sum(1 for _ in view.scan(VERSIONS)) == old


async def _versions(store: SqliteStore, key: str) -> Any:
    for kept in await store.view(lambda view: list(versions_of(view, "bkt", key))):
        yield kept


@pytest.mark.parametrize("seed", range(8))
async def test_versions_are_as_the_model_has_them(tmp_path: Path, seed: int) -> None:
    service = objects()
    store = await opened(tmp_path, service)
    try:
        run = Run(store, service, seed)
        if seed % 4:
            await run.switch()
        for _ in range(150):
            await run.step()
            await run.check()
        for key, kept, _ in list(run.model.all()):
            with pytest.raises(Conflict):
                await store.commit(service.buckets.delete, "bkt")
            await store.commit(service.removals.delete, "bkt", key, ACTOR, version=kept.id)
            run.model.drop(key, kept.id)
            run.model.note("ObjectRemoved:Delete", key, kept.id)
        await run.check()
        await store.commit(service.buckets.delete, "bkt")
    finally:
        await store.close()


class _Counted:
    """A transaction that counts what is asked of it."""

    def __init__(self, tx: Tx, counts: Counter[tuple[str, str]]) -> None:
        self._tx = tx
        self._counts = counts

    def __getattr__(self, name: str) -> Any:
        made = getattr(self._tx, name)
        if name not in ("get", "get_as", "put", "delete", "scan"):
            return made

        def counted(table: str, *arguments: Any, **named: Any) -> Any:
            self._counts[name, table] += 1
            return made(table, *arguments, **named)

        return counted


async def test_a_bucket_without_versioning_pays_nothing_for_it(tmp_path: Path) -> None:
    service = objects()
    store = await opened(tmp_path, service)
    counts: Counter[tuple[str, str]] = Counter()

    def work(tx: Tx) -> None:
        counted: Any = _Counted(tx, counts)
        content = Content(1, "e", inline=b"x")
        service.contents.put(counted, "bkt", "k", content, Attributes(), ACTOR)
        service.contents.put(counted, "bkt", "k", content, Attributes(), ACTOR)
        service.contents.find(counted, "bkt", "k")
        service.removals.delete(counted, "bkt", "k", ACTOR)

    try:
        await store.commit(work)
    finally:
        await store.close()
    assert counts == {
        ("get_as", "buckets"): 3, ("get_as", "objects"): 4, ("put", "objects"): 2, ("delete", "objects"): 1,
        ("put", "object_bodies"): 2, ("get", "object_bodies"): 1, ("delete", "object_bodies"): 2,
    }  # fmt: skip


async def test_a_page_of_versions_costs_what_it_shows(tmp_path: Path) -> None:
    """Rows read for a page: bounded by its size, however many versions a key or a prefix hides."""
    service = objects()
    store = await opened(tmp_path, service)
    rows = 0

    def fill(tx: Tx) -> None:
        service.buckets.put_versioning(tx, "bkt", "Enabled")
        for number in range(400):
            content = Content(1, "e", inline=b"x")
            service.contents.put(tx, "bkt", f"many/{number % 20}", content, Attributes(), ACTOR)
        service.contents.put(tx, "bkt", "one", Content(1, "e", inline=b"x"), Attributes(), ACTOR)

    class Reader:
        def __init__(self, view: View) -> None:
            self._view = view

        def __getattr__(self, name: str) -> Any:
            return getattr(self._view, name)

        def scan(self, *arguments: Any, **named: Any) -> Iterator[Any]:
            nonlocal rows
            for row in self._view.scan(*arguments, **named):
                rows += 1
                yield row

    def read(view: View, listing: VersionListing) -> Any:
        reader: Any = Reader(view)
        return list_versions(reader, listing)

    try:
        await store.commit(fill)
        page = await store.view(read, VersionListing("bkt", delimiter="/", limit=10))
        assert page.prefixes == ["many/"] and [version.key for version in page.versions] == ["one"]
        assert rows < 10
        rows = 0
        page = await store.view(read, VersionListing("bkt", key_marker="many/19", limit=5))
        deep = await store.view(read, VersionListing("bkt", "", "", "many/5", page.versions[-1].kept.version_id, 5))
        assert len(deep.versions) == 5 and rows < 60
    finally:
        await store.close()


async def test_a_page_goes_on_where_versions_have_gone_meanwhile(tmp_path: Path) -> None:
    service = objects()
    store = await opened(tmp_path, service)

    def put(tx: Tx) -> StoredObject:
        return service.contents.put(tx, "bkt", "k", Content(1, "e", inline=b"x"), Attributes(), ACTOR)

    async def listed(marker: str) -> list[tuple[str, bool]]:
        page = await store.view(list_versions, VersionListing("bkt", key_marker="k", version_marker=marker))
        return [(version.kept.version_id, version.latest) for version in page.versions]

    try:
        await store.commit(put)
        await store.commit(service.buckets.put_versioning, "bkt", "Enabled")
        second, third = [(await store.commit(put)).version_id for _ in range(2)]
        assert await listed(third) == [(second, False), ("null", False)]
        await store.commit(service.removals.delete, "bkt", "k", ACTOR, version=third)
        assert await listed(third) == [(second, True), ("null", False)]
        assert await listed("null") == []
        await store.commit(service.removals.delete, "bkt", "k", ACTOR, version="null")
        assert await listed("null") == [(second, True)], "begins again rather than leave out versions"
        for marker in ("x", "!" * 32, "é" * 32, "A" * 33):
            with pytest.raises(Invalid):
                await listed(marker)
    finally:
        await store.close()


def test_ids_hold_their_place_and_are_never_guessed() -> None:
    made = {new_version(7) for _ in range(100)}
    assert len(made) == 100 and {sequence_in(version) for version in made} == {7}
    assert all(len(version) == 32 and is_version(version) and version[0] != "-" for version in made)
    assert sequence_in(new_version(2**62)) == 2**62 and sequence_in(new_version(0)) == 0
    for wrong in ("", "x", "-" * 32, "A" * 31, "A" * 31 + "=", "A" * 36, "\u00e9" * 32, "A" * 31 + "\n"):
        assert not is_version(wrong)
        with pytest.raises(Invalid):
            sequence_in(wrong)
    assert 0 <= sequence_in("_" * 16 + "A" * 16) < 2**63, "whatever an id says, it is a place that a key may have"
