"""Queues by the older query protocol: forms in, XML out, as clients before 2023 speak it."""

from __future__ import annotations

import urllib.parse
import xml.etree.ElementTree as ElementTree
from typing import Any

import pytest
from helpers.raw import Answer, Plain, exchange, signed
from helpers.server import ServerProcess

NAMESPACE = "{http://queue.amazonaws.com/doc/2012-11-05/}"
FORM = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}


class Client:
    """Sends forms; ``url`` is a queue's."""

    def __init__(self, server: ServerProcess) -> None:
        self.server = server

    def send(self, path: str, fields: dict[str, str], method: str = "POST") -> Answer:
        text = urllib.parse.urlencode({"Version": "2012-11-05", **fields}, quote_via=urllib.parse.quote)
        plain = (
            Plain(path=path, body=text.encode(), headers=FORM) if method == "POST" else Plain(method, f"{path}?{text}")
        )
        return exchange(
            self.server, signed(plain, self.server.port, self.server.key, "sqs").wire(self.server.port)
        ).check()

    def call(self, action: str, path: str = "/", method: str = "POST", **fields: str) -> ElementTree.Element:
        given = {name.replace("__", "."): value for name, value in fields.items()}
        answer = self.send(path, {"Action": action, **given}, method)
        assert answer.status == 200, answer.body
        assert answer.headers["content-type"] == "text/xml"
        root = ElementTree.fromstring(answer.body)
        assert root.tag == f"{NAMESPACE}{action}Response" and text(root, "ResponseMetadata/RequestId")
        return root

    def refused(self, action: str, path: str = "/", **fields: str) -> tuple[int, str, str]:
        given = {name.replace("__", "."): value for name, value in fields.items()}
        answer = self.send(path, {"Action": action, **given})
        root = ElementTree.fromstring(answer.body)
        assert root.tag == f"{NAMESPACE}ErrorResponse"
        return answer.status, text(root, "Error/Code"), text(root, "Error/Type")


def find(root: ElementTree.Element, path: str) -> list[ElementTree.Element]:
    return root.findall("/".join(NAMESPACE + part for part in path.split("/")))


def text(root: ElementTree.Element, path: str) -> str:
    found = find(root, path)
    return found[0].text or "" if found else ""


def pairs(root: ElementTree.Element, path: str, key: str = "Name", value: str = "Value") -> dict[str, str]:
    return {text(one, key): text(one, value) for one in find(root, path)}


@pytest.fixture
def client(server: ServerProcess) -> Client:
    return Client(server)


def made(client: Client, name: str, **attributes: str) -> str:
    """A queue; its path, where clients send what is about it."""
    fields: dict[str, str] = {}
    for at, (key, value) in enumerate(attributes.items(), 1):
        fields |= {f"Attribute.{at}.Name": key, f"Attribute.{at}.Value": value}
    url = text(client.call("CreateQueue", QueueName=name, **fields), "CreateQueueResult/QueueUrl")
    assert url == f"{client.server.url}/000000000000/{name}"
    return urllib.parse.urlsplit(url).path


def test_a_message_and_its_attributes(client: Client, server: ServerProcess) -> None:
    path = made(client, "query", VisibilityTimeout="5")
    sent = client.call(
        "SendMessage", path, MessageBody="ü & <x>",
        MessageAttribute__1__Name="n", MessageAttribute__1__Value__DataType="Number",
        MessageAttribute__1__Value__StringValue="7",
        MessageAttribute__2__Name="b", MessageAttribute__2__Value__DataType="Binary",
        MessageAttribute__2__Value__BinaryValue="AP8=",
        MessageSystemAttribute__1__Name="AWSTraceHeader", MessageSystemAttribute__1__Value__DataType="String",
        MessageSystemAttribute__1__Value__StringValue="Root=1",
    )  # fmt: skip
    got = client.call("ReceiveMessage", path, AttributeName__1="All", MessageAttributeName__1="All")
    message = "ReceiveMessageResult/Message"
    assert text(got, f"{message}/Body") == "ü & <x>"
    assert text(got, f"{message}/MessageId") == text(sent, "SendMessageResult/MessageId")
    digest = "MD5OfMessageAttributes"
    assert text(got, f"{message}/{digest}") == text(sent, f"SendMessageResult/{digest}") != ""
    assert text(sent, "SendMessageResult/MD5OfMessageSystemAttributes")
    attributes = pairs(got, f"{message}/Attribute")
    assert attributes["AWSTraceHeader"] == "Root=1" and attributes["ApproximateReceiveCount"] == "1"
    values = {text(one, "Name"): one for one in find(got, f"{message}/MessageAttribute")}
    assert text(values["n"], "Value/StringValue") == "7" and text(values["b"], "Value/BinaryValue") == "AP8="
    handle = text(got, f"{message}/ReceiptHandle")
    client.call("ChangeMessageVisibility", path, ReceiptHandle=handle, VisibilityTimeout="0")
    [json_message] = server.client("sqs").receive_message(QueueUrl=server.url + path)["Messages"]
    assert json_message["Body"] == "ü & <x>"  # one queue, two protocols
    client.call("DeleteMessage", path, ReceiptHandle=json_message["ReceiptHandle"])
    empty = client.call("ReceiveMessage", path, MaxNumberOfMessages="10", WaitTimeSeconds="0")
    assert find(empty, message) == []


