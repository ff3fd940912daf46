"""SQS's operations on messages: send, receive with long polling, delete, change visibility, and their batches."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from sluiceway.config import QueueSettings
from sluiceway.core.store import Store
from sluiceway.core.wakeups import Wakeups
from sluiceway.edges.aws.operations import Call, ErrorTable, Output
from sluiceway.edges.aws.sqs_waiting import SqsWaiting
from sluiceway.edges.http import ClientGone
from sluiceway.errors import DomainError, Invalid, Throttled, TooLarge
from sluiceway.services.queues import Message, Queues, Received, Sent
from sluiceway.services.queues.attributes import unknown
from sluiceway.services.queues.checks import check_fifo_id, check_visibility, has_bad_characters, message_size
from sluiceway.services.queues.digests import attributes_md5

_TRACE: Final = "AWSTraceHeader"
_SYSTEM: Final = frozenset(
    {
        "All",
        "AWSTraceHeader",
        "ApproximateFirstReceiveTimestamp",
        "ApproximateReceiveCount",
        "DeadLetterQueueSourceArn",
        "MessageDeduplicationId",
        "MessageGroupId",
        "SenderId",
        "SentTimestamp",
        "SequenceNumber",
    }
)
#: Of a queue; names of those are no error in a receive (SQS API reference, ReceiveMessage, "AttributeNames").
_OF_QUEUES: Final = frozenset({"Policy", "VisibilityTimeout", "MaximumMessageSize", "MessageRetentionPeriod",
                               "ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible",
                               "CreatedTimestamp", "LastModifiedTimestamp", "QueueArn", "DelaySeconds",
                               "ApproximateNumberOfMessagesDelayed", "ReceiveMessageWaitTimeSeconds",
                               "RedrivePolicy", "FifoQueue", "ContentBasedDeduplication", "KmsMasterKeyId",
                               "KmsDataKeyReusePeriodSeconds", "DeduplicationScope", "FifoThroughputLimit",
                               "RedriveAllowPolicy", "SqsManagedSseEnabled"})  # fmt: skip


class SqsMessages:
    """``name_of`` gives the queue that a call is about; ``errors`` the codes of a batch's refused entries."""

    def __init__(
        self,
        store: Store,
        queues: Queues,
        wakeups: Wakeups,
        limits: QueueSettings,
        name_of: Callable[[Call], str],
        errors: ErrorTable,
    ) -> None:
        self._store = store
        self._queues = queues
        self._waiting = SqsWaiting(store, queues, wakeups)
        self._limits = limits
        self._name_of = name_of
        self._errors = errors

    # -- sending

    async def send(self, call: Call) -> Output:
        """SendMessage"""
        message, system_md5 = _message_of(call.params, call.principal.arn)
        sent = await self._store.commit(self._queues.send_message, self._name_of(call), message)
        return _sent(sent, system_md5)

    async def send_batch(self, call: Call) -> Output:
        """SendMessageBatch"""
        entries = self._entries(call)
        messages: list[tuple[Message, str]] = []
        failed: dict[str, DomainError] = {}
        for entry in entries:
            try:
                messages.append(_message_of(entry, call.principal.arn))
            except DomainError as error:
                failed[entry["Id"]] = error
        size = sum(message_size(message.body, message.attributes) for message, _ in messages)
        if size > self._limits.message_bytes_max:
            raise TooLarge("batch", f"Batch requests cannot be longer than {self._limits.message_bytes_max} bytes. You "
                           f"have sent {size} bytes.")  # fmt: skip
        results = await self._store.commit(self._queues.send_batch, self._name_of(call), [one for one, _ in messages])
        sent = iter(zip(results, (md5 for _, md5 in messages), strict=True))
        outcomes: list[DomainError | dict[str, Any]] = []
        for entry in entries:
            if entry["Id"] in failed:
                outcomes.append(failed[entry["Id"]])
                continue
            result, system_md5 = next(sent)
            outcomes.append(_sent(result, system_md5) if isinstance(result, Sent) else result)
        return self._outcome(entries, outcomes)

    # -- receiving

    async def receive(self, call: Call) -> Output:
        """ReceiveMessage"""
        params, count = call.params, call.params.get("MaxNumberOfMessages", 1)
        if not 1 <= count <= self._limits.receive_max:
            raise Invalid("count", f"Value {count} for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 "
                          f"and {self._limits.receive_max}, if provided.")  # fmt: skip
        visibility_s, wait_s = params.get("VisibilityTimeout"), params.get("WaitTimeSeconds")
        if visibility_s is not None:
            check_visibility(visibility_s, self._limits)
        if wait_s is not None and not 0 <= wait_s <= self._limits.wait_s_max:
            raise Invalid("wait", f"Value {wait_s} for parameter WaitTimeSeconds is invalid. Reason: Must be >= 0 and <= "
                          f"{self._limits.wait_s_max}, if provided.")  # fmt: skip
        system, attempt = _asked(params), params.get("ReceiveRequestAttemptId")
        if attempt is not None:
            check_fifo_id("ReceiveRequestAttemptId", attempt)
        messages = await self._take(call, count, visibility_s, wait_s, attempt)
        wanted = params.get("MessageAttributeNames") or ()
        return {"Messages": [_message(one, system, wanted) for one in messages]} if messages else {}

    async def _take(
        self, call: Call, count: int, visibility_s: int | None, wait_s: int | None, attempt: str | None
    ) -> list[Received]:
        """Messages, or nothing after ``wait_s`` (the queue's own, if None).

        The first try is a transaction without a look before it: the writer has the queue's pages at hand, and one that
        finds nothing writes nothing. Who waits then is called when there is something.
        """
        name = self._name_of(call)
        if wait_s is None:
            queue = await self._store.view(self._queues.get, name)
            wait_s = queue.number("ReceiveMessageWaitTimeSeconds", 0)
        patient = wait_s > 0
        receive = partial(self._receive, name, count, visibility_s, attempt, patient=patient)
        messages = await receive()
        if messages or not patient:
            return messages

        async def again() -> list[Received]:
            if call.body.gone:  # who is there takes what would be hidden from all for nobody
                raise ClientGone
            return await receive()

        return await self._waiting.take(name, count, wait_s, again)

    async def _receive(
        self, name: str, count: int, visibility_s: int | None, attempt: str | None, *, patient: bool
    ) -> list[Received]:
        """Who polls for long is not told that too much is in flight (SQS API reference, ReceiveMessage)."""
        try:
            return await self._store.commit(self._queues.receive, name, count, visibility_s, attempt=attempt)
        except Throttled as error:
            if patient and error.kind == "in_flight":
                return []
            raise

    # -- afterwards

    async def delete(self, call: Call) -> Output:
        """DeleteMessage"""
        await self._store.commit(self._queues.delete, self._name_of(call), call.params["ReceiptHandle"])
        return None

    async def delete_batch(self, call: Call) -> Output:
        """DeleteMessageBatch"""
        entries = self._entries(call)
        handles = [entry["ReceiptHandle"] for entry in entries]
        errors = await self._store.commit(self._queues.delete_batch, self._name_of(call), handles)
        return self._outcome(entries, [error or {} for error in errors])

    async def change_visibility(self, call: Call) -> Output:
        """ChangeMessageVisibility"""
        given = call.params["ReceiptHandle"], call.params["VisibilityTimeout"]
        await self._store.commit(self._queues.change_visibility, self._name_of(call), *given)
        return None

    async def change_visibility_batch(self, call: Call) -> Output:
        """ChangeMessageVisibilityBatch"""
        entries = self._entries(call)
        changes = [(entry["ReceiptHandle"], entry.get("VisibilityTimeout", 0)) for entry in entries]
        errors = await self._store.commit(self._queues.change_visibility_batch, self._name_of(call), changes)
        return self._outcome(entries, [error or {} for error in errors])

    # -- batches

    def _entries(self, call: Call) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = call.params["Entries"]
        if not entries:
            raise Invalid("batch_empty", f"There should be at least one {call.operation}RequestEntry in the request.")
        if len(entries) > self._limits.batch_max:
            raise TooLarge("batch_count", f"Maximum number of entries per request are {self._limits.batch_max}. You have "
                           f"sent {len(entries)}.")  # fmt: skip
        seen: set[str] = set()
        for entry in entries:
            name = entry["Id"]
            if not 1 <= len(name) <= 80 or not name.isascii() or not name.replace("-", "").replace("_", "0").isalnum():
                raise Invalid("batch_id", "A batch entry id can only contain alphanumeric characters, hyphens and "
                              "underscores. It can be at most 80 letters long.")  # fmt: skip
            if name in seen:
                raise Invalid("batch_ids", f"Id {name} repeated.")
            seen.add(name)
        return entries

    def _outcome(self, entries: Sequence[dict[str, Any]], outcomes: Sequence[DomainError | dict[str, Any]]) -> Output:
        """Each entry is accepted or refused by itself."""
        good: list[dict[str, Any]] = []
        bad: list[dict[str, Any]] = []
        for entry, outcome in zip(entries, outcomes, strict=True):
            if isinstance(outcome, DomainError):
                code = self._errors.get((type(outcome), outcome.kind)) or self._errors.get((type(outcome), "*"))
                bad.append({"Id": entry["Id"], "Code": code, "Message": outcome.message, "SenderFault": True})
            else:
                good.append({"Id": entry["Id"], **outcome})
        return {"Successful": good, "Failed": bad}


