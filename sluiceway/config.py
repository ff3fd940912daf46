"""The only reader of environment and files. Every limit stands here with its unit and its reason.

Settings come from the environment (``SLUICEWAY_`` and the name in capitals; sections are joined by two
underscores: ``SLUICEWAY_HTTP__PORT=4566``) and from ``sluiceway.toml`` in the data folder, in this order.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, get_origin

from pydantic import BaseModel, ConfigDict, Field, SecretStr

KiB = 1024
MiB = 1024 * KiB
GiB = 1024 * MiB


class _Section(BaseModel):
    """Checked as a part of ``Settings``: made ready by itself only where it is used alone, as that takes time."""

    model_config = ConfigDict(defer_build=True)


class HttpSettings(_Section):
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


class StoreSettings(_Section):
    """The embedded SQLite store."""

    page_bytes: int = Field(16 * KiB, description="Page size; 16 KiB measured twice the throughput of 4 KiB.")
    group_max: int = Field(512, description="Transaction functions in one commit; more only adds latency.")
    queue_max: int = Field(8192, description="Functions waiting for the writer; past it callers are throttled.")
    function_warn_ms: float = Field(50.0, description="A transaction function slower than this is logged by name.")
    function_limit_ms: float = Field(5000.0, description="A transaction function slower than this is interrupted.")
    rows_known_bytes_max: int = Field(
        8 * MiB,
        description="Memory for rows that are read often (buckets, queues, topics, small objects), past which it is emptied.",
    )
    cache_bytes: int = Field(32 * MiB, description="Page cache of the writer's connection.")
    checkpoint_pages: int = Field(2000, description="WAL pages after which a checkpoint runs (about 32 MiB).")
    reserve_bytes: int = Field(
        256 * MiB, description="Bytes of the disk kept free for deletions and checkpoints: what adds data is throttled."
    )
    check_bytes_max: int = Field(
        64 * MiB,
        description="A database up to this size is checked whole at start (0.2 s); a larger one as it is read.",
    )


class ObjectSettings(_Section):
    """The object service. Limits without another reason are S3's own (S3 User Guide, "Quotas")."""

    inline_bytes_max: int = Field(
        64 * KiB, description="Bodies up to this many bytes live in the store and share its group commit."
    )
    put_bytes_max: int = Field(5 * GiB, description="Bytes of a single PUT or part; larger objects are multipart.")
    object_bytes_max: int = Field(5 * 1024 * GiB, description="Bytes of an object made of parts.")
    part_bytes_min: int = Field(5 * MiB, description="Bytes of every part but the last.")
    parts_max: int = Field(10_000, description="Parts of one multipart upload.")
    key_bytes_max: int = Field(1024, description="UTF-8 bytes of an object's key.")
    metadata_bytes_max: int = Field(2 * KiB, description="Bytes of user metadata, names and values together.")
    buckets_max: int = Field(10_000, description="Buckets of the account.")
    page_max: int = Field(1000, description="Entries of one page of a listing, and keys of one batch delete.")
    policy_bytes_max: int = Field(20 * KiB, description="Bytes of a bucket policy.")
    ownership: Literal["BucketOwnerEnforced", "BucketOwnerPreferred", "ObjectWriter"] = Field(
        "BucketOwnerEnforced",
        description="Object ownership of new buckets that ask for none; the first turns access control lists off, "
        "as AWS does since April 2023.",
    )
    public_access_blocked: bool = Field(True, description="Whether new buckets block all public access, as on AWS.")
    cors_rules_max: int = Field(100, description="CORS rules of a bucket.")
    notification_rules_max: int = Field(100, description="Notification rules of a bucket.")
    object_tags_max: int = Field(10, description="Tags of an object.")
    bucket_tags_max: int = Field(50, description="Tags of a bucket.")
    document_bytes_max: int = Field(
        2 * MiB, description="Bytes of an XML body; a batch delete of 1,000 long keys stays below it."
    )
    form_bytes_max: int = Field(20 * KiB, description="Bytes of a POST form's fields and boundaries, without the file.")
    form_s: float = Field(60.0, description="Seconds for a POST form's fields to arrive; 20 KiB take 3 s at 64 kbit/s.")
    lifecycle_rules_max: int = Field(1000, description="Lifecycle rules of a bucket.")
    lifecycle_rows_max: int = Field(
        250, description="Objects or versions that a lifecycle run looks at in one go (about 4 ms)."
    )
    lifecycle_batch: int = Field(
        200, description="Objects or parts that a lifecycle run deletes or moves in one transaction (about 20 ms)."
    )
    lifecycle_s: float = Field(
        3600.0,
        description="Seconds between looks for lifecycle work, should the clock be set; else midnight UTC wakes.",
    )
    restore_s: float = Field(1.0, description="Seconds that restoring an archived object takes; no tape is waited for.")
    sweep_batch: int = Field(100, description="Deleted blobs taken from disk in one go; more only delays a stop.")


