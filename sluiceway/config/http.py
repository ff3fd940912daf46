"""The HTTP listener."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from sluiceway.config.section import KiB, MiB, Section


class HttpSettings(Section):
    """The HTTP listener."""

    host: str = Field("127.0.0.1", description="Address to listen on; other machines reach 0.0.0.0 only.")
    port: int = Field(4566, description="TCP port; 0 lets the system choose a free one.")
    tls_certificate: Path | None = Field(None, description="PEM file; with tls_key it turns TLS on.")
    tls_key: Path | None = Field(None, description="PEM file of the certificate's private key.")
    header_bytes_max: int = Field(
        64 * KiB, description="Bytes of all request headers together; SDKs with session tokens stay under 16 KiB."
    )
    header_s: float = Field(20.0, description="Seconds for a request's headers to arrive (against slow-loris).")
    query_bytes_max: int = Field(32 * KiB, description="Bytes of a query string; presigned URLs stay under 8 KiB.")
    body_bytes_max: int = Field(
        16 * MiB + 64 * KiB,
        description="Bytes of a body that is parsed whole (DynamoDB's BatchWriteItem is 16 MB); objects stream.",
    )
    unsigned_body_bytes_max: int = Field(
        8 * MiB,
        description="The same for who doesn't say who they are: messages to open queues (1 MiB, six times that escaped).",
    )
    bodies_bytes_max: int = Field(
        256 * MiB, description="Bytes of all bodies held whole at the same time; more are told to come again."
    )
    body_s: float = Field(300.0, description="Seconds for a body that is held whole to arrive (16 MiB at 0.5 Mbit/s).")
    body_idle_s: float = Field(60.0, description="Seconds without a byte of an announced body before giving up.")
    stall_s: float = Field(
        300.0, description="Seconds without a reader taking 48 KiB of an answer before giving up on it (160 B/s)."
    )
    connections_max: int = Field(2000, description="Open connections and running requests at the same time.")
    keep_alive_s: float = Field(75.0, description="Seconds an idle connection is kept, above common proxies' 60.")
    stop_grace_s: float = Field(10.0, description="Seconds that requests in flight get to finish at a stop.")
