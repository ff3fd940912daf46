"""Open WebSocket connections, so that each end is told to its function even if the server died in between.

A connection's row is written before its ``$connect`` function runs and removed after ``$disconnect`` ran. Rows
that an earlier process left are connections whose end nobody was told of.
"""

from __future__ import annotations

import secrets
from dataclasses import asdict, dataclass
from typing import Any, Final

from sluiceway.core.store import Tx, View

_CONNECTIONS: Final = "api_connections"


@dataclass(frozen=True, slots=True)
class Connection:
    """``boot`` names the process that holds it; ``authorizer`` is what the authorizer found out."""

    id: str
    api_id: str
    stage: str
    boot: str
    connected_ms: int
    source_ip: str
    user_agent: str
    authorizer: dict[str, Any] | None = None


class Connections:
    """Rows of connections."""

    @staticmethod
    def new_id(api_id: str) -> str:
        """Unguessable; begins with the API's id."""
        return f"{api_id}-{secrets.token_urlsafe(15)}"

    @staticmethod
    def api_of(connection_id: str) -> str:
        """The API that a connection's id names."""
        return connection_id.partition("-")[0]

    def add(self, tx: Tx, connection: Connection) -> None:
        """Remember that a client is there."""
        tx.put(_CONNECTIONS, (connection.id,), asdict(connection))

    def remove(self, tx: Tx, connection_id: str) -> None:
        """Forget a client whose end was told."""
        tx.delete(_CONNECTIONS, (connection_id,))

    def left_over(self, view: View, boot: str, after: str, limit: int) -> list[Connection]:
        """Up to ``limit`` connections of other processes, by id, from the one after ``after``."""
        found: list[Connection] = []
        for _, row in view.scan(_CONNECTIONS, start=(after + "\x00",) if after else None):
            if row["boot"] != boot:
                found.append(Connection(**row))
                if len(found) == limit:
                    break
        return found
