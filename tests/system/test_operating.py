"""``sluiceway reactions``: an operator finds out what failed, and has it tried again."""

from __future__ import annotations

import http.server
import json
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.server import ServerProcess, eventually


class Endpoint(http.server.ThreadingHTTPServer):
    """A subscriber that confirms, and then answers with ``status``."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Hook)
        self.status = 400
        self.confirm: list[str] = []
        self.got: list[str] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/hook"


class _Hook(http.server.BaseHTTPRequestHandler):
    server: Endpoint

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        confirming = body["Type"] == "SubscriptionConfirmation"
        if confirming:
            self.server.confirm.append(body["Token"])
        elif self.server.status == 200:
            self.server.got.append(body["Message"])
        self.send_response(200 if confirming else self.server.status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        return


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    settings = {"SLUICEWAY_DELIVERY__ALLOW_PRIVATE_TARGETS": "true"}
    running = ServerProcess(tmp_path / "data", environment=settings).start()
    yield running
    running.stop()


def command(server: ServerProcess, *arguments: str) -> subprocess.CompletedProcess[str]:
    whole = [sys.executable, "-m", "sluiceway", "reactions", *arguments, "--data", str(server.data)]
    return subprocess.run(whole, capture_output=True, text=True, timeout=60)


def told(server: ServerProcess, *arguments: str) -> str:
    done = command(server, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_was_given_up_is_seen_redriven_and_replayed(server: ServerProcess) -> None:
    sns, endpoint = server.client("sns"), Endpoint()
    topic = sns.create_topic(Name="news")["TopicArn"]
    policy = {"healthyRetryPolicy": {"numRetries": 0}}
    sns.subscribe(
        TopicArn=topic, Protocol="http", Endpoint=endpoint.url, Attributes={"DeliveryPolicy": json.dumps(policy)}
    )
    token = eventually(lambda: endpoint.confirm)[0]
    sns.confirm_subscription(TopicArn=topic, Token=token)
    for number in range(3):
        sns.publish(TopicArn=topic, Message=f"message {number}")

    def dead() -> str | None:
        lines = told(server, "list").splitlines()
        found = [lines[at - 1] for at, line in enumerate(lines) if "3 dead" in line]
        return found[0] if found else None

    name = eventually(dead, 30)
    shown = told(server, "show", name)
    assert shown.count("given up at") == 3 and "400" in shown
    detail = json.loads(told(server, "show", name, "--json"))
    assert [letter["offset"] for letter in detail["dead_letters"]] == [0, 1, 2]

    assert detail["attempts"] == detail["failed"] == detail["dead"] == 3 and detail["in_flight"] == 0
    listed = json.loads(told(server, "list", "--json"))
    assert [(row["dead"], "400" in row["last_error"]) for row in listed if row["id"] == name] == [(3, True)]
    samples = metrics(server, f'reaction="{name}"')
    assert samples["sluiceway_reaction_dead"] == samples["sluiceway_reaction_attempts_total"] == 3

    told(server, "discard", name, "--offset", "1")
    endpoint.status = 200
    assert "2 events" in told(server, "redrive", name)
    eventually(lambda: sorted(endpoint.got) == ["message 0", "message 2"])

    told(server, "pause", name)
    sns.publish(TopicArn=topic, Message="while it is paused")
    assert "paused" in told(server, "list")
    told(server, "resume", name)
    eventually(lambda: "while it is paused" in endpoint.got)
    assert "offset 1" in told(server, "replay", name, "--from", "1")
    eventually(lambda: endpoint.got[3:] and "message 1" in endpoint.got)
    refused = command(server, "replay", name, "--from", "99")
    assert refused.returncode == 1 and "There is no event 99" in refused.stderr


def metrics(server: ServerProcess, label: str = "") -> dict[str, float]:
    """The numbers with that label."""
    text = urllib.request.urlopen(f"{server.url}/_sluiceway/metrics", timeout=10).read().decode()
    lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#") and label in line]
    return {name.partition("{")[0]: float(value) for name, _, value in lines}


def test_reactions_have_pages_and_metrics_a_limit(tmp_path: Path) -> None:
    limits = {"SLUICEWAY_REACTIONS__STATUS_MAX": "3", "SLUICEWAY_REACTIONS__METRICS_MAX": "2"}
    server = ServerProcess(tmp_path / "data", environment=limits).start()
    try:
        sns, sqs = server.client("sns"), server.client("sqs")
        topic = sns.create_topic(Name="wide")["TopicArn"]
        for number in range(7):
            url = sqs.create_queue(QueueName=f"wide-{number}")["QueueUrl"]
            arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
            sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
        names = [row["id"] for row in json.loads(told(server, "list", "--json"))]
        assert len(names) == len(set(names)) == 7
        text = urllib.request.urlopen(f"{server.url}/_sluiceway/metrics", timeout=10).read().decode()
        assert text.count("sluiceway_reaction_lag{") == 2
        sns.publish(TopicArn=topic, Message="refused by all: none of the queues allows it")
        eventually(lambda: metrics(server)["sluiceway_dead_letters_total"] == 7)  # the sums are of all
    finally:
        server.stop()


@pytest.mark.parametrize(
    "arguments, words",
    [
        (("show", "nobody"), "nobody"),
        (("redrive", "nobody"), "nobody"),
        (("replay", "nobody", "--from", "yesterday"), "--from"),
        (("pause", "nobody"), "nobody"),
    ],
)
def test_mistakes_are_told(server: ServerProcess, arguments: tuple[str, ...], words: str) -> None:
    done = command(server, *arguments)
    assert done.returncode == 1 and words in done.stderr and "Traceback" not in done.stderr
