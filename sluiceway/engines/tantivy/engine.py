"""Indices by name: opened when asked for, written by one thread, read by several."""

from __future__ import annotations

import logging
import shutil
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson
import tantivy

from sluiceway.config import SearchSettings
from sluiceway.core.search.index import Change, Found, Kind, Search, Token
from sluiceway.engines.tantivy import files
from sluiceway.engines.tantivy.analyzers import Kitchen
from sluiceway.engines.tantivy.searching import Look
from sluiceway.errors import DomainError, Invalid, Unavailable

log = logging.getLogger(__name__)

#: What the engine's errors say when its files are not what they were.
_DAMAGE: Final = ("corrupt", "no such file", "open file", "does not exist", "unexpectedeof", "deserialize")
_COLUMNS: Final = "columns.json"


@dataclass(slots=True)
class _Open:
    """A generation of an index. ``writer`` is there while it is written to."""

    folder: Path
    index: Any
    columns: frozenset[str]
    position: int | None
    writer: Any = None


class TantivyIndexes:
    """Indices below ``folder``: ``folder/NAME/gNUMBER``."""

    def __init__(self, folder: Path, limits: SearchSettings) -> None:
        self._folder = folder
        self._limits = limits
        self._kitchen = Kitchen()
        self._lock = threading.Lock()
        self._open: OrderedDict[str, _Open] = OrderedDict()
        self._begun: dict[str, _Open] = {}
        self._broken: set[str] = set()

    def position(self, name: str) -> int | None:
        """See ``core.search.index``."""
        opened = self._opened(name)
        return opened.position if opened else None

    def fits(self, name: str, columns: Mapping[Kind, int]) -> bool:
        """See ``core.search.index``."""
        opened = self._opened(name)
        return opened is not None and all(
            f"{kind}{count - 1}" in opened.columns for kind, count in columns.items() if count
        )

    def begin(self, name: str, columns: Mapping[Kind, int]) -> None:
        """See ``core.search.index``."""
        with self._guard(name):
            self._begun.pop(name, None)
            folder = self._folder / name
            known = files.generations(folder)
            present = self._opened(name)
            fresh = folder / f"g{(known[0] if known else 0) + 1}"
            for number in known:
                if present is None or folder / f"g{number}" != present.folder:
                    shutil.rmtree(folder / f"g{number}", ignore_errors=True)
            fresh.mkdir(parents=True)
            names = files.columns_for(columns)
            (fresh / _COLUMNS).write_bytes(orjson.dumps(names))
            index = tantivy.Index(files.schema_for(columns), path=str(fresh))
            self._begun[name] = self._made(fresh, index, frozenset(names))

    def add(self, name: str, changes: Sequence[Change]) -> None:
        """See ``core.search.index``."""
        with self._guard(name):
            begun = self._begun[name]
            writer = self._writer(begun)
            for change in changes:
                files.write(writer, change, self._kitchen, begun.columns, fresh=True)

    def finish(self, name: str, position: int) -> None:
        """See ``core.search.index``."""
        with self._guard(name):
            begun = self._begun.pop(name)
            self._commit(begun, position)
            with self._lock:
                old = self._open.pop(name, None)
                self._open[name] = begun
                self._broken.discard(name)
            if old is not None:
                old.writer = None
            for number in files.generations(self._folder / name):
                if self._folder / name / f"g{number}" != begun.folder:
                    shutil.rmtree(self._folder / name / f"g{number}", ignore_errors=True)

    def apply(self, name: str, changes: Sequence[Change], position: int) -> None:
        """See ``core.search.index``."""
        opened = self._opened(name)
        if opened is None:
            raise Unavailable("search_index", f"The index {name} has to be made first.")
        with self._guard(name):
            try:
                writer = self._writer(opened)
                for change in changes:
                    files.write(writer, change, self._kitchen, opened.columns)
                self._commit(opened, position)
            except (ValueError, OSError) as error:
                opened.writer = None  # what it has gathered is given up
                if _is_damage(error):
                    raise
                raise Unavailable("search_index", f"The index can't be written: {str(error)[:300]}") from None

    def search(self, name: str, search: Search) -> Found:
        """See ``core.search.index``."""
        opened = self._opened(name)
        if opened is None:
            raise Unavailable("search_index", "The index is being made from its documents.")
        with self._guard(name):
            try:
                return Look(opened.index, opened.columns, self._limits).search(search)
            except ValueError as error:
                if _is_damage(error):
                    raise
                raise Invalid("query", f"the search can't be run: {str(error)[:300]}") from None

    def count(self, name: str) -> int:
        """See ``core.search.index``."""
        opened = self._opened(name)
        return max(0, opened.index.searcher().num_docs - 1) if opened else 0

    def size_bytes(self, name: str) -> int:
        """See ``core.search.index``."""
        opened = self._opened(name)
        if opened is None:
            return 0
        try:
            return sum(path.stat().st_size for path in opened.folder.iterdir())
        except FileNotFoundError:  # merged away between the two looks
            return 0

    def analyze(self, analyzer: str, text: str) -> Sequence[Token]:
        """See ``core.search.index``."""
        try:
            return self._kitchen.tokens(analyzer, text)
        except UnicodeEncodeError:
            return []

    def keep(self, names: frozenset[str]) -> None:
        """See ``core.search.index``."""
        with self._lock:
            for name in [name for name in self._open if name not in names]:
                del self._open[name]
        for name in [name for name in self._begun if name not in names]:
            del self._begun[name]
        self._broken &= names
        if self._folder.is_dir():
            for path in self._folder.iterdir():
                if path.name not in names:
                    shutil.rmtree(path, ignore_errors=True)

    def close(self) -> None:
        """Let go of the files. What is not committed is fed again."""
        with self._lock:
            for opened in (*self._open.values(), *self._begun.values()):
                opened.writer = None
            self._open.clear()
            self._begun.clear()

    # -- inside

    def _opened(self, name: str) -> _Open | None:
        """The newest finished generation; None if there is none that can be used."""
        with self._lock:
            known = self._open.get(name)
            if known is not None:
                self._open.move_to_end(name)
                return known
            if name in self._broken:
                return None
            for number in files.generations(self._folder / name):
                found = self._load(self._folder / name / f"g{number}")
                if found is not None:
                    self._open[name] = found
                    self._forget_some()
                    return found
            return None

    def _load(self, folder: Path) -> _Open | None:
        try:
            columns = frozenset(orjson.loads((folder / _COLUMNS).read_bytes()))
            found = self._made(folder, tantivy.Index.open(str(folder)), columns)
            found.position = files.position_of(found.index)
        except BaseException as error:  # noqa: BLE001 - Tantivy's panics are no Exceptions
            _reraise_if_foreign(error)
            log.warning("the search index in %s can't be used: %s", folder, error)
            return None
        return found if found.position is not None else None

    def _made(self, folder: Path, index: Any, columns: frozenset[str]) -> _Open:
        self._kitchen.register(index)
        index.config_reader("manual")
        return _Open(folder, index, columns, None)

    def _forget_some(self) -> None:
        while len(self._open) > self._limits.readers_max:
            idle = next((name for name, opened in self._open.items() if opened.writer is None), None)
            if idle is None:
                return
            del self._open[idle]

    def _writer(self, opened: _Open) -> Any:
        if opened.writer is None:
            with self._lock:
                writing = [other for other in self._open.values() if other.writer is not None]
            for other in writing[: max(0, len(writing) + 1 - self._limits.writers_max)]:
                other.writer = None
            opened.writer = opened.index.writer(self._limits.writer_bytes, 1)
        return opened.writer

    def _commit(self, opened: _Open, position: int) -> None:
        writer = self._writer(opened)
        files.set_position(writer, position)
        writer.commit()
        opened.index.reload()
        opened.position = position

    @contextmanager
    def _guard(self, name: str) -> Iterator[None]:
        """What Tantivy throws, in our words; the index is not used again until it has been made anew."""
        try:
            yield
        except DomainError:
            raise
        except BaseException as error:  # noqa: BLE001 - Tantivy's panics are no Exceptions
            _reraise_if_foreign(error)
            log.error("the search index %s failed: %s: %s", name, type(error).__name__, error)
            with self._lock:
                self._open.pop(name, None)
                self._broken.add(name)
            self._begun.pop(name, None)
            raise Unavailable("search_index", "The index failed and is being made again from its documents.") from None


def _is_damage(error: Exception) -> bool:
    return any(word in str(error).lower() for word in _DAMAGE)


def _reraise_if_foreign(error: BaseException) -> None:
    if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
        raise error
