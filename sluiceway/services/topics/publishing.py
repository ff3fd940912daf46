"""Publishing: what a message may be, and how a FIFO topic recognises one that it has seen."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, Final

from sluiceway.config import TopicSettings
from sluiceway.core.clock import new_id
from sluiceway.core.store import Tx
from sluiceway.errors import Invalid, TooLarge
from sluiceway.services.topics.values import DEDUPLICATION, Publication, Published, Topic

_ATTRIBUTE_NAME = re.compile(r"(?!\.)(?!.*\.\.)[A-Za-z0-9_.-]{1,256}(?<!\.)")
_TYPE = re.compile(r"(?:String|Number|Binary)(?:\.[^\s\x00-\x1f]+)?")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_FIFO_ID = re.compile(r"[A-Za-z0-9!-/:-@\[-`{-~]{1,128}")
#: What SNS itself understands, of text messages and mobile push.
_OWN_NAMES: Final = ("AWS.SNS.", "AWS.MM.")
#: Keys of a ``MessageStructure=json`` that are somebody's text; the others are ignored.
_PROTOCOLS: Final = frozenset(
    {"default", "application", "email", "email-json", "firehose", "http", "https", "lambda", "sms", "sqs"}
)
#: Sequence numbers are 20 digits that grow with the log's offset.
_SEQUENCE_START: Final = 10**19
_FORGET_MAX: Final = 16  # old deduplication ids dropped with each publication


def size_of(publication: Publication) -> int:
    """Bytes that count against the limit: the message and its attributes (names, types, values)."""
    size = _bytes(publication.message)
    for name, attribute in publication.attributes.items():
        size += _bytes(name) + _bytes(attribute["Type"]) + _value_size(attribute)
    return size


def _value_size(attribute: Mapping[str, str]) -> int:
    """Of a binary value, what base64 stands for."""
    value = attribute["Value"]
    if attribute["Type"].startswith("Binary"):
        return len(value) // 4 * 3 - value[-2:].count("=")
    return _bytes(value)


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def check(publication: Publication, bytes_max: int, limits: TopicSettings) -> Mapping[str, str] | None:
    """The texts of a ``MessageStructure=json`` by protocol, or None.

    Raises ``Invalid("message" | "subject" | "structure" | "message_attribute")``, ``TooLarge("message")``.
    """
    if not publication.message:
        raise Invalid("message", "Invalid parameter: Empty message")
    if size_of(publication) > bytes_max:
        raise TooLarge("message", "Invalid parameter: Message too long")
    if publication.subject is not None:
        _check_subject(publication.subject, limits.subject_chars_max)
    for name, attribute in publication.attributes.items():
        _check_attribute(name, attribute)
    return _texts(publication) if publication.structure else None


def _check_subject(subject: str, chars_max: int) -> None:
    if not subject or len(subject) > chars_max or _CONTROL.search(subject) or subject[0].isspace():
        raise Invalid("subject", "Invalid parameter: Subject")


def _check_attribute(name: str, attribute: Mapping[str, str]) -> None:
    kind, value = attribute["Type"], attribute["Value"]
    reserved = name.lower().startswith(("aws.", "amazon.")) and not name.startswith(_OWN_NAMES)
    if not _ATTRIBUTE_NAME.fullmatch(name) or reserved:
        raise Invalid("message_attribute", f"The message attribute name '{name[:256]}' is invalid.")
    if not _TYPE.fullmatch(kind) or len(kind) > 256:
        raise Invalid(
            "message_attribute",
            f"The message attribute '{name}' has an invalid message attribute type, the set of supported type "
            "prefixes is Binary, Number, and String.",
        )
    if not value:
        raise Invalid(
            "message_attribute",
            f"The message attribute '{name}' must contain non-empty message attribute value for message "
            f"attribute type '{kind}'.",
        )
    if kind.startswith("Number") and not _NUMBER.fullmatch(value):
        raise Invalid("message_attribute", f"Could not cast message attribute '{name}' value to number.")
    if kind == "String.Array":
        _check_array(name, value)
    if kind.startswith("Binary"):
        try:
            base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            raise Invalid("message_attribute", f"The message attribute '{name}' is not base64.") from None


def _check_array(name: str, value: str) -> None:
    try:
        items = json.loads(value)
    except (ValueError, RecursionError):
        items = None
    simple = isinstance(items, list) and not any(isinstance(item, list | dict) for item in items)
    if not simple:
        raise Invalid("message_attribute", f"The message attribute '{name}' is not a JSON array of simple values.")


def _texts(publication: Publication) -> Mapping[str, str]:
    if publication.structure != "json":
        raise Invalid("structure", "Invalid parameter: MessageStructure")
    try:
        document = json.loads(publication.message, object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise Invalid("structure", "Invalid parameter: Message Structure - JSON message body failed to parse")
    # Escapes of JSON can say what UTF-8 can't: half a surrogate pair.
    texts = {
        name: text.encode("utf-8", "replace").decode()
        for name, text in document.items()
        if isinstance(text, str) and name in _PROTOCOLS
    }
    if "default" not in texts:
        raise Invalid("structure", "Invalid parameter: Message Structure - No default entry in JSON message body")
    return texts


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands there twice")
    return found


def append(tx: Tx, topic: Topic, publication: Publication, limits: TopicSettings) -> Published:
    """Append one message to the topic's log. Raises as ``check``, and ``Invalid("fifo")``."""
    texts = check(publication, topic.message_bytes_max or limits.message_bytes_max, limits)
    message_id = new_id()
    value: dict[str, Any] = {
        "id": message_id,
        "message": publication.message if texts is None else texts["default"],
        "time_ms": tx.now_ms,
    }
    if publication.subject:
        value["subject"] = publication.subject
    if publication.attributes:
        value["attributes"] = publication.attributes
    if texts is not None:
        value["structure"] = texts
    if topic.fifo:
        return _append_ordered(tx, topic, publication, value, limits)
    if publication.deduplication_id:
        raise Invalid(
            "fifo",
            "Invalid parameter: MessageDeduplicationId Reason: The request includes MessageDeduplicationId "
            "parameter that is not valid for this topic type",
        )
    if publication.group_id:  # for fair queues
        _check_fifo_id("MessageGroupId", publication.group_id)
        value["group"] = publication.group_id
    tx.append(topic.log, value)
    return Published(message_id)


