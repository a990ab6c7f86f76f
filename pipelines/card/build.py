"""Puts a version's card together from its run, its children and its bundles."""

from collections.abc import Mapping

from mlflow.entities import Run as MlflowRun
from mlflow.utils.mlflow_tags import MLFLOW_GIT_COMMIT, MLFLOW_PARENT_RUN_ID

from ml_project.bundle import Bundle
from ml_project.calibration import reliability
from ml_project.card import (
    CARD_VERSION,
    Ablation,
    Calibration,
    Card,
    Data,
    Figure,
    Part,
    Policy,
    Sample,
    ThresholdCurve,
)
from ml_project.drift import DriftLimits
from ml_project.metrics import ranking_curve
from ml_project.schema import RAW_FEATURES
from ml_project.unseen_scores import ScoredRows
from pipelines.card.words import FIGURES, LIMITS, PURPOSE
from pipelines.gate.evidence import Evidence
from pipelines.gate.report import GateReport
from pipelines.tracking import Run
from pipelines.train import SCORES

_TEST = "test_"


def build_card(
    run: Run,
    report: GateReport,
    evidence: Evidence,
    shipped: Bundle,
    model_name: str,
    version: int,
    drift_limits: DriftLimits,
) -> Card:
    """The card of a finished, judged run."""
    data = run.data
    params, tags, metrics = data.data.params, data.data.tags, data.data.metrics
    forward = ScoredRows.from_frame(run.frame(f"{SCORES}/forward.parquet"))
    test = evidence.test
    bins = reliability(evidence.scores.probability, test.label, test.weight)
    alerts = [thresholds.alert for thresholds in shipped.manifest.policies.values()]
    return Card(
        card_version=CARD_VERSION,
        model_name=model_name,
        version=version,
        purpose=PURPOSE,
        limits=LIMITS,
        data=_data(data, shipped),
        figures=figures(metrics),
        policy=shipped.manifest.policy,
        policies=_policies(run, shipped),
        alerts_per_day=evidence.alerts_per_day,
        review_cost=evidence.review_cost,
        ablations=_ablations(run, metrics),
        test_curve=ThresholdCurve.of(
            ranking_curve(evidence.scores.hybrid, test.label, test.weight, test.amount),
            evidence.review_cost,
            test.days,
            [evidence.twin.manifest.thresholds.alert],
        ),
        what_if=ThresholdCurve.of(forward.curve, evidence.review_cost, forward.days, alerts),
        calibration=Calibration(
            predicted=tuple(bins.predicted.tolist()),
            observed=tuple(bins.observed.tolist()),
            rows=tuple(bins.rows.tolist()),
        ),
        samples=_samples(shipped),
        settings={name.removeprefix("best_"): value for name, value in params.items() if name.startswith("best_")},
        lineage={
            "run": run.id,
            "parent run": tags.get(MLFLOW_PARENT_RUN_ID, ""),
            "experiment": run.experiment_id,
            "git commit": tags.get(MLFLOW_GIT_COMMIT, ""),
            "data digest": shipped.manifest.data["digest"],
            "bundle digest": shipped.digest,
            "study": tags.get("optuna.study", ""),
            **{f"library {name}": value for name, value in shipped.manifest.libraries.items()},
        },
        gate="passed" if report.passed else f"refused: {report.failures}",
        drift_limits=drift_limits,
    )


def figures(metrics: Mapping[str, float]) -> dict[str, Figure]:
    """The figures on test that have intervals."""
    return {name: _figure(metrics, _TEST + name) for name in FIGURES if f"{_TEST}{name}_low" in metrics}


def _figure(metrics: Mapping[str, float], name: str) -> Figure:
    return Figure(value=metrics[name], low=metrics[f"{name}_low"], high=metrics[f"{name}_high"])


def _data(run: MlflowRun, shipped: Bundle) -> Data:
    params, origin = run.data.params, shipped.manifest.data
    datasets = run.inputs.dataset_inputs if run.inputs else []
    return Data(
        source=origin["source"],
        name=datasets[0].dataset.name if datasets else origin["source"],
        digest=origin["digest"],
        rows=origin["rows"],
        frauds=origin["frauds"],
        first_moment=_number(params, "first_moment"),
        last_moment=_number(params, "last_moment"),
        splits={
            name: Part(
                rows=int(params[f"{name}_rows"]),
                frauds=int(params[f"{name}_frauds"]),
                days=float(params[f"{name}_days"]),
            )
            for name in ("train", "validation", "test")
            if f"{name}_days" in params
        },
    )


def _number(params: Mapping[str, str], name: str) -> float | None:
    return float(params[name]) if name in params else None


def _policies(run: Run, shipped: Bundle) -> dict[str, Policy]:
    measured = {child.data.params["policy"]: child.data.metrics for child in run.children("policy")}
    return {
        name: Policy(alert=thresholds.alert, decline=thresholds.decline, test=figures(measured.get(name, {})))
        for name, thresholds in shipped.manifest.policies.items()
    }


def _ablations(run: Run, metrics: Mapping[str, float]) -> dict[str, Ablation]:
    return {
        child.info.run_name: Ablation(
            average_precision=_figure(child.data.metrics, "test_average_precision"),
            difference=_figure(metrics, f"test_average_precision_minus_{child.info.run_name}"),
        )
        for child in run.children("baseline")
    }


def _samples(shipped: Bundle) -> tuple[Sample, ...]:
    """One ordinary legitimate transaction and the clearest fraud: golden rows rise in score, legitimate ones first."""
    golden = shipped.manifest.golden_rows
    return tuple(
        Sample(fraud=fraud, transaction=dict(zip(RAW_FEATURES, row.raw, strict=True)), scores=row.scores)
        for fraud, row in ((False, golden[1]), (True, golden[-1]))
    )