class ReactionSettings(_Section):
    """Delivery to what follows a commit."""

    read_max: int = Field(64, description="Events a reaction reads from its log at a time; 64 of 256 KiB are 16 MiB.")
    window_max: int = Field(
        1000, description="Events past the cursor that may be delivered out of order before it waits for the oldest."
    )
    in_store_batch: int = Field(
        256, description="Deliveries into the store in one transaction (about 10 ms), so that others get their turn."
    )
    active_max: int = Field(5000, description="Reactions that deliver outward at the same time; more wait their turn.")
    in_store_groups: int = Field(4, description="Such transactions in one commit: 1,000 queues are one disk write.")
    unsettled_max: int = Field(1_000_000, description="Events that wait in a topic before publishers are throttled.")
    status_max: int = Field(1000, description="Reactions on one page of the status.")
    metrics_max: int = Field(200, description="Reactions with metrics of their own; the others are in the sums only.")
    parked_max: int = Field(10_000, description="Events of a reaction waiting for a next try; past it all others wait.")
    redrive_max: int = Field(1000, description="Dead letters redriven or discarded in one transaction.")
    trim_max: int = Field(10_000, description="Events trimmed from a log in one transaction.")
    retention_s: int = Field(
        7 * 24 * 3600, description="Seconds that settled events of topics and functions are kept, for replays."
    )
    sweep_s: float = Field(
        60.0, description="Seconds between looks at all reactions and logs, should a wake-up be lost."
    )
    recover_s: float = Field(1.0, description="Seconds before a reaction is tried again that the server itself failed.")


class QueueSettings(_Section):
    """Queues. Limits without another reason are SQS's own (SQS Developer Guide, "Quotas")."""

    queues_max: int = Field(10_000, description="Queues of the account.")
    message_bytes_max: int = Field(1024 * KiB, description="Bytes of a message and of a batch.")
    batch_max: int = Field(10, description="Messages of one batch.")
    receive_max: int = Field(10, description="Messages taken at a time.")
    wait_s_max: int = Field(20, description="Seconds of long polling.")
    visibility_s: int = Field(30, description="Seconds that a received message is hidden, if the queue doesn't say.")
    visibility_s_max: int = Field(43_200, description="Seconds that a received message can be hidden.")
    delay_s_max: int = Field(900, description="Seconds that a message can be delayed.")
    retention_s: int = Field(345_600, description="Seconds that a message is kept, if the queue doesn't say.")
    in_flight_max: int = Field(120_000, description="Messages of a queue that are received and not deleted.")
    forget_max: int = Field(16, description="Outdated rows cleaned up with one send or receive.")
    due_max: int = Field(
        100, description="Messages made visible, expired or dead-lettered with one receive (about 3 ms)."
    )
    count_max: int = Field(1000, description="Messages counted whose time is over but that are not visible yet (1 ms).")
    sweep_s: float = Field(30.0, description="Seconds between looks for messages that are too old.")
    sweep_max: int = Field(500, description="Messages removed in one transaction in the background (about 10 ms).")
    move_per_s: int = Field(500, description="Messages per second of a move task that doesn't say; SQS's own most.")


