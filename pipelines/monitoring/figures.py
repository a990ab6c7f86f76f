"""The watched figures of a version's decisions in a window, and the limits that they are held against.

Labels are biased: reviewers see alerts, and customers report frauds. So quality is measured on all transactions older
than the label delay, and on those only; one without a label by then counts as legitimate.
"""

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
import yaml
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ml_project.baseline import watched_names
from ml_project.bundle import Manifest
from ml_project.drift import DecisionLimits, Drift, DriftLimits, Shift, compare, limit_of
from ml_project.errors import InvalidInput
from ml_project.metrics import (
    Estimate,
    average_precision,
    calibration_error,
    estimate,
    precision_within,
    recall_within,
    threshold_metrics,
)
from ml_project.quantities import figure_text, span_of
from ml_project.statistics import weighted_quantile
from pipelines.monitoring.kept_decisions import UNLABELLED, KeptDecisions
from pipelines.monitoring.window import Window
from pipelines.settings import LIMITS_FILE, PipelineSettings

_DAY = 86_400
_LEAST_FRAUDS = 2
"""With fewer, a resample may hold none."""


WORDS: Final = {
    "psi": "PSI",
    "ks": "KS",
    "missing": "missing values",
    "other": "unknown categories",
    "out_of_range": "values outside the training range",
    "alert_share": "alerts",
    "decline_share": "declines",
    "rows": "decisions",
    "rows_per_day": "decisions a day",
    "latency_p50_ms": "response time, median",
    "latency_p99_ms": "response time, p99",
    "chunk_latency_p50_ms": "time for a chunk of a batch, median",
    "chunk_latency_p99_ms": "time for a chunk of a batch, p99",
    "mature_rows": "decisions older than the label delay",
    "mature_frauds": "frauds among them",
    "label_coverage": "labelled among them",
    "average_precision": "average precision",
    "precision_at_budget": "precision at the alert budget",
    "recall_at_budget": "recall at the alert budget",
    "cost_at_budget_per_day": "cost a day at the alert budget",
    "precision": "precision at the alert threshold",
    "recall": "recall at the alert threshold",
    "cost_per_day": "cost a day",
    "alerts_per_day": "alerts a day",
    "calibration_error": "calibration error",
    "agreement": "decided alike",
    "skew_decisions": "decisions recomputed",
    "skew": "decisions with a differing history feature",
    "skew_late_label": "the same, after a late label",
    "skew_late_event": "the same, after a late transaction",
    "skew_store_away": "the same, while the database was unreachable",
    "skew_unexplained": "decisions with an unexplained history feature",
    "value_skew": "differing values",
}
"""What people call a figure, by its name in MLflow."""

_SIDES: Final = {
    "expected_": "expected {}",
    "challenger_": "challenger: {}",
    "champion_": "champion: {}",
    "gain_": "challenger minus champion: {}",
}


def words_of(name: str) -> str:
    """What people call a figure."""
    for side, words in _SIDES.items():
        if name.startswith(side):
            return words.format(words_of(name.removeprefix(side)))
    return WORDS.get(name, name.replace("_", " "))


