"""@connections: messages from anywhere to the clients of a WebSocket API (rest-json).

Clients use the address of the API's stage: ``/_ws/API/STAGE/@connections/ID``, or by host ``/STAGE/@connections/ID``.
The service model knows ``/@connections/ID`` only, so that ``path_of`` moves the stage into the id.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, Protocol

from sluiceway.config import ApiSettings
from sluiceway.edges.aws.operations import Call, ErrorTable, Operation, Output, ServiceEdge, moment
from sluiceway.errors import NotFound, TooLarge
from sluiceway.services.connections import Connection, Connections

ERRORS: Final[ErrorTable] = {
    (NotFound, "connection"): "GoneException",
    (TooLarge, "*"): "PayloadTooLargeException",
}

_PATH = re.compile(rb"^(?:/_ws/[^/]+)?(?:/(?P<stage>[^/]+))?/(?:@|%40)connections/(?P<id>[^/]+)/?$")
_ACTION: Final = "execute-api:ManageConnections"


class Sockets(Protocol):
    """Open connections. An empty ``stage`` stands for the connection's own. All raise ``NotFound("connection")``
    unless the connection is open at this stage of this API."""

    def post(self, api_id: str, stage: str, connection_id: str, data: bytes) -> None:
        """Send to the client."""

    def state(self, api_id: str, stage: str, connection_id: str) -> tuple[Connection, int]:
        """The connection, and when something last went either way (milliseconds since 1970)."""

    def close(self, api_id: str, stage: str, connection_id: str) -> None:
        """Close it."""


def path_of(raw_path: bytes) -> bytes:
    """The path that the service model knows, with ``STAGE/ID`` as the connection's id."""
    found = _PATH.match(raw_path)
    if found is None:
        return raw_path
    return b"/@connections/" + (found["stage"] or b"") + b"%2F" + found["id"]


def management_edge(sockets: Sockets, limits: ApiSettings) -> ServiceEdge:
    """The operations on ``sockets``; give its pipeline ``path_of``."""
    edge = _Management(sockets, limits)
    handlers = {
        "PostToConnection": (edge.post, "POST"),
        "GetConnection": (edge.get, "GET"),
        "DeleteConnection": (edge.delete, "DELETE"),
    }
    table = {
        name: Operation(handler, edge.resource(method), action=_ACTION) for name, (handler, method) in handlers.items()
    }
    return ServiceEdge("apigatewaymanagementapi", "execute-api", table, ERRORS)


def _named(call: Call) -> tuple[str, str, str]:
    stage, _, connection_id = call.params["ConnectionId"].partition("/")
    return Connections.api_of(connection_id), stage, connection_id


class _Management:
    def __init__(self, sockets: Sockets, limits: ApiSettings) -> None:
        self._sockets = sockets
        self._limits = limits

    def resource(self, method: str) -> Callable[[Call], str]:
        """Developer Guide, "Control access to your API with IAM permissions": API/STAGE/METHOD/@connections/ID."""

        def resource(call: Call) -> str:
            api_id, stage, connection_id = _named(call)
            stage = stage or self._stage(api_id, connection_id)
            return call.scope.arn("execute-api", f"{api_id}/{stage}/{method}/@connections/{connection_id}")

        return resource

    def _stage(self, api_id: str, connection_id: str) -> str:
        try:
            return self._sockets.state(api_id, "", connection_id)[0].stage
        except NotFound:
            return ""

    async def post(self, call: Call) -> Output:
        """PostToConnection"""
        data: bytes = call.params.get("Data", b"")
        if len(data) > self._limits.message_bytes_max:
            raise TooLarge("message", f"A message has up to {self._limits.message_bytes_max} bytes.")
        self._sockets.post(*_named(call), data)
        return None

    async def get(self, call: Call) -> Output:
        """GetConnection"""
        connection, active_ms = self._sockets.state(*_named(call))
        return {
            "ConnectedAt": moment(connection.connected_ms),
            "LastActiveAt": moment(active_ms),
            "Identity": {"SourceIp": connection.source_ip, "UserAgent": connection.user_agent},
        }

    async def delete(self, call: Call) -> Output:
        """DeleteConnection"""
        self._sockets.close(*_named(call))
        return None
