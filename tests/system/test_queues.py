"""Queues by their official client: messages, batches, long polling, order, dead letters, move tasks."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from helpers.raw import serialized, signed
from helpers.server import ServerProcess, eventually


@pytest.fixture
def sqs(server: ServerProcess) -> Any:
    return server.client("sqs")


def made(sqs: Any, name: str, **attributes: str) -> str:
    url: str = sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
    return url


def fifo(sqs: Any, name: str, **attributes: str) -> str:
    return made(sqs, name, FifoQueue="true", ContentBasedDeduplication="true", **attributes)


def arn(sqs: Any, url: str) -> str:
    found: str = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    return found


def counts(sqs: Any, url: str) -> tuple[int, int, int]:
    names = ["", "NotVisible", "Delayed"]
    asked = [f"ApproximateNumberOfMessages{name}" for name in names]
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=asked)["Attributes"]
    visible, taken, delayed = (int(found[name]) for name in asked)
    return visible, taken, delayed


def take(sqs: Any, url: str, count: int = 10, **more: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=count, **more).get(
        "Messages", []
    )
    return found


def refused(method: Any, **params: Any) -> str:
    with pytest.raises(ClientError) as caught:
        method(**params)
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] < 500
    code: str = caught.value.response["Error"]["Code"]
    return code


# -- queues


def test_making_a_queue_again_is_the_same_queue_or_an_error(sqs: Any) -> None:
    url = made(sqs, "again", VisibilityTimeout="7")
    assert made(sqs, "again", VisibilityTimeout="7") == made(sqs, "again") == url
    assert refused(sqs.create_queue, QueueName="again", Attributes={"DelaySeconds": "1"}) == "QueueAlreadyExists"
    assert made(sqs, "again", DelaySeconds="0") == url
    assert sqs.get_queue_url(QueueName="again")["QueueUrl"] == url
    with pytest.raises(sqs.exceptions.QueueDoesNotExist) as caught:
        sqs.get_queue_url(QueueName="never")
    assert caught.value.response["Error"]["Code"] == "AWS.SimpleQueueService.NonExistentQueue"
    assert refused(sqs.get_queue_url, QueueName="again", QueueOwnerAWSAccountId="111122223333").endswith(
        "NonExistentQueue"
    )


def test_attributes_are_checked_kept_and_shown(sqs: Any) -> None:
    url = made(sqs, "kept")
    shown = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert shown["SqsManagedSseEnabled"] == "true" and shown["MaximumMessageSize"] == "1048576"
    assert "FifoQueue" not in shown and "Policy" not in shown
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"KmsMasterKeyId": "alias/aws/sqs", "DelaySeconds": "3"})
    shown = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert (shown["KmsMasterKeyId"], shown["SqsManagedSseEnabled"]) == ("alias/aws/sqs", "false")
    assert shown["KmsDataKeyReusePeriodSeconds"] == "300" and shown["DelaySeconds"] == "3"
    for name, value in {
        "VisibilityTimeout": "43201", "DelaySeconds": "-1", "MessageRetentionPeriod": "59", "MaximumMessageSize": "1023",
        "ReceiveMessageWaitTimeSeconds": "21", "Policy": "{", "SqsManagedSseEnabled": "yes",
    }.items():  # fmt: skip
        assert refused(sqs.set_queue_attributes, QueueUrl=url, Attributes={name: value}) == "InvalidAttributeValue", (
            name
        )
    for name in ("Nonsense", "QueueArn", "ContentBasedDeduplication"):
        assert refused(sqs.set_queue_attributes, QueueUrl=url, Attributes={name: "true"}) == "InvalidAttributeName"
    assert refused(sqs.get_queue_attributes, QueueUrl=url, AttributeNames=["Nonsense"]) == "InvalidAttributeName"
    both = {"KmsMasterKeyId": "x", "SqsManagedSseEnabled": "true"}
    assert refused(sqs.set_queue_attributes, QueueUrl=url, Attributes=both) == "InvalidAttributeValue"
    assert refused(sqs.create_queue, QueueName="bad name") == "InvalidParameterValue"
    assert refused(sqs.create_queue, QueueName="x.fifo") == "InvalidParameterValue"
    assert refused(sqs.create_queue, QueueName="x", Attributes={"FifoQueue": "true"}) == "InvalidParameterValue"
    assert refused(sqs.create_queue, QueueName="x", Attributes={"FifoQueue": "false"}) == "InvalidAttributeName"


def test_queues_are_listed_in_pages(sqs: Any) -> None:
    urls = [made(sqs, f"page-{at}") for at in range(5)]
    found, token = [], None
    while True:
        more = {"NextToken": token} if token else {}
        page = sqs.list_queues(QueueNamePrefix="page-", MaxResults=2, **more)
        found += page.get("QueueUrls", [])
        assert len(page["QueueUrls"]) <= 2
        token = page.get("NextToken")
        if not token:
            break
    assert found == urls
    assert "QueueUrls" not in sqs.list_queues(QueueNamePrefix="page-no")
    assert refused(sqs.list_queues, MaxResults=0) == refused(sqs.list_queues, NextToken="é") == "InvalidParameterValue"


def test_tags(sqs: Any) -> None:
    url = sqs.create_queue(QueueName="tagged", tags={"a": "1"})["QueueUrl"]
    sqs.tag_queue(QueueUrl=url, Tags={"b": "2", "a": "3"})
    assert sqs.list_queue_tags(QueueUrl=url)["Tags"] == {"a": "3", "b": "2"}
    sqs.untag_queue(QueueUrl=url, TagKeys=["a", "never"])
    assert sqs.list_queue_tags(QueueUrl=url)["Tags"] == {"b": "2"}
    assert refused(sqs.tag_queue, QueueUrl=url, Tags={f"k{at}": "" for at in range(51)}) == "InvalidParameterValue"


def test_a_deleted_queue_made_again_is_empty_and_knows_no_old_handles(sqs: Any) -> None:
    url = made(sqs, "phoenix")
    sqs.send_message(QueueUrl=url, MessageBody="old")
    handle = take(sqs, url)[0]["ReceiptHandle"]
    sqs.delete_queue(QueueUrl=url)
    assert refused(sqs.send_message, QueueUrl=url, MessageBody="x") == "AWS.SimpleQueueService.NonExistentQueue"
    assert made(sqs, "phoenix") == url
    assert take(sqs, url) == [] and counts(sqs, url) == (0, 0, 0)
    assert refused(sqs.delete_message, QueueUrl=url, ReceiptHandle=handle) == "ReceiptHandleIsInvalid"


def test_a_purge_leaves_nothing_and_can_be_done_once_in_a_minute(sqs: Any) -> None:
    url = made(sqs, "purged")
    for at in range(12):
        sqs.send_message(QueueUrl=url, MessageBody=str(at), DelaySeconds=at % 3)
    handle = take(sqs, url, 1)[0]["ReceiptHandle"]
    sqs.purge_queue(QueueUrl=url)
    assert counts(sqs, url) == (0, 0, 0) and take(sqs, url, WaitTimeSeconds=3) == []
    sqs.delete_message(QueueUrl=url, ReceiptHandle=handle)
    code = refused(sqs.purge_queue, QueueUrl=url)
    assert code == "AWS.SimpleQueueService.PurgeQueueInProgress"
    sqs.send_message(QueueUrl=url, MessageBody="new")
    assert [one["Body"] for one in take(sqs, url)] == ["new"]


# -- messages


def test_a_message_comes_back_as_it_was_sent(sqs: Any) -> None:
    url = made(sqs, "whole")
    attributes = {
        "text": {"DataType": "String.name", "StringValue": "ü☃"},
        "bytes": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
        "number": {"DataType": "Number", "StringValue": "-1.5e3"},
    }
    trace = {"AWSTraceHeader": {"DataType": "String", "StringValue": "Root=1-5759e988"}}
    for body in ("\t\r\n \U0001f600<&>", "x" * 100_000):  # beside its row, too
        sent = sqs.send_message(
            QueueUrl=url, MessageBody=body, MessageAttributes=attributes, MessageSystemAttributes=trace
        )
        got = take(sqs, url, AttributeNames=["All"], MessageAttributeNames=["All"])[0]
        assert got["Body"] == body and got["MessageAttributes"] == attributes and got["MessageId"] == sent["MessageId"]
        assert got["MD5OfBody"] == sent["MD5OfMessageBody"]
        assert got["MD5OfMessageAttributes"] == sent["MD5OfMessageAttributes"]
        assert got["Attributes"]["AWSTraceHeader"] == "Root=1-5759e988"
        assert got["Attributes"]["ApproximateReceiveCount"] == "1"
        sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=got["ReceiptHandle"], VisibilityTimeout=0)
        again = take(
            sqs, url, MessageSystemAttributeNames=["ApproximateReceiveCount"], MessageAttributeNames=["te.*", "n"]
        )
        assert again[0]["Attributes"] == {"ApproximateReceiveCount": "2"}
        assert again[0]["MessageAttributes"] == {"text": attributes["text"]}
        sqs.delete_message(QueueUrl=url, ReceiptHandle=again[0]["ReceiptHandle"])
    assert counts(sqs, url) == (0, 0, 0)


def test_the_largest_message_is_taken_and_one_byte_more_is_not(sqs: Any) -> None:
    url = made(sqs, "large")
    sqs.send_message(QueueUrl=url, MessageBody="é" * (512 * 1024))
    assert len(take(sqs, url)[0]["Body"]) == 512 * 1024
    assert refused(sqs.send_message, QueueUrl=url, MessageBody="x" * (1024 * 1024 + 1)) == "InvalidParameterValue"
    big = {"a": {"DataType": "String", "StringValue": "x" * 20}}
    full = {"QueueUrl": url, "MessageBody": "x" * (1024 * 1024 - 10), "MessageAttributes": big}
    assert refused(sqs.send_message, **full) == "InvalidParameterValue"
    small = made(sqs, "small", MaximumMessageSize="1024")
    assert refused(sqs.send_message, QueueUrl=small, MessageBody="x" * 1025) == "InvalidParameterValue"
    entries = [{"Id": str(at), "MessageBody": "x" * 600_000} for at in range(2)]
    code = refused(sqs.send_message_batch, QueueUrl=url, Entries=entries)
    assert code == "AWS.SimpleQueueService.BatchRequestTooLong"


def test_delays_hide_a_message_until_their_time(sqs: Any) -> None:
    url = made(sqs, "delayed", DelaySeconds="1")
    sqs.send_message(QueueUrl=url, MessageBody="queue's")
    sqs.send_message(QueueUrl=url, MessageBody="own", DelaySeconds=0)
    sqs.send_message(QueueUrl=url, MessageBody="late", DelaySeconds=900)
    assert [one["Body"] for one in take(sqs, url)] == ["own"]
    assert counts(sqs, url) == (0, 1, 2)
    began = time.monotonic()
    assert [one["Body"] for one in take(sqs, url, WaitTimeSeconds=5)] == ["queue's"]
    assert 0.5 < time.monotonic() - began < 4.5
    assert refused(sqs.send_message, QueueUrl=url, MessageBody="x", DelaySeconds=901) == "InvalidParameterValue"


def test_batches_are_done_in_parts(sqs: Any) -> None:
    url = made(sqs, "batch")
    entries = [{"Id": "good", "MessageBody": "a"}, {"Id": "bad", "MessageBody": "b\x00"},
               {"Id": "late", "MessageBody": "c", "DelaySeconds": 901},
               {"Id": "list", "MessageBody": "d", "MessageAttributes": {"x": {"DataType": "Other", "StringValue": "1"}}},
               {"Id": "good-2", "MessageBody": "e"}]  # fmt: skip
    answer = sqs.send_message_batch(QueueUrl=url, Entries=entries)
    assert [one["Id"] for one in answer["Successful"]] == ["good", "good-2"]
    assert {one["Id"]: one["Code"] for one in answer["Failed"]} == {
        "bad": "InvalidMessageContents", "late": "InvalidParameterValue", "list": "InvalidParameterValue",
    }  # fmt: skip
    got = take(sqs, url)
    changes = [{"Id": str(at), "ReceiptHandle": one["ReceiptHandle"], "VisibilityTimeout": 60 + 43_200 * at}
               for at, one in enumerate(got)]  # fmt: skip
    answer = sqs.change_message_visibility_batch(QueueUrl=url, Entries=changes)
    assert [one["Id"] for one in answer["Successful"]] == ["0"]
    assert [(one["Id"], one["Code"]) for one in answer["Failed"]] == [("1", "InvalidParameterValue")]
    handles = [*(one["ReceiptHandle"] for one in got), "nonsense"]
    answer = sqs.delete_message_batch(
        QueueUrl=url, Entries=[{"Id": str(at), "ReceiptHandle": handle} for at, handle in enumerate(handles)]
    )
    assert [one["Id"] for one in answer["Successful"]] == ["0", "1"]
    assert [(one["Id"], one["Code"]) for one in answer["Failed"]] == [("2", "ReceiptHandleIsInvalid")]


def test_batches_of_the_wrong_form_are_refused_as_a_whole(sqs: Any) -> None:
    url = made(sqs, "forms")

    def code(*ids: str) -> str:
        entries = [{"Id": one, "MessageBody": "x"} for one in ids]
        return refused(sqs.send_message_batch, QueueUrl=url, Entries=entries).removeprefix("AWS.SimpleQueueService.")

    assert code() == "EmptyBatchRequest"
    assert code("a", "a") == "BatchEntryIdsNotDistinct"
    assert code("a b") == code("x" * 81) == code("é") == "InvalidBatchEntryId"
    assert code(*map(str, range(11))) == "TooManyEntriesInBatchRequest"
    assert counts(sqs, url) == (0, 0, 0)


def test_visibility_ends_is_changed_and_has_a_limit(sqs: Any) -> None:
    url = made(sqs, "visibility", VisibilityTimeout="1")
    sqs.send_message(QueueUrl=url, MessageBody="x")
    first = take(sqs, url)[0]["ReceiptHandle"]
    assert take(sqs, url) == [] and counts(sqs, url) == (0, 1, 0)
    second = take(sqs, url, WaitTimeSeconds=5, VisibilityTimeout=100)[0]["ReceiptHandle"]
    sqs.delete_message(QueueUrl=url, ReceiptHandle=first)  # is answered, and deletes nothing
    assert counts(sqs, url) == (0, 1, 0)
    change = {"QueueUrl": url, "VisibilityTimeout": 10}
    assert refused(sqs.change_message_visibility, ReceiptHandle=first, **change) == "InvalidParameterValue"
    beyond = {"QueueUrl": url, "ReceiptHandle": second, "VisibilityTimeout": 43_200}
    time.sleep(0.01)
    assert refused(sqs.change_message_visibility, **beyond) == "InvalidParameterValue"
    sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=second, VisibilityTimeout=0)
    assert refused(sqs.change_message_visibility, ReceiptHandle=second, **change).endswith("MessageNotInflight")
    sqs.delete_message(QueueUrl=url, ReceiptHandle=second)  # its time is over, but it is the latest
    assert counts(sqs, url) == (0, 0, 0) and take(sqs, url) == []
    sqs.delete_message(QueueUrl=url, ReceiptHandle=second)


def test_handles_of_other_queues_and_nonsense_are_refused(sqs: Any) -> None:
    one, other = made(sqs, "handles-1"), made(sqs, "handles-2")
    sqs.send_message(QueueUrl=one, MessageBody="x")
    handle = take(sqs, one)[0]["ReceiptHandle"]
    other_reception = base64.b64encode(base64.b64decode(handle)[:-16] + b"0" * 16).decode()
    wrong = [handle[:-4] + "AAAA", handle + "=", "", "x", "é", "A" * 2000, "YS5iLmMuZA==", "Li4u", handle.lower()]
    assert refused(sqs.delete_message, QueueUrl=other, ReceiptHandle=handle) == "ReceiptHandleIsInvalid"
    for nonsense in wrong:
        assert refused(sqs.delete_message, QueueUrl=one, ReceiptHandle=nonsense) == "ReceiptHandleIsInvalid", nonsense
        change = {"QueueUrl": one, "ReceiptHandle": nonsense, "VisibilityTimeout": 0}
        assert refused(sqs.change_message_visibility, **change) == "ReceiptHandleIsInvalid"
    sqs.delete_message(QueueUrl=one, ReceiptHandle=other_reception)
    assert counts(sqs, one) == (0, 1, 0)


@pytest.mark.parametrize("body", ["\x00", "a\x0bb", "\ufffe", "\x1f"])
def test_characters_that_xml_can_not_carry_are_refused(sqs: Any, body: str) -> None:
    url = made(sqs, "characters")
    assert refused(sqs.send_message, QueueUrl=url, MessageBody=body) == "InvalidMessageContents"


@pytest.mark.parametrize(
    "attributes",
    [
        {"x": {"DataType": "Number", "StringValue": "one"}},
        {"x": {"DataType": "Number", "StringValue": "nan"}},
        {"x": {"DataType": "String", "StringValue": ""}},
        {"x": {"DataType": "String", "BinaryValue": b"x"}},
        {"x": {"DataType": "Text", "StringValue": "x"}},
        {"AWS.x": {"DataType": "String", "StringValue": "x"}},
        {"a..b": {"DataType": "String", "StringValue": "x"}},
        {"x" * 257: {"DataType": "String", "StringValue": "x"}},
        {"x": {"DataType": "String", "StringValue": "x\x00"}},
        {"x": {"DataType": "String", "StringValue": "x", "StringListValues": ["y"]}},
        {f"x{at}": {"DataType": "String", "StringValue": "x"} for at in range(11)},
    ],
)
def test_message_attributes_of_the_wrong_form_are_refused(sqs: Any, attributes: dict[str, Any]) -> None:
    url = made(sqs, "characters")
    given = {"QueueUrl": url, "MessageBody": "x"}
    assert refused(sqs.send_message, MessageAttributes=attributes, **given) == "InvalidParameterValue"
    system = {"Other": {"DataType": "String", "StringValue": "x"}}
    assert refused(sqs.send_message, MessageSystemAttributes=system, **given) == "InvalidParameterValue"


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/000000000000/nobody", "AWS.SimpleQueueService.NonExistentQueue"),
        ("/111122223333/characters", "AWS.SimpleQueueService.NonExistentQueue"),
        ("/characters", "InvalidAddress"),
        ("/", "InvalidAddress"),
        ("/000000000000/a/b", "InvalidAddress"),
    ],
)
def test_urls_of_no_queue(server: ServerProcess, sqs: Any, path: str, code: str) -> None:
    made(sqs, "characters")
    assert refused(sqs.send_message, QueueUrl=server.url + path, MessageBody="x") == code
    elsewhere = "https://sqs.eu-west-1.amazonaws.com/000000000000/characters"
    with pytest.raises(ClientError) as caught:
        sqs.receive_message(QueueUrl=elsewhere)
    assert caught.value.response["Error"]["Code"] == "AWS.SimpleQueueService.NonExistentQueue"


@pytest.mark.parametrize(
    "wrong",
    [{"MaxNumberOfMessages": 0}, {"MaxNumberOfMessages": 11}, {"WaitTimeSeconds": 21}, {"WaitTimeSeconds": -1},
     {"VisibilityTimeout": 43_201}, {"VisibilityTimeout": -1}, {"ReceiveRequestAttemptId": "a b"}],
)  # fmt: skip
def test_receiving_with_numbers_out_of_range(sqs: Any, wrong: dict[str, Any]) -> None:
    assert refused(sqs.receive_message, QueueUrl=made(sqs, "characters"), **wrong) == "InvalidParameterValue"


def test_a_queue_whose_key_can_not_be_used_takes_and_gives_nothing(server: ServerProcess, sqs: Any) -> None:
    kms = server.client("kms")
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    url = made(sqs, "encrypted", KmsMasterKeyId=key)
    given = {"QueueUrl": url, "MessageBody": "x"}
    sqs.send_message(**given)
    kms.disable_key(KeyId=key)
    assert refused(sqs.send_message, **given) == refused(sqs.receive_message, QueueUrl=url) == "KMS.DisabledException"
    kms.enable_key(KeyId=key)
    assert len(take(sqs, url)) == 1
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"KmsMasterKeyId": "alias/nobody"})
    assert refused(sqs.send_message, **given) == "KMS.NotFoundException"
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"KmsMasterKeyId": "alias/aws/sqs"})
    sqs.send_message(**given)


# -- many at once


def test_a_long_poll_is_woken_at_once_and_ends_empty_at_its_time(sqs: Any) -> None:
    url = made(sqs, "poll", ReceiveMessageWaitTimeSeconds="1")
    began = time.monotonic()
    assert take(sqs, url) == [] and 0.9 < time.monotonic() - began < 10
    with ThreadPoolExecutor(1) as pool:
        polled = pool.submit(take, sqs, url, 1, WaitTimeSeconds=20)
        time.sleep(0.3)
        sent = time.monotonic()
        sqs.send_message(QueueUrl=url, MessageBody="now")
        assert polled.result()[0]["Body"] == "now" and time.monotonic() - sent < 10


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> tuple[Any, float]:
    """The answer to a request, and when it was there."""
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: (\d+)", head)
    assert head.startswith(b"HTTP/1.1 200") and length is not None
    return json.loads(await reader.readexactly(int(length[1]))), time.monotonic()


async def poll(server: ServerProcess, request: bytes) -> tuple[str, float]:
    """The message that a long poll got, and when."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    answer, now = await ask(reader, writer, request)
    writer.close()
    return str(answer["Messages"][0]["Body"]), now


