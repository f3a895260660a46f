"""Drift as gauges, which are made when Prometheus asks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from mahtrt.http.served import Served
from mahtrt.monitoring.drift import StatisticReport

_LABELS = ("model", "statistic")
_TEXTS = {
    "now": "Mean over the last images.",
    "reference": "Mean over the images of the build.",
    "level": "How near an alarm is: 0 for nothing, 1 for an alarm.",
    "drifted": "1 where the statistic is out of its range, 0 else.",
}


class DriftCollector(Collector):
    """What the monitors of the bundles say now (docs/drift.md)."""

    def __init__(self, served: Iterable[Served]) -> None:
        self._served = tuple(served)

    def collect(self) -> Iterator[Metric]:
        families = {
            name: GaugeMetricFamily(f"mahtrt_drift_{name}", text, labels=_LABELS)
            for name, text in _TEXTS.items()
        }
        for served in self._served:
            opened = served.opened
            if opened is None or opened.drift is None:
                continue
            for row in opened.drift.report().statistics:
                for name, value in _values(row).items():
                    if value is not None:
                        families[name].add_metric((served.name, row.name), value)
        yield from families.values()


def _values(row: StatisticReport) -> dict[str, float | None]:
    return {
        "now": row.now,
        "reference": row.reference,
        "level": row.level,
        "drifted": float(bool(row.drifted)),
    }
