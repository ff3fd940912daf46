"""Functions' code on disk: each archive is unpacked once, into a folder named by its hash."""

from __future__ import annotations

import asyncio
import base64
import os
import shutil
import stat
import tempfile
import zipfile
from pathlib import Path, PurePosixPath
from typing import Final

from sluiceway.config import FunctionSettings
from sluiceway.core.blobs import Blobs
from sluiceway.errors import Invalid
from sluiceway.services.functions import Code

_CHUNK: Final = 256 * 1024


class CodeFolders:
    """``root`` holds the folders; nothing in it is needed after a restart."""

    def __init__(self, root: Path, blobs: Blobs, limits: FunctionSettings) -> None:
        self._root = root
        self._blobs = blobs
        self._limits = limits
        self._unpacking: dict[str, asyncio.Task[Path]] = {}
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir(parents=True)

    async def folder(self, code: Code) -> Path:
        """Where ``code`` lies unpacked. Raises ``Invalid("code")`` for an archive that is none."""
        name = base64.b64decode(code.sha256).hex()
        ready = self._root / name
        if await asyncio.to_thread(ready.is_dir):
            return ready
        task = self._unpacking.get(name)
        if task is None:
            task = asyncio.create_task(self._unpack(code, ready))
            self._unpacking[name] = task
            task.add_done_callback(lambda _: self._unpacking.pop(name, None))
        return await asyncio.shield(task)

    async def drop_unused(self, used: set[str]) -> None:
        """Remove the folders of archives whose base64 hash is not in ``used``."""
        names = {base64.b64decode(digest).hex() for digest in used}
        for folder in await asyncio.to_thread(lambda: list(self._root.iterdir())):
            if folder.name not in names and not folder.name.startswith(".") and folder.name not in self._unpacking:
                await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def _unpack(self, code: Code, ready: Path) -> Path:
        fresh = Path(await asyncio.to_thread(tempfile.mkdtemp, dir=self._root, prefix="."))
        try:
            archive = fresh / "code.zip"
            with archive.open("wb") as file:
                async for chunk in self._blobs.open(code.blob):
                    await asyncio.to_thread(file.write, chunk)
            await asyncio.to_thread(unpack, archive, fresh / "code", self._limits)
            await asyncio.to_thread(os.rename, fresh / "code", ready)
        finally:
            await asyncio.to_thread(shutil.rmtree, fresh, ignore_errors=True)
        return ready


def unpack(path: Path, target: Path, limits: FunctionSettings) -> None:
    """Extract a zip file into the new folder ``target``; names that lead outside of it are refused.

    Raises ``Invalid("code")``.
    """
    target.mkdir()
    left = limits.archive_bytes_max
    try:
        with zipfile.ZipFile(path) as archive:
            for item in _check(archive, limits):
                place = target.joinpath(*PurePosixPath(item.filename).parts)
                if item.is_dir():
                    place.mkdir(parents=True, exist_ok=True)
                    continue
                place.parent.mkdir(parents=True, exist_ok=True)
                left -= _extract(archive, item, place, left)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError) as error:
        raise Invalid("code", f"The function's archive can't be unpacked: {error}") from None


def _check(archive: zipfile.ZipFile, limits: FunctionSettings) -> list[zipfile.ZipInfo]:
    items = archive.infolist()
    if len(items) > limits.archive_files_max or sum(item.file_size for item in items) > limits.archive_bytes_max:
        raise Invalid(
            "code",
            f"Unzipped size must be smaller than {limits.archive_bytes_max} bytes, in {limits.archive_files_max} files.",
        )
    for item in items:
        parts = PurePosixPath(item.filename).parts
        if not parts or item.filename.startswith("/") or ".." in parts or "\\" in item.filename:
            raise Invalid("code", f"The archive has a file name that leads out of it: {item.filename[:200]!r}.")
    return items


def _extract(archive: zipfile.ZipFile, item: zipfile.ZipInfo, place: Path, left: int) -> int:
    """Bytes written; a header that lies about its size doesn't help. Symbolic links become plain files."""
    size = 0
    with archive.open(item) as source, place.open("xb") as file:
        while chunk := source.read(_CHUNK):
            size += len(chunk)
            if size > left:
                raise ValueError("it is larger than it says")
            file.write(chunk)
    mode = item.external_attr >> 16
    place.chmod(0o755 if mode & stat.S_IXUSR else 0o644)
    return size
