"""Prequential validation: learn from what was known at the time, score the next block, move on.

One split says how a model did once; this says how such a model would have done all along, late labels included.
Source: Le Borgne et al., "Reproducible Machine Learning for Credit Card Fraud Detection: Practical Handbook" (2022),
chapter 5; Gama et al., "On evaluating stream learning algorithms", Machine Learning 90 (2013).
"""

from dataclasses import dataclass

from ml_project.dataset import Dataset
from ml_project.engine import LocalEngine
from ml_project.ensemble import EnsembleSettings
from ml_project.fitting import score_forward
from ml_project.metrics import Estimate, average_precision, cost_within, estimate, precision_within, recall_within
from ml_project.operators import SECONDS_PER_DAY
from ml_project.split import Fold, forward_folds, with_label_delay


@dataclass(frozen=True)
class Budget:
    """What reviewing may take: alerts a day, at a price each."""

    alerts_per_day: float
    review_cost: float | None
    """None where nothing is to be said of costs."""


def blocks(data: Dataset, count: int, start: float, label_delay: float) -> list[Fold[Dataset]]:
    """Blocks of equal weight after the first ``start`` of it, each with the past whose labels had come in.

    Parameters
    ----------
    label_delay : float
        Days between a transaction and its label.

    Raises
    ------
    InvalidInput
        When a block, or what could be learnt from before it, has too few frauds.
    """
    return [with_label_delay(fold, label_delay * SECONDS_PER_DAY) for fold in forward_folds(data, count, start)]


def measure_block(
    fold: Fold[Dataset], settings: EnsembleSettings, engine: LocalEngine, budget: Budget, replicates: int
) -> dict[str, Estimate]:
    """Figures of a block whose highest scores are reviewed within the budget, by an ensemble fitted on its past."""
    scored = score_forward(fold, settings, engine)
    alerts = budget.alerts_per_day * scored.days
    figures = {
        "average_precision": average_precision,
        "precision_at_budget": precision_within(alerts),
        "recall_at_budget": recall_within(alerts),
    }
    if budget.review_cost is not None:
        figures["cost_per_day"] = cost_within(alerts, budget.review_cost, scored.days)
    return estimate(scored, scored.hybrid, figures, replicates, engine.seed)
