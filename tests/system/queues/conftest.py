"""A client of queues."""

from __future__ import annotations

from typing import Any

import pytest
from helpers.server import ServerProcess


@pytest.fixture
def sqs(server: ServerProcess) -> Any:
    return server.client("sqs")
