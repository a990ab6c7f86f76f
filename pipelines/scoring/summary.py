"""What a finished scoring job reports: on the terminal, in MLflow and in ``_job.json``."""

from dataclasses import dataclass
from typing import Any, Final

from ml_project.baseline import watched_names
from ml_project.bundle import Manifest
from ml_project.drift import Drift, judge
from ml_project.policies import DECISIONS
from ml_project.quantities import money, rate
from pipelines.console import Table
from pipelines.monitoring.figures import Figure, MonitorLimits, drift_figures
from pipelines.scoring.plan import ScoringPlan
from pipelines.scoring.rows import Tally

_SHOWN: Final = 5
"""Reasons, and drifting figures, that the terminal shows."""


@dataclass(frozen=True)
class ScoringSummary:
    """Counts, drift against the bundle's baseline, and time.

    Attributes
    ----------
    seconds : float
        Duration of this execution.
    resumed : int
        Parts that an earlier execution had finished.
    """

    plan: ScoringPlan
    engine: str
    tally: Tally
    drifts: list[Drift]
    drift_figures: list[Figure]
    seconds: float
    rows_now: int
    resumed: int

    @classmethod
    def of(
        cls,
        plan: ScoringPlan,
        engine: str,
        tally: Tally,
        manifest: Manifest,
        limits: MonitorLimits,
        seconds: float,
        rows_now: int,
        resumed: int,
    ) -> "ScoringSummary":
        """Judge the drift of what was counted."""
        baseline = manifest.drift_baseline
        contract = manifest.contract
        drifts = judge(contract, baseline, tally.drift, limits.drift.significance(len(watched_names(contract))))
        figures = [figure for drift in drifts for figure in drift_figures(drift, limits.drift, baseline.hourly)]
        return cls(plan, engine, tally, drifts, figures, seconds, rows_now, resumed)

    @property
    def drifted(self) -> list[Figure]:
        """Figures beyond their limits, the strongest first."""
        found = [figure for figure in self.drift_figures if figure.breached]
        return sorted(found, key=lambda figure: figure.value / (figure.high or 1), reverse=True)

    @property
    def metrics(self) -> dict[str, float]:
        """For MLflow."""
        tally = self.tally
        found: dict[str, float] = {
            "rows": tally.rows,
            "rows_scored": tally.scored,
            "rows_quarantined": tally.quarantined,
            "seconds": self.seconds,
            "rows_per_second": self.rows_now / max(self.seconds, 1e-3),
            "parts_resumed": self.resumed,
            "drift_breaches": len(self.drifted),
        }
        for name in map(str, DECISIONS):
            found[f"rows_{name.lower()}"] = tally.decisions[name]
            found[f"amount_{name.lower()}"] = tally.amounts[name]
        return found | {figure.metric: figure.value for figure in self.drift_figures}

    def to_dict(self) -> dict[str, Any]:
        """The content of ``_job.json``."""
        counted = {name: value for name, value in self.tally.to_dict().items() if name != "drift"}
        drift = {drift.name: {"psi": drift.psi.value, "ks": drift.ks.value} for drift in self.drifts}
        return {
            **self.plan.to_dict(),
            **counted,
            "engine": self.engine,
            "seconds": round(self.seconds, 3),
            "parts_resumed": self.resumed,
            "drifted": [figure.metric for figure in self.drifted],
            "drift": drift,
        }

    def to_table(self, currency: str) -> Table:
        """Decisions, quarantined rows and drifting figures, for the terminal."""
        tally = self.tally
        table = Table(
            ("decision", "rows", "share", "amount"), folding=("decision",), numbers=("rows", "share", "amount")
        )
        for name in map(str, DECISIONS):
            share = tally.decisions[name] / max(tally.rows, 1)
            table.add_row(name, f"{tally.decisions[name]:,}", rate(share), money(tally.amounts[name], currency))
        table.add_row(
            "not scored, in _quarantine/", f"{tally.quarantined:,}", rate(tally.quarantined / max(tally.rows, 1))
        )
        for reason, count in tally.reasons.most_common(_SHOWN):
            table.add_row(f"  {reason}", f"{count:,}", style="dim")
        return table

    @property
    def drift_sentence(self) -> str:
        """The figures beyond their limits, in words; empty where there are none."""
        if not self.drifted:
            return ""
        named = [f"{each.words} {each.text} (limit {each.limit})" for each in self.drifted[:_SHOWN]]
        more = f" and {len(self.drifted) - _SHOWN} more" if len(self.drifted) > _SHOWN else ""
        return f"Drift against the training data: {', '.join(named)}{more}."
