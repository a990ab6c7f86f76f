"""What the gateway measures, in one registry per application: several applications may live in one process.

Everything is counted where a request ends, in `serving.middleware`; what describes the present are gauges. Both forms
of the metrics come from the same counters, and those of several workers add up.
"""

import asyncio
import mmap
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from functools import cache
from math import ceil
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, Protocol

import numpy as np
from anyio import to_thread
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.samples import Sample
from typing_extensions import TypedDict

from ml_project.policies import DECISIONS
from serving.live_model import LiveModel, ModelSlot
from serving.shadow import Shadow
from serving.telemetry.emf import EmfLines
from serving.telemetry.multiprocess import LATENCIES_BYTES, LATENCIES_KEPT, SharedMetrics
from serving.telemetry.request import RequestRecord

PREDICTION_ROUTES: Final = {"/predict": "single", "/predict-batch": "batch"}
_TRIAL: Final = "trial"
_DECISIONS: Final = "fraud_decisions_total"
_REQUEST_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60)
REFRESH_SECONDS: Final = 1.0
_STAGE_BUCKETS: Final = (0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1, 10)


class Summary(TypedDict):
    """The JSON form of the metrics: prediction requests since the start."""

    uptime_seconds: float
    total_requests: int
    """Requests for predictions, refused ones included."""
    fraud_predictions: int
    """Rows whose decision is not APPROVE; here and below without trials."""
    legitimate_predictions: int
    average_latency_ms: float
    p99_latency_ms: float
    """Exact over the latest 10,000 prediction requests (of each worker); histograms only know buckets."""
    error_rate: float
    """Share of them answered by a status from 500: a client's own faults must raise no alarm."""


class StoreFigures(NamedTuple):
    """How the decision store is doing."""

    waiting: float = 0
    """Decisions that wait for their commit."""
    away: float = False
    """Whether the database is unreachable."""
    spool_bytes: float = 0
    spool_damaged: float = 0
    """Files of the spool that were set aside, damaged."""
    spool_unreadable: float = 0
    """Files of whole records that could not be replayed."""


class GatewayMetrics:
    """Counters and gauges of one application.

    Parameters
    ----------
    slot : ModelSlot
    emf : EmfLines, optional
    shared : SharedMetrics, optional
        Given to one of several workers, which then shows the figures of all.
    shadow : Shadow, optional
    store : callable, optional
        Gives the decision store's figures.
    """

    def __init__(
        self,
        slot: ModelSlot,
        emf: EmfLines | None = None,
        shared: SharedMetrics | None = None,
        shadow: Shadow | None = None,
        store: Callable[[], StoreFigures] = StoreFigures,
    ) -> None:
        self._slot = slot
        self._emf = emf
        self._store = store
        self._shared = shared
        self._lock = threading.Lock()
        own = CollectorRegistry()
        self._gauges: list[_Gauges] = [_LiveGauges(own, slot, store)]
        if shadow is not None:
            self._gauges.append(_ShadowGauges(own, shadow))
        if shared is None:
            self.registry = own
            ProcessCollector(registry=own)
        else:
            self.registry = CollectorRegistry()
            self._gauges.append(_ProcessGauges(own))
            MultiProcessCollector(self.registry, str(shared.folder))  # type: ignore[no-untyped-call]
        requests = _Histogram(
            "fraud_request_duration_seconds",
            "Time from a request's first byte to its answer's last.",
            ("route", "status"),
            registry=own,
            buckets=_REQUEST_BUCKETS,
        )
        stages = _Histogram(
            "fraud_stage_duration_seconds",
            "Time that a request spent in a stage.",
            ("stage",),
            registry=own,
            buckets=_STAGE_BUCKETS,
        )
        self._histograms = requests, stages
        decisions = Counter("fraud_decisions", "Rows decided, trials left out.", ("decision",), registry=own)
        rows = Counter(
            "fraud_rows",
            "Rows answered, by kind of request; a trial is also what is not kept.",
            ("kind",),
            registry=own,
        )
        # prometheus_client looks a child up in two microseconds, a cache in a tenth of one.
        self._requests, self._stages = cache(requests.labels), cache(stages.labels)
        self._decisions, self._rows = cache(decisions.labels), cache(rows.labels)
        for decision in DECISIONS:
            self._decisions(decision)
        for kind in (*PREDICTION_ROUTES.values(), _TRIAL):
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
        answered = record.decisions if status < 400 else [0, 0, 0]
        decisions = answered if record.decides else [0, 0, 0]
        for decision, rows in zip(DECISIONS, decisions, strict=True):
            if rows:
                self._decisions(decision).inc(rows)
        self._rows(kind if record.decides else _TRIAL).inc(sum(answered))
        if self._emf is not None:
            self._emf.add(seconds * 1000, status >= 500, decisions)

    def refresh(self) -> None:
        """Bring what describes the present up to date; may be called from any thread."""
        with self._lock:
            self._catch_up()
            for gauges in self._gauges:
                gauges.refresh()

    def _catch_up(self) -> None:
        for histogram in self._histograms:  # which all workers read from files
            histogram.catch_up()

    def present(self) -> dict[str, float]:
        """The figures that alarms look at, under CloudWatch's names."""
        store = self._store()
        return {
            "ModelLoaded": int(self._slot.current is not None),
            "StoreWaiting": store.waiting,
            "SpoolBytes": store.spool_bytes,
        }

    @asynccontextmanager
    async def refreshed(self) -> AsyncIterator[None]:
        """Refresh every second for the other workers; a single process does so on request."""
        if self._shared is None:
            yield
            return
        refreshing = asyncio.create_task(self._keep_refreshing())
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
        self._catch_up()
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

    async def _keep_refreshing(self) -> None:
        while True:
            await to_thread.run_sync(self.refresh)
            await asyncio.sleep(REFRESH_SECONDS)