def _message_of(params: dict[str, Any], sender: str) -> tuple[Message, str]:
    """What is to be sent, and the MD5 of the system attributes given."""
    system, system_md5 = {"SenderId": sender}, ""
    given = params.get("MessageSystemAttributes")
    if given:
        plain = {name: _plain(name, value) for name, value in given.items()}
        trace = plain.get(_TRACE, {})
        if plain.keys() != {_TRACE} or trace.get("DataType") != "String" or not trace.get("StringValue"):
            raise Invalid("message_attribute", "The only message system attribute is AWSTraceHeader, of type String.")
        if has_bad_characters(trace["StringValue"]):
            raise Invalid("message_attribute", "AWSTraceHeader holds characters that are not valid.")
        system[_TRACE] = trace["StringValue"]
        system_md5 = attributes_md5(plain)
    attributes = params.get("MessageAttributes")
    message = Message(
        params["MessageBody"],
        {name: _plain(name, value) for name, value in attributes.items()} if attributes else {},
        params.get("DelaySeconds"),
        params.get("MessageGroupId"),
        params.get("MessageDeduplicationId"),
        system,
    )
    return message, system_md5


def _plain(name: str, value: dict[str, Any]) -> dict[str, Any]:
    """A message attribute as it is kept: bytes as base64."""
    if value.get("StringListValues") or value.get("BinaryListValues"):
        raise Invalid("message_attribute", f"Message attribute list values are not supported: {name[:300]!r}")
    kept = {member: value[member] for member in ("DataType", "StringValue") if value.get(member) is not None}
    if value.get("BinaryValue") is not None:
        kept["BinaryValue"] = base64.b64encode(value["BinaryValue"]).decode()
    return kept


