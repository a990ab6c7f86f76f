"""Pictures of a candidate, as MLflow artifacts: thresholds, score histograms, cost and calibration curves."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml_project.calibration import reliability
from ml_project.metrics import RankingCurve, average_precision
from ml_project.policies import NEVER, Thresholds
from ml_project.unseen_scores import ScoredRows
from pipelines.settings import PipelineSettings

LEGITIMATE, FRAUD, LINE, MARK = "#4c78a8", "#d1495b", "#2f3e46", "#edae49"
_MIN_SCORE = 1e-6


@contextmanager
def _figure(path: Path, columns: int = 1) -> Iterator[Any]:
    """Axes of a new figure, saved at the end; the object interface leaves no state behind in matplotlib."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4 * columns, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, columns)
    for axis in np.atleast_1d(axes):
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(alpha=0.25)
    yield axes
    figure.savefig(path, dpi=110)


def _mark(axis: Any, thresholds: Thresholds) -> None:
    for name, value, style in (("alert", thresholds.alert, "-"), ("decline", thresholds.decline, "--")):
        if value < NEVER:
            axis.axvline(max(value, _MIN_SCORE), color=MARK, linestyle=style, label=f"{name} threshold {value:.4f}")


def _draw_precision_recall(axis: Any, curve: RankingCurve, thresholds: Thresholds) -> None:
    axis.step(curve.recall, curve.precision, where="post", color=LINE)
    for name, value, marker in (("alert", thresholds.alert, "o"), ("decline", thresholds.decline, "s")):
        point = curve.at(value)
        if point >= 0:
            axis.plot(curve.recall[point], curve.precision[point], marker, color=MARK, markersize=9, label=name)
            axis.legend(loc="lower left", frameon=False)
    axis.set(xlabel="recall", ylabel="precision", xlim=(0, 1.01), ylim=(0, 1.02))
    axis.set_title(f"Average precision {average_precision(curve):.3f}")


def _draw_cost(axis: Any, curve: RankingCurve, thresholds: Thresholds, review_cost: float, days: float) -> None:
    axis.plot(np.maximum(curve.score, _MIN_SCORE), curve.cost(review_cost) / days, color=LINE)
    axis.axhline(curve.fraud_amount / days, color=FRAUD, linestyle=":", label="no alerts at all")
    _mark(axis, thresholds)
    axis.set(xscale="log", yscale="log", xlabel="alert threshold on the hybrid score", ylabel="cost per day")
    axis.set_title(f"Missed amounts and reviews at {review_cost:g} each")
    axis.legend(frameon=False)


def precision_recall(path: Path, rows: ScoredRows, thresholds: Thresholds) -> None:
    """Precision against recall, with the thresholds marked."""
    with _figure(path) as axis:
        _draw_precision_recall(axis, rows.curve, thresholds)


def cost(path: Path, curve: RankingCurve, thresholds: Thresholds, settings: PipelineSettings, days: float) -> None:
    """Cost per day against the alert threshold."""
    with _figure(path) as axis:
        _draw_cost(axis, curve, thresholds, settings.review_cost, days)


def policy(
    path: Path, name: str, curve: RankingCurve, thresholds: Thresholds, settings: PipelineSettings, days: float
) -> None:
    """What a policy chose on validation: its point on the precision-recall curve and on the cost curve."""
    with _figure(path, columns=2) as (left, right):
        _draw_precision_recall(left, curve, thresholds)
        _draw_cost(right, curve, thresholds, settings.review_cost, days)
        left.figure.suptitle(f"Policy {name}, on validation")


def score_histogram(path: Path, rows: ScoredRows, thresholds: Thresholds) -> None:
    """Shares of each class per score, both axes logarithmic."""
    with _figure(path) as axis:
        bins = np.logspace(np.log10(_MIN_SCORE), 0, 60)
        for label, color, name in ((0, LEGITIMATE, "legitimate"), (1, FRAUD, "fraud")):
            chosen = rows.label == label
            weight = rows.weight[chosen] / rows.weight[chosen].sum()
            scores = np.clip(rows.hybrid[chosen], _MIN_SCORE, 1)
            axis.hist(scores, bins=bins, weights=weight, alpha=0.65, color=color, label=name)
        _mark(axis, thresholds)
        axis.set(xscale="log", yscale="log", xlabel="hybrid score", ylabel="share of the class")
        axis.set_title("Hybrid scores on test")
        axis.legend(frameon=False)


def calibration(path: Path, rows: ScoredRows, probability: NDArray[np.float64]) -> None:
    """Observed against predicted fraud, in bins of equal predicted mass."""
    bins = reliability(probability, rows.label, rows.weight)
    with _figure(path) as axis:
        axis.plot([1e-4, 1], [1e-4, 1], color="grey", linestyle=":", label="perfect")
        axis.plot(bins.predicted, np.maximum(bins.observed, 1e-4), "o-", color=LINE, label="test")
        axis.set(xscale="log", yscale="log", xlabel="predicted fraud probability", ylabel="observed share of fraud")
        axis.set_title("Calibration on test, bins of equal predicted fraud")
        axis.legend(frameon=False)
