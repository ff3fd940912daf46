"""Queues, topics, and the delivery of what happens to who should hear of it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr

from sluiceway.config.section import KiB, Section


class ReactionSettings(Section):
    """Delivery to what follows a commit."""

    read_max: int = Field(64, description="Events a reaction reads from its log at a time; 64 of 256 KiB are 16 MiB.")
    window_max: int = Field(
        1000, description="Events past the cursor that may be delivered out of order before it waits for the oldest."
    )
    in_store_batch: int = Field(
        256, description="Deliveries into the store in one transaction (10 to 30 ms), so that others get their turn."
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


class QueueSettings(Section):
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


class TopicSettings(Section):
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


class DeliverySettings(Section):
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
