"""HTTP and WebSocket APIs, and the embedded issuer."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sluiceway.config.section import KiB, MiB, Section


class ApiSettings(Section):
    """HTTP and WebSocket APIs. Limits without another reason are API Gateway's own (Developer Guide, "Quotas")."""

    apis_max: int = Field(600, description="APIs of the account.")
    routes_max: int = Field(300, description="Routes of an API.")
    integrations_max: int = Field(300, description="Integrations of an API.")
    authorizers_max: int = Field(10, description="Authorizers of an API.")
    stages_max: int = Field(10, description="Stages of an API.")
    deployments_max: int = Field(100, description="Deployments kept of an API; the oldest unused one goes first.")
    scopes_max: int = Field(10, description="Authorization scopes of a route.")
    audiences_max: int = Field(50, description="Audiences of an authorizer.")
    tags_max: int = Field(50, description="Tags of an API or stage.")
    page_max: int = Field(100, description="Entries of one page of a listing.")
    document_bytes_max: int = Field(6 * MiB, description="Bytes of an imported OpenAPI document.")
    yaml_bytes_max: int = Field(
        256 * KiB, description="Bytes of one in YAML, which takes 20 us each to read; JSON is a thousand times faster."
    )
    body_bytes_max: int = Field(10 * MiB, description="Bytes of a request's body.")
    event_bytes_max: int = Field(6 * MiB, description="Bytes of an event as the function gets it; Lambda's own limit.")
    http_timeout_ms: int = Field(30_000, description="Milliseconds that an HTTP API waits for its function at most.")
    socket_timeout_ms: int = Field(29_000, description="Milliseconds that a WebSocket API waits for its function.")
    cached_max: int = Field(256, description="Stages whose routes are kept ready; an API's first request reads them.")
    keys_s: float = Field(7200.0, description="Seconds that an issuer's keys are kept, as API Gateway keeps them.")
    keys_retry_s: float = Field(10.0, description="Seconds before an issuer is asked again for a key it didn't have.")
    keys_fetch_s: float = Field(5.0, description="Seconds for an issuer to answer; 1.5 and a second try at AWS.")
    keys_bytes_max: int = Field(256 * KiB, description="Bytes of an issuer's metadata or key set.")
    issuers_max: int = Field(64, description="Issuers whose keys are kept at the same time.")
    token_bytes_max: int = Field(16 * KiB, description="Bytes of a JWT; larger ones don't fit in common header limits.")
    sockets_max: int = Field(1000, description="Open WebSockets of the server; each takes about 50 KiB.")
    message_bytes_max: int = Field(128 * KiB, description="Bytes of a WebSocket message, in either direction.")
    socket_idle_s: float = Field(600.0, description="Seconds without a message before a WebSocket is closed.")
    socket_s_max: float = Field(7200.0, description="Seconds that a WebSocket lives.")
    socket_concurrency: int = Field(
        1, description="Messages of one WebSocket under way at once; one keeps their order, which AWS doesn't."
    )
    socket_waiting_max: int = Field(256, description="Messages waiting for a slow client before it is closed.")
    socket_waiting_bytes_max: int = Field(4 * MiB, description="Bytes waiting for a slow client before it is closed.")
    socket_send_s: float = Field(30.0, description="Seconds for one message to be taken by the client's network.")
    sign_up: Literal["loopback", "on", "off"] = Field(
        "loopback",
        description="Who may create an account at the embedded issuer: clients of this machine, all, or nobody. "
        "Set it to off behind a proxy on this machine, which makes everybody's requests come from here.",
    )
    redirect_origins: list[str] = Field(
        [], description="Origins besides the server's own and localhost that the embedded issuer may send people to."
    )
    people_max: int = Field(10_000, description="Accounts at the embedded issuer.")
    password_chars_min: int = Field(8, description="Characters of a password at least (NIST SP 800-63B).")
    code_s: int = Field(60, description="Seconds that an authorization code is good for.")
    token_s: int = Field(3600, description="Seconds that the embedded issuer's tokens are good for.")
    session_s: int = Field(43_200, description="Seconds that a browser stays signed in at the embedded issuer.")
    sign_in_failures_max: int = Field(10, description="Failed sign-ins of one name or address before it must wait.")
    sign_in_window_s: float = Field(300.0, description="Seconds after which failed sign-ins are forgotten.")
    sign_in_names_max: int = Field(10_000, description="Names and addresses whose failed sign-ins are counted.")
    hashing_max: int = Field(2, description="Passwords hashed at the same time; each takes 32 MiB and 0.1 s of a CPU.")
