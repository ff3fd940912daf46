"""What the clients of ``test_delivery`` send, receive and delete (see ``shared.producers``)."""

from __future__ import annotations

import json
import random
import threading
import time
from dataclasses import dataclass, field

from botocore.exceptions import ClientError
from helpers.server import ServerProcess
from shared.producers import AGAIN_S, LOST, Producers, given, join, producer_of

PAUSE_S = 0.03


@dataclass
class Consumer:
    """What a queue gave to its one reader: (message id, name) as received, and the ids whose deletion was answered."""

    received: list[tuple[str, str, str]] = field(default_factory=list)
    deleted: set[str] = field(default_factory=set)
    again: list[str] = field(default_factory=list)  # received although their deletion had been answered


class Load(Producers):
    """``end`` ends the producers, ``stop_reading`` those who receive."""

    def __init__(self, server: ServerProcess, places: dict[str, str], seed: int) -> None:
        super().__init__(server, seed, PAUSE_S, ("s3", "sns", "sqs"))
        self.consumers = {"orders": Consumer(), "work": Consumer()}
        self.places = places
        self._done = threading.Event()  # no more receptions
        self.add([
            ("object", self._put), ("news", self._publish), ("news", self._publish), ("loud", self._publish),
            ("order", self._order), ("order", self._order), ("order", self._order), ("work", self._work),
        ])  # fmt: skip
        self._readers = [threading.Thread(target=self._read, args=(name,)) for name in self.consumers]

    def start(self) -> None:
        super().start()
        for thread in self._readers:
            thread.start()

    def stop_reading(self) -> None:
        self._done.set()
        join(self._readers)

    def _put(self, name: str, dice: random.Random) -> str:
        answer = self.clients["s3"].put_object(Bucket=self.places["bucket"], Key=name, Body=name.encode() * 50)
        return given(answer, "ETag")

    def _publish(self, name: str, dice: random.Random) -> str:
        loud = {"channel": {"DataType": "String", "StringValue": name.partition("-")[0]}}
        answer = self.clients["sns"].publish(
            TopicArn=self.places["news"], Message=json.dumps({"id": name}), MessageAttributes=loud
        )
        return given(answer, "MessageId")

    def _order(self, name: str, dice: random.Random) -> str:
        answer = self.clients["sns"].publish(
            TopicArn=self.places["orders"], Message=json.dumps({"id": name}), MessageGroupId=producer_of(name),
            MessageDeduplicationId=name,
        )  # fmt: skip
        return given(answer, "MessageId")

    def _work(self, name: str, dice: random.Random) -> str:
        answer = self.clients["sqs"].send_message(
            QueueUrl=self.places["work_url"], MessageBody=json.dumps({"id": name})
        )
        return given(answer, "MessageId")

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
        sqs = self.clients["sqs"]
        found = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=5, WaitTimeSeconds=1, VisibilityTimeout=4)
        for message in found.get("Messages", []):
            if message["MessageId"] in consumer.deleted:
                consumer.again.append(message["MessageId"])
            name = json.loads(message["Body"])["id"]
            consumer.received.append((message["MessageId"], name, message["ReceiptHandle"]))
            if dice.random() < 0.05 and not self.ending.is_set():
                return  # as a consumer that crashed: these come again
            answer = sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            if answer.get("ResponseMetadata", {}).get("HTTPStatusCode") == 200:
                consumer.deleted.add(message["MessageId"])
