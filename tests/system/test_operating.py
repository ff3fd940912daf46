"""``sluiceway reactions``: an operator finds out what failed, and has it tried again."""

from __future__ import annotations

import http.server
import json
import subprocess
import sys
import threading
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
