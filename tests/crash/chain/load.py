"""What the chain's clients send (see ``shared.producers``)."""

from __future__ import annotations

import hashlib
import json
import random

import urllib3
from helpers.server import ServerProcess
from shared.producers import Producers, given, number_of, producer_of

LARGE = 300_000  # bytes: such an object is a blob beside the store
PAUSE_S = 0.02


class Refused(Exception):
    """The server answered, but with an error."""


class Load(Producers):
    """``outputs`` are those of the stack."""

    def __init__(self, server: ServerProcess, outputs: dict[str, str], seed: int) -> None:
        super().__init__(server, seed, PAUSE_S, ("s3", "sns", "sqs", "dynamodb", "kinesis"))
        self._outputs = outputs
        self._http = urllib3.PoolManager(maxsize=4, retries=False, timeout=20)
        self.add([
            ("object", self._upload), ("object", self._upload), ("message", self._publish), ("letter", self._send),
            ("job", self._ask), ("row", self._put_row), ("record", self._put_record), ("record", self._put_record),
        ])  # fmt: skip

    # -- the requests

    def _upload(self, name: str, dice: random.Random) -> str:
        """Its body follows from its key, so that a second try sends the same. Answers the body's SHA-256."""
        body = body_of(self._seed, name)
        place = {"Bucket": self._outputs["Bucket"], "Key": f"in/{name}"}
        url = self.clients["s3"].generate_presigned_url("put_object", Params=place)
        answer = self._http.request("PUT", url, body=body)
        if answer.status != 200:
            raise Refused(f"{answer.status}: {answer.data[:300]!r}")
        return hashlib.sha256(body).hexdigest()

    def _publish(self, name: str, dice: random.Random) -> str:
        answer = self.clients["sns"].publish(TopicArn=self._outputs["TopicArn"], Message=json.dumps({"id": name}))
        return given(answer, "MessageId")

    def _send(self, name: str, dice: random.Random) -> str:
        text = json.dumps({"id": name, "filler": "x" * dice.randrange(2000)})
        answer = self.clients["sqs"].send_message(QueueUrl=self._outputs["InboxUrl"], MessageBody=text)
        return given(answer, "MessageId")

    def _ask(self, name: str, dice: random.Random) -> str:
        text = json.dumps({"id": name})
        answer = self.clients["sqs"].send_message(QueueUrl=self._outputs["JobsUrl"], MessageBody=text)
        return given(answer, "MessageId")

    def _put_row(self, name: str, dice: random.Random) -> bool:
        row = {"id": {"S": name}, "number": {"N": str(number_of(name))}}
        self.clients["dynamodb"].put_item(TableName=self._outputs["RowsTable"], Item=row)
        return True

    def _put_record(self, name: str, dice: random.Random) -> tuple[str, str]:
        data = json.dumps({"id": name}).encode()
        key = producer_of(name)[::-1]  # by their hashes, the two producers write to two shards
        stream = self._outputs["StreamName"]
        answer = self.clients["kinesis"].put_record(StreamName=stream, Data=data, PartitionKey=key)
        return given(answer, "ShardId"), given(answer, "SequenceNumber")


def body_of(seed: int, name: str) -> bytes:
    """An upload's body: mostly small, now and then a blob."""
    dice = random.Random(f"{seed}/{name}")
    return dice.randbytes(LARGE + dice.randrange(9) if dice.random() < 0.08 else dice.randrange(4000))
