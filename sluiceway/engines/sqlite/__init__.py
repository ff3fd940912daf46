"""The embedded engine of the store port: SQLite in WAL mode, one writer, group commit."""

from sluiceway.engines.sqlite.store import SqliteStore, open_store
from sluiceway.engines.sqlite.writer import StoreStats

__all__ = ["SqliteStore", "StoreStats", "open_store"]