class _Histogram(Histogram):
    """One whose values are counted by the thousand, or when somebody looks, which costs a tenth for each."""

    def _metric_init(self) -> None:
        super()._metric_init()
        self._waiting: list[float] = []
        self._catching_up = threading.Lock()

    def observe(self, amount: float, exemplar: dict[str, str] | None = None) -> None:  # noqa: ARG002 - has none
        """Count a value soon."""
        self._waiting.append(amount)
        if len(self._waiting) >= _OBSERVED_AT_ONCE:
            self.catch_up()

    def catch_up(self) -> None:
        """Count what waits, under all labels."""
        if not self._labelvalues:
            children: Iterable[Any] = list(self._metrics.values())
            for child in children:
                child.catch_up()
            return
        with self._catching_up:
            values = self._waiting[:]
            del self._waiting[: len(values)]  # others may have come to stand behind them
            for place, count in enumerate(np.bincount(np.searchsorted(self._upper_bounds, values))):
                if count:
                    self._buckets[place].inc(int(count))
            self._sum.inc(sum(values))

    def _child_samples(self) -> Iterable[Sample]:
        self.catch_up()
        return super()._child_samples()


_OBSERVED_AT_ONCE: Final = 1_000


class LatestLatencies:
    """The latest `LATENCIES_KEPT` values.

    Parameters
    ----------
    path : Path, optional
        File of `LATENCIES_BYTES` that holds them; what is in it counts on. By default they are this process's own.
    """

    def __init__(self, path: Path | None = None) -> None:
        if path is None:
            ring = mmap.mmap(-1, LATENCIES_BYTES)
        else:
            with path.open("r+b") as file:
                ring = mmap.mmap(file.fileno(), LATENCIES_BYTES)
        self._cells = memoryview(ring).cast("d")
        self._added = int(self._cells[0])

    def add(self, seconds: float) -> None:
        """Keep one, in place of the oldest."""
        self._cells[1 + self._added % LATENCIES_KEPT] = seconds
        self._added += 1
        self._cells[0] = self._added

    def values(self) -> np.ndarray:
        """A copy, in no particular order."""
        return _kept(np.array(self._cells))


def latencies_in(paths: Iterable[Path]) -> np.ndarray:
    """Those of several files together."""
    return np.concatenate([_kept(np.fromfile(path)) for path in paths])


def _kept(cells: np.ndarray) -> np.ndarray:
    return cells[1 : 1 + min(int(cells[0]), LATENCIES_KEPT)]


class _Gauges(Protocol):
    """What describes the present, read from where it lies.

    In one of several workers it is read every second, because gauges that processes share cannot be computed on demand;
    over the workers they add up (``livesum``) or show the worst (``livemin``, ``livemax``).
    """

    def refresh(self) -> None:
        """Say how things are now."""


