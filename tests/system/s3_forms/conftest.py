"""A server with a bucket for forms."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from helpers.s3_forms import BUCKET, Site
from helpers.server import ServerProcess


@pytest.fixture(scope="module")
def site(server: ServerProcess) -> Site:
    made = Site(server)
    made.s3.create_bucket(Bucket=BUCKET)
    return made


@pytest.fixture(autouse=True)
def _nothing_breaks(site: Site) -> Iterator[None]:
    site.server.lines.clear()
    yield
    assert not [line for line in site.server.lines if "Traceback" in line], "\n".join(site.server.lines)
