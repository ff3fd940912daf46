"""The embedded engine of the blob port: a file for each blob, two folders deep, named by a random id.

A blob is written to ``tmp/``, synced, renamed into its folder, and the folder synced. Writing and hashing run
on threads, in parallel with receiving; at most a few chunks wait, so a slow disk slows the sender.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

from sluiceway.core.blobs import Hasher
from sluiceway.core.clock import new_id
from sluiceway.errors import NotFound, Unavailable

_CHUNK: Final = 256 * 1024  # bytes written, hashed and read at a time
_AHEAD: Final = 4  # chunks of one upload that may wait for the disk: 1 MiB
_THREADS: Final = 8
R = TypeVar("R")


class FileBlobs:
    """Blobs below ``root``, which is made if need be."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._tmp = root / "tmp"
        self._tmp.mkdir(parents=True, exist_ok=True)
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="blobs")

    async def stage(self, hashers: Sequence[Hasher] = ()) -> FileStaged:
        """See ``core.blobs.Blobs``."""
        blob_id = new_id()
        path = self._tmp / blob_id
        descriptor = await self._run(_create, path)
        return FileStaged(self, blob_id, path, descriptor, hashers)

    async def open(self, blob_id: str, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """See ``core.blobs.Blobs``."""
        descriptor = await self._run(_open, self._place(blob_id))
        try:
            left = length
            while left is None or left > 0:
                wanted = _CHUNK if left is None else min(_CHUNK, left)
                chunk = await self._run(os.pread, descriptor, wanted, start)
                if not chunk:
                    return
                yield chunk
                start += len(chunk)
                left = None if left is None else left - len(chunk)
        finally:
            os.close(descriptor)

    async def size(self, blob_id: str) -> int:
        """See ``core.blobs.Blobs``."""
        return await self._run(_size, self._place(blob_id))

    async def delete(self, blob_id: str) -> None:
        """See ``core.blobs.Blobs``."""
        path = self._place(blob_id)
        await self._run(lambda: path.unlink(missing_ok=True))

    async def sweep(self, is_used: Callable[[str], bool]) -> int:
        """See ``core.blobs.Blobs``."""
        return await self._run(self._sweep, is_used)

    def close(self) -> None:
        """Let the threads end."""
        self._pool.shutdown(wait=True)

    def _sweep(self, is_used: Callable[[str], bool]) -> int:
        removed = 0
        for path in self._tmp.iterdir():
            path.unlink(missing_ok=True)
            removed += 1
        for path in self._root.glob("??/??/*"):
            if not is_used(path.name):
                path.unlink(missing_ok=True)
                removed += 1
        return removed

    def _place(self, blob_id: str) -> Path:
        if len(blob_id) != 36 or not blob_id.replace("-", "").isalnum():
            raise NotFound("blob", "There is no such blob.")
        return self._root / blob_id[:2] / blob_id[2:4] / blob_id

    async def _run(self, fn: Callable[..., R], *args: object) -> R:
        """``fn`` on a thread, with the disk's errors in the port's words."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, fn, *args)
        except FileNotFoundError:
            raise NotFound("blob", "There is no such blob.") from None
        except OSError as error:
            raise Unavailable("blobs", f"The disk failed ({error.strerror}): nothing was stored.") from None


class FileStaged:
    """A blob being written. One writer task takes chunks in order; its failure is met by the next call."""

    def __init__(self, blobs: FileBlobs, blob_id: str, path: Path, descriptor: int, hashers: Sequence[Hasher]) -> None:
        self.size = 0
        self._blobs = blobs
        self._id = blob_id
        self._path = path
        self._descriptor = descriptor
        self._hashers = tuple(hashers)
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._running: list[asyncio.Future[None]] = []
        self._done = False
        self._closed = False  # the file, by a try to seal it

    async def write(self, data: bytes) -> None:
        """See ``core.blobs.Staged``."""
        self.size += len(data)
        self._pending.append(data)
        self._pending_bytes += len(data)
        if self._pending_bytes >= _CHUNK:
            await self._flush()

    async def seal(self) -> str:
        """See ``core.blobs.Staged``."""
        await self._flush()
        await self._wait(0)
        place = self._blobs._place(self._id)
        self._closed = True
        await self._blobs._run(_finish, self._descriptor, self._path, place)
        self._done = True
        return self._id

    async def discard(self) -> None:
        """See ``core.blobs.Staged``."""
        if self._done:
            return
        self._done = True
        await asyncio.gather(*self._running, return_exceptions=True)
        await self._blobs._run(_abandon, None if self._closed else self._descriptor, self._path)

    async def _flush(self) -> None:
        """Hand what is pending to the threads: the disk and each hash at the same time, in order."""
        if not self._pending:
            return
        data = self._pending[0] if len(self._pending) == 1 else b"".join(self._pending)
        self._pending, self._pending_bytes = [], 0
        await self._wait(_AHEAD - 1)
        before = self._running[-1] if self._running else None
        self._running.append(asyncio.ensure_future(self._step(data, before)))

    async def _step(self, data: bytes, before: asyncio.Future[None] | None) -> None:
        if before is not None:
            await before
        jobs = [self._blobs._run(_write_all, self._descriptor, data)]
        jobs += [self._blobs._run(_feed, hasher, data) for hasher in self._hashers]
        await asyncio.gather(*jobs)

    async def _wait(self, ahead: int) -> None:
        while len(self._running) > ahead:
            first = self._running.pop(0)
            await first


def _feed(hasher: Hasher, data: bytes) -> None:
    hasher.update(data)


def _create(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)


def _open(path: Path) -> int:
    return os.open(path, os.O_RDONLY)


def _size(path: Path) -> int:
    return path.stat().st_size


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _finish(descriptor: int, path: Path, place: Path) -> None:
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    fresh = [folder for folder in (place.parent.parent, place.parent) if not folder.is_dir()]
    for folder in fresh:
        folder.mkdir(exist_ok=True)
    os.rename(path, place)
    _sync_folder(place.parent)
    for folder in fresh:
        _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _abandon(descriptor: int | None, path: Path) -> None:
    if descriptor is not None:
        os.close(descriptor)
    path.unlink(missing_ok=True)
