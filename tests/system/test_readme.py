"""The README's example works as it stands there, with what ``sluiceway env`` prints; and what pages link to exists."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from helpers.server import ServerProcess

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    ROOT / "apps/photos/README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
_LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)")
_FILE = re.compile(r"`((?:tests|docs|scripts|sluiceway|apps|bench)/[\w./-]+\.\w+)`")


def test_the_example(server: ServerProcess) -> None:
    code = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(code) == 1
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **server.environment()}
    ran = subprocess.run([sys.executable, "-c", code[0]], env=environment, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == "ObjectCreated:Put cat.jpg\n"


def test_the_metrics_are_those_of_the_page(server: ServerProcess) -> None:
    sns, sqs = server.client("sns"), server.client("sqs")
    queue = sqs.create_queue(QueueName="watched")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    topic = sns.create_topic(Name="watched")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    with urllib.request.urlopen(f"{server.url}/_sluiceway/metrics", timeout=30) as answer:
        text = answer.read().decode()
    shown = set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE))
    there = {name for name in shown if not name.endswith("_created")}
    assert set(re.findall(r"`(sluiceway_\w+)`", (ROOT / "docs/operations.md").read_text())) == there


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_names_is_there(page: Path) -> None:
    text = page.read_text()
    missing = [name for name in _LINK.findall(text) if not (page.parent / name).exists()]
    missing += [name for name in _FILE.findall(text) if not (ROOT / name).exists()]
    assert not missing
