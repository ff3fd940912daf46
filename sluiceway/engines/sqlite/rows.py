"""The store port's reading and writing over one SQLite connection.

An ordered table is a table of its name: ``key BLOB PRIMARY KEY, value``. The log "topic/uploads" is the rows
of ``log_topic`` whose ``log`` is its name; where it begins and ends stands in ``log_heads``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, TypeVar

import apsw
import orjson

from sluiceway.core.keys import pack, prefix_end, unpack
from sluiceway.core.store import Bounds, Entry, Key, Value
from sluiceway.engines.sqlite.known import Known, Name, Outdated, Row, Rows, Stored
from sluiceway.errors import Unavailable

T = TypeVar("T")
#: A parameter behind LIMIT. SQLite plans by its value if it stands alone, and so compiles the statement anew for every
#: execution, which takes three times as long as the reading.
_BOUND: Final = "+?"
_CHUNK = 64  # rows fetched at a time by a scan, so that the caller may write to the table between them
_CHUNK_FIRST = 4  # the first time, as many who scan look at a row or two and leave; then four times as many
_TABLE = re.compile(r"[a-z][a-z0-9_]{0,62}")
_RESERVED = ("log_", "sqlite_", "schema_")
#: How SQLite says that a table is not there: the second one if it was just made by another connection, too late for
#: this snapshot.
_NO_TABLE: Final = (apsw.SQLError, apsw.SchemaChangeError)


@dataclass(slots=True)
class Head:
    """Where a log begins and ends, and the time of its last entry."""

    first: int
    next: int
    last_ms: int


@dataclass(frozen=True, slots=True)
class TableSql:
    """The statements of an ordered table."""

    create: str
    get: str
    put: str
    delete: str
    scan: str
    scan_back: str


@dataclass(frozen=True, slots=True)
class LogSql:
    """The statements of a kind of log."""

    create: str
    append: str
    read: str
    trim: str


def encode(value: Value) -> str | bytes:
    """JSON as text, which the sqlite3 shell shows; bytes as a blob."""
    return value if isinstance(value, bytes) else orjson.dumps(value).decode()


def decode(stored: str | bytes) -> Value:
    """What ``encode`` made. Raises ``apsw.CorruptError`` for what it can't have made."""
    if isinstance(stored, bytes):
        return stored
    try:
        return orjson.loads(stored)
    except orjson.JSONDecodeError as error:
        raise apsw.CorruptError(f"a stored value is not JSON: {error}") from error


@lru_cache(maxsize=1024)  # tables are named in the code, so there are a few dozen
def table_sql(name: str) -> TableSql:
    """The statements of the table ``name``. Raises ``ValueError`` if a table may not be called so."""
    if not _TABLE.fullmatch(name) or name.startswith(_RESERVED):
        raise ValueError(f"not a table's name: {name!r}")
    scan = f'SELECT key, value FROM "{name}" WHERE key>=? AND key<? ORDER BY key'
    return TableSql(
        create=f'CREATE TABLE IF NOT EXISTS "{name}" (key BLOB PRIMARY KEY, value) WITHOUT ROWID',
        get=f'SELECT value FROM "{name}" WHERE key=?',
        put=f'INSERT INTO "{name}" (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value=excluded.value',
        delete=f'DELETE FROM "{name}" WHERE key=?',
        scan=f"{scan} ASC LIMIT {_BOUND}",
        scan_back=f"{scan} DESC LIMIT {_BOUND}",
    )


def log_sql(log: str) -> LogSql:
    """The statements for ``log``. Raises ``ValueError`` if a log may not be called so."""
    return _kind_sql(log.partition("/")[0])


