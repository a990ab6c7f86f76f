"""What Prometheus is told of the live model, read from its slot whenever somebody asks."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from serving.live_model import ModelSlot


class LiveModelCollector(Collector):
    """The live version, and what became of attempts to change it."""

    def __init__(self, slot: ModelSlot) -> None:
        self._slot = slot

    def collect(self) -> Iterator[Metric]:
        """All of it, as the slot says now."""
        model = self._slot.current
        yield GaugeMetricFamily("fraud_model_loaded", "Whether a model can answer.", value=float(model is not None))
        info = GaugeMetricFamily("fraud_model_info", "The live version.", labels=("version", "digest"))
        if model is not None:
            info.add_metric((model.version, model.live.digest), 1)
        yield info
        swaps = CounterMetricFamily("fraud_model_swaps", "Attempts to go live, by outcome.", labels=("outcome",))
        for outcome, count in self._slot.swaps.items():
            swaps.add_metric((outcome,), count)
        yield swaps
