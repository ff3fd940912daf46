"""The table service: tables, items, indexes, change streams."""

from sluiceway.services.tables.items import Change, Check
from sluiceway.services.tables.reading import Page, Reading
from sluiceway.services.tables.service import Tables
from sluiceway.services.tables.ttl import TtlSweeper
from sluiceway.services.tables.values import Index, KeySchema, Table, log_of

__all__ = ["Change", "Check", "Index", "KeySchema", "Page", "Reading", "Table", "Tables", "TtlSweeper", "log_of"]