class StackSettings(_Section):
    """Stacks made from templates."""

    stacks_max: int = Field(200, description="Stacks at the same time; AWS allows 2,000.")
    template_bytes_max: int = Field(1_000_000, description="Bytes of a template; CloudFormation's own limit.")
    body_bytes_max: int = Field(51_200, description="Bytes of a template within a request; CloudFormation's own limit.")
    resources_max: int = Field(500, description="Resources of a template; CloudFormation's own limit.")
    concurrency: int = Field(4, description="Stacks being changed at the same time; each works on one resource.")
    resource_s: float = Field(120.0, description="Seconds for one resource to be made, changed or deleted.")
    events_max: int = Field(1000, description="Events of a stack in one answer, the newest first.")
    events_kept: int = Field(20_000, description="Events of a stack that are kept; 500 resources make 1,000 a change.")
    deleted_kept_s: int = Field(90 * 24 * 3600, description="Seconds that a deleted stack can be described.")


class SecuritySettings(_Section):
    """Signatures, keys, users and roles. Limits without another reason are IAM's own quotas."""

    skew_s: int = Field(900, description="Seconds that a request's date may differ from ours; AWS's own limit.")
    presigned_s_max: int = Field(604_800, description="Seconds that a presigned URL may be valid; SigV4's own limit.")
    signing_keys_max: int = Field(1024, description="Derived signing keys kept; one per key, day and service.")
    sessions_cached_max: int = Field(4096, description="Opened session tokens kept; one per function worker.")
    session_s_min: int = Field(900, description="Seconds of the shortest session of a role.")
    session_s_max: int = Field(43_200, description="Seconds of the longest session of a role.")
    users_max: int = Field(5000, description="Users of the account.")
    roles_max: int = Field(1000, description="Roles of the account.")
    policies_max: int = Field(1500, description="Managed policies of the account's own.")
    attached_max: int = Field(20, description="Managed policies attached to one user or role.")
    user_keys_max: int = Field(2, description="Access keys of one user.")
    user_policy_bytes_max: int = Field(2048, description="Characters of a user's inline policies together.")
    role_policy_bytes_max: int = Field(10_240, description="Characters of a role's inline policies together.")
    policy_bytes_max: int = Field(6144, description="Characters of a managed policy, white space not counted.")
    trust_bytes_max: int = Field(4096, description="Characters of a role's trust policy.")
    tags_max: int = Field(50, description="Tags of a user or role.")
    page_max: int = Field(1000, description="Entries of one page of a listing.")


class TopicSettings(_Section):
    """Topics. Limits without another reason are SNS's own (Amazon SNS endpoints and quotas)."""

    message_bytes_max: int = Field(256 * KiB, description="Bytes of a message with its attributes, or of a batch.")
    batch_max: int = Field(10, description="Messages of one PublishBatch.")
    topics_max: int = Field(100_000, description="Topics of the account.")
    subscriptions_max: int = Field(20_000, description="Subscriptions of a topic; deleted in one transaction (1 s).")
    filter_bytes_max: int = Field(256 * KiB, description="Bytes of a filter policy.")
    policy_bytes_max: int = Field(30 * KiB, description="Bytes of a topic's policy.")
    tags_max: int = Field(50, description="Tags of a topic.")
    subject_chars_max: int = Field(100, description="Characters of a message's subject.")
    page_max: int = Field(100, description="Topics or subscriptions on one page of a list.")
    deduplication_s: int = Field(300, description="Seconds that a FIFO topic remembers a deduplication id.")
    token_s: int = Field(2 * 24 * 3600, description="Seconds that a subscription waits to be confirmed, or restored.")
    sweep_s: float = Field(3600.0, description="Seconds between looks for what is over and can be removed.")
    sweep_max: int = Field(500, description="Rows removed or looked at in one transaction, to keep it short.")
    sms_bytes_max: int = Field(1600, description="Characters of a text message to a phone.")


