"""SIGKILL under load, over delivery: publishers, a bucket, queues, a FIFO topic, a webhook, mail, text messages and a
function.

Clients publish, upload, send, receive and delete all the time while the server is killed at random moments and started
again. Afterwards every acknowledged publication reached every subscription that existed: exactly once in queues, at
least once and always under the same id outside; FIFO groups are in order; nothing whose deletion was answered was
received again; what was given up has its reason. For a longer run, or to repeat one:
``SLUICEWAY_TEST_KILLS=500 SLUICEWAY_TEST_SEED=7 pytest -s tests/crash/test_delivery.py``.
"""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.ports import lasting_port
from helpers.server import TRUST, ServerProcess, eventually

sys.path.insert(0, str(Path(__file__).parent))

from delivery.checks import Checks, tries
from delivery.load import Load
from delivery.outside import Outside
from shared.findings import Findings
from shared.look import Look, kept

SEED = int(os.environ.get("SLUICEWAY_TEST_SEED", time.time_ns() % 1_000_000))
KILLS = int(os.environ.get("SLUICEWAY_TEST_KILLS", "50"))
SUBSCRIBER = Path(__file__).parent / "delivery" / "subscriber.py"
UP_S = (0.1, 0.9)  # from the server's first answer to its death
SETTLE_S = 60 + KILLS / 2

pytestmark = [pytest.mark.crash, pytest.mark.timeout(180 + 6 * KILLS)]


@pytest.fixture
def outside() -> Iterator[Outside]:
    made = Outside(SEED)
    yield made
    made.close()


@pytest.fixture
def server(outside: Outside) -> Iterator[ServerProcess]:
    """A server whose folder outlives a test that failed, for whoever looks for the reason."""
    folder = Path(tempfile.mkdtemp(prefix="sluiceway-delivery-"))
    made = ServerProcess(folder / "data", environment=outside.environment()).start(lasting_port())
    yield made
    if made.process is not None and made.process.poll() is None:
        made.kill()


def allow(action: str, resource: str) -> str:
    statement = {"Effect": "Allow", "Principal": "*", "Action": action, "Resource": resource}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def queue(server: ServerProcess, name: str) -> tuple[str, str]:
    """URL and ARN of a new queue that takes a topic's messages."""
    sqs, fifo = server.client("sqs"), {"FifoQueue": "true"} if name.endswith(".fifo") else {}
    url = sqs.create_queue(QueueName=name, Attributes=fifo)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": allow("sqs:SendMessage", arn)})
    return url, arn


def function(server: ServerProcess, outside_url: str) -> str:
    """The ARN of a new function that topics may call, and that tells ``outside_url``."""
    client = server.client("lambda")
    role = server.client("iam").create_role(RoleName="tell", AssumeRolePolicyDocument=TRUST)["Role"]["Arn"]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.write(SUBSCRIBER, SUBSCRIBER.name)
    made = client.create_function(
        FunctionName="tell", Runtime="python3.11", Handler="subscriber.handler", Role=role, Timeout=20,
        Code={"ZipFile": buffer.getvalue()}, Environment={"Variables": {"OUTSIDE": outside_url}},
    )  # fmt: skip
    client.add_permission(
        FunctionName="tell", StatementId="sns", Action="lambda:InvokeFunction", Principal="sns.amazonaws.com"
    )
    return str(made["FunctionArn"])


