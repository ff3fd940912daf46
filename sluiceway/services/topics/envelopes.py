"""What endpoints get: SNS's JSON documents, signed (Amazon SNS Developer Guide, "Parsing message formats",
"Verifying the signatures of Amazon SNS messages")."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from json.encoder import encode_basestring
from typing import Any, Final, Protocol
from urllib.parse import urlencode

#: The fields that are signed, in this order; Subject only where there is one.
_SIGNED_NOTIFICATION: Final = ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
_SIGNED_CONFIRMATION: Final = (
    "Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type",
)  # fmt: skip


class Signer(Protocol):
    """The server's RSA key."""

    @property
    def length(self) -> int:
        """Characters of a signature."""

    def sign(self, text: str, version: str) -> str:
        """Base64 of the RSA signature: with SHA-1 for version "1", with SHA-256 for "2"."""


@lru_cache(maxsize=256)  # all subscriptions of a topic write the same one
def timestamp(time_ms: int) -> str:
    """As SNS writes times: 2012-04-26T20:45:04.751Z."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def text_for(value: Mapping[str, Any], protocol: str) -> str:
    """The message as ``protocol``'s subscribers get it (its own text of a ``MessageStructure=json``)."""
    texts: Mapping[str, str] = value.get("structure") or {}
    return texts.get(protocol, str(value["message"]))