def used_s(server: ServerProcess) -> float:
    """The server's processor time (proc(5), stat)."""
    assert server.process is not None
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_each_of_500_pollers_gets_one_of_500_messages_at_once(server: ServerProcess, sqs: Any) -> None:
    """Each message makes one look at the queue, not all 500: that took ten times as long."""
    url, total = made(sqs, "crowd"), 500

    def request(operation: str, **more: Any) -> bytes:
        plain = serialized("sqs", operation, {"QueueUrl": url, **more})
        return signed(plain, server.port, server.key, "sqs").wire(server.port)

    receive = request("ReceiveMessage", MaxNumberOfMessages=1, WaitTimeSeconds=20)
    sends = [request("SendMessage", MessageBody=str(at)) for at in range(total)]
    polls = [asyncio.create_task(poll(server, receive)) for _ in range(total)]
    await asyncio.sleep(2)
    assert not any(one.done() for one in polls)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    before_s = used_s(server)
    sent = [(await ask(reader, writer, send))[1] for send in sends]
    async with asyncio.timeout(10):
        got = dict(await asyncio.gather(*polls))
    writer.close()
    assert sorted(got, key=int) == [str(at) for at in range(total)]
    late_s = sorted(got[str(at)] - sent[at] for at in range(total))
    assert late_s[total // 2] < 0.3 and late_s[-1] < 2, late_s[-5:]
    assert used_s(server) - before_s < 2.5  # it is 0.6


def test_no_two_receivers_get_a_message_within_its_visibility_timeout(server: ServerProcess, sqs: Any) -> None:
    url, total = made(sqs, "many", VisibilityTimeout="600"), 300
    seen: list[str] = []
    done = threading.Event()

    def receiver() -> None:
        client = server.client("sqs")
        while not done.is_set():
            got = take(client, url, 7, WaitTimeSeconds=1)
            seen.extend(one["Body"] for one in got)
            for one in got[::2]:  # half of them stay in flight
                client.delete_message(QueueUrl=url, ReceiptHandle=one["ReceiptHandle"])
            if len(seen) >= total:
                done.set()

    with ThreadPoolExecutor(9) as pool:
        running = [pool.submit(receiver) for _ in range(8)]
        for at in range(0, total, 10):
            entries = [{"Id": str(one), "MessageBody": str(one)} for one in range(at, at + 10)]
            assert len(sqs.send_message_batch(QueueUrl=url, Entries=entries)["Successful"]) == 10
        for one in running:
            one.result(60)
    assert sorted(seen, key=int) == [str(at) for at in range(total)]


def test_order_within_groups_under_many_consumers(server: ServerProcess, sqs: Any) -> None:
    url, groups, each = fifo(sqs, "order.fifo", VisibilityTimeout="60"), "abcd", 30
    for at in range(each):
        for group in groups:
            sqs.send_message(QueueUrl=url, MessageBody=f"{group}{at}", MessageGroupId=group)
    order: dict[str, list[int]] = {group: [] for group in groups}
    lock = threading.Lock()

    def consumer() -> None:
        client = server.client("sqs")
        while got := take(client, url, 3, WaitTimeSeconds=1, AttributeNames=["All"]):
            with lock:
                for one in got:
                    order[one["Body"][0]].append(int(one["Body"][1:]))
                    assert one["Attributes"]["MessageGroupId"] == one["Body"][0]
            for one in got:
                client.delete_message(QueueUrl=url, ReceiptHandle=one["ReceiptHandle"])

    with ThreadPoolExecutor(6) as pool:
        for one in [pool.submit(consumer) for _ in range(6)]:
            one.result(90)
    assert order == {group: list(range(each)) for group in groups}


# -- FIFO


def test_what_is_sent_again_is_not_received_again(sqs: Any) -> None:
    url = made(sqs, "once.fifo", FifoQueue="true")
    given = {"QueueUrl": url, "MessageGroupId": "g"}
    assert refused(sqs.send_message, MessageBody="x", **given) == "InvalidParameterValue"
    one = sqs.send_message(MessageBody="x", MessageDeduplicationId="1", **given)
    two = sqs.send_message(MessageBody="other", MessageDeduplicationId="1", **given)
    assert (one["MessageId"], one["SequenceNumber"]) == (two["MessageId"], two["SequenceNumber"])
    three = sqs.send_message(MessageBody="x", MessageDeduplicationId="2", **given)
    assert int(three["SequenceNumber"]) > int(one["SequenceNumber"]) >= 10**19
    got = take(sqs, url, AttributeNames=["All"])
    assert [item["Body"] for item in got] == ["x", "x"]
    assert [item["Attributes"]["MessageDeduplicationId"] for item in got] == ["1", "2"]
    assert [item["Attributes"]["SequenceNumber"] for item in got] == [one["SequenceNumber"], three["SequenceNumber"]]


def test_deduplication_by_group(sqs: Any) -> None:
    attributes = {"DeduplicationScope": "messageGroup", "FifoThroughputLimit": "perMessageGroupId"}
    url = fifo(sqs, "scope.fifo", **attributes)
    sent = [sqs.send_message(QueueUrl=url, MessageBody="x", MessageGroupId=group)["MessageId"] for group in "abab"]
    assert sent[:2] == sent[2:] and sent[0] != sent[1]
    wrong = {"DeduplicationScope": "queue"}
    assert refused(sqs.set_queue_attributes, QueueUrl=url, Attributes=wrong) == "InvalidAttributeValue"


def test_wrong_parameters_for_the_type_of_queue(sqs: Any) -> None:
    url, standard = fifo(sqs, "wrong.fifo"), made(sqs, "wrong")
    assert refused(sqs.send_message, QueueUrl=url, MessageBody="x") == "MissingParameter"
    given = {"QueueUrl": url, "MessageBody": "x", "MessageGroupId": "g"}
    assert refused(sqs.send_message, DelaySeconds=1, **given) == "InvalidParameterValue"
    for wrong in ("", "a b", "x" * 129, "é"):
        assert refused(sqs.send_message, QueueUrl=url, MessageBody="x", MessageGroupId=wrong) == "InvalidParameterValue"
        assert refused(sqs.send_message, MessageDeduplicationId=wrong, **given) == "InvalidParameterValue"
    given = {"QueueUrl": standard, "MessageBody": "x"}
    assert refused(sqs.send_message, MessageDeduplicationId="1", **given) == "InvalidParameterValue"
    sqs.send_message(MessageGroupId="tenant", **given)  # a fair queue
    assert take(sqs, standard, AttributeNames=["MessageGroupId"])[0]["Attributes"] == {"MessageGroupId": "tenant"}
    assert refused(sqs.set_queue_attributes, QueueUrl=url, Attributes={"FifoQueue": "false"}) == "InvalidAttributeValue"
    wrong_one = {"QueueUrl": standard, "Attributes": {"FifoQueue": "false"}}
    assert refused(sqs.set_queue_attributes, **wrong_one) == "InvalidAttributeName"


def test_a_group_waits_for_what_is_in_flight(sqs: Any) -> None:
    url = fifo(sqs, "blocked.fifo")
    for body in ("a1", "a2", "b1"):
        sqs.send_message(QueueUrl=url, MessageBody=body, MessageGroupId=body[0])
    first = take(sqs, url, 1)[0]
    assert first["Body"] == "a1" and [one["Body"] for one in take(sqs, url)] == ["b1"] and take(sqs, url) == []
    with ThreadPoolExecutor(1) as pool:
        polled = pool.submit(take, sqs, url, 1, WaitTimeSeconds=20)
        time.sleep(0.3)
        sqs.delete_message(QueueUrl=url, ReceiptHandle=first["ReceiptHandle"])
        assert polled.result()[0]["Body"] == "a2"


def test_an_expired_handle_of_a_fifo_queue_is_refused(sqs: Any) -> None:
    url = fifo(sqs, "expired.fifo")
    sqs.send_message(QueueUrl=url, MessageBody="x", MessageGroupId="g")
    handle = take(sqs, url, VisibilityTimeout=0)[0]["ReceiptHandle"]
    assert refused(sqs.delete_message, QueueUrl=url, ReceiptHandle=handle) == "InvalidParameterValue"
    assert counts(sqs, url)[0] == 1


def test_the_same_attempt_gets_the_same_messages(sqs: Any) -> None:
    url = fifo(sqs, "attempt.fifo")
    for body in ("1", "2", "3"):
        sqs.send_message(QueueUrl=url, MessageBody=body, MessageGroupId="g")
    one = take(sqs, url, 2, ReceiveRequestAttemptId="try")
    assert [item["Body"] for item in one] == ["1", "2"]
    assert take(sqs, url, 2, ReceiveRequestAttemptId="try") == one
    assert take(sqs, url, 2, ReceiveRequestAttemptId="other") == []
    for item in one:
        sqs.delete_message(QueueUrl=url, ReceiptHandle=item["ReceiptHandle"])
    assert [item["Body"] for item in take(sqs, url, 2, ReceiveRequestAttemptId="try")] == ["3"]


def test_a_fifo_queues_delay_holds_for_what_is_in_it(sqs: Any) -> None:
    url = fifo(sqs, "slow.fifo", DelaySeconds="600")
    sqs.send_message(QueueUrl=url, MessageBody="x", MessageGroupId="g")
    assert take(sqs, url) == [] and counts(sqs, url) == (0, 0, 1)
    with ThreadPoolExecutor(1) as pool:
        polled = pool.submit(take, sqs, url, 1, WaitTimeSeconds=20)
        time.sleep(0.3)
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"DelaySeconds": "0"})
        assert polled.result()[0]["Body"] == "x"


