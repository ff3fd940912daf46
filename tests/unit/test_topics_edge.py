"""SNS by its official client: boto3 against the real HTTP application, in this process."""

from __future__ import annotations

import asyncio
import json
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from botocore.exceptions import ClientError
from helpers.inprocess import SCOPE, Ring, boto, call, listening, user
from helpers.waiting import PATIENCE_S, until

from sluiceway.config import (
    DeliverySettings,
    HttpSettings,
    QueueSettings,
    ReactionSettings,
    SecuritySettings,
    StoreSettings,
    TopicSettings,
)
from sluiceway.core.clock import SystemClock
from sluiceway.core.wakeups import Wakeups
from sluiceway.edges.aws.codecs import Codecs
from sluiceway.edges.aws.pipeline import AwsPipeline
from sluiceway.edges.aws.sns import sns_edge
from sluiceway.edges.aws.sqs import sqs_edge
from sluiceway.edges.routing import Router
from sluiceway.edges.sigv4 import SignatureVerifier
from sluiceway.edges.sns_pages import SnsPages
from sluiceway.engines.sqlite.store import SqliteStore, open_store
from sluiceway.reactions.dispatcher import Dispatcher
from sluiceway.reactions.targets.catalog import topic_targets
from sluiceway.reactions.targets.signing import open_signer
from sluiceway.services.access import authorize
from sluiceway.services.accounts.rows import USERS, User, save
from sluiceway.services.outbox import Outbox
from sluiceway.services.queues import Queues
from sluiceway.services.reactions import Reactions
from sluiceway.services.topics import Topics
from sluiceway.services.topics.letters import LetterGuard
from sluiceway.services.topics.texting import Texting

READER = user("reader", {"Effect": "Allow", "Action": ["sns:List*", "sns:Get*"], "Resource": "*"})


@dataclass
class Server:
    """The address, and what is behind it."""

    url: str
    store: SqliteStore
    topics: Topics
    reactions: Reactions

    def client(self, key: str = "AKIAROOT", service: str = "sns") -> Any:
        return boto(self.url, service, key)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    wakeups, clock = Wakeups(), SystemClock()
    store = await open_store(tmp_path / "store.db", StoreSettings(), clock, wakeups)
    signer, limits = open_signer(tmp_path), ReactionSettings()
    queues = Queues(SCOPE, QueueSettings())
    reactions = Reactions(limits, queues, LetterGuard(queues, SCOPE))
    topics = Topics(SCOPE, TopicSettings(), reactions)
    where: list[str] = []
    delivery = DeliverySettings(allow_private_targets=True)
    targets = topic_targets(
        store,
        queues,
        None,  # type: ignore[arg-type]  # no function here
        authorize,
        signer,
        lambda: where[0],
        SCOPE,
        delivery,
        clock,
    )
    dispatcher = Dispatcher(store, wakeups, reactions, targets, limits, clock, topics.logs)
    verifier = SignatureVerifier(Ring(READER), SCOPE, clock, SecuritySettings())
    edges = [sns_edge(store, topics, Texting(delivery)), sqs_edge(store, queues, wakeups, QueueSettings())]
    codecs = Codecs()
    handlers = {
        edge.name: AwsPipeline(edge, codecs, verifier, authorize, SCOPE, clock, HttpSettings(), lambda: where[0]).handle
        for edge in edges
    }
    pages = SnsPages(store, topics, signer.certificate_pem)
    router = Router(handlers, {"sns": pages.handle})
    async with listening(router) as url:
        where.append(url)
        await dispatcher.start()
        yield Server(url, store, topics, reactions)
        await dispatcher.stop(1.0)
    await store.close()


async def refused(method: Any, /, **params: Any) -> tuple[str, int, str]:
    with pytest.raises(ClientError) as caught:
        await call(method, **params)
    response = caught.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Message"]