class Envelopes:
    """``own_url`` gives this server's address for links. ``options`` are those of a subscription's reaction:
    {"topic_arn", "subscription_arn", "protocol", "version"}."""

    def __init__(self, signer: Signer, own_url: Callable[[], str]) -> None:
        self._signer = signer
        self._own_url = own_url

    def notification(self, value: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
        """The document for a topic's message."""
        document = self._notification(value, options)
        self._sign(document, _SIGNED_NOTIFICATION, options.get("version", "1"))
        return {**document, **self._after(value, options)}

    def _notification(self, value: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
        """Up to the signature."""
        document: dict[str, Any] = {
            "Type": "Notification",
            "MessageId": value["id"],
            "TopicArn": options["topic_arn"],
        }
        if value.get("subject"):
            document["Subject"] = value["subject"]
        document["Message"] = text_for(value, options["protocol"])
        document["Timestamp"] = timestamp(value["time_ms"])
        if value.get("sequence"):
            document["SequenceNumber"] = value["sequence"]
        return document

    def _after(self, value: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
        """What follows the signature."""
        more = {"MessageAttributes": value["attributes"]} if value.get("attributes") else {}
        return {"UnsubscribeURL": self.unsubscribe_url(options["subscription_arn"]), **more}

    def unsigned(self, value: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[str, int]:
        """The text of ``notification`` with room for its signature, and where that is.

        A signature takes longer than everything else that a message to a queue needs, so it is made by ``finish``
        when somebody receives the message. It is of the same content whenever it is made.
        """
        document = self._notification(value, options)
        document["SignatureVersion"] = options.get("version", "1")
        text = to_text(document)[: -len(_END)] + ',\n  "Signature" : "'
        rest = {"SigningCertURL": self._certificate_url(), **self._after(value, options)}
        return text + "0" * self._signer.length + '"' + "," + to_text(rest)[1:], len(text)

    def finish(self, text: str, at: int) -> str:
        """What ``unsigned`` made, signed."""
        document = json.loads(text)
        content = _content(document, _SIGNED_NOTIFICATION)
        return text[:at] + self._signer.sign(content, document["SignatureVersion"]) + text[at + self._signer.length :]

    def confirmation(self, notice: Mapping[str, Any]) -> dict[str, Any]:
        """The document that asks an endpoint to confirm, or tells it that its subscription has ended."""
        topic_arn, kind = notice["topic_arn"], notice["type"]
        if kind == "SubscriptionConfirmation":
            text = (
                f"You have chosen to subscribe to the topic {topic_arn}.\n"
                "To confirm the subscription, visit the SubscribeURL included in this message."
            )
        else:
            text = (
                f"You have chosen to deactivate subscription {notice['subscription_arn']}.\nTo cancel this "
                "operation and restore the subscription, visit the SubscribeURL included in this message."
            )
        document = {
            "Type": kind,
            "MessageId": notice["id"],
            "Token": notice["token"],
            "TopicArn": topic_arn,
            "Message": text,
            "SubscribeURL": self.subscribe_url(topic_arn, notice["token"]),
            "Timestamp": timestamp(notice["time_ms"]),
        }
        self._sign(document, _SIGNED_CONFIRMATION, notice.get("version", "1"))
        return document

    def function_event(self, value: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
        """The event that a function gets (AWS Lambda Developer Guide, "Invoking Lambda with SNS")."""
        document = self.notification(value, options)
        sns = {
            "Type": "Notification",
            "MessageId": document["MessageId"],
            "TopicArn": document["TopicArn"],
            "Subject": document.get("Subject"),
            "Message": document["Message"],
            "Timestamp": document["Timestamp"],
            "SignatureVersion": document["SignatureVersion"],
            "Signature": document["Signature"],
            "SigningCertUrl": document["SigningCertURL"],
            "UnsubscribeUrl": document["UnsubscribeURL"],
            "MessageAttributes": document.get("MessageAttributes", {}),
        }
        record = {
            "EventSource": "aws:sns",
            "EventVersion": "1.0",
            "EventSubscriptionArn": options["subscription_arn"],
            "Sns": sns,
        }
        return {"Records": [record]}

    def subscribe_url(self, topic_arn: str, token: str) -> str:
        """Confirms when it is fetched, as webhooks do."""
        query = {"Action": "ConfirmSubscription", "TopicArn": topic_arn, "Token": token, "Version": "2010-03-31"}
        return f"{self._own_url()}/?{urlencode(query)}"

    def unsubscribe_url(self, subscription_arn: str) -> str:
        """Unsubscribes when it is fetched."""
        query = {"Action": "Unsubscribe", "SubscriptionArn": subscription_arn, "Version": "2010-03-31"}
        return f"{self._own_url()}/?{urlencode(query)}"

    def confirm_page(self, token: str) -> str:
        """For people: a page that asks before it confirms."""
        return f"{self._own_url()}/_sluiceway/sns/confirm?{urlencode({'token': token})}"

    def unsubscribe_page(self, subscription_arn: str) -> str:
        """For people: a page that asks before it unsubscribes."""
        return f"{self._own_url()}/_sluiceway/sns/unsubscribe?{urlencode({'subscription': subscription_arn})}"

    def _sign(self, document: dict[str, Any], names: tuple[str, ...], version: str) -> None:
        document["SignatureVersion"] = version
        document["Signature"] = self._signer.sign(_content(document, names), version)
        document["SigningCertURL"] = self._certificate_url()

    def _certificate_url(self) -> str:
        return f"{self._own_url()}/_sluiceway/sns/certificate.pem"


_END: Final = "\n}"


def _content(document: Mapping[str, Any], names: tuple[str, ...]) -> str:
    """What is signed of a document."""
    return "".join(f"{name}\n{document[name]}\n" for name in names if name in document)


def to_text(document: Mapping[str, Any]) -> str:
    """As SNS writes it (Amazon SNS Developer Guide, "Parsing message formats"). Joined here, as the standard
    library's encoder takes ten times as long when it indents.

    What is no character of XML is escaped: a queue takes none (SQS API reference, SendMessage)."""
    lines = [f'  "{name}" : {_json(value)}' for name, value in document.items()]
    text = "{\n" + ",\n".join(lines) + _END
    return text if text.isascii() else text.replace("\ufffe", "\\ufffe").replace("\uffff", "\\uffff")


def _json(value: Any) -> str:
    return encode_basestring(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
