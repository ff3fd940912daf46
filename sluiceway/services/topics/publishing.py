"""Publishing: what a message may be, and how a FIFO topic recognises one that it has seen."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import math
import re
from collections.abc import Mapping
from typing import Any, Final

from sluiceway.config import TopicSettings
from sluiceway.core.clock import new_id
from sluiceway.core.store import Tx
from sluiceway.errors import Invalid, TooLarge
from sluiceway.services.topics.values import DEDUPLICATION, Publication, Published, Topic, log_of

_ATTRIBUTE_NAME = re.compile(r"(?!\.)(?!.*\.\.)[A-Za-z0-9_.-]{1,256}(?<!\.)")
_FIFO_ID = re.compile(r"[A-Za-z0-9!-/:-@\[-`{-~]{1,128}")
_TYPES: Final = ("String", "String.Array", "Number", "Binary")
#: Sequence numbers are 20 digits that grow with the log's offset.
_SEQUENCE_START: Final = 10**19
_FORGET_MAX: Final = 16  # old deduplication ids dropped with each publication


def size_of(publication: Publication) -> int:
    """Bytes that count against the limit: the message and its attributes (names, types, values)."""
    size = len(publication.message.encode("utf-8", "surrogatepass"))
    for name, attribute in publication.attributes.items():
        size += len(name.encode()) + len(attribute["Type"].encode()) + len(attribute["Value"].encode())
    return size


def check(publication: Publication, limits: TopicSettings) -> Mapping[str, str] | None:
    """The texts of a ``MessageStructure=json`` by protocol, or None.

    Raises ``Invalid("message" | "subject" | "structure" | "message_attribute")``, ``TooLarge("message")``.
    """
    if not publication.message:
        raise Invalid("message", "Invalid parameter: Empty message")
    if size_of(publication) > limits.message_bytes_max:
        raise TooLarge("message", "Invalid parameter: Message too long")
    if publication.subject is not None:
        _check_subject(publication.subject, limits.subject_chars_max)
    for name, attribute in publication.attributes.items():
        _check_attribute(name, attribute)
    return _texts(publication)


def _check_subject(subject: str, chars_max: int) -> None:
    control = any(ord(char) < 32 or ord(char) == 127 for char in subject)
    if not subject or len(subject) > chars_max or control or subject[0].isspace():
        raise Invalid("subject", "Invalid parameter: Subject")


def _check_attribute(name: str, attribute: Mapping[str, str]) -> None:
    kind, value = attribute["Type"], attribute["Value"]
    if not _ATTRIBUTE_NAME.fullmatch(name) or name.lower().startswith(("aws.", "amazon.")):
        raise Invalid("message_attribute", f"The message attribute name '{name[:256]}' is invalid.")
    if kind.partition(".")[0] not in _TYPES or len(kind) > 256:
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
    if kind.startswith("Number") and not _is_number(value):
        raise Invalid("message_attribute", f"Could not cast message attribute '{name}' value to number.")
    if kind == "String.Array":
        _check_array(name, value)
    if kind.startswith("Binary"):
        try:
            base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            raise Invalid("message_attribute", f"The message attribute '{name}' is not base64.") from None


def _is_number(value: str) -> bool:
    try:
        return math.isfinite(float(value))
    except ValueError:
        return False


def _check_array(name: str, value: str) -> None:
    try:
        items = json.loads(value)
    except (ValueError, RecursionError):
        items = None
    simple = isinstance(items, list) and not any(isinstance(item, list | dict) for item in items)
    if not simple:
        raise Invalid("message_attribute", f"The message attribute '{name}' is not a JSON array of simple values.")


def _texts(publication: Publication) -> Mapping[str, str] | None:
    if not publication.structure:
        return None
    if publication.structure != "json":
        raise Invalid("structure", "Invalid parameter: MessageStructure")
    try:
        document = json.loads(publication.message)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise Invalid("structure", "Invalid parameter: Message Structure - JSON message body failed to parse")
    texts = {name: text for name, text in document.items() if isinstance(text, str)}
    if "default" not in texts:
        raise Invalid("structure", "Invalid parameter: Message Structure - No default entry in JSON message body")
    return texts


def append(tx: Tx, topic: Topic, publication: Publication, limits: TopicSettings) -> Published:
    """Append one message to the topic's log. Raises as ``check``, and ``Invalid("fifo")``."""
    texts = check(publication, limits)
    known, deduplication_id = _known(tx, topic, publication)
    if known is not None:
        return known
    name = log_of(topic.name)
    message_id = new_id()
    value: dict[str, Any] = {
        "id": message_id,
        "message": publication.message if texts is None else texts["default"],
        "time_ms": tx.now_ms,
    }
    optional = {
        "subject": publication.subject,
        "attributes": publication.attributes,
        "structure": texts,
        "group": publication.group_id,
        "deduplication": deduplication_id,
    }
    value |= {field: given for field, given in optional.items() if given}
    sequence = ""
    if topic.fifo:
        sequence = value["sequence"] = str(_SEQUENCE_START + tx.bounds(name).next)
        _remember(tx, topic, deduplication_id, message_id, sequence, limits)
    tx.append(name, value)
    return Published(message_id, sequence)


