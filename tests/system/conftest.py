"""What stands outside of the server, shared by a module's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from helpers.outside import Mailbox, Outside


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