def _append_ordered(
    tx: Tx, topic: Topic, publication: Publication, value: dict[str, Any], limits: TopicSettings
) -> Published:
    """A FIFO topic answers what it has answered to the same deduplication id before."""
    deduplication_id = _deduplication(topic, publication)
    scope = f"{publication.group_id} {deduplication_id}" if topic.per_group else deduplication_id
    row = tx.get(DEDUPLICATION, (topic.memory_key, "id", scope))
    if row is not None and row["until_ms"] > tx.now_ms:
        return Published(row["message_id"], row["sequence"])
    sequence = str(_SEQUENCE_START + tx.bounds(topic.log).next)
    value |= {"group": publication.group_id, "deduplication": deduplication_id, "sequence": sequence}
    _remember(tx, topic, scope, value["id"], sequence, limits)
    tx.append(topic.log, value)
    return Published(value["id"], sequence)


def _deduplication(topic: Topic, publication: Publication) -> str:
    """The id by which the message is known again."""
    if not publication.group_id:
        raise Invalid("fifo", "Invalid parameter: The MessageGroupId parameter is required for FIFO topics")
    _check_fifo_id("MessageGroupId", publication.group_id)
    if publication.deduplication_id:
        _check_fifo_id("MessageDeduplicationId", publication.deduplication_id)
        return publication.deduplication_id
    if topic.attributes.get("ContentBasedDeduplication") != "true":
        raise Invalid(
            "fifo",
            "Invalid parameter: The topic should either have ContentBasedDeduplication enabled or "
            "MessageDeduplicationId provided explicitly",
        )
    return hashlib.sha256(publication.message.encode("utf-8", "surrogatepass")).hexdigest()


def _check_fifo_id(name: str, given: str) -> None:
    if not _FIFO_ID.fullmatch(given):
        raise Invalid(
            "fifo",
            f"Invalid parameter: {name} Reason: {name} can only include alphanumeric and punctuation characters. "
            "1 to 128 in length",
        )


def _remember(
    tx: Tx, topic: Topic, deduplication_id: str, message_id: str, sequence: str, limits: TopicSettings
) -> None:
    """Rows by id and by time, so that the old ones can be dropped a few at a time."""
    until_ms = tx.now_ms + limits.deduplication_s * 1000
    old = list(tx.scan(DEDUPLICATION, prefix=(topic.memory_key, "time"), limit=_FORGET_MAX))
    for key, row in old:
        if int(key[2]) > tx.now_ms:
            break
        tx.delete(DEDUPLICATION, key)
        known = tx.get(DEDUPLICATION, (topic.memory_key, "id", row["id"]))
        if known is not None and known["until_ms"] <= tx.now_ms:
            tx.delete(DEDUPLICATION, (topic.memory_key, "id", row["id"]))
    row = {"message_id": message_id, "sequence": sequence, "until_ms": until_ms}
    tx.put(DEDUPLICATION, (topic.memory_key, "id", deduplication_id), row)
    tx.put(DEDUPLICATION, (topic.memory_key, "time", until_ms, sequence), {"id": deduplication_id})
