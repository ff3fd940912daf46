"""Puts messages into a server's database at once, also beside it while it runs: a million by requests would take longer than to measure them.

One message of each queue is sent by the queue service, the others are its row under the next numbers. The server has
read nothing of queues that are new and empty, so it finds their messages as if it had taken them itself.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import apsw

from bench.wire import REGION, Target
from sluiceway.config import QueueSettings
from sluiceway.core.identity import Scope
from sluiceway.core.keys import pack
from sluiceway.engines.sqlite.known import Known, Rows
from sluiceway.engines.sqlite.rows import SqliteTx, encode
from sluiceway.services.queues import Queues
from sluiceway.services.queues.states import AVAILABLE, COUNTERS, MESSAGES

_ACCOUNT = "000000000000"
_BATCH = 100_000  # messages of one transaction, some 300 ms
_BUSY_MS = 60_000


def fill(target: Target, names: Sequence[str], count: int, body: str) -> None:
    """``count`` messages for each queue of a running server; the queues are there already, and empty."""
    fill_folder(_data(target), names, count, body, 0)


def fill_folder(data: Path, names: Sequence[str], count: int, body: str, checkpoint_pages: int = 10_000) -> None:
    """The same for a data folder; ``checkpoint_pages`` is 0 where its server does that."""
    connection = apsw.Connection(str(data / "store.db"))
    connection.set_busy_timeout(_BUSY_MS)
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute(f"PRAGMA wal_autocheckpoint={checkpoint_pages}")
    queues = Queues(Scope(_ACCOUNT, REGION), QueueSettings())
    for name in names:
        for begin in range(0, count, _BATCH):
            connection.execute("BEGIN IMMEDIATE")
            nothing: frozenset[str] = frozenset()
            tx = SqliteTx(connection, time.time_ns() // 1_000_000, Known(nothing, 0), Rows(nothing, 0), nothing)
            if not begin:
                queues.send(tx, name, body, system={"SenderId": "bench"})
            _copy(connection, tx, queues.get(tx, name).shelf, max(begin, 1), min(begin + _BATCH, count))
            connection.execute("COMMIT")
    connection.close()


def _copy(connection: apsw.Connection, tx: SqliteTx, shelf: int, begin: int, end: int) -> None:
    row = next(value for _, value in tx.scan(MESSAGES, prefix=(shelf, AVAILABLE), limit=1))
    kept, now_ms = encode(row), tx.now_ms
    sql = f"INSERT INTO {MESSAGES} (key, value) VALUES (?, ?)"
    connection.executemany(sql, ((pack((shelf, AVAILABLE, now_ms, at)), kept) for at in range(begin, end)))
    tx.put(COUNTERS, (shelf,), [end, 0, 0, end, 0])


def _data(target: Target) -> Path:
    """The server's data folder, as it was told on its command line."""
    words = Path(f"/proc/{target.pid}/cmdline").read_bytes().split(b"\0")
    return Path(words[words.index(b"--data") + 1].decode())
