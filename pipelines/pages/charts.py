"""Line charts: inline SVG that takes its colours from the page, and PNG files for MLflow's page of a run.

What describes one or two models on the same rows is drawn here alone: precision and recall, cost, calibration, scores.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any, Final

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from ml_project.calibration import reliability
from ml_project.dataset import Dataset
from ml_project.metrics import average_precision, ranking_curve
from ml_project.policies import NEVER
from ml_project.unseen_scores import ScoredRows

_PLACEHOLDERS: Final = {
    "ink": "#010203",
    "faint": "#010204",
    "first": "#010205",
    "second": "#010206",
    "third": "#010207",
    "fourth": "#010208",
}
"""Colours that no drawing uses: matplotlib writes them, and the page's variables of these names replace them."""

_LIGHT: Final = {
    "ink": "#1d2733",
    "faint": "#b6c0cb",
    "first": "#1f6fb2",
    "second": "#c2410c",
    "third": "#2e7d4f",
    "fourth": "#8b5cb8",
}
"""The light page's colours, for files that no page surrounds."""

_LOWEST: Final = 1e-5
_SIDE_COLOURS: Final = ("first", "second")
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


@dataclass(frozen=True)
class Chart:
    """What is drawn, and a sentence below it."""

    title: str
    x: Axis
    y: Axis
    lines: Sequence[Line]
    caption: str = ""


@dataclass(frozen=True)
class Picture:
    """A picture with its words."""

    title: str
    svg: Markup
    caption: str


@dataclass(frozen=True)
class Curve:
    """One model's curve; ``marks`` are points of it by their markers, below 0 where there is none."""

    name: str
    x: Sequence[float] | NDArray[np.float64]
    y: Sequence[float] | NDArray[np.float64]
    marks: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Side:
    """One model on the rows that are drawn: its scores (n,) and the thresholds that are marked."""

    name: str
    hybrid: NDArray[np.float64]
    probability: NDArray[np.float64]
    alert: float
    decline: float = NEVER


Rows = Dataset | ScoredRows


def chart(title: str, x: Axis, y: Axis, lines: Sequence[Line]) -> Markup:
    """An ``<svg>`` element for a page."""
    file = StringIO()
    with _figure([Chart(title, x, y, lines)], _PLACEHOLDERS) as figure:
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return _inline(file.getvalue(), title)


def picture(drawn: Chart) -> Picture:
    """A chart for a page, with its words."""
    return Picture(drawn.title, chart(drawn.title, drawn.x, drawn.y, drawn.lines), drawn.caption)


def save_png(path: Path, charts: Sequence[Chart], heading: str = "") -> None:
    """Write charts side by side into one PNG file, for MLflow's page of a run."""
    with _figure(charts, _LIGHT) as figure:
        if heading:
            figure.suptitle(heading, y=1.12)
        for axes, drawn in zip(figure.axes, charts, strict=True):
            axes.set_title(drawn.title, fontsize=10)
        figure.savefig(path, dpi=160, bbox_inches="tight")


def curves(rows: Rows, sides: Iterable[Side], review_cost: float | None) -> list[Picture]:
    """The pictures of `model_charts`."""
    return [picture(drawn) for drawn in model_charts(rows, sides, review_cost)]


def model_charts(rows: Rows, sides: Iterable[Side], review_cost: float | None) -> list[Chart]:
    """Precision and recall, cost, calibration and score histograms of one or two models on the same rows."""
    sides = list(sides)
    return [
        *threshold_charts(rows, sides, review_cost),
        calibration([_reliability(rows, side) for side in sides]),
        *(_histogram(rows, side) for side in sides),
    ]


def threshold_charts(rows: Rows, sides: Sequence[Side], review_cost: float | None) -> list[Chart]:
    """What every threshold would do: precision and recall, and cost where a review's is known."""
    ranked, costs = [], []
    for side in sides:
        curve = ranking_curve(side.hybrid, rows.label, rows.weight, rows.amount)
        marks = {"o": curve.at(side.alert), "s": curve.at(side.decline)}
        name = f"{side.name}: {average_precision(curve):.3f}"
        ranked.append(Curve(name, curve.recall, curve.precision, marks))
        if review_cost is not None:
            costs.append(Curve(side.name, curve.alerts / rows.days, curve.cost(review_cost) / rows.days, marks))
    stake = float(rows.amount[rows.label == 1] @ rows.weight[rows.label == 1]) / rows.days
    dot = "the dot is the alert threshold in use."
    drawn = [precision_recall(ranked, f"With average precision; {dot}")]
    if review_cost is None:
        return drawn
    return [
        *drawn,
        cost(costs, f"Missed fraud and reviews at {review_cost:g} each; {dot}", stake=stake),
    ]


def precision_recall(models: Sequence[Curve], caption: str) -> Chart:
    """Precision against recall."""
    lines = [line for model, colour in _coloured(models) for line in _marked(model, colour, step=True)]
    x, y = Axis("recall", limits=(0, 1.02)), Axis("precision", limits=(0, 1.03))
    return Chart("Precision and recall", x, y, lines, caption)


