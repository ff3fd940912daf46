"""PORT: transactions over ordered tables and logs. Everything durable goes through here.

A *table* is an ordered map from a key (a tuple of parts, compared part by part; see ``core.keys``) to a
value. A *log* is an append-only sequence of entries with gap-free offsets in commit order. Names: a table
is named after what it holds ("objects"); a log is named ``kind/identity`` ("bucket/photos"), and an engine
keeps all logs of a kind together.

A value is ``bytes`` (kept as they are) or JSON (``dict``, ``list``, ``str``, ``int``, ``float``, ``bool``;
kept as JSON text, so that an operator can read the database). Integers beyond 64 bits must be strings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

Part = str | int | bytes
Key = tuple[Part, ...]
Value = Any  # bytes, or what JSON can say


@dataclass(frozen=True, slots=True)
class Entry:
    """One event in a log. ``time_ms`` never decreases along a log."""

    offset: int
    time_ms: int
    value: Value


@dataclass(frozen=True, slots=True)
class Bounds:
    """The offsets that a log holds: ``first`` (the oldest kept) up to, without, ``next``."""

    first: int
    next: int


class View(Protocol):
    """A consistent, read-only snapshot."""

    @property
    def now_ms(self) -> int:
        """Wall-clock time of the snapshot or transaction, milliseconds since 1970."""

    def get(self, table: str, key: Key) -> Value | None:
        """The value under ``key``, or None."""

    def get_as(self, table: str, key: Key, make: Callable[[Key, Value], T]) -> T | None:
        """``make(key, value)`` of the value under ``key``, or None: for what is read far more often than it changes.

        An engine may keep what was made for others who ask with the same ``make``, which therefore depends on nothing
        else; and nobody changes what it made.
        """

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
        """Rows in key order, lazily: whole leading parts equal ``prefix``, ``start`` <= key < ``end``.

        ``start`` and ``end`` are whole keys (they include the prefix's parts). ``reverse`` gives the
        same rows from the last to the first.
        """

    def read(self, log: str, offset: int, limit: int) -> list[Entry]:
        """Up to ``limit`` entries from ``offset`` (or the first kept, if that is later)."""

    def bounds(self, log: str) -> Bounds:
        """What the log holds; ``Bounds(0, 0)`` for a log that was never appended to."""


class Tx(View, Protocol):
    """A read-write transaction. It sees its own writes."""

    def put(self, table: str, key: Key, value: Value) -> None:
        """Set the value under ``key``."""

    def delete(self, table: str, key: Key) -> None:
        """Remove ``key``; nothing happens if it is not there."""

    def append(self, log: str, value: Value) -> int:
        """Append an entry and return its offset. Wakes what waits for the name ``log``."""

    def trim(self, log: str, before: int) -> None:
        """Forget the entries with an offset below ``before``; offsets are never used again."""

    def on_commit(self, name: str) -> None:
        """After the transaction is durable, wake what waits for ``name`` (see ``core.wakeups``)."""


class Store(Protocol):
    """Transactions. Raises ``errors.Unavailable`` when durability can't be promised."""

    async def commit(self, fn: Callable[Concatenate[Tx, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``fn(tx, *args)`` in a transaction; return its result when it is durable.

        ``fn`` is synchronous, free of I/O but ``tx``, and short: an engine may run it on the event loop, or on another
        thread, and again from the beginning if another function spoilt its group or it held up the event loop, so it
        leaves its arguments as they are. One without a name (a ``partial``) is not run on the event loop: so a caller
        says that it takes long. If it raises, nothing of it is kept and the exception reaches the caller; other
        functions in the same group are untouched.
        """

    async def view(self, fn: Callable[Concatenate[View, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``fn(view, *args)`` on a snapshot that holds every commit answered so far."""

    def problem(self) -> str | None:
        """Why writing is refused now, in words for an operator; None when all is well."""

    async def close(self) -> None:
        """Finish what was accepted, checkpoint, and let go of the files."""
