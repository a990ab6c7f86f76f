"""What the gateway measures, in a registry of its own: several applications may live in one process.

Everything is counted where a request ends, in `serving.request_log`; what describes the present is in
`serving.live_gauges`. Both forms of the metrics come from the same counters, and those of several workers add up.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import cache
from math import ceil
from typing import Final

import numpy as np
from anyio import to_thread
from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from typing_extensions import TypedDict

from serving.emf import EmfLines
from serving.latencies import LatestLatencies, latencies_in
from serving.live_gauges import REFRESH_SECONDS, LiveGauges, ProcessGauges
from serving.live_model import ModelSlot
from serving.predictions import DECISIONS
from serving.request_record import RequestRecord
from serving.shadow import Shadow
from serving.shadow_gauges import ShadowGauges
from serving.shared_metrics import SharedMetrics

PREDICTION_ROUTES: Final = {"/predict": "single", "/predict-batch": "batch"}
_DECISIONS: Final = "fraud_decisions_total"
_REQUEST_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60)
_STAGE_BUCKETS: Final = (0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1, 10)


class Summary(TypedDict):
    """The JSON form of the metrics: prediction requests since the start."""

    uptime_seconds: float
    total_requests: int
    """Requests for predictions, refused ones included."""
    fraud_predictions: int
    """Rows whose decision is not APPROVE."""
    legitimate_predictions: int
    average_latency_ms: float
    p99_latency_ms: float
    """Exact over the latest 10,000 prediction requests (of each worker); histograms only know buckets."""
    error_rate: float
    """Share of them answered by a status from 500: a client's own faults must wake nobody up."""


class GatewayMetrics:
    """Counters of one application.

    Parameters
    ----------
    slot : ModelSlot
    emf : EmfLines, optional
    shared : SharedMetrics, optional
        Given to one of several workers, which then shows the figures of all.
    shadow : Shadow, optional

    Attributes
    ----------
    emf : EmfLines or None
        Told of prediction requests too.
    live : LiveGauges
    """

    def __init__(
        self,
        slot: ModelSlot,
        emf: EmfLines | None = None,
        shared: SharedMetrics | None = None,
        shadow: Shadow | None = None,
    ) -> None:
        self.emf = emf
        self._shared = shared
        own = CollectorRegistry()
        self.live = LiveGauges(own, slot)
        self._shadow = None if shadow is None else ShadowGauges(own, shadow)
        if shared is None:
            self.registry, self._process = own, None
            ProcessCollector(registry=own)
        else:
            self.registry, self._process = CollectorRegistry(), ProcessGauges(own)
            MultiProcessCollector(self.registry, str(shared.folder))  # type: ignore[no-untyped-call]
        requests = Histogram(
            "fraud_request_duration_seconds",
            "Time from a request's first byte to its answer's last.",
            ("route", "status"),
            registry=own,
            buckets=_REQUEST_BUCKETS,
        )
        stages = Histogram(
            "fraud_stage_duration_seconds",
            "Time that a request spent in a stage.",
            ("stage",),
            registry=own,
            buckets=_STAGE_BUCKETS,
        )
        decisions = Counter("fraud_decisions", "Rows answered, by decision.", ("decision",), registry=own)
        rows = Counter("fraud_rows", "Rows answered, by kind of request.", ("kind",), registry=own)
        # prometheus_client looks a child up in two microseconds, a cache in a tenth of one.
        self._requests, self._stages = cache(requests.labels), cache(stages.labels)
        self._decisions, self._rows = cache(decisions.labels), cache(rows.labels)
        for decision in DECISIONS:
            self._decisions(decision)
        for kind in PREDICTION_ROUTES.values():
            self._rows(kind)
        self._started = time.monotonic() if shared is None else shared.started
        self._latest = LatestLatencies(None if shared is None else shared.latencies)

    def count(self, route: str, status: int, seconds: float, record: RequestRecord) -> None:
        """Count a request that has ended."""
        self._requests(route, f"{status // 100}xx").observe(seconds)
        for name, spent in record.stages.items():
            self._stages(name).observe(spent)
        kind = PREDICTION_ROUTES.get(route)
        if kind is None:
            return
        self._latest.add(seconds)
        decisions = record.decisions if status < 400 else [0, 0, 0]
        for decision, rows in zip(DECISIONS, decisions, strict=True):
            if rows:
                self._decisions(decision).inc(rows)
        self._rows(kind).inc(sum(decisions))
        if self.emf is not None:
            self.emf.add(seconds * 1000, status >= 500, decisions)

    def refresh(self) -> None:
        """Bring what describes the present up to date."""
        self.live.refresh()
        if self._shadow is not None:
            self._shadow.refresh()
        if self._process is not None:
            self._process.refresh()

    @asynccontextmanager
    async def refreshed(self) -> AsyncIterator[None]:
        """Refresh every second for the other workers; one that is alone does so when it is asked."""
        if self._shared is None:
            yield
            return
        refreshing = asyncio.create_task(self._refresh_for_ever())
        try:
            yield
        finally:
            refreshing.cancel()
            with suppress(asyncio.CancelledError):
                await refreshing

    def text(self) -> bytes:
        """What Prometheus reads."""
        self.refresh()
        return generate_latest(self.registry)

    def summary(self) -> Summary:
        """The figures that people and simple monitors ask for."""
        samples = [sample for family in self.registry.collect() for sample in family.samples]
        rows = {sample.labels["decision"]: int(sample.value) for sample in samples if sample.name == _DECISIONS}
        asked = [sample for sample in samples if sample.labels.get("route") in PREDICTION_ROUTES]
        answers = [(sample.labels["status"], sample.value) for sample in asked if sample.name.endswith("_count")]
        requests = int(sum(count for _status, count in answers))
        errors = sum(count for status, count in answers if status == "5xx")
        seconds = sum(sample.value for sample in asked if sample.name.endswith("_sum"))
        return {
            "uptime_seconds": round(time.monotonic() - self._started, 3),
            "total_requests": requests,
            "fraud_predictions": sum(rows[decision] for decision in DECISIONS[1:]),
            "legitimate_predictions": rows[DECISIONS[0]],
            "average_latency_ms": round(seconds / max(requests, 1) * 1000, 3),
            "p99_latency_ms": round(self._p99() * 1000, 3),
            "error_rate": errors / max(requests, 1),
        }

    def _p99(self) -> float:
        latest = self._latest.values() if self._shared is None else latencies_in(self._shared.all_latencies())
        return float(np.sort(latest)[ceil(0.99 * len(latest)) - 1]) if len(latest) else 0.0

    async def _refresh_for_ever(self) -> None:
        while True:
            await to_thread.run_sync(self.refresh)
            await asyncio.sleep(REFRESH_SECONDS)
