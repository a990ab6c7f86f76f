"""What Prometheus is told of the present: the live model, the decision store and the process itself.

Read from where it lies whenever somebody asks, and, in one of several workers, every second: gauges that are shared
between processes cannot be computed on demand.
"""

import threading
from collections.abc import Callable, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector

from serving.live_model import ModelSlot

REFRESH_SECONDS: Final = 1.0

StoreFigures = Callable[[], tuple[float, float, float]]
"""Decisions that wait for their commit, whether the database is away, bytes in the spool."""


class LiveGauges:
    """Gauges of one process; over several workers they add up, or show the worst.

    Parameters
    ----------
    registry : CollectorRegistry
    slot : ModelSlot
    """

    def __init__(self, registry: CollectorRegistry, slot: ModelSlot) -> None:
        self._slot = slot
        self._store: StoreFigures = lambda: (0, 0, 0)
        self._lock = threading.Lock()
        self._seen: dict[str, int] = {}
        self._live: tuple[str, str] | None = None
        self._workers = Gauge("fraud_workers", "Processes that answer.", registry=registry, multiprocess_mode="livesum")
        self._loaded = Gauge(
            "fraud_model_loaded",
            "Whether a model can answer, in every worker.",
            registry=registry,
            multiprocess_mode="livemin",
        )
        self._info = Gauge(
            "fraud_model_info",
            "Workers that answer with a version.",
            ("version", "digest"),
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._swaps = Counter("fraud_model_swaps", "Attempts to go live, by outcome.", ("outcome",), registry=registry)
        self._waiting = Gauge(
            "fraud_store_waiting",
            "Predictions that wait for their commit.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._away = Gauge(
            "fraud_store_away",
            "Whether the decision database is away.",
            registry=registry,
            multiprocess_mode="livemax",
        )
        self._spool_bytes = Gauge(
            "fraud_store_spool_bytes", "Size of the local spool.", registry=registry, multiprocess_mode="livemax"
        )

    def watch_store(self, figures: StoreFigures) -> None:
        """Ask this for the decision store's figures from now on."""
        self._store = figures

    def present(self) -> dict[str, float]:
        """The figures that somebody is woken up for, under CloudWatch's names."""
        waiting, _away, spool_bytes = self._store()
        return {"ModelLoaded": int(self._slot.current is not None), "StoreWaiting": waiting, "SpoolBytes": spool_bytes}

    def refresh(self) -> None:
        """Say how things are now; may be called from any thread."""
        with self._lock:
            self._workers.set(1)
            self._refresh_model()
            waiting, away, spool_bytes = self._store()
            self._waiting.set(waiting)
            self._away.set(away)
            self._spool_bytes.set(spool_bytes)

    def _refresh_model(self) -> None:
        model = self._slot.current
        live = None if model is None else (model.version, model.live.digest)
        self._loaded.set(model is not None)
        if live != self._live:
            if self._live is not None:
                self._info.labels(*self._live).set(0)
            if live is not None:
                self._info.labels(*live).set(1)
            self._live = live
        for outcome, count in self._slot.swaps.items():
            self._swaps.labels(outcome).inc(count - self._seen.get(outcome, 0))
            self._seen[outcome] = count


class ProcessGauges:
    """What `ProcessCollector` says of one process, added up over several workers."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._collector = ProcessCollector(registry=None)
        self._cpu = Counter("process_cpu_seconds", "Processor time of all workers, in seconds.", registry=registry)
        self._cpu_seen = 0.0
        self._gauges: Mapping[str, Gauge] = {
            name: Gauge(name, f"{what} of all workers.", registry=registry, multiprocess_mode="livesum")
            for name, what in {
                "process_resident_memory_bytes": "Resident memory",
                "process_open_fds": "Open files",
            }.items()
        }

    def refresh(self) -> None:
        """Say how things are now."""
        found = {sample.name: sample.value for family in self._collector.collect() for sample in family.samples}
        cpu = found.get("process_cpu_seconds_total", 0.0)
        self._cpu.inc(max(0.0, cpu - self._cpu_seen))
        self._cpu_seen = max(cpu, self._cpu_seen)
        for name, gauge in self._gauges.items():
            gauge.set(found.get(name, 0.0))