def cost(models: Sequence[Curve], caption: str, title: str = "Cost", stake: float | None = None) -> Chart:
    """Cost a day against alerts a day; ``stake`` is the cost a day without any alert."""
    lines = [line for model, colour in _coloured(models) for line in _marked(model, colour)]
    if stake is not None:
        longest = max(model.x[-1] for model in models)
        lines.append(Line("no alerts at all", [models[0].x[0], longest], [stake, stake], "faint", style="--"))
    return Chart(title, Axis("alerts a day", log=True), Axis("cost a day", log=True), lines, caption)


def calibration(
    models: Sequence[Curve], caption: str = "In bins of equal predicted fraud, so that the rare high scores count."
) -> Chart:
    """Observed share of fraud against predicted probability."""
    lines = [Line("perfect", [_LOWEST, 1], [_LOWEST, 1], "faint", style="--")]
    for model, colour in _coloured(models):
        lines.append(Line(model.name, model.x, np.maximum(model.y, _LOWEST), colour, marker="o"))
    x, y = Axis("predicted probability", log=True), Axis("observed share of fraud", log=True)
    return Chart("Calibration", x, y, lines, caption)


def _reliability(rows: Rows, side: Side) -> Curve:
    bins = reliability(side.probability, rows.label, rows.weight)
    return Curve(side.name, bins.predicted, bins.observed)


def _histogram(rows: Rows, side: Side) -> Chart:
    edges = np.logspace(np.log10(_LOWEST), 0, 40)
    lines = [
        Line(name, edges, _shares(side.hybrid, rows, label, edges), colour, step=True, fill=True)
        for label, name, colour in ((0, "legitimate", "third"), (1, "fraud", "second"))
    ]
    if side.alert <= 1:
        lines.append(Line("alert threshold", [max(side.alert, _LOWEST)] * 2, [1e-5, 1], "faint", style="--"))
    x, y = Axis("hybrid score", log=True), Axis("share of the class", log=True)
    return Chart(f"Scores, {side.name}", x, y, lines, "Scores below 0.00001 are in the first bar.")


def _shares(score: NDArray[np.float64], rows: Rows, label: int, edges: NDArray[np.float64]) -> NDArray[np.float64]:
    chosen = rows.label == label
    counts, _ = np.histogram(np.clip(score[chosen], _LOWEST, 1), edges, weights=rows.weight[chosen])
    shares = counts / max(counts.sum(), 1e-9)
    return np.append(np.where(shares > 0, shares, np.nan), np.nan)


def _coloured(models: Sequence[Curve]) -> Iterator[tuple[Curve, str]]:
    return zip(models, _SIDE_COLOURS, strict=False)


def _marked(curve: Curve, colour: str, step: bool = False) -> list[Line]:
    x, y = np.asarray(curve.x), np.asarray(curve.y)
    lines = [Line(curve.name, x, y, colour, step=step)]
    for marker, point in curve.marks.items():
        if point >= 0:
            lines.append(Line("", x[[point]], y[[point]], colour, style="", marker=marker))
    return lines


@contextmanager
def _figure(charts: Sequence[Chart], colours: Mapping[str, str]) -> Iterator[Any]:
    """A figure with the charts side by side; matplotlib's object interface keeps no state of it."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    ink = colours["ink"]
    style: dict[Any, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": charts[0].title,
        "font.size": 9,
        "font.family": "sans-serif",
        "axes.edgecolor": ink,
        "axes.labelcolor": ink,
        "text.color": ink,
        "xtick.color": ink,
        "ytick.color": ink,
    }
    with mpl.rc_context(style):
        figure = Figure(figsize=(_SIZE[0] * len(charts), _SIZE[1]))
        FigureCanvasAgg(figure)
        subplots = np.atleast_1d(figure.subplots(1, len(charts)))
        # set by hand: matplotlib's own layout draws everything twice
        left = 0.34 if charts[0].y.ticks else 0.17
        figure.subplots_adjust(left=left / len(charts), bottom=0.15, right=1 - 0.05 / len(charts), top=0.97, wspace=0.3)
        for axes, drawn in zip(subplots, charts, strict=True):
            axes.spines[["top", "right"]].set_visible(False)
            axes.grid(color=colours["faint"], alpha=0.35, linewidth=0.6)
            for line in drawn.lines:
                _draw(axes, line, colours[line.colour])
            _set_axis(axes, "x", drawn.x)
            _set_axis(axes, "y", drawn.y)
            if any(line.name for line in drawn.lines):
                axes.legend(frameon=False, fontsize=8)
        yield figure


def _draw(axes: Any, line: Line, colour: str) -> None:
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
    for name, colour in _PLACEHOLDERS.items():
        svg = svg.replace(colour, f"var(--{name})")
    box = re.search(r'viewBox="([^"]+)"', svg)
    body = svg[svg.index(">", svg.index("<svg")) + 1 :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    # the page's own letters
    body = re.sub(r"(font: [^;\"]*?px) [^;\"]+", r"\1 inherit", body)
    view = box.group(1) if box else "0 0 331 238"
    return Markup('<svg viewBox="{}" role="img" aria-label="{}">').format(view, title) + Markup(body)  # noqa: S704