async def test_topics_and_their_attributes(server: Server) -> None:
    sns = server.client()
    arn = (await call(sns.create_topic, Name="news", Tags=[{"Key": "a", "Value": "b"}]))["TopicArn"]
    assert arn == "arn:aws:sns:us-east-1:000000000000:news"
    await call(sns.set_topic_attributes, TopicArn=arn, AttributeName="DisplayName", AttributeValue="News")
    attributes = (await call(sns.get_topic_attributes, TopicArn=arn))["Attributes"]
    assert attributes["DisplayName"] == "News" and attributes["Owner"] == SCOPE.account
    assert json.loads(attributes["EffectiveDeliveryPolicy"])["http"]["defaultHealthyRetryPolicy"]["numRetries"] == 3
    await call(sns.tag_resource, ResourceArn=arn, Tags=[{"Key": "c", "Value": "d"}])
    await call(sns.untag_resource, ResourceArn=arn, TagKeys=["a"])
    assert (await call(sns.list_tags_for_resource, ResourceArn=arn))["Tags"] == [{"Key": "c", "Value": "d"}]
    permission = {"TopicArn": arn, "Label": "p", "AWSAccountId": ["111122223333"], "ActionName": ["Publish"]}
    await call(sns.add_permission, **permission)
    assert (await refused(sns.add_permission, **permission))[0] == "InvalidParameter"
    policy = json.loads((await call(sns.get_topic_attributes, TopicArn=arn))["Attributes"]["Policy"])
    assert [statement["Sid"] for statement in policy["Statement"]] == ["__default_statement_ID", "p"]
    await call(sns.remove_permission, TopicArn=arn, Label="p")
    await call(sns.delete_topic, TopicArn=arn)
    assert (await refused(sns.get_topic_attributes, TopicArn=arn))[:2] == ("NotFound", 404)


async def test_lists_have_pages(server: Server) -> None:
    sns = server.client()

    def make(tx: Any) -> None:
        for at in range(250):
            server.topics.create(tx, f"t{at:03}")
            server.topics.subscribe(tx, "t000", "sms", f"+1415555{at:04}")

    await server.store.commit(make)

    def all_of(name: str, key: str, **params: Any) -> list[Any]:
        return [item for page in sns.get_paginator(name).paginate(**params) for item in page[key]]

    topics = await asyncio.to_thread(all_of, "list_topics", "Topics")
    assert [topic["TopicArn"].rpartition(":")[2] for topic in topics] == [f"t{at:03}" for at in range(250)]
    arn = topics[0]["TopicArn"]
    found = await asyncio.to_thread(all_of, "list_subscriptions_by_topic", "Subscriptions", TopicArn=arn)
    assert len({one["SubscriptionArn"] for one in found}) == 250
    assert len(await asyncio.to_thread(all_of, "list_subscriptions", "Subscriptions")) == 250
    assert (await refused(sns.list_topics, NextToken="x"))[0] == "InvalidParameter"


async def test_publishing(server: Server) -> None:
    sns = server.client()
    arn = (await call(sns.create_topic, Name="news"))["TopicArn"]
    attributes = {
        "s": {"DataType": "String", "StringValue": "x"},
        "b": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
    }
    published = await call(sns.publish, TopicArn=arn, Message="héllo", Subject="S", MessageAttributes=attributes)
    entry = await server.store.view(lambda view: view.read("topic/news", 0, 1)[0].value)
    assert entry["id"] == published["MessageId"] and entry["message"] == "héllo"
    assert entry["attributes"] == {"s": {"Type": "String", "Value": "x"}, "b": {"Type": "Binary", "Value": "AP8="}}
    entries = [{"Id": "a", "Message": "1"}, {"Id": "b", "Message": "2", "Subject": "\n"}]
    batch = await call(sns.publish_batch, TopicArn=arn, PublishBatchRequestEntries=entries)
    assert [one["Id"] for one in batch["Successful"]] == ["a"]
    assert [(one["Id"], one["Code"], one["SenderFault"]) for one in batch["Failed"]] == [
        ("b", "InvalidParameter", True)
    ]
    await call(sns.publish, PhoneNumber="+14155550100", Message="hi")


async def test_a_fifo_topic_counts(server: Server) -> None:
    sns = server.client()
    attributes = {"FifoTopic": "true"}
    arn = (await call(sns.create_topic, Name="n.fifo", Attributes=attributes))["TopicArn"]
    first = await call(sns.publish, TopicArn=arn, Message="a", MessageGroupId="g", MessageDeduplicationId="1")
    again = await call(sns.publish, TopicArn=arn, Message="a", MessageGroupId="g", MessageDeduplicationId="1")
    assert len(first["SequenceNumber"]) == 20
    assert (first["MessageId"], first["SequenceNumber"]) == (again["MessageId"], again["SequenceNumber"])


