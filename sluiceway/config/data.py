"""Tables, streams and search."""

from __future__ import annotations

from pydantic import Field

from sluiceway.config.section import MiB, Section


class TableSettings(Section):
    """Tables. Limits without another reason are DynamoDB's own (Developer Guide, "Quotas")."""

    tables_max: int = Field(2500, description="Tables of the account.")
    indexes_max: int = Field(20, description="Global indexes of a table; local ones are five.")
    counted_max: int = Field(10_000, description="Items that DescribeTable counts; ItemCount is no more than that.")
    backfill_max: int = Field(20_000, description="Items of a table that gets a new index, in one transaction.")
    stream_kept_h: int = Field(24, description="Hours that changes are kept in a table's stream.")
    trim_every: int = Field(64, description="Changes between looks for outdated ones.")
    sweep_max: int = Field(500, description="Rows removed or looked at in one transaction, to keep it short.")
    ttl_sweep_s: float = Field(30.0, description="Seconds between looks for expired items; AWS allows days.")
    batch_write_max: int = Field(25, description="Requests of one BatchWriteItem.")
    batch_get_max: int = Field(100, description="Keys of one BatchGetItem.")
    batch_bytes_max: int = Field(16 * MiB, description="Bytes that BatchGetItem answers with.")
    transaction_max: int = Field(100, description="Actions of one transaction.")
    transaction_bytes_max: int = Field(4 * MiB, description="Bytes of the items of one transaction.")
    tags_max: int = Field(50, description="Tags of a table.")
    stream_read_max: int = Field(1000, description="Records of one GetRecords of a table's stream.")
    stream_bytes_max: int = Field(MiB, description="Bytes of records in one GetRecords of a table's stream.")
    iterator_s: int = Field(900, description="Seconds that a shard iterator of a table's stream is good for.")
    expressions_cached: int = Field(1024, description="Parsed expressions kept; each is a few KiB.")


class StreamSettings(Section):
    """Data streams. Limits without another reason are Kinesis's own (Amazon Kinesis Data Streams, "Quotas")."""

    streams_max: int = Field(1000, description="Streams of the account.")
    shards_max: int = Field(500, description="Shards of the account; AWS's quota in the larger regions.")
    on_demand_shards: int = Field(4, description="Shards of a new on-demand stream, as AWS begins with.")
    record_bytes_max: int = Field(MiB, description="Bytes of a record's data and partition key together.")
    batch_max: int = Field(500, description="Records of one PutRecords.")
    batch_bytes_max: int = Field(5 * MiB, description="Bytes of one PutRecords, partition keys included.")
    read_max: int = Field(10_000, description="Records of one GetRecords.")
    read_bytes_max: int = Field(10 * MiB, description="Bytes of data that one GetRecords answers with.")
    read_portion: int = Field(64, description="Records read from the store at a time; 64 of 1 MiB are 64 MiB.")
    iterator_s: int = Field(300, description="Seconds that a shard iterator is good for.")
    retention_h: int = Field(24, description="Hours that a new stream keeps its records; also the least.")
    retention_h_max: int = Field(8760, description="Hours that a stream may keep its records (a year).")
    trim_max: int = Field(1000, description="Records of a shard forgotten in one transaction, to keep it short.")
    sweep_s: float = Field(60.0, description="Seconds between looks for records of removed and aged streams.")
    trim_every: int = Field(64, description="Records put between looks for expired ones; they are hidden anyway.")
    page_max: int = Field(1000, description="Shards on one page of a list.")
    tags_max: int = Field(50, description="Tags of a stream.")


class SearchSettings(Section):
    """Search. Limits without another reason are Elasticsearch's defaults."""

    indices_max: int = Field(1000, description="Indices; each keeps a few files open.")
    fields_max: int = Field(1000, description="Fields of an index's mapping.")
    depth_max: int = Field(20, description="Objects inside each other, in a mapping, a document or a query.")
    window_max: int = Field(10_000, description="from + size of a search.")
    clauses_max: int = Field(1024, description="Clauses of a query.")
    terms_max: int = Field(65_536, description="Values of a terms query.")
    sort_docs_max: int = Field(100_000, description="Matches sorted by fields (about 5 us each); more are refused.")
    buckets_max: int = Field(65_535, description="Buckets of an aggregation.")
    highlight_chars_max: int = Field(1_000_000, description="Characters of a field that are looked through for marks.")
    body_bytes_max: int = Field(
        10 * MiB, description="Bytes of a document or a query; Amazon's smaller domains' limit."
    )
    bulk_bytes_max: int = Field(32 * MiB, description="Bytes of a _bulk body, which is held in memory.")
    bulk_commit: int = Field(200, description="Changes of a _bulk in one transaction, so that others get their turn.")
    refresh_s: float = Field(0.2, description="Seconds in which changes are gathered before they are searchable.")
    refresh_wait_s: float = Field(30.0, description="Seconds that refresh=wait_for waits at most.")
    feed_entries: int = Field(500, description="Changes fed to an index at a time (about 10 ms of the event loop).")
    feed_bytes: int = Field(8 * MiB, description="Bytes of documents fed to an index at a time.")
    writers_max: int = Field(4, description="Indices kept open for writing; each takes writer_bytes of memory.")
    writer_bytes: int = Field(15_000_000, description="Memory of an index's writer; the engine wants 15 MB at least.")
    readers_max: int = Field(200, description="Indices kept open for searching.")
    threads: int = Field(2, description="Searches that run at the same time.")
    searches_waiting_max: int = Field(
        200, description="Searches that wait for their turn; more are told to come again."
    )
    domains_max: int = Field(100, description="Domains of the account; Amazon's own quota.")
