"""The store."""

from __future__ import annotations

from pydantic import Field

from sluiceway.config.section import KiB, MiB, Section


class StoreSettings(Section):
    """The embedded SQLite store."""

    page_bytes: int = Field(
        8 * KiB,
        description="Page size of a new database. Records of 1 KB are appended half as fast with 4 KiB and no faster with "
        "16 KiB, which costs rows that are overwritten twice the log.",
    )
    group_max: int = Field(512, description="Transaction functions in one commit; more only adds latency.")
    queue_max: int = Field(8192, description="Functions waiting for the writer; past it callers are throttled.")
    function_short_ms: float = Field(
        5.0,
        description="A transaction function that takes longer runs beside the event loop from then on; 0: all of them do.",
    )
    group_short_ms: float = Field(
        20.0,
        description="How long the functions of one commit hold the event loop; what is left then waits for the next.",
    )
    function_warn_ms: float = Field(50.0, description="A transaction function slower than this is logged by name.")
    function_limit_ms: float = Field(5000.0, description="A transaction function slower than this is interrupted.")
    rows_known_bytes_max: int = Field(
        8 * MiB,
        description="Memory for rows that are read often (buckets, queues, topics, small objects), past which it is emptied.",
    )
    cache_bytes: int = Field(32 * MiB, description="Page cache of the writer's connection.")
    checkpoint_pages: int = Field(4000, description="WAL pages after which a checkpoint runs (about 32 MiB).")
    reserve_bytes: int = Field(
        256 * MiB, description="Bytes of the disk kept free for deletions and checkpoints: what adds data is throttled."
    )
    check_bytes_max: int = Field(
        64 * MiB,
        description="A database up to this size is checked whole at start (0.2 s); a larger one as it is read.",
    )
