"""A disk for SQLite that fails when told to, and that remembers what a power cut would leave."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw


@dataclass
class Platter:
    """A file as a power cut leaves it: ``durable``, and the writes since the last successful sync."""

    durable: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, bytes]] = field(default_factory=list)

    def sync(self) -> None:
        for offset, data in self.pending:
            if len(self.durable) < offset:
                self.durable.extend(bytes(offset - len(self.durable)))
            self.durable[offset : offset + len(data)] = data
        self.pending.clear()

    def lose(self) -> None:
        """A failed sync: the kernel calls the pages clean, and they never reach the disk."""
        self.pending.clear()

    def truncate(self, size: int) -> None:
        self.sync()  # lenient: an order of these two is not what is tested
        del self.durable[size:]


Fault = Callable[[str], Exception | None]  # given the file's name, what the call shall raise


class Disk(apsw.VFS):
    """While registered, the default file system of every new connection of this process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.platters: dict[str, Platter] = {}
        self.on_sync: Fault = lambda name: None
        self.on_write: Fault = lambda name: None
        self.syncs = 0
        super().__init__("faulty", "unix", True)

    def xOpen(self, name: Any, flags: Any) -> apsw.VFSFile:
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        platter = Platter() if path is None else self.platters.setdefault(str(path), Platter())
        return _File(self, Path(str(path)).name, platter, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        with self.lock:
            self.platters.pop(filename, None)
        super().xDelete(filename, syncdir)

    def heal(self) -> None:
        """The cause is gone."""
        self.on_sync = self.on_write = lambda name: None

    def power_cut(self, target: Path) -> None:
        """Write what is durable now to ``target``; the process goes on and does not notice."""
        target.mkdir(parents=True)
        with self.lock:
            for path, platter in self.platters.items():
                (target / os.path.basename(path)).write_bytes(platter.durable)


class _File(apsw.VFSFile):
    def __init__(self, disk: Disk, name: str, platter: Platter, vfs_name: Any, flags: Any) -> None:
        self._disk = disk
        self._name = name
        self._platter = platter
        super().__init__("unix", vfs_name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:
        if (error := self._disk.on_write(self._name)) is not None:
            raise error
        with self._disk.lock:
            self._platter.pending.append((offset, bytes(data)))
        super().xWrite(data, offset)

    def xTruncate(self, size: int) -> None:
        with self._disk.lock:
            self._platter.truncate(size)
        super().xTruncate(size)

    def xSync(self, flags: int) -> None:
        # The system's own sync is left out: a power cut is what ``durable`` says.
        with self._disk.lock:
            self._disk.syncs += 1
            if (error := self._disk.on_sync(self._name)) is not None:
                self._platter.lose()
                raise error
            self._platter.sync()
