"""The gate's report as a page: both twins' curves, and the table of checks."""

from datetime import datetime
from itertools import groupby

from ml_project.dataset import Dataset
from pipelines.gate.evidence import Evidence
from pipelines.gate.report import GateReport
from pipelines.pages.charts import Axis, Line, chart
from pipelines.pages.model_curves import Picture, Side, curves
from pipelines.pages.render import render


def gate_page(
    report: GateReport, evidence: Evidence, model_name: str, version: int, run_id: str, made_at: datetime
) -> str:
    """HTML, with nothing that another server would have to give."""
    champion = evidence.champion
    rows, sides = _sides(evidence, version)
    compared = (
        f"The curves show {len(rows):,} transactions with {rows.frauds} frauds over {rows.days:.1f} days, scored by "
        "the evaluation twins, " + ("none of which either has seen." if len(sides) > 1 else "which it has not seen.")
    )
    return render(
        "gate.html",
        title=f"Gate report: {model_name} {version}",
        model_name=model_name,
        version=version,
        champion=champion.number if champion else None,
        report=report,
        themes=[(theme, list(checks)) for theme, checks in groupby(report.checks, lambda check: check.theme)],
        compared=compared,
        figures=curves(rows, sides, evidence.review_cost) + _differences(report),
        run_id=run_id,
        made_at=made_at.strftime("%Y-%m-%d %H:%M UTC"),
    )


def _sides(evidence: Evidence, version: int) -> tuple[Dataset, list[Side]]:
    comparison = evidence.comparison
    if comparison is None:
        return evidence.test, [Side(f"version {version}", evidence.scores, evidence.twin.manifest.thresholds.alert)]
    return comparison.rows, [
        Side(f"version {version}", comparison.candidate, comparison.candidate_thresholds.alert),
        Side(f"version {comparison.number}", comparison.champion, comparison.champion_thresholds.alert),
    ]


def _differences(report: GateReport) -> list[Picture]:
    """Every difference from the champion with its interval and its limit; nothing without one."""
    compared = [check for check in reversed(report.checks) if "low" in check.figures]
    if not compared:
        return []
    lines = [Line("", [0, 0], [-0.5, len(compared) - 0.5], "faint")]
    for place, check in enumerate(compared):
        colour = "first" if check.passed else "second"
        lines += [
            Line("", [check.figures["low"], check.figures["high"]], [place, place], colour),
            Line("", [check.figures["difference"]], [place], colour, style="", marker="o"),
            Line("", [check.figures["lowest"]] * 2, [place - 0.3, place + 0.3], "second", style=":"),
        ]
    title = "Differences"
    names = tuple(check.name.split(" against")[0] for check in compared)
    svg = chart(title, Axis("candidate minus champion"), Axis("", ticks=names), lines)
    return [
        Picture(title, svg, "With their intervals; right of 0 the candidate is better, dotted is each one's limit.")
    ]