class _LiveGauges:
    """The live model and the decision store."""

    def __init__(self, registry: CollectorRegistry, slot: ModelSlot, store: Callable[[], StoreFigures]) -> None:
        self._slot = slot
        self._store = store
        self._workers = _gauge(registry, "fraud_workers", "Processes that answer.", "livesum")
        self._loaded = _gauge(registry, "fraud_model_loaded", "Whether a model can answer, in every worker.", "livemin")
        self._version = _VersionInfo(registry, "fraud_model_info", "Workers that answer with a version.")
        self._swaps = _Totals(registry, "fraud_model_swaps", "Attempts to go live, by outcome.")
        self._waiting = _gauge(registry, "fraud_store_waiting", "Predictions that wait for their commit.", "livesum")
        self._away = _gauge(registry, "fraud_store_away", "Whether the decision database is unreachable.", "livemax")
        self._spool_bytes = _gauge(registry, "fraud_store_spool_bytes", "Size of the local spool.", "livemax")
        self._damaged = _gauge(
            registry, "fraud_store_spool_damaged_files", "Spool files that were set aside, damaged.", "livemax"
        )
        self._unreadable = _gauge(
            registry,
            "fraud_store_spool_unreadable_files",
            "Files of spooled records that cannot be replayed.",
            "livemax",
        )

    def refresh(self) -> None:
        self._workers.set(1)
        self._loaded.set(self._slot.current is not None)
        self._version.set(self._slot.current)
        self._swaps.set(self._slot.swaps)
        store = self._store()
        self._waiting.set(store.waiting)
        self._away.set(store.away)
        self._spool_bytes.set(store.spool_bytes)
        self._damaged.set(store.spool_damaged)
        self._unreadable.set(store.spool_unreadable)


class _ShadowGauges:
    """The challenger."""

    def __init__(self, registry: CollectorRegistry, shadow: Shadow) -> None:
        self._shadow = shadow
        self._rows = _Totals(registry, "fraud_shadow_rows", "Rows drawn for the challenger, by what became of them.")
        self._waiting = _gauge(registry, "fraud_shadow_waiting", "Rows that wait for the challenger.", "livesum")
        self._trouble = _gauge(
            registry,
            "fraud_shadow_trouble",
            "Whether the challenger that the registry names could not be loaded or looked up.",
            "livemax",
        )
        self._version = _VersionInfo(registry, "fraud_shadow_info", "Workers that shadow by a version.")

    def refresh(self) -> None:
        self._waiting.set(self._shadow.waiting)
        self._trouble.set(self._shadow.slot.trouble is not None)
        self._rows.set(self._shadow.rows)
        self._version.set(self._shadow.slot.current)


class _ProcessGauges:
    """What `ProcessCollector` says of one process, added up over several workers."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._collector = ProcessCollector(registry=None)
        self._cpu = Counter("process_cpu_seconds", "Processor time of all workers, in seconds.", registry=registry)
        self._cpu_seen = 0.0
        self._gauges = {
            name: _gauge(registry, name, f"{what} of all workers.", "livesum")
            for name, what in {
                "process_resident_memory_bytes": "Resident memory",
                "process_open_fds": "Open files",
            }.items()
        }

    def refresh(self) -> None:
        found = {sample.name: sample.value for family in self._collector.collect() for sample in family.samples}
        cpu = found.get("process_cpu_seconds_total", 0.0)
        self._cpu.inc(max(0.0, cpu - self._cpu_seen))
        self._cpu_seen = max(cpu, self._cpu_seen)
        for name, gauge in self._gauges.items():
            gauge.set(found.get(name, 0.0))


class _VersionInfo:
    """1 for the version that a slot holds."""

    def __init__(self, registry: CollectorRegistry, name: str, what: str) -> None:
        self._info = _gauge(registry, name, what, "livesum", ("version", "digest"))
        self._shown: tuple[str, str] | None = None

    def set(self, model: LiveModel | None) -> None:
        version = None if model is None else (model.version, model.live.digest)
        if version == self._shown:
            return
        if self._shown is not None:
            self._info.labels(*self._shown).set(0)
        if version is not None:
            self._info.labels(*version).set(1)
        self._shown = version


class _Totals:
    """A counter by outcome, of totals that are counted elsewhere."""

    def __init__(self, registry: CollectorRegistry, name: str, what: str) -> None:
        self._counter = Counter(name, what, ("outcome",), registry=registry)
        self._seen: dict[str, int] = {}

    def set(self, totals: dict[str, int]) -> None:
        for outcome, count in dict(totals).items():
            self._counter.labels(outcome).inc(count - self._seen.get(outcome, 0))
            self._seen[outcome] = count


_Mode = Literal["livesum", "livemin", "livemax"]


def _gauge(registry: CollectorRegistry, name: str, what: str, mode: _Mode, labels: tuple[str, ...] = ()) -> Gauge:
    return Gauge(name, what, labels, registry=registry, multiprocess_mode=mode)
