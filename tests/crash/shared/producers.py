"""Clients that write all the time, whatever becomes of the server, and remember what was acknowledged.

Each request has an id of its own. One that got no answer is sent again with the same id until it is answered, so
that what is there at the end is judged by two numbers: whether it was acknowledged, and how often it was sent.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import urllib3
from botocore.exceptions import BotoCoreError, ClientError
from helpers.server import ServerProcess

AGAIN_S = 0.05  # before a request without an answer is sent again

#: What the loss of a connection looks like. An answer that is an error is none of these.
LOST = (BotoCoreError, urllib3.exceptions.HTTPError, OSError)
#: Of boto3's clients: it is the tests that try again.
CLIENT = {"retries": {"total_max_attempts": 1}, "connect_timeout": 5, "read_timeout": 20}

Send = Callable[[str, random.Random], Any]


@dataclass
class Sent:
    """One kind of request. ``tries`` counts how often each id was sent, ``acknowledged`` holds what was answered."""

    tries: dict[str, int] = field(default_factory=dict)
    acknowledged: dict[str, Any] = field(default_factory=dict)


class Cut(OSError):
    """An answer that ended after its head: botocore takes one whose body is cut off whole for an empty document."""


class Producers:
    """A thread for each of ``works`` (kind, and what sends a request of the given id), from ``start`` to ``end``.

    ``faults`` are answers that were errors: there must be none. ``cut`` counts answers that broke off after their head.
    """

    def __init__(self, server: ServerProcess, seed: int, pause_s: float, services: Iterable[str]) -> None:
        self.kinds: dict[str, Sent] = {}
        self.began: dict[str, float] = {}
        self.faults: list[str] = []
        self.cut = 0
        self.ending = threading.Event()  # no new requests
        self.clients = {name: server.client(name, **CLIENT) for name in services}
        self._seed = seed
        self._pause_s = pause_s  # between two requests of a producer, a little more or less
        self._threads: list[threading.Thread] = []

    def add(self, works: Iterable[tuple[str, Send]]) -> None:
        for number, (kind, send) in enumerate(works):
            self.kinds.setdefault(kind, Sent())
            self._threads.append(threading.Thread(target=self._run, args=(number, kind, send)))

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        self.ending.set()
        join(self._threads)

    def _run(self, producer: int, kind: str, send: Send) -> None:
        dice, sent, number = random.Random(f"{self._seed}/{producer}"), self.kinds[kind], 0
        while not self.ending.is_set():
            name = f"{kind}-{producer}-{number:06d}"
            number += 1
            self.began[name] = time.monotonic()
            try:
                self._until_answered(sent, name, lambda name=name: send(name, dice))
            except Exception as error:
                self.faults.append(f"{name}: {error!r}")
            self.ending.wait(self._pause_s * (0.5 + dice.random()))

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
                if self.ending.is_set():
                    return
                time.sleep(AGAIN_S)


def join(threads: Iterable[threading.Thread]) -> None:
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "a client hangs"


def given(answer: dict[str, Any], name: str) -> str:
    if name not in answer:
        raise Cut(f"no {name} in {answer}")
    return str(answer[name])


def producer_of(name: str) -> str:
    return name.rpartition("-")[0]


def number_of(name: str) -> int:
    return int(name.rpartition("-")[2])
