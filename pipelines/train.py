"""The step ``train``: tune on train, fit the evaluation twin and the refit, measure the twin and the baselines on test.

It leaves two draft bundles and the scores of unseen rows in its run; ``threshold`` turns them into bundles.
"""

from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from ml_project.baselines import fit_logistic_regression, fit_seed_recipe
from ml_project.dataset import Dataset
from ml_project.ensemble import AGEING_FEATURES, EnsembleSettings
from ml_project.errors import Refused
from ml_project.fitting import FitOptions, Fitted, fit_refit, fit_twin, parity
from ml_project.folds import PreparedFold, thin
from ml_project.metrics import Estimate, paired_difference
from ml_project.scored import ScoredRows
from ml_project.scorer import PARITY_TOLERANCE
from ml_project.split import TimeSplit, forward_folds, split_by_time
from pipelines import tuning
from pipelines.evaluation import Measured, measure
from pipelines.ingest import IngestedMeta
from pipelines.progress import console, progress, step
from pipelines.settings import PipelineSettings
from pipelines.study_storage import storage_errors
from pipelines.tracking import DONE_TAG, Run
from pipelines.tuning_workers import WORKER, SharedStudy, tune_together

if TYPE_CHECKING:
    import optuna

DRAFTS = "drafts"
SCORES = "scores"
TEST_ROWS = "scores/test_rows.parquet"
"""The test rows as they came in, so that a later gate can score them by another version's twin."""


def train(settings: PipelineSettings, run: Run, data: Dataset, meta: IngestedMeta) -> dict[str, Estimate]:
    """Train a candidate in a run; the twin's figures on test.

    Raises
    ------
    InvalidInput
        When the data has too few frauds to split by time.
    Refused
        When the ONNX graph does not reproduce scikit-learn and XGBoost.
    """
    split = split_by_time(data)
    options = FitOptions(settings.seed, settings.threads, settings.folds)
    run.log(params=_parameters(settings, split), tags={"data.source": meta.source, "data.digest": meta.digest})
    with step("tune"):
        chosen = _tune(settings, run, split.train, meta.digest)
    with step("fit the evaluation twin, the refit and the baselines"):
        origin = {"source": meta.source, "digest": meta.digest}
        twin = fit_twin(split, chosen, options, origin)
        console.print("  twin fitted on train, calibrated on validation")
        refit = fit_refit(
            data, chosen, options, origin, lambda k: console.print(f"  forward fold {k + 1}/{settings.folds} scored")
        )
        console.print("  refit fitted on all rows")
        difference = max(parity(twin, split.test), parity(refit, data))
        if difference > PARITY_TOLERANCE:
            raise Refused(
                f"ONNX scores differ by {difference:.2g} from scikit-learn's and XGBoost's.",
                "This is a defect: report it.",
            )
    with step("measure on test"):
        test = twin.score(split.test)
        measured = _measure_all(settings, run, split, twin, test, options)
    against = {
        f"test_average_precision_minus_{name}": paired_difference(test, test.hybrid, other.test_score)[
            "average_precision"
        ]
        for name, other in measured.items()
        if name != "twin"
    }
    run.log(metrics={**measured["twin"].metrics, **against, "parity_max_difference": difference})
    _store(run, twin, refit, test)
    run.log_frame(split.test.to_frame(), TEST_ROWS)
    run.log(tags={f"{DONE_TAG}train": "true"})
    return measured["twin"].metrics


def _parameters(settings: PipelineSettings, split: TimeSplit) -> dict[str, object]:
    parts = {"train": split.train, "validation": split.validation, "test": split.test}
    rows = {f"{name}_rows": len(part) for name, part in parts.items()}
    frauds = {f"{name}_frauds": part.frauds for name, part in parts.items()}
    days = {f"{name}_days": f"{part.days:.4f}" for name, part in parts.items()}
    moments = {"first_moment": split.train.moment[0], "last_moment": split.test.moment[-1]}
    chosen = ("seed", "threads", "folds", "trials", "tuning_rows", "policy", "review_cost", "alerts_per_day", "fpr")
    return {**rows, **frauds, **days, **moments, **{name: getattr(settings, name) for name in chosen}}


