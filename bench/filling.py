"""Puts messages into a running server's database at once: a million by requests would take longer than to measure them.

The server keeps nothing of queues in memory, so it finds them as if it had taken them itself.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import apsw

from bench.wire import REGION, Target
from sluiceway.config import QueueSettings
from sluiceway.core.identity import Scope
from sluiceway.engines.sqlite.rows import SqliteTx
from sluiceway.services.queues import Message, Queues

_ACCOUNT = "000000000000"
_BATCH = 5000  # messages of one transaction
_BUSY_MS = 60_000


def fill(target: Target, names: Sequence[str], count: int, body: str) -> None:
    """``count`` messages for each queue, which are there already."""
    queues = Queues(Scope(_ACCOUNT, REGION), QueueSettings())
    message = Message(body, system={"SenderId": "bench"})
    connection = apsw.Connection(str(_data(target) / "store.db"))
    connection.set_busy_timeout(_BUSY_MS)
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute("PRAGMA wal_autocheckpoint=0")
    waiting = [(name, min(_BATCH, count - at)) for name in names for at in range(0, count, _BATCH)]
    while waiting:
        connection.execute("BEGIN IMMEDIATE")
        tx = SqliteTx(connection, time.time_ns() // 1_000_000)
        done = 0
        while waiting and done < _BATCH:
            name, size = waiting.pop()
            queues.send_batch(tx, name, [message] * size)
            done += size
        connection.execute("COMMIT")
    connection.close()


def _data(target: Target) -> Path:
    """The server's data folder, as it was told on its command line."""
    words = Path(f"/proc/{target.pid}/cmdline").read_bytes().split(b"\0")
    return Path(words[words.index(b"--data") + 1].decode())
