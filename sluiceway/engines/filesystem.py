"""The embedded engine of the blob port: a file for each blob, two folders deep, named by a random id.

A blob is written to ``tmp/``, synced, renamed into its folder, and the folder synced. Writing and hashing run
on threads, in parallel with receiving; at most a few chunks wait, so a slow disk slows the sender.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

from sluiceway.core.blobs import Hasher
from sluiceway.core.clock import new_id
from sluiceway.engines.blob_leftovers import Leftovers, Look
from sluiceway.errors import NotFound, Unavailable

log = logging.getLogger(__name__)

_CHUNK: Final = 256 * 1024  # bytes read at a time
_STEP_BYTES: Final = 1024 * 1024  # written and hashed in one go: a hand-over to threads costs as much as 100 KiB
_STEP_PIECES: Final = 256  # in which they may have come; fewer than a system call takes (IOV_MAX)
_AHEAD: Final = 4  # steps of one upload that may wait for the disk: 4 MiB
_SPREAD_BYTES: Final = 8 * 1024 * 1024  # after which the disk is told to begin writing
_THREADS: Final = 8
_PAUSE_S: Final = 0.005  # between two steps of the sweep, which take about as long: half a core at most
_NOWAIT: Final[int] = getattr(os, "RWF_NOWAIT", 0)  # Linux has it
R = TypeVar("R")
Pieces = Sequence[bytes]


class FileBlobs:
    """Blobs below ``root``, which is made if need be. Raises ``Unavailable("blobs")`` if it can't be."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._tmp = root / "tmp"
        self._durable: set[Path] = set()  # folders whose entry in their parent is synced; at most 65,792
        self._closed = False
        self._counting = threading.Lock()
        self.bytes_kept = 0  # of sealed blobs; of those from earlier processes, as far as the sweep has come
        self._leftovers = Leftovers(root, self._tmp)
        try:
            self._tmp.mkdir(parents=True, exist_ok=True)
            _sync_folder(root)
            _sync_folder(root.parent)
        except OSError as error:
            raise _in_words(error) from error
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="blobs")

    async def stage(self, hashers: Sequence[Hasher] = ()) -> FileStaged:
        """See ``core.blobs.Blobs``."""
        blob_id = new_id()
        self._leftovers.note(blob_id)
        file = await self._acquire(_File, _File.discard, self._tmp / blob_id)
        return FileStaged(self, blob_id, file, hashers)

    async def open(self, blob_id: str, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """See ``core.blobs.Blobs``."""
        descriptor = await self._acquire(_open, os.close, self._place(blob_id))
        try:
            left = length
            while left is None or left > 0:
                wanted = _CHUNK if left is None else min(_CHUNK, left)
                chunk = _at_hand(descriptor, wanted, start)
                if chunk:
                    await asyncio.sleep(0)  # a reader that keeps up must not have the loop for itself
                else:
                    chunk = await self.run(os.pread, descriptor, wanted, start)
                if not chunk:
                    return
                yield chunk
                start += len(chunk)
                left = None if left is None else left - len(chunk)
        finally:
            os.close(descriptor)

    async def size(self, blob_id: str) -> int:
        """See ``core.blobs.Blobs``."""
        return await self.run(_size, self._place(blob_id))

    async def delete(self, blob_id: str) -> None:
        """See ``core.blobs.Blobs``."""
        await self.run(self._remove, self._place(blob_id))

    async def sweep(self, known: Callable[[list[str]], Awaitable[set[str]]]) -> int:
        """See ``core.blobs.Blobs``. What was asked about stays asked if it fails: call it again."""
        if self._leftovers.done:
            return 0
        removed = await self.run(self._leftovers.remove_temporary)
        while (found := await self.run(self._leftovers.look)) is not None:
            removed += await self.run(self._pass, found, await known(found.ids) if found.ids else set())
            await asyncio.sleep(_PAUSE_S)
        return removed

    def close(self) -> None:
        """Let the threads end."""
        self._closed = True
        self._pool.shutdown(wait=True)

    def publish(self, file: _File, blob_id: str) -> None:
        """On a thread: make a written file durable under its id."""
        file.sync()
        place = self._place(blob_id)
        for folder in (place.parent.parent, place.parent):
            if folder not in self._durable:
                # Whoever made it may not have synced its parent yet, so that "it is there" is not enough.
                folder.mkdir(exist_ok=True)
                _sync_folder(folder.parent)
                self._durable.add(folder)
        size = _size(file.path)
        os.rename(file.path, place)
        self._count(size)
        _sync_folder(place.parent)

    def abandon(self, file: _File, blob_id: str) -> None:
        """On a thread: remove the file, also if publishing it got as far as its place."""
        file.discard()
        self._remove(self._place(blob_id))

    def _remove(self, path: Path) -> None:
        """On a thread: a sealed blob's file, if it is there."""
        with self._counting:  # the sweep counts what it passes, and must not pass it meanwhile
            try:
                size = path.stat().st_size
                path.unlink()
            except FileNotFoundError:
                return
            if self._leftovers.is_passed(path.name):
                self.bytes_kept -= size

    def _pass(self, found: Look, known: set[str]) -> int:
        """On a thread: a step of the sweep; how many blobs it removed."""
        with self._counting:
            removed, kept = self._leftovers.take(found, known)
            self.bytes_kept += kept
        return removed

    def _count(self, size: int) -> None:
        with self._counting:
            self.bytes_kept += size

    async def run(self, fn: Callable[..., R], *args: object) -> R:
        """``fn`` on a thread, with the disk's errors in the port's words."""
        if self._closed:
            raise Unavailable("blobs", "The server is stopping.")
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, fn, *args)
        except OSError as error:
            raise _in_words(error) from error

    async def _acquire(self, fn: Callable[..., R], undo: Callable[[R], object], *args: object) -> R:
        """``run``; if the caller goes away meanwhile, ``undo`` what the thread has got for it."""
        job = asyncio.ensure_future(self.run(fn, *args))
        try:
            return await asyncio.shield(job)
        except asyncio.CancelledError:
            job.add_done_callback(lambda done: None if done.cancelled() or done.exception() else undo(done.result()))
            raise

    def _place(self, blob_id: str) -> Path:
        if len(blob_id) != 36 or not blob_id.replace("-", "").isalnum():
            raise NotFound("blob", "There is no such blob.")
        return self._root / blob_id[:2] / blob_id[2:4] / blob_id


