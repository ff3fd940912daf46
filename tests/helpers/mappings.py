"""Event source mappings in the test's own process, with a function that does what a test wants."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from helpers.inprocess import SCOPE, boto, call
from sluiceway.config import (
    MappingSettings,
)
from sluiceway.core.invoker import Invocation
from sluiceway.core.store import Tx, View
from sluiceway.edges.aws.codecs import Codecs
from sluiceway.edges.aws.inprocess import InProcessClient
from sluiceway.engines.sqlite.store import SqliteStore
from sluiceway.errors import AccessDenied, AlreadyExists, Invalid, NotFound, Throttled
from sluiceway.reactions.sources import QueuePoller
from sluiceway.services.mappings import Mappings
from sluiceway.services.queues import Queues
from sluiceway.services.reactions import Reactions
from sluiceway.services.streams import Streams

STREAM = "arn:aws:kinesis:us-east-1:000000000000:stream/s"
TABLE = "arn:aws:dynamodb:us-east-1:000000000000:table/t/stream/2026-01-01T00:00:00.000"
QUEUE = "arn:aws:sqs:us-east-1:000000000000:"
ROLE = "arn:aws:iam::000000000000:role/r"
LIMITS = MappingSettings(retry_ms_min=20, retry_ms_max=40, recover_s=0.05, idle_s=0.5)
CODECS = Codecs()
PARTIAL = ["ReportBatchItemFailures"]
ERRORS = {
    (NotFound, "*"): "ResourceNotFoundException",
    (AlreadyExists, "*"): "ResourceConflictException",
    (Invalid, "*"): "InvalidParameterValueException",
}


class Functions:
    """Functions "f" and "g" with one role; ``denied`` is what it may not use."""

    def __init__(self) -> None:
        self.denied: set[str] = set()

    def exists(self, view: View, name: str) -> bool:
        return name in ("f", "g")

    def plain_name(self, text: str) -> str:
        return text.rpartition(":")[2]

    def arn(self, name: str) -> str:
        return SCOPE.arn("lambda", f"function:{name}")

    def may_use(self, function: str, arn: str, view: View) -> None:
        if arn in self.denied:
            raise AccessDenied("access", "no")


class Tables:
    """One table with changes."""

    def stream_log(self, view: View, stream_arn: str) -> str:
        if stream_arn != TABLE:
            raise NotFound("table", "no such stream")
        return "table/t"


@dataclass
class Fake:
    """A function: ``behave`` gets the event's records and returns its answer; what it raises is an error."""

    behave: Callable[[list[Any]], Any] = lambda records: None
    batches: list[list[Any]] = field(default_factory=list)
    running: int = 0
    most: int = 0

    async def invoke(self, function: str, payload: bytes, **_: Any) -> Invocation:
        records = json.loads(payload)["Records"]
        self.batches.append(records)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            answer = self.behave(records)
            if asyncio.iscoroutine(answer):
                answer = await answer
        except (NotFound, Throttled):
            raise
        except Exception as error:
            document = {"errorMessage": str(error), "errorType": type(error).__name__}
            return Invocation(json.dumps(document).encode(), "Handled", "$LATEST", b"", 1.0, "r")
        finally:
            self.running -= 1
        return Invocation(json.dumps(answer).encode(), None, "$LATEST", b"", 1.0, "r")

    @property
    def data(self) -> list[list[str]]:
        """What came, batch by batch."""
        return [[data_of(record) for record in batch] for batch in self.batches]


def data_of(record: Any) -> str:
    if "kinesis" in record:
        return base64.b64decode(record["kinesis"]["data"]).decode()
    return str(record["body"] if "body" in record else record["dynamodb"]["SequenceNumber"])


@dataclass
class Bench:
    """Everything, with an address for boto3."""

    url: str
    store: SqliteStore
    streams: Streams
    queues: Queues
    mappings: Mappings
    reactions: Reactions
    functions: Functions
    fake: Fake
    client: InProcessClient
    poller: QueuePoller

    @cached_property
    def api(self) -> Any:
        return boto(self.url, "lambda", parameter_validation=False)

    async def map(self, source: str = STREAM, function: str = "f", **more: Any) -> Any:
        if not source.startswith(QUEUE):
            more.setdefault("StartingPosition", "TRIM_HORIZON")
        return await call(self.api.create_event_source_mapping, EventSourceArn=source, FunctionName=function, **more)

    async def put(self, *data: str, key: str = "k") -> None:
        records = [(one.encode(), key, None) for one in data]
        await self.store.commit(self.streams.put_many, "s", records)

    async def send(self, name: str, *bodies: str, **more: Any) -> None:
        def all_of_them(tx: Tx) -> None:
            for at, body in enumerate(bodies):
                self.queues.send(tx, name, body, **more, **({"deduplication_id": f"{body}{at}"} if more else {}))

        await self.store.commit(all_of_them)

    async def queue(self, name: str, **attributes: str) -> None:
        await self.store.commit(self.queues.create, name, {"VisibilityTimeout": "1", **attributes}, {})

    async def left(self, name: str) -> tuple[int, int, int]:
        return await self.store.view(self.queues.counts, name)

    async def bodies(self, name: str) -> list[str]:
        taken = await self.store.commit(self.queues.receive, name, 10)
        return [message.body for message in taken]