@dataclass(frozen=True)
class Figure:
    """A watched figure.

    Attributes
    ----------
    name, of : str
        What is measured, and of what: ``psi`` of a feature's name.
    low, high : float or None
        Limits; None where there is none.
    judged : bool
        Whether there are enough rows to hold it against its limits.
    breached : bool
        Judged, and beyond a limit.
    """

    name: str
    of: str
    value: float
    low: float | None = None
    high: float | None = None
    judged: bool = True
    breached: bool = False

    @property
    def metric(self) -> str:
        """Its name in MLflow and for Prometheus."""
        return f"{self.name}_{self.of}" if self.of else self.name

    @property
    def words(self) -> str:
        """What people call it: PSI of the score."""
        return f"{words_of(self.name)} of {self.of}" if self.of else words_of(self.name)

    @property
    def text(self) -> str:
        """The value as people read it; amounts without their currency."""
        return figure_text(self.name, self.value)

    @property
    def limited(self) -> bool:
        """Whether it has a limit at all."""
        return self.low is not None or self.high is not None

    @property
    def nearness(self) -> float:
        """The value as a share of its upper limit; 0 without one."""
        return self.value / self.high if self.high else 0.0

    @property
    def limit(self) -> str:
        """The limits as text; empty where there are none."""
        low, high = (None if end is None else figure_text(self.name, end) for end in (self.low, self.high))
        if low is not None and high is not None:
            return span_of(low, high)
        return f"≥ {low}" if low is not None else f"≤ {high}" if high is not None else ""

    @property
    def verdict(self) -> str:
        """How it compares with its limits, as text; empty where there are none."""
        if not self.limited:
            return ""
        return "breach" if self.breached else "ok" if self.judged else "too few rows"

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def drift_figures(drift: Drift, limits: DriftLimits, comparable: bool = True) -> list[Figure]:
    """The figures of a drift; ``comparable`` is false for part of a day against a baseline without hours."""
    judged = comparable and drift.rows >= limits.minimum_rows

    def against(name: str, shift: Shift, least: float) -> Figure:
        high = limit_of(shift, least)
        return Figure(name, drift.name, shift.value, None, high, judged, judged and shift.value > high)

    found = [against("psi", drift.psi, limits.psi), against("ks", drift.ks, limits.ks)]
    for name, share, least in (("missing", drift.missing, limits.missing), ("other", drift.other, limits.other)):
        if share is not None:
            high = share.limit(least)
            found.append(Figure(name, drift.name, share.value, None, high, judged, judged and share.value > high))
    if drift.out_of_range is not None:
        found.append(against("out_of_range", drift.out_of_range, limits.out_of_range))
    return found


