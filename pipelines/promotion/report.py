"""The gate's limits (``pipelines/gate.yaml``) and its report: one row per check, for JSON, a terminal and a page.

`log_report` puts report and model card into the run and describes the registered version by them.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from rich.text import Text

from ml_project.dataset import Dataset
from ml_project.errors import InvalidInput
from ml_project.scorer import Scores
from pipelines.console import Table
from pipelines.monitoring.figures import MonitorLimits
from pipelines.pages.charts import Axis, Line, Picture, Side, chart, curves
from pipelines.pages.render import render
from pipelines.promotion.card import build_card, card_html, card_markdown, short_form
from pipelines.promotion.evidence import Evidence
from pipelines.settings import PipelineSettings
from pipelines.tracking import Run
from stores.registry import CARD_FILE, Registry

GATE_FILE: Final = Path(__file__).parent.parent / "gate.yaml"

Edges = Annotated[tuple[float, ...], Field(min_length=1)]


class GateLimits(BaseModel):
    """The content of ``gate.yaml``, which explains each limit."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    average_precision_margin: float = Field(ge=0)
    savings_margin: float = Field(ge=0)
    superiority: tuple[Literal["average_precision", "savings"], ...]
    minimum_frauds: int = Field(ge=5)
    replicates: int = Field(ge=200)
    minimum_recall_at_alert_budget: float = Field(ge=0, le=1)
    minimum_recall: float = Field(alias="minimum_recall_at_fpr_0.01", ge=0, le=1)
    minimum_card_precision: float | None = Field(None, ge=0, le=1)
    minimum_card_average_precision: float | None = Field(None, ge=0, le=1)
    maximum_calibration_error: float = Field(gt=0)
    slice_margin: float = Field(ge=0)
    slice_minimum_frauds: int = Field(ge=2)
    amount_bands: Edges
    hour_bands: Edges
    maximum_parity_difference: float = Field(gt=0)
    maximum_latency_ratio: float = Field(gt=0)

    @classmethod
    def load(cls, path: Path = GATE_FILE) -> "GateLimits":
        """Limits from a file.

        Raises
        ------
        InvalidInput
            When the file is not what the gate needs: it must not judge by half its limits.
        """
        try:
            return cls.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
        except (OSError, yaml.YAMLError, ValidationError) as error:
            raise InvalidInput(f"The gate's limits in {path} cannot be used: {error}", "Correct the file.") from error


class Theme(StrEnum):
    """What a check is about."""

    CHAMPION = "against the champion"
    QUALITY = "quality on its own"
    SLICES = "slices"
    INTEGRITY = "integrity"


@dataclass(frozen=True)
class Check:
    """One row of the report.

    Attributes
    ----------
    meaning : str
        What it means, for a reader who does not know the gate.
    judged : bool
        False where there was nothing to judge by; such a row is shown and does not count.
    figures : dict of str to float
        The numbers behind the words.
    forceable : bool
        Whether a person may promote with a reason although the check failed.
    """

    name: str
    value: str
    limit: str
    passed: bool
    meaning: str = ""
    theme: Theme = Theme.INTEGRITY
    judged: bool = True
    figures: dict[str, float] = field(default_factory=dict)
    forceable: bool = True

    @property
    def verdict(self) -> str:
        """``passed``, ``failed`` or ``not judged``."""
        if not self.judged:
            return "not judged"
        return "passed" if self.passed else "failed"


_COLOURS = {"passed": "green", "failed": "red", "not judged": "dim"}


@dataclass(frozen=True)
class GateReport:
    """All rows; the gate is passed when every one is.

    Attributes
    ----------
    evidence : Evidence or None
        What was judged, for the page and the model card.
    """

    checks: tuple[Check, ...]
    evidence: Evidence | None = field(default=None, repr=False, compare=False)

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return all(check.passed for check in self.checks)

    @property
    def failures(self) -> str:
        """The failed checks, as text."""
        return _in_words(check for check in self.checks if not check.passed)

    @property
    def unforceable(self) -> str:
        """The failed checks that force does not override, as text."""
        return _in_words(check for check in self.checks if not check.passed and not check.forceable)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"passed": self.passed, "checks": [asdict(check) for check in self.checks]}

    def to_table(self) -> Table:
        """For a terminal."""
        table = Table(("verdict", "check", "value", "limit"), folding=("check", "value", "limit"))
        theme = None
        for check in self.checks:
            if theme not in (None, check.theme):
                table.add_section()
            theme = check.theme
            table.add_row(Text(check.verdict, _COLOURS[check.verdict]), check.name, check.value, check.limit)
        return table


