"""A server that delivers to the test's own endpoints."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from helpers.outside import Mailbox, Outside, delivering
from helpers.server import ServerProcess


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, outside: Outside, mailbox: Mailbox) -> Iterator[ServerProcess]:
    with delivering(tmp_path_factory.mktemp("topics"), outside, mailbox) as running:
        yield running


@pytest.fixture(scope="module")
def sns(server: ServerProcess) -> Any:
    return server.client("sns")


@pytest.fixture(scope="module")
def sqs(server: ServerProcess) -> Any:
    return server.client("sqs")
