"""Metrics in Prometheus's text format: what is counted while answering, and what is read from the parts when asked.

Written here, as it is a page, on the path of every request; the usual library adds its own web server to each start.
(Prometheus, "Exposition formats".)
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0)


@dataclass(frozen=True, slots=True)
class Sample:
    """One number of a part of the server. A ``total`` only grows."""

    name: str
    help: str
    value: float
    labels: tuple[tuple[str, str], ...] = ()
    total: bool = False


Source = Callable[[], Iterable[Sample]]


class Metrics:
    """``observe`` counts answered requests; ``replace`` sets the parts that know their own numbers."""

    def __init__(self) -> None:
        self._requests: dict[tuple[str, int], int] = {}
        self._seconds: dict[str, _Histogram] = {}
        self._sources: tuple[Source, ...] = ()

    def observe(self, service: str, status: int, seconds: float) -> None:
        """One answered request."""
        key = (service, status)
        self._requests[key] = self._requests.get(key, 0) + 1
        histogram = self._seconds.get(service)
        if histogram is None:
            histogram = self._seconds[service] = _Histogram()
        histogram.counts[bisect_left(_SECONDS, seconds)] += 1
        histogram.sum += seconds

    def replace(self, sources: Iterable[Source]) -> None:
        """The parts whose numbers are shown from now on."""
        self._sources = tuple(sources)

    def text(self, more: Iterable[Sample] = ()) -> bytes:
        """Everything, and ``more``, in Prometheus's text format."""
        lines = self._own_lines()
        families: dict[str, list[Sample]] = {}
        for samples in (*(source() for source in self._sources), more):
            for sample in samples:
                families.setdefault(sample.name, []).append(sample)
        for found in families.values():
            first = found[0]
            name = f"{first.name}_total" if first.total else first.name
            lines += _head(name, first.help, "counter" if first.total else "gauge")
            lines += [f"{name}{_labels(sample.labels)} {float(sample.value)}" for sample in found]
        return "\n".join([*lines, ""]).encode()

    def _own_lines(self) -> list[str]:
        lines = _head("sluiceway_requests_total", "Answered requests.", "counter")
        for (service, status), count in self._requests.items():
            labels = _labels((("service", service), ("status", str(status))))
            lines.append(f"sluiceway_requests_total{labels} {float(count)}")
        name = "sluiceway_request_seconds"
        lines += _head(name, "Time to the last byte of an answer.", "histogram")
        for service, histogram in self._seconds.items():
            lines += histogram.lines(name, service)
        return lines


class _Histogram:
    def __init__(self) -> None:
        self.counts = [0] * (len(_SECONDS) + 1)
        self.sum = 0.0

    def lines(self, name: str, service: str) -> list[str]:
        """Each bucket holds what the ones before it hold."""
        lines, total = [], 0
        for limit, count in zip((*map(str, _SECONDS), "+Inf"), self.counts, strict=True):
            total += count
            lines.append(f"{name}_bucket{_labels((('le', limit), ('service', service)))} {float(total)}")
        own = _labels((("service", service),))
        return [*lines, f"{name}_count{own} {float(total)}", f"{name}_sum{own} {self.sum}"]


def _head(name: str, words: str, kind: str) -> list[str]:
    return [f"# HELP {name} {words}", f"# TYPE {name} {kind}"]


def _labels(labels: Iterable[tuple[str, str]]) -> str:
    """``{name="value",...}``, or nothing."""
    pairs = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels)
    return f"{{{pairs}}}" if pairs else ""


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
