"""Data streams: shards of records in order."""

from sluiceway.services.streams.service import Streams
from sluiceway.services.streams.values import Batch, Put, Record, Shard, Stream, offset_of, sequence_of

__all__ = ["Batch", "Put", "Record", "Shard", "Stream", "Streams", "offset_of", "sequence_of"]
