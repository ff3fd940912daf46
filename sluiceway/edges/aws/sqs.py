"""SQS's operations on queues; those on messages are in ``sqs_messages``. Both protocols come here (json 1.0, query)."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final
from urllib.parse import urlsplit

from sluiceway.config import QueueSettings
from sluiceway.core.store import Store, View
from sluiceway.core.wakeups import Wakeups
from sluiceway.edges.aws.operations import Call, ErrorTable, Operation, Output, ServiceEdge
from sluiceway.edges.aws.sqs_messages import SqsMessages
from sluiceway.errors import AlreadyExists, Conflict, Invalid, NotFound, NotImplementedYet, Throttled, TooLarge
from sluiceway.services.access import authorize
from sluiceway.services.queues import Moves, Queues, attributes, permissions

ERRORS: Final[ErrorTable] = {
    (NotFound, "queue"): "QueueDoesNotExist",
    (NotFound, "in_flight"): "MessageNotInflight",
    (NotFound, "resource"): "ResourceNotFoundException",
    (NotFound, "key"): "KmsNotFound",
    (Conflict, "disabled"): "KmsDisabled",
    (Conflict, "state"): "KmsInvalidState",
    (AlreadyExists, "queue"): "QueueNameExists",
    (Throttled, "queues"): "OverLimit",
    (Throttled, "in_flight"): "OverLimit",
    (Throttled, "*"): "RequestThrottled",
    (Conflict, "purge"): "PurgeQueueInProgress",
    (Conflict, "*"): "UnsupportedOperation",
    (NotImplementedYet, "*"): "UnsupportedOperation",
    (Invalid, "address"): "InvalidAddress",
    (Invalid, "attribute_name"): "InvalidAttributeName",
    (Invalid, "attribute_value"): "InvalidAttributeValue",
    (Invalid, "receipt_handle"): "ReceiptHandleIsInvalid",
    (Invalid, "message_characters"): "InvalidMessageContents",
    (Invalid, "batch_empty"): "EmptyBatchRequest",
    (Invalid, "batch_ids"): "BatchEntryIdsNotDistinct",
    (Invalid, "batch_id"): "InvalidBatchEntryId",
    (TooLarge, "batch_count"): "TooManyEntriesInBatchRequest",
    (TooLarge, "batch"): "BatchRequestTooLong",
    (TooLarge, "permissions"): "OverLimit",
    (Invalid, "message_missing"): "MissingParameter",
    (Invalid, "group_missing"): "MissingParameter",
    (Invalid, "validation"): "MissingParameter",
    (Invalid, "*"): "InvalidParameterValue",
    (TooLarge, "*"): "InvalidParameterValue",
}

_PAGE_MAX: Final = 1000
_FIFO_DEFAULTS: Final = {
    "ContentBasedDeduplication": "false",
    "DeduplicationScope": "queue",
    "FifoThroughputLimit": "perQueue",
}
_READABLE: Final = attributes.SETTABLE | {
    "All",
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesDelayed",
    "ApproximateNumberOfMessagesNotVisible",
    "CreatedTimestamp",
    "LastModifiedTimestamp",
    "QueueArn",
}
_KMS_REUSE_S: Final = "300"  # KmsDataKeyReusePeriodSeconds of a queue that doesn't say


def sqs_edge(store: Store, queues: Queues, wakeups: Wakeups, limits: QueueSettings) -> ServiceEdge:
    """SQS's operations on ``queues``."""
    edge = _Sqs(store, queues)
    messages = SqsMessages(store, queues, wakeups, limits, queue_name, ERRORS)
    handlers = {
        "AddPermission": (edge.add_permission, None),
        "ChangeMessageVisibility": (messages.change_visibility, None),
        "ChangeMessageVisibilityBatch": (messages.change_visibility_batch, "sqs:ChangeMessageVisibility"),
        "DeleteMessage": (messages.delete, None),
        "DeleteMessageBatch": (messages.delete_batch, "sqs:DeleteMessage"),
        "ReceiveMessage": (messages.receive, None),
        "SendMessage": (messages.send, None),
        "SendMessageBatch": (messages.send_batch, "sqs:SendMessage"),
        "DeleteQueue": (edge.delete, None),
        "GetQueueAttributes": (edge.get_attributes, None),
        "GetQueueUrl": (edge.get_url, None),
        "ListDeadLetterSourceQueues": (edge.dead_letter_sources, None),
        "ListQueueTags": (edge.list_tags, None),
        "PurgeQueue": (edge.purge, None),
        "RemovePermission": (edge.remove_permission, None),
        "SetQueueAttributes": (edge.set_attributes, None),
        "TagQueue": (edge.tag, None),
        "UntagQueue": (edge.untag, None),
    }
    table = {
        name: Operation(handler, edge.resource, policy=edge.policy, action=action or f"sqs:{name}")
        for name, (handler, action) in handlers.items()
    }
    for name, handler in (
        ("StartMessageMoveTask", edge.start_move),
        ("CancelMessageMoveTask", edge.cancel_move),
        ("ListMessageMoveTasks", edge.list_moves),
    ):
        table[name] = Operation(handler, _move_source)
    table["CreateQueue"] = Operation(edge.create, edge.resource)
    table["ListQueues"] = Operation(edge.list_queues, lambda call: "*")
    return ServiceEdge("sqs", "sqs", table, ERRORS, unsigned=True)


