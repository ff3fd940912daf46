"""Many receivers at once, and FIFO queues."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import struct
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from helpers.queues import counts, fifo, made, refused, take
from helpers.raw import Plain, serialized, signed
from helpers.server import ServerProcess

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


@pytest.mark.parametrize("ending", ["close", "reset", "half"])
def test_a_poller_that_is_gone_takes_no_message(server: ServerProcess, sqs: Any, ending: str) -> None:
    """It would be hidden from everybody for its visibility timeout, and count as received."""
    url = made(sqs, f"gone-{ending}")
    body = json.dumps({"QueueUrl": url, "WaitTimeSeconds": 20}).encode()
    headers = {"content-type": "application/x-amz-json-1.0", "x-amz-target": "AmazonSQS.ReceiveMessage"}
    request = signed(Plain(body=body, headers=headers), server.port, server.key, "sqs").wire(server.port)
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.sendall(request)
            time.sleep(0.3)
            if ending == "reset":
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            if ending == "half":
                client.shutdown(socket.SHUT_WR)
                assert client.recv(1) == b""
    time.sleep(0.2)
    sqs.send_message(QueueUrl=url, MessageBody="for whoever is there")
    time.sleep(0.5)  # far longer than a poller needs
    [one] = take(sqs, url, WaitTimeSeconds=5, MessageSystemAttributeNames=["ApproximateReceiveCount"])
    assert one["Attributes"] == {"ApproximateReceiveCount": "1"}


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
