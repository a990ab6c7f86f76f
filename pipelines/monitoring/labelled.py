"""What labels say, once they had time to come.

Labels are biased: reviewers see alerts, and customers report frauds. So only transactions older than the label delay
are measured, all of them, and one that nobody has spoken of by then counts as legitimate.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from ml_project.metrics import (
    Estimate,
    average_precision,
    calibration_error,
    estimate,
    precision_within,
    recall_within,
    threshold_metrics,
)
from pipelines.monitoring.limits import Figure, LabelledLimits
from pipelines.monitoring.reading import UNLABELLED, Decided
from pipelines.monitoring.window import Window
from pipelines.settings import PipelineSettings

_DAY = 86_400
_LEAST_FRAUDS = 2
"""Fewer say nothing, and a resample of them may hold none."""


@dataclass(frozen=True)
class Mature:
    """Rows old enough, with what they count as; satisfies `ml_project.dataset.Labelled`."""

    label: NDArray[np.int8]
    weight: NDArray[np.float64]
    amount: NDArray[np.float64]

    @property
    def measurable(self) -> bool:
        """Whether there are frauds enough, and others."""
        return _LEAST_FRAUDS <= int(self.label.sum()) < len(self.label)


def mature(rows: Decided, window: Window, now: datetime, settings: PipelineSettings) -> tuple[Decided, Mature, float]:
    """Rows older than the label delay, what they count as, and the days that they cover."""
    until = min(now - timedelta(days=settings.label_delay_days), window.until)
    old = rows.take(rows.moment < until.timestamp())
    days = max((until - window.since).total_seconds(), 60.0) / _DAY
    return old, Mature((old.label == 1).astype(np.int8), old.weight, old.raw[:, -1]), days


@dataclass(frozen=True)
class LabelledFigures:
    """What could be measured; ``estimates`` is empty where there were too few frauds for any."""

    rows: float
    frauds: int
    coverage: float
    estimates: dict[str, Estimate]
    figures: list[Figure]


def measure(
    rows: Decided,
    window: Window,
    now: datetime,
    settings: PipelineSettings,
    limits: LabelledLimits,
    twin_average_precision: float | None,
) -> LabelledFigures:
    """Figures by label, each with its 95 % interval.

    Parameters
    ----------
    now : datetime
        What the age of a transaction is counted to.
    twin_average_precision : float or None
        The evaluation twin's figure on test, which the live one is held against.
    """
    old, data, days = mature(rows, window, now, settings)
    frauds = int(data.label.sum())
    covered = float(old.weight[old.label != UNLABELLED].sum() / old.rows) if len(old) else 0.0
    shown = [
        Figure("mature_rows", "", old.rows),
        Figure("mature_frauds", "", float(frauds)),
        Figure("label_coverage", "", covered),
    ]
    if not data.measurable:
        return LabelledFigures(old.rows, frauds, covered, {}, shown)
    budget = settings.alerts_per_day * days
    wanted = {
        "average_precision": average_precision,
        "precision_at_budget": precision_within(budget),
        "recall_at_budget": recall_within(budget),
        **threshold_metrics(float(old.alert_threshold[-1]), settings.review_cost, days),
    }
    found = estimate(data, old.hybrid, wanted, settings.replicates, settings.seed)
    found["calibration_error"] = _calibration(data, old.probability, settings)
    judged = old.rows >= limits.minimum_rows and frauds >= limits.minimum_frauds
    figures = [_judged(name, each, judged, limits, twin_average_precision) for name, each in found.items()]
    return LabelledFigures(old.rows, frauds, covered, found, shown + figures)


def _judged(name: str, found: Estimate, judged: bool, limits: LabelledLimits, twin: float | None) -> Figure:
    if name == "average_precision" and twin is not None:
        low = max(twin - limits.average_precision_drop, 0.0)
        return Figure(name, "", found.value, low, None, judged, judged and found.high < low)
    if name == "calibration_error":
        high = limits.calibration_error
        return Figure(name, "", found.value, None, high, judged, judged and found.low > high)
    return Figure(name, "", found.value)


def _calibration(data: Mature, probability: NDArray[np.float64], settings: PipelineSettings) -> Estimate:
    rng = np.random.default_rng(settings.seed)
    strata = [np.flatnonzero(data.label == value) for value in (0, 1)]
    draws = []
    for _ in range(settings.replicates):
        drawn = np.concatenate([rows[rng.integers(0, len(rows), len(rows))] for rows in strata])
        resampled = Mature(data.label[drawn], data.weight[drawn], data.amount[drawn])
        draws.append(calibration_error(resampled, probability[drawn]))
    low, high = np.quantile(draws, [0.025, 0.975])
    return Estimate(calibration_error(data, probability), float(low), float(high))
