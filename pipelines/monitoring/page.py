"""A monitoring report as one HTML page: breaches, the drift matrix, pictures, then the window's figures."""

from typing import Final

import numpy as np

from ml_project.baseline import SCORE
from ml_project.drift import Drift
from ml_project.statistics import weighted_quantile
from pipelines.monitoring.challenger import COMPARED, Comparison
from pipelines.monitoring.evidently_page import PAGE as EVIDENTLY
from pipelines.monitoring.figures import words_of
from pipelines.monitoring.kept_decisions import KeptDecisions
from pipelines.monitoring.report import DRIFT_COLUMNS, MonitorReport
from pipelines.monitoring.skew_causes import Cause
from pipelines.pages.charts import Axis, Line, Picture, chart
from pipelines.pages.render import render

_BARS: Final = 12
_BUCKETS: Final = 24

_NEAR_THE_END: Final = 0.78
"""Share of the window from which on there is no room for a name to the right."""

_LEVELS: Final = 3
_LEVEL: Final = 0.08
"""How many heights names of versions stand at, and how far apart, as a share of the chart's height."""


def monitor_page(report: MonitorReport, rows: KeptDecisions | None, run_id: str, evidently: bool = False) -> str:
    """The page as HTML that loads nothing from elsewhere; ``evidently``: whether Evidently's stands beside it."""
    figures = [_bars(report, "psi", "PSI"), _bars(report, "ks", "KS")]
    figures += [_shares(drift) for drift in _worth_a_picture(report)]
    if report.labelled.estimates:
        figures.append(_estimates(report))
    figures += [_gains(each) for each in report.challengers if each.gains]
    if rows is not None and len(rows):
        figures += _over_time(report, rows)
    return render(
        "monitor.html",
        title=f"{report.model_name} {report.version}: {report.window.words}",
        report=report,
        run_id=run_id,
        made_at=report.made_at.strftime("%Y-%m-%d %H:%M UTC"),
        pictures=figures,
        overall=[figure for figure in report.watched.figures + report.labelled.figures if not figure.of],
        skewed=[figure for figure in report.skew.figures if not figure.of] if report.skew else [],
        causes={cause: cause.replace("_", " ") for cause in Cause},
        compared=COMPARED,
        columns=[head for head, _names in DRIFT_COLUMNS],
        words=words_of,
        currency=report.currency,
        other_page=EVIDENTLY if evidently else "",
    )


def _bars(report: MonitorReport, name: str, words: str) -> Picture:
    chosen = sorted((figure for figure in report.figures if figure.name == name), key=lambda each: each.nearness)[
        -_BARS:
    ]
    lines = []
    for place, figure in enumerate(chosen):
        lines.append(Line("", [figure.high or 0] * 2, [place - 0.35, place + 0.35], "limit"))
        colour = "bad" if figure.breached else "candidate"
        lines.append(Line("", [0, figure.value], [place, place], colour, width=7, text=figure.text))
    widest = max((max(figure.value, figure.high or 0) for figure in chosen), default=0.0)
    # room for the values at the bars' ends
    across = Axis(words, limits=(0, widest * 1.22 or 1))
    svg = chart(words, across, Axis("", ticks=tuple(figure.of for figure in chosen)), lines)
    caption = f"The {len(chosen)} features nearest to their limits (upright strokes)."
    return Picture(f"Drift: {words}", svg, caption)


def _worth_a_picture(report: MonitorReport) -> list[Drift]:
    """The score, and the feature that drifted most."""
    by_name = {drift.name: drift for drift in report.watched.drifts}
    worst = max((drift for drift in report.watched.drifts if drift.name != SCORE), key=lambda drift: drift.psi.value)
    return [by_name[SCORE], worst]


def _shares(drift: Drift) -> Picture:
    places = np.arange(len(drift.expected) + 1, dtype=np.float64)
    lines = [
        Line(name, places, [*shares, shares[-1]], colour, step=True, fill=True)
        for name, shares, colour in (("baseline", drift.expected, "baseline"), ("window", drift.observed, "candidate"))
    ]
    most = max(*drift.expected, *drift.observed)
    across, height = (
        Axis("bin of the baseline", kind="count"),
        Axis("share of rows", limits=(0, most * 1.25 or 1), kind="share"),
    )
    svg = chart(drift.name, across, height, lines)
    return Picture(drift.name, svg, "Share of the rows in each bin; the baseline's in this window's mix of hours.")


