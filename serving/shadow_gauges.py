"""What Prometheus is told of the challenger; see `serving.live_gauges` for how gauges of several workers add up."""

import threading

from prometheus_client import CollectorRegistry, Counter, Gauge

from serving.shadow import Shadow


class ShadowGauges:
    """Figures of one process's shadow."""

    def __init__(self, registry: CollectorRegistry, shadow: Shadow) -> None:
        self._shadow = shadow
        self._lock = threading.Lock()
        self._seen: dict[str, int] = {}
        self._version: tuple[str, str] | None = None
        self._rows = Counter(
            "fraud_shadow_rows",
            "Rows drawn for the challenger, by what became of them.",
            ("outcome",),
            registry=registry,
        )
        self._waiting = Gauge(
            "fraud_shadow_waiting",
            "Rows that wait for the challenger.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._trouble = Gauge(
            "fraud_shadow_trouble",
            "Whether the challenger that the registry names could not be loaded or asked for.",
            registry=registry,
            multiprocess_mode="livemax",
        )
        self._info = Gauge(
            "fraud_shadow_info",
            "Workers that shadow by a version.",
            ("version", "digest"),
            registry=registry,
            multiprocess_mode="livesum",
        )

    def refresh(self) -> None:
        """Say how things are now; may be called from any thread."""
        with self._lock:
            self._refresh()

    def _refresh(self) -> None:
        watcher = self._shadow.watcher
        self._waiting.set(self._shadow.waiting)
        self._trouble.set(watcher.trouble is not None)
        for outcome, count in dict(self._shadow.rows).items():
            self._rows.labels(outcome).inc(count - self._seen.get(outcome, 0))
            self._seen[outcome] = count
        challenger = watcher.current
        version = None if challenger is None else (challenger.version, challenger.live.digest)
        if version != self._version:
            if self._version is not None:
                self._info.labels(*self._version).set(0)
            if version is not None:
                self._info.labels(*version).set(1)
            self._version = version
