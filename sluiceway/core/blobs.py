"""PORT: large bytes. Stage, seal, open a range, delete.

A blob becomes reachable only when a transaction names its id; until then it is an orphan that the sweep
removes. Memory per stream is bounded whatever the blob's size.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Protocol


class Hasher(Protocol):
    """What hashlib's objects are: fed in the same pass as the disk, off the event loop."""

    def update(self, data: bytes, /) -> object:
        """Take the next bytes."""


class Staged(Protocol):
    """A blob being written."""

    size: int

    async def write(self, data: bytes) -> None:
        """Append bytes; waits when the disk is slower than the sender (backpressure)."""

    async def seal(self) -> str:
        """Make it durable (fsync, rename, fsync the folder) and return its id."""

    async def discard(self) -> None:
        """Forget it; safe to call after any failure, and after ``seal`` (then nothing happens)."""


class Blobs(Protocol):
    """A place for large bytes. Raises ``errors.Unavailable`` on a full or failing disk."""

    async def stage(self, hashers: Sequence[Hasher] = ()) -> Staged:
        """Begin a blob; each of ``hashers`` sees every byte in order."""

    def open(self, blob_id: str, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """Chunks of the range ``start`` .. ``start + length`` (to the end if None).

        Raises ``errors.NotFound("blob")`` at the first chunk if it is gone. A blob deleted while it is
        being read is read to its end.
        """

    async def size(self, blob_id: str) -> int:
        """Bytes of the blob; ``errors.NotFound("blob")``."""

    async def delete(self, blob_id: str) -> None:
        """Remove it; nothing happens if it is gone."""

    async def sweep(self, known: Callable[[list[str]], Awaitable[set[str]]]) -> int:
        """Remove what earlier processes left: temporary files, and blobs that are not among the ``known`` ones of those
        it asks about; how many. Beside everything else, in small steps, and once in a process's life: what this
        process stages is left alone."""