# -- dead letters


def redrive(target: str, count: Any = 1) -> dict[str, str]:
    return {"RedrivePolicy": json.dumps({"deadLetterTargetArn": target, "maxReceiveCount": count})}


def test_what_is_received_too_often_goes_to_the_dead_letter_queue(sqs: Any) -> None:
    letters = made(sqs, "letters")
    url = made(sqs, "mortal", **redrive(arn(sqs, letters), 2))
    sent = sqs.send_message(QueueUrl=url, MessageBody="x" * 5000)["MessageId"]
    stamps = [take(sqs, url, VisibilityTimeout=0, AttributeNames=["SentTimestamp"])[0]["Attributes"] for _ in range(2)]
    assert take(sqs, url) == [] and counts(sqs, url) == (0, 0, 0)
    dead = take(sqs, letters, AttributeNames=["All"])[0]
    assert dead["MessageId"] == sent and len(dead["Body"]) == 5000
    assert dead["Attributes"]["DeadLetterQueueSourceArn"] == arn(sqs, url)
    assert dead["Attributes"]["SentTimestamp"] == stamps[0]["SentTimestamp"]
    assert sqs.list_dead_letter_source_queues(QueueUrl=letters)["queueUrls"] == [url]


def test_redrive_policies_are_checked(sqs: Any) -> None:
    letters, url, ordered = made(sqs, "strict"), made(sqs, "source"), fifo(sqs, "strict.fifo")
    target = arn(sqs, letters)
    missing = target.replace("strict", "nobody")
    for wrong in (redrive(missing), redrive(target, 0), redrive(target, "x"), redrive(target, 1001), redrive(target, True),
                  redrive("x"), redrive(arn(sqs, ordered)), redrive(arn(sqs, url)), {"RedrivePolicy": "[]"},
                  {"RedrivePolicy": json.dumps({"maxReceiveCount": 1})},
                  {"RedriveAllowPolicy": '{"redrivePermission": "maybe"}'},
                  {"RedriveAllowPolicy": '{"redrivePermission": "byQueue"}'}):  # fmt: skip
        assert refused(sqs.set_queue_attributes, QueueUrl=url, Attributes=wrong) == "InvalidParameterValue", wrong
    allow = {"redrivePermission": "byQueue", "sourceQueueArns": [arn(sqs, url)]}
    sqs.set_queue_attributes(QueueUrl=letters, Attributes={"RedriveAllowPolicy": json.dumps(allow)})
    sqs.set_queue_attributes(QueueUrl=url, Attributes=redrive(target, "5"))
    other = {"QueueName": "other-source", "Attributes": redrive(target)}
    assert refused(sqs.create_queue, **other) == "InvalidParameterValue"
    deny = {"RedriveAllowPolicy": json.dumps({"redrivePermission": "denyAll"})}
    sqs.set_queue_attributes(QueueUrl=letters, Attributes=deny)
    assert refused(sqs.set_queue_attributes, QueueUrl=url, Attributes=redrive(target)) == "InvalidParameterValue"