class _Sqs:
    def __init__(self, store: Store, queues: Queues) -> None:
        self._store = store
        self._queues = queues
        self._moves = Moves(queues)

    def resource(self, call: Call) -> str:
        """The queue's ARN."""
        return self._queues.arn(queue_name(call))

    async def policy(self, call: Call) -> dict[str, Any] | None:
        """The queue's own policy."""
        return await self._store.view(self._queues.policy, queue_name(call))

    # -- queues

    async def create(self, call: Call) -> Output:
        """CreateQueue"""
        params = call.params
        given, tags = params.get("Attributes") or {}, params.get("tags") or {}
        queue = await self._store.commit(self._queues.create, params["QueueName"], given, tags)
        return {"QueueUrl": _url(call, queue.name)}

    async def get_url(self, call: Call) -> Output:
        """GetQueueUrl"""
        owner = call.params.get("QueueOwnerAWSAccountId")
        if owner and owner != call.scope.account:
            raise _no_queue()
        queue = await self._store.view(self._queues.get, call.params["QueueName"])
        return {"QueueUrl": _url(call, queue.name)}

    async def list_queues(self, call: Call) -> Output:
        """ListQueues"""
        prefix = call.params.get("QueueNamePrefix") or ""
        after = _from_token(call.params.get("NextToken"))
        names = await self._store.view(
            lambda view: _first(self._queues.all(view, prefix, after), (call.params.get("MaxResults") or _PAGE_MAX) + 1)
        )
        return _page(call, names, "QueueUrls")

    async def dead_letter_sources(self, call: Call) -> Output:
        """ListDeadLetterSourceQueues"""
        after = _from_token(call.params.get("NextToken"))
        found = await self._store.view(self._queues.sources, queue_name(call))
        return {"queueUrls": [], **_page(call, [queue.name for queue in found if queue.name > after], "queueUrls")}

    async def get_attributes(self, call: Call) -> Output:
        """GetQueueAttributes"""
        wanted = set(call.params.get("AttributeNames") or ())
        if unknown := wanted - _READABLE:
            raise attributes.unknown(min(unknown))
        known = await self._store.view(self._attributes, queue_name(call))
        chosen = {name: value for name, value in known.items() if "All" in wanted or name in wanted}
        return {"Attributes": chosen} if chosen else {}

    def _attributes(self, view: View, name: str) -> dict[str, str]:
        queue = self._queues.get(view, name)
        visible, taken, delayed = self._queues.counts(view, name)
        encrypted = {"SqsManagedSseEnabled": "false", "KmsDataKeyReusePeriodSeconds": _KMS_REUSE_S}
        own = {key: value for key, value in queue.attributes.items() if (key, value) != ("FifoQueue", "false")}
        return {
            **attributes.DEFAULTS,
            **(_FIFO_DEFAULTS if queue.fifo else {}),
            **(encrypted if "KmsMasterKeyId" in queue.attributes else {}),
            **own,
            **({"Policy": self._queues.shown_policy(view, queue)} if queue.policy else {}),
            "QueueArn": self._queues.arn(name),
            "ApproximateNumberOfMessages": str(visible),
            "ApproximateNumberOfMessagesNotVisible": str(taken),
            "ApproximateNumberOfMessagesDelayed": str(delayed),
            "CreatedTimestamp": str(queue.created_ms // 1000),
            "LastModifiedTimestamp": str(queue.modified_ms // 1000),
        }

    async def set_attributes(self, call: Call) -> Output:
        """SetQueueAttributes"""
        await self._store.commit(self._queues.set_attributes, queue_name(call), call.params["Attributes"])
        return None

    async def delete(self, call: Call) -> Output:
        """DeleteQueue"""
        await self._store.commit(self._queues.remove, queue_name(call))
        return None

    async def purge(self, call: Call) -> Output:
        """PurgeQueue"""
        await self._store.commit(self._queues.purge, queue_name(call))
        return None

    async def list_tags(self, call: Call) -> Output:
        """ListQueueTags"""
        queue = await self._store.view(self._queues.get, queue_name(call))
        return {"Tags": queue.tags} if queue.tags else {}

    async def tag(self, call: Call) -> Output:
        """TagQueue"""
        await self._store.commit(self._queues.tag, queue_name(call), call.params["Tags"], [])
        return None

    async def untag(self, call: Call) -> Output:
        """UntagQueue"""
        await self._store.commit(self._queues.tag, queue_name(call), {}, call.params["TagKeys"])
        return None

    async def add_permission(self, call: Call) -> Output:
        """AddPermission"""
        p = call.params
        given = p["Label"], p["AWSAccountIds"], p["Actions"]
        await self._store.commit(permissions.add, self._queues, queue_name(call), *given)
        return None

    async def remove_permission(self, call: Call) -> Output:
        """RemovePermission"""
        await self._store.commit(permissions.remove, self._queues, queue_name(call), call.params["Label"])
        return None

    # -- move tasks

    async def start_move(self, call: Call) -> Output:
        """StartMessageMoveTask; whoever starts it must have the right to do it one by one, too."""
        params = call.params
        source, destination = params["SourceArn"], params.get("DestinationArn")
        targets = [destination] if destination else await self._store.view(self._origins, str(source))
        asked = [("sqs:ReceiveMessage", source), ("sqs:DeleteMessage", source)]
        for action, arn in [*asked, *(("sqs:SendMessage", target) for target in targets)]:
            policy = await self._store.view(self._queues.policy, str(arn).rpartition(":")[2])
            authorize(call.principal, action, str(arn), call.conditions, policy)
        rate = params.get("MaxNumberOfMessagesPerSecond")
        handle = await self._store.commit(self._moves.start, source, destination, rate)
        return {"TaskHandle": handle}

    def _origins(self, view: View, source: str) -> list[str]:
        """The queues that messages go back to."""
        name = source.rpartition(":")[2]
        if self._queues.find(view, name) is None:
            return []  # as the service says to a caller who may know
        return [self._queues.arn(queue.name) for queue in self._queues.sources(view, name)]

    async def cancel_move(self, call: Call) -> Output:
        """CancelMessageMoveTask"""
        moved = await self._store.commit(self._moves.cancel, call.params["TaskHandle"])
        return {"ApproximateNumberOfMessagesMoved": moved}

    async def list_moves(self, call: Call) -> Output:
        """ListMessageMoveTasks"""
        count = call.params.get("MaxResults")
        tasks = await self._store.view(self._moves.newest, call.params["SourceArn"], 1 if count is None else count)
        return {"Results": [self._task(task) for task in tasks]}

    def _task(self, task: dict[str, Any]) -> dict[str, Any]:
        shown = {
            "Status": task["status"],
            "SourceArn": self._queues.arn(task["source"]),
            "ApproximateNumberOfMessagesMoved": task["moved"],
            "ApproximateNumberOfMessagesToMove": task["to_move"],
            "StartedTimestamp": task["started_ms"],
            "MaxNumberOfMessagesPerSecond": task["rate"],
            "FailureReason": task.get("failure"),
        }
        if task["destination"] is not None:
            shown["DestinationArn"] = self._queues.arn(task["destination"])
        if task["status"] == "RUNNING":
            shown["TaskHandle"] = self._moves.handle(task)
        return shown


def queue_name(call: Call) -> str:
    """The queue that a request is about, from its URL or name.

    Raises ``NotFound("queue")`` for another account's or region's, ``Invalid("address")`` for what is no queue's URL.
    """
    url = call.params.get("QueueUrl")
    if url is None:
        return str(call.params.get("QueueName", ""))
    if len(url) > _URL_CHARS_MAX:
        raise _no_address(url)
    return _name_in(url, call.scope.account, call.scope.region)


#: A host has 253 characters at most, an account 12 and a name 80; longer ones would also fill the memory of ``_name_in``.
_URL_CHARS_MAX: Final = 512


@lru_cache(maxsize=4096)  # clients say the same few URLs with each request
def _name_in(url: str, account: str, region: str) -> str:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        raise _no_address(url) from None
    owner, _, name = parts.path.strip("/").rpartition("/")
    if not name or not owner or "/" in owner:
        raise _no_address(url)
    place = host.split(".")
    elsewhere = len(place) > 2 and place[0] == "sqs" and "amazonaws" in place and place[1] != region
    if owner != account or elsewhere:
        raise _no_queue()
    return name


def _no_address(url: str) -> Invalid:
    return Invalid("address", f"The address {url[:300]} is not valid for this endpoint.")


def _no_queue() -> NotFound:
    return NotFound("queue", "The specified queue does not exist.")


def _url(call: Call, name: str) -> str:
    return f"{call.base_url}/{call.scope.account}/{name}"


def _move_source(call: Call) -> str:
    """The ARN that a move task is about; of a handle that can't be read, all of them."""
    arn = call.params.get("SourceArn")
    if arn is None:
        try:
            arn = json.loads(base64.b64decode(call.params["TaskHandle"])).get("sourceArn")
        except (ValueError, AttributeError, RecursionError):
            arn = None
    return arn if isinstance(arn, str) else "*"


def _first(queues: Any, count: int) -> list[str]:
    names: list[str] = []
    for queue in queues:
        if len(names) >= count:
            break
        names.append(queue.name)
    return names


def _page(call: Call, names: Sequence[str], member: str) -> dict[str, Any]:
    """As many as are asked for, and a token if there are more. Without MaxResults there is no paging, as on AWS."""
    count = call.params.get("MaxResults")
    if count is not None and not 1 <= count <= _PAGE_MAX:
        raise Invalid("max_results", f"Value {count} for parameter MaxResults is invalid. Reason: MaxResults must be "
                      f"between 1 and {_PAGE_MAX}.")  # fmt: skip
    page = names[: count or _PAGE_MAX]
    output: dict[str, Any] = {member: [_url(call, name) for name in page]} if page else {}
    if count is not None and len(names) > len(page):
        output["NextToken"] = base64.urlsafe_b64encode(page[-1].encode()).decode()
    return output


def _from_token(token: str | None) -> str:
    try:
        return base64.urlsafe_b64decode(token or "").decode()
    except ValueError:
        raise Invalid("token", "Invalid or expired next token.") from None