async def test_what_is_refused_has_snss_codes(server: Server) -> None:
    sns = server.client()
    arn = (await call(sns.create_topic, Name="news"))["TopicArn"]
    gone = arn + "x"
    other = arn.replace("us-east-1", "eu-west-1")
    attributes = {"n": {"DataType": "Number", "StringValue": "x"}}
    bad_attribute = {"TopicArn": arn, "Message": "x", "MessageAttributes": attributes}

    def batch(*entries: dict[str, str]) -> dict[str, Any]:
        return {"TopicArn": arn, "PublishBatchRequestEntries": list(entries)}

    entries = [{"Id": str(at), "Message": "x"} for at in range(11)]
    cases: list[tuple[Any, dict[str, Any], str, int]] = [
        (sns.publish, {"TopicArn": gone, "Message": "x"}, "NotFound", 404),
        (sns.publish, {"TopicArn": other, "Message": "x"}, "NotFound", 404),
        (sns.publish, {"TopicArn": "nonsense", "Message": "x"}, "InvalidParameter", 400),
        (sns.publish, {"Message": "x"}, "InvalidParameter", 400),
        (sns.publish, {"TopicArn": arn, "Message": ""}, "InvalidParameter", 400),
        (sns.publish, {"TopicArn": arn, "Message": "x" * 262_145}, "InvalidParameter", 400),
        (sns.publish, bad_attribute, "ParameterValueInvalid", 400),
        (sns.create_topic, {"Name": "bad name"}, "InvalidParameter", 400),
        (sns.subscribe, {"TopicArn": arn, "Protocol": "pigeon", "Endpoint": "x"}, "InvalidParameter", 400),
        (sns.confirm_subscription, {"TopicArn": arn, "Token": "x"}, "InvalidParameter", 400),
        (sns.unsubscribe, {"SubscriptionArn": "x"}, "InvalidParameter", 400),
        (sns.get_subscription_attributes, {"SubscriptionArn": f"{arn}:x"}, "NotFound", 404),
        (sns.list_tags_for_resource, {"ResourceArn": gone}, "ResourceNotFound", 404),
        (sns.publish_batch, batch(), "EmptyBatchRequest", 400),
        (sns.publish_batch, batch(*entries), "TooManyEntriesInBatchRequest", 400),
        (sns.publish_batch, batch(entries[0], entries[0]), "BatchEntryIdsNotDistinct", 400),
        (sns.publish_batch, batch({"Id": "a b", "Message": "x"}), "InvalidBatchEntryId", 400),
        (sns.create_platform_application, {"Name": "x", "Platform": "APNS", "Attributes": {}}, "NotImplemented", 501),
    ]  # fmt: skip
    for method, params, code, status in cases:
        assert (await refused(method, **params))[:2] == (code, status), (method, params)


async def test_policies_hold(server: Server) -> None:
    root, reader, stranger = server.client(), server.client("AKIAREADER"), server.client("AKIANOBODY")
    arn = (await call(root.create_topic, Name="news"))["TopicArn"]
    assert len((await call(reader.list_topics))["Topics"]) == 1
    code, status, words = await refused(reader.publish, TopicArn=arn, Message="x")
    assert (code, status) == ("AuthorizationError", 403) and "is not authorized to perform" in words
    assert (await refused(stranger.list_topics))[1] == 403
    known = User(READER.name, READER.id, READER.arn, "/", "", 0)
    await server.store.commit(save, USERS, (known.name,), known)
    statement = {"Effect": "Allow", "Principal": {"AWS": READER.arn}, "Action": "sns:Publish", "Resource": arn}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    await call(root.set_topic_attributes, TopicArn=arn, AttributeName="Policy", AttributeValue=policy)
    await call(reader.publish, TopicArn=arn, Message="x")
    made = await call(root.subscribe, TopicArn=arn, Protocol="sms", Endpoint="+14155550100")
    assert (await refused(reader.unsubscribe, SubscriptionArn=made["SubscriptionArn"]))[0] == "AuthorizationError"


def fetch(url: str, form: dict[str, str] | None = None) -> tuple[int, str]:
    data = urllib.parse.urlencode(form).encode() if form is not None else None
    try:
        with urllib.request.urlopen(url, data) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


async def test_a_webhook_subscribes_verifies_gets_and_leaves(server: Server) -> None:
    """What every SNS webhook does: confirm by fetching SubscribeURL, get messages, unsubscribe by URL."""
    got: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def hook(request: web.Request) -> web.Response:
        await got.put(json.loads(await request.read()))
        return web.Response()

    app = web.Application()
    app.router.add_post("/hook", hook)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    endpoint = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    sns = server.client()
    arn = (await call(sns.create_topic, Name="news"))["TopicArn"]
    made = await call(sns.subscribe, TopicArn=arn, Protocol="http", Endpoint=endpoint)
    assert made["SubscriptionArn"] == "pending confirmation"
    asked = await asyncio.wait_for(got.get(), PATIENCE_S)
    assert asked["Type"] == "SubscriptionConfirmation"
    status, page = await asyncio.to_thread(fetch, asked["SubscribeURL"])
    assert status == 200 and f"<SubscriptionArn>{arn}:" in page
    await call(sns.publish, TopicArn=arn, Message="hello")
    notification = await asyncio.wait_for(got.get(), PATIENCE_S)
    assert notification["Message"] == "hello"
    status, certificate = await asyncio.to_thread(fetch, notification["SigningCertURL"])
    assert status == 200 and certificate.startswith("-----BEGIN CERTIFICATE-----")
    assert (await asyncio.to_thread(fetch, notification["UnsubscribeURL"]))[0] == 200
    assert (await asyncio.wait_for(got.get(), PATIENCE_S))["Type"] == "UnsubscribeConfirmation"
    assert (await call(sns.list_subscriptions))["Subscriptions"] == []
    await runner.cleanup()