def lay(sqs: Any, url: str, letters: str, count: int) -> None:
    """Let ``count`` messages die."""
    for at in range(0, count, 10):
        sqs.send_message_batch(
            QueueUrl=url, Entries=[{"Id": str(one), "MessageBody": str(one)} for one in range(at, min(at + 10, count))]
        )
    while counts(sqs, url)[0]:
        take(sqs, url, VisibilityTimeout=0)
    assert counts(sqs, letters)[0] == count


def newest(sqs: Any, source: str) -> dict[str, Any]:
    found: dict[str, Any] = sqs.list_message_move_tasks(SourceArn=source)["Results"][0]
    return found


def test_dead_letters_are_moved_back_or_elsewhere(sqs: Any) -> None:
    letters, elsewhere = made(sqs, "move-letters"), made(sqs, "move-elsewhere")
    source = arn(sqs, letters)
    url = made(sqs, "move-source", **redrive(source))
    lay(sqs, url, letters, 30)
    sqs.start_message_move_task(SourceArn=source)
    eventually(lambda: newest(sqs, source)["Status"] == "COMPLETED")
    done = newest(sqs, source)
    assert (done["ApproximateNumberOfMessagesMoved"], done["ApproximateNumberOfMessagesToMove"]) == (30, 30)
    assert "TaskHandle" not in done and counts(sqs, letters) == (0, 0, 0) and counts(sqs, url)[0] == 30
    back = take(sqs, url, 1, VisibilityTimeout=0, AttributeNames=["All"])[0]["Attributes"]
    assert back["ApproximateReceiveCount"] == "1" and "DeadLetterQueueSourceArn" not in back
    while counts(sqs, url)[0]:
        take(sqs, url, VisibilityTimeout=0)
    sqs.start_message_move_task(SourceArn=source, DestinationArn=arn(sqs, elsewhere), MaxNumberOfMessagesPerSecond=500)
    eventually(lambda: counts(sqs, elsewhere)[0] == 30)
    assert len(sqs.list_message_move_tasks(SourceArn=source, MaxResults=10)["Results"]) == 2


