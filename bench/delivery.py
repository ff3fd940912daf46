"""What delivery is to reach: one publish to many queues, an upload until its webhook is called, publishes until received.

On a server of its own, without metrics of single reactions: its totals are asked for all the time.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context

import uvloop

from bench import load
from bench.case import Case, Made, Maker, repeat
from bench.cpu import cpu_s, settle
from bench.goal import Goal, at_least, at_most, number
from bench.load import Run, Script
from bench.report import percentile
from bench.wire import Connection, Target

NAME = "delivery"
SETTINGS = {"SLUICEWAY_DELIVERY__ALLOW_PRIVATE_TARGETS": "true", "SLUICEWAY_REACTIONS__METRICS_MAX": "0"}
WIDE, QUICK_WIDE = 1000, 100
PUTS_PER_S = 200
BODY = "x" * 256


@dataclass
class Delivery:
    """What was measured."""

    wide: int = 0
    wide_s: list[float] = field(default_factory=list)
    wide_commits: list[int] = field(default_factory=list)
    hook_s: list[float] = field(default_factory=list)
    put_s: list[float] = field(default_factory=list)
    published: dict[str, Run] = field(default_factory=dict)

    def goals(self) -> list[Goal]:
        """The issue's numbers."""
        commits = ", ".join(map(str, self.wide_commits))
        raw, signed = self.published["raw"], self.published["signed"]
        p50, p99 = (percentile(self.hook_s, at) for at in (50, 99))
        put = f"{len(self.hook_s)} uploads, acknowledged after {number(percentile(self.put_s, 50))} ms"
        return [
            at_most(
                f"one publish until the last of {self.wide} queues has it", 0.5, min(self.wide_s), "s",
                f"all: {', '.join(map(number, self.wide_s))}; commit groups: {commits}",
            ),
            at_most(f"upload to webhook at {PUTS_PER_S} PUT/s, median", 10, p50, "ms", put),
            at_most(f"upload to webhook at {PUTS_PER_S} PUT/s, p99", 50, p99, "ms"),
            at_most(
                "publish until the message is in the queue: server CPU", 0.20, raw.cpu_ms, "ms",
                f"raw; with the signed envelope {number(signed.cpu_ms)} ms",
            ),
            at_least(
                "publish until the message is in the queue", 3000, raw.per_s, "/s",
                f"raw; with the signed envelope {number(signed.per_s)}/s",
            ),
        ]  # fmt: skip


class Totals:
    """The server's counts, by name, for one who asks often."""

    def __init__(self, target: Target) -> None:
        self._connection = Connection(target.port, time.perf_counter)
        self._wire = f"GET /_sluiceway/metrics HTTP/1.1\r\nHost: 127.0.0.1:{target.port}\r\n\r\n".encode()

    def of(self, name: str) -> int:
        answer, _ = self._connection.ask(self._wire)
        found = re.search(rf"^sluiceway_{name}_total (\S+)", answer.body.decode(), re.M)
        assert found is not None, answer.body[:300]
        return int(float(found[1]))

    def until_delivered(self, count: int, within_s: float = 60.0) -> float:
        """When it was."""
        ends = time.perf_counter() + within_s
        while self.of("deliveries") < count:
            if time.perf_counter() > ends:
                raise RuntimeError(f"{self.of('deliveries')} of {count} deliveries")
            time.sleep(0.002)
        return time.perf_counter()


def topic(target: Target, name: str) -> str:
    """Its ARN."""
    arn: str = target.client("sns").create_topic(Name=name)["TopicArn"]
    return arn


def subscribed(target: Target, arn: str, name: str, raw: bool) -> None:
    """A queue that the topic may send to, and its subscription."""
    sqs = target.client("sqs")
    account, region = arn.split(":")[4], arn.split(":")[3]
    queue = f"arn:aws:sqs:{region}:{account}:{name}"
    allowed = {"Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage",
               "Resource": queue, "Condition": {"ArnEquals": {"aws:SourceArn": arn}}}  # fmt: skip
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    sqs.create_queue(QueueName=name, Attributes={"Policy": policy})
    attributes = {"RawMessageDelivery": "true"} if raw else {}
    target.client("sns").subscribe(TopicArn=arn, Protocol="sqs", Endpoint=queue, Attributes=attributes)


def publish(target: Target, arn: str) -> bytes:
    """A publish of 256 bytes."""
    return target.form("sns", Action="Publish", Version="2010-03-31", TopicArn=arn, Message=BODY)


class Publishing(Case):
    """Publishes, and nothing else."""

    def script(self, target: Target, made: Made, worker: int) -> Script:
        return repeat([publish(target, made["topic"])])


def measure(target: Target, quick: bool) -> Delivery:
    """All of it, one after the other."""
    found = Delivery()
    with ProcessPoolExecutor(1, get_context("spawn")) as clients:
        for name in ("raw", "signed"):
            found.published[name] = _publishing(target, clients, name, 0.5 if quick else 4.0)
    _uploads(target, found, 1.0 if quick else 10.0)
    _wide(target, found, QUICK_WIDE if quick else WIDE, 2 if quick else 5)
    return found


