"""From a FIFO topic to a FIFO queue, with time that a test moves: each of them knows a message again for five minutes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from helpers.reactions import Bench, open_bench
from helpers.waiting import until

from sluiceway.config import QueueSettings, TopicSettings
from sluiceway.core.identity import Scope
from sluiceway.reactions.targets.queue import QueueTarget
from sluiceway.reactions.targets.signing import open_signer
from sluiceway.services.access import authorize
from sluiceway.services.queues import Queues
from sluiceway.services.topics import Publication, Topics
from sluiceway.services.topics.envelopes import Envelopes

SCOPE = Scope("000000000000", "us-east-1")
FIVE_MINUTES_MS = 300_000


@dataclass
class Line:
    bench: Bench
    topics: Topics
    queues: Queues
    reaction: str

    async def publish(self, text: str) -> str:
        given = Publication(text, group_id="g")
        return (await self.bench.store.commit(self.topics.post, "t.fifo", given)).message_id

    async def settled(self, count: int) -> bool:
        status = await self.bench.status(self.reaction)
        return (status.position.delivered, status.lag, status.parked) == (count, 0, 0)

    async def drained(self) -> list[str]:
        """What is in the queue; it is deleted."""
        texts: list[str] = []
        while got := await self.bench.store.commit(self.queues.receive, "q.fifo", 10):
            for one in got:
                texts.append(one.body)
                await self.bench.store.commit(self.queues.delete, "q.fifo", one.receipt_handle)
        return texts


@pytest.fixture
async def line(tmp_path: Path) -> AsyncIterator[Line]:
    async with open_bench(tmp_path) as bench:
        queues = Queues(SCOPE, QueueSettings())
        topics = Topics(SCOPE, TopicSettings(), bench.reactions)
        envelopes = Envelopes(open_signer(tmp_path), lambda: "http://here")
        bench.targets["queue"] = QueueTarget(envelopes, queues, authorize, SCOPE)
        commit, content = bench.store.commit, {"ContentBasedDeduplication": "true"}
        statement = {"Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage", "Resource": "*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        await commit(queues.create, "q.fifo", {"FifoQueue": "true", "Policy": policy, **content}, {})
        await commit(topics.create, "t.fifo", {"FifoTopic": "true", **content})
        raw = {"RawMessageDelivery": "true"}
        made = await commit(topics.subscribe, "t.fifo", "sqs", queues.arn("q.fifo"), raw)
        await bench.start()
        yield Line(bench, topics, queues, made.reaction_id)


async def test_what_waited_together_arrives_although_its_ids_are_the_same(line: Line) -> None:
    """The topic took them for different messages, as they came five minutes apart: the queue, which gets both at once,
    has no other opinion."""
    reactions, store = line.bench.reactions, line.bench.store
    await store.commit(reactions.pause, line.reaction)
    ids = []
    for _ in range(3):
        ids.append(await line.publish("beat"))
        line.bench.clock.ms += 1
        assert await line.publish("beat") == ids[-1]  # within the five minutes
        line.bench.clock.ms += FIVE_MINUTES_MS - 1
    assert len(set(ids)) == 3
    await store.commit(reactions.resume, line.reaction)
    await until(lambda: line.settled(3))
    assert await line.drained() == ["beat"] * 3
    await store.commit(reactions.replay, line.reaction, offset=2)  # the last one once more: that the queue knows
    await until(lambda: line.settled(4))
    assert await line.drained() == []


async def test_a_message_arrives_however_late_the_one_before_it_did(line: Line) -> None:
    await line.bench.store.commit(line.bench.reactions.pause, line.reaction)
    await line.publish("beat")
    line.bench.clock.ms += FIVE_MINUTES_MS - 1
    await line.bench.store.commit(line.bench.reactions.resume, line.reaction)
    await until(lambda: line.settled(1))
    line.bench.clock.ms += 1
    await line.publish("beat")
    await until(lambda: line.settled(2))
    assert await line.drained() == ["beat", "beat"]


async def test_a_queues_own_senders_are_known_again_for_five_minutes(line: Line) -> None:
    send = line.queues.send
    for wait_ms, fresh in ((0, True), (FIVE_MINUTES_MS - 1, False), (1, True)):
        line.bench.clock.ms += wait_ms
        await line.bench.store.commit(send, "q.fifo", "hello", group_id="g")
        assert await line.drained() == (["hello"] if fresh else [])
