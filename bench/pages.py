"""A page of a listing, wherever in a bucket of many keys it begins."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import quote

from bench.cpu import cpu_s, settle
from bench.fill import BUCKET, IN_FOLDER, key_of
from bench.goal import Goal, at_most, number
from bench.load import check
from bench.report import percentile
from bench.wire import Connection, Target

NAME = "pages of a listing"
KEYS, QUICK_KEYS = 1_000_000, 200_000  # in the smaller one there are 2,000 common prefixes: two pages
PAGE: Final = 1000
SECONDS, QUICK_SECONDS = 0.6, 0.15
ROUNDS, QUICK_ROUNDS = 3, 2
SPREAD_MAX: Final = 1.25  # the dearest page by the cheapest: "the same" within what this measures


@dataclass
class Place:
    """Pages from one place: milliseconds of each, and CPU milliseconds of each round's."""

    name: str
    wire: bytes
    taken: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)


@dataclass
class Pages:
    keys: int
    filled_s: float
    plain: list[Place]
    folders: list[Place]

    def goals(self) -> list[Goal]:
        """That it costs the same everywhere, with and without delimiter."""
        kinds = (("keys", self.plain), ("common prefixes", self.folders))
        return [self._goal(name, places) for name, places in kinds]

    def _goal(self, name: str, places: list[Place]) -> Goal:
        costs = [min(place.cpu_ms) for place in places]
        said = "; ".join(
            f"{place.name} {number(percentile(place.taken, 50))} ms, {number(cost)} ms of CPU"
            for place, cost in zip(places, costs, strict=True)
        )
        return at_most(
            f"page of {PAGE} {name} of {self.keys}, end / beginning (CPU)", SPREAD_MAX, costs[-1] / costs[0], "", said
        )


def make(folder: Path, quick: bool) -> tuple[int, float]:
    """Fill a data folder; how many keys there are, and how long it took."""
    keys = QUICK_KEYS if quick else KEYS
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "bench.fill", str(folder), str(keys)], check=True)
    return keys, time.perf_counter() - began


def measure(target: Target, keys: int, filled_s: float, quick: bool) -> Pages:
    """Each place in turns, on one connection."""
    last = keys - PAGE - 1
    last_folder = keys - PAGE * IN_FOLDER - 1
    pages = Pages(keys, filled_s, _places(target, last, ""), _places(target, last_folder, "/"))
    connection = Connection(target.port, time.perf_counter)
    for place in (*pages.plain, *pages.folders):
        _check(connection, place)
    for _ in range(QUICK_ROUNDS if quick else ROUNDS):
        for place in (*pages.plain, *pages.folders):
            _ask(target, connection, place, QUICK_SECONDS if quick else SECONDS)
    connection.close()
    return pages


def _places(target: Target, last: int, delimiter: str) -> list[Place]:
    found = []
    for name, number_before in (("beginning", -1), ("middle", last // 2), ("end", last)):
        after = key_of(number_before).partition("/")[0] + "/~" if delimiter else key_of(max(number_before, 0))
        query = {"delimiter": delimiter, "list-type": "2", "start-after": after if number_before >= 0 else ""}
        text = "&".join(f"{key}={quote(value, safe='')}" for key, value in query.items() if value)
        found.append(Place(name, target.wire("s3", "GET", f"/{BUCKET}?{text}")))
    return found


def _check(connection: Connection, place: Place) -> None:
    """Every page is a full one."""
    answer, _ = connection.ask(place.wire)
    check(answer)
    entries = answer.body.count(b"<Contents>") + answer.body.count(b"<CommonPrefixes>")
    if entries != PAGE:
        raise RuntimeError(f"the page at the {place.name} has {entries} entries: {answer.body[:500]!r}")


def _ask(target: Target, connection: Connection, place: Place, seconds: float) -> None:
    settle(target.pid)
    cpu, count, ends = cpu_s(target.pid), 0, time.perf_counter() + seconds
    while time.perf_counter() < ends:
        answer, took = connection.ask(place.wire)
        check(answer)
        place.taken.append(took)
        count += 1
    place.cpu_ms.append(1000 * (cpu_s(target.pid) - cpu) / count)
