"""Functions, and what events come to them from."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sluiceway.config.section import KiB, MiB, Section


class FunctionSettings(Section):
    """Functions. Limits without another reason are Lambda's own (Developer Guide, "Quotas")."""

    functions_max: int = Field(1000, description="Functions of the account.")
    payload_bytes_max: int = Field(6 * MiB, description="Bytes of a synchronous invocation's event and answer.")
    async_bytes_max: int = Field(MiB, description="Bytes of an asynchronous invocation's event.")
    timeout_s_max: int = Field(900, description="Seconds that one invocation may take.")
    memory_mb_min: int = Field(128, description="MiB of the smallest function.")
    memory_mb_max: int = Field(10_240, description="MiB of the largest function.")
    environment_bytes_max: int = Field(4096, description="Bytes of a function's environment variables.")
    archive_bytes_max: int = Field(250 * MiB, description="Bytes of a function's code once unpacked.")
    archive_files_max: int = Field(50_000, description="Files of a function's code, against an archive of millions.")
    policy_bytes_max: int = Field(20 * KiB, description="Bytes of a function's resource policy.")
    tags_max: int = Field(50, description="Tags of a function.")
    page_max: int = Field(50, description="Functions on one page of a list.")
    sandbox: Literal["auto", "required", "off"] = Field(
        "auto",
        description="Whether workers are kept from all files but their own, the server's keys above all (Linux: "
        "Landlock and a /tmp of their own): as far as the system can, only if it can, or not.",
    )
    workers_max: int = Field(32, description="Worker processes at the same time; each takes 30 to 200 MiB.")
    waiting_max: int = Field(256, description="Invocations that wait for a free worker; more are throttled.")
    waiting_s: float = Field(10.0, description="Seconds that an invocation waits for a worker before 429.")
    init_s: float = Field(30.0, description="Seconds for a worker to load its handler; AWS gives 10 on a quiet host.")
    idle_s: float = Field(300.0, description="Seconds that an idle worker is kept warm.")
    age_s: float = Field(6 * 3600.0, description="Seconds until a worker is replaced; its credentials live 12 hours.")
    files_max: int = Field(1024, description="Open files of a worker's processes.")
    temporary_bytes_max: int = Field(512 * MiB, description="Bytes of one file that a worker writes (AWS: /tmp).")
    memory_check_s: float = Field(0.25, description="Seconds between looks at the memory of busy workers.")
    log_line_bytes_max: int = Field(256 * KiB, description="Bytes of one log line; the rest of it is cut.")
    log_delay_s: float = Field(0.2, description="Seconds that log lines are gathered before they are committed.")
    log_waiting_bytes_max: int = Field(
        MiB, description="Bytes of log lines of a worker not committed yet; a louder worker is slowed down."
    )
    log_kept_s: int = Field(7 * 24 * 3600, description="Seconds that log lines are kept.")


class MappingSettings(Section):
    """Event source mappings. Limits without another reason are Lambda's own (API reference and quotas)."""

    mappings_max: int = Field(1000, description="Mappings of the account.")
    payload_bytes_max: int = Field(6 * MiB, description="Bytes of one synchronous invocation's event.")
    batch_max: int = Field(10_000, description="Records of one batch of a stream or standard queue.")
    held_max: int = Field(
        256, description="Records of a batch delivered at once, whatever BatchSize says; of 1 MiB they take 350 MiB."
    )
    fifo_batch_max: int = Field(10, description="Messages of one batch of a FIFO queue.")
    window_s_max: int = Field(300, description="Seconds that a batch may wait to fill.")
    filters_max: int = Field(10, description="Filter patterns of one mapping.")
    pattern_chars_max: int = Field(4096, description="Characters of one filter pattern.")
    concurrency: int = Field(5, description="Batches of a queue under way at once; Lambda begins with five pollers.")
    concurrency_max: int = Field(1000, description="The largest MaximumConcurrency of a queue.")
    in_flight_max: int = Field(
        200, description="Batches of all queues under way at once; with events of 6 MiB they take 1.2 GiB."
    )
    receive_max: int = Field(10, description="Messages taken from a queue in one transaction, as ReceiveMessage does.")
    retry_ms_min: int = Field(1000, description="Milliseconds before a failed stream batch is tried again; doubles.")
    retry_ms_max: int = Field(60_000, description="The longest of those waits.")
    recover_s: float = Field(1.0, description="Seconds a poller rests after the server itself failed it.")
    idle_s: float = Field(20.0, description="Seconds until a queue is looked at again, should a wake-up be lost.")