def _in_words(checks: Iterable[Check]) -> str:
    return "; ".join(f"{check.name}: {check.value} (limit {check.limit})" for check in checks)


def log_report(settings: PipelineSettings, run: Run, version: int, report: GateReport) -> None:
    """Log the report as data and as a page, and the model card; describe the version by them."""
    run.log_json(report.to_dict(), "gate.json")
    evidence = report.evidence
    if evidence is None:
        return
    run.log_text(
        gate_page(report, evidence, settings.model_name, version, run.id, datetime.now(UTC), settings.money),
        "gate.html",
    )
    shipped = evidence.shipped.bundle
    if shipped is None:
        return
    limits = MonitorLimits.load(settings.monitor_limits)
    card = build_card(run, report, evidence, shipped, settings.model_name, version, limits)
    run.log_text(card.model_dump_json(indent=1), CARD_FILE)
    run.log_text(card_html(card, settings.money), "card.html")
    run.log_text(card_markdown(card, settings.money), "card.md")
    # within MLflow's own page, so that it holds behind any host name
    artifacts = f"#/experiments/{run.experiment_id}/runs/{run.id}/artifacts"
    Registry(settings.mlflow_uri, settings.model_name).describe(version, short_form(card, artifacts, settings.money))


def gate_page(
    report: GateReport,
    evidence: Evidence,
    model_name: str,
    version: int,
    run_id: str,
    made_at: datetime,
    currency: str = "",
) -> str:
    """Self-contained HTML."""
    champion = evidence.champion
    rows, sides = _sides(evidence, version)
    compared = (
        f"The curves show {len(rows):,} transactions with {rows.frauds:,} frauds over {rows.days:.1f} days, scored by "
        + (
            "evaluation twins that have not seen them."
            if len(sides) > 1
            else "an evaluation twin that has not seen them."
        )
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
        figures=curves(rows, sides, evidence.review_cost, currency) + _differences(report),
        run_id=run_id,
        made_at=made_at.strftime("%Y-%m-%d %H:%M UTC"),
    )


def _sides(evidence: Evidence, version: int) -> tuple[Dataset, list[Side]]:
    comparison = evidence.comparison
    if comparison is None:
        return evidence.test, [_side(version, evidence.scores, evidence.twin.manifest.thresholds.alert)]
    return comparison.rows, [
        _side(version, comparison.candidate, comparison.candidate_thresholds.alert),
        _side(comparison.number, comparison.champion, comparison.champion_thresholds.alert),
    ]


def _side(version: int, scores: Scores, alert: float) -> Side:
    return Side(f"version {version}", scores.hybrid, scores.probability, alert)


def _differences(report: GateReport) -> list[Picture]:
    """Every difference from the champion with its interval and its limit; nothing without one."""
    compared = [check for check in reversed(report.checks) if "low" in check.figures]
    if not compared:
        return []
    lines = [Line("", [0, 0], [-0.5, len(compared) - 0.5], "faint")]
    for place, check in enumerate(compared):
        colour = "candidate" if check.passed else "bad"
        lines += [
            Line("", [check.figures["low"], check.figures["high"]], [place, place], colour),
            Line("", [check.figures["difference"]], [place], colour, style="", marker="o"),
            Line("", [check.figures["lowest"]] * 2, [place - 0.3, place + 0.3], "limit", style=":"),
        ]
    title = "Differences"
    names = tuple(check.name.split(" against")[0] for check in compared)
    svg = chart(title, Axis("candidate minus champion"), Axis("", ticks=names), lines)
    return [
        Picture(title, svg, "With their intervals. Right of 0 the candidate is better; the dotted strokes are limits.")
    ]
