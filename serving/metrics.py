"""What the gateway measures, in a registry of its own: several applications may live in one process.

Everything is counted where a request ends, in `serving.request_log`; what describes the live model is read from its
slot when somebody asks.
"""

import time
from collections import deque
from collections.abc import Callable
from functools import cache
from math import ceil
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from typing_extensions import TypedDict

from serving.emf import EmfLines
from serving.live_model import ModelSlot
from serving.model_collector import LiveModelCollector
from serving.predictions import DECISIONS
from serving.request_record import RequestRecord

PREDICTION_ROUTES: Final = {"/predict": "single", "/predict-batch": "batch"}
LATENCIES_KEPT: Final = 10_000
"""The p99 of the JSON form is exact over this many latest prediction requests; histograms only know buckets."""

_REQUEST_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60)
_STAGE_BUCKETS: Final = (0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1, 10)


class Summary(TypedDict):
    """The JSON form of the metrics: prediction requests of this process since its start."""

    uptime_seconds: float
    total_requests: int
    """Requests for predictions, refused ones included."""
    fraud_predictions: int
    """Rows whose decision is not APPROVE."""
    legitimate_predictions: int
    average_latency_ms: float
    p99_latency_ms: float
    error_rate: float
    """Share of them answered by a status from 500: a client's own faults must wake nobody up."""


class GatewayMetrics:
    """Counters of one application.

    Attributes
    ----------
    emf : EmfLines or None
        Told of prediction requests too.
    """

    def __init__(self, slot: ModelSlot, emf: EmfLines | None = None) -> None:
        self.emf = emf
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        registry.register(LiveModelCollector(slot))
        requests = Histogram(
            "fraud_request_duration_seconds",
            "Time from a request's first byte to its answer's last.",
            ("route", "status"),
            registry=registry,
            buckets=_REQUEST_BUCKETS,
        )
        stages = Histogram(
            "fraud_stage_duration_seconds",
            "Time that a request spent in a stage.",
            ("stage",),
            registry=registry,
            buckets=_STAGE_BUCKETS,
        )
        decisions = Counter("fraud_decisions", "Rows answered, by decision.", ("decision",), registry=registry)
        rows = Counter("fraud_rows", "Rows answered, by kind of request.", ("kind",), registry=registry)
        self._store_waiting = Gauge("fraud_store_waiting", "Predictions that wait for their commit.", registry=registry)
        self._store_away = Gauge("fraud_store_away", "Whether the decision database is away.", registry=registry)
        self._spool_bytes = Gauge("fraud_store_spool_bytes", "Size of the local spool.", registry=registry)
        # prometheus_client looks a child up in two microseconds, a cache in a tenth of one.
        self._requests, self._stages = cache(requests.labels), cache(stages.labels)
        self._decisions, self._rows = cache(decisions.labels), cache(rows.labels)
        for decision in DECISIONS:
            self._decisions(decision)
        for kind in PREDICTION_ROUTES.values():
            self._rows(kind)
        self._started = time.monotonic()
        self._predictions = self._errors = self._fraud = self._legitimate = 0
        self._seconds = 0.0
        self._latest: deque[float] = deque(maxlen=LATENCIES_KEPT)

    def watch_store(
        self, waiting: Callable[[], float], away: Callable[[], float], spool_bytes: Callable[[], float]
    ) -> None:
        """Let the decision store's gauges ask these whenever somebody wants to know."""
        self._store_waiting.set_function(waiting)
        self._store_away.set_function(away)
        self._spool_bytes.set_function(spool_bytes)

    def count(self, route: str, status: int, seconds: float, record: RequestRecord) -> None:
        """Count a request that has ended."""
        self._requests(route, f"{status // 100}xx").observe(seconds)
        for name, spent in record.stages.items():
            self._stages(name).observe(spent)
        kind = PREDICTION_ROUTES.get(route)
        if kind is None:
            return
        self._predictions += 1
        self._errors += status >= 500
        self._seconds += seconds
        self._latest.append(seconds)
        decisions = record.decisions if status < 400 else [0, 0, 0]
        self._count_rows(kind, decisions)
        if self.emf is not None:
            self.emf.add(seconds * 1000, status >= 500, decisions)

    def _count_rows(self, kind: str, decisions: list[int]) -> None:
        for decision, rows in zip(DECISIONS, decisions, strict=True):
            if rows:
                self._decisions(decision).inc(rows)
        rows = sum(decisions)
        self._rows(kind).inc(rows)
        self._legitimate += decisions[0]
        self._fraud += rows - decisions[0]

    def summary(self) -> Summary:
        """The figures that people and simple monitors ask for."""
        latest = sorted(self._latest)
        p99 = latest[ceil(0.99 * len(latest)) - 1] if latest else 0.0
        requests = max(self._predictions, 1)
        return {
            "uptime_seconds": round(time.monotonic() - self._started, 3),
            "total_requests": self._predictions,
            "fraud_predictions": self._fraud,
            "legitimate_predictions": self._legitimate,
            "average_latency_ms": round(self._seconds / requests * 1000, 3),
            "p99_latency_ms": round(p99 * 1000, 3),
            "error_rate": self._errors / requests,
        }
