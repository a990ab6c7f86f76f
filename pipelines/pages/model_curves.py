"""One or two models on the same rows: precision and recall, cost, calibration, scores."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from ml_project.calibration import reliability
from ml_project.dataset import Dataset
from ml_project.metrics import average_precision, ranking_curve
from ml_project.scorer import Scores
from pipelines.pages.charts import Axis, Line, chart

_LOWEST = 1e-5
_COLOURS = ("first", "second")


@dataclass(frozen=True)
class Picture:
    """A picture with its words."""

    title: str
    svg: Markup
    caption: str


@dataclass(frozen=True)
class Side:
    """One model on the rows that are drawn."""

    name: str
    scores: Scores
    alert: float


def curves(rows: Dataset, sides: Iterable[Side], review_cost: float) -> list[Picture]:
    """Precision and recall, cost, calibration and score histograms of one or two models on the same rows."""
    sides = list(sides)
    return [_precision_recall(rows, sides), _cost(rows, sides, review_cost), _calibration(rows, sides)] + [
        _histogram(rows, side) for side in sides
    ]


def _precision_recall(rows: Dataset, sides: list[Side]) -> Picture:
    lines = []
    for side, colour in zip(sides, _COLOURS, strict=False):
        curve = ranking_curve(side.scores.hybrid, rows.label, rows.weight, rows.amount)
        name = f"{side.name}: {average_precision(curve):.3f}"
        lines.append(Line(name, curve.recall, curve.precision, colour, step=True))
        point = curve.at(side.alert)
        if point >= 0:
            lines.append(Line("", curve.recall[[point]], curve.precision[[point]], colour, style="", marker="o"))
    title = "Precision and recall"
    svg = chart(title, Axis("recall", limits=(0, 1.02)), Axis("precision", limits=(0, 1.03)), lines)
    return Picture(title, svg, "With average precision; the dot is the alert threshold in use.")


def _cost(rows: Dataset, sides: list[Side], review_cost: float) -> Picture:
    lines = []
    for side, colour in zip(sides, _COLOURS, strict=False):
        curve = ranking_curve(side.scores.hybrid, rows.label, rows.weight, rows.amount)
        cost = curve.cost(review_cost) / rows.days
        alerts = curve.alerts / rows.days
        lines.append(Line(side.name, alerts, cost, colour))
        point = curve.at(side.alert)
        if point >= 0:
            lines.append(Line("", alerts[[point]], cost[[point]], colour, style="", marker="o"))
    stake = float(rows.amount[rows.label == 1] @ rows.weight[rows.label == 1]) / rows.days
    longest = max((line.x[-1] for line in lines if line.style), default=1.0)
    lines.append(Line("no alerts at all", [lines[0].x[0], longest], [stake, stake], "faint", style="--"))
    title = "Cost"
    svg = chart(title, Axis("alerts a day", log=True), Axis("cost a day", log=True), lines)
    return Picture(
        title, svg, f"Missed fraud and reviews at {review_cost:g} each; the dot is the alert threshold in use."
    )


def _calibration(rows: Dataset, sides: list[Side]) -> Picture:
    lines = [Line("perfect", [_LOWEST, 1], [_LOWEST, 1], "faint", style="--")]
    for side, colour in zip(sides, _COLOURS, strict=False):
        bins = reliability(side.scores.probability, rows.label, rows.weight)
        lines.append(Line(side.name, bins.predicted, np.maximum(bins.observed, _LOWEST), colour, marker="o"))
    title = "Calibration"
    svg = chart(title, Axis("predicted probability", log=True), Axis("observed share of fraud", log=True), lines)
    return Picture(title, svg, "In bins of equal predicted fraud, so that the rare high scores count.")


def _histogram(rows: Dataset, side: Side) -> Picture:
    edges = np.logspace(np.log10(_LOWEST), 0, 40)
    lines = [
        Line(name, edges, _shares(side.scores.hybrid, rows, label, edges), colour, step=True, fill=True)
        for label, name, colour in ((0, "legitimate", "third"), (1, "fraud", "second"))
    ]
    if side.alert <= 1:
        lines.append(Line("alert threshold", [max(side.alert, _LOWEST)] * 2, [1e-5, 1], "faint", style="--"))
    title = f"Scores, {side.name}"
    svg = chart(title, Axis("hybrid score", log=True), Axis("share of the class", log=True), lines)
    return Picture(title, svg, "Scores below 0.00001 stand in the first bar.")


def _shares(score: NDArray[np.float64], rows: Dataset, label: int, edges: NDArray[np.float64]) -> NDArray[np.float64]:
    chosen = rows.label == label
    counts, _ = np.histogram(np.clip(score[chosen], _LOWEST, 1), edges, weights=rows.weight[chosen])
    shares = counts / max(counts.sum(), 1e-9)
    return np.append(np.where(shares > 0, shares, np.nan), np.nan)
