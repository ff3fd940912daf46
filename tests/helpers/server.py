"""A real server process, as a user starts it."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from .waiting import PATIENCE_S

TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }
)
START_S = 60.0


def bound(command: list[str]) -> list[str]:
    """``command``, which the system kills with the thread that starts it: a test run that is killed leaves nobody behind.

    By a program that replaces itself, as code between fork and exec is not safe in a process with threads. Where there is
    none (it is Linux's), a killed test run leaves its servers running.
    """
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", *command] if setpriv else command


class ServerProcess:
    """``start`` waits until it answers; ``kill`` is SIGKILL; ``stop`` is SIGTERM."""

    def __init__(self, data: Path, *arguments: str, environment: dict[str, str] | None = None) -> None:
        self.data = data
        self.url = ""
        self.port = 0
        self.lines: deque[str] = deque(maxlen=400)
        self._arguments = arguments
        self._environment = environment or {}
        self.process: subprocess.Popen[str] | None = None

    def start(self, port: int = 0) -> ServerProcess:
        command = [sys.executable, "-m", "sluiceway", "up", "--data", str(self.data), "--port", str(port)]
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SLUICEWAY_"))},
            "XDG_RUNTIME_DIR": str(self.data.parent),
            **self._environment,
        }
        self.process = subprocess.Popen(
            bound([*command, *self._arguments]),
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        ready: queue.SimpleQueue[bool] = queue.SimpleQueue()
        threading.Thread(target=self._read, args=(self.process, ready), daemon=True).start()
        with contextlib.suppress(queue.Empty):
            if ready.get(timeout=START_S):
                return self
        raise AssertionError("the server did not start:\n" + "\n".join(self.lines))

    def _read(self, process: subprocess.Popen[str], ready: queue.SimpleQueue[bool]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self.lines.append(line.rstrip())
            match = re.match(r"Sluiceway is at (http\S+):(\d+), ", line)
            if match:
                self.url, self.port = f"{match[1]}:{match[2]}", int(match[2])
                ready.put(True)
        ready.put(False)

    def kill(self) -> None:
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self, timeout_s: float = 30.0) -> int:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError("the server did not stop:\n" + "\n".join(self.lines)) from None

    @property
    def key(self) -> tuple[str, str]:
        row = json.loads((self.data / "root-key.json").read_text())
        return row["access_key_id"], row["secret_access_key"]

    def environment(self) -> dict[str, str]:
        """What ``eval "$(sluiceway env)"`` sets."""
        access_key_id, secret = self.key
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": access_key_id,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def client(self, service: str, key: tuple[str, str] | None = None, **config: Any) -> Any:
        access_key_id, secret = key or self.key
        settings: dict[str, Any] = {"retries": {"max_attempts": 1}, "signature_version": "v4"} | config
        if service == "s3":
            settings |= {"signature_version": "s3v4", "s3": {"addressing_style": "path"}}
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id=access_key_id,
            aws_secret_access_key=secret,
            config=Config(**settings),
        )


def eventually(check: Any, seconds: float = PATIENCE_S, every: float = 0.05) -> Any:
    """What ``check()`` gives once it is true; fails with its last answer after ``seconds``."""
    ends = time.monotonic() + seconds
    while True:
        found = check()
        if found:
            return found
        if time.monotonic() > ends:
            raise AssertionError(f"it did not happen within {seconds} s; last answer: {found!r}")
        time.sleep(every)
