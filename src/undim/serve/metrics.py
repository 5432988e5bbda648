"""What `/metrics` tells, in Prometheus' text format."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily
from prometheus_client.registry import Collector

from undim.jobs.run import Outcome
from undim.version import __version__

CONTENT_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.01, 0.03, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60, 120, 300)


class Metrics:
    """Counts what happens.

    Args:
        gauges: name without `undim_` -> what it means, and a function that tells it now, by label of the kind `of`.
    """

    def __init__(self, gauges: dict[str, tuple[str, Callable[[], dict[str, float]]]]) -> None:
        self._registry = CollectorRegistry()
        count = partial(Counter, registry=self._registry)
        measure = partial(Histogram, registry=self._registry, buckets=_SECONDS)
        self._requests = count("undim_requests", "Answers by route and status", ["route", "status"])
        self._failures = count("undim_failures", "Requests that failed, by reason", ["reason"])
        self._seconds = measure("undim_request_seconds", "From a request's head to its answer", ["route"])
        self._stages = measure("undim_stage_seconds", "Of each picture, by stage", ["stage"])
        self._pixels = count("undim_pixels", "Of pictures that were enhanced")
        self._received = count("undim_received_bytes", "Of requests' bodies")
        self._sent = count("undim_sent_bytes", "Of answers' bodies")
        self._registry.register(_Gauges(gauges))

    def request(self, route: str, status: int, seconds: float, received: int, sent: int) -> None:
        """Count one answer."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)
        self._received.inc(received)
        self._sent.inc(sent)

    def failure(self, reason: str) -> None:
        """Count one failure by its code."""
        self._failures.labels(reason or "other").inc()

    def picture(self, outcome: Outcome) -> None:
        """Count what became of one picture."""
        for stage, seconds in outcome.stages.items():
            self._stages.labels(stage).observe(seconds)
        if outcome.status == "done" and outcome.size is not None:
            self._pixels.inc(outcome.size[0] * outcome.size[1])

    def text(self) -> bytes:
        """All of it."""
        return generate_latest(self._registry)


class _Gauges(Collector):
    """What is asked for at the moment of the answer."""

    def __init__(self, gauges: dict[str, tuple[str, Callable[[], dict[str, float]]]]) -> None:
        self._gauges = gauges

    def collect(self) -> Iterable[GaugeMetricFamily | InfoMetricFamily]:
        """All gauges."""
        yield InfoMetricFamily("undim_build", "The version", value={"version": __version__})
        for name, (meaning, tell) in self._gauges.items():
            family = GaugeMetricFamily(f"undim_{name}", meaning, labels=["of"])
            for label, value in tell().items():
                family.add_metric([label], value)
            yield family


def resident_bytes(process: int) -> int:
    """Memory that a process fills, in bytes; 0 where the system does not tell."""
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return 0