async def test_mail_is_confirmed_by_a_button_not_by_a_link(server: Server) -> None:
    sns = server.client()
    arn = (await call(sns.create_topic, Name="news"))["TopicArn"]
    params = {"TopicArn": arn, "Protocol": "email", "Endpoint": "a@example.com", "ReturnSubscriptionArn": True}
    subscription = (await call(sns.subscribe, **params))["SubscriptionArn"]

    async def pending() -> str:
        attributes = await call(sns.get_subscription_attributes, SubscriptionArn=subscription)
        return attributes["Attributes"]["PendingConfirmation"]

    notes = await until(lambda: server.store.view(Outbox(10).list))
    link = re.search(r"http://\S+/_sluiceway/sns/confirm\S+", notes[0].body)
    assert link
    status, page = await asyncio.to_thread(fetch, link[0])
    assert status == 200 and "<button>" in page and await pending() == "true"
    token = re.search(r'name="token" value="([^"]+)"', page)
    assert token
    status, _ = await asyncio.to_thread(fetch, link[0].partition("?")[0], {"token": token[1]})
    assert status == 200 and await pending() == "false"
    status, page = await asyncio.to_thread(fetch, link[0].partition("?")[0], {"token": "wrong"})
    assert status == 400 and "Invalid token" in page
    status, page = await asyncio.to_thread(fetch, f"{server.url}/_sluiceway/sns/unsubscribe?subscription=%22%3E%3Cb%3E")
    assert status == 200 and "<b>" not in page


async def test_subscription_attributes(server: Server) -> None:
    sns = server.client()
    arn = (await call(sns.create_topic, Name="news"))["TopicArn"]
    queue = "arn:aws:sqs:us-east-1:000000000000:jobs"
    policy = json.dumps({"color": ["red"]})
    made = await call(sns.subscribe, TopicArn=arn, Protocol="sqs", Endpoint=queue, Attributes={"FilterPolicy": policy})
    subscription = made["SubscriptionArn"]
    change = {"SubscriptionArn": subscription, "AttributeName": "RawMessageDelivery", "AttributeValue": "true"}
    await call(sns.set_subscription_attributes, **change)
    attributes = (await call(sns.get_subscription_attributes, SubscriptionArn=subscription))["Attributes"]
    assert attributes["RawMessageDelivery"] == "true" and attributes["FilterPolicy"] == policy
    assert attributes["FilterPolicyScope"] == "MessageAttributes" and attributes["PendingConfirmation"] == "false"
    change |= {"AttributeName": "FilterPolicy", "AttributeValue": '{"a": [{"sufix": "x"}]}'}
    code, _, words = await refused(sns.set_subscription_attributes, **change)
    assert code == "InvalidParameter" and words == "Invalid parameter: FilterPolicy: Unrecognized match type sufix"
    await call(sns.unsubscribe, SubscriptionArn=subscription)
    await call(sns.unsubscribe, SubscriptionArn=subscription)


def let_topic_send(queue_arn: str, topic_arn: str) -> str:
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": queue_arn,
        "Condition": {"ArnEquals": {"aws:SourceArn": topic_arn}},
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


async def make_queue(sqs: Any, name: str, **attributes: str) -> tuple[str, str]:
    """URL and ARN."""
    url = (await call(sqs.create_queue, QueueName=name, Attributes=attributes))["QueueUrl"]
    found = await call(sqs.get_queue_attributes, QueueUrl=url, AttributeNames=["QueueArn"])
    return url, found["Attributes"]["QueueArn"]


async def receive(sqs: Any, url: str, seconds: int = 5) -> list[dict[str, Any]]:
    got = await call(
        sqs.receive_message,
        QueueUrl=url,
        WaitTimeSeconds=seconds,
        MaxNumberOfMessages=10,
        MessageAttributeNames=["All"],
        AttributeNames=["All"],
    )
    return got.get("Messages", [])