def _publishing(target: Target, clients: ProcessPoolExecutor, name: str, seconds: float) -> Run:
    """At sixteen connections; processor time and clock run until the last message is in its queue."""
    arn = topic(target, name)
    subscribed(target, arn, name, raw=name == "raw")
    totals, make = Totals(target), Maker(Publishing(), target, {"topic": arn})
    clients.submit(load.concurrent, target, make, 0.3, 16, False).result()
    settle(target.pid)
    delivered, cpu = totals.of("deliveries"), cpu_s(target.pid)
    run = clients.submit(load.concurrent, target, make, seconds, 16, False).result()
    over = time.perf_counter()
    behind_s = totals.until_delivered(delivered + run.operations) - over
    settle(target.pid)
    whole = totals.of("deliveries") - delivered  # with the few before and after the load's clock
    return Run(run.seconds + behind_s, run.operations, (cpu_s(target.pid) - cpu) * run.operations / whole)


def _wide(target: Target, found: Delivery, count: int, rounds: int) -> None:
    arn = topic(target, "wide")
    for number_ in range(count):
        subscribed(target, arn, f"wide-{number_}", raw=False)
    totals, connection, wire = Totals(target), Connection(target.port, time.perf_counter), publish(target, arn)
    found.wide = count
    for _ in range(rounds):
        settle(target.pid)
        before, commits = totals.of("deliveries"), totals.of("store_commits")
        began = connection.send(wire)
        load.check(connection.receive()[0])
        found.wide_s.append(totals.until_delivered(before + count) - began)
        found.wide_commits.append(totals.of("store_commits") - commits - 1)  # without the publish's own


def _uploads(target: Target, found: Delivery, seconds: float) -> None:
    """To a bucket that tells a topic, which calls a webhook in this process."""
    arn, s3 = topic(target, "uploads"), target.client("s3")
    allowed = {"Effect": "Allow", "Principal": "*", "Action": "sns:Publish", "Resource": arn}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    target.client("sns").set_topic_attributes(TopicArn=arn, AttributeName="Policy", AttributeValue=policy)
    s3.create_bucket(Bucket="uploads")
    rule = {"TopicArn": arn, "Events": ["s3:ObjectCreated:*"]}
    s3.put_bucket_notification_configuration(
        Bucket="uploads", NotificationConfiguration={"TopicConfigurations": [rule]}
    )
    uvloop.run(_uploading(target, found, arn, seconds))


class _Hook(asyncio.Protocol):
    """The webhook: notes when a request about a key is here, and answers."""

    def __init__(self, entered: dict[str, float], tokens: asyncio.Queue[str]) -> None:
        self._entered = entered
        self._tokens = tokens
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        self._buffer += data
        head, split, rest = self._buffer.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head, re.I)
        if not split or length is None or len(rest) < int(length[1]):
            return
        self._buffer = b""
        assert self._transport is not None
        self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        post = json.loads(rest)
        if post["Type"] == "SubscriptionConfirmation":
            self._tokens.put_nowait(post["Token"])
        elif "Records" in (message := json.loads(post["Message"])):
            self._entered.setdefault(message["Records"][0]["s3"]["object"]["key"], now)


async def _uploading(target: Target, found: Delivery, arn: str, seconds: float) -> None:
    """Each upload at its time, on a connection of a few that is free: what the one before delays counts."""
    loop = asyncio.get_running_loop()
    entered: dict[str, float] = {}
    acknowledged: dict[str, float] = {}
    tokens: asyncio.Queue[str] = asyncio.Queue()
    server = await loop.create_server(lambda: _Hook(entered, tokens), "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
    sns = target.client("sns")
    await asyncio.to_thread(sns.subscribe, TopicArn=arn, Protocol="http", Endpoint=url)
    token = await asyncio.wait_for(tokens.get(), 20)
    await asyncio.to_thread(sns.confirm_subscription, TopicArn=arn, Token=token)
    warm, count = PUTS_PER_S // 2, int(PUTS_PER_S * seconds)
    wires = [target.wire("s3", "PUT", f"/uploads/{n:06}", b"x" * 1024) for n in range(warm + count)]
    free: asyncio.Queue[load.Asking] = asyncio.Queue()
    for _ in range(16):
        free.put_nowait((await loop.create_connection(load.Asking, "127.0.0.1", target.port))[1])

    async def put(number_: int, at: float) -> None:
        await asyncio.sleep(at - time.perf_counter())
        connection = await free.get()
        began = time.perf_counter()
        load.check(await connection.ask(wires[number_]))
        acknowledged[f"{number_:06}"] = now = time.perf_counter()
        free.put_nowait(connection)
        if number_ >= warm:
            found.put_s.append(now - began)

    begins = time.perf_counter() + 0.1
    await asyncio.gather(*(put(n, begins + n / PUTS_PER_S) for n in range(len(wires))))
    for _ in range(200):
        await asyncio.sleep(0.1 * (len(entered) < len(wires)))
    server.close()
    if len(entered) < len(wires):
        raise RuntimeError(f"the webhook was called for {len(entered)} of {len(wires)} uploads")
    found.hook_s = [max(0.0, entered[key] - at) for key, at in sorted(acknowledged.items())[warm:]]
