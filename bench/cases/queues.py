"""Queues, and topics that deliver to them."""

from __future__ import annotations

import json
import random
import time

from bench.case import Case, Made, repeat
from bench.load import Run, Script, check
from bench.queue_fill import fill
from bench.wire import Answer, Connection, Target

BODY = "x" * 256
SQS = "AmazonSQS"


def call(target: Target, operation: str, **members: object) -> bytes:
    """A request of SQS's JSON protocol."""
    return target.json("sqs", f"{SQS}.{operation}", json.dumps(members).encode())


def messages(answer: Answer | None) -> list[dict[str, str]]:
    """What a receive gave."""
    assert answer is not None
    found: list[dict[str, str]] = json.loads(answer.body or b"{}").get("Messages", [])
    return found


def clear(target: Target, url: str, received: list[dict[str, str]]) -> bytes:
    """Deletes all of ``received``."""
    entries = [{"Id": str(n), "ReceiptHandle": m["ReceiptHandle"]} for n, m in enumerate(received)]
    return call(target, "DeleteMessageBatch", QueueUrl=url, Entries=entries)


def take(target: Target, url: str, send: bytes) -> Script:
    """Send, receive one and delete it, without end; as many are taken as are sent, so no one waits in vain."""
    receive = call(target, "ReceiveMessage", QueueUrl=url, MaxNumberOfMessages=1, WaitTimeSeconds=1)
    while True:
        yield send
        received: list[dict[str, str]] = []
        while not received:
            received = messages((yield receive))
        yield call(target, "DeleteMessage", QueueUrl=url, ReceiptHandle=received[0]["ReceiptHandle"])
        yield 1


class Queue(Case):
    name = "SQS send + receive + delete"

    def prepare(self, target: Target) -> Made:
        return {"url": target.client("sqs").create_queue(QueueName="bench")["QueueUrl"]}

    def script(self, target: Target, made: Made, worker: int) -> Script:
        """Three requests with 256 bytes."""
        return take(target, made["url"], call(target, "SendMessage", QueueUrl=made["url"], MessageBody=BODY))


class Send(Case):
    name = "SQS send"
    connections = 32

    def prepare(self, target: Target) -> Made:
        return {"url": target.client("sqs").create_queue(QueueName="bench-send")["QueueUrl"]}

    def script(self, target: Target, made: Made, worker: int) -> Script:
        """256 bytes, one request."""
        return repeat([call(target, "SendMessage", QueueUrl=made["url"], MessageBody=BODY)])


class Shallow(Case):
    """Out of one of many queues that hold at most 100: each script begins with another, and passes over empty ones."""

    name = "SQS receive + delete, of 100"
    connections = 32
    moto = False
    queues = 300
    waiting = 100

    def prepare(self, target: Target) -> Made:
        client = target.client("sqs")
        names = [f"bench-{self.waiting}-{n}" for n in range(self.queues)]
        urls = [client.create_queue(QueueName=name)["QueueUrl"] for name in names]
        fill(target, names, self.waiting, BODY)
        return {"base": urls[0][: -len("0")]}

    def script(self, target: Target, made: Made, worker: int) -> Script:
        """Two requests with 256 bytes."""
        at = random.randrange(self.queues)
        while True:
            at = (at + 1) % self.queues
            url = f"{made['base']}{at}"
            receive = call(target, "ReceiveMessage", QueueUrl=url)
            while received := messages((yield receive)):
                yield call(target, "DeleteMessage", QueueUrl=url, ReceiptHandle=received[0]["ReceiptHandle"])
                yield 1


class Deep(Shallow):
    """Out of one queue."""

    name = "SQS receive + delete, of 1,000,000"
    queues = 1
    waiting = 1_000_000


class Publish(Case):
    name = "SNS publish to a queue, received"
    warm = 1

    @property
    def rows(self) -> tuple[str, ...]:
        return "SNS publish, acknowledged", self.name

    def prepare(self, target: Target) -> Made:
        sns, sqs = target.client("sns"), target.client("sqs")
        url = sqs.create_queue(QueueName="bench-topic")["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        topic = sns.create_topic(Name="bench")["TopicArn"]
        allowed = {"Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage",
                   "Resource": arn, "Condition": {"ArnEquals": {"aws:SourceArn": topic}}}  # fmt: skip
        policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
        return {"url": url, "topic": topic}

    def script(self, target: Target, made: Made, worker: int) -> Script:
        """Each connection publishes, receives one message (its own or another's) and deletes it."""
        return take(target, made["url"], self.wire(target, made))

    def wire(self, target: Target, made: Made) -> bytes:
        """A publish of 256 bytes."""
        return target.form("sns", Action="Publish", Version="2010-03-31", TopicArn=made["topic"], Message=BODY)

    def waiting(self, target: Target, made: Made, seconds: float) -> tuple[Run, Run]:
        """A long poll waits when the message is published: until the acknowledgement, and until it is received."""
        publisher, receiver = (Connection(target.port, time.perf_counter) for _ in range(2))
        publish, url = self.wire(target, made), made["url"]
        receive = call(target, "ReceiveMessage", QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=5)
        acknowledged, received = Run(), Run()
        ends = time.perf_counter() + seconds
        while time.perf_counter() < ends:
            receiver.send(receive)
            time.sleep(0.01)  # it waits now
            began = publisher.send(publish)
            answer, at = publisher.receive()
            check(answer)
            acknowledged.latencies.append(at - began)
            answer, at = receiver.receive()
            check(answer)
            if found := messages(answer):
                received.latencies.append(at - began)
                check(publisher.ask(clear(target, url, found))[0])
        publisher.close()
        receiver.close()
        return acknowledged, received
