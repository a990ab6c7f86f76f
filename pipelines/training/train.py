"""The step ``train``: tune on train, fit the evaluation twin and the refit, measure the twin and the baselines on test.

It leaves two draft bundles and the scores of unseen rows in its run; ``threshold`` turns them into bundles. A model is
measured on test at the threshold that the policy in use chooses on validation (`measure`).
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ml_project.dataset import Dataset
from ml_project.engine import Engine, Evaluated, LocalEngine, PartT
from ml_project.ensemble import EnsembleSettings
from ml_project.entity_metrics import EntityDays, entity_figures
from ml_project.errors import Refused
from ml_project.fitting import Fitted, fit_refit, fit_twin, parity
from ml_project.metrics import (
    Estimate,
    Labelled,
    estimate,
    paired_difference,
    ranking_curve,
    ranking_metrics,
    threshold_metrics,
)
from ml_project.policies import Thresholds, choose_thresholds
from ml_project.reference_models import LOGISTIC_REGRESSION, SEED_RECIPE, fit_logistic_regression, fit_seed_recipe
from ml_project.scorer import PARITY_TOLERANCE
from ml_project.split import TimeSplit
from ml_project.unseen_scores import ScoredRows
from pipelines.console import console, progress, step
from pipelines.data.ingest import IngestedMeta
from pipelines.run_page import describe
from pipelines.settings import PipelineSettings
from pipelines.tracking import DATA_NAME_TAG, DONE_TAG, Context, DataPart, Run
from pipelines.training.model_logging import TWIN, model_params, model_tags, settings_params
from pipelines.training.tuning import search

Scores = NDArray[np.float64]
PARITY = "parity_max_difference"
"""Largest difference of the refit's ONNX scores from scikit-learn's and XGBoost's."""

PARITY_TAG = "fraud.parity"
"""The same on the run, until the step `threshold` has made the model that earned it."""

BY_HAND = "by hand"
"""The parameter ``reason`` of a run that nothing asked for but a person."""

_SHOWN = 16
"""Characters of a digest that a parameter shows: enough to group by."""

NO_AMOUNT = "the contract has no amount: the policy cost and all figures of costs are left out"

DRAFTS = "drafts"
SCORES = "scores"
TEST_ROWS = "scores/test_rows.parquet"
"""The test rows as they came in, so that a later gate can score them by another version's twin."""


class Period(Labelled, Protocol):
    """Labelled rows over a known span of time."""

    @property
    def days(self) -> float:
        """Days that the rows cover."""


@dataclass(frozen=True)
class Measurement:
    """A model's thresholds, its figures with intervals, and the scores behind them.

    Attributes
    ----------
    thresholds : Thresholds
        The evaluation twin's own, at which it was measured.
    shipped : Thresholds or None
        Those of the model that ships, by the same policy; None before the step ``threshold``.
    """

    thresholds: Thresholds
    metrics: dict[str, Estimate]
    test_score: NDArray[np.float64]
    shipped: Thresholds | None = None


