"""Line charts as inline SVG that take their colours from the page, so that they follow light and dark.

`curves` draws what describes one or two models on the same rows: precision and recall, cost, calibration, scores.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import Any, Final

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from ml_project.calibration import reliability
from ml_project.curve import ranking_curve
from ml_project.dataset import Dataset
from ml_project.metrics import average_precision
from ml_project.scorer import Scores

_COLOURS: Final = {
    "ink": "#010203",
    "faint": "#010204",
    "first": "#010205",
    "second": "#010206",
    "third": "#010207",
    "fourth": "#010208",
}
"""Colours that no drawing uses, put in by matplotlib's hands and replaced by the page's variables of these names."""

_SIZE: Final = (4.6, 3.3)
"""Inches: near a phone's width at 72 points an inch, so that letters stay letters there."""


@dataclass(frozen=True)
class Line:
    """A series of points.

    Attributes
    ----------
    colour : str
        ``first``, ``second``, ``third``, ``fourth`` or ``faint``.
    style : str
        Matplotlib's line style; empty for markers alone.
    step : bool
        Drawn as stairs, as empirical curves are.
    fill : bool
        Shaded down to the axis.
    """

    name: str
    x: Sequence[float] | NDArray[np.float64]
    y: Sequence[float] | NDArray[np.float64]
    colour: str = "first"
    style: str = "-"
    marker: str = ""
    step: bool = False
    fill: bool = False


@dataclass(frozen=True)
class Axis:
    """A direction of the chart; ``ticks`` names the places 0, 1, 2 and so on."""

    name: str
    log: bool = False
    limits: tuple[float, float] | None = None
    ticks: tuple[str, ...] = ()


def chart(title: str, x: Axis, y: Axis, lines: Sequence[Line]) -> Markup:
    """An ``<svg>`` element."""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    ink = _COLOURS["ink"]
    style: dict[Any, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": title,
        "font.size": 9,
        "font.family": "sans-serif",
        "axes.edgecolor": ink,
        "axes.labelcolor": ink,
        "text.color": ink,
        "xtick.color": ink,
        "ytick.color": ink,
    }
    with mpl.rc_context(style):
        figure = Figure(figsize=_SIZE)
        FigureCanvasSVG(figure)
        axes = figure.subplots()
        # set by hand: matplotlib's own layout draws everything twice
        figure.subplots_adjust(left=0.34 if y.ticks else 0.17, bottom=0.15, right=0.95, top=0.97)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color=_COLOURS["faint"], alpha=0.35, linewidth=0.6)
        for line in lines:
            _draw(axes, line)
        _set_axis(axes, "x", x)
        _set_axis(axes, "y", y)
        if any(line.name for line in lines):
            axes.legend(frameon=False, fontsize=8)
        file = StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return _inline(file.getvalue(), title)


def _draw(axes: Any, line: Line) -> None:
    colour = _COLOURS[line.colour]
    where = {"drawstyle": "steps-post"} if line.step else {}
    axes.plot(
        line.x, line.y, color=colour, linestyle=line.style or "none", marker=line.marker, label=line.name or None,
        linewidth=1.6, markersize=6, **where,
    )  # fmt: skip
    if line.fill:
        axes.fill_between(line.x, line.y, step="post" if line.step else None, color=colour, alpha=0.15, linewidth=0)


def _set_axis(axes: Any, name: str, axis: Axis) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    direction = getattr(axes, f"{name}axis")
    axes.set(**{f"{name}label": axis.name})
    if axis.log:
        axes.set(**{f"{name}scale": "log"})
        low, high = direction.get_view_interval()
        direction.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 100 * low else (1,), numticks=7))
        direction.set_minor_locator(NullLocator())
        # plain numbers: powers cost matplotlib's formula parser, and the reader too
        direction.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}"))
    if axis.limits:
        axes.set(**{f"{name}lim": axis.limits})
    if axis.ticks:
        direction.set_ticks(range(len(axis.ticks)), axis.ticks)


def _inline(svg: str, title: str) -> Markup:
    for name, colour in _COLOURS.items():
        svg = svg.replace(colour, f"var(--{name})")
    box = re.search(r'viewBox="([^"]+)"', svg)
    body = svg[svg.index(">", svg.index("<svg")) + 1 :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    # the page's own letters
    body = re.sub(r"(font: [^;\"]*?px) [^;\"]+", r"\1 inherit", body)
    view = box.group(1) if box else "0 0 331 238"
    return Markup('<svg viewBox="{}" role="img" aria-label="{}">').format(view, title) + Markup(body)  # noqa: S704


_LOWEST = 1e-5
_SIDE_COLOURS = ("first", "second")


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
    for side, colour in zip(sides, _SIDE_COLOURS, strict=False):
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
    for side, colour in zip(sides, _SIDE_COLOURS, strict=False):
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
    for side, colour in zip(sides, _SIDE_COLOURS, strict=False):
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
