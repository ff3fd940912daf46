"""A server with a bucket, to be attacked."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from helpers.s3_hostile import BUCKET, Target
from helpers.server import ServerProcess, eventually


@pytest.fixture(scope="module")
def target(server: ServerProcess) -> Target:
    made = Target(server)
    made.s3.create_bucket(Bucket=BUCKET)
    made.s3.put_object(Bucket=BUCKET, Key="there", Body=b"content")
    return made


@pytest.fixture(autouse=True)
def _nothing_is_left(target: Target) -> Iterator[None]:
    """After whatever was done to it: the server answers, said nothing of an internal error, and kept no bytes."""
    before = target.files()
    target.server.lines.clear()
    yield
    assert target.s3.get_object(Bucket=BUCKET, Key="there")["Body"].read() == b"content"
    eventually(lambda: target.files() == before)
    assert not [line for line in target.server.lines if "Traceback" in line], "\n".join(target.server.lines)
