"""The stacks of a server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from helpers.server import ServerProcess
from helpers.stacks import Stacks


@pytest.fixture(scope="module")
def stacks(server: ServerProcess) -> Iterator[Stacks]:
    yield Stacks(server)
