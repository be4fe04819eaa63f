"""What the server counts, as Prometheus reads it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from albor.serve.worker import Worker

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
PER_TOKEN = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)


class Metrics(Collector):
    """Requests as they end, and what the models' threads have counted themselves."""

    def __init__(self, workers: Mapping[str, Worker]) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "albor_requests", "Requests, by what was answered", ("path", "status"), registry=self.registry
        )
        self.first_token = Histogram(
            "albor_time_to_first_token_seconds", "Until the first token", ("model",), buckets=SECONDS,
            registry=self.registry,
        )  # fmt: skip
        self.per_token = Histogram(
            "albor_seconds_per_token", "After the first token", ("model",), buckets=PER_TOKEN, registry=self.registry
        )
        self._workers = workers
        self.registry.register(self)

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        counted = {
            "tokens": ("albor_generated_tokens", "New tokens"),
            "read": ("albor_prompt_tokens", "Tokens of prompts"),
            "reused": ("albor_reused_prompt_tokens", "Tokens of prompts that did not have to be read"),
        }
        for name, (metric, text) in counted.items():
            family = CounterMetricFamily(metric, text, labels=("model",))
            for model, worker in self._workers.items():
                family.add_metric((model,), getattr(worker, name))
            yield family
        running = GaugeMetricFamily("albor_running_requests", "Texts that are being written", labels=("model",))
        waiting = GaugeMetricFamily("albor_waiting_requests", "Texts that wait for their turn", labels=("model",))
        for model, worker in self._workers.items():
            running.add_metric((model,), min(worker.open, worker.rows))
            waiting.add_metric((model,), max(0, worker.open - worker.rows))
        yield running
        yield waiting