def test_a_move_task_keeps_to_its_rate_and_can_be_cancelled(sqs: Any) -> None:
    letters = made(sqs, "slow-letters")
    source = arn(sqs, letters)
    url = made(sqs, "slow-source", **redrive(source))
    lay(sqs, url, letters, 40)
    began = time.monotonic()
    handle = sqs.start_message_move_task(SourceArn=source, MaxNumberOfMessagesPerSecond=5)["TaskHandle"]
    code = refused(sqs.start_message_move_task, SourceArn=source)
    assert code == "AWS.SimpleQueueService.UnsupportedOperation"
    eventually(lambda: newest(sqs, source)["ApproximateNumberOfMessagesMoved"])
    running, took = newest(sqs, source), time.monotonic() - began
    assert running["Status"] == "RUNNING" and running["TaskHandle"] == handle
    assert running["ApproximateNumberOfMessagesMoved"] <= 5 * (took + 1)
    moved = sqs.cancel_message_move_task(TaskHandle=handle)["ApproximateNumberOfMessagesMoved"]
    eventually(lambda: newest(sqs, source)["Status"] == "CANCELLED")
    assert counts(sqs, url)[0] == moved and counts(sqs, letters)[0] == 40 - moved
    assert refused(sqs.cancel_message_move_task, TaskHandle=handle) == "ResourceNotFoundException"


