"""The part of ``train`` that chooses settings: a study on forward-chained folds, and each of its trials in MLflow.

Several processes can tune on one study, here and on any machine that has the same ``FRAUD_STUDY_URL``. Workers share
nothing but the study: each asks for a point while the budget has room, and its pruner sees what all have reported. No
worker's death loses a trial. If a worker of this process dies, its point is put back in the queue at once and another
worker starts. If one on another machine dies, its heartbeat stops (`study.HEARTBEAT_SECONDS`), and the next worker
that starts or waits for a trial puts its point back.
"""

import multiprocessing
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING, Final

from ml_project.dataset import Dataset
from ml_project.ensemble import EnsembleSettings
from ml_project.errors import Unavailable
from ml_project.fitting import PreparedFold, thin
from ml_project.split import forward_folds
from pipelines.console import console, progress
from pipelines.settings import PipelineSettings
from pipelines.tracking import Run
from pipelines.training.interrupts import Interrupts
from pipelines.training.study import finished_trials, open_study, settings_of, storage_errors, study_name
from pipelines.training.trials import (
    WORKER,
    OnTrial,
    objective_of,
    put_back,
    put_back_dead,
    tune,
    work_off,
    worker_name,
)

if TYPE_CHECKING:
    import optuna
    from mlflow.entities import DatasetInput


TRIAL_TAG = "optuna.trial"
"""The trial that tuning chose; a run that resumes does not choose again."""


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
    inputs = run.inputs("training")
    thinned = thin(train_part, settings.tuning_rows, settings.seed)
    threads = max(1, settings.threads // settings.tuning_workers)
    prepare = partial(prepared, thinned, settings.folds, settings.seed, threads)
    name = study_name(digest, train_part.contract.digest, settings.seed, settings.folds, settings.tuning_rows)
    study = open_study(name, settings.study, settings.seed, starts)
    earlier = finished_trials(study)
    before = run.children("trial")
    run.discard(child for child in before if child.info.status != "FINISHED")
    logged = {child.info.run_name for child in before if child.info.status == "FINISHED"}
    for trial in earlier:
        if _trial_name(trial) not in logged:
            _log_trial(run, trial, inputs)
    if earlier:
        console.print(f"  continuing study {name} after {len(earlier)} trials")
    with progress("trials", settings.trials, len(earlier)) as advance:

        def on_trial(trial: "optuna.trial.FrozenTrial") -> None:
            _log_trial(run, trial, inputs)
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
                    tune(study, prepare(), settings.trials, settings.timeout, on_trial)
                chosen = str(study.best_trial.number)
                run.log(tags={"optuna.study": name, TRIAL_TAG: chosen})
            best = study.trials[int(chosen)]
    run.log(
        params={f"best_{key}": value for key, value in best.params.items()},
        metrics={"tuning_average_precision": best.value or 0.0},
    )
    return settings_of(best)


def prepared(thinned: Dataset, folds: int, seed: int, threads: int) -> list[PreparedFold]:
    """What a worker tries its points on."""
    return [
        PreparedFold.prepare(fold, thinned.contract.left_out, seed, threads) for fold in forward_folds(thinned, folds)
    ]


def _trial_name(trial: "optuna.trial.FrozenTrial") -> str:
    return f"trial {trial.number}"


def _log_trial(run: Run, trial: "optuna.trial.FrozenTrial", inputs: "list[DatasetInput]") -> None:
    with run.child(_trial_name(trial), {"kind": "trial", "optuna.state": trial.state.name}, inputs) as child:
        seconds = trial.duration.total_seconds() if trial.duration else 0.0
        value = {"average_precision": trial.value} if trial.value is not None else {}
        folds = {name: figure for name, figure in trial.user_attrs.items() if name != WORKER}
        tags = {f"optuna.{WORKER}": trial.user_attrs[WORKER]} if WORKER in trial.user_attrs else {}
        child.log(params=trial.params, metrics={**value, **folds, "seconds": seconds}, tags=tags)


_LOOK_SECONDS: Final = 0.5
_MOST_DEATHS: Final = 10

Prepare = Callable[[], list[PreparedFold]]


@dataclass(frozen=True)
class SharedStudy:
    """What a worker needs; ``prepare`` is called in the worker's process and must be picklable."""

    name: str
    storage_url: str
    seed: int
    trials: int
    timeout: float | None
    workers: int
    prepare: Prepare


def tune_together(shared: SharedStudy, study: "optuna.Study", on_trial: OnTrial) -> None:
    """Start the workers, replace those that die, and report each trial that any worker on any machine finishes.

    Raises
    ------
    Unavailable
        When workers die again and again.
    """
    put_back_dead(study)
    context = multiprocessing.get_context("spawn")  # forked copies of OpenMP's threads would hang

    def start() -> BaseProcess:
        process = context.Process(target=work, args=(shared,), daemon=True)
        process.start()
        return process

    reported = {trial.number for trial in finished_trials(study)}
    working = [start() for _ in range(shared.workers)]
    deaths = 0
    try:
        while working:
            time.sleep(_LOOK_SECONDS)
            for process in [each for each in working if each.exitcode is not None]:
                working.remove(process)
                if process.exitcode == 0:
                    continue
                deaths += 1
                if deaths > _MOST_DEATHS:
                    raise Unavailable(
                        f"{deaths} workers died, the last with {process.exitcode}.", "Check whether memory ran out."
                    )
                put_back(study, worker_name(process.pid))
                working.append(start())
            for trial in finished_trials(study):
                if trial.number not in reported:
                    reported.add(trial.number)
                    on_trial(trial)
    finally:
        for process in working:
            process.terminate()
            process.join()
            put_back(study, worker_name(process.pid))


def work(shared: SharedStudy) -> None:
    """One worker: trials until the study's budget is spent."""
    study = open_study(shared.name, shared.storage_url, shared.seed, ())
    interrupts = Interrupts()
    objective = objective_of(shared.prepare(), shared.trials, interrupts)
    with interrupts.held_back():
        work_off(study, objective, shared.trials, shared.timeout, interrupts)
