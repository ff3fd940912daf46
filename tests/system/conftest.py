"""What stands outside of the server, and a client and a bucket, for those who need no other."""

from __future__ import annotations

import hashlib
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
def s3(server: ServerProcess) -> Any:
    """A client of the root key."""
    return server.client("s3")


@pytest.fixture
def bucket(s3: Any, request: pytest.FixtureRequest) -> str:
    """A bucket of the test's own."""
    name = f"b-{hashlib.md5(request.node.name.encode()).hexdigest()[:12]}"
    s3.create_bucket(Bucket=name)
    return name