def test_letters_that_somebody_has_looked_at_are_moved_too(sqs: Any) -> None:
    for suffix, queue in (("", made), (".fifo", fifo)):
        letters = queue(sqs, f"seen-letters{suffix}")
        source = arn(sqs, letters)
        url = queue(sqs, f"seen-source{suffix}", **redrive(source))
        more = {"MessageGroupId": "g", "MessageDeduplicationId": "d"} if suffix else {}
        sqs.send_message(QueueUrl=url, MessageBody="x", **more)
        assert len(take(sqs, url, VisibilityTimeout=0)) == 1 and take(sqs, url) == []
        assert len(take(sqs, letters, VisibilityTimeout=0)) == 1
        sqs.start_message_move_task(SourceArn=source)
        eventually(lambda at=source: newest(sqs, at)["Status"] == "COMPLETED")
        done = newest(sqs, source)
        assert (done["ApproximateNumberOfMessagesMoved"], done["ApproximateNumberOfMessagesToMove"]) == (1, 1)
        assert len(take(sqs, url)) == 1


def test_a_task_is_cancelled_by_a_handle_of_its_own_source_only(sqs: Any) -> None:
    letters = made(sqs, "handle-letters")
    source = arn(sqs, letters)
    url = made(sqs, "handle-source", **redrive(source))
    lay(sqs, url, letters, 10)
    handle = sqs.start_message_move_task(SourceArn=source, MaxNumberOfMessagesPerSecond=1)["TaskHandle"]
    task = json.loads(base64.b64decode(handle))
    for other in (arn(sqs, url), None, 7):
        forged = base64.b64encode(json.dumps({**task, "sourceArn": other}).encode()).decode()
        assert refused(sqs.cancel_message_move_task, TaskHandle=forged) == "ResourceNotFoundException"
    sqs.cancel_message_move_task(TaskHandle=handle)


