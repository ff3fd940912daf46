"""What a bucket must hold, by the words of those who changed it: each key has one writer, so little is in doubt.

A change is noted before it is asked for (``Key.pending``) and settled by its answer. If there is none, because the
server died, the key is either as it was or as it would have been; looking at it (``Key.settle``) says which.
"""

from __future__ import annotations

import hashlib
import os
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

MARKER = "marker"
Event = tuple[str, str | None]  # its name, and the version that it speaks of


@dataclass(frozen=True)
class Version:
    """One version of a key, "null" where there is no versioning. ``id`` and ``etag`` are None until they are known."""

    body: str  # MD5 of the bytes, or MARKER
    id: str | None = None
    etag: str | None = None
    tags: str = ""
    public: bool = False  # by its list

    def could_be(self, other: Version) -> bool:
        """Whether what was seen is this."""
        known = self.id in (None, other.id) and self.etag in (None, other.etag)
        return known and (self.body == MARKER) == (other.body == MARKER)


@dataclass
class Key:
    """A key and all its versions, newest first."""

    bucket: str
    name: str
    versioned: bool
    versions: tuple[Version, ...] = ()
    events: list[Event] = field(default_factory=list)
    pending: tuple[Version, ...] | None = None
    event: str | None = None
    touched: bool = False

    @property
    def where(self) -> dict[str, str]:
        """As boto3 names it."""
        return {"Bucket": self.bucket, "Key": self.name}

    @property
    def current(self) -> Version | None:
        """What a GET finds."""
        return self.versions[0] if self.versions and self.versions[0].body != MARKER else None

    def looks_like(self, body: str) -> bool:
        """Whether nobody could tell after a crash if these bytes (their MD5) were put once more: nothing may be both."""
        return not self.versioned and self.current is not None and self.current.body == body

    def begin(self, after: tuple[Version, ...], event: str | None) -> None:
        """A change is about to be asked for."""
        self.pending, self.event, self.touched = after, event, True

    def acknowledged(self, answer: dict[str, Any]) -> None:
        """It was answered."""
        assert self.pending is not None
        after = self.pending
        if after:
            first = after[0]
            id_, etag = first.id or answer["VersionId"], first.etag or answer.get("ETag")
            after = (replace(first, id=id_, etag=etag), *after[1:])
        self._take(after)

    def settle(self, seen: tuple[Version, ...], look: Callable[[Key], tuple[str, bool]]) -> str:
        """After a crash: what is wrong with what is seen of it, or ""."""
        for state in (self.versions, self.pending):
            if state is None or len(state) != len(seen):
                continue
            if not all(one.could_be(other) for one, other in zip(state, seen, strict=True)):
                continue
            found = tuple(replace(one, id=other.id, etag=other.etag) for one, other in zip(state, seen, strict=True))
            is_there = found and found[0].body != MARKER
            if self.touched and is_there and look(self) != (found[0].tags, found[0].public):
                continue
            if state is self.pending:
                self._take(found)
            self.pending = None
            return ""
        return f"{self.bucket}/{self.name}\n  was {self.versions}\n  would be {self.pending}\n  is {seen}"

    def _take(self, after: tuple[Version, ...]) -> None:
        if self.event is not None:
            gone = [version for version in self.versions if version not in after]
            self.events.append((self.event, (gone[0] if self.event == "ObjectRemoved:Delete" else after[0]).id))
        self.versions, self.pending, self.event = after, None, None


@dataclass
class Upload:
    """An upload that its writer left, and the parts that were acknowledged or are in doubt."""

    key: Key
    id: str
    parts: dict[int, str] = field(default_factory=dict)
    doubtful: int = 0
    ended: bool = False  # somebody asked to end it


