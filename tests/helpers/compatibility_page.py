"""Fills the lists of docs/compatibility.md from the code: operations, paths and resource types.

A list stands between ``<!-- list: NAME -->`` and ``<!-- end -->``; the rest of the page is written by hand.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from unittest.mock import MagicMock

from botocore.session import get_session

from sluiceway.config import Settings
from sluiceway.core.identity import Scope
from sluiceway.edges.aws.operations import ServiceEdge
from sluiceway.edges.elasticsearch.routes import ROUTES as SEARCH_ROUTES
from sluiceway.edges.s3.router import ROUTES as OBJECT_ROUTES
from sluiceway.reactions.stacks.registry import providers
from sluiceway.server.edges import Edges

PAGE = Path(__file__).parents[2] / "docs" / "compatibility.md"
_LIST = re.compile(r"(<!-- list: ([a-z0-9-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def _edges() -> list[ServiceEdge]:
    """The edges as the server makes them, over services that do nothing."""
    services = MagicMock(settings=Settings(), scope=Scope("000000000000", "us-east-1"))
    edges = Edges(services, MagicMock(), MagicMock(), lambda: b"")
    plain = {"api", "s3", "elasticsearch"}
    return [edges.service_edge(name)[0] for name in edges.handlers if name not in plain]


def operations() -> dict[str, set[str]]:
    """The operations of each AWS service that the server answers, by botocore's names of services."""
    found = {edge.name: set(edge.operations) for edge in _edges()}
    return found | {"s3": {route.name for route in OBJECT_ROUTES.values()}}


def model_operations(service: str) -> list[str]:
    """All operations of a service as botocore's model has them."""
    return list(get_session().get_service_model(service).operation_names)


def lists() -> dict[str, str]:
    """The page's lists by name."""
    made = {service: _operations(service, names) for service, names in operations().items()}
    made["elasticsearch"] = _paths()
    made["resources"] = _words(sorted(providers()))
    return made


def names_in(page: str) -> list[str]:
    """The names of the lists that a page has room for."""
    return [match[2] for match in _LIST.finditer(page)]


def filled(page: str) -> str:
    """The page with its lists as the code has them."""
    made = lists()
    return _LIST.sub(lambda match: f"{match[1]}{made[match[2]]}\n{match[3]}", page)


def _operations(service: str, names: set[str]) -> str:
    unknown = names - set(model_operations(service))
    assert not unknown, f"{service} has no operations {unknown}"
    return _words(sorted(names))


def _paths() -> str:
    lines = [f"- `/{route.pattern}`: {', '.join(sorted(route.methods))}" for route in SEARCH_ROUTES]
    return "\n".join(lines).replace("{_create}", "_create")


def _words(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) + "."