def test_move_tasks_of_the_wrong_form(sqs: Any) -> None:
    plain = arn(sqs, made(sqs, "no-letters"))
    start = sqs.start_message_move_task
    assert refused(start, SourceArn=plain) == "InvalidParameterValue"
    assert refused(start, SourceArn=plain.replace("no-letters", "nobody")) == "ResourceNotFoundException"
    for wrong in ("x", "arn:aws:s3:::x", plain.replace("sqs", "sns")):
        assert refused(start, SourceArn=wrong) == "InvalidParameterValue"
    made(sqs, "no-source", **redrive(plain))
    assert refused(start, SourceArn=plain, DestinationArn=plain) == "InvalidParameterValue"
    ordered = arn(sqs, fifo(sqs, "no.fifo"))
    assert refused(start, SourceArn=plain, DestinationArn=ordered) == "InvalidParameterValue"
    for rate in (0, 501, -1):
        assert refused(start, SourceArn=plain, MaxNumberOfMessagesPerSecond=rate) == "InvalidParameterValue"
    for handle in ("x", "", "é", "e30=", "bnVsbA=="):
        assert refused(sqs.cancel_message_move_task, TaskHandle=handle) == "InvalidParameterValue", handle
    assert refused(sqs.list_message_move_tasks, SourceArn=plain, MaxResults=11) == "InvalidParameterValue"
    assert sqs.list_message_move_tasks(SourceArn=plain).get("Results", []) == []