def furnish(server: ServerProcess, outside: Outside) -> dict[str, str]:
    """Topics, queues, a bucket, and every subscription confirmed."""
    sns, s3 = server.client("sns"), server.client("s3")
    news = sns.create_topic(Name="news", Attributes={"Policy": allow("sns:*", "*")})["TopicArn"]
    orders = sns.create_topic(Name="orders.fifo", Attributes={"FifoTopic": "true"})["TopicArn"]
    raw = {"RawMessageDelivery": "true"}
    places = {"news": news, "orders": orders, "bucket": "uploads"}
    for name, topic, subject in (("copies", news, "copies"), ("orders", orders, "orders.fifo"), ("work", "", "work")):
        places[f"{name}_url"], arn = queue(server, subject)
        if topic:
            sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes=raw)
    places["late_url"], places["late"] = queue(server, "late")
    patience = {"healthyRetryPolicy": {"minDelayTarget": 1, "maxDelayTarget": 2, "numRetries": 50}}
    loud = {"FilterPolicy": json.dumps({"channel": ["loud"]})}
    policy = {"DeliveryPolicy": json.dumps(patience)}
    sns.subscribe(TopicArn=news, Protocol="http", Endpoint=f"{outside.url}/hook", Attributes=policy)
    sns.subscribe(TopicArn=news, Protocol="email", Endpoint="reader@example.com", Attributes=loud)
    sns.subscribe(TopicArn=news, Protocol="sms", Endpoint="+15550123", Attributes=loud)
    sns.subscribe(TopicArn=news, Protocol="lambda", Endpoint=function(server, outside.url), Attributes=loud)
    for token in eventually(lambda: outside.tokens if len(outside.tokens) == 2 else None):
        sns.confirm_subscription(TopicArn=news, Token=token)
    s3.create_bucket(Bucket="uploads")
    rule = {"TopicArn": news, "Events": ["s3:ObjectCreated:*"]}
    s3.put_bucket_notification_configuration(
        Bucket="uploads", NotificationConfiguration={"TopicConfigurations": [rule]}
    )
    return places


def kill(server: ServerProcess, dice: random.Random, kills: int) -> None:
    """Ends with a server that runs."""
    for _ in range(kills):
        time.sleep(dice.uniform(*UP_S))
        server.kill()
        server.start(server.port)


def settled(look: Look, places: dict[str, str], seconds: float) -> list[dict[str, Any]]:
    """Wait until nothing is left to do; what is after ``seconds``. Mails that failed wait for a while."""
    ends, parked_until = time.monotonic() + seconds, time.monotonic() + seconds / 3
    while True:
        status = look.status()
        rows = [row for row in status if row["lag"]]
        parked = sum(row["parked"] for row in status)
        left = sum(look.waiting(places[name]) for name in ("orders_url", "work_url"))
        if not rows and not left and (not parked or time.monotonic() > parked_until):
            return []
        if time.monotonic() > ends:
            return [*rows, {"left in queues": left}]
        time.sleep(0.2)


def test_every_subscriber_gets_everything_through_kills(server: ServerProcess, outside: Outside) -> None:
    began, findings, dice = time.monotonic(), Findings(), random.Random(SEED)
    places = furnish(server, outside)
    load = Load(server, places, SEED)
    load.start()
    try:
        kill(server, dice, KILLS // 2)
        raw = {"RawMessageDelivery": "true"}
        server.client("sns").subscribe(TopicArn=places["news"], Protocol="sqs", Endpoint=places["late"], Attributes=raw)
        late_from = time.monotonic()
        kill(server, dice, KILLS - KILLS // 2)
    finally:
        load.end()
    outside.moods.refusing = False
    killed_s = time.monotonic() - began
    look = Look(server, places)
    findings.none("reactions that don't come to an end", settled(look, places, SETTLE_S))
    load.stop_reading()
    settled_s = time.monotonic() - began - killed_s
    findings.none("answers that were errors", load.faults)
    checks = Checks(look, load, outside, findings, late_from)
    checks.run()
    server.stop()
    there = kept(server.data)
    checks.kept(there)
    outward = ", ".join(f"{sum(found.total() for found in got.values())} {kind}" for kind, got in outside.got.items())
    print(
        f"\nseed {SEED}: {KILLS} kills; acknowledged {tries(load.kinds)}; came {outward}; {outside.moods.refused} refused; "
        f"{len(there.excuses)} parked or dead; {killed_s:.0f} s of load, {settled_s:.0f} s to settle"
    )
    log = "\n".join(list(server.lines)[-60:])
    assert not findings.wrong, "\n".join([*findings.wrong, f"seed {SEED}, data in {server.data}", log])
    shutil.rmtree(server.data.parent)
