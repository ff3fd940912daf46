"""Opening the database file: settings of a connection, the schema's version, and errors in words."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import apsw

from sluiceway.config import StoreSettings
from sluiceway.errors import Unavailable

#: Version of the layout below. A newer one is refused; an older one is brought up by ``MIGRATIONS``.
SCHEMA_VERSION: Final = 1
MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (
    (
        "CREATE TABLE log_heads (log TEXT PRIMARY KEY, first INTEGER, next INTEGER, last_ms INTEGER) WITHOUT ROWID",
        "CREATE TABLE schema_probe (id INTEGER PRIMARY KEY, written_ms INTEGER)",
    ),
)
#: How long a lock is waited for: by a recovery's checkpoint for readers, which take milliseconds, and by the writer for
#: another process that writes to the file.
BUSY_MS: Final = 10_000
#: What the disk, not the client, is to blame for.
STORAGE_ERRORS: Final = (
    apsw.FullError,
    apsw.IOError,
    apsw.CorruptError,
    apsw.NotADBError,
    apsw.ReadOnlyError,
    apsw.CantOpenError,
    apsw.NoMemError,
    apsw.BusyError,
)
CORRUPTION: Final = (apsw.CorruptError, apsw.NotADBError)


def connect(path: Path, limits: StoreSettings, *, writer: bool = False) -> apsw.Connection:
    """A connection with this store's settings."""
    connection = apsw.Connection(str(path), statementcachesize=256)
    connection.set_busy_timeout(BUSY_MS)
    if writer:
        connection.execute(f"PRAGMA page_size={limits.page_bytes}")
        connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA wal_autocheckpoint=0")
    connection.execute(f"PRAGMA cache_size=-{limits.cache_bytes // 1024}")
    connection.execute("PRAGMA temp_store=MEMORY")
    return connection


def migrate(connection: apsw.Connection) -> None:
    """Bring the schema to this release's version. Raises ``Unavailable("schema")`` if it is newer."""
    version = int(_first(connection, "PRAGMA user_version"))
    if version > SCHEMA_VERSION:
        raise Unavailable(
            "schema",
            f"The data folder has schema {version}, this release knows {SCHEMA_VERSION}: use a newer release.",
        )
    for number in range(version, SCHEMA_VERSION):
        with connection:
            for statement in MIGRATIONS[number]:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version={number + 1}")


def _first(connection: apsw.Connection, sql: str) -> str:
    return str(connection.execute(sql).fetchall()[0][0])


def check(connection: apsw.Connection, limits: StoreSettings) -> None:
    """Read a small database whole. Raises ``apsw.CorruptError`` if its pages don't fit together.

    A large one is not read at start: what is damaged in it is met when it is read.
    """
    pages, page_bytes = (int(_first(connection, f"PRAGMA {name}")) for name in ("page_count", "page_size"))
    if pages * page_bytes > limits.check_bytes_max:
        return
    found = _first(connection, "PRAGMA quick_check(1)")
    if found != "ok":
        raise apsw.CorruptError(found)


def in_words(error: apsw.Error) -> str:
    """Why the disk refuses, for an operator."""
    if isinstance(error, apsw.FullError):
        return "The disk is full: nothing can be made durable. Free some space; writing goes on by itself."
    if isinstance(error, CORRUPTION):
        return "The database file is damaged. Stop the server and restore the data folder from a backup."
    if isinstance(error, apsw.ReadOnlyError):
        return "The database file can't be written: check the data folder's owner and mount."
    if isinstance(error, apsw.IOError):
        return f"The disk failed ({error}): nothing is promised until it works again."
    return f"The database can't be used ({error})."
