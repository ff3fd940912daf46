"""No request about rights makes the server fail."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from helpers.server import ServerProcess


@pytest.fixture(scope="module", autouse=True)
def well(server: ServerProcess) -> Iterator[None]:
    yield
    assert not [line for line in server.lines if "Traceback" in line], "\n".join(server.lines)