class Writer:
    """Changes its own keys of a plain and of a versioned bucket, one change after the other, in every way there is."""

    def __init__(self, s3: Any, number: int, chance: random.Random) -> None:
        self.s3, self.chance = s3, chance
        names = [f"w{number}/{n}" for n in range(4)]
        self.keys = [Key(bucket, name, bucket == "versioned") for bucket in ("plain", "versioned") for name in names]
        self.uploads: list[Upload] = []
        self.changes = 0

    def run(self, dead: threading.Event) -> None:
        """Until the server is dead; raises what its client raises then."""
        ways = [self._put] * 6 + [self._parts] * 2 + [self._copy] * 2 + [self._delete] * 2
        ways += [
            self._delete_many,
            self._delete_version,
            self._delete_version,
            self._tag,
            self._list,
            self._leave,
            self._end,
        ]
        while not dead.is_set():
            self.chance.choice(ways)(self.chance.choice(self.keys))
            self.changes += 1

    def _body(self) -> bytes:
        """In the store, in a file, or at the border."""
        size = self.chance.choice((0, 1, 500, 20_000, 65_536, 65_537, 150_000, 400_000))
        return os.urandom(size)

    def _placed(self, key: Key, version: Version) -> tuple[Version, ...]:
        return (version, *key.versions) if key.versioned else (replace(version, id="null"),)

    def _put(self, key: Key) -> None:
        body, tags = self._body(), self.chance.choice(("", "", "a=b"))
        if key.looks_like(hashlib.md5(body).hexdigest()):
            body = os.urandom(500)
        digest = hashlib.md5(body).hexdigest()
        key.begin(self._placed(key, Version(digest, None, f'"{digest}"', tags)), "ObjectCreated:Put")
        key.acknowledged(self.s3.put_object(**key.where, Body=body, Tagging=tags))

    def _parts(self, key: Key) -> None:
        """Completed in any order, and with a part that is left out or repeated."""
        bodies = [self._body() + os.urandom(1000) for _ in range(self.chance.choice((1, 2, 3)))]
        upload = self.s3.create_multipart_upload(**key.where)["UploadId"]
        etags: dict[int, str] = {}
        for number in self.chance.sample(range(len(bodies)), len(bodies)):
            for _ in range(self.chance.choice((1, 1, 2))):
                etags[number] = self._part(key, upload, number + 1, bodies[number])
        self._part(key, upload, 9, b"left out")
        whole = b"".join(bodies)
        parts = [{"PartNumber": number + 1, "ETag": etags[number]} for number in sorted(etags)]
        after = self._placed(key, Version(hashlib.md5(whole).hexdigest()))
        key.begin(after, "ObjectCreated:CompleteMultipartUpload")
        key.acknowledged(
            self.s3.complete_multipart_upload(**key.where, UploadId=upload, MultipartUpload={"Parts": parts})
        )

    def _part(self, key: Key, upload: str, number: int, body: bytes) -> str:
        return str(self.s3.upload_part(**key.where, UploadId=upload, PartNumber=number, Body=body)["ETag"])

    def _copy(self, key: Key) -> None:
        sources = [
            other
            for other in self.keys
            if other.current and other is not key and not key.looks_like(other.current.body)
        ]
        if not sources:
            return self._put(key)
        source = self.chance.choice(sources)
        found = source.current
        assert found is not None
        key.begin(self._placed(key, Version(found.body, tags=found.tags)), "ObjectCreated:Copy")
        answer = self.s3.copy_object(**key.where, CopySource=source.where)
        key.acknowledged({"VersionId": answer.get("VersionId"), "ETag": answer["CopyObjectResult"]["ETag"]})

    def _delete(self, key: Key) -> None:
        if key.versioned:
            key.begin((Version(MARKER), *key.versions), "ObjectRemoved:DeleteMarkerCreated")
        elif key.versions:
            key.begin((), "ObjectRemoved:Delete")
        else:
            return self._put(key)
        key.acknowledged(self.s3.delete_object(**key.where))

    def _delete_many(self, key: Key) -> None:
        chosen = [other for other in self.keys if other.bucket == key.bucket and (other.versioned or other.versions)]
        if not chosen:
            return
        for other in chosen:
            after = (Version(MARKER), *other.versions) if other.versioned else ()
            other.begin(after, "ObjectRemoved:DeleteMarkerCreated" if other.versioned else "ObjectRemoved:Delete")
        rows = [{"Key": other.name} for other in chosen]
        answer = self.s3.delete_objects(Bucket=key.bucket, Delete={"Objects": rows})
        markers = {row["Key"]: row.get("DeleteMarkerVersionId") for row in answer["Deleted"]}
        for other in chosen:
            other.acknowledged({"VersionId": markers[other.name]})

    def _delete_version(self, key: Key) -> None:
        """Mostly old ones, so that they don't become many."""
        if not key.versioned or not key.versions:
            return self._put(key)
        version = self.chance.choice(key.versions[-3:])
        after = tuple(other for other in key.versions if other is not version)
        key.begin(after, "ObjectRemoved:Delete")
        self.s3.delete_object(**key.where, VersionId=version.id)
        key.acknowledged({})

    def _tag(self, key: Key) -> None:
        if key.current is None:
            return self._put(key)
        value = str(self.chance.randrange(10**6))
        key.begin((replace(key.current, tags=f"t={value}"), *key.versions[1:]), None)
        self.s3.put_object_tagging(**key.where, Tagging={"TagSet": [{"Key": "t", "Value": value}]})
        key.acknowledged({})

    def _list(self, key: Key) -> None:
        """Change its access control list."""
        if key.current is None:
            return self._put(key)
        public = not key.current.public
        key.begin((replace(key.current, public=public), *key.versions[1:]), None)
        self.s3.put_object_acl(**key.where, ACL="public-read" if public else "private")
        key.acknowledged({})

    def _leave(self, key: Key) -> None:
        """Begin an upload, and go away."""
        if len([upload for upload in self.uploads if not upload.ended]) > 3:
            return self._end(key)
        upload = Upload(key, self.s3.create_multipart_upload(**key.where)["UploadId"])
        self.uploads.append(upload)
        for number in (1, 2):
            upload.doubtful = number
            upload.parts[number] = self._part(key, upload.id, number, self._body())
            upload.doubtful = 0

    def _end(self, key: Key) -> None:
        """Abort one of those."""
        waiting = [upload for upload in self.uploads if not upload.ended]
        if not waiting:
            return
        upload = self.chance.choice(waiting)
        upload.ended = True
        self.s3.abort_multipart_upload(**upload.key.where, UploadId=upload.id)
        self.uploads.remove(upload)