@lru_cache(maxsize=1024)
def _kind_sql(kind: str) -> LogSql:
    name = f"log_{kind.replace('-', '_')}"
    if not _TABLE.fullmatch(name[4:]):
        raise ValueError(f"not a log's kind: {kind!r}")
    return LogSql(
        create=f"CREATE TABLE IF NOT EXISTS {name} (log TEXT, offset INTEGER, time_ms INTEGER, value, "
        "PRIMARY KEY (log, offset)) WITHOUT ROWID",
        append=f"INSERT INTO {name} (log, offset, time_ms, value) VALUES (?, ?, ?, ?)",
        read=f"SELECT offset, time_ms, value FROM {name} WHERE log=? AND offset>=? ORDER BY offset LIMIT {_BOUND}",
        trim=f"DELETE FROM {name} WHERE log=? AND offset<?",
    )


def _unpack(key: bytes) -> Key:
    try:
        return unpack(key)
    except (ValueError, TypeError, IndexError) as error:
        raise apsw.CorruptError(f"a stored key can't be read: {error}") from error


def _fetched(connection: apsw.Connection, sql: str, bindings: tuple[Any, ...]) -> list[Any] | None:
    """What SQLite gives; None where the table was never made."""
    try:
        return connection.execute(sql, bindings).fetchall()
    except _NO_TABLE as error:
        if _is_missing(error):
            return None
        raise
    except UnicodeDecodeError as error:
        raise apsw.CorruptError(f"a stored text is not UTF-8: {error}") from error


def _made(row: Row | None, key: Key, make: Callable[[Key, Value], T]) -> T | None:
    if row is None:
        return None
    if row.make is not make:
        row.made, row.make = make(key, decode(row.stored)), make
    made: T = row.made
    return made


def late() -> Unavailable:
    """What a function is told that has used up its time."""
    return Unavailable("slow", "The operation took too long and was given up.")


def _is_missing(error: apsw.Error) -> bool:
    return "no such table" in str(error)


class SqliteView:
    """A read-only snapshot, which begins with the first reading that ``known`` can't answer."""

    __slots__ = ("_begun", "_connection", "_epoch", "_known", "_now_ms", "_trusting")

    def __init__(self, connection: apsw.Connection, now_ms: int, known: Known) -> None:
        self._connection = connection
        self._now_ms = now_ms
        self._known = known
        self._epoch = known.epoch
        self._begun = False
        self._trusting = False  # whether it has used a row of ``known``

    @property
    def now_ms(self) -> int:
        """See ``core.store.View``."""
        return self._now_ms

    def _rows(self, sql: str, bindings: tuple[Any, ...]) -> list[Any]:
        """Raises ``Outdated``."""
        begins = not self._begun
        if begins:
            self._connection.execute("BEGIN")
            self._begun = True
        rows = _fetched(self._connection, sql, bindings)
        if begins:
            if rows is None:  # SQLite has looked at no page, so its snapshot has not begun either
                self._connection.execute("SELECT 1 FROM log_heads LIMIT 1").fetchall()
                rows = _fetched(self._connection, sql, bindings)
            if self._trusting and self._known.epoch != self._epoch:
                raise Outdated
        return rows or []

    def get(self, table: str, key: Key) -> Value | None:
        """See ``core.store.View``."""
        known = self._known
        if table not in known.tables:
            found = self._rows(table_sql(table).get, (pack(key),))
            return decode(found[0][0]) if found else None
        row = self._known_row((table, key))
        return None if row is None else decode(row.stored)

    def get_as(self, table: str, key: Key, make: Callable[[Key, Value], T]) -> T | None:
        """See ``core.store.View``."""
        if table not in self._known.tables:
            value = self.get(table, key)
            return None if value is None else make(key, value)
        return _made(self._known_row((table, key)), key, make)

    def _known_row(self, name: Name) -> Row | None:
        known = self._known
        row = known.rows.get(name)
        if row is not None and not (known.changing and known.is_changing(name)):
            self._trusting = True
            return row
        found = self._rows(table_sql(name[0]).get, (pack(name[1]),))
        return known.keep(name, found[0][0]) if found else None

    def scan(
        self,
        table: str,
        *,
        prefix: Key = (),
        start: Key | None = None,
        end: Key | None = None,
        reverse: bool = False,
        limit: int | None = None,
    ) -> Iterator[tuple[Key, Value]]:
        """See ``core.store.View``."""
        low = pack(prefix)
        high = prefix_end(low) if prefix else b"\xff"
        if start is not None:
            low = max(low, pack(start))
        if end is not None:
            high = min(high, pack(end))
        statements = table_sql(table)
        sql = statements.scan_back if reverse else statements.scan
        left = limit if limit is not None else -1
        chunk = _CHUNK_FIRST
        while left != 0:
            wanted = chunk if left < 0 else min(left, chunk)
            chunk = min(4 * chunk, _CHUNK)
            rows = self._page(table, sql, (low, high, wanted))
            for key, value in rows:
                yield _unpack(key), decode(value)
            if len(rows) < wanted:
                return
            left = left - len(rows) if left > 0 else left
            last = rows[-1][0]
            low, high = (low, last) if reverse else (last + b"\x00", high)

    def _page(self, _table: str, sql: str, bindings: tuple[Any, ...]) -> list[Any]:
        return self._rows(sql, bindings)

    def read(self, log: str, offset: int, limit: int) -> list[Entry]:
        """See ``core.store.View``."""
        rows = self._rows(log_sql(log).read, (log, offset, limit))
        return [Entry(at, time_ms, decode(value)) for at, time_ms, value in rows]

    def bounds(self, log: str) -> Bounds:
        """See ``core.store.View``."""
        head = self._head(log)
        return Bounds(head.first, head.next)

    def _head(self, log: str) -> Head:
        rows = self._rows("SELECT first, next, last_ms FROM log_heads WHERE log=?", (log,))
        return Head(*rows[0]) if rows else Head(0, 0, 0)


