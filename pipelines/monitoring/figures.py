"""Every watched figure of one version's decisions in a window, held against its limits."""

from dataclasses import dataclass

import numpy as np

from ml_project.baseline import WATCHED
from ml_project.bundle import Manifest
from ml_project.drift import Drift, chance_counts, compare
from ml_project.features import compute_features
from ml_project.statistics import weighted_quantile
from pipelines.monitoring.limits import Figure, MonitorLimits, drift_figures
from pipelines.monitoring.reading import Decided
from pipelines.monitoring.window import Window


@dataclass(frozen=True)
class Watched:
    """A window's drifts and figures, those about labels apart."""

    drifts: list[Drift]
    figures: list[Figure]


def watch(rows: Decided, manifest: Manifest, window: Window, limits: MonitorLimits) -> Watched:
    """Compare a version's decisions with its bundle's baseline."""
    baseline = manifest.drift_baseline
    significance = limits.drift.significance(len(WATCHED))
    features = compute_features(rows.raw, manifest.amount)
    drifts = compare(baseline, manifest.statistics, features, rows.hybrid, rows.weight, significance)
    comparable = baseline.hourly or window.hours >= limits.decisions.minimum_hours
    found = [figure for drift in drifts for figure in drift_figures(drift, limits.drift, comparable)]
    found += decisions(rows, manifest, window, limits, significance)
    return Watched(drifts, found + service(rows, window, limits))


def decisions(
    rows: Decided, manifest: Manifest, window: Window, limits: MonitorLimits, significance: float
) -> list[Figure]:
    """Shares of alerts and of declines, against those on the rows that the thresholds were chosen on."""
    asked = limits.decisions
    judged = rows.rows >= asked.minimum_rows and window.hours >= asked.minimum_hours
    baseline = manifest.drift_baseline
    shares = baseline.decisions.get(manifest.policy)
    found = []
    for name, share, least in (
        ("alert_share", None if shares is None else shares[1] + shares[2], 1),
        ("decline_share", None if shares is None else shares[2], 2),
    ):
        value = float(rows.weight[rows.decision >= least].sum() / rows.rows) if len(rows) else 0.0
        if share is None or not len(rows):
            found.append(Figure(name, "", value))
            continue
        # One more than was seen: what was never seen may still come.
        seen, known = share * baseline.decision_rows + 1, baseline.decision_rows
        few, many = chance_counts(seen, known, rows.rows, significance)
        low, high = min(share / asked.factor, few / rows.rows), max(share * asked.factor, many / rows.rows)
        found.append(Figure(name, "", value, low, high, judged, judged and not low <= value <= high))
    return found


def service(rows: Decided, window: Window, limits: MonitorLimits) -> list[Figure]:
    """How much was decided, and how quickly."""
    per_day = rows.rows / window.hours * 24
    judged = window.hours >= limits.volume.minimum_hours
    least = limits.volume.rows_per_day
    found = [
        Figure("rows", "", rows.rows),
        Figure("rows_per_day", "", per_day, least, None, judged, judged and per_day < least),
    ]
    singles = rows.take(rows.single)
    if len(singles):
        p50, p99 = weighted_quantile(singles.latency_ms, singles.weight, [0.5, 0.99])
        enough = singles.rows >= limits.latency.minimum_rows
        high = limits.latency.p99_ms
        found.append(Figure("latency_p50_ms", "", float(p50)))
        found.append(Figure("latency_p99_ms", "", float(p99), None, high, enough, enough and float(p99) > high))
    bulk = rows.take(~rows.single)
    if len(bulk):
        p50, p99 = np.quantile(np.unique(bulk.latency_ms), [0.5, 0.99])
        found += [Figure("chunk_latency_p50_ms", "", float(p50)), Figure("chunk_latency_p99_ms", "", float(p99))]
    return found
