"""SIGKILL under load, over the whole chain: upload, topic, queue, webhook, functions, rows, records, search.

Clients write all the time while the server is killed at random moments, also while it starts, and is started again
with the same data. Afterwards everything that was acknowledged is there, has its event exactly once and in order,
and everybody was told at least once, or the event lies parked or given up with its reason. For a longer run, or to
repeat one: ``SLUICEWAY_TEST_KILLS=500 SLUICEWAY_TEST_SEED=7 pytest -s tests/crash/test_chain.py``.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from helpers.ports import lasting_port
from helpers.server import ServerProcess, bound, eventually

sys.path.insert(0, str(Path(__file__).parent))

from chain.checks import Checks
from chain.load import Load
from chain.receiver import Receiver
from shared.findings import Findings
from shared.look import Look, kept

SEED = int(os.environ.get("SLUICEWAY_TEST_SEED", time.time_ns() % 1_000_000))
KILLS = int(os.environ.get("SLUICEWAY_TEST_KILLS", "30"))
TEMPLATE = Path(__file__).parent / "chain" / "template.yaml"
STACK = "chain"
UP_S = (0.3, 1.5)  # from the server's first answer to its death
LONG_UP_S = (2.0, 4.0)  # now and then, so that functions come to work and die in the middle of it
EARLY_S = (0.05, 0.9)  # from the start of the process, for a death before it answers
SETTLE_S = 60 + KILLS / 2  # for everybody to be told of what was left at the end
ENVIRONMENT = {
    "SLUICEWAY_DELIVERY__ALLOW_PRIVATE_TARGETS": "true",
    "SLUICEWAY_FUNCTIONS__WORKERS_MAX": "6",  # on two cores, more workers only start more slowly
}

pytestmark = [pytest.mark.crash, pytest.mark.timeout(180 + 8 * KILLS)]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver(SEED)
    yield made
    made.close()


@pytest.fixture
def chain() -> Iterator[ServerProcess]:
    """A server whose folder outlives a test that failed, for whoever looks for the reason."""
    folder = Path(tempfile.mkdtemp(prefix="sluiceway-chain-"))
    server = ServerProcess(folder / "data", environment=ENVIRONMENT).start(lasting_port())
    yield server
    if server.process is not None and server.process.poll() is None:
        server.kill()


def forget(server: ServerProcess) -> None:
    shutil.rmtree(server.data.parent)


def deploy(server: ServerProcess, hook: str) -> dict[str, str]:
    """The stack's outputs, once it stands and the webhook is confirmed."""
    command = [sys.executable, "-m", "sluiceway", "deploy", str(TEMPLATE), "--stack", STACK]
    command += ["--data", str(server.data), "-p", f"WebhookUrl={hook}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    outputs = dict(re.findall(r"^(\w+) = (\S+)$", done.stdout, re.MULTILINE))
    sns = server.client("sns")

    def confirmed() -> bool:
        found = sns.list_subscriptions_by_topic(TopicArn=outputs["TopicArn"])["Subscriptions"]
        return len(found) == 3 and all(one["SubscriptionArn"].startswith("arn:") for one in found)

    eventually(confirmed)
    return outputs


class Killer:
    """Kills and starts a server, by the dice."""

    def __init__(self, server: ServerProcess, dice: random.Random) -> None:
        self._server = server
        self._dice = dice
        self.kills = 0

    def run(self, kills: int) -> None:
        """Ends with a server that runs."""
        while self.kills < kills:
            time.sleep(self._dice.uniform(*(LONG_UP_S if self._dice.random() < 0.12 else UP_S)))
            self._server.kill()
            self.kills += 1
            while self.kills < kills and self._dice.random() < 0.15:
                self._start_and_kill(self._dice.uniform(*EARLY_S))
                self.kills += 1
            self._server.start(self._server.port)

    def _start_and_kill(self, seconds: float) -> None:
        command = [sys.executable, "-m", "sluiceway", "up", "--data", str(self._server.data)]
        process = subprocess.Popen(
            bound([*command, "--port", str(self._server.port)]),
            env={**os.environ, "XDG_RUNTIME_DIR": str(self._server.data.parent), **ENVIRONMENT},
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        time.sleep(seconds)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def settled(look: Look, seconds: float) -> list[dict[str, Any]]:
    """Wait until nothing is left to do; what is after ``seconds``. What is parked may wait for longer."""
    ends, parked_until = time.monotonic() + seconds, time.monotonic() + seconds / 2
    while True:
        rows = [row for row in look.status() if row["lag"]]
        parked = sum(row["parked"] for row in look.status())
        jobs = look.waiting(look.outputs["JobsUrl"])
        if not rows and not jobs and (not parked or time.monotonic() > parked_until):
            return []
        if time.monotonic() > ends:
            return [*rows, {"jobs": jobs}]
        time.sleep(0.2)


def left_over(data: Path) -> list[str]:
    """Processes that work in the data folder: none may outlive its server."""
    found = []
    for process in psutil.process_iter(["pid", "cmdline", "cwd"]):
        words = " ".join([*(process.info["cmdline"] or ()), process.info["cwd"] or ""])
        if str(data) in words:
            found.append(f"{process.info['pid']}: {words[:200]}")
    return found


def test_nothing_is_lost_or_doubled_by_kills(chain: ServerProcess, receiver: Receiver) -> None:
    began, findings = time.monotonic(), Findings()
    outputs = deploy(chain, receiver.url)
    load, killer = Load(chain, outputs, SEED), Killer(chain, random.Random(SEED))
    load.start()
    try:
        killer.run(KILLS)
    finally:
        load.end()
    receiver.moods.refusing = False
    killed_s = time.monotonic() - began
    look = Look(chain, outputs)
    findings.none("reactions that don't come to an end", settled(look, SETTLE_S))
    settled_s = time.monotonic() - began - killed_s
    findings.none("answers that were errors", load.faults)
    checks = Checks(look, load, findings)
    checks.run()
    chain.stop()
    findings.none("processes that outlived the server", left_over(chain.data))
    there = kept(chain.data)
    checks.reactions(there, receiver.got)
    counts = ", ".join(f"{len(sent.acknowledged)} {kind}s" for kind, sent in load.kinds.items())
    print(
        f"\nseed {SEED}: {killer.kills} kills; acknowledged {counts}; the webhook got {len(receiver.got)} messages "
        f"{sum(receiver.got.values())} times; {len(there.excuses)} parked or dead; {load.cut} answers cut; {killed_s:.0f} s of load, "
        f"{settled_s:.0f} s to settle, {time.monotonic() - began:.0f} s in all"
    )
    log = "\n".join(list(chain.lines)[-60:])
    assert not findings.wrong, "\n".join([*findings.wrong, f"seed {SEED}, data in {chain.data}", log])
    forget(chain)