class FileStaged:
    """A blob being written, by one sender. A chain of steps hands chunks to the threads in order.

    Life: *open*, then *sealed* (durable under its id) or *discarded*. After the first failure, or a write that
    its caller gave up, it can only be discarded: with what is missing it would have a hole.
    """

    def __init__(self, blobs: FileBlobs, blob_id: str, file: _File, hashers: Sequence[Hasher]) -> None:
        self.size = 0
        self._blobs = blobs
        self._id = blob_id
        self._file = file
        self._hashers = tuple(hashers)
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._running: list[asyncio.Future[None]] = []
        self._publishing: asyncio.Future[None] | None = None
        self._discarding: asyncio.Future[None] | None = None
        self._sealed = False
        self._failure: BaseException | None = None

    async def write(self, data: bytes) -> None:
        """See ``core.blobs.Staged``. Raises ``RuntimeError`` after ``seal`` or ``discard``."""
        self._still_open()
        self.size += len(data)
        self._pending.append(data)
        self._pending_bytes += len(data)
        if self._pending_bytes >= _STEP_BYTES or len(self._pending) >= _STEP_PIECES:
            await self._flush()

    async def seal(self) -> str:
        """See ``core.blobs.Staged``. Raises ``RuntimeError`` after ``seal`` or ``discard``."""
        self._still_open()
        await self._flush()
        await self._wait(0)
        self._publishing = asyncio.ensure_future(self._blobs.run(self._blobs.publish, self._file, self._id))
        await asyncio.shield(self._publishing)
        self._sealed = True
        return self._id

    async def discard(self) -> None:
        """See ``core.blobs.Staged``."""
        if self._sealed:
            return
        if self._discarding is None:
            self._discarding = asyncio.ensure_future(self._discard())
        await asyncio.shield(self._discarding)

    def _still_open(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._publishing is not None or self._discarding is not None:
            raise RuntimeError("the blob is sealed or discarded")

    async def _discard(self) -> None:
        unfinished = [*self._running, self._publishing] if self._publishing is not None else self._running
        await asyncio.gather(*unfinished, return_exceptions=True)
        try:
            await self._blobs.run(self._blobs.abandon, self._file, self._id)
        except Unavailable as error:  # the cause of the discard is what the caller tells; the next start sweeps
            log.warning("a discarded blob could not be removed: %s", error.message)

    async def _flush(self) -> None:
        if self._pending:
            pieces, self._pending, self._pending_bytes = self._pending, [], 0
            await self._hand_over(pieces)

    async def _hand_over(self, pieces: Pieces) -> None:
        """Give ``pieces`` to the threads: the disk and each hash at the same time, after what came before."""
        await self._wait(_AHEAD - 1)
        before = self._running[-1] if self._running else None
        self._running.append(asyncio.ensure_future(self._step(pieces, before)))

    async def _step(self, pieces: Pieces, before: asyncio.Future[None] | None) -> None:
        if before is not None:
            await before
        # Two threads: the first hasher is MD5, which takes as long as the disk and all others together.
        first, others = self._hashers[:1], self._hashers[1:]
        jobs = [self._blobs.run(self._take, pieces, others)]
        if first:
            jobs.append(self._blobs.run(_feed, first, pieces))
        await asyncio.gather(*jobs)

    def _take(self, pieces: Pieces, hashers: Sequence[Hasher]) -> None:
        """On a thread."""
        self._file.write(pieces)
        _feed(hashers, pieces)

    async def _wait(self, ahead: int) -> None:
        """Until at most ``ahead`` steps are left. A sender that goes away here does not stop them."""
        try:
            while len(self._running) > ahead:
                await asyncio.wait(self._running[:1])
                await self._running.pop(0)
        except asyncio.CancelledError:
            self._failure = Unavailable("blobs", "A write was given up: the blob is not whole.")
            raise
        except BaseException as error:
            self._failure = error
            raise


class _File:
    """A new file. It is closed once, and never under a thread that is writing to it.

    Otherwise the number of the descriptor could be another blob's by the time the thread writes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._written = self._begun = 0  # bytes; and how many of them the disk has been told to write
        self._descriptor: int | None = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)

    def write(self, pieces: Pieces) -> None:
        """Append them. What is written goes to the disk from time to time, not all at once when it is synced: other
        files' syncs would wait for all of it, and so would every commit of the store."""
        with self._lock:
            if self._descriptor is None:
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            _write_all(self._descriptor, pieces)
            self._written += sum(map(len, pieces))
            if self._written - self._begun >= _SPREAD_BYTES:
                _begin_writing(self._descriptor, self._begun, self._written - self._begun)
                self._begun = self._written

    def sync(self) -> None:
        """Make it durable and close it, also if that fails."""
        with self._lock:
            if self._descriptor is None:
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            try:
                os.fsync(self._descriptor)
            finally:
                self._close()

    def discard(self) -> None:
        with self._lock:
            self._close()
        self.path.unlink(missing_ok=True)

    def _close(self) -> None:
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            os.close(descriptor)


def _write_all(descriptor: int, pieces: Pieces) -> None:
    left = [memoryview(piece) for piece in pieces]
    while left:
        written = os.writev(descriptor, left)
        while left and written >= len(left[0]):
            written -= len(left.pop(0))
        if written:
            left[0] = left[0][written:]


def _begin_writing(descriptor: int, start: int, length: int) -> None:
    """Let the kernel begin to write dirty pages, without waiting for it (posix_fadvise(2)).

    "Not needed" is what Linux has for that in Python: it keeps pages that are not on the disk yet.
    """
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, start, length, os.POSIX_FADV_DONTNEED)


def _feed(hashers: Sequence[Hasher], pieces: Pieces) -> None:
    for piece in pieces:
        for hasher in hashers:
            hasher.update(piece)


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        raise NotFound("blob", "There is no such blob.") from None


def _at_hand(descriptor: int, wanted: int, start: int) -> bytes:
    """What the page cache has, without waiting for the disk; b"" if nothing (preadv2(2), RWF_NOWAIT).

    Waking a thread costs more than copying a chunk.
    """
    if not _NOWAIT:
        return b""
    buffer = bytearray(wanted)
    try:
        got = os.preadv(descriptor, [buffer], start, _NOWAIT)
    except OSError:  # not at hand, or a file system that can't say: a thread asks again, and may wait
        return b""
    return bytes(memoryview(buffer)[:got])


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        raise NotFound("blob", "There is no such blob.") from None


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _in_words(error: OSError) -> Unavailable:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Unavailable("blobs", f"The disk is full ({error.strerror}): nothing was stored.")
    return Unavailable("blobs", f"The disk failed ({error.strerror}): nothing was stored.")
