"""How many rows a table holds, where there is a limit to keep and too many rows to walk for each one more.

A count is a row of ``row_counts`` that changes in the transaction that adds or removes what it counts. A data folder of
a release that kept none, or in which nothing was added yet, has no such row: the first addition counts the rows once.
"""

from __future__ import annotations

from typing import Final

from sluiceway.core.store import Key, Tx

_COUNTS: Final = "row_counts"  # (table)


def one_more(tx: Tx, table: str, most: int) -> bool:
    """Count a row that is about to be added to ``table``; False, and nothing counted, if it has ``most`` already."""
    known = tx.get(_COUNTS, (table,))
    rows = int(known) if known is not None else sum(1 for _ in tx.scan(table))
    if rows >= most:
        return False
    tx.put(_COUNTS, (table,), rows + 1)
    return True


def delete(tx: Tx, table: str, key: Key) -> None:
    """Remove a row of a table whose rows are counted; nothing happens if it is not there."""
    if tx.get(table, key) is None:
        return
    tx.delete(table, key)
    known = tx.get(_COUNTS, (table,))
    if known is not None:
        tx.put(_COUNTS, (table,), int(known) - 1)
