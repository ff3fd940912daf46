"""Indices and their documents: what search is derived from."""

from sluiceway.services.documents.service import Documents
from sluiceway.services.documents.values import Document, Index, Write, Written

__all__ = ["Document", "Documents", "Index", "Write", "Written"]