def train(
    settings: PipelineSettings,
    run: Run,
    data: PartT,
    engine: Engine[PartT],
    meta: IngestedMeta,
    starts: Sequence[EnsembleSettings] = (EnsembleSettings(),),
) -> dict[str, Estimate]:
    """Train a candidate in a run; the twin's figures on test.

    Parameters
    ----------
    engine : Engine
        What fits and scores on ``data``, wherever its rows are.
    starts : sequence of EnsembleSettings
        What tuning tries first.

    Raises
    ------
    InvalidInput
        When the data has too few frauds to split by time.
    Refused
        When the ONNX graph does not reproduce scikit-learn and XGBoost.
    """
    settings.usable_policies()  # before anything is tuned
    entity = settings.reviewed_entity
    if settings.priced_review is None:
        console.print(f"  {NO_AMOUNT}")
    split = engine.split(data)
    # of a retraining it is known
    reason = {} if "reason" in run.data.data.params else {"reason": BY_HAND}
    about = {**reason, "contract": str(meta.resolved(settings.data_contract)), "data_digest": meta.digest[:_SHOWN]}
    run.log(
        params=_parameters(settings, split) | about | ({"card_entity": entity} if entity else {}),
        tags={"data.source": meta.source, "data.digest": meta.digest, DATA_NAME_TAG: meta.name},
    )
    _log_inputs(run, split, data, engine, meta)
    run.log_json(meta.resolved(settings.data_contract).to_dict(), "contract.json")
    with step("tune"), run.timed("tune"):
        chosen = search(settings, run, engine.sample(split.train), meta.digest, starts)
    with step("fit the evaluation twin and the refit"), run.timed("fit"):
        origin = {"source": meta.source, "digest": meta.digest}
        twin = fit_twin(split, chosen, engine, origin)
        console.print("  twin fitted on train, calibrated on validation")
        refit = fit_refit(
            data, chosen, engine, origin, lambda k: console.print(f"  forward fold {k + 1}/{settings.folds} scored")
        )
        console.print("  refit fitted on all rows")
        of_twin, of_refit = parity(twin, engine.sample(split.test)), parity(refit, engine.sample(data))
        if max(of_twin, of_refit) > PARITY_TOLERANCE:
            raise Refused(
                f"ONNX scores differ by {max(of_twin, of_refit):.2g} from scikit-learn's and XGBoost's.",
                "This is a defect: report it.",
            )
    fitted_on = DataPart.of(meta.name, meta.digest, "training")
    with step("fit the baselines, measure all on test"), run.timed("measure"):
        test = engine.score(split.test, twin.ensemble, twin.transform)
        measured = _measure_all(settings, run, split, twin, test, engine, meta, fitted_on)
    against = {
        f"test_average_precision_minus_{name}": paired_difference(test.rows, test.scores.hybrid, other.test_score)[
            "average_precision"
        ]
        for name, other in measured.items()
        if name != "twin"
    }
    for earlier in run.models(TWIN):
        run.client.delete_logged_model(earlier)  # of an attempt that was cut short
    run.log(
        metrics={**measured["twin"].metrics, **against, "twin_parity_max_difference": of_twin},
        model=run.add_model(TWIN, "evaluation twin", model_params(twin.bundle), model_tags(twin.bundle, fitted_on)),
        data=DataPart.of(meta.name, meta.digest, "test"),
    )
    run.log(tags={PARITY_TAG: of_refit})
    _store(run, twin, refit, test.scores)
    run.log_frame(test.rows.to_frame(), TEST_ROWS)
    run.log(tags={f"{DONE_TAG}train": "true"})
    describe(run, settings)
    return measured["twin"].metrics


def _parameters(settings: PipelineSettings, split: TimeSplit[PartT]) -> dict[str, object]:
    parts = {"train": split.train, "validation": split.validation, "test": split.test}
    rows = {f"{name}_rows": len(part) for name, part in parts.items()}
    frauds = {f"{name}_frauds": part.frauds for name, part in parts.items()}
    days = {f"{name}_days": f"{part.days:.4f}" for name, part in parts.items()}
    moments = {"first_moment": split.train.first_moment, "last_moment": split.test.last_moment}
    chosen = (
        "seed",
        "threads",
        "folds",
        "trials",
        "tuning_rows",
        "policy",
        "review_cost",
        "alerts_per_day",
        "cards_per_day",
        "fpr",
    )
    return {**rows, **frauds, **days, **moments, **{name: getattr(settings, name) for name in chosen}}


