"""One upload, five subscribers of five kinds: all are told, or, if one was away for too long, its dead-letter queue."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from helpers.server import ServerProcess, eventually
from helpers.subscribers import Subscribers

from sluiceway.config import DeliverySettings, ObjectSettings, QueueSettings, ReactionSettings, StoreSettings
from sluiceway.config import TopicSettings as TopicLimits
from sluiceway.core.identity import Scope
from sluiceway.core.store import Tx, View
from sluiceway.core.wakeups import Wakeups
from sluiceway.engines.sqlite.store import SqliteStore, open_store
from sluiceway.reactions.dispatcher import Dispatcher
from sluiceway.reactions.targets.catalog import topic_targets
from sluiceway.reactions.targets.signing import open_signer
from sluiceway.server.bucket_events import BucketEvents
from sluiceway.services.access import authorize
from sluiceway.services.objects import Objects
from sluiceway.services.objects.notifications import Rule
from sluiceway.services.objects.values import Actor, Attributes, Content
from sluiceway.services.pressure import Pressure
from sluiceway.services.queues import Queues
from sluiceway.services.reactions import Reactions
from sluiceway.services.topics import Topics
from sluiceway.services.topics.letters import LetterGuard

SCOPE = Scope("000000000000", "us-east-1")
ACTOR = Actor("AWS:me", "me", "127.0.0.1", "request", "host")
KINDS = ("queue", "http", "https", "email", "sms")
HOUR_S, STEP_S = 3600, 15


@pytest.fixture
def subscribers(tmp_path: Path) -> Iterator[Subscribers]:
    made = Subscribers(tmp_path)
    yield made
    made.close()


def allow(action: str, resource: str) -> str:
    statement = {"Effect": "Allow", "Principal": "*", "Action": action, "Resource": resource}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def test_one_upload_reaches_all_five(tmp_path: Path, subscribers: Subscribers) -> None:
    """Official clients, real processes, real protocols."""
    server = ServerProcess(tmp_path / "data", environment=subscribers.environment()).start()
    try:
        sns, sqs, s3 = (server.client(name) for name in ("sns", "sqs", "s3"))
        topic = sns.create_topic(Name="uploads")["TopicArn"]
        sns.set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=allow("sns:Publish", topic))
        url = sqs.create_queue(QueueName="copies")["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": allow("sqs:SendMessage", arn)})
        raw = {"RawMessageDelivery": "true"}
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes=raw)
        for kind in KINDS[1:]:
            sns.subscribe(TopicArn=topic, Protocol=kind, Endpoint=subscribers.endpoint(kind))
        for one in (subscribers.http, subscribers.https, subscribers.mail):
            token = eventually(lambda one=one: one.tokens)[0]
            sns.confirm_subscription(TopicArn=topic, Token=token)
        s3.create_bucket(Bucket="pictures")
        rule = {"TopicArn": topic, "Events": ["s3:ObjectCreated:Put"]}
        s3.put_bucket_notification_configuration(
            Bucket="pictures", NotificationConfiguration={"TopicConfigurations": [rule]}
        )
        s3.put_object(Bucket="pictures", Key="a cat/ä.jpg", Body=b"meow")
        for kind, one in subscribers.by_kind.items():
            eventually(lambda one=one: [text for text in one.got if "a+cat/%C3%A4.jpg" in text])
            assert sum("ObjectCreated" in text for text in one.got) == 1, kind
            assert sum("s3:TestEvent" in text for text in one.got) == 1, kind
        bodies = [sqs.receive_message(QueueUrl=url, WaitTimeSeconds=2)["Messages"][0]["Body"] for _ in range(2)]
        assert sorted("a+cat" in body for body in bodies) == [False, True]
    finally:
        server.stop()


class Hand:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.ms = 1_790_000_000_000

    def now_ms(self) -> int:
        return self.ms


@dataclass
class World:
    """A bucket that tells a topic with the five subscriptions, each of which has a dead-letter queue of its own."""

    store: SqliteStore
    clock: Hand
    dispatcher: Dispatcher
    objects: Objects
    queues: Queues
    topics: Topics
    subscribers: Subscribers
    seen: dict[str, list[tuple[str, dict[str, Any]]]] = field(default_factory=lambda: defaultdict(list))

    async def put(self, key: str) -> None:
        content = Content(1, "etag", inline=b"x")
        await self.store.commit(self.objects.contents.put, "pictures", key, content, Attributes(), ACTOR)

    async def quiet(self) -> None:
        """Until nothing is under way."""
        while True:
            await asyncio.sleep(0.01)
            if not self.dispatcher.active() and not await self.store.view(self._waits):
                return

    def _waits(self, view: View) -> bool:
        return any(
            status.lag or (status.next_try_ms is not None and status.next_try_ms <= self.clock.ms)
            for status in self.topics._reactions.statuses(view, "", 100)
        )

    async def pass_(self, seconds: int) -> None:
        """Time goes by, and everything due is done on the way."""
        for _ in range(seconds // STEP_S):
            self.clock.ms += STEP_S * 1000
            self.dispatcher.poke()
            await self.quiet()

    async def got(self, kind: str, key: str) -> bool:
        if kind == "queue":
            return any(key in body for body, _ in await self.letters("copies"))
        return any(key in text for text in self.subscribers.by_kind[kind].got)

    async def letters(self, queue: str) -> list[tuple[str, dict[str, Any]]]:
        """Body and attributes of all messages that a queue had until now."""
        if await self.store.view(lambda view: queue in [one.name for one in self.queues.all(view)]):
            while found := await self.store.commit(self.queues.receive, queue, 10, 43_000):
                self.seen[queue] += [(one.body, dict(one.attributes)) for one in found]
        return self.seen[queue]


@pytest.fixture
async def world(tmp_path: Path, subscribers: Subscribers) -> AsyncIterator[World]:
    clock, wakeups = Hand(), Wakeups()
    store = await open_store(tmp_path / "store.db", StoreSettings(), clock, wakeups)
    limits = ReactionSettings(recover_s=0.01)
    queues = Queues(SCOPE, QueueSettings())
    reactions = Reactions(limits, queues, LetterGuard(queues, SCOPE))
    topics = Topics(SCOPE, TopicLimits(), reactions)
    events = BucketEvents(SCOPE, topics, queues, None, Pressure(lambda: 1 << 40, 1, 1 << 40))  # type: ignore[arg-type]
    objects = Objects(SCOPE, ObjectSettings(), events, None)  # type: ignore[arg-type]
    targets = topic_targets(
        store, queues, None, authorize, open_signer(tmp_path), lambda: "http://here", SCOPE,  # type: ignore[arg-type]
        DeliverySettings(**subscribers.settings()), clock,
    )  # fmt: skip
    dispatcher = Dispatcher(store, wakeups, reactions, targets, limits, clock, topics.logs)
    made = World(store, clock, dispatcher, objects, queues, topics, subscribers)
    await dispatcher.start()
    await store.commit(furnish, made)
    for one in (subscribers.http, subscribers.https, subscribers.mail):
        while not one.tokens:
            await asyncio.sleep(0.01)
        await store.commit(topics.confirm, one.tokens[0])
    await made.quiet()
    yield made
    await dispatcher.stop(1.0)
    await store.close()


def furnish(tx: Tx, world: World) -> None:
    topics, queues = world.topics, world.queues
    topics.create(tx, "uploads", {"Policy": allow("sns:Publish", SCOPE.arn("sns", "uploads"))})
    for kind in KINDS:
        dead = SCOPE.arn("sqs", f"dead-{kind}")
        queues.create(tx, f"dead-{kind}", {"Policy": allow("sqs:SendMessage", dead)}, {})
        attributes = {"RedrivePolicy": json.dumps({"deadLetterTargetArn": dead})}
        if kind == "queue":
            arn = SCOPE.arn("sqs", "copies")
            queues.create(tx, "copies", {"Policy": allow("sqs:SendMessage", arn)}, {})
            topics.subscribe(tx, "uploads", "sqs", arn, attributes)
            continue
        if kind == "https":  # patient: tries for nearly an hour, the last half every two minutes
            retry = {"minDelayTarget": 20, "maxDelayTarget": 120, "numRetries": 30, "backoffFunction": "exponential"}
            attributes["DeliveryPolicy"] = json.dumps({"healthyRetryPolicy": retry})
        topics.subscribe(tx, "uploads", kind, world.subscribers.endpoint(kind), attributes)
    world.objects.buckets.create(tx, "pictures", "me")
    rule = Rule("r", "topic", SCOPE.arn("sns", "uploads"), ("s3:ObjectCreated:*",))
    world.objects.buckets.put_notifications(tx, "pictures", [rule], ACTOR)


#: Who of those away for an hour hears of it when it is back. The others had fewer tries.
PATIENT = ("email", "sms")


@pytest.mark.parametrize("away", [*KINDS, "all"])
async def test_who_is_away_for_an_hour_gets_it_later_or_has_it_in_its_dead_letter_queue(
    world: World, away: str
) -> None:
    gone = KINDS if away == "all" else (away,)
    for kind in gone:
        if kind == "queue":
            await world.store.commit(world.queues.remove, "copies")
        else:
            world.subscribers.by_kind[kind].down()
    await world.put("cat.jpg")
    await world.quiet()
    for kind in KINDS:
        if kind not in gone:
            assert await world.got(kind, "cat.jpg"), f"{kind} waits for {away}"
    await world.pass_(HOUR_S)
    for kind in gone:
        if kind != "queue":
            assert not await world.got(kind, "cat.jpg")
            world.subscribers.by_kind[kind].up()
    await world.pass_(900)  # the longest delay of all policies, and more
    for kind in KINDS:
        letters = [letter for letter in await world.letters(f"dead-{kind}") if "cat.jpg" in letter[0]]
        if kind not in gone or kind in PATIENT:
            assert await world.got(kind, "cat.jpg") and not letters, kind
        else:
            assert len(letters) == 1, kind
            assert letters[0][1]["ErrorMessage"]["StringValue"], "a dead letter says why"
            assert kind == "queue" or not await world.got(kind, "cat.jpg")