class _Limits(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LabelledLimits(_Limits):
    """See ``monitor.yaml``."""

    minimum_rows: int = Field(ge=1)
    minimum_frauds: int = Field(ge=1)
    average_precision_drop: float = Field(ge=0)
    calibration_error: float = Field(ge=0)


class LatencyLimits(_Limits):
    """See ``monitor.yaml``."""

    minimum_rows: int = Field(ge=1)
    p99_ms: float = Field(gt=0)


class VolumeLimits(_Limits):
    """See ``monitor.yaml``."""

    minimum_hours: float = Field(ge=0)
    rows_per_day: float = Field(ge=0)


class SkewLimits(_Limits):
    """See ``monitor.yaml``."""

    decisions: int = Field(500, ge=0)
    minimum_rows: int = Field(100, ge=1)
    share: float = Field(0.05, ge=0, le=1)
    unexplained: float = Field(0.005, ge=0, le=1)


class ExpectedLimits(_Limits):
    """See ``monitor.yaml``."""

    minimum_rows: int = Field(default=1000, ge=1)
    minimum_frauds: int = Field(default=20, ge=2)
    calibration_factor: float = Field(default=1.5, gt=1)


class MonitorLimits(_Limits):
    """The content of ``monitor.yaml``."""

    drift: DriftLimits
    decisions: DecisionLimits
    labelled: LabelledLimits
    latency: LatencyLimits
    volume: VolumeLimits
    skew: SkewLimits = Field(default_factory=lambda: SkewLimits.model_validate({}))
    expected: ExpectedLimits = ExpectedLimits()

    @classmethod
    def load(cls, path: Path = LIMITS_FILE) -> "MonitorLimits":
        """Limits from a file.

        Raises
        ------
        InvalidInput
            When it cannot be read, or is not a file of limits.
        """
        try:
            return cls.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
        except (OSError, yaml.YAMLError) as error:
            raise InvalidInput(f"{path}: cannot be read ({error}).", "See pipelines/monitor.yaml for one.") from error
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise InvalidInput(f"{path}: {where}: {first['msg']}.", "See pipelines/monitor.yaml.") from error


@dataclass(frozen=True)
class WatchedFigures:
    """A window's drifts and figures, without those by label."""

    drifts: list[Drift]
    figures: list[Figure]


def watched_figures(rows: KeptDecisions, manifest: Manifest, window: Window, limits: MonitorLimits) -> WatchedFigures:
    """Compare a version's decisions with its bundle's baseline."""
    baseline = manifest.drift_baseline
    significance = limits.drift.significance(len(watched_names(manifest.contract)))
    features = manifest.transform(rows.raw)
    drifts = compare(
        manifest.contract, baseline, manifest.statistics, rows.raw, features, rows.hybrid, rows.weight, significance
    )
    comparable = baseline.hourly or window.hours >= limits.decisions.minimum_hours
    found = [figure for drift in drifts for figure in drift_figures(drift, limits.drift, comparable)]
    found += decisions(rows, manifest, window, limits, significance)
    return WatchedFigures(drifts, found + service(rows, window, limits))


def decisions(
    rows: KeptDecisions, manifest: Manifest, window: Window, limits: MonitorLimits, significance: float
) -> list[Figure]:
    """Shares of alerts and declines, held against those of the rows on which the thresholds were chosen."""
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
        low, high = asked.between(share, baseline, rows.rows, significance)
        found.append(Figure(name, "", value, low, high, judged, judged and not low <= value <= high))
    return found


def service(rows: KeptDecisions, window: Window, limits: MonitorLimits) -> list[Figure]:
    """Volume and latency."""
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


@dataclass(frozen=True)
class LabelledRows:
    """Rows older than the label delay, with the labels they count as; an `ml_project.dataset.Labelled`."""

    label: NDArray[np.int8]
    weight: NDArray[np.float64]
    amount: NDArray[np.float64]

    @property
    def measurable(self) -> bool:
        """Whether there are enough frauds, and rows that are not."""
        return _LEAST_FRAUDS <= int(self.label.sum()) < len(self.label)


def mature_until(window: Window, now: datetime, settings: PipelineSettings) -> float:
    """The moment, in seconds since 1970, before which a window's decisions are older than the label delay."""
    return min(now - timedelta(days=settings.label_delay_days), window.until).timestamp()


def labelled_rows(
    rows: KeptDecisions, window: Window, now: datetime, settings: PipelineSettings
) -> tuple[KeptDecisions, LabelledRows, float]:
    """Rows older than the label delay, the same with the labels they count as, and the days that they cover."""
    until = mature_until(window, now, settings)
    old = rows.take(rows.moment < until)
    days = max(until - window.since.timestamp(), 60.0) / _DAY
    return old, LabelledRows((old.label == 1).astype(np.int8), old.weight, old.amount), days


@dataclass(frozen=True)
class LabelledFigures:
    """Figures by label; ``estimates`` is empty where there are too few frauds."""

    rows: float
    frauds: int
    coverage: float
    estimates: dict[str, Estimate]
    figures: list[Figure]


def measure_by_label(
    rows: KeptDecisions,
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
        The age of a transaction is counted up to this moment.
    twin_average_precision : float or None
        The evaluation twin's figure on the test part, against which the live one is held.
    """
    old, data, days = labelled_rows(rows, window, now, settings)
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
        **threshold_metrics(float(old.alert_threshold[-1]), settings.priced_review, days),
    }
    found = estimate(data, old.hybrid, wanted, settings.replicates, settings.seed)
    found["calibration_error"] = _calibration(data, old.probability, settings)
    judged = old.rows >= limits.minimum_rows and frauds >= limits.minimum_frauds
    figures = [_figure_by_label(name, each, judged, limits, twin_average_precision) for name, each in found.items()]
    return LabelledFigures(old.rows, frauds, covered, found, shown + figures)


def _figure_by_label(name: str, found: Estimate, judged: bool, limits: LabelledLimits, twin: float | None) -> Figure:
    if name == "average_precision" and twin is not None:
        low = max(twin - limits.average_precision_drop, 0.0)
        return Figure(name, "", found.value, low, None, judged, judged and found.high < low)
    if name == "calibration_error":
        high = limits.calibration_error
        return Figure(name, "", found.value, None, high, judged, judged and found.low > high)
    return Figure(name, "", found.value)


def _calibration(data: LabelledRows, probability: NDArray[np.float64], settings: PipelineSettings) -> Estimate:
    rng = np.random.default_rng(settings.seed)
    strata = [np.flatnonzero(data.label == value) for value in (0, 1)]
    draws = []
    for _ in range(settings.replicates):
        drawn = np.concatenate([rows[rng.integers(0, len(rows), len(rows))] for rows in strata])
        resampled = LabelledRows(data.label[drawn], data.weight[drawn], data.amount[drawn])
        draws.append(calibration_error(resampled, probability[drawn]))
    low, high = np.quantile(draws, [0.025, 0.975])
    return Estimate(calibration_error(data, probability), float(low), float(high))
