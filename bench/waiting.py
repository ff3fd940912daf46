"""A start with many messages waiting in a queue, and the memory that they take."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bench.cases.queues import BODY, call, messages
from bench.goal import Goal, at_most, number
from bench.load import check
from bench.queue_fill import fill_folder
from bench.server import environment, free_port
from bench.starts import IDLE_S, MIB, ROUNDS, first_answer, sizes_of
from bench.wire import Connection, Target

NAME = "messages waiting"
COUNT, QUICK_COUNT = 10_000_000, 100_000
USED: Final = 1000  # sends, receives and deletes before memory is looked at
GROWTH_MIB: Final = 8  # "flat" within what this can tell; the messages have 2.4 GB
_QUEUE: Final = "waiting"


@dataclass
class Waiting:
    """Seconds of each start and of the filling, the file's bytes, and resident bytes without and with the messages."""

    count: int
    filled_s: float = 0.0
    file_bytes: int = 0
    starts: list[float] = field(default_factory=list)
    before: int = 0
    after: int = 0

    def goals(self) -> list[Goal]:
        """The issue's numbers."""
        size = f"{number(self.file_bytes / 1e9)} GB, filled in {self.filled_s:.0f} s"
        grown = (self.after - self.before) / MIB
        said = f"{number(self.before / MIB)} MiB with an empty queue, {number(self.after / MIB)} MiB with the full one"
        taken = "all: " + ", ".join(map(number, self.starts))
        return [
            at_most(f"start with {self.count} messages waiting", 2, min(self.starts), "s", f"{taken}; {size}"),
            at_most(f"memory that {self.count} waiting messages take", GROWTH_MIB, grown, "MiB", said),
        ]


def measure(data: Path, quick: bool) -> Waiting:
    """``data`` is a folder that is not there yet."""
    found = Waiting(QUICK_COUNT if quick else COUNT)
    with _server(data, lambda target: target.wire("s3", "GET", "/")) as (target, _):
        client = target.client("sqs")
        client.create_queue(QueueName=_QUEUE)
        found.before = _used(target, client.create_queue(QueueName="empty")["QueueUrl"])
    began = time.perf_counter()
    fill_folder(data, [_QUEUE], found.count, BODY)
    found.filled_s = time.perf_counter() - began
    found.file_bytes = (data / "store.db").stat().st_size
    subprocess.run(["sync"], check=False)  # so that the starts don't wait for what was filled in
    for _ in range(ROUNDS):
        with _server(data, _receive) as (target, seconds):
            found.starts.append(seconds)
            found.after = _used(target, _url(target.port))
    return found


@contextmanager
def _server(data: Path, request: Callable[[Target], bytes]) -> Iterator[tuple[Target, float]]:
    """A server, and the seconds from its process's beginning until it answered ``request``."""
    port = free_port()
    command = [sys.executable, "-m", "sluiceway", "up", "--data", str(data), "--port", str(port)]
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment(data.parent)) as process:
        try:
            target = first_answer(process, data, port, request)
            yield target, time.perf_counter() - began
        finally:
            process.terminate()


def _receive(target: Target) -> bytes:
    return call(target, "ReceiveMessage", QueueUrl=_url(target.port), VisibilityTimeout=0)


def _url(port: int) -> str:
    return f"http://127.0.0.1:{port}/000000000000/{_QUEUE}"


def _used(target: Target, url: str) -> int:
    """Bytes of the resident set after some use."""
    connection = Connection(target.port, time.perf_counter)
    send = call(target, "SendMessage", QueueUrl=url, MessageBody=BODY)
    receive = call(target, "ReceiveMessage", QueueUrl=url)
    for _ in range(USED):
        check(connection.ask(send)[0])
        taken = messages(connection.ask(receive)[0])
        delete = call(target, "DeleteMessage", QueueUrl=url, ReceiptHandle=taken[0]["ReceiptHandle"])
        check(connection.ask(delete)[0])
    connection.close()
    time.sleep(IDLE_S)
    return sizes_of(target.pid)["Rss"]
