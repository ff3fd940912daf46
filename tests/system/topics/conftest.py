"""A server that delivers to the test's own endpoints."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from helpers.outside import Mailbox, Outside
from helpers.server import ServerProcess


@pytest.fixture(scope="module")
def outside() -> Iterator[Outside]:
    made = Outside()
    yield made
    made.close()


@pytest.fixture(scope="module")
def mailbox() -> Iterator[Mailbox]:
    made = Mailbox()
    yield made
    made.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, outside: Outside, mailbox: Mailbox) -> Iterator[ServerProcess]:
    delivery = {
        "SMTP_HOST": "127.0.0.1", "SMTP_PORT": str(mailbox.port), "SMTP_TLS": "none", "TWILIO_URL": outside.url,
        "TWILIO_ACCOUNT_SID": "AC123", "TWILIO_AUTH_TOKEN": "secret", "TWILIO_FROM": "+15550001111",
    }  # fmt: skip
    environment = {f"SLUICEWAY_DELIVERY__{name}": text for name, text in delivery.items()}
    environment["SLUICEWAY_ALLOW_PRIVATE_TARGETS"] = "1"
    running = ServerProcess(tmp_path_factory.mktemp("topics") / "data", environment=environment).start()
    yield running
    running.stop()
    assert not [line for line in running.lines if "ERROR" in line], "\n".join(running.lines)


@pytest.fixture(scope="module")
def sns(server: ServerProcess) -> Any:
    return server.client("sns")


@pytest.fixture(scope="module")
def sqs(server: ServerProcess) -> Any:
    return server.client("sqs")