def _sent(sent: Sent, system_md5: str) -> dict[str, Any]:
    output = {"MessageId": sent.message_id, "MD5OfMessageBody": sent.body_md5}
    if sent.attributes_md5:
        output["MD5OfMessageAttributes"] = sent.attributes_md5
    if system_md5:
        output["MD5OfMessageSystemAttributes"] = system_md5
    if sent.sequence:
        output["SequenceNumber"] = sent.sequence
    return output


def _asked(params: dict[str, Any]) -> frozenset[str]:
    """The system attributes that are wanted. Raises ``Invalid("attribute_name")``."""
    names = frozenset((*(params.get("AttributeNames") or ()), *(params.get("MessageSystemAttributeNames") or ())))
    if not names <= _SYSTEM and (strange := names - _SYSTEM - _OF_QUEUES):
        raise unknown(min(strange))
    return names


def _message(message: Received, asked: frozenset[str], wanted: Sequence[str]) -> dict[str, Any]:
    output: dict[str, Any] = {
        "MessageId": message.message_id,
        "ReceiptHandle": message.receipt_handle,
        "MD5OfBody": message.body_md5,
        "Body": message.body,
    }
    if asked:
        system = {name: value for name, value in message.system.items() if "All" in asked or name in asked}
        if system:
            output["Attributes"] = system
    if wanted and message.attributes:
        chosen = {name: value for name, value in message.attributes.items() if _is_wanted(name, wanted)}
        if chosen:
            output["MessageAttributes"] = {name: _wire(value) for name, value in chosen.items()}
            output["MD5OfMessageAttributes"] = attributes_md5(chosen)
    return output


def _is_wanted(name: str, wanted: Sequence[str]) -> bool:
    return any(one in ("All", ".*", name) or (one.endswith(".*") and name.startswith(one[:-2])) for one in wanted)


def _wire(value: dict[str, Any]) -> dict[str, Any]:
    if "BinaryValue" not in value:
        return value
    return {**value, "BinaryValue": base64.b64decode(value["BinaryValue"])}
