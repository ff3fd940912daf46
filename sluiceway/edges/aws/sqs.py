"""SQS's protocol (json 1.0; the old query protocol's error codes go along in a header)."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from sluiceway.config import QueueSettings
from sluiceway.core.store import Store, Tx, View
from sluiceway.core.wakeups import Wakeups
from sluiceway.edges.aws.operations import Call, ErrorTable, Operation, Output, ServiceEdge
from sluiceway.errors import AlreadyExists, Conflict, Invalid, NotFound, NotImplementedYet, Throttled, TooLarge
from sluiceway.services.queues import Queue, Queues, Received, Sent

ERRORS: Final[ErrorTable] = {
    (NotFound, "queue"): "QueueDoesNotExist",
    (NotFound, "in_flight"): "MessageNotInflight",
    (AlreadyExists, "queue"): "QueueNameExists",
    (Throttled, "queues"): "OverLimit",
    (Throttled, "*"): "RequestThrottled",
    (Conflict, "*"): "UnsupportedOperation",
    (NotImplementedYet, "*"): "UnsupportedOperation",
    (Invalid, "attribute_name"): "InvalidAttributeName",
    (Invalid, "attribute_value"): "InvalidAttributeValue",
    (Invalid, "receipt_handle"): "ReceiptHandleIsInvalid",
    (Invalid, "message_characters"): "InvalidMessageContents",
    (Invalid, "batch_empty"): "EmptyBatchRequest",
    (Invalid, "batch_ids"): "BatchEntryIdsNotDistinct",
    (Invalid, "batch_id"): "InvalidBatchEntryId",
    (TooLarge, "batch_count"): "TooManyEntriesInBatchRequest",
    (TooLarge, "batch"): "BatchRequestTooLong",
    (Invalid, "message_missing"): "MissingParameter",
    (Invalid, "group_missing"): "MissingParameter",
    (Invalid, "validation"): "MissingParameter",
    (Invalid, "*"): "InvalidParameterValue",
    (TooLarge, "*"): "InvalidParameterValue",
}

#: Attributes that every queue has, with SQS's defaults.
_DEFAULTS: Final = {
    "DelaySeconds": "0",
    "MaximumMessageSize": "1048576",
    "MessageRetentionPeriod": "345600",
    "ReceiveMessageWaitTimeSeconds": "0",
    "SqsManagedSseEnabled": "true",
    "VisibilityTimeout": "30",
}


def sqs_edge(store: Store, queues: Queues, wakeups: Wakeups, limits: QueueSettings) -> ServiceEdge:
    """SQS's operations on ``queues``."""
    edge = _Sqs(store, queues, wakeups, limits)
    messages = {
        "ChangeMessageVisibility": (edge.change_visibility, "sqs:ChangeMessageVisibility"),
        "ChangeMessageVisibilityBatch": (edge.change_visibility_batch, "sqs:ChangeMessageVisibility"),
        "DeleteMessage": (edge.delete_message, "sqs:DeleteMessage"),
        "DeleteMessageBatch": (edge.delete_message_batch, "sqs:DeleteMessage"),
        "ReceiveMessage": (edge.receive, "sqs:ReceiveMessage"),
        "SendMessage": (edge.send, "sqs:SendMessage"),
        "SendMessageBatch": (edge.send_batch, "sqs:SendMessage"),
        "DeleteQueue": (edge.delete_queue, None),
        "GetQueueAttributes": (edge.get_attributes, None),
        "GetQueueUrl": (edge.get_url, None),
        "ListDeadLetterSourceQueues": (edge.dead_letter_sources, None),
        "ListQueueTags": (edge.list_tags, None),
        "PurgeQueue": (edge.purge, None),
        "SetQueueAttributes": (edge.set_attributes, None),
        "TagQueue": (edge.tag, None),
        "UntagQueue": (edge.untag, None),
    }
    table = {
        name: Operation(handler, edge.resource, policy=edge.policy, action=action)
        for name, (handler, action) in messages.items()
    }
    table["CreateQueue"] = Operation(edge.create, edge.resource)
    table["ListQueues"] = Operation(edge.list_queues, lambda call: "*")
    return ServiceEdge("sqs", "sqs", table, ERRORS)


