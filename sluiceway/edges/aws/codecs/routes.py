"""Which operation a method and a path are, by the model's URI templates; the most literal one wins."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from sluiceway.edges.aws.codecs.model import OperationModel

_LABEL = re.compile(r"\{([^}+]+)(\+?)\}")


@dataclass(frozen=True, slots=True)
class Route:
    """One operation's template, compiled. ``query`` are the parameters that must be there, with values."""

    operation: str
    pattern: re.Pattern[str]
    names: tuple[str, ...]
    query: dict[str, str]
    weight: tuple[int, int]

    def labels(self, path: str) -> dict[str, str]:
        """The path's parts by label, undecoded."""
        match = self.pattern.fullmatch(path)
        return dict(zip(self.names, match.groups(), strict=True)) if match else {}


def route_of(operation: OperationModel) -> Route:
    """The route of one operation."""
    path, _, query = operation.http.get("requestUri", "/").partition("?")
    names: list[str] = []
    pattern, at = "", 0
    for match in _LABEL.finditer(path):
        names.append(match[1])
        pattern += re.escape(path[at : match.start()]) + ("(.+)" if match[2] else "([^/]+)")
        at = match.end()
    pattern += re.escape(path[at:]).rstrip("/") + "/?"
    wanted = {}
    for part in query.split("&") if query else []:
        name, _, value = part.partition("=")
        wanted[name] = value
    literal = len(_LABEL.sub("", path))
    return Route(operation.name, re.compile(pattern), tuple(names), wanted, (len(wanted), literal))


class Routes:
    """The routes of a REST service by method."""

    def __init__(self, operations: Iterable[OperationModel]) -> None:
        by_method: dict[str, list[Route]] = defaultdict(list)
        for operation in operations:
            by_method[operation.http.get("method", "POST")].append(route_of(operation))
        self._by_method = {
            method: sorted(routes, key=lambda route: route.weight, reverse=True) for method, routes in by_method.items()
        }

    def find(self, method: str, path: str, query: list[tuple[str, str]]) -> str | None:
        """The operation's name."""
        given = dict(query)
        for route in self._by_method.get(method, ()):
            asked = all(
                given.get(name) == value or (not value and name in given) for name, value in route.query.items()
            )
            if asked and route.pattern.fullmatch(path):
                return route.operation
        return None
