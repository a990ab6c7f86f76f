"""The part of ``train`` that chooses settings: a study on forward-chained folds, and each of its trials in MLflow."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from ml_project.dataset import Dataset
from ml_project.ensemble import AGEING_FEATURES, EnsembleSettings
from ml_project.fitting import PreparedFold, thin
from ml_project.split import forward_folds
from pipelines import tuning
from pipelines.progress import console, progress
from pipelines.settings import PipelineSettings
from pipelines.study_storage import storage_errors
from pipelines.tracking import Run
from pipelines.tuning_workers import WORKER, SharedStudy, tune_together

if TYPE_CHECKING:
    import optuna

TRIAL_TAG = "optuna.trial"
"""The trial that tuning chose; a run that goes on after a kill does not choose again."""


def search(
    settings: PipelineSettings, run: Run, train_part: Dataset, digest: str, starts: Sequence[EnsembleSettings]
) -> EnsembleSettings:
    """The settings of the best trial; earlier executions' trials count, and are logged in this run, too.

    Parameters
    ----------
    digest : str
        Of the whole data set: part of the study's name.
    starts : sequence of EnsembleSettings
        What is tried first.
    """
    thinned = thin(train_part, settings.tuning_rows, settings.seed)
    threads = max(1, settings.threads // settings.tuning_workers)
    prepare = partial(prepared, thinned, settings.folds, settings.seed, threads)
    name = tuning.study_name(digest, settings.seed, settings.folds, settings.tuning_rows)
    study = tuning.open_study(name, settings.study, settings.seed, starts)
    earlier = tuning.finished_trials(study)
    before = run.children("trial")
    run.discard(child for child in before if child.info.status != "FINISHED")
    logged = {child.info.run_name for child in before if child.info.status == "FINISHED"}
    for trial in earlier:
        if _trial_name(trial) not in logged:
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
            chosen = run.data.data.tags.get(TRIAL_TAG)
            if chosen is None or int(chosen) >= len(study.trials):
                if settings.tuning_workers > 1:
                    budget = (settings.trials, settings.timeout, settings.tuning_workers)
                    shared = SharedStudy(name, settings.study, settings.seed, *budget, prepare)
                    tune_together(shared, study, on_trial)
                else:
                    tuning.tune(study, prepare(), settings.trials, settings.timeout, on_trial)
                chosen = str(study.best_trial.number)
                run.log(tags={"optuna.study": name, TRIAL_TAG: chosen})
            best = study.trials[int(chosen)]
    run.log(
        params={f"best_{key}": value for key, value in best.params.items()},
        metrics={"tuning_average_precision": best.value or 0.0},
    )
    return tuning.settings_of(best)


def prepared(thinned: Dataset, folds: int, seed: int, threads: int) -> list[PreparedFold]:
    """What a worker tries its points on."""
    return [PreparedFold.prepare(fold, AGEING_FEATURES, seed, threads) for fold in forward_folds(thinned, folds)]


def _trial_name(trial: "optuna.trial.FrozenTrial") -> str:
    return f"trial {trial.number}"


def _log_trial(run: Run, trial: "optuna.trial.FrozenTrial") -> None:
    with run.child(_trial_name(trial), {"kind": "trial", "optuna.state": trial.state.name}) as child:
        seconds = trial.duration.total_seconds() if trial.duration else 0.0
        value = {"average_precision": trial.value} if trial.value is not None else {}
        folds = {name: figure for name, figure in trial.user_attrs.items() if name != WORKER}
        tags = {f"optuna.{WORKER}": trial.user_attrs[WORKER]} if WORKER in trial.user_attrs else {}
        child.log(params=trial.params, metrics={**value, **folds, "seconds": seconds}, tags=tags)
