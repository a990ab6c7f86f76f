"""A model card as data: what a version is, how good it is, and what another threshold would do.

The gateway reads cards too, and has no pandas: the modules that make them are imported for their types only.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from pydantic import BaseModel, ConfigDict

from ml_project.drift import DecisionLimits, DriftLimits
from ml_project.policies import NEVER

if TYPE_CHECKING:
    from ml_project.metrics import Estimate, RankingCurve

CARD_VERSION = 1
POINTS = 200
"""Most points of a curve in a card: finer than a screen shows."""

FIGURES: Final[dict[str, str]] = {
    "average_precision": "average precision",
    "roc_auc": "ROC-AUC",
    "recall_at_fpr_0.01": "recall at 1 % false positives",
    "precision": "precision at the alert threshold",
    "recall": "recall at the alert threshold",
    "alerts_per_day": "alerts a day",
    "cost_per_day": "cost a day",
}
"""What the figures on test are called, by their metric, in the order in which they are shown."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Figure(_Frozen):
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, estimate: "Estimate") -> "Figure":
        """The same as data."""
        return cls(value=estimate.value, low=estimate.low, high=estimate.high)

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


class ThresholdCurve(_Frozen):
    """What alert thresholds would do, from the highest down; every tuple has an entry per threshold."""

    threshold: tuple[float, ...]
    recall: tuple[float, ...]
    precision: tuple[float, ...]
    false_positive_rate: tuple[float, ...]
    alerts_per_day: tuple[float, ...]
    cost_per_day: tuple[float, ...] = ()
    """Empty where the contract has no amount."""

    @classmethod
    def of(
        cls,
        curve: "RankingCurve",
        review_cost: float | None,
        days: float,
        marked: Sequence[float] = (),
        points: int = POINTS,
    ) -> "ThresholdCurve":
        """A curve thinned to ``points``: dense where frauds are and at the top, with ``marked`` thresholds in it."""
        kept = _thinned(curve, marked, points)
        columns = {
            "threshold": curve.score,
            "recall": curve.recall,
            "precision": curve.precision,
            "false_positive_rate": curve.false_positive_rate,
            "alerts_per_day": curve.alerts / days,
        }
        if review_cost is not None:
            columns["cost_per_day"] = curve.cost(review_cost) / days
        return cls(**{name: tuple(float(f"{v:.6g}") for v in values[kept]) for name, values in columns.items()})

    def at(self, threshold: float) -> int:
        """The last entry at or above a threshold, or -1 where nothing would raise an alert."""
        return sum(value >= threshold for value in self.threshold) - 1


def _thinned(curve: "RankingCurve", marked: Sequence[float], points: int) -> list[int]:
    last = len(curve.score) - 1
    wanted = [curve.at(threshold) for threshold in marked if threshold < NEVER]
    must = {0, last, *(point for point in wanted if point >= 0)}
    room = max(points - len(must), 2)
    by_fraud = np.searchsorted(curve.caught, np.linspace(0, curve.frauds, room // 2)).clip(max=last)
    by_rank = np.geomspace(1, last + 1, room // 2).astype(int) - 1
    return sorted(must | set(by_fraud.tolist()) | set(by_rank.tolist()))


class Calibration(_Frozen):
    """Predicted against observed fraud per bin."""

    predicted: tuple[float, ...]
    observed: tuple[float, ...]
    rows: tuple[float, ...]


class Sample(_Frozen):
    """A transaction as a client would send it, with the scores that this version gives it."""

    fraud: bool
    transaction: dict[str, Any]
    scores: dict[str, float]


class Part(_Frozen):
    """A part of the split by time."""

    rows: int
    frauds: int
    days: float


class Data(_Frozen):
    """What the version learnt from."""

    source: str
    name: str
    digest: str
    rows: int
    frauds: int
    first_moment: float | None
    last_moment: float | None
    splits: dict[str, Part]


class Policy(_Frozen):
    """A threshold policy: what ships, and how the twin did with its own thresholds by the same policy."""

    alert: float
    decline: float
    test: dict[str, Figure]


class Ablation(_Frozen):
    """Another model on the same split; ``difference`` is this version's average precision minus the other's, paired."""

    average_precision: Figure
    difference: Figure


class GateCheck(_Frozen):
    """A row of the gate's report; ``passed`` is None where there was nothing to judge by."""

    name: str
    theme: str
    value: str
    limit: str
    passed: bool | None
    meaning: str = ""


class Card(_Frozen):
    """A version in figures.

    Attributes
    ----------
    figures : dict of str to Figure
        The evaluation twin on test, at the thresholds of the policy in use.
    test_curve : ThresholdCurve
        The twin on test: precision-recall and cost curves.
    what_if : ThresholdCurve
        Forward scores, of rows that the scoring model had not seen: what the shipped thresholds were read off, and what
        a slider for another threshold should use.
    alerts_per_day, review_cost : float
        The alert budget, and what a review costs.
    drift_limits : DriftLimits or None
        What `monitor` held drift against at the promotion; None in cards from before they had any.
    decision_limits : DecisionLimits or None
        The same for the shares of alerts and declines.
    checks : tuple of GateCheck
        What the gate looked at; empty in cards from before they had any.
    """

    card_version: int
    model_name: str
    version: int
    purpose: str
    limits: tuple[str, ...]
    data: Data
    figures: dict[str, Figure]
    policy: str
    policies: dict[str, Policy]
    alerts_per_day: float
    review_cost: float | None
    ablations: dict[str, Ablation]
    test_curve: ThresholdCurve
    what_if: ThresholdCurve
    calibration: Calibration
    samples: tuple[Sample, ...]
    settings: dict[str, str]
    lineage: dict[str, str]
    gate: str
    drift_limits: DriftLimits | None = None
    decision_limits: DecisionLimits | None = None
    checks: tuple[GateCheck, ...] = ()