def _estimates(report: MonitorReport) -> Picture:
    found = {name: each for name, each in report.labelled.estimates.items() if not name.endswith("_per_day")}
    lows = {figure.name: figure.low for figure in report.labelled.figures}
    highs = {figure.name: figure.high for figure in report.labelled.figures}
    lines = []
    for place, (name, each) in enumerate(reversed(found.items())):
        lines.append(Line("", [each.low, each.high], [place, place]))
        lines.append(Line("", [each.value], [place], style="", marker="o"))
        limits = [limit for limit in (lows.get(name), highs.get(name)) if limit is not None]
        lines += [Line("", [limit, limit], [place - 0.3, place + 0.3], "limit") for limit in limits]
    ticks = tuple(map(words_of, reversed(found)))
    svg = chart("By label", Axis("value"), Axis("", ticks=ticks), lines)
    return Picture("By label", svg, "With 95 % intervals; upright strokes are limits.")


def _gains(found: Comparison) -> Picture:
    names = [name for name in reversed(COMPARED) if not name.endswith("_per_day")]
    lines = [Line("", [0, 0], [-0.5, len(names) - 0.5], "faint", style="--")]
    for place, name in enumerate(names):
        each = found.gains[name]
        lines.append(Line("", [each.low, each.high], [place, place]))
        lines.append(Line("", [each.value], [place], style="", marker="o"))
    ticks = tuple(map(words_of, names))
    svg = chart(f"Challenger {found.version}", Axis("challenger minus champion"), Axis("", ticks=ticks), lines)
    return Picture(f"Challenger {found.version}", svg, "On the same transactions, with 95 % intervals.")


def _over_time(report: MonitorReport, rows: KeptDecisions) -> list[Picture]:
    window = report.window
    start, hours = window.since.timestamp(), window.hours
    edges = np.linspace(0, hours, _BUCKETS + 1)
    places = np.clip(np.searchsorted(edges, (rows.moment - start) / 3600, side="right") - 1, 0, _BUCKETS - 1)
    counts = np.bincount(places, weights=rows.weight, minlength=_BUCKETS)
    alerts = np.bincount(places, weights=rows.weight * rows.alert, minlength=_BUCKETS)
    per_hour, alerts_per_hour = (np.append(each, each[-1]) * _BUCKETS / hours for each in (counts, alerts))
    unit, scale = ("days", 24) if hours > 72 else ("hours", 1)
    time = Axis(f"{unit} since the window began")
    x = edges / scale

    def marked(low: float, high: float, log: bool = False) -> list[Line]:
        """Where other versions began to answer; names stand above what is drawn, neighbours' at different heights."""
        lines = []
        for place, each in enumerate(report.takeovers):
            at = (each.moment.timestamp() - start) / 3600
            up = (place % _LEVELS + 1) * _LEVEL
            top = high * (high / low) ** up if log else high + up * (high - low)
            name, before = f"version {each.version}", at > hours * _NEAR_THE_END
            lines.append(Line("", [at / scale] * 2, [low, top], "limit", style="--", text=name, before=before))
        return lines

    found = [
        Picture(
            "Decisions",
            chart(
                "Decisions",
                time,
                Axis("decisions per hour", kind="count"),
                [Line("", x, per_hour, step=True, fill=True), *marked(0, per_hour.max())],
            ),
            f"All decisions of version {report.version}.",
        ),
        Picture(
            "Alerts",
            chart(
                "Alerts",
                time,
                Axis("alerts per hour", kind="count"),
                [
                    Line("", x, alerts_per_hour, "champion", step=True, fill=True),
                    *marked(0, alerts_per_hour.max()),
                ],
            ),
            "Decisions to review or decline.",
        ),
    ]
    filled = np.flatnonzero(counts)
    chosen = [places == place for place in filled.tolist()]
    latencies = np.array([weighted_quantile(rows.latency_ms[each], rows.weight[each], [0.5, 0.99]) for each in chosen])
    lines = [
        Line(name, x[filled], latencies[:, column], colour, marker=".")
        for column, (name, colour) in enumerate((("median", "candidate"), ("p99", "champion")))
    ]
    log = bool(latencies.min() > 0)
    lines += marked(latencies.min(), latencies.max(), log)
    caption = "Of single predictions; of batches the time of a chunk."
    svg = chart("Response time", time, Axis("response time, ms", log=log), lines)
    return [*found, Picture("Response time", svg, caption)]