class _Sqs:
    def __init__(self, store: Store, queues: Queues, wakeups: Wakeups, limits: QueueSettings) -> None:
        self._store = store
        self._queues = queues
        self._wakeups = wakeups
        self._limits = limits

    def resource(self, call: Call) -> str:
        """The queue's ARN."""
        return self._queues.arn(_name(call))

    async def policy(self, call: Call) -> dict[str, Any] | None:
        """The queue's own policy."""
        return await self._store.view(self._queues.policy, _name(call))

    # -- queues

    async def create(self, call: Call) -> Output:
        """CreateQueue"""
        params = call.params
        attributes, tags = params.get("Attributes") or {}, params.get("tags") or {}
        queue = await self._store.commit(self._queues.create, params["QueueName"], attributes, tags)
        return {"QueueUrl": _url(call, queue.name)}

    async def get_url(self, call: Call) -> Output:
        """GetQueueUrl"""
        queue = await self._store.view(self._queues.get, call.params["QueueName"])
        return {"QueueUrl": _url(call, queue.name)}

    async def list_queues(self, call: Call) -> Output:
        """ListQueues"""
        prefix, count = call.params.get("QueueNamePrefix") or "", call.params.get("MaxResults")
        if count is not None and not 1 <= count <= 1000:
            raise Invalid("max_results", "MaxResults must be between 1 and 1000.")
        after = _from_token(call.params.get("NextToken"))
        names = await self._store.view(lambda view: [queue.name for queue in self._queues.all(view, prefix)])
        names = [name for name in names if name > after]
        page = names[: count or 1000]
        output: dict[str, Any] = {"QueueUrls": [_url(call, name) for name in page]}
        if count is not None and len(names) > len(page):
            output["NextToken"] = base64.urlsafe_b64encode(page[-1].encode()).decode()
        return output

    async def get_attributes(self, call: Call) -> Output:
        """GetQueueAttributes"""
        known = await self._store.view(self._attributes, _name(call))
        wanted = set(call.params.get("AttributeNames") or ())
        if unknown := wanted - known.keys() - {"All", "FifoQueue", "Policy", "RedrivePolicy", "RedriveAllowPolicy",
                                               "KmsMasterKeyId", "KmsDataKeyReusePeriodSeconds", "DeduplicationScope",
                                               "ContentBasedDeduplication", "FifoThroughputLimit"}:  # fmt: skip
            raise Invalid("attribute_name", f"Unknown Attribute {sorted(unknown)[0]}.")
        chosen = {name: value for name, value in known.items() if "All" in wanted or name in wanted}
        return {"Attributes": chosen} if chosen else {}

    def _attributes(self, view: View, name: str) -> dict[str, str]:
        queue = self._queues.get(view, name)
        visible, taken, delayed = self._queues.counts(view, name)
        return {
            **_DEFAULTS,
            **queue.attributes,
            "QueueArn": self._queues.arn(name),
            "ApproximateNumberOfMessages": str(visible),
            "ApproximateNumberOfMessagesNotVisible": str(taken),
            "ApproximateNumberOfMessagesDelayed": str(delayed),
            "CreatedTimestamp": str(queue.created_ms // 1000),
            "LastModifiedTimestamp": str(queue.modified_ms // 1000),
        }

    async def set_attributes(self, call: Call) -> Output:
        """SetQueueAttributes"""
        await self._store.commit(self._queues.set_attributes, _name(call), call.params["Attributes"])
        return None

    async def delete_queue(self, call: Call) -> Output:
        """DeleteQueue"""
        await self._store.commit(self._queues.remove, _name(call))
        return None

    async def purge(self, call: Call) -> Output:
        """PurgeQueue"""
        await self._store.commit(self._queues.purge, _name(call))
        return None

    async def list_tags(self, call: Call) -> Output:
        """ListQueueTags"""
        queue = await self._store.view(self._queues.get, _name(call))
        return {"Tags": queue.tags} if queue.tags else {}

    async def tag(self, call: Call) -> Output:
        """TagQueue"""
        await self._store.commit(self._retag, _name(call), call.params["Tags"], [])
        return None

    async def untag(self, call: Call) -> Output:
        """UntagQueue"""
        await self._store.commit(self._retag, _name(call), {}, call.params["TagKeys"])
        return None

    def _retag(self, tx: Tx, name: str, add: dict[str, str], drop: list[str]) -> None:
        tags = self._queues.get(tx, name).tags | add
        self._queues.set_tags(tx, name, {key: value for key, value in tags.items() if key not in drop})

    async def dead_letter_sources(self, call: Call) -> Output:
        """ListDeadLetterSourceQueues"""
        arn = self._queues.arn(_name(call))

        def sources(view: View) -> list[Queue]:
            self._queues.get(view, _name(call))
            return [queue for queue in self._queues.all(view) if queue.redrive and queue.redrive[0] == arn]

        return {"queueUrls": [_url(call, queue.name) for queue in await self._store.view(sources)]}

    # -- messages

    async def send(self, call: Call) -> Output:
        """SendMessage"""
        sent = await self._store.commit(self._send, _name(call), call.params, call.principal.arn)
        return _sent(sent)

    def _send(self, tx: Tx, name: str, params: dict[str, Any], sender: str) -> Sent:
        system = {"SenderId": sender}
        trace = (params.get("MessageSystemAttributes") or {}).get("AWSTraceHeader")
        if trace:
            system["AWSTraceHeader"] = str(trace.get("StringValue", ""))
        return self._queues.send(
            tx,
            name,
            params["MessageBody"],
            attributes={key: _plain(value) for key, value in (params.get("MessageAttributes") or {}).items()},
            delay_s=params.get("DelaySeconds"),
            group_id=params.get("MessageGroupId"),
            deduplication_id=params.get("MessageDeduplicationId"),
            system=system,
        )

    async def send_batch(self, call: Call) -> Output:
        """SendMessageBatch"""
        entries = self._entries(call)
        if sum(len(entry["MessageBody"].encode()) for entry in entries) > self._limits.message_bytes_max:
            raise TooLarge("batch", f"Batch requests cannot be longer than {self._limits.message_bytes_max} bytes.")
        name, sender = _name(call), call.principal.arn

        def one(tx: Tx, entry: dict[str, Any]) -> dict[str, Any]:
            return _sent(self._send(tx, name, entry, sender))

        return await self._batch(name, entries, one)

    async def receive(self, call: Call) -> Output:
        """ReceiveMessage, with long polling"""
        params, name = call.params, _name(call)
        count = params.get("MaxNumberOfMessages", 1)
        if not 1 <= count <= self._limits.receive_max:
            raise Invalid(
                "count",
                f"Value {count} for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and 10, if provided.",
            )
        visibility = params.get("VisibilityTimeout")
        if visibility is not None and not 0 <= visibility <= self._limits.visibility_s_max:
            raise Invalid("visibility", f"Value {visibility} for parameter VisibilityTimeout is invalid.")
        queue = await self._store.view(self._queues.get, name)
        wait_s = params.get("WaitTimeSeconds")
        wait_s = queue.number("ReceiveMessageWaitTimeSeconds", 0) if wait_s is None else wait_s
        if not 0 <= wait_s <= self._limits.wait_s_max:
            raise Invalid(
                "wait",
                f"Value {wait_s} for parameter WaitTimeSeconds is invalid. Reason: Must be >= 0 and <= 20, if provided.",
            )
        messages = await self._take(name, count, visibility, wait_s)
        return {"Messages": [_message(message, params) for message in messages]} if messages else {}

    async def _take(self, name: str, count: int, visibility_s: int | None, wait_s: float) -> list[Received]:
        """Messages, or nothing after ``wait_s``; an empty queue costs no transaction."""
        loop = asyncio.get_running_loop()
        until = loop.time() + wait_s
        while True:
            woken = self._wakeups.expect(f"queue/{name}")
            try:
                due_ms, now_ms = await self._store.view(self._due, name)
                if due_ms is not None and due_ms <= now_ms:
                    messages = await self._store.commit(self._queues.receive, name, count, visibility_s)
                    if messages:
                        return messages
                    due_ms = None
                left = until - loop.time()
                if left <= 0 or self._wakeups.ending:
                    return []
                pause = left if due_ms is None else min(left, max(0.001, (due_ms - now_ms) / 1000))
                await asyncio.wait([woken], timeout=pause)
            finally:
                woken.cancel()

    def _due(self, view: View, name: str) -> tuple[int | None, int]:
        return self._queues.next_visible_ms(view, name), view.now_ms

    async def delete_message(self, call: Call) -> Output:
        """DeleteMessage"""
        await self._store.commit(self._queues.delete, _name(call), call.params["ReceiptHandle"])
        return None

    async def delete_message_batch(self, call: Call) -> Output:
        """DeleteMessageBatch"""
        name = _name(call)

        def one(tx: Tx, entry: dict[str, Any]) -> dict[str, Any]:
            self._queues.delete(tx, name, entry["ReceiptHandle"])
            return {}

        return await self._batch(name, self._entries(call), one)

    async def change_visibility(self, call: Call) -> Output:
        """ChangeMessageVisibility"""
        params = call.params
        await self._store.commit(
            self._queues.change_visibility, _name(call), params["ReceiptHandle"], params["VisibilityTimeout"]
        )
        return None

    async def change_visibility_batch(self, call: Call) -> Output:
        """ChangeMessageVisibilityBatch"""
        name = _name(call)

        def one(tx: Tx, entry: dict[str, Any]) -> dict[str, Any]:
            self._queues.change_visibility(tx, name, entry["ReceiptHandle"], entry.get("VisibilityTimeout", 0))
            return {}

        return await self._batch(name, self._entries(call), one)

    def _entries(self, call: Call) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = call.params["Entries"]
        ids = [entry["Id"] for entry in entries]
        if not entries:
            raise Invalid("batch_empty", "There should be at least one entry in the request.")
        if len(entries) > self._limits.batch_max:
            raise TooLarge(
                "batch_count", f"Maximum number of entries per request are 10. You have sent {len(entries)}."
            )
        if len(set(ids)) != len(ids):
            raise Invalid("batch_ids", "Two or more batch entries in the request have the same Id.")
        if any(not 1 <= len(one) <= 80 or not one.replace("-", "").replace("_", "").isalnum() for one in ids):
            raise Invalid(
                "batch_id", "A batch entry id can only contain alphanumeric characters, hyphens and underscores."
            )
        return entries

    async def _batch(
        self, name: str, entries: list[dict[str, Any]], one: Callable[[Tx, dict[str, Any]], dict[str, Any]]
    ) -> Output:
        """Each entry is accepted or refused by itself; all of them share the group's commit."""
        await self._store.view(self._queues.get, name)
        results = await asyncio.gather(*(self._attempt(entry, one) for entry in entries))
        good = [result for result in results if "Code" not in result]
        return {"Successful": good, "Failed": [result for result in results if "Code" in result]}

    async def _attempt(
        self, entry: dict[str, Any], one: Callable[[Tx, dict[str, Any]], dict[str, Any]]
    ) -> dict[str, Any]:
        try:
            return {"Id": entry["Id"], **await self._store.commit(one, entry)}
        except (Invalid, NotFound, TooLarge) as error:
            code = ERRORS.get((type(error), error.kind)) or ERRORS.get((type(error), "*")) or "InternalError"
            return {"Id": entry["Id"], "Code": code, "Message": error.message, "SenderFault": True}


def _name(call: Call) -> str:
    """The queue that a request is about, from its URL or name."""
    url = call.params.get("QueueUrl")
    if url is None:
        return str(call.params.get("QueueName", ""))
    try:
        name = urlsplit(str(url)).path.rstrip("/").rpartition("/")[2]
    except ValueError:
        name = ""
    if not name:
        raise NotFound("queue", "The specified queue does not exist.")
    return name


def _url(call: Call, name: str) -> str:
    return f"{call.base_url}/{call.scope.account}/{name}"


def _from_token(token: str | None) -> str:
    try:
        return base64.urlsafe_b64decode(token or "").decode()
    except ValueError:
        raise Invalid("token", "NextToken is not valid.") from None


def _plain(value: dict[str, Any]) -> dict[str, Any]:
    """A message attribute as it is kept: bytes as base64."""
    kept = {name: value[name] for name in ("DataType", "StringValue") if value.get(name) is not None}
    if value.get("BinaryValue") is not None:
        kept["BinaryValue"] = base64.b64encode(value["BinaryValue"]).decode()
    return kept


def _sent(sent: Sent) -> dict[str, Any]:
    output = {"MessageId": sent.message_id, "MD5OfMessageBody": sent.body_md5}
    if sent.attributes_md5:
        output["MD5OfMessageAttributes"] = sent.attributes_md5
    if sent.sequence:
        output["SequenceNumber"] = sent.sequence
    return output


def _message(message: Received, params: dict[str, Any]) -> dict[str, Any]:
    output: dict[str, Any] = {
        "MessageId": message.message_id,
        "ReceiptHandle": message.receipt_handle,
        "MD5OfBody": message.body_md5,
        "Body": message.body,
    }
    asked = {*(params.get("AttributeNames") or ()), *(params.get("MessageSystemAttributeNames") or ())}
    system = {name: value for name, value in message.system.items() if "All" in asked or name in asked}
    if system:
        output["Attributes"] = system
    wanted = params.get("MessageAttributeNames") or ()
    chosen = {name: value for name, value in message.attributes.items() if _is_wanted(name, wanted)}
    if chosen:
        output["MessageAttributes"] = {name: _wire(value) for name, value in chosen.items()}
        output["MD5OfMessageAttributes"] = message.attributes_md5
    return output


def _is_wanted(name: str, wanted: Sequence[str]) -> bool:
    return any(one in ("All", ".*", name) or (one.endswith(".*") and name.startswith(one[:-2])) for one in wanted)


def _wire(value: dict[str, Any]) -> dict[str, Any]:
    if "BinaryValue" not in value:
        return value
    return {**value, "BinaryValue": base64.b64decode(value["BinaryValue"])}