async def test_a_topic_fans_out_to_real_queues(server: Server) -> None:
    sns, sqs = server.client(), server.client(service="sqs")
    topic = (await call(sns.create_topic, Name="news"))["TopicArn"]
    url, queue = await make_queue(sqs, "jobs")
    raw_url, raw_queue = await make_queue(sqs, "raw")
    await call(sns.subscribe, TopicArn=topic, Protocol="sqs", Endpoint=queue)
    raw = {"RawMessageDelivery": "true"}
    await call(sns.subscribe, TopicArn=topic, Protocol="sqs", Endpoint=raw_queue, Attributes=raw)
    for one, arn in ((url, queue), (raw_url, raw_queue)):
        await call(sqs.set_queue_attributes, QueueUrl=one, Attributes={"Policy": let_topic_send(arn, topic)})
    attributes = {
        "n": {"DataType": "Number", "StringValue": "5"},
        "b": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
    }
    published = await call(sns.publish, TopicArn=topic, Message="hello", MessageAttributes=attributes)
    [message] = await receive(sqs, url)
    body = json.loads(message["Body"])
    assert (body["MessageId"], body["Message"]) == (published["MessageId"], "hello")
    assert body["MessageAttributes"]["b"] == {"Type": "Binary", "Value": "AP8="}
    [message] = await receive(sqs, raw_url)
    assert message["Body"] == "hello"
    assert message["MessageAttributes"]["b"]["BinaryValue"] == b"\x00\xff"
    assert message["MessageAttributes"]["n"] == attributes["n"]


async def test_a_queue_without_a_policy_gets_nothing_and_the_dead_letter_queue_says_why(server: Server) -> None:
    sns, sqs = server.client(), server.client(service="sqs")
    topic = (await call(sns.create_topic, Name="news"))["TopicArn"]
    url, queue = await make_queue(sqs, "jobs")
    dead_url, dead = await make_queue(sqs, "dead")
    redrive = {"RedrivePolicy": json.dumps({"deadLetterTargetArn": dead})}
    made = await call(sns.subscribe, TopicArn=topic, Protocol="sqs", Endpoint=queue, Attributes=redrive)
    reaction_id = "topic/news/" + made["SubscriptionArn"].rpartition(":")[2]
    await call(sns.publish, TopicArn=topic, Message="refused by both")
    kept = await until(lambda: server.store.view(server.reactions.dead_letters, reaction_id))
    assert "its dead-letter queue refused it" in kept[0].reason
    await call(sqs.set_queue_attributes, QueueUrl=dead_url, Attributes={"Policy": let_topic_send(dead, topic)})
    await call(sns.publish, TopicArn=topic, Message="hello")
    [letter] = await receive(sqs, dead_url)
    assert json.loads(letter["Body"])["Message"] == "hello"
    assert "is not authorized to perform: sqs:SendMessage" in letter["MessageAttributes"]["ErrorMessage"]["StringValue"]
    assert await receive(sqs, url, 0) == []
    await call(sqs.delete_queue, QueueUrl=dead_url)
    await call(sns.publish, TopicArn=topic, Message="nowhere to go")

    async def both() -> Any:
        kept = await server.store.view(server.reactions.dead_letters, reaction_id)
        return kept if len(kept) == 2 else None

    kept = await until(both)
    assert "refused it: The specified queue does not exist" in kept[1].reason


async def test_order_holds_from_a_fifo_topic_to_a_fifo_queue(server: Server) -> None:
    sns, sqs = server.client(), server.client(service="sqs")
    attributes = {"FifoTopic": "true", "ContentBasedDeduplication": "true"}
    topic = (await call(sns.create_topic, Name="news.fifo", Attributes=attributes))["TopicArn"]
    url, queue = await make_queue(sqs, "jobs.fifo", FifoQueue="true")
    await call(sqs.set_queue_attributes, QueueUrl=url, Attributes={"Policy": let_topic_send(queue, topic)})
    await call(sns.subscribe, TopicArn=topic, Protocol="sqs", Endpoint=queue, Attributes={"RawMessageDelivery": "true"})
    for text in "abacd":
        await call(sns.publish, TopicArn=topic, Message=text, MessageGroupId="g")
    got: list[dict[str, Any]] = []
    while len(got) < 4:
        messages = await receive(sqs, url)
        assert messages
        for message in messages:
            await call(sqs.delete_message, QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        got += messages
    assert [message["Body"] for message in got] == ["a", "b", "c", "d"]
    assert {message["Attributes"]["MessageGroupId"] for message in got} == {"g"}