def _known(tx: Tx, topic: Topic, publication: Publication) -> tuple[Published | None, str]:
    """What a FIFO topic answered to the same deduplication id before, and that id."""
    if not topic.fifo:
        if publication.deduplication_id:
            raise Invalid(
                "fifo",
                "Invalid parameter: MessageDeduplicationId Reason: The request includes MessageDeduplicationId "
                "parameter that is not valid for this topic type",
            )
        return None, ""
    if not publication.group_id:
        raise Invalid("fifo", "Invalid parameter: The MessageGroupId parameter is required for FIFO topics")
    for given in (publication.group_id, publication.deduplication_id or "-"):
        if not _FIFO_ID.fullmatch(given):
            raise Invalid("fifo", "Invalid parameter: MessageGroupId and MessageDeduplicationId have 1 to 128 "
                          "letters, digits and punctuation")  # fmt: skip
    deduplication_id = publication.deduplication_id
    if not deduplication_id:
        if topic.attributes.get("ContentBasedDeduplication") != "true":
            raise Invalid(
                "fifo",
                "Invalid parameter: The topic should either have ContentBasedDeduplication enabled or "
                "MessageDeduplicationId provided explicitly",
            )
        deduplication_id = hashlib.sha256(publication.message.encode("utf-8", "surrogatepass")).hexdigest()
    row = tx.get(DEDUPLICATION, (topic.name, "id", deduplication_id))
    if row is not None and row["until_ms"] > tx.now_ms:
        return Published(row["message_id"], row["sequence"]), deduplication_id
    return None, deduplication_id


def _remember(
    tx: Tx, topic: Topic, deduplication_id: str, message_id: str, sequence: str, limits: TopicSettings
) -> None:
    """Rows by id and by time, so that the old ones can be dropped a few at a time."""
    until_ms = tx.now_ms + limits.deduplication_s * 1000
    old = list(tx.scan(DEDUPLICATION, prefix=(topic.name, "time"), limit=_FORGET_MAX))
    for key, row in old:
        if int(key[2]) > tx.now_ms:
            break
        tx.delete(DEDUPLICATION, key)
        known = tx.get(DEDUPLICATION, (topic.name, "id", row["id"]))
        if known is not None and known["until_ms"] <= tx.now_ms:
            tx.delete(DEDUPLICATION, (topic.name, "id", row["id"]))
    row = {"message_id": message_id, "sequence": sequence, "until_ms": until_ms}
    tx.put(DEDUPLICATION, (topic.name, "id", deduplication_id), row)
    tx.put(DEDUPLICATION, (topic.name, "time", until_ms, sequence), {"id": deduplication_id})
