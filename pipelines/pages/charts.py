"""Line charts as inline SVG that take their colours from the page, so that they follow light and dark."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO
from typing import Any, Final

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

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
