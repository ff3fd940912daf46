"""Fixtures: a server for a module's tests, and one of a test's own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from helpers.server import ServerProcess


def pytest_addoption(parser: pytest.Parser) -> None:
    """For the tests that draw lots: the fuzz of S3, and the crashes."""
    parser.addoption("--seed", type=int, default=None, help="seed of the random tests, as a failure tells it")
    parser.addoption("--rounds", type=int, default=None, help="rounds of the random tests, instead of their own number")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A running server with an empty data folder, shared by the module's tests."""
    running = ServerProcess(tmp_path_factory.mktemp("server") / "data").start()
    yield running
    running.stop()


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server of the test's own, not started yet."""
    made = ServerProcess(tmp_path / "data")
    yield made
    if made.process is not None and made.process.poll() is None:
        made.kill()
