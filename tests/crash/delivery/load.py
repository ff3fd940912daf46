"""Clients that write, receive and delete all the time, whatever becomes of the server, and remember what was answered."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError
from chain.load import AGAIN_S, LOST, Sent, _given
from helpers.server import ServerProcess

PAUSE_S = 0.03


@dataclass
class Consumer:
    """What a queue gave to its one reader: (message id, name) as received, and the ids whose deletion was answered."""

    received: list[tuple[str, str, str]] = field(default_factory=list)
    deleted: set[str] = field(default_factory=set)
    again: list[str] = field(default_factory=list)  # received although their deletion had been answered


class Load:
    """Threads from ``start`` to ``end``. ``faults`` are answers that were errors: there must be none."""

    def __init__(self, server: ServerProcess, places: dict[str, str], seed: int) -> None:
        self.kinds = {name: Sent() for name in ("object", "news", "loud", "order", "work")}
        self.began: dict[str, float] = {}
        self.consumers = {"orders": Consumer(), "work": Consumer()}
        self.faults: list[str] = []
        self.places = places
        self._seed = seed
        self._ending = threading.Event()  # no new requests
        self._done = threading.Event()  # no more receptions
        settings = {"retries": {"total_max_attempts": 1}, "connect_timeout": 5, "read_timeout": 20}
        self._clients = {name: server.client(name, **settings) for name in ("s3", "sns", "sqs")}
        works: list[tuple[str, Callable[[str, int], Any]]] = [
            ("object", self._put), ("news", self._publish), ("news", self._publish), ("loud", self._publish),
            ("order", self._order), ("order", self._order), ("order", self._order), ("work", self._send),
        ]  # fmt: skip
        self._producers = [threading.Thread(target=self._run, args=(n, *work)) for n, work in enumerate(works)]
        self._readers = [threading.Thread(target=self._read, args=(name,)) for name in self.consumers]

    def start(self) -> None:
        for thread in (*self._producers, *self._readers):
            thread.start()

    def end(self) -> None:
        """Producers first."""
        self._ending.set()
        self._join(self._producers)

    def stop_reading(self) -> None:
        self._done.set()
        self._join(self._readers)

    def _join(self, threads: list[threading.Thread]) -> None:
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive(), "a client hangs"

    def _run(self, producer: int, kind: str, send: Callable[[str, int], Any]) -> None:
        dice, sent, number = random.Random(f"{self._seed}/{producer}"), self.kinds[kind], 0
        while not self._ending.is_set():
            name = f"{kind}-{producer}-{number:06d}"
            number += 1
            self.began[name] = time.monotonic()
            try:
                self._until_answered(sent, name, lambda name=name: send(name, producer))
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
            except LOST:
                if self._ending.is_set():
                    return
                time.sleep(AGAIN_S)

    def _put(self, name: str, producer: int) -> str:
        answer = self._clients["s3"].put_object(Bucket=self.places["bucket"], Key=name, Body=name.encode() * 50)
        return _given(answer, "ETag")

    def _publish(self, name: str, producer: int) -> str:
        loud = {"channel": {"DataType": "String", "StringValue": name.partition("-")[0]}}
        answer = self._clients["sns"].publish(
            TopicArn=self.places["news"], Message=json.dumps({"id": name}), MessageAttributes=loud
        )
        return _given(answer, "MessageId")

    def _order(self, name: str, producer: int) -> str:
        answer = self._clients["sns"].publish(
            TopicArn=self.places["orders"], Message=json.dumps({"id": name}), MessageGroupId=str(producer),
            MessageDeduplicationId=name,
        )  # fmt: skip
        return _given(answer, "MessageId")

    def _send(self, name: str, producer: int) -> str:
        answer = self._clients["sqs"].send_message(
            QueueUrl=self.places["work_url"], MessageBody=json.dumps({"id": name})
        )
        return _given(answer, "MessageId")

    # -- reading

    def _read(self, queue: str) -> None:
        consumer, dice = self.consumers[queue], random.Random(f"{self._seed}/{queue}")
        while not self._done.is_set():
            try:
                self._read_once(self.places[f"{queue}_url"], consumer, dice)
            except ClientError as error:
                if "ReceiptHandleIsInvalid" not in str(error):  # its time was over while the server was away
                    self.faults.append(f"{queue}: {error!r}")
            except LOST:
                time.sleep(AGAIN_S)

    def _read_once(self, url: str, consumer: Consumer, dice: random.Random) -> None:
        sqs = self._clients["sqs"]
        found = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=5, WaitTimeSeconds=1, VisibilityTimeout=4)
        for message in found.get("Messages", []):
            if message["MessageId"] in consumer.deleted:
                consumer.again.append(message["MessageId"])
            name = json.loads(message["Body"])["id"]
            consumer.received.append((message["MessageId"], name, message["ReceiptHandle"]))
            if dice.random() < 0.05 and not self._ending.is_set():
                return  # as a consumer that crashed: these come again
            answer = sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            if answer.get("ResponseMetadata", {}).get("HTTPStatusCode") == 200:
                consumer.deleted.add(message["MessageId"])
