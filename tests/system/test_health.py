"""Health, metrics and status of a real server, and a disk that is full for a while."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from helpers.raw import Plain, exchange, signed
from helpers.server import ServerProcess, eventually
from prometheus_client.parser import text_string_to_metric_families

MIB = 1024 * 1024
Samples = dict[str, list[tuple[dict[str, str], float]]]


def page(server: ServerProcess, name: str) -> tuple[int, dict[str, Any]]:
    made = signed(Plain("GET", f"/_sluiceway/{name}"), server.port, server.key, "sluiceway")
    answer = exchange(server, made.wire(server.port), "GET")
    return answer.status, json.loads(answer.body)


def metrics(server: ServerProcess) -> Samples:
    with urllib.request.urlopen(f"{server.url}/_sluiceway/metrics", timeout=30) as answer:
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        text = answer.read().decode()
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation and family.type in ("counter", "gauge", "histogram"), family
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def value(samples: Samples, name: str, **labels: str) -> float:
    return sum(number for known, number in samples[name] if labels.items() <= known.items())


def test_health_is_open_to_all_and_says_little(server: ServerProcess) -> None:
    answer = exchange(server, Plain("GET", "/_sluiceway/health").wire(server.port), "GET")
    assert answer.status == 200
    assert json.loads(answer.body).keys() == {"status", "problem", "version"}
    assert json.loads(answer.body)["status"] == "ok" and json.loads(answer.body)["problem"] is None


def test_requests_and_latencies_are_counted(server: ServerProcess) -> None:
    sqs = server.client("sqs")
    before = metrics(server)
    for _ in range(5):
        sqs.list_queues()
    with pytest.raises(ClientError):
        sqs.get_queue_url(QueueName="nobody")
    after = metrics(server)

    def more(name: str, **labels: str) -> float:
        return value(after, name, **labels) - (value(before, name, **labels) if name in before else 0)

    assert more("sluiceway_requests_total", service="sqs", status="200") == 5
    assert more("sluiceway_requests_total", service="sqs", status="400") == 1
    assert more("sluiceway_request_seconds_count", service="sqs") == 6
    assert 0 < more("sluiceway_request_seconds_sum", service="sqs") < 5
    assert more("sluiceway_request_seconds_bucket", service="sqs", le="+Inf") == 6


def test_commits_and_the_writers_queue_are_shown(server: ServerProcess) -> None:
    before = metrics(server)
    url = server.client("sqs").create_queue(QueueName="counted")["QueueUrl"]
    for _ in range(10):
        server.client("sqs").send_message(QueueUrl=url, MessageBody="x")
    after = metrics(server)
    assert value(after, "sluiceway_store_commits_total") - value(before, "sluiceway_store_commits_total") >= 11
    assert value(after, "sluiceway_store_functions_total") - value(before, "sluiceway_store_functions_total") >= 11
    assert value(after, "sluiceway_store_commit_seconds_total") > value(before, "sluiceway_store_commit_seconds_total")
    assert value(after, "sluiceway_store_group_size") >= 1 and value(after, "sluiceway_store_queue") >= 0
    assert value(after, "sluiceway_store_failing") == 0


def test_bytes_are_shown_as_they_come_and_go(server: ServerProcess) -> None:
    s3 = server.client("s3")
    s3.create_bucket(Bucket="bytes")
    before = metrics(server)
    s3.put_object(Bucket="bytes", Key="large", Body=os.urandom(3 * MIB))
    grown = metrics(server)
    assert value(grown, "sluiceway_blob_bytes") - value(before, "sluiceway_blob_bytes") == 3 * MIB
    assert value(grown, "sluiceway_store_bytes") > 0 and value(grown, "sluiceway_disk_free_bytes") > 0
    s3.delete_object(Bucket="bytes", Key="large")
    eventually(lambda: value(metrics(server), "sluiceway_blob_bytes") == value(before, "sluiceway_blob_bytes"))


def test_the_lag_of_each_reaction_is_shown(server: ServerProcess) -> None:
    sns, sqs = server.client("sns"), server.client("sqs")
    topic = sns.create_topic(Name="lagging")["TopicArn"]
    sqs.create_queue(QueueName="fast")
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=topic.replace(":sns:", ":sqs:").replace("lagging", "fast"))
    server.client("sns").publish(TopicArn=topic, Message="x")
    reaction = eventually(
        lambda: [row for row in page(server, "status")[1]["reactions"] if "lagging" in row["log"] and not row["lag"]]
    )[0]
    assert reaction["delivered"] + reaction["failed"] >= 1
    samples = metrics(server)
    for name in ("lag", "parked", "dead", "oldest_age_ms", "delivered_total", "failed_total"):
        labels, _ = samples[f"sluiceway_reaction_{name}"][0]
        assert labels.keys() == {"reaction", "log", "target"}
    assert value(samples, "sluiceway_reaction_lag", reaction=reaction["id"]) == 0


def test_status_says_what_runs(server: ServerProcess) -> None:
    status, body = page(server, "status")
    assert status == 200 and body["url"] == server.url and body["data"] == str(server.data) and body["uptime_s"] > 0
    assert body["problem"] is None and isinstance(body["reactions"], list)


# -- a full disk


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server on a disk of 32 MiB."""
    disk = tmp_path_factory.mktemp("disk")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(disk)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"a small disk can't be mounted here: {mounted.stderr.strip()}")
    # No reserve: the disk fills to the last byte, as when somebody else fills it.
    running = ServerProcess(disk / "data", environment={"SLUICEWAY_STORE__RESERVE_BYTES": "0"})
    try:
        yield running.start()
        running.stop()
    finally:
        if running.process is not None and running.process.poll() is None:
            running.kill()
        subprocess.run(["umount", "-l", str(disk)], check=True)


