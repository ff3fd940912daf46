"""Topics as transaction functions, and subscriptions as reactions on their logs."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from helpers.waiting import until

from sluiceway.config import DeliverySettings, ReactionSettings, StoreSettings, TopicSettings
from sluiceway.core.clock import SystemClock
from sluiceway.core.identity import Principal, Scope
from sluiceway.core.store import Tx, View
from sluiceway.core.wakeups import Wakeups
from sluiceway.engines.sqlite.store import SqliteStore, open_store
from sluiceway.errors import AccessDenied, AlreadyExists, DomainError, Invalid, NotFound, NotImplementedYet, TooLarge
from sluiceway.reactions.dispatcher import Dispatcher
from sluiceway.reactions.targets.catalog import topic_targets
from sluiceway.reactions.targets.destinations import OutcomeDestinations
from sluiceway.reactions.targets.signing import RsaSigner, open_signer
from sluiceway.services.access import authorize
from sluiceway.services.outbox import Note, Outbox
from sluiceway.services.reactions import Reactions
from sluiceway.services.topics import Publication, Topics

SCOPE = Scope("000000000000", "us-east-1")
ARN = "arn:aws:sns:us-east-1:000000000000:news"
QUEUE = "arn:aws:sqs:us-east-1:000000000000:jobs"
FUNCTION = "arn:aws:lambda:us-east-1:000000000000:function:work"


def allow(action: str, resource: str) -> dict[str, Any]:
    """What somebody attaches to a queue or function so that the topic may deliver."""
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": action,
        "Resource": resource,
        "Condition": {"ArnEquals": {"aws:SourceArn": ARN}},
    }
    return {"Version": "2012-10-17", "Statement": [statement]}


class FakeQueues:
    """Queues as rows; the real service has its own tests."""

    def __init__(self) -> None:
        self.policies: dict[str, dict[str, Any] | None] = {}

    def arn(self, name: str) -> str:
        return SCOPE.arn("sqs", name)

    def get(self, view: View, name: str) -> object:
        if name not in self.policies:
            raise NotFound("queue", "The specified queue does not exist.")
        return name

    def policy(self, view: View, name: str) -> dict[str, Any] | None:
        self.get(view, name)
        return self.policies[name]

    def send(self, tx: Tx, name: str, body: str, **more: Any) -> object:
        kept = {key: value for key, value in more.items() if value}
        return tx.append(f"sent/{name}", {"body": body, **kept})


class FakeFunctions(FakeQueues):
    """Functions as rows."""

    def enqueue(self, tx: Tx, name: str, payload: Any, **more: Any) -> str:
        tx.append(f"sent/{name}", payload)
        return "id"


@dataclass
class World:
    """Topics with everything that delivers them."""

    store: SqliteStore
    topics: Topics
    reactions: Reactions
    dispatcher: Dispatcher
    signer: RsaSigner
    queues: FakeQueues = field(default_factory=FakeQueues)
    functions: FakeFunctions = field(default_factory=FakeFunctions)

    async def sent(self, name: str, count: int) -> list[Any]:
        """What arrived at a queue or function, when there are ``count``."""

        async def found() -> list[Any]:
            entries = await self.store.view(lambda view: view.read(f"sent/{name}", 0, 1000))
            return [entry.value for entry in entries] if len(entries) >= count else []

        await until(found)
        await asyncio.sleep(0.02)  # one too many may follow
        return await found()

    async def publish(self, message: str, **more: Any) -> str:
        return await self.store.commit(self.topics.publish, "news", Publication(message, **more))


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    wakeups, clock = Wakeups(), SystemClock()
    store = await open_store(tmp_path / "store.db", StoreSettings(), clock, wakeups)
    signer = open_signer(tmp_path)
    limits = ReactionSettings()
    queues, functions = FakeQueues(), FakeFunctions()
    reactions = Reactions(limits, queues)
    topics = Topics(SCOPE, TopicSettings(), reactions)
    targets = topic_targets(
        store, queues, functions, authorize, signer, lambda: "http://here:4566", SCOPE, DeliverySettings(), clock
    )
    dispatcher = Dispatcher(store, wakeups, reactions, targets, limits, clock, topics.logs)
    await dispatcher.start()
    await store.commit(topics.create, "news")
    queues.policies["jobs"] = allow("sqs:SendMessage", QUEUE)
    functions.policies["work"] = allow("lambda:InvokeFunction", FUNCTION)
    yield World(store, topics, reactions, dispatcher, signer, queues, functions)
    await dispatcher.stop(1.0)
    await store.close()


async def test_a_queue_gets_the_envelope(world: World) -> None:
    made = await world.store.commit(world.topics.subscribe, "news", "sqs", QUEUE)
    assert made.confirmed
    attributes = {"color": {"Type": "String", "Value": "red"}}
    message_id = await world.publish("hello", subject="Greetings", attributes=attributes)
    [sent] = await world.sent("jobs", 1)
    body = json.loads(sent["body"])
    assert {key: body[key] for key in ("Type", "MessageId", "TopicArn", "Subject", "Message")} == {
        "Type": "Notification",
        "MessageId": message_id,
        "TopicArn": ARN,
        "Subject": "Greetings",
        "Message": "hello",
    }
    assert body["MessageAttributes"] == attributes
    assert body["UnsubscribeURL"].startswith("http://here:4566/?Action=Unsubscribe&SubscriptionArn=")
    assert body["SignatureVersion"] == "1" and body["Signature"]


async def test_raw_delivery_has_the_attributes_as_the_queues(world: World) -> None:
    await world.store.commit(world.topics.subscribe, "news", "sqs", QUEUE, {"RawMessageDelivery": "true"})
    attributes = {"n": {"Type": "Number", "Value": "5"}, "b": {"Type": "Binary", "Value": "aGk="}}
    await world.publish("hello", attributes=attributes)
    entry = await world.sent("jobs", 1)
    assert entry[0]["body"] == "hello"
    assert entry[0]["attributes"] == {
        "n": {"DataType": "Number", "StringValue": "5"},
        "b": {"DataType": "Binary", "BinaryValue": "aGk="},
    }


async def test_a_function_gets_its_event(world: World) -> None:
    made = await world.store.commit(world.topics.subscribe, "news", "lambda", FUNCTION)
    await world.publish("hello")
    [event] = await world.sent("work", 1)
    [record] = event["Records"]
    assert record["EventSource"] == "aws:sns"
    assert record["EventSubscriptionArn"] == world.topics.subscription_arn(made)
    assert record["Sns"]["Message"] == "hello" and record["Sns"]["Subject"] is None


async def test_a_queue_that_does_not_allow_it_gets_nothing_and_says_why(world: World) -> None:
    world.queues.policies["jobs"] = None
    made = await world.store.commit(world.topics.subscribe, "news", "sqs", QUEUE)
    await world.publish("hello")

    async def given_up() -> Any:
        status = await world.store.view(world.reactions.status, made.reaction_id)
        return status if status.dead_kept else None

    status = await until(given_up)
    assert "not authorized" in status.position.last_error
    assert "sqs:SendMessage" in status.position.last_error
    world.queues.policies["jobs"] = allow("sqs:SendMessage", QUEUE)  # mended, and sent again
    await world.store.commit(world.reactions.redrive, made.reaction_id)
    await world.sent("jobs", 1)


async def test_what_can_t_be_delivered_goes_to_the_dead_letter_queue(world: World) -> None:
    world.queues.policies["dead"] = None
    gone = QUEUE.replace("jobs", "gone")
    redrive = json.dumps({"deadLetterTargetArn": QUEUE.replace("jobs", "dead")})
    await world.store.commit(world.topics.subscribe, "news", "sqs", gone, {"RedrivePolicy": redrive})
    message_id = await world.publish("hello")
    [letter] = await world.sent("dead", 1)
    assert json.loads(letter["body"])["Message"] == "hello"
    assert letter["attributes"]["RequestID"]["StringValue"] == message_id
    assert "does not exist" in letter["attributes"]["ErrorMessage"]["StringValue"]


async def test_filters_choose(world: World) -> None:
    policy = json.dumps({"color": ["red"]})
    await world.store.commit(world.topics.subscribe, "news", "sqs", QUEUE, {"FilterPolicy": policy})
    scope = {"FilterPolicy": json.dumps({"a": {"b": [1]}}), "FilterPolicyScope": "MessageBody"}
    await world.store.commit(world.topics.subscribe, "news", "lambda", FUNCTION, scope)
    await world.publish("blue", attributes={"color": {"Type": "String", "Value": "blue"}})
    await world.publish('{"a": {"b": 1}}')
    await world.publish("red", attributes={"color": {"Type": "String", "Value": "red"}})
    [sent] = await world.sent("jobs", 1)
    assert json.loads(sent["body"])["Message"] == "red"
    [event] = await world.sent("work", 1)
    assert event["Records"][0]["Sns"]["Message"] == '{"a": {"b": 1}}'


async def test_a_new_filter_counts_from_then_on(world: World) -> None:
    made = await world.store.commit(world.topics.subscribe, "news", "sqs", QUEUE)
    await world.publish("one")
    await world.sent("jobs", 1)
    policy = json.dumps({"color": ["red"]})

    async def change(policy: str) -> None:
        """It takes effect a moment after it is answered (at AWS within 15 minutes)."""
        before = world.dispatcher._armed[made.reaction_id]
        setting = world.topics.set_subscription_attribute
        await world.store.commit(setting, "news", made.id, "FilterPolicy", policy)
        await until(lambda: world.dispatcher._armed[made.reaction_id] is not before)

    async def settled() -> bool:
        return (await world.store.view(world.reactions.status, made.reaction_id)).lag == 0

    await change(policy)
    await world.publish("two")
    await until(settled)
    await change("{}")
    await world.publish("three")
    sent = await world.sent("jobs", 2)
    assert json.loads(sent[-1]["body"])["Message"] == "three"


async def test_each_protocol_gets_its_own_text(world: World) -> None:
    await world.store.commit(world.topics.subscribe, "news", "sqs", QUEUE)
    await world.store.commit(world.topics.subscribe, "news", "lambda", FUNCTION)
    texts = json.dumps({"default": "plain", "sqs": "for queues"})
    await world.publish(texts, structure="json")
    assert json.loads((await world.sent("jobs", 1))[0]["body"])["Message"] == "for queues"
    assert (await world.sent("work", 1))[0]["Records"][0]["Sns"]["Message"] == "plain"


async def mails(world: World, count: int) -> list[Note]:
    """The newest notes in the outbox, when there are ``count``."""

    async def found() -> list[Note]:
        notes = await world.store.view(Outbox(100).list)
        return notes if len(notes) >= count else []

    return await until(found)


async def test_mail_is_asked_to_confirm_and_then_delivered(world: World) -> None:
    made = await world.store.commit(world.topics.subscribe, "news", "email", "a@example.com")
    assert not made.confirmed
    [asked] = await mails(world, 1)
    assert asked.to == "a@example.com" and made.token in asked.body
    assert "/_sluiceway/sns/confirm?token=" in asked.body
    await world.publish("too early")
    confirmed = await world.store.commit(world.topics.confirm, made.token)
    assert confirmed.confirmed
    assert (await world.store.commit(world.topics.confirm, made.token)).id == made.id  # again: the same
    await world.publish("in time", subject="Now")
    note = (await mails(world, 2))[-1]
    assert (note.subject, note.body.splitlines()[0]) == ("Now", "in time")


async def test_text_messages(world: World) -> None:
    await world.store.commit(world.topics.subscribe, "news", "sms", "+1 (415) 555-0100")
    await world.publish("to the topic")
    await world.store.commit(world.topics.text_message, "+14155550101", Publication("straight"))
    notes = {(note.kind, note.to, note.body) for note in await mails(world, 2)}
    assert notes == {("sms", "+14155550100", "to the topic"), ("sms", "+14155550101", "straight")}


async def test_fifo_keeps_order_and_forgets_repetitions(world: World) -> None:
    world.queues.policies["jobs.fifo"] = {
        "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "sqs:*", "Resource": "*"}]
    }
    attributes = {"FifoTopic": "true", "ContentBasedDeduplication": "true"}
    await world.store.commit(world.topics.create, "news.fifo", attributes)
    await world.store.commit(
        world.topics.subscribe, "news.fifo", "sqs", QUEUE + ".fifo", {"RawMessageDelivery": "true"}
    )
    posted = []
    for text in ("a", "b", "a", "c"):
        publication = Publication(text, group_id="g")
        posted.append(await world.store.commit(world.topics.post, "news.fifo", publication))
    assert posted[0] == posted[2] and posted[0].sequence < posted[1].sequence < posted[3].sequence
    sent = await world.sent("jobs.fifo", 3)
    assert [one["body"] for one in sent] == ["a", "b", "c"]
    assert sent[0]["group_id"] == "g" and len(sent[0]["deduplication_id"]) == 64
    with pytest.raises(Invalid):
        await world.store.commit(world.topics.post, "news.fifo", Publication("x"))
    with pytest.raises(Invalid):
        await world.store.commit(world.topics.subscribe, "news.fifo", "lambda", FUNCTION)


async def test_an_endpoint_that_was_unsubscribed_by_link_may_come_back(world: World) -> None:
    made = await world.store.commit(world.topics.subscribe, "news", "https", "https://example.com/hook")
    await world.store.commit(world.topics.confirm, made.token)
    await world.store.commit(world.topics.unsubscribe, "news", made.id, False)
    with pytest.raises(NotFound):
        await world.store.view(world.topics.subscription, "news", made.id)

    def notices(view: View) -> list[Any]:
        return [entry.value for entry in view.read("topic-notices", 0, 10)]

    told = (await world.store.view(notices))[-1]
    assert told["type"] == "UnsubscribeConfirmation"
    again = await world.store.commit(world.topics.confirm, told["token"])
    assert again.id == made.id and again.confirmed
    strict = await world.store.commit(world.topics.subscribe, "news", "https", "https://example.com/2")
    await world.store.commit(world.topics.confirm, strict.token, True, True)
    with pytest.raises(Invalid) as caught:
        await world.store.commit(world.topics.unsubscribe, "news", strict.id, False)
    assert caught.value.kind == "unsubscribe"


async def test_creating_and_deleting(world: World) -> None:
    topics, commit = world.topics, world.store.commit
    assert (await commit(topics.create, "news")).name == "news"
    await commit(topics.create, "tagged", {"DisplayName": "d"}, {"k": "v"})
    with pytest.raises(AlreadyExists):
        await commit(topics.create, "tagged", {"DisplayName": "other"})
    with pytest.raises(AlreadyExists):
        await commit(topics.create, "tagged", {}, {"k": "w"})
    plain = {"DisplayName": "", "SignatureVersion": "1", "TracingConfig": "PassThrough", "MaximumMessageSize": "262144"}
    assert (await commit(topics.create, "news", plain)).attributes == {}  # it says nothing that was not so before
    fifo = {"FifoTopic": "true"}
    await commit(topics.create, "news.fifo", fifo)
    usual = {"ContentBasedDeduplication": "false", "FifoThroughputScope": "Topic"}
    await commit(topics.create, "news.fifo", {**fifo, **usual})
    with pytest.raises(AlreadyExists):
        await commit(topics.create, "news.fifo", {**fifo, "ContentBasedDeduplication": "true"})
    await commit(topics.delete, "news.fifo")
    made = await commit(topics.subscribe, "tagged", "sqs", QUEUE)
    await commit(topics.delete, "tagged")
    await commit(topics.delete, "tagged")
    with pytest.raises(NotFound):
        await world.store.view(topics.get, "tagged")
    assert await world.store.view(world.reactions.find, made.reaction_id) is None
    assert [topic.name for topic in await world.store.view(topics.listed)] == ["news"]


async def test_subscribing_again(world: World) -> None:
    commit, subscribe = world.store.commit, world.topics.subscribe
    first = await commit(subscribe, "news", "sqs", QUEUE, {"RawMessageDelivery": "true"})
    assert (await commit(subscribe, "news", "sqs", QUEUE)).id == first.id
    with pytest.raises(AlreadyExists):
        await commit(subscribe, "news", "sqs", QUEUE, {"RawMessageDelivery": "false"})
    other = QUEUE.replace("jobs", "others")
    chosen = {"FilterPolicy": '{"a":["b"]}', "RawMessageDelivery": "false"}
    first = await commit(subscribe, "news", "sqs", other, chosen)
    same = {"FilterPolicy": ' { "a": [ "b" ] }', "FilterPolicyScope": "MessageAttributes"}
    assert (await commit(subscribe, "news", "sqs", other, same)).id == first.id
    for more in ({"FilterPolicy": '{"a":["c"]}'}, {"FilterPolicyScope": "MessageBody"}, {"RawMessageDelivery": "true"}):
        with pytest.raises(AlreadyExists):
            await commit(subscribe, "news", "sqs", other, {**same, **more})
    pending = await commit(subscribe, "news", "email", "b@example.com")
    again = await commit(subscribe, "news", "email", "b@example.com")
    assert again.id == pending.id and again.token != pending.token
    with pytest.raises(Invalid):
        await commit(world.topics.confirm, pending.token)
    await commit(world.topics.confirm, again.token)


REFUSED: list[tuple[str, tuple[Any, ...], type[DomainError], str]] = [
    ("create", ("bad name",), Invalid, "Topic Name"),
    ("create", ("x" * 257,), Invalid, "Topic Name"),
    ("create", ("plain", {"FifoTopic": "true"}), Invalid, ".fifo"),
    ("create", ("t", {"Nonsense": "1"}), Invalid, "AttributeName"),
    ("create", ("t", {"SignatureVersion": "3"}), Invalid, "SignatureVersion"),
    ("create", ("t", {"Policy": "{"}), Invalid, "Policy"),
    ("create", ("t", {"ArchivePolicy": "{}"}), NotImplementedYet, "rchiv"),
    ("subscribe", ("nowhere", "sqs", QUEUE), NotFound, "Topic does not exist"),
    ("subscribe", ("news", "pigeon", "x"), Invalid, "does not support this protocol"),
    ("subscribe", ("news", "firehose", "x"), NotImplementedYet, "firehose"),
    ("subscribe", ("news", "sqs", "http://x"), Invalid, "SQS endpoint ARN"),
    ("subscribe", ("news", "sqs", QUEUE + ".fifo"), Invalid, "FIFO"),
    ("subscribe", ("news", "lambda", QUEUE), Invalid, "Lambda endpoint ARN"),
    ("subscribe", ("news", "http", "https://x.example"), Invalid, "must match the specified protocol"),
    ("subscribe", ("news", "https", "https://x y"), Invalid, "must match"),
    ("subscribe", ("news", "https", "https://x:99999/"), Invalid, "must match"),
    ("subscribe", ("news", "email", "nobody"), Invalid, "Email address"),
    ("subscribe", ("news", "email", "a@b\nBcc: c@d"), Invalid, "Email address"),
    ("subscribe", ("news", "sms", "911"), Invalid, "PhoneNumber"),
    ("subscribe", ("news", "lambda", FUNCTION, {"RawMessageDelivery": "true"}), Invalid, "does not support raw"),
    ("subscribe", ("news", "sqs", QUEUE, {"RawMessageDelivery": "maybe"}), Invalid, "RawMessageDelivery"),
    ("subscribe", ("news", "sqs", QUEUE, {"FilterPolicy": '{"a": 1}'}), Invalid, "Reason: FilterPolicy: "),
    ("subscribe", ("news", "sqs", QUEUE, {"FilterPolicyScope": "x"}), Invalid, "FilterPolicyScope"),
    ("subscribe", ("news", "sqs", QUEUE, {"RedrivePolicy": '{"deadLetterTargetArn": "x"}'}), Invalid, "invalid arn"),
    ("subscribe", ("news", "sqs", QUEUE, {"DeliveryPolicy": '{"a": {}}'}), Invalid, "Delivery policy"),
    ("subscribe", ("news", "sqs", QUEUE, {"Nonsense": "1"}), Invalid, "AttributeName"),
    ("confirm", ("nonsense",), Invalid, "Invalid token"),
    ("publish", ("nowhere", Publication("x")), NotFound, "Topic does not exist"),
    ("publish", ("news", Publication("")), Invalid, "Empty message"),
    ("publish", ("news", Publication("x" * (256 * 1024 + 1))), TooLarge, "Message too long"),
    ("publish", ("news", Publication("x", subject="a\nb")), Invalid, "Subject"),
    ("publish", ("news", Publication("x", subject="a" * 101)), Invalid, "Subject"),
    ("publish", ("news", Publication("{", structure="json")), Invalid, "failed to parse"),
    ("publish", ("news", Publication("{}", structure="json")), Invalid, "No default entry"),
    ("publish", ("news", Publication("x", structure="xml")), Invalid, "MessageStructure"),
    ("publish", ("news", Publication("x", deduplication_id="1")), Invalid, "MessageDeduplicationId"),
    ("publish", ("news", Publication("x", attributes={"a": {"Type": "Number", "Value": "x"}})), Invalid, "number"),
    ("publish", ("news", Publication("x", attributes={"a": {"Type": "Text", "Value": "x"}})), Invalid, "type"),
    ("publish", ("news", Publication("x", attributes={"a b": {"Type": "String", "Value": "x"}})), Invalid, "name"),
    ("publish", ("news", Publication("x", attributes={"a": {"Type": "String", "Value": ""}})), Invalid, "non-empty"),
    ("publish", ("news", Publication("x", attributes={"a": {"Type": "String.Array", "Value": "x"}})), Invalid, "array"),
    ("text_message", ("nobody", Publication("x")), Invalid, "PhoneNumber"),
    ("text_message", ("+14155550100", Publication("")), Invalid, "Empty message"),
]


@pytest.mark.parametrize(("method", "args", "kind", "words"), REFUSED)
async def test_what_is_refused(
    world: World, method: str, args: tuple[Any, ...], kind: type[DomainError], words: str
) -> None:
    with pytest.raises(kind) as caught:
        await world.store.commit(getattr(world.topics, method), *args)
    assert words in caught.value.message


async def test_a_batch_accepts_and_refuses_one_by_one(world: World) -> None:
    batch = [Publication("a"), Publication("x", subject="\n"), Publication("b")]
    results = await world.store.commit(world.topics.post_batch, "news", batch)
    assert isinstance(results[1], Invalid)
    assert [isinstance(result, DomainError) for result in results] == [False, True, False]
    for refused in ([], [Publication("x")] * 11, [Publication("x" * 100_000)] * 3):
        with pytest.raises(DomainError):
            await world.store.commit(world.topics.post_batch, "news", refused)


async def test_a_token_expires(world: World) -> None:
    made = await world.store.commit(world.topics.subscribe, "news", "email", "late@example.com")

    def age(tx: Tx) -> None:
        row = tx.get("subscriptions", ("news", made.id))
        tx.put("subscriptions", ("news", made.id), {**row, "token_until_ms": tx.now_ms - 1})

    await world.store.commit(age)
    with pytest.raises(Invalid, match="expired"):
        await world.store.commit(world.topics.confirm, made.token)
    again = await world.store.commit(world.topics.subscribe, "news", "email", "late@example.com")
    assert (await world.store.commit(world.topics.confirm, again.token)).id == made.id


async def test_topics_of_an_older_release_are_read(world: World) -> None:
    """Their rows are objects, those of now are bytes."""
    row = {"name": "old", "created_ms": 1, "attributes": {"DisplayName": "Old"}, "tags": {}, "policy": None,
           "subscriptions": 0, "deleted": 0}  # fmt: skip
    await world.store.commit(lambda tx: tx.put("topics", ("old",), row))
    assert (await world.store.view(world.topics.get, "old")).attributes == {"DisplayName": "Old"}
    await world.store.commit(world.topics.tag, "old", {"k": "v"})
    assert (await world.store.view(world.topics.get, "old")).tags == {"k": "v"}
    assert [topic.name for topic in await world.store.view(world.topics.listed)] == ["news", "old"]


async def test_outcomes_go_where_the_functions_role_may_send_them(world: World) -> None:
    def role(*actions: str) -> Principal:
        statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
        return Principal(
            "role", SCOPE.account, "r", "arn:aws:iam::000000000000:role/r", policies=({"Statement": statement},)
        )

    roles = {"good": role("sqs:*", "sns:*", "lambda:*"), "bad": role("s3:*")}

    def caller_of(view: View, name: str) -> Principal:
        return roles[name]

    places = OutcomeDestinations(world.queues, world.topics, world.functions, authorize, caller_of)
    good, bad = SCOPE.arn("lambda", "function:good"), SCOPE.arn("lambda", "function:bad")
    for target in (QUEUE, ARN, FUNCTION):
        with pytest.raises(AccessDenied):
            await world.store.commit(places.send, target, bad, {"version": "1.0"})
        await world.store.commit(places.send, target, good, {"version": "1.0"})
    assert json.loads((await world.sent("jobs", 1))[0]["body"]) == {"version": "1.0"}
    assert await world.sent("work", 1) == [{"version": "1.0"}]
    published = await world.store.view(lambda view: view.read("topic/news", 0, 9))
    assert [entry.value["message"] for entry in published] == ['{"version": "1.0"}']
    for target in ("nonsense", "arn:aws:s3:::bucket"):
        with pytest.raises(Invalid):
            await world.store.commit(places.send, target, good, {})
    for target in (QUEUE, ARN, FUNCTION):  # what has the name here is not what the role may send to
        for other in (target.replace("000000000000", "999999999999"), target.replace("arn:aws:", "arn:aws-cn:"),
                      target.replace("us-east-1", "eu-north-1")):  # fmt: skip
            with pytest.raises(NotFound):
                await world.store.commit(places.send, other, good, {})


async def test_the_outbox_keeps_the_newest(world: World) -> None:
    outbox = Outbox(3)
    for at in range(10):
        await world.store.commit(outbox.put, Note("sms", "+1", "", str(at), at))
    assert [note.body for note in await world.store.view(outbox.list)] == ["7", "8", "9"]


def test_the_signing_key_is_made_once_and_is_private(tmp_path: Path) -> None:
    first, second = open_signer(tmp_path), open_signer(tmp_path)
    assert first.certificate_pem == second.certificate_pem
    assert first.sign("text", "2") == second.sign("text", "2") != first.sign("text", "1")
    assert (tmp_path / "notification-key.pem").stat().st_mode & 0o777 == 0o600


async def test_a_paused_subscription_stays_so_whatever_its_owner_sets(world: World) -> None:
    made = await world.store.commit(world.topics.subscribe, "news", "sqs", QUEUE)
    await world.store.commit(world.reactions.pause, made.reaction_id)
    set_one = world.topics.set_subscription_attribute
    await world.store.commit(set_one, "news", made.id, "RawMessageDelivery", "true")
    await world.store.commit(world.topics.set_attribute, "news", "DisplayName", "News")
    reaction = await world.store.view(world.reactions.get, made.reaction_id)
    assert reaction.paused and reaction.target.options["raw"] and reaction.target.options["display_name"] == "News"


async def test_a_token_restores_nothing_of_a_topic_that_was_deleted(world: World) -> None:
    made = await world.store.commit(world.topics.subscribe, "news", "http", "http://example.com/")
    await world.store.commit(world.topics.confirm, made.token)
    await world.store.commit(world.topics.unsubscribe, "news", made.id, False)
    notices = await world.store.view(lambda view: view.read("topic-notices", 0, 10))
    token = notices[-1].value["token"]
    await world.store.commit(world.topics.delete, "news")
    await asyncio.sleep(0.002)  # a topic's age is in milliseconds
    await world.store.commit(world.topics.create, "news")
    with pytest.raises(Invalid, match="Invalid token"):
        await world.store.commit(world.topics.confirm, token)
    assert await world.store.view(world.topics.counts, "news") == (0, 0)


async def test_a_binary_attribute_counts_as_its_bytes(world: World) -> None:
    def of(size: int) -> Publication:
        value = base64.b64encode(b"x" * size).decode()
        return Publication("m", attributes={"b": {"Type": "Binary", "Value": value}})

    limit = TopicSettings().message_bytes_max - len("m" + "b" + "Binary")
    for size in (limit, limit - 1, limit - 2):
        await world.store.commit(world.topics.publish, "news", of(size))
    with pytest.raises(TooLarge):
        await world.store.commit(world.topics.publish, "news", of(limit + 1))


@pytest.mark.parametrize(
    "address", ["a\x01b@example.com", "a\x00@example.com", "\x7f@example.com", "a\x9b@example.com"]
)
async def test_a_mail_address_has_no_control_characters(world: World, address: str) -> None:
    with pytest.raises(Invalid, match="Email address"):
        await world.store.commit(world.topics.subscribe, "news", "email", address)