def _measure_all(
    settings: PipelineSettings,
    run: Run,
    split: TimeSplit[PartT],
    twin: Fitted,
    test: Evaluated,
    engine: Engine[PartT],
    meta: IngestedMeta,
    fitted_on: DataPart,
) -> dict[str, Measurement]:
    """Twin and baselines on the same rows, each with its own threshold by the policy in use; a child run each."""
    run.discard(run.children("baseline"))
    train, validation = engine.sample(split.train), engine.sample(split.validation)
    here = LocalEngine(engine.seed, engine.threads)
    recipe, logistic = fit_seed_recipe(train, here), fit_logistic_regression(train, here)
    unseen = twin.unseen
    scores: dict[str, tuple[Period, Scores, Scores]] = {
        "twin": (unseen, unseen.hybrid, test.scores.hybrid),
        "xgboost_alone": (unseen, unseen.boosted, test.scores.boosted),
        "seed_recipe": (validation, recipe(validation), recipe(test.rows)),
        "logistic_regression": (validation, logistic(validation), logistic(test.rows)),
    }
    of_baseline: dict[str, dict[str, object]] = {
        # the twin's booster without its forest
        "xgboost_alone": {**model_params(twin.bundle), "blend_weight": 0.0},
        "seed_recipe": settings_params(asdict(SEED_RECIPE)),
        "logistic_regression": LOGISTIC_REGRESSION,
    }
    measured = {}
    with progress("models measured", len(scores)) as advance:
        for name, (known, on_known, on_test) in scores.items():
            found = measure(settings, known, test.rows, on_known, on_test)
            measured[name] = replace(found, metrics=found.metrics | card_figures(settings, test.rows, on_test))
            if name != "twin":
                with run.child(name, {"kind": "baseline"}, run.inputs("training", "test")) as child:
                    params = {**of_baseline[name], "policy": settings.policy}
                    child.log(
                        metrics=measured[name].metrics,
                        params=params,
                        model=child.add_model(name, "baseline", params, model_tags(twin.bundle, fitted_on)),
                        data=DataPart.of(meta.name, meta.digest, "test"),
                    )
            advance(f"{name}: average precision {measured[name].metrics['test_average_precision']}")
    return measured


def _log_inputs(run: Run, split: TimeSplit[PartT], whole: PartT, engine: Engine[PartT], meta: IngestedMeta) -> None:
    """The three parts, and all rows together, which the refit is fitted on (of a retraining, those are known)."""
    parts: tuple[tuple[Context, PartT, str], ...] = (
        ("training", split.train, "training"),
        ("validation", split.validation, "validation"),
        ("test", split.test, "test"),
        ("refit", whole, ""),
    )
    for context, part, name in parts:
        frame = engine.sample(part).to_frame()
        run.log_dataset(frame, DataPart.of(meta.name, meta.digest, name), context, len(part))


def _store(run: Run, twin: Fitted, refit: Fitted, test: ScoredRows) -> None:
    with TemporaryDirectory() as scratch:
        for name, fitted in {"twin": twin, "refit": refit}.items():
            fitted.bundle.write(Path(scratch) / name)
        run.log_folder(Path(scratch), DRAFTS)
    for name, rows in {"validation": twin.unseen, "test": test, "forward": refit.unseen}.items():
        run.log_frame(rows.to_frame(), f"{SCORES}/{name}.parquet")


def measure(
    settings: PipelineSettings,
    validation: Period,
    test: Period,
    validation_score: NDArray[np.float64],
    test_score: NDArray[np.float64],
    policy: str | None = None,
) -> Measurement:
    """Threshold on validation, figures on test (metric names start with ``test_``)."""
    curve = ranking_curve(validation_score, validation.label, validation.weight, validation.amount)
    thresholds = choose_thresholds(policy or settings.policy, curve, settings.policy_settings, validation.days)
    wanted = ranking_metrics() | threshold_metrics(thresholds.alert, settings.priced_review, test.days)
    figures = estimate(test, test_score, wanted, settings.replicates, settings.seed)
    return Measurement(thresholds, {f"test_{name}": value for name, value in figures.items()}, test_score)


def card_figures(settings: PipelineSettings, rows: Dataset, score: NDArray[np.float64]) -> dict[str, Estimate]:
    """Card precision and average precision per entity, of rows that name one; else nothing."""
    entity = settings.reviewed_entity
    if entity is None or entity not in rows.entities:
        return {}
    days = EntityDays.of(rows.moment, rows.entities[entity], score, rows.label)
    found = entity_figures(days, settings.cards_per_day, settings.replicates, settings.seed)
    return {f"test_{name}": figure for name, figure in found.items()}