def fill(disk: Path) -> Path:
    """A file that takes what is left."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while file.write(b"\0" * (64 * 1024)):
                continue
        except OSError:
            return filler
    raise AssertionError("the disk was not full")


def bulk(server: ServerProcess) -> None:
    """A document for the search; an error as botocore would raise it."""
    plain = Plain("PUT", "/_es/there/_doc/1", b'{"a": 1}', {"content-type": "application/json"})
    answer = exchange(server, signed(plain, server.port, server.key, "es").wire(server.port), "PUT")
    if answer.status >= 300:
        body = json.loads(answer.body)
        error = {"Code": body["error"]["type"], "Message": body["error"]["reason"]}
        raise ClientError({"Error": error, "ResponseMetadata": {"HTTPStatusCode": answer.status}}, "PutDocument")


def writes(server: ServerProcess) -> dict[str, Callable[[], Any]]:
    """A write in each protocol. A large value each time, so that pages are needed."""
    large, client = "x" * 200_000, server.client
    scope = "arn:aws:{}:us-east-1:000000000000:{}"
    return {
        "s3 (inline)": lambda: client("s3").put_object(Bucket="there", Key="k", Body=b"x" * 60_000),
        "s3 (blob)": lambda: client("s3").put_object(Bucket="there", Key="k", Body=b"x" * MIB),
        "sqs": lambda: client("sqs").send_message(QueueUrl=f"{server.url}/000000000000/there", MessageBody=large),
        "sns": lambda: client("sns").publish(TopicArn=scope.format("sns", "there"), Message=large),
        "dynamodb": lambda: client("dynamodb").put_item(TableName="there", Item={"id": {"S": "x"}, "a": {"S": large}}),
        "kinesis": lambda: client("kinesis").put_record(StreamName="there", Data=large.encode(), PartitionKey="k"),
        "secretsmanager": lambda: client("secretsmanager").create_secret(
            Name=f"s{time.time_ns()}", SecretString="x" * 60_000
        ),
        "ssm": lambda: client("ssm").put_parameter(Name="/p", Value="x" * 4000, Type="String", Overwrite=True),
        "kms": lambda: client("kms").create_key(Description="x" * 8000),
        "iam": lambda: client("iam").create_user(UserName=f"u{time.time_ns()}"),
        "apigatewayv2": lambda: client("apigatewayv2").create_api(Name="x" * 100, ProtocolType="HTTP"),
        "cloudformation": lambda: client("cloudformation").create_stack(
            StackName=f"s{time.time_ns()}", TemplateBody=json.dumps({"Resources": {"Q": {"Type": "AWS::SQS::Queue"}}})
        ),
        "es": lambda: client("es").create_elasticsearch_domain(DomainName=f"d{time.time_ns() % 10**9}"),
        "elasticsearch": lambda: bulk(server),
    }


UNAVAILABLE = {
    "ServiceUnavailable",
    "ServiceUnavailableException",
    "InternalServerError",
    "SlowDown",
    "KMSInternalException",
}


def test_a_full_disk_is_said_in_each_protocol_and_is_got_over(small: ServerProcess) -> None:
    small.client("s3").create_bucket(Bucket="there")
    small.client("sqs").create_queue(QueueName="there")
    small.client("sns").create_topic(Name="there")
    small.client("kinesis").create_stream(StreamName="there", ShardCount=1)
    small.client("dynamodb").create_table(
        TableName="there", KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}], BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
    )  # fmt: skip
    small.client("s3").put_object(Bucket="there", Key="before", Body=b"before")
    before = {name: write() for name, write in writes(small).items()}
    assert before.keys() == writes(small).keys()
    filler = fill(small.data.parent)
    try:
        answers = refusals(small)
        health = exchange(small, Plain("GET", "/_sluiceway/health").wire(small.port), "GET")
        body = json.loads(health.body)
        assert health.status == 503 and body["status"] == "failing" and body["problem"], health
        assert "space" in body["problem"].lower() or "full" in body["problem"].lower(), body
        assert value(metrics(small), "sluiceway_store_failing") == 1
        assert page(small, "status")[1]["problem"] == body["problem"]
        assert small.client("s3").get_object(Bucket="there", Key="before")["Body"].read() == b"before"
        assert small.client("sqs").list_queues()["QueueUrls"]
        assert not {name: answer for name, answer in answers.items() if answer[0] != 503}, answers
        assert all(answer[1] in UNAVAILABLE or "unavailable" in answer[1] for answer in answers.values()), answers
        assert all("/" not in answer[2] for answer in answers.values()), answers
    finally:
        filler.unlink()
    eventually(lambda: page(small, "status")[1]["problem"] is None)
    for write in writes(small).values():
        write()
    assert exchange(small, Plain("GET", "/_sluiceway/health").wire(small.port), "GET").status == 200
    assert value(metrics(small), "sluiceway_store_failing") == 0
    assert shutil.disk_usage(small.data).free > MIB


def refusals(server: ServerProcess) -> dict[str, tuple[int, str, str]]:
    """Status, code and message of each write while the disk is full."""
    answers = {}
    # Pages of the log that are there already take the first writes.
    for _ in range(20):
        if page(server, "status")[1]["problem"]:
            break
        for name in ("sqs", "kinesis", "dynamodb"):
            attempt(writes(server)[name])
    for name, write in writes(server).items():
        answers[name] = attempt(write)
    return answers


def attempt(write: Callable[[], Any]) -> tuple[int, str, str]:
    try:
        write()
    except ClientError as error:
        about = error.response["Error"]
        return error.response["ResponseMetadata"]["HTTPStatusCode"], about["Code"], about["Message"]
    return 200, "", ""
