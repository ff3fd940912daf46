"""Clients that write all the time, whatever becomes of the server, and remember what was acknowledged.

Each request has an id of its own. One that got no answer is sent again with the same id until it is answered, so
that what is there at the end is judged by two numbers: whether it was acknowledged, and how often it was sent.
"""

from __future__ import annotations

import hashlib
import json
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import urllib3
from botocore.exceptions import BotoCoreError, ClientError
from helpers.server import ServerProcess

LARGE = 300_000  # bytes: such an object is a blob beside the store
PAUSE_S = 0.02  # between two requests of a producer, a little more or less
AGAIN_S = 0.05  # before a request without an answer is sent again

#: What the loss of a connection looks like. An answer that is an error is none of these.
LOST = (BotoCoreError, urllib3.exceptions.HTTPError, OSError)


@dataclass
class Sent:
    """One kind of request. ``tries`` counts how often each id was sent, ``acknowledged`` holds what was answered."""

    tries: dict[str, int] = field(default_factory=dict)
    acknowledged: dict[str, Any] = field(default_factory=dict)


class Refused(Exception):
    """The server answered, but with an error."""


class Cut(OSError):
    """An answer that ended after its head: botocore takes one whose body is cut off whole for an empty document."""


class Load:
    """Threads from ``start`` to ``end``. ``faults`` are answers that were errors: there must be none.

    ``cut`` counts answers that broke off after their head.
    """

    def __init__(self, server: ServerProcess, outputs: dict[str, str], seed: int) -> None:
        self.kinds = {name: Sent() for name in ("object", "message", "letter", "job", "row", "record")}
        self.faults: list[str] = []
        self.cut = 0
        self._outputs = outputs
        self._server = server
        self._seed = seed
        self._ending = threading.Event()
        settings = {"retries": {"total_max_attempts": 1}, "connect_timeout": 5, "read_timeout": 20}
        self._clients = {name: server.client(name, **settings) for name in ("s3", "sns", "sqs", "dynamodb", "kinesis")}
        self._http = urllib3.PoolManager(maxsize=4, retries=False, timeout=20)
        works: list[tuple[str, Callable[[str, random.Random], Any]]] = [
            ("object", self._upload), ("object", self._upload), ("message", self._publish), ("letter", self._send),
            ("job", self._ask), ("row", self._put_row), ("record", self._put_record), ("record", self._put_record),
        ]  # fmt: skip
        self._threads = [threading.Thread(target=self._run, args=(n, *work)) for n, work in enumerate(works)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive(), "a client hangs"

    def _run(self, producer: int, kind: str, send: Callable[[str, random.Random], Any]) -> None:
        dice, sent, number = random.Random(f"{self._seed}/{producer}"), self.kinds[kind], 0
        while not self._ending.is_set():
            name = f"{kind}-{producer}-{number:06d}"
            number += 1
            try:
                self._until_answered(sent, name, lambda name=name: send(name, dice))
            except Exception as error:
                self.faults.append(f"{name}: {error!r}")
            self._ending.wait(PAUSE_S * (0.5 + dice.random()))

    def _until_answered(self, sent: Sent, name: str, send: Callable[[], Any]) -> None:
        while True:
            sent.tries[name] = sent.tries.get(name, 0) + 1
            try:
                sent.acknowledged[name] = send()
                return
            except ClientError:
                raise
            except LOST as error:
                self.cut += isinstance(error, Cut)
                if self._ending.is_set():
                    return
                time.sleep(AGAIN_S)

    # -- the requests

    def _upload(self, name: str, dice: random.Random) -> str:
        """Its body follows from its key, so that a second try sends the same. Answers the body's SHA-256."""
        body = body_of(self._seed, name)
        place = {"Bucket": self._outputs["Bucket"], "Key": f"in/{name}"}
        url = self._clients["s3"].generate_presigned_url("put_object", Params=place)
        answer = self._http.request("PUT", url, body=body)
        if answer.status != 200:
            raise Refused(f"{answer.status}: {answer.data[:300]!r}")
        return hashlib.sha256(body).hexdigest()

    def _publish(self, name: str, dice: random.Random) -> str:
        answer = self._clients["sns"].publish(TopicArn=self._outputs["TopicArn"], Message=json.dumps({"id": name}))
        return _given(answer, "MessageId")

    def _send(self, name: str, dice: random.Random) -> str:
        text = json.dumps({"id": name, "filler": "x" * dice.randrange(2000)})
        answer = self._clients["sqs"].send_message(QueueUrl=self._outputs["InboxUrl"], MessageBody=text)
        return _given(answer, "MessageId")

    def _ask(self, name: str, dice: random.Random) -> str:
        text = json.dumps({"id": name})
        answer = self._clients["sqs"].send_message(QueueUrl=self._outputs["JobsUrl"], MessageBody=text)
        return _given(answer, "MessageId")

    def _put_row(self, name: str, dice: random.Random) -> bool:
        row = {"id": {"S": name}, "number": {"N": str(number_of(name))}}
        self._clients["dynamodb"].put_item(TableName=self._outputs["RowsTable"], Item=row)
        return True

    def _put_record(self, name: str, dice: random.Random) -> tuple[str, str]:
        data = json.dumps({"id": name}).encode()
        key = producer_of(name)[::-1]  # by their hashes, the two producers write to two shards
        stream = self._outputs["StreamName"]
        answer = self._clients["kinesis"].put_record(StreamName=stream, Data=data, PartitionKey=key)
        return _given(answer, "ShardId"), _given(answer, "SequenceNumber")


def _given(answer: dict[str, Any], name: str) -> str:
    if name not in answer:
        raise Cut(f"no {name} in {answer}")
    return str(answer[name])


def body_of(seed: int, name: str) -> bytes:
    """An upload's body: mostly small, now and then a blob."""
    dice = random.Random(f"{seed}/{name}")
    return dice.randbytes(LARGE + dice.randrange(9) if dice.random() < 0.08 else dice.randrange(4000))


def producer_of(name: str) -> str:
    return name.rpartition("-")[0]


def number_of(name: str) -> int:
    return int(name.rpartition("-")[2])