def test_batches(client: Client) -> None:
    path = made(client, "query-batch")
    prefix = "SendMessageBatchRequestEntry"
    fields = {f"{prefix}.{at}.Id": f"m{at}" for at in range(1, 4)}
    fields |= {f"{prefix}.{at}.MessageBody": f"body {at}" for at in range(1, 4)} | {f"{prefix}.3.DelaySeconds": "901"}
    sent = client.call("SendMessageBatch", path, **fields)
    ids = [text(one, "Id") for one in find(sent, "SendMessageBatchResult/SendMessageBatchResultEntry")]
    assert ids == ["m1", "m2"]
    [failed] = find(sent, "SendMessageBatchResult/BatchResultErrorEntry")
    assert (text(failed, "Id"), text(failed, "Code")) == ("m3", "InvalidParameterValue")
    assert text(failed, "SenderFault") == "true"
    got = client.call("ReceiveMessage", path, MaxNumberOfMessages="10")
    handles = [text(one, "ReceiptHandle") for one in find(got, "ReceiveMessageResult/Message")]
    prefix = "ChangeMessageVisibilityBatchRequestEntry"
    fields = {f"{prefix}.1.Id": "a", f"{prefix}.1.ReceiptHandle": handles[0], f"{prefix}.1.VisibilityTimeout": "60"}
    changed = client.call("ChangeMessageVisibilityBatch", path, **fields)
    assert len(find(changed, "ChangeMessageVisibilityBatchResult/ChangeMessageVisibilityBatchResultEntry")) == 1
    prefix = "DeleteMessageBatchRequestEntry"
    fields = {f"{prefix}.{at}.Id": str(at) for at in (1, 2)}
    fields |= {f"{prefix}.{at}.ReceiptHandle": handle for at, handle in enumerate(handles, 1)}
    deleted = client.call("DeleteMessageBatch", path, **fields)
    assert len(find(deleted, "DeleteMessageBatchResult/DeleteMessageBatchResultEntry")) == 2


def test_queues_their_attributes_and_tags(client: Client) -> None:
    path = made(client, "query-queue", DelaySeconds="3")
    shown = client.call("GetQueueAttributes", path, AttributeName__1="DelaySeconds", AttributeName__2="QueueArn")
    assert pairs(shown, "GetQueueAttributesResult/Attribute") == {
        "DelaySeconds": "3", "QueueArn": "arn:aws:sqs:us-east-1:000000000000:query-queue",
    }  # fmt: skip
    client.call("SetQueueAttributes", path, Attribute__1__Name="DelaySeconds", Attribute__1__Value="0")
    client.call("TagQueue", path, Tag__1__Key="k", Tag__1__Value="v", Tag__2__Key="l", Tag__2__Value="w")
    client.call("UntagQueue", path, TagKey__1="l")
    assert pairs(client.call("ListQueueTags", path), "ListQueueTagsResult/Tag", "Key") == {"k": "v"}
    client.call("AddPermission", path, Label="p", AWSAccountId__1="111122223333", ActionName__1="SendMessage")
    client.call("RemovePermission", path, Label="p")
    listed = client.call("ListQueues", QueueNamePrefix="query-queue")
    assert text(listed, "ListQueuesResult/QueueUrl") == client.server.url + path
    found = client.call("GetQueueUrl", method="GET", QueueName="query-queue")
    assert text(found, "GetQueueUrlResult/QueueUrl") == client.server.url + path
    url = client.server.url + path
    assert pairs(
        client.call("GetQueueAttributes", QueueUrl=url, AttributeName__1="All"), "GetQueueAttributesResult/Attribute"
    )
    client.call("PurgeQueue", path)
    client.call("DeleteQueue", path)
    assert client.refused("DeleteQueue", path) == (400, "AWS.SimpleQueueService.NonExistentQueue", "Sender")


