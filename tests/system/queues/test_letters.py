"""Dead letters, and the tasks that move them."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

from helpers.queues import arn, counts, fifo, made, redrive, refused, take
from helpers.server import ServerProcess, eventually


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