class SqliteTx(SqliteView):
    """A transaction. Each function ends with ``settle`` or ``forget``, the group with ``finish``.

    Where the logs end, and the rows of ``busy`` tables, which nearly every function changes, are kept here and written
    once for the group, not by every function.
    """

    __slots__ = (
        "_busy",
        "_heads",
        "_kept",
        "_names",
        "_settled",
        "_unwritten",
        "_watched",
        "_wrote",
        "expired",
        "outdated",
    )

    def __init__(
        self, connection: apsw.Connection, now_ms: int, known: Known, kept: Rows, busy: frozenset[str]
    ) -> None:
        super().__init__(connection, now_ms, known)
        self._watched = known.tables
        self._busy = busy
        self._unwritten: dict[Name, tuple[bytes, Stored]] = {}
        self._kept = kept  # the writer's own; a rollback empties it
        self.outdated: set[Name] = set()  # rows of ``known`` that were written to
        self._settled: dict[str, Head] = {}
        self._heads: dict[str, Head] = {}
        self._names: set[str] = set()
        self._wrote = False  # whether this function did
        self.expired = False  # set by another thread when the function has used up its time

    def _rows(self, sql: str, bindings: tuple[Any, ...]) -> list[Any]:
        if self.expired:
            raise late()
        return _fetched(self._connection, sql, bindings) or []

    def _execute(self, create: str, sql: str, bindings: tuple[Any, ...]) -> None:
        if self.expired:
            raise late()
        self._wrote = True
        self._write(create, sql, bindings)

    def _write(self, create: str, sql: str, bindings: tuple[Any, ...]) -> None:
        try:
            self._connection.execute(sql, bindings)
        except _NO_TABLE as error:
            if not _is_missing(error):
                raise
            self._connection.execute(create)
            self._connection.execute(sql, bindings)

    def put(self, table: str, key: Key, value: Value) -> None:
        """See ``core.store.Tx``."""
        statements = table_sql(table)
        packed, stored = pack(key), encode(value)
        if table in self._busy:
            if self.expired:
                raise late()
            self._wrote = True
            name = (table, key)
            self._unwritten[name] = (packed, stored)
            self._kept.keep(name, stored)
        else:
            self._execute(statements.create, statements.put, (packed, stored))
        if table in self._watched:
            self._outdate((table, key))

    def _outdate(self, name: Name) -> None:
        self.outdated.add(name)
        if name[0] not in self._busy:
            self._kept.drop(name)

    def get(self, table: str, key: Key) -> Value | None:
        """See ``core.store.View``."""
        if table in self._kept.tables:
            row = self._known_row((table, key))
            return None if row is None else decode(row.stored)
        found = self._rows(table_sql(table).get, (pack(key),))
        return decode(found[0][0]) if found else None

    def get_as(self, table: str, key: Key, make: Callable[[Key, Value], T]) -> T | None:
        """See ``core.store.View``."""
        if table in self._kept.tables:
            return _made(self._known_row((table, key)), key, make)
        found = self._rows(table_sql(table).get, (pack(key),))
        return make(key, decode(found[0][0])) if found else None

    def _known_row(self, name: Name) -> Row | None:
        row = self._kept.rows.get(name)
        if row is not None:
            return row
        if name in self._unwritten:
            return Row(self._unwritten[name][1])
        found = self._rows(table_sql(name[0]).get, (pack(name[1]),))
        return self._kept.keep(name, found[0][0]) if found else None

    def _page(self, table: str, sql: str, bindings: tuple[Any, ...]) -> list[Any]:
        if table in self._busy:
            self.flush()
        return self._rows(sql, bindings)

    def delete(self, table: str, key: Key) -> None:
        """See ``core.store.Tx``."""
        statements = table_sql(table)
        self._execute(statements.create, statements.delete, (pack(key),))
        if table in self._busy:
            self._unwritten.pop((table, key), None)
            self._kept.drop((table, key))
        if table in self._watched:
            self._outdate((table, key))

    def append(self, log: str, value: Value) -> int:
        """See ``core.store.Tx``."""
        head = self._own_head(log)
        offset, time_ms = head.next, max(head.last_ms, self._now_ms)
        statements = log_sql(log)
        self._execute(statements.create, statements.append, (log, offset, time_ms, encode(value)))
        head.next, head.last_ms = offset + 1, time_ms
        self._names.add(log)
        return offset

    def trim(self, log: str, before: int) -> None:
        """See ``core.store.Tx``."""
        head = self._own_head(log)
        if before > head.first:
            head.first = min(before, head.next)
            self._wrote = True
            self._rows(log_sql(log).trim, (log, head.first))

    def on_commit(self, name: str) -> None:
        """See ``core.store.Tx``."""
        self._names.add(name)

    def _own_head(self, log: str) -> Head:
        head = self._heads.get(log)
        if head is None:
            known = self._head(log)
            head = self._heads[log] = Head(known.first, known.next, known.last_ms)
        return head

    def _head(self, log: str) -> Head:
        head = self._heads.get(log) or self._settled.get(log)
        return head if head is not None else super()._head(log)

    def settle(self, names: set[str]) -> None:
        """The function succeeded: its heads count, and ``names`` gets those to wake."""
        if self._heads:
            self._settled.update(self._heads)
            self._heads = {}
        if self._names:
            names |= self._names
            self._names = set()
        self._wrote = False

    def flush(self) -> None:
        """Write the rows of busy tables."""
        unwritten, self._unwritten = self._unwritten, {}
        for (table, _), bindings in unwritten.items():
            statements = table_sql(table)
            self._write(statements.create, statements.put, bindings)

    def finish(self) -> None:
        """The group is to be committed: write what was kept for its end."""
        self.flush()
        self._connection.executemany(
            "INSERT INTO log_heads (log, first, next, last_ms) VALUES (?, ?, ?, ?) ON CONFLICT (log) "
            "DO UPDATE SET first=excluded.first, next=excluded.next, last_ms=excluded.last_ms",
            [(log, head.first, head.next, head.last_ms) for log, head in self._settled.items()],
        )

    def forget(self) -> bool:
        """The function failed: what it did to heads and names never happened. Whether it wrote anything."""
        wrote = self._wrote
        if wrote:
            self._kept.clear()
            self._unwritten = {}
        self._heads, self._names, self._wrote = {}, set(), False
        return wrote
