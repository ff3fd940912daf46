"""A server with tables, and clients of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from helpers.tables import Server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("tables"))
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def db(server: Server) -> Any:
    return server.client()


@pytest.fixture(scope="module")
def streams(server: Server) -> Any:
    return server.client("dynamodbstreams")


@pytest.fixture(scope="module")
def resource(server: Server) -> Any:
    return server.resource()
