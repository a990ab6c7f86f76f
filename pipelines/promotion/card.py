"""The model card of a version: put together from its run, its children and its bundles, as Markdown, HTML and JSON."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mlflow.entities import Run as MlflowRun
from mlflow.utils.mlflow_tags import MLFLOW_GIT_COMMIT, MLFLOW_PARENT_RUN_ID

from ml_project.bundle import Bundle
from ml_project.calibration import reliability
from ml_project.card import (
    CARD_VERSION,
    FIGURES,
    Ablation,
    Calibration,
    Card,
    Data,
    Figure,
    GateCheck,
    Part,
    Policy,
    Sample,
    ThresholdCurve,
)
from ml_project.metrics import ranking_curve
from ml_project.operators import SECONDS_PER_DAY
from ml_project.unseen_scores import ScoredRows
from pipelines.pages.charts import Curve, Mark, Picture, calibration, cost, picture, precision_recall
from pipelines.pages.render import render
from pipelines.promotion.evidence import Evidence
from pipelines.run_page import figure_of, interval_in_words
from pipelines.tracking import DATA_NAME_TAG, Run
from pipelines.training.train import SCORES

if TYPE_CHECKING:
    from pipelines.monitoring.figures import MonitorLimits
    from pipelines.promotion.report import GateReport

PURPOSE: Final = (
    "Scores card transactions for fraud as they come in. A score at or above the alert threshold sends the transaction "
    "to a person (REVIEW), at or above the decline threshold it is declined; all others are approved."
)

LIMITS: Final = (
    "Frauds are few, so every figure is uncertain: read its interval, not its last digit.",
    "Figures are the evaluation twin's, fitted on the first part of the time only; what ships has the same settings "
    "and has learnt from all rows, so it can be measured only on rows that are yet to come.",
    "Fraud changes: expect the figures to fall with the months, watch them, and train again.",
    "Not for deciding about people: it knows nothing about them, and its errors fall unevenly on small and large "
    "amounts (see the gate's slices).",
)

ABLATIONS: Final = {
    "xgboost_alone": "XGBoost alone, same settings",
    "seed_recipe": "0.4 x isolation forest + 0.6 x XGBoost, untuned",
    "logistic_regression": "logistic regression",
}

_TEST = "test_"


def build_card(
    run: Run,
    report: "GateReport",
    evidence: Evidence,
    shipped: Bundle,
    model_name: str,
    version: int,
    limits: "MonitorLimits",
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
        limits=(*shipped.manifest.contract.limits, *LIMITS),
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
        drift_limits=limits.drift,
        decision_limits=limits.decisions,
        checks=tuple(
            GateCheck(
                name=check.name,
                theme=check.theme,
                value=check.value,
                limit=check.limit,
                passed=check.passed if check.judged else None,
                meaning=check.meaning,
            )
            for check in report.checks
        ),
    )


def figures(metrics: Mapping[str, float]) -> dict[str, Figure]:
    """The figures on test that have intervals."""
    return {name: figure_of(metrics, _TEST + name) for name in FIGURES if f"{_TEST}{name}_low" in metrics}


def _data(run: MlflowRun, shipped: Bundle) -> Data:
    params, origin = run.data.params, shipped.manifest.data
    return Data(
        source=origin["source"],
        name=Path(run.data.tags.get(DATA_NAME_TAG, origin["source"])).name,
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
            average_precision=figure_of(child.data.metrics, "test_average_precision"),
            difference=figure_of(metrics, f"test_average_precision_minus_{child.info.run_name}"),
        )
        for child in run.children("baseline")
    }


def _samples(shipped: Bundle) -> tuple[Sample, ...]:
    """One ordinary legitimate transaction and the clearest fraud: golden rows rise in score, legitimate ones first."""
    golden, contract = shipped.manifest.golden_rows, shipped.manifest.contract
    return tuple(
        Sample(fraud=fraud, transaction=contract.transaction(row.values.tolist()), scores=row.scores)
        for fraud, row in ((False, golden[1]), (True, golden[-1]))
    )


_YEAR = 365 * SECONDS_PER_DAY


def card_markdown(card: Card, currency: str = "") -> str:
    """The card as Markdown."""
    return render("card.md", card=card, words=FIGURES, ablations=ABLATIONS, period=_period(card), currency=currency)


def card_html(card: Card, currency: str = "") -> str:
    """The card as a page with curves."""
    return render(
        "card.html",
        title=f"{card.model_name} {card.version}",
        card=card,
        words=FIGURES,
        ablations=ABLATIONS,
        period=_period(card),
        figures=_pictures(card, currency),
        currency=currency,
    )


def short_form(card: Card, artifacts: str, currency: str = "") -> str:
    """A version's description in the registry.

    Parameters
    ----------
    artifacts : str
        Address of the run's artifacts in MLflow's page.
    """
    figures = "\n".join(
        f"- {FIGURES[name]}: {interval_in_words(name, each, currency)}" for name, each in card.figures.items()
    )
    return (
        f"**Gate {card.gate}.**\n\nTrained on {card.data.name}: {card.data.source} data, "
        f"{card.data.rows:,} rows, {card.data.frauds:,} frauds, digest `{card.data.digest[:16]}`. Policy {card.policy}."
        f"\n\nThe evaluation twin on test, with 95 % intervals:\n\n{figures}\n\n"
        f"[Gate report]({artifacts}/gate.html) · [model card]({artifacts}/card.html)"
    )


def _period(card: Card) -> str:
    first, last = card.data.first_moment, card.data.last_moment
    if first is None or last is None:
        return "unknown"
    days = f"{(last - first) / SECONDS_PER_DAY:.1f} days"
    # without event_time a moment is the extract's own clock, which starts at 0
    if first < _YEAR:
        return f"{days} (the data's own clock; no dates)"
    dates = (datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M") for moment in (first, last))
    return f"{days}, {' to '.join(dates)} UTC"


_MARKERS: Final = ("s", "^", "D", "v")


def _pictures(card: Card, currency: str) -> list[Picture]:
    test, what_if, bins = card.test_curve, card.what_if, card.calibration
    others = [name for name in card.policies if name != card.policy]
    points = [
        Mark(
            marker, what_if.at(card.policies[name].alert), f"policy {name}{' (in use)' if name == card.policy else ''}"
        )
        for marker, name in zip(("o", *_MARKERS), (card.policy, *others), strict=False)
    ]
    drawn = [
        precision_recall([Curve("", test.recall, test.precision)], "The twin on test."),
        calibration(
            [Curve("test", bins.predicted, bins.observed)], "The twin on test, in bins of equal predicted fraud."
        ),
    ]
    if what_if.cost_per_day:
        costs = [Curve("", what_if.alerts_per_day, what_if.cost_per_day, points)]
        caption = "On scores of rows that the scoring model had not seen, which the shipped thresholds were read off."
        drawn.insert(1, cost(costs, caption, title="What another threshold would cost", currency=currency))
    return [picture(each) for each in drawn]
