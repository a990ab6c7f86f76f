"""Figures of one model on test, at the threshold that the policy in use chooses on validation."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ml_project.metrics import Estimate, Labelled, estimate, ranking_curve, ranking_metrics, threshold_metrics
from ml_project.policies import Thresholds, choose_thresholds
from pipelines.settings import PipelineSettings


class Period(Labelled, Protocol):
    """Labelled rows over a known span of time."""

    @property
    def days(self) -> float:
        """Days that the rows cover."""


@dataclass(frozen=True)
class Measured:
    """A model's thresholds, its figures with intervals, and the scores behind them."""

    thresholds: Thresholds
    metrics: dict[str, Estimate]
    test_score: NDArray[np.float64]


def measure(
    settings: PipelineSettings,
    validation: Period,
    test: Period,
    validation_score: NDArray[np.float64],
    test_score: NDArray[np.float64],
    policy: str | None = None,
) -> Measured:
    """Threshold on validation, figures on test (metric names start with ``test_``)."""
    curve = ranking_curve(validation_score, validation.label, validation.weight, validation.amount)
    thresholds = choose_thresholds(policy or settings.policy, curve, settings.policy_settings, validation.days)
    wanted = ranking_metrics() | threshold_metrics(thresholds.alert, settings.review_cost, test.days)
    figures = estimate(test, test_score, wanted, settings.replicates, settings.seed)
    return Measured(thresholds, {f"test_{name}": value for name, value in figures.items()}, test_score)