class DeliverySettings(_Section):
    """Delivery to endpoints outside: webhooks, mail and text messages."""

    http_s: float = Field(15.0, description="Seconds for an endpoint to answer; SNS's own limit.")
    answer_bytes_max: int = Field(16 * KiB, description="Bytes of an endpoint's answer that are read.")
    connections_max: int = Field(1000, description="Open connections to endpoints; more deliveries wait.")
    connections_per_host_max: int = Field(
        20, description="Open connections to one endpoint's host, so that one that hangs can't take them all."
    )
    lookups_max: int = Field(32, description="Threads that look up endpoints' hosts; one that hangs takes 10 s.")
    allow_private_targets: bool = Field(
        False,
        description="Whether webhooks may reach private, loopback and link-local addresses; off, so that a "
        "subscription can't be used to reach what only this server can reach. `SLUICEWAY_ALLOW_PRIVATE_TARGETS=1` "
        "says the same.",
    )
    certificates: Path | None = Field(None, description="PEM file of further authorities for HTTPS and mail servers.")
    smtp_host: str = Field("", description="Mail server; without it, mail is kept in the outbox.")
    smtp_port: int = Field(587, description="Port of the mail server.")
    smtp_user: str = Field("", description="User at the mail server; empty for none.")
    smtp_password: SecretStr = Field(SecretStr(""), description="Password at the mail server.")
    smtp_tls: Literal["starttls", "tls", "none"] = Field(
        "starttls", description="How the connection to the mail server is encrypted."
    )
    smtp_s: float = Field(30.0, description="Seconds for a mail to be accepted by the mail server.")
    mail_from: str = Field("no-reply@sluiceway.localhost", description="Sender address of mail.")
    twilio_account_sid: str = Field("", description="Twilio account; without it, text messages go to the outbox.")
    twilio_auth_token: SecretStr = Field(SecretStr(""), description="Twilio auth token.")
    twilio_from: str = Field("", description="Sender number (E.164) or messaging service id (MG...) at Twilio.")
    twilio_url: str = Field("https://api.twilio.com", description="Base address of Twilio's REST API.")
    sms_url: str = Field("", description="Address of an HTTP gateway for text messages, used without Twilio account.")
    sms_body: str = Field(
        '{"to": "{to}", "from": "{from}", "text": "{text}", "id": "{id}", "type": "{type}"}',
        description="JSON that is posted to the gateway; names in braces within its texts are filled in.",
    )
    sms_authorization: SecretStr = Field(SecretStr(""), description="Header Authorization for it (`Bearer ...`).")
    sms_from: str = Field("", description="Sender number or name at the gateway, if a message names none.")
    sms_price_usd: float = Field(0.00645, description="USD that a text message counts against the month's limit.")
    sms_spend_usd: int = Field(1, description="USD for text messages a month, unless set by SetSMSAttributes; AWS's.")
    outbox_max: int = Field(10_000, description="Mails and text messages kept in the outbox; older ones are dropped.")


class SecretSettings(_Section):
    """Secrets, parameters and encryption keys. Limits without another reason are the AWS services' own quotas."""

    secret_bytes_max: int = Field(65_536, description="Bytes of a secret's value.")
    secrets_max: int = Field(10_000, description="Secrets of the account; AWS allows 500,000.")
    versions_max: int = Field(100, description="Versions kept of a secret or parameter; the oldest goes first.")
    parameter_bytes_max: int = Field(4096, description="Bytes of a standard parameter's value.")
    advanced_bytes_max: int = Field(8192, description="Bytes of an advanced parameter's value.")
    parameters_max: int = Field(10_000, description="Parameters of the account.")
    keys_max: int = Field(1000, description="Encryption keys of the account; AWS allows 100,000.")
    plaintext_bytes_max: int = Field(4096, description="Bytes that a key encrypts directly.")
    policy_bytes_max: int = Field(20_480, description="Characters of a secret's resource policy.")
    key_policy_bytes_max: int = Field(32_768, description="Bytes of a key's policy.")
    tags_max: int = Field(50, description="Tags of a secret, parameter or key.")


class StreamSettings(_Section):
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


class MappingSettings(_Section):
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


class TableSettings(_Section):
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


class ApiSettings(_Section):
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


class SearchSettings(_Section):
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


class FunctionSettings(_Section):
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


