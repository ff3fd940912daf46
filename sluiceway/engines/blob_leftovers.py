"""What an earlier process left on the disk: temporary files, and blobs that no row names.

Looking for them takes seconds with a million blobs, so it is done beside everything else, a few hundred files at a time.
What this process stages is told from leftovers by its id: it is left alone however far its commit is. An older blob
that nothing names is never named again, so it can be removed at any moment after it was asked about.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

#: Files of one look, and folders that it goes into (of the 65,536): 2 ms of a thread, and 1 ms for asking about them.
_FILES_MAX: Final = 250
_FOLDERS_MAX: Final = 500


@dataclass(slots=True)
class Look:
    """The ids of blobs that an earlier process made, and the last of the ``folders`` ("abcd") that they are from."""

    ids: list[str] = field(default_factory=list)
    last: str = ""


class Leftovers:
    """One walk through the folders below ``root``, in their order. Its methods but ``note`` run on threads."""

    def __init__(self, root: Path, tmp: Path) -> None:
        self._root = root
        self._tmp = tmp
        self._made: set[str] | None = set()
        self._passed = ""

    @property
    def done(self) -> bool:
        """Whether the walk is at its end."""
        return self._made is None

    def note(self, blob_id: str) -> None:
        """This process stages a blob."""
        if self._made is not None:
            self._made.add(blob_id)

    def is_passed(self, blob_id: str) -> bool:
        """Whether it is this process's, or the walk has come past it."""
        return self._made is None or blob_id in self._made or blob_id[:4] <= self._passed

    def remove_temporary(self) -> int:
        """Remove the temporary files of earlier processes; how many."""
        left = [name for name in os.listdir(self._tmp) if not self._is_ours(name)]
        for name in left:
            (self._tmp / name).unlink(missing_ok=True)
        return len(left)

    def look(self) -> Look | None:
        """The next blobs; None at the end, from which on nothing needs to be noted."""
        found, count = Look(last=self._passed), 0
        for first, second in self._folders():
            found.last = first + second
            found.ids += [name for name in os.listdir(self._root / first / second) if not self._is_ours(name)]
            count += 1
            if len(found.ids) >= _FILES_MAX or count >= _FOLDERS_MAX:
                break
        if not count:
            self._made = None
            return None
        return found

    def take(self, found: Look, known: set[str]) -> tuple[int, int]:
        """Remove what is not ``known``, and go past all of it: how many, and the bytes of those that are known."""
        removed = kept = 0
        for blob_id in found.ids:
            path = self._root / blob_id[:2] / blob_id[2:4] / blob_id
            try:
                if blob_id in known:
                    kept += path.stat().st_size
                else:
                    path.unlink()
                    removed += 1
            except FileNotFoundError:
                continue  # deleted meanwhile
        self._passed = found.last
        return removed, kept

    def _folders(self) -> Iterator[tuple[str, str]]:
        """The folders that the walk has not passed, in order."""
        for first in sorted(name for name in os.listdir(self._root) if len(name) == 2 and name >= self._passed[:2]):
            for second in sorted(os.listdir(self._root / first)):
                if first + second > self._passed:
                    yield first, second

    def _is_ours(self, name: str) -> bool:
        return self._made is None or name in self._made
