"""What Prometheus reads of the service: nothing that names or counts a patient.

Label values are names of bundles that are served, endpoints of this service and words of this
package; what a client makes up never becomes one, so that their number stays small.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import choose_encoder

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_CASES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """The service's own metrics; docs/service.md lists them."""

    def __init__(self, version: str) -> None:
        self.registry = CollectorRegistry()
        asked = ("model", "endpoint")
        self.requests = self._counter("requests", "Requests that were answered.", *asked, "code")
        self.errors = self._counter("errors", "Requests that got no result.", "model", "kind")
        self.cancelled = self._counter("cancelled", "Requests whose client went away.", "model")
        self.request_seconds = self._times("request_seconds", "Head to answer.", *asked)
        self.waiting_seconds = self._times("waiting_seconds", "Time in the queue.", "model")
        self.inference_seconds = self._times("inference_seconds", "Time of a batch.", "model")
        self.waiting = self._gauge("waiting", "Requests that wait.", "model")
        self.batch_cases = Histogram(
            "mahtrt_batch_cases",
            "Cases that were run together.",
            ["model"],
            buckets=_CASES,
            registry=self.registry,
        )
        self.cases = self._counter("cases", "Cases that were run.", "model")
        self.body_bytes = self._gauge("body_bytes", "Bytes of bodies in memory.")
        self.ready = self._gauge("model_ready", "1 where a bundle answers, 0 else.", "model")
        self.info = self._gauge("model_info", "1.", "model", "version", "engine", "device")
        self.replays = self._counter("replays", "Replays of golden images.", "model", "outcome")
        self.reloads = self._counter("reloads", "Bundles that were replaced.", "model", "outcome")
        drift = ("model", "statistic", "state")
        self.drift_alarms = self._counter("drift_alarms", "Statistics that left a range.", *drift)
        self._gauge("build_info", "1.", "version").labels(version).set(1)

    def text(self, accept: str) -> tuple[bytes, str]:
        """All metrics, and the content type that they are written in."""
        encode, kind = choose_encoder(accept)
        return encode(self.registry), kind

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"mahtrt_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"mahtrt_{name}", text, labels, registry=self.registry)

    def _times(self, name: str, text: str, *labels: str) -> Histogram:
        name = f"mahtrt_{name}"
        return Histogram(name, text, labels, buckets=_SECONDS, registry=self.registry)