class Settings(BaseModel):
    """Everything an operator can set."""

    model_config = ConfigDict(extra="forbid")

    data: Path = Field(Path("sluiceway-data"), description="The data folder; one server at a time holds it.")
    account: str = Field("000000000000", pattern=r"^\d{12}$", description="Account id in every ARN.")
    region: str = Field("us-east-1", pattern=r"^[a-z0-9-]{1,32}$", description="Region in every ARN and signature.")
    log_format: Literal["text", "json"] = Field("text", description="One readable line per event, or one JSON object.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least severe level logged.")
    http: HttpSettings = Field(default_factory=HttpSettings)
    store: StoreSettings = Field(default_factory=StoreSettings)
    security: SecuritySettings = Field(default_factory=SecuritySettings)
    secrets: SecretSettings = Field(default_factory=SecretSettings)
    objects: ObjectSettings = Field(default_factory=ObjectSettings)
    reactions: ReactionSettings = Field(default_factory=ReactionSettings)
    topics: TopicSettings = Field(default_factory=TopicSettings)
    delivery: DeliverySettings = Field(default_factory=DeliverySettings)
    queues: QueueSettings = Field(default_factory=QueueSettings)
    stacks: StackSettings = Field(default_factory=StackSettings)
    streams: StreamSettings = Field(default_factory=StreamSettings)
    mappings: MappingSettings = Field(default_factory=MappingSettings)
    tables: TableSettings = Field(default_factory=TableSettings)
    apis: ApiSettings = Field(default_factory=ApiSettings)
    search: SearchSettings = Field(default_factory=SearchSettings)
    functions: FunctionSettings = Field(default_factory=FunctionSettings)


_PREFIX: Final = "SLUICEWAY_"


def load_settings(given: dict[str, Any]) -> Settings:
    """``given`` (from the command line), then the environment, then ``sluiceway.toml`` in the data folder.

    Read here in a few lines: a library for it doubles the time until a command does anything. Raises
    ``pydantic.ValidationError``, ``BadVariable``, ``tomllib.TOMLDecodeError``.
    """
    data = Path(given.get("data") or os.environ.get(f"{_PREFIX}DATA") or Settings.model_fields["data"].default)
    file = data / "sluiceway.toml"
    wanted: dict[str, Any] = tomllib.loads(file.read_text()) if file.is_file() else {}
    _merge(wanted, _from_environment(os.environ))
    _merge(wanted, given)
    sections: dict[str, Any] = {
        name: {} for name, field in Settings.model_fields.items() if field.default_factory is not None
    }
    return Settings(**{**sections, **wanted})


class BadVariable(ValueError):
    """A variable of the environment that should be JSON and is not."""


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    """The variables that are settings; others with our prefix mean something to somebody else (tests, functions).

    A section may be given whole, as JSON; what is given by itself goes before.
    """
    found: dict[str, Any] = {}
    if private := environment.get(f"{_PREFIX}ALLOW_PRIVATE_TARGETS"):  # a short name; the setting's own goes before
        found["delivery"] = {"allow_private_targets": private}
    for variable in sorted(name for name in environment if name.upper().startswith(_PREFIX)):
        text = environment[variable]
        section, _, name = variable.upper().removeprefix(_PREFIX).lower().partition("__")
        field = Settings.model_fields.get(section)
        kind = field.annotation if field else None
        if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
            if field is not None:
                found[section] = text
        elif not name:
            found[section] = {**found.get(section, {}), **_json(variable, text, dict)}
        elif name in kind.model_fields:
            is_list = get_origin(kind.model_fields[name].annotation) is list
            found.setdefault(section, {})[name] = _json(variable, text, list) if is_list else text
    return found


def _json(variable: str, text: str, kind: type) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, kind):
        words = "a list" if kind is list else "an object"
        setting = variable.removeprefix(_PREFIX).lower().replace("__", ".")
        raise BadVariable(f"{variable} (setting {setting}) is not {words} in JSON")
    return value


def _merge(into: dict[str, Any], more: Mapping[str, Any]) -> None:
    for name, value in more.items():
        if isinstance(value, Mapping) and isinstance(into.get(name), dict):
            _merge(into[name], value)
        else:
            into[name] = dict(value) if isinstance(value, Mapping) else value


def cache_folder() -> Path:
    """Where this user's programs keep what can be made again (XDG Base Directory Specification)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sluiceway"


def runtime_folder() -> Path:
    """Where this user's running programs find each other, with the same source."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return Path(runtime) / "sluiceway" if runtime else cache_folder()


def program_path() -> str:
    """The folders in which commands are looked for, as one colon-separated text."""
    return os.environ.get("PATH", os.defpath)
