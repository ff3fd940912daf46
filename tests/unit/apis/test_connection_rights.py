"""Which resource policies are asked about when somebody uses @connections."""

from __future__ import annotations

from typing import Any
from unittest.mock import MagicMock

import pytest
from helpers.inprocess import ROOT, SCOPE

from sluiceway.config import ApiSettings
from sluiceway.edges.aws.apigatewaymanagementapi import management_edge
from sluiceway.edges.aws.operations import Call
from sluiceway.errors import NotFound
from sluiceway.services.connections import Connection

OPEN = Connection("aaaaaaaaaa-x", "aaaaaaaaaa", "prod", "boot", 0, "", "")


class Sockets:
    """One open connection."""

    def post(self, api_id: str, stage: str, connection_id: str, data: bytes) -> None:
        raise AssertionError

    def state(self, api_id: str, stage: str, connection_id: str) -> tuple[Connection, int]:
        if connection_id != OPEN.id:
            raise NotFound("connection", "gone")
        return OPEN, 0

    def close(self, api_id: str, stage: str, connection_id: str) -> None:
        raise AssertionError


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ("prod/aaaaaaaaaa-x", "prod/{}/@connections/aaaaaaaaaa-x"),
        ("other/aaaaaaaaaa-x", "other/{}/@connections/aaaaaaaaaa-x"),
        ("/aaaaaaaaaa-x", "prod/{}/@connections/aaaaaaaaaa-x"),  # no way around a policy that denies a stage
        ("aaaaaaaaaa-x", "aaaaaaaaaa-x/{}/@connections/"),
        ("/aaaaaaaaaa-gone", "/{}/@connections/aaaaaaaaaa-gone"),
    ],
)
def test_policies_see_the_stage_that_the_connection_is_at(given: str, named: str) -> None:
    edge = management_edge(Sockets(), ApiSettings())
    for name, method in (("PostToConnection", "POST"), ("GetConnection", "GET"), ("DeleteConnection", "DELETE")):
        params: dict[str, Any] = {"ConnectionId": given}
        call = Call(edge.name, name, params, ROOT, SCOPE, "r", 0, "http://x", MagicMock())
        api = "aaaaaaaaaa" if given != "aaaaaaaaaa-x" else ""
        assert edge.operations[name].resource(call) == SCOPE.arn("execute-api", f"{api}/{named.format(method)}")