def _tune(settings: PipelineSettings, run: Run, train_part: Dataset, digest: str) -> EnsembleSettings:
    thinned = thin(train_part, settings.tuning_rows, settings.seed)
    threads = max(1, settings.threads // settings.tuning_workers)
    prepare = partial(_prepare, thinned, settings.folds, settings.seed, threads)
    name = tuning.study_name(digest, settings.seed, settings.folds, settings.tuning_rows)
    study = tuning.open_study(name, settings.study, settings.seed)
    earlier = tuning.finished_trials(study)
    for trial in earlier:
        _log_trial(run, trial)
    if earlier:
        console.print(f"  study {name} goes on after {len(earlier)} trials")
    with progress("trials", settings.trials, len(earlier)) as advance:

        def on_trial(trial: "optuna.trial.FrozenTrial") -> None:
            _log_trial(run, trial)
            value = (
                f"average precision {trial.value:.4f}" if trial.state.name == "COMPLETE" else trial.state.name.lower()
            )
            advance(value)

        with storage_errors(settings.study):
            if settings.tuning_workers > 1 and len(earlier) < settings.trials:
                shared = SharedStudy(
                    name,
                    settings.study,
                    settings.seed,
                    settings.trials,
                    settings.timeout,
                    settings.tuning_workers,
                    prepare,
                )
                tune_together(shared, study, on_trial)
                chosen = tuning.best(study)
            else:
                chosen = tuning.tune(study, prepare(), settings.trials, settings.timeout, on_trial)
    run.log(
        params={f"best_{key}": value for key, value in study.best_trial.params.items()},
        metrics={"tuning_average_precision": study.best_value},
        tags={"optuna.study": name},
    )
    return chosen


def _prepare(thinned: Dataset, folds: int, seed: int, threads: int) -> list[PreparedFold]:
    return [PreparedFold.prepare(fold, AGEING_FEATURES, seed, threads) for fold in forward_folds(thinned, folds)]


def _log_trial(run: Run, trial: "optuna.trial.FrozenTrial") -> None:
    with run.child(f"trial {trial.number}", {"kind": "trial", "optuna.state": trial.state.name}) as child:
        seconds = trial.duration.total_seconds() if trial.duration else 0.0
        value = {"average_precision": trial.value} if trial.value is not None else {}
        folds = {name: figure for name, figure in trial.user_attrs.items() if name != WORKER}
        tags = {f"optuna.{WORKER}": trial.user_attrs[WORKER]} if WORKER in trial.user_attrs else {}
        child.log(params=trial.params, metrics={**value, **folds, "seconds": seconds}, tags=tags)


def _measure_all(
    settings: PipelineSettings, run: Run, split: TimeSplit, twin: Fitted, test: ScoredRows, options: FitOptions
) -> dict[str, Measured]:
    """Twin and baselines on the same rows, each with its own threshold by the policy in use; a child run each."""
    recipe = fit_seed_recipe(split.train, options)
    logistic = fit_logistic_regression(split.train, options)
    validation = twin.unseen
    scores = {
        "twin": (validation.hybrid, test.hybrid),
        "xgboost_alone": (validation.boosted, test.boosted),
        "seed_recipe": (recipe(split.validation), recipe(split.test)),
        "logistic_regression": (logistic(split.validation), logistic(split.test)),
    }
    measured = {}
    with progress("models measured", len(scores)) as advance:
        for name, (on_validation, on_test) in scores.items():
            measured[name] = measure(settings, split.validation, split.test, on_validation, on_test)
            if name != "twin":
                with run.child(name, {"kind": "baseline"}) as child:
                    child.log(metrics=measured[name].metrics, params={"policy": settings.policy})
            advance(f"{name}: average precision {measured[name].metrics['test_average_precision']}")
    return measured


def _store(run: Run, twin: Fitted, refit: Fitted, test: ScoredRows) -> None:
    with TemporaryDirectory() as scratch:
        for name, fitted in {"twin": twin, "refit": refit}.items():
            fitted.bundle.write(Path(scratch) / name)
        run.log_folder(Path(scratch), DRAFTS)
    for name, rows in {"validation": twin.unseen, "test": test, "forward": refit.unseen}.items():
        run.log_frame(rows.to_frame(), f"{SCORES}/{name}.parquet")