def test_a_move_task_goes_on_after_a_kill_and_moves_everything_once(own_server: ServerProcess) -> None:
    own_server.start()
    sqs = own_server.client("sqs")
    letters = made(sqs, "letters")
    source = arn(sqs, letters)
    lay(sqs, made(sqs, "source", **redrive(source)), letters, 200)
    sqs.start_message_move_task(SourceArn=source, MaxNumberOfMessagesPerSecond=40)
    seen = 0
    for _ in range(3):
        eventually(lambda at=seen, sqs=sqs: newest(sqs, source)["ApproximateNumberOfMessagesMoved"] > at)
        own_server.kill()
        own_server.start()
        sqs = own_server.client("sqs")
        task = newest(sqs, source)
        assert task["ApproximateNumberOfMessagesMoved"] >= seen
        seen = task["ApproximateNumberOfMessagesMoved"]
    assert 0 < seen < 200 and task["Status"] == "RUNNING"
    eventually(lambda: newest(sqs, source)["Status"] == "COMPLETED")
    url = sqs.get_queue_url(QueueName="source")["QueueUrl"]
    assert counts(sqs, letters) == (0, 0, 0) and counts(sqs, url) == (200, 0, 0)
    bodies: list[str] = []
    while got := take(sqs, url, VisibilityTimeout=600):
        bodies += [one["Body"] for one in got]
    assert sorted(bodies, key=int) == [str(at) for at in range(200)]


# -- who may


def test_permissions_become_statements_of_the_policy(server: ServerProcess, sqs: Any) -> None:
    url = made(sqs, "shared")
    given = {
        "QueueUrl": url,
        "Label": "them",
        "AWSAccountIds": ["111122223333"],
        "Actions": ["SendMessage", "ReceiveMessage"],
    }
    sqs.add_permission(**given)
    assert refused(sqs.add_permission, **given) == "InvalidParameterValue"
    policy = json.loads(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"])["Attributes"]["Policy"])
    assert policy["Statement"] == [
        {"Sid": "them", "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::111122223333:root"},
         "Action": ["SQS:SendMessage", "SQS:ReceiveMessage"], "Resource": arn(sqs, url)},
    ]  # fmt: skip
    for wrong in ({"Label": "a b"}, {"AWSAccountIds": ["1"]}, {"Actions": ["CreateQueue"]}, {"Actions": ["Nonsense"]}):
        assert refused(sqs.add_permission, **(given | {"Label": "more"} | wrong)) == "InvalidParameterValue", wrong
    assert refused(sqs.remove_permission, QueueUrl=url, Label="nobody") == "InvalidParameterValue"
    sqs.remove_permission(QueueUrl=url, Label="them")
    assert "Attributes" not in sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"])


def test_users_need_leave_for_each_operation(server: ServerProcess, sqs: Any) -> None:
    url = made(sqs, "guarded")
    iam = server.client("iam")
    iam.create_user(UserName="clerk")
    key = iam.create_access_key(UserName="clerk")["AccessKey"]
    clerk = server.client("sqs", (key["AccessKeyId"], key["SecretAccessKey"]))
    assert refused(clerk.send_message, QueueUrl=url, MessageBody="x") == "AccessDenied"
    statement = {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::000000000000:user/clerk"},
                 "Action": "sqs:SendMessage", "Resource": arn(sqs, url)}  # fmt: skip
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
    clerk.send_message(QueueUrl=url, MessageBody="x")
    clerk.send_message_batch(QueueUrl=url, Entries=[{"Id": "1", "MessageBody": "x"}])
    assert refused(clerk.receive_message, QueueUrl=url) == "AccessDenied"
    letters = made(sqs, "guarded-letters")
    made(sqs, "guarded-source", **redrive(arn(sqs, letters)))
    start = {"Effect": "Allow", "Action": "sqs:StartMessageMoveTask", "Resource": "*"}
    iam.put_user_policy(UserName="clerk", PolicyName="p",
                        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [start]}))  # fmt: skip
    assert refused(clerk.start_message_move_task, SourceArn=arn(sqs, letters)) == "AccessDenied"
    start["Action"] = ["sqs:StartMessageMoveTask", "sqs:ReceiveMessage", "sqs:DeleteMessage"]
    iam.put_user_policy(UserName="clerk", PolicyName="p",
                        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [start]}))  # fmt: skip
    assert (
        refused(clerk.start_message_move_task, SourceArn=arn(sqs, letters)) == "AccessDenied"
    )  # where they go back to
    start["Action"].append("sqs:SendMessage")
    iam.put_user_policy(UserName="clerk", PolicyName="p",
                        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [start]}))  # fmt: skip
    clerk.start_message_move_task(SourceArn=arn(sqs, letters))
