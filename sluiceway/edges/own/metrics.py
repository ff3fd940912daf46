"""Prometheus metrics: what is counted while answering, and what is read from the parts when asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

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
    """``observe`` counts answered requests; ``add`` registers parts that know their own numbers."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "sluiceway_requests", "Answered requests.", ["service", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "sluiceway_request_seconds",
            "Time to the last byte of an answer.",
            ["service"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        # Looking up a metric's labels takes longer than counting; there are a few services times a few statuses.
        self._known: dict[tuple[str, int], tuple[Counter, Histogram]] = {}
        self._parts = _Parts()
        self._registry.register(self._parts)

    def observe(self, service: str, status: int, seconds: float) -> None:
        """One answered request."""
        known = self._known.get((service, status))
        if known is None:
            known = self._requests.labels(service, str(status)), self._seconds.labels(service)
            self._known[service, status] = known
        counter, histogram = known
        counter.inc()
        histogram.observe(seconds)

    def replace(self, sources: Iterable[Source]) -> None:
        """The parts whose numbers are shown from now on."""
        self._parts.sources = tuple(sources)

    def text(self, more: Iterable[Sample] = ()) -> bytes:
        """Everything, and ``more``, in Prometheus's text format."""
        self._parts.more = tuple(more)
        return bytes(generate_latest(self._registry))


class _Parts(Collector):
    def __init__(self) -> None:
        self.sources: tuple[Source, ...] = ()
        self.more: tuple[Sample, ...] = ()

    def collect(self) -> Iterator[Metric]:
        """Asked for at each scrape."""
        families: dict[str, Metric] = {}
        for found in (*[source() for source in self.sources], self.more):
            for sample in found:
                family = families.setdefault(sample.name, _family(sample))
                name = f"{sample.name}_total" if sample.total else sample.name
                family.add_sample(name, dict(sample.labels), sample.value)
        yield from families.values()

    def describe(self) -> list[Metric]:
        """Names come with their numbers."""
        return []


def _family(sample: Sample) -> Metric:
    return Metric(sample.name, sample.help, "counter" if sample.total else "gauge")
