"""A client, and buckets with versions."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from helpers.s3_versions import switch
from helpers.server import ServerProcess


@pytest.fixture(scope="module")
def s3(server: ServerProcess) -> Any:
    return server.client("s3", max_pool_connections=20)


@pytest.fixture
def plain(s3: Any, request: pytest.FixtureRequest) -> str:
    """A bucket that never had versioning."""
    name = f"v-{hashlib.md5(request.node.name.encode()).hexdigest()[:12]}"
    s3.create_bucket(Bucket=name)
    return name


@pytest.fixture
def bucket(s3: Any, plain: str) -> str:
    switch(s3, plain)
    return plain
