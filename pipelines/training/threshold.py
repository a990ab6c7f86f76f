"""The step ``threshold``: the whole curve and every policy's thresholds, on validation only, and the finished bundle.

The twin's thresholds come from validation and are measured on test; the refit's, which ship, come from forward scores.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from ml_project.baseline import decision_shares, effective_rows
from ml_project.bundle import Bundle
from ml_project.calibration import Calibrator, fit_calibrator
from ml_project.metrics import RankingCurve, calibration_error, estimate, ranking_metrics
from ml_project.policies import Thresholds, choose_thresholds
from ml_project.quantities import thresholds_text
from ml_project.unseen_scores import ScoredRows
from pipelines.console import progress, step
from pipelines.pages.charts import Side, save_model_charts, save_png, threshold_charts
from pipelines.run_page import describe
from pipelines.settings import PipelineSettings
from pipelines.tracking import DATA_NAME_TAG, DONE_TAG, DataPart, Run
from pipelines.training.model_logging import (
    MODEL_URI_TAG,
    TWIN,
    log_bundle,
    log_model,
    read_run_bundle,
)
from pipelines.training.train import DRAFTS, PARITY, PARITY_TAG, SCORES, Measurement, measure
from stores.registry import DIGEST_TAG

POLICY_TAG = "fraud.policy"


def threshold(settings: PipelineSettings, run: Run) -> Measurement:
    """Finish a trained run's bundles and log the model; the figures of the policy in use."""
    run.touch("threshold")
    validation, test, forward = (
        ScoredRows.from_frame(run.frame(f"{SCORES}/{name}.parquet")) for name in ("validation", "test", "forward")
    )
    twin, refit = (read_run_bundle(run, f"{DRAFTS}/{name}") for name in ("twin", "refit"))
    measured: dict[str, Measurement] = {}
    run.discard(run.children("policy"))
    policies = settings.usable_policies()
    found = run.data.data
    data = partial(DataPart.of, found.tags[DATA_NAME_TAG], found.tags["data.digest"])
    carried = {
        policy: choose_thresholds(policy, forward.curve, settings.policy_settings, forward.days) for policy in policies
    }
    with run.timed("threshold"), step("choose thresholds"), progress("policies", len(policies)) as advance:
        for policy in policies:
            measured[policy] = _measure_policy(settings, run, policy, validation, test)
            advance(f"{policy}: ships with {thresholds_text(carried[policy])}")
    in_use = replace(measured[settings.policy], shipped=carried[settings.policy])
    calibrator = fit_calibrator(validation.hybrid, validation.label, validation.weight)
    error = calibration_error(test, test.probability(calibrator))
    changed = {name: value for name, value in in_use.metrics.items() if found.metrics.get(name) != value.value}
    run.log(
        metrics={**changed, "test_calibration_error": error},  # the others were measured in training
        model=run.models(TWIN)[0],
        data=data("test"),
    )
    _log_charts(settings, run, test, in_use.thresholds, calibrator)
    with step("log the model"):
        shipped = _finish(refit, settings.policy, carried, forward)
        chosen = {name: each.thresholds for name, each in measured.items()}
        log_bundle(run, _finish(twin, settings.policy, chosen, validation), TWIN)
        model = log_model(run, shipped, data())
        wanted = {f"forward_{name}": metric for name, metric in ranking_metrics().items()}
        earned = estimate(forward, forward.hybrid, wanted, settings.replicates, settings.seed)
        run.log(metrics={**earned, PARITY: float(found.tags[PARITY_TAG])}, model=model, data=data())
    run.log(
        tags={
            DIGEST_TAG: shipped.digest,
            MODEL_URI_TAG: f"models:/{model}",
            POLICY_TAG: settings.policy,
            f"{DONE_TAG}threshold": "true",
        }
    )
    describe(run, settings)
    return in_use


def _finish(draft: Bundle, policy: str, policies: dict[str, Thresholds], unseen: ScoredRows) -> Bundle:
    update: dict[str, object] = {"policy": policy, "policies": policies}
    if draft.manifest.baseline is not None:
        update["baseline"] = replace(
            draft.manifest.baseline,
            decisions={name: decision_shares(unseen.hybrid, unseen.weight, each) for name, each in policies.items()},
            decision_rows=effective_rows(unseen.weight),
        )
    return Bundle(draft.manifest.model_copy(update=update), draft.onnx, draft.booster)


def _measure_policy(
    settings: PipelineSettings, run: Run, policy: str, validation: ScoredRows, test: ScoredRows
) -> Measurement:
    measured = measure(settings, validation, test, validation.hybrid, test.hybrid, policy)
    curve = validation.curve
    point = curve.at(measured.thresholds.alert)
    inputs = run.inputs("validation", "test")
    with run.child(f"policy {policy}", {"kind": "policy"}, inputs) as child, TemporaryDirectory() as scratch:
        child.log(
            params={"policy": policy, "review_cost": settings.review_cost},
            metrics={
                "alert_threshold": measured.thresholds.alert,
                "decline_threshold": measured.thresholds.decline,
                **_validation_figures(curve, point, settings.priced_review, validation.days),
                # what the twin would do under it: its own figures, under the policy in use, stand with the model
                **measured.metrics,
            },
        )
        chosen = measured.thresholds
        # these charts draw no probabilities, and there is no calibrator yet
        side = Side("validation", validation.hybrid, validation.hybrid, chosen.alert, chosen.decline)
        drawn = threshold_charts(validation, [side], settings.priced_review, settings.money)
        save_png(Path(scratch) / f"{policy}.png", drawn, f"Policy {policy}, on validation")
        child.log_folder(Path(scratch), "plots")
    return measured


def _validation_figures(curve: RankingCurve, point: int, review_cost: float | None, days: float) -> dict[str, float]:
    if point < 0:
        return {"validation_recall": 0.0, "validation_alerts_per_day": 0.0}
    return {
        "validation_precision": float(curve.precision[point]),
        "validation_recall": float(curve.recall[point]),
        "validation_alerts_per_day": float(curve.alerts[point]) / days,
        **({} if review_cost is None else {"validation_cost_per_day": float(curve.cost(review_cost)[point]) / days}),
    }


def _log_charts(
    settings: PipelineSettings, run: Run, test: ScoredRows, thresholds: Thresholds, calibrator: Calibrator
) -> None:
    side = Side("test", test.hybrid, test.probability(calibrator), thresholds.alert, thresholds.decline)
    with TemporaryDirectory() as scratch:
        save_model_charts(Path(scratch), test, side, settings.priced_review, settings.money)
        run.log_folder(Path(scratch), "plots")
