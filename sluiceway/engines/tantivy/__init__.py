"""The index engine: one Tantivy index for each of ours (see ``core.search.index``)."""

from sluiceway.engines.tantivy.engine import TantivyIndexes

__all__ = ["TantivyIndexes"]
