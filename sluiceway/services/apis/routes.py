"""Route keys, and which of them a request goes to.

API Gateway Developer Guide, "Create routes for HTTP APIs in API Gateway": the most specific match wins: a full
match, then one with a greedy path variable (``{proxy+}``), then ``$default``. A route for the request's own
method goes before one for any method.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from sluiceway.errors import Invalid

DEFAULT: Final = "$default"
METHODS: Final = ("ANY", "GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")

_VARIABLE = re.compile(r"^\{([A-Za-z0-9._:$-]+)(\+?)\}$")
_LITERAL, _ONE, _REST = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Segment:
    """One part of a route's path: ``kind`` is literal, one segment, or all the rest."""

    kind: int
    text: str


@dataclass(frozen=True, slots=True)
class RouteKey:
    """A parsed route key of an HTTP API. ``method`` is empty for ``$default``."""

    method: str
    path: str
    segments: tuple[Segment, ...]

    @classmethod
    def parse(cls, text: str) -> RouteKey:
        """Raises ``Invalid("route_key")``."""
        if text == DEFAULT:
            return cls("", DEFAULT, ())
        method, _, path = text.partition(" ")
        if method not in METHODS or not path.startswith("/") or " " in path:
            raise Invalid("route_key", "The provided route key is not formatted properly for HTTP protocol. Format "
                          "should be \"<HTTP METHOD> /<RESOURCE PATH>\" or \"$default\"")  # fmt: skip
        segments = tuple(_segment(piece) for piece in _split(path))
        if any(segment.kind == _REST for segment in segments[:-1]):
            raise Invalid("route_key", "A greedy path variable must be the last part of a route's path.")
        names = [segment.text for segment in segments if segment.kind != _LITERAL]
        if len(names) != len(set(names)):
            raise Invalid("route_key", "The path variables of a route must have different names.")
        return cls(method, path, segments)

    def match(self, method: str, pieces: Sequence[str]) -> dict[str, str] | None:
        """The path variables, or None if the route is not for this request."""
        if not self.method:
            return {}
        if self.method not in ("ANY", method):
            return None
        found: dict[str, str] = {}
        for index, segment in enumerate(self.segments):
            if segment.kind == _REST:
                rest = "/".join(pieces[index:])
                return {**found, segment.text: rest} if rest else None
            if index >= len(pieces):
                return None
            if segment.kind == _LITERAL and segment.text != pieces[index]:
                return None
            if segment.kind == _ONE:
                if not pieces[index]:
                    return None
                found[segment.text] = pieces[index]
        return found if len(pieces) == len(self.segments) else None

    @property
    def rank(self) -> tuple[object, ...]:
        """Smaller is more specific."""
        if not self.method:
            return (1,)
        return (0, tuple(segment.kind for segment in self.segments), self.method == "ANY")


def _split(path: str) -> list[str]:
    return path[1:].split("/")


def _segment(piece: str) -> Segment:
    variable = _VARIABLE.match(piece)
    if variable:
        return Segment(_REST if variable[2] else _ONE, variable[1])
    if "{" in piece or "}" in piece:
        raise Invalid("route_key", f"The path part {piece[:100]!r} is neither a text nor a variable.")
    return Segment(_LITERAL, piece)


T = TypeVar("T")


def choose(routes: Iterable[tuple[RouteKey, T]], method: str, pieces: Sequence[str]) -> tuple[T, dict[str, str]] | None:
    """The most specific route for a request, with its path variables. ``pieces`` are the decoded parts of the
    path between slashes. Comparing part by part decides between routes: "/a/{x}" goes before "/{y}/b"."""
    best: tuple[tuple[object, ...], T, dict[str, str]] | None = None
    for key, route in routes:
        found = key.match(method, pieces)
        if found is not None and (best is None or key.rank < best[0]):
            best = (key.rank, route, found)
    return None if best is None else (best[1], best[2])
