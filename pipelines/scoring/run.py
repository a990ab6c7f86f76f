"""The step ``score``: plan, score the parts that are missing, commit, write a run; and what a finished job reports."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from ml_project.baseline import watched_names
from ml_project.bundle import Manifest
from ml_project.drift import Drift, judge
from ml_project.errors import InvalidInput
from ml_project.policies import DECISIONS
from ml_project.quantities import money, rate
from ml_project.scorer import Scorer, verified_scorer
from pipelines.console import Table, console, row_progress
from pipelines.data.places import find_files
from pipelines.monitoring.figures import Figure, MonitorLimits, drift_figures
from pipelines.scoring.engines import cores, run_local, run_spark
from pipelines.scoring.history import keep_history
from pipelines.scoring.output import Output, open_output
from pipelines.scoring.parts import Receipt, receipt_name
from pipelines.scoring.plan import ScoringPart, ScoringPlan, make_plan
from pipelines.scoring.rows import RowScorer, Tally
from pipelines.settings import PipelineSettings
from pipelines.tracking import DONE_TAG, VERSION_TAG, DataPart, Run, Tracker, run_address
from stores.attestation import TrustedKeys
from stores.objects import Objects
from stores.registry import PRODUCTION, ModelVersion, Registry
from stores.released import SIGNATURE_TAG, require_signed

EngineName = Literal["local", "spark"]
OnRows = Callable[[int], None]

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


@dataclass(frozen=True)
class ScoringOutcome:
    """A finished output: its ``_job.json``; summary and run only where this execution finished it."""

    job: dict[str, Any]
    summary: ScoringSummary | None = None
    run_id: str = ""
    address: str = ""


def score(
    settings: PipelineSettings, data: str, output: str, engine: EngineName, version: int | None = None
) -> ScoringOutcome:
    """Score a table by a registered version, by default Production.

    Raises
    ------
    InvalidInput
        When there is no version, nothing to score, or the output folder holds other files.
    LostRace
        When another process writes the same local output.
    Unavailable
        When MLflow, S3 or Spark does not answer.
    """
    tracker = Tracker(settings.model_copy(update={"experiment": settings.scoring_experiment}))
    limits = MonitorLimits.load(settings.monitor_limits)
    registry = Registry(settings.mlflow_uri, settings.model_name)
    chosen = chosen_version(registry, version, settings.trust)
    target = open_output(output, settings.s3_endpoint_url)
    with target.alone():
        scorer = version_scorer(registry, chosen)
        plan = make_plan(data, output, chosen.version, scorer.bundle.digest, scorer.contract, settings.s3_endpoint_url)
        finished = target.finished()
        if finished is not None:
            if finished.get("fingerprint") != plan.fingerprint:
                raise InvalidInput(f"{output} holds the outcome of another job.", "Give another --output.")
            return ScoringOutcome(finished)
        with tracker.pipeline_run("score") as run:
            run.rename(f"v{chosen.version} · {DataPart.of(data, '').name}")
            run.log(params=_parameters(plan, engine), tags={VERSION_TAG: chosen.version, "output": output})
            summary = _execute(settings, plan, scorer, target, engine, limits)
            job = {**summary.to_dict(), "run_id": run.id}
            _log(run, summary, job)
            target.commit(job)
            run.log(tags={f"{DONE_TAG}score": "true"})
    return ScoringOutcome(job, summary, run.id, run_address(settings, run))


def chosen_version(registry: Registry, version: int | None, trust: TrustedKeys | None) -> ModelVersion:
    """The requested version, else Production, for which the same signature is asked as gateways ask for.

    Raises
    ------
    InvalidBundle
        When keys are trusted and Production bears no signature by one.
    """
    if version is not None:
        return registry.version(version)
    chosen = registry.resolve(PRODUCTION)
    if chosen is None:
        raise InvalidInput("No version is Production.", "Promote one, or give --version.")
    if trust is not None:
        signature = chosen.tags.get(SIGNATURE_TAG)
        require_signed(trust, registry.model_name, chosen.version, chosen.digest or "", signature)
    return chosen


def version_scorer(registry: Registry, version: ModelVersion) -> Scorer:
    """A verified scorer of a version, with one thread: engines score several batches at once."""
    return verified_scorer(registry.bundle(version, require_digest=False), threads=1)


def _execute(
    settings: PipelineSettings,
    plan: ScoringPlan,
    scorer: Scorer,
    target: Output,
    engine: EngineName,
    limits: MonitorLimits,
) -> ScoringSummary:
    begun = time.monotonic()
    if target.begin(plan):
        console.print("  continuing an earlier execution")
    held = set(target.staging.names())
    done = [part for part in plan.parts if receipt_name(part) in held]
    todo = [part for part in plan.parts if receipt_name(part) not in held]
    tally = RowScorer(scorer, plan.version, plan.carried).nothing
    for part in done:
        tally += Receipt.from_bytes(target.staging.read(receipt_name(part))).tally
    with row_progress("scored", plan.rows, tally.rows) as on_rows:
        for receipt in run_parts(settings, engine, plan, todo, scorer, target.staging, on_rows):
            tally += receipt.tally
    if tally.rows != plan.rows:
        raise InvalidInput(f"{tally.rows} rows were read where {plan.rows} were planned.", "The input has changed.")
    seconds, rows_now = time.monotonic() - begun, sum(part.rows for part in todo)
    return ScoringSummary.of(plan, engine, tally, scorer.bundle.manifest, limits, seconds, rows_now, len(done))


def run_parts(
    settings: PipelineSettings,
    engine: EngineName,
    plan: ScoringPlan,
    todo: Sequence[ScoringPart],
    scorer: Scorer,
    staging: Objects,
    on_rows: OnRows,
) -> Iterator[Receipt]:
    """Let an engine score the parts that are missing: the one place where engines differ."""
    source, _names = find_files(plan.input, settings.s3_endpoint_url)
    begun = time.monotonic()
    if events := keep_history(plan, todo, scorer.contract, source, staging, cores()):
        console.print(f"  history of {events:,} transactions in {time.monotonic() - begun:.1f} s")
    if engine == "local":
        return run_local(plan, todo, RowScorer(scorer, plan.version, plan.carried), source, staging, on_rows)
    return run_spark(settings, plan, todo, scorer.bundle, source, staging, on_rows)


def _parameters(plan: ScoringPlan, engine: EngineName) -> dict[str, object]:
    values = {name: value for name, value in plan.to_dict().items() if name != "fingerprint"}
    return {**values, "engine": engine}


def _log(run: Run, summary: ScoringSummary, job: dict[str, Any]) -> None:
    drifted = ", ".join(figure.metric for figure in summary.drifted)[:4_000]
    run.log(metrics=summary.metrics, tags={"drifted": drifted or "nothing"})
    run.log_json(job, "job.json")