def test_errors_have_their_old_codes(client: Client) -> None:
    path = made(client, "query-errors")
    old = "AWS.SimpleQueueService."
    cases: list[tuple[str, dict[str, Any], str]] = [
        ("SendMessageBatch", {}, old + "EmptyBatchRequest"),
        ("ReceiveMessage", {"MaxNumberOfMessages": "11"}, "InvalidParameterValue"),
        ("DeleteMessage", {"ReceiptHandle": "x"}, "ReceiptHandleIsInvalid"),
        ("DeleteMessage", {}, "MissingParameter"),
        ("SendMessage", {"MessageBody": "x\x01"}, "InvalidMessageContents"),
        ("GetQueueAttributes", {"AttributeName.1": "Nonsense"}, "InvalidAttributeName"),
    ]
    for action, fields, code in cases:
        status, found, blame = client.refused(action, path, **{key.replace(".", "__"): v for key, v in fields.items()})
        assert (status, found, blame) == (400, code, "Sender"), action
    assert client.refused("Nonsense") == (400, "InvalidAction", "Sender")
    client.call("PurgeQueue", path)
    assert client.refused("PurgeQueue", path)[:2] == (403, old + "PurgeQueueInProgress")
    assert client.refused("ReceiveMessage", "/111122223333/query-errors")[1] == old + "NonExistentQueue"
    assert client.refused("CreateQueue", QueueName="query-errors", Attribute__1__Name="DelaySeconds",
                          Attribute__1__Value="1")[1] == "QueueAlreadyExists"  # fmt: skip


@pytest.mark.parametrize(
    "body",
    [b"", b"Action", b"Action=", b"Action=SendMessage&%zz", b"&&&&", b"\xff\xfe", b"Action=SendMessage&MessageBody",
     b"Action=SendMessageBatch&SendMessageBatchRequestEntry.1=x", b"Action=ReceiveMessage&MaxNumberOfMessages=x",
     b"Action=SendMessage&" + b"MessageAttribute." * 5000 + b"=1", b"Action=SendMessage&MessageBody=x&MessageBody=y&" * 50,
     b"Action=SendMessage&MessageAttribute.99999999999999999999.Name=x", b"Action=TagQueue&Tag.1.Key=x"],
)  # fmt: skip
def test_forms_without_sense(client: Client, server: ServerProcess, body: bytes) -> None:
    path = made(client, "query-forms")
    plain = signed(Plain(path=path, body=body, headers=FORM), server.port, server.key, "sqs")
    exchange(server, plain.wire(server.port)).check()


def test_who_does_not_sign_gets_what_the_policy_lets_everyone_do(client: Client, server: ServerProcess) -> None:
    path = made(client, "query-public")
    form = Plain(path=path, body=b"Action=SendMessage&MessageBody=x", headers=FORM)
    answer = exchange(server, form.wire(server.port)).check(403, 400)
    assert b"AccessDenied" in answer.body or b"MissingAuthenticationToken" in answer.body
    policy = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage"'
    policy += ', "Resource": "*"}]}'
    client.call("SetQueueAttributes", path, Attribute__1__Name="Policy", Attribute__1__Value=policy)
    exchange(server, form.wire(server.port)).check(200)
    asked = Plain("GET", f"{path}?Action=ReceiveMessage&Version=2012-11-05")
    exchange(server, asked.wire(server.port), "GET").check(403, 400)
    got = client.call("ReceiveMessage", path)
    assert text(got, "ReceiveMessageResult/Message/Body") == "x"
