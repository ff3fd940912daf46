"""Select: which attributes a Query or Scan gives (Amazon DynamoDB API reference, Query, "Select")."""

from __future__ import annotations

from typing import Any

from sluiceway.core.expressions import Environment, Parsed
from sluiceway.errors import Invalid
from sluiceway.services.tables import Index, Table


def selects_whole(
    table: Table, index: Index | None, params: dict[str, Any], projection: Parsed | None, env: Environment
) -> bool:
    """Whether a local index's items must be fetched from the table. Raises ``Invalid("value")`` for what an index
    can't give, or a Select that doesn't go with the projection."""
    select = params.get("Select")
    _check(select, index, projection)
    if index is None or index.projection == "ALL":
        return False
    if select == "ALL_ATTRIBUTES":
        if not index.local:
            raise Invalid(
                "value",
                "One or more parameter values were invalid: Select type ALL_ATTRIBUTES is not supported for global "
                f"secondary index {index.name} because its projection type is not ALL",
            )
        return True
    wanted = {str(env.steps(path)[0]) for path in projection.tree} if projection is not None else set()
    beyond = sorted(name for name in wanted if not index.projects(name, table.keys))
    if beyond and not index.local:
        raise Invalid(
            "value",
            f"One or more parameter values were invalid: Global secondary index {index.name} does not project {beyond}",
        )
    return bool(beyond)


def _check(select: str | None, index: Index | None, projection: Parsed | None) -> None:
    if select in (None, "SPECIFIC_ATTRIBUTES"):
        if select is not None and projection is None:
            raise Invalid("value", "Must specify the ProjectionExpression when choosing to get SPECIFIC_ATTRIBUTES")
        return
    if select not in ("ALL_ATTRIBUTES", "ALL_PROJECTED_ATTRIBUTES", "COUNT"):
        raise Invalid("value", f"1 validation error detected: Value '{str(select)[:100]}' at 'select' is not valid")
    if projection is not None:
        what = "only the Count" if select == "COUNT" else select
        raise Invalid("value", f"Cannot specify the ProjectionExpression when choosing to get {what}")
    if select == "ALL_PROJECTED_ATTRIBUTES" and index is None:
        raise Invalid("value", "ALL_PROJECTED_ATTRIBUTES can be used only when Querying using an IndexName")
